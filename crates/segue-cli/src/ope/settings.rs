//! The file of `segue ope`: which log, which target policies, what the gate asks for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use segue_engine::config::HeadWeight;
use segue_engine::counterfactual::ShelfChange;
use segue_eval::off_policy::{
    GateConfig, IntervalConfig, JudgeConfig, RewardModelConfig, TablePolicy, TableSpec,
};
use segue_types::{Day, Surface};
use serde::{Deserialize, Serialize};

/// The whole file; unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpeFile {
    /// Anybody's log.
    pub(crate) table: Option<TableSpec>,
    /// The log of the home folder.
    pub(crate) log: Option<LogSpec>,
    /// The policies asked about.
    #[serde(default)]
    pub(crate) target: Vec<Target>,
    /// What an estimate has to pass.
    #[serde(default)]
    pub(crate) gate: GateConfig,
    /// How intervals are made.
    #[serde(default)]
    pub(crate) interval: IntervalConfig,
    /// The reward model.
    #[serde(default)]
    pub(crate) model: RewardModelConfig,
    /// Units with sums of their own.
    #[serde(default = "max_units")]
    pub(crate) max_units: usize,
    /// Most positions of a slate.
    #[serde(default = "max_positions")]
    pub(crate) max_positions: usize,
}

fn max_units() -> usize {
    JudgeConfig::default().max_units
}

fn max_positions() -> usize {
    JudgeConfig::default().max_positions
}

/// What a slate is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reward {
    /// 1 for each card that was played.
    Play,
    /// 1 for each card that was streamed (30 s or more).
    #[default]
    Stream,
    /// 1 for each card that was completed.
    Completion,
    /// Minutes listened, over all plays of the slate's cards.
    Minutes,
}

/// Which slates of our log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSpec {
    /// `home` or `now_playing`.
    pub(crate) surface: Surface,
    /// What a slate is paid for.
    #[serde(default)]
    pub(crate) reward: Reward,
    /// First day, `YYYY-MM-DD`.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// Last day.
    #[serde(default)]
    pub(crate) until: Option<String>,
    /// Slates of this deployment alone.
    #[serde(default)]
    pub(crate) deployment: Option<String>,
    /// Slates of this experiment arm alone, `experiment=arm`.
    #[serde(default)]
    pub(crate) arm: Option<String>,
}

impl LogSpec {
    pub(crate) fn days(&self) -> Result<std::ops::RangeInclusive<Day>> {
        let parse = |name: &str, text: &Option<String>, absent: Day| match text {
            None => Ok(absent),
            Some(text) => Day::from_iso(text)
                .with_context(|| format!("`log.{name}` is `{text}`; it is a day, YYYY-MM-DD")),
        };
        let (from, until) = (parse("from", &self.from, Day(0))?, parse("until", &self.until, Day(i32::MAX))?);
        if from > until {
            bail!("`log.from` is after `log.until`");
        }
        Ok(from..=until)
    }
}

/// One target policy: of a table by probabilities, of our log by what is configured differently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// Name in the answer.
    pub(crate) name: String,
    /// Table: column with the probability of the shown action.
    #[serde(default)]
    pub(crate) column: Option<String>,
    /// Table of slates: column with the marginal probability at the position.
    #[serde(default)]
    pub(crate) marginal_column: Option<String>,
    /// Table: column with the reward model's value of the policy.
    #[serde(default)]
    pub(crate) model_value_column: Option<String>,
    /// Table: CSV file with `action`, `probability` and perhaps `position`.
    #[serde(default)]
    pub(crate) file: Option<PathBuf>,
    /// Table: every action alike.
    #[serde(default)]
    pub(crate) uniform: bool,
    /// Log: changes by shelf id.
    #[serde(default)]
    pub(crate) shelf: BTreeMap<String, ShelfChange>,
    /// Log: another ranker, or other weights of its heads.
    #[serde(default)]
    pub(crate) ranker: Option<RankerChange>,
}

/// What is different about the ranker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RankerChange {
    /// Name of an artifact in `artifacts/`; the one that served where absent.
    pub(crate) artifact: Option<String>,
    /// Weights of its heads; those of `segue.toml` where absent.
    pub(crate) heads: Option<Vec<HeadWeight>>,
}

impl Target {
    /// The policy over a table's columns; paths are relative to `folder`.
    pub(crate) fn table_policy(&self, folder: &Path) -> Result<TablePolicy> {
        if !self.shelf.is_empty() || self.ranker.is_some() {
            bail!("target `{}`: `shelf` and `ranker` belong to `[log]`, not to `[table]`", self.name);
        }
        Ok(TablePolicy {
            column: self.column.clone(),
            marginal_column: self.marginal_column.clone(),
            model_value_column: self.model_value_column.clone(),
            file: self.file.as_ref().map(|f| folder.join(f)),
            uniform: self.uniform,
        })
    }

