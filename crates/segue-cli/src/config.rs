//! `segue.toml`: every setting of every command, with a default for each.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use segue_engine::EngineConfig;
use segue_engine::config::{RankerConfig, ServingConfig, StateConfig, SurfacesConfig};
use segue_experiment::{ExperimentSpec, HoldoutSpec};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Name of the file in the home folder.
pub(crate) const FILE: &str = "segue.toml";

/// The whole of `segue.toml`. Unknown fields are refused; absent ones take their default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Reading files.
    pub(crate) import: ImportSettings,
    /// Retrieval models, one table each: `kind` names the model, the rest are its settings
    /// (`docs/models.md`). The table's name is what surfaces call the source.
    #[schema(value_type = Object)]
    pub(crate) model: BTreeMap<String, toml::Table>,
    /// Which artifact scores candidates, and what its heads are worth.
    pub(crate) ranker: RankerConfig,
    /// What is shown where.
    pub(crate) surface: SurfacesConfig,
    /// Budgets of a request.
    pub(crate) serving: ServingConfig,
    /// Durability of events.
    pub(crate) state: StateConfig,
    /// Experiments that run while they stand here (`docs/experiments.md`).
    #[schema(value_type = Vec<Object>)]
    pub(crate) experiment: Vec<ExperimentSpec>,
    /// Shares of listeners kept out of experiments.
    #[schema(value_type = Vec<Object>)]
    pub(crate) holdout: Vec<HoldoutSpec>,
    /// The HTTP server.
    pub(crate) server: ServerSettings,
    /// Offline evaluation.
    pub(crate) evaluate: EvaluateSettings,
}

/// Reading files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ImportSettings {
    /// An import with a larger share of rejected rows fails and changes nothing; in `[0, 1]`.
    pub(crate) max_reject_share: f64,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerSettings {
    /// `HOST:PORT`. The default answers only this machine.
    pub(crate) listen: String,
}

/// Offline evaluation: what `segue evaluate` does unless told otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EvaluateSettings {
    /// Last share of the log, in time, that is the test part; in `(0, 1)`.
    pub(crate) test_share: f64,
    /// Cut-off of the lists.
    pub(crate) k: usize,
    /// Seed of holdouts and bootstrap.
    pub(crate) seed: u64,
    /// Bootstrap draws.
    pub(crate) draws: u32,
}

impl Default for ImportSettings {
    fn default() -> Self {
        Self { max_reject_share: 0.05 }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8000".to_owned() }
    }
}

impl Default for EvaluateSettings {
    fn default() -> Self {
        Self { test_share: 0.1, k: 10, seed: 0, draws: 2_000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        let kinds = [
            ("popularity", "decayed_popularity"),
            ("neighbours", "co_listen"),
            ("knn", "item_knn"),
            ("rules", "seq_rules"),
            ("markov", "markov"),
        ];
        let table = |kind: &str| toml::Table::from_iter([("kind".to_owned(), toml::Value::from(kind))]);
        Self {
            import: ImportSettings::default(),
            model: kinds.iter().map(|&(name, kind)| (name.to_owned(), table(kind))).collect(),
            ranker: RankerConfig::default(),
            surface: SurfacesConfig::default(),
            serving: ServingConfig::default(),
            state: StateConfig::default(),
            experiment: Vec::new(),
            holdout: Vec::new(),
            server: ServerSettings::default(),
            evaluate: EvaluateSettings::default(),
        }
    }
}

/// What a new home begins with.
const FIRST_FILE: &str = "\
# Settings of this home. Everything has a default; docs/configuration.md lists all of it.
# `segue doctor` checks this file.

# Models: the table's name is what surfaces call the source.
[model.popularity]
kind = \"decayed_popularity\"

[model.neighbours]
kind = \"co_listen\"

[model.knn]
kind = \"item_knn\"

[model.rules]
kind = \"seq_rules\"

[model.markov]
kind = \"markov\"
";

impl Config {
    /// Reads `segue.toml` of a home; a home without one has the defaults.
    pub(crate) fn load(home: &Path) -> Result<Self> {
        let path = home.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e).with_context(|| path.display().to_string()),
        };
        let config: Self = toml::from_str(&text).with_context(|| {
            format!("{}\nhint: docs/configuration.md lists every setting with its default", path.display())
        })?;
        config.check().with_context(|| path.display().to_string())?;
        Ok(config)
    }

    /// Writes the first `segue.toml` of a home, unless there is one.
    pub(crate) fn write_first(home: &Path) -> Result<()> {
        let path = home.join(FILE);
        if !path.exists() {
            super::commands::write_whole(&path, FIRST_FILE.as_bytes())?;
        }
        Ok(())
    }

    /// The engine's part.
    pub(crate) fn engine(&self) -> EngineConfig {
        EngineConfig {
            surface: self.surface.clone(),
            ranker: self.ranker.clone(),
            serving: self.serving.clone(),
            state: self.state.clone(),
            experiment: self.experiment.clone(),
            holdout: self.holdout.clone(),
        }
    }

    /// Every source a surface names, in the order of first mention.
    pub(crate) fn source_names(&self) -> Vec<String> {
        let shelves = self.surface.home.shelf.iter().chain([&self.surface.now_playing.queue]);
        let mut names: Vec<String> = Vec::new();
        for source in shelves.flat_map(|shelf| &shelf.sources) {
            if !names.contains(source) {
                names.push(source.clone());
            }
        }
        names
    }

    fn check(&self) -> Result<()> {
        let share = self.import.max_reject_share;
        if !(0.0..=1.0).contains(&share) {
            bail!("`import.max_reject_share` is {share}; it is a share in [0, 1]");
        }
        let share = self.evaluate.test_share;
        if !(share > 0.0 && share < 1.0) {
            bail!("`evaluate.test_share` is {share}; it is a share in (0, 1)");
        }
        for (name, table) in &self.model {
            let (kind, settings) = segue_models::registry::split_kind(table)
                .with_context(|| format!("`[model.{name}]` needs a `kind`"))?;
            segue_models::registry::recommender_kind(&kind)
                .and_then(|kind| kind.settings(&settings))
                .with_context(|| format!("`[model.{name}]`"))?;
        }
        self.engine().check()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_is_the_default() {
        assert_eq!(toml::from_str::<Config>(FIRST_FILE).unwrap(), Config::default());
        Config::default().check().unwrap();
    }

    #[test]
    fn a_home_without_a_file_has_the_defaults() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Config::load(home.path()).unwrap(), Config::default());
    }

    #[test]
    fn a_mistake_names_the_file_the_setting_and_the_rule() {
        let home = tempfile::tempdir().unwrap();
        let message = |text: &str| {
            std::fs::write(home.path().join(FILE), text).unwrap();
            format!("{:#}", Config::load(home.path()).unwrap_err())
        };
        assert!(message("[imprt]\n").contains("imprt"));
        assert!(message("[import]\nmax_reject_share = 7\n").contains("share in [0, 1]"));
        assert!(message("[model.x]\nkind = \"oracle\"\n").contains("oracle"));
        assert!(message("[model.x]\nkind = \"markov\"\nbogus = 1\n").contains("bogus"));
    }
}
