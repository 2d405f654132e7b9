//! Our own log as evidence: each slate's record under another configuration, paid by its plays.
//!
//! Slates and plays of a listener are in the same bucket of the log, so a few buckets at a time are joined
//! in memory. A first pass learns the reward model, a second one gathers the evidence of all targets.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use segue_data::log::{LogReader, LogRow, N_BUCKETS, ScanOptions, SlateRow, Table};
use segue_engine::counterfactual::{Alternative, Counterfactual, N_BANDS, Unusable, follow};
use segue_eval::off_policy::{CellMeans, Judgement, SlateEvidence, SlatePosition};
use segue_types::{Day, Outcome, Play, SlateRecord, UserKey};
use serde::Serialize;

use super::settings::{LogSpec, OpeFile, Reward, Target};
use crate::config::Config;

/// Buckets joined at a time.
const BUCKETS: u32 = 16;

/// A judgement and what could not be used for it.
#[derive(Debug, Serialize)]
pub(crate) struct LogJudgement {
    #[serde(flatten)]
    pub(crate) judgement: Judgement,
    /// Slates left out because their candidates were not in the logged sample.
    pub(crate) n_not_sampled: u64,
    /// Slates left out because they were composed without the ranker.
    pub(crate) n_not_ranked: u64,
}

/// Judges every target of `file` on the log of `home`.
pub(crate) fn judge(home: &Path, spec: &LogSpec, file: &OpeFile) -> Result<Vec<LogJudgement>> {
    let source = Source { reader: LogReader::new(home), spec, days: spec.days()? };
    let mut alternatives = Vec::new();
    for target in &file.target {
        alternatives.push(alternative(home, target).with_context(|| format!("target `{}`", target.name))?);
    }
    let config = file.judge_config();
    let mut model = CellMeans::new(0, config.model.folds, config.model.seed, config.model.prior_weight)?;
    let (mut n_slates, mut shelf_ids) = (0_u64, BTreeSet::new());
    source.slates(&mut |unit, record, rewards| {
        let served = follow(record, &Alternative::default())?;
        shelf_ids.extend(record.shelves.iter().map(|s| s.shelf_id.clone()));
        let mut to_go: f64 = rewards.iter().sum();
        for (chance, reward) in served.chances.iter().zip(rewards) {
            model.learn(cell(chance.position, chance.band), unit, to_go);
            to_go -= reward;
        }
        n_slates += 1;
        Ok(())
    })?;
    if n_slates == 0 {
        bail!(
            "no slate of surface `{}` in {} fits `[log]`\nhint: `segue sql 'SELECT surface, deployment_id, count(*) FROM slates GROUP BY 1, 2'`",
            spec.surface,
            home.display()
        );
    }
    for (target, id) in file.target.iter().flat_map(|t| t.shelf.keys().map(move |id| (t, id))) {
        if !shelf_ids.contains(id) {
            let known: Vec<&str> = shelf_ids.iter().map(String::as_str).collect();
            bail!("target `{}`: no slate has a shelf `{id}`; the log has {}", target.name, known.join(", "));
        }
    }
    let values = model.all_values();
    let mut evidence: Vec<(SlateEvidence, u64, u64)> = file
        .target
        .iter()
        .map(|_| (SlateEvidence::new(config.max_units.min(4_096), config.max_positions), 0, 0))
        .collect();
    source.slates(&mut |unit, record, rewards| {
        let values = &values[model.fold_of(unit)];
        for (alternative, (evidence, not_sampled, not_ranked)) in alternatives.iter().zip(&mut evidence) {
            match follow(record, alternative) {
                Ok(path) => evidence.push(Some(unit), &positions(&path, rewards, values), path.ends_short)?,
                Err(Unusable::NotSampled) => *not_sampled += 1,
                Err(Unusable::NotRanked) => *not_ranked += 1,
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    })?;
    file.target
        .iter()
        .zip(evidence)
        .map(|(target, (evidence, n_not_sampled, n_not_ranked))| {
            if evidence.n_slates() == 0 {
                bail!(
                    "target `{}`: none of {n_slates} slates can be followed: {n_not_sampled} without candidates, {n_not_ranked} without the ranker",
                    target.name
                );
            }
            let (logged_mean, logged_standard_error) = evidence.logged()?;
            let judgement = Judgement {
                target: target.name.clone(),
                n_rounds: evidence.n_slates(),
                logged_mean,
                logged_standard_error,
                families: evidence.judge(&config.gate, &config.interval)?,
            };
            Ok(LogJudgement { judgement, n_not_sampled, n_not_ranked })
        })
        .collect()
}

/// Cell of the reward model: expected reward from this position on, by the band of the item's rank.
fn cell(position: u32, band: usize) -> usize {
    position as usize * N_BANDS + band
}

fn positions(path: &Counterfactual, rewards: &[f64], values: &[f64]) -> Vec<SlatePosition> {
    let value = |position: u32, band: usize| values.get(cell(position, band)).copied().unwrap_or(0.0);
    path.chances
        .iter()
        .zip(rewards)
        .map(|(c, &reward)| SlatePosition {
            reward,
            propensity: c.propensity,
            target_probability: c.target_probability,
            marginal: None,
            model: Some((
                value(c.position, c.band),
                c.target_bands.iter().enumerate().map(|(band, p)| p * value(c.position, band)).sum(),
            )),
            unsupported: Some(c.unsupported.min(1.0)),
        })
        .collect()
}

fn alternative(home: &Path, target: &Target) -> Result<Alternative> {
    let mut out = Alternative { shelves: target.shelf.clone(), ..Alternative::default() };
    let Some(change) = &target.ranker else { return Ok(out) };
    out.heads = Some(match &change.heads {
        Some(heads) => heads.clone(),
        None => Config::load(home)?.ranker.heads,
    });
    if let Some(name) = &change.artifact {
        let artifacts = home.join("artifacts");
        let Some(folder) = segue_models::artifact::current(&artifacts, name)? else {
            bail!("there is no artifact `{name}` in {}", artifacts.display());
        };
        let loaded = segue_models::artifact::load(&folder)?;
        out.ranker = Some(Arc::from(segue_models::load_ranker(loaded.parts)?));
    }
    Ok(out)
}

struct Source<'a> {
    reader: LogReader,
    spec: &'a LogSpec,
    days: std::ops::RangeInclusive<Day>,
}

type Visitor<'a> = dyn FnMut(u64, &SlateRecord, &[f64]) -> Result<()> + 'a;

impl Source<'_> {
    /// Shows every slate with its unit and the reward of each position, from the top.
    fn slates(&self, visitor: &mut Visitor<'_>) -> Result<()> {
        for first in (0..N_BUCKETS).step_by(BUCKETS as usize) {
            let options = |days| ScanOptions {
                days: Some(days),
                buckets: Some(first..(first + BUCKETS).min(N_BUCKETS)),
                columns: None,
                batch_rows: 1_024,
            };
            // A play may be known days after its slate was served, and never before.
            let mut earned: HashMap<String, Vec<(u32, f64)>> = HashMap::new();
            for batch in self.reader.scan(Table::Plays, &options(*self.days.start()..=Day(i32::MAX)))? {
                for play in Play::read(&batch?)? {
                    if let (Some(slate), Some(position)) = (&play.slate_id, play.position) {
                        earned.entry(slate.clone()).or_default().push((position, self.worth(&play)));
                    }
                }
            }
            for batch in self.reader.scan(Table::Slates, &options(self.days.clone()))? {
                for row in SlateRow::read(&batch?)? {
                    self.slate(&row, &earned, visitor)?;
                }
            }
        }
        Ok(())
    }

    fn slate(
        &self,
        row: &SlateRow,
        earned: &HashMap<String, Vec<(u32, f64)>>,
        visitor: &mut Visitor<'_>,
    ) -> Result<()> {
        let wanted =
            |text: &Option<String>, have: Option<&str>| text.as_deref().is_none_or(|t| have == Some(t));
        let is_arm = self.spec.arm.as_ref().is_none_or(|arm| row.arms.contains(arm));
        if row.surface != self.spec.surface
            || !wanted(&self.spec.deployment, row.deployment_id.as_deref())
            || !is_arm
        {
            return Ok(());
        }
        let (Some(json), true) = (&row.record, row.n_cards != Some(0)) else { return Ok(()) };
        let record: SlateRecord =
            serde_json::from_str(json).with_context(|| format!("record of slate `{}`", row.slate_id))?;
        let n_cards: usize = record.slate.shelves.iter().map(|s| s.cards.len()).sum();
        let mut rewards = vec![0.0; n_cards];
        for &(position, worth) in earned.get(&row.slate_id).into_iter().flatten() {
            if let Some(reward) = rewards.get_mut(position as usize) {
                *reward = match self.spec.reward {
                    Reward::Minutes => *reward + worth,
                    _ => f64::max(*reward, worth),
                };
            }
        }
        let unit = UserKey::of(row.user_id.as_deref().unwrap_or(&row.slate_id)).0 as u64;
        visitor(unit, &record, &rewards)
    }

    fn worth(&self, play: &Play) -> f64 {
        let outcome = Outcome::of(play.listened_ms, play.duration_ms, play.end_reason);
        let one = |is: Option<bool>| f64::from(u8::from(is == Some(true)));
        match self.spec.reward {
            Reward::Play => 1.0,
            Reward::Stream => one(outcome.stream),
            Reward::Completion => one(outcome.completion),
            Reward::Minutes => play.listened_ms.unwrap_or(0) as f64 / 60_000.0,
        }
    }
}