    fn check_shelves(&self) -> Result<()> {
        if self.column.is_some() || self.file.is_some() || self.uniform {
            bail!(
                "target `{}`: `column`, `file` and `uniform` belong to `[table]`, not to `[log]`",
                self.name
            );
        }
        for (id, change) in &self.shelf {
            let at = |setting: &str| format!("target `{}`: `shelf.{id}.{setting}`", self.name);
            if let Some(s) = change.selector.as_deref().filter(|s| !["top", "explore"].contains(s)) {
                bail!("{} is `{s}`; the selectors are top, explore", at("selector"));
            }
            if let Some(t) = change.temperature.filter(|t| t.is_nan() || *t <= 0.0) {
                bail!("{} is {t}; a temperature lies above 0", at("temperature"));
            }
            if let Some(e) = change.epsilon.filter(|e| !(0.0..=1.0).contains(e)) {
                bail!("{} is {e}; it is a share in [0, 1]", at("epsilon"));
            }
            if change.pool == Some(0) {
                bail!("{} is 0; a pool holds at least one candidate", at("pool"));
            }
        }
        Ok(())
    }
}

impl OpeFile {
    /// Reads and checks a file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut file: Self = toml::from_str(&text)
            .with_context(|| format!("{}\nhint: docs/off-policy.md has an example", path.display()))?;
        file.check().with_context(|| path.display().to_string())?;
        if let Some(table) = &mut file.table {
            let folder = path.parent().unwrap_or(Path::new("."));
            table.path = folder.join(&table.path);
        }
        Ok(file)
    }

    fn check(&self) -> Result<()> {
        if self.table.is_some() == self.log.is_some() {
            bail!("there has to be one of `[table]` (a file) and `[log]` (the home's own log)");
        }
        if self.target.is_empty() {
            bail!("there is no `[[target]]`; name at least one policy to ask about");
        }
        if self.max_units == 0 || self.max_positions == 0 {
            bail!("`max_units` and `max_positions` are at least 1");
        }
        if self.log.is_some() {
            for target in &self.target {
                target.check_shelves()?;
            }
        }
        self.gate.check()?;
        self.interval.check()?;
        Ok(())
    }

    pub(crate) fn judge_config(&self) -> JudgeConfig {
        JudgeConfig {
            gate: self.gate,
            interval: self.interval,
            model: self.model,
            max_units: self.max_units,
            max_positions: self.max_positions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ope.toml");
        std::fs::write(&path, text).unwrap();
        OpeFile::load(&path).map_or_else(|e| format!("{e:#}"), |_| "fine".to_owned())
    }

    #[test]
    fn a_mistake_is_named_with_its_rule() {
        let log = "[log]\nsurface = \"home\"\n";
        let shelf = |setting: &str| {
            format!("{log}[[target]]\nname = \"x\"\n[target.shelf.made_for_you]\n{setting}\n")
        };
        assert_eq!(message(&shelf("epsilon = 0.1")), "fine");
        assert!(message("").contains("`[table]`"));
        assert!(message(log).contains("`[[target]]`"));
        assert!(message(&shelf("epsilon = 1.5")).contains("share in [0, 1]"));
        assert!(message(&shelf("temperature = 0.0")).contains("above 0"));
        assert!(message(&shelf("pool = 0")).contains("at least one candidate"));
        assert!(message(&shelf("selector = \"best\"")).contains("top, explore"));
        assert!(message(&shelf("sources = []")).contains("sources"));
        assert!(message(&format!("{log}[[target]]\nname = \"x\"\nuniform = true\n")).contains("`[table]`"));
        assert!(
            message(&format!("{}[gate]\nmax_weight_share = -1.0\n", shelf("epsilon = 0.1")))
                .contains("max_weight_share")
        );
    }

    #[test]
    fn days_read_and_have_an_order() {
        let spec = |from: Option<&str>, until: Option<&str>| LogSpec {
            surface: Surface::Home,
            reward: Reward::Stream,
            from: from.map(str::to_owned),
            until: until.map(str::to_owned),
            deployment: None,
            arm: None,
        };
        assert!(spec(None, Some("2026-01-31")).days().is_ok());
        assert!(spec(Some("2026-02-01"), Some("2026-01-31")).days().is_err());
        assert!(spec(Some("yesterday"), None).days().unwrap_err().to_string().contains("yesterday"));
    }
}
