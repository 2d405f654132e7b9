//! `segue train`: models from a snapshot, as artifacts.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use segue_data::progress::Progress;
use segue_data::{Examples, ExamplesFrom, Snapshot};
use segue_models::ranking::{DEFAULT_HEADS, TrainedOn, TreesRanker};
use segue_models::sequence::CheckpointFile;
use segue_models::trees::TreesConfig;
use segue_models::{
    ArtifactMeta, Checkpoints, LoadedArtifact, ModelError, Ranker, SnapshotInput, TrainingRecord,
    TrainingRun, artifact, registry,
};
use serde::Serialize;

use crate::Global;
use crate::config::Config;
use crate::output::{self, Format};
use crate::progress::Bar;

/// Train the models of segue.toml on the current snapshot and publish them.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue train
  segue train --models markov,ranker
  segue train --models next --warm-start

A sequence model writes a checkpoint while it trains. The same command goes on from it after a
crash, and ends with the artifact of an uninterrupted training, byte for byte.
markov, seq_rules and pctm with `keep_counts = true` add a day's plays to their counts; the artifact is
that of all plays.
A running server takes the new artifacts with POST /v1/reload.")]
pub(crate) struct Args {
    /// Only these models, by their names in segue.toml; `ranker` is the ranker
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    models: Vec<String>,
    /// Seed of what is random in training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Let sequence models, and counting models with `keep_counts`, go on from the artifact that serves with the plays it has not seen
    #[arg(long)]
    warm_start: bool,
    /// Seconds between two checkpoints of a training; 0 writes one after each step
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    checkpoint_seconds: u64,
}

/// How models are trained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// Seed of what is random.
    pub(crate) seed: u64,
    /// Whether to go on from the artifacts that serve.
    pub(crate) warm_start: bool,
    /// Between two checkpoints.
    pub(crate) checkpoint_every: Duration,
}

impl How {
    /// From new weights, a checkpoint every half a minute.
    pub(crate) fn anew(seed: u64) -> Self {
        Self { seed, warm_start: false, checkpoint_every: Duration::from_secs(30) }
    }
}

/// One trained artifact.
#[derive(Debug, Serialize)]
pub(crate) struct Trained {
    /// Name in the configuration.
    pub(crate) name: String,
    /// Kind of the model.
    pub(crate) kind: String,
    /// Id of its artifact; absent if the data does not allow the model.
    pub(crate) artifact_id: Option<String>,
    /// Seconds of fitting and saving.
    pub(crate) seconds: f64,
    /// Why there is no artifact, or what the artifact lacks.
    pub(crate) note: Option<String>,
    /// The loss curve, of models that are trained in rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) training: Option<TrainingRecord>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let config = Config::load(&global.home)?;
    let checkpoint_every = Duration::from_secs(args.checkpoint_seconds);
    let how = How { seed: args.seed, warm_start: args.warm_start, checkpoint_every };
    let trained = train(&config, &args.models, how, global)?;
    match global.format() {
        Format::Json => output::json(&trained),
        Format::People => {
            print(&trained);
            Ok(())
        }
    }
}

/// What was trained, for people.
pub(crate) fn print(trained: &[Trained]) {
    let rows: Vec<Vec<String>> = trained
        .iter()
        .map(|t| {
            let id = t.artifact_id.as_deref().map_or("–", |id| &id[..id.len().min(12)]);
            let seconds = format!("{:.2}", t.seconds);
            vec![t.name.clone(), t.kind.clone(), id.to_owned(), seconds, t.note.clone().unwrap_or_default()]
        })
        .collect();
    output::table(&["model", "kind", "artifact", "seconds", "note"], &rows);
}

/// Trains and publishes. A model that needs what the data lacks is left out with the reason; any
/// other failure ends the command.
pub(crate) fn train(config: &Config, only: &[String], how: How, global: &Global) -> Result<Vec<Trained>> {
    for name in only {
        if name != &config.ranker.artifact && !config.model.contains_key(name) {
            let known: Vec<&str> = config.model.keys().map(String::as_str).collect();
            anyhow::bail!(
                "no model `{name}` in segue.toml; it names {} and {}",
                known.join(", "),
                config.ranker.artifact
            );
        }
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|n| n == name);
    let snapshot = Snapshot::open_current(&global.home)?;
    let artifacts = global.home.join("artifacts");
    let meta = ArtifactMeta {
        snapshot_id: Some(snapshot.id().to_owned()),
        seed: how.seed,
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ArtifactMeta::default()
    };
    let bar = Bar::new(global.quiet);
    let input = SnapshotInput::new(&snapshot);
    let mut out = Vec::new();
    for (name, table) in config.model.iter().filter(|(name, _)| wanted(name)) {
        let began = Instant::now();
        let (kind, settings) = registry::split_kind(table)?;
        bar.begin(&format!("training {name}"), None, "models");
        let checkpoint = artifacts.join(name).join("checkpoint");
        let earlier = if how.warm_start { earlier(&artifacts, name)? } else { None };
        let clock = Clock { every: how.checkpoint_every, last: Cell::new(Instant::now()) };
        let is_due = || clock.is_due();
        let mut run = TrainingRun {
            checkpoints: Some(Checkpoints { path: checkpoint.clone(), of: identity(&meta), is_due: &is_due }),
            earlier: earlier.as_ref(),
            progress: &bar,
            ..TrainingRun::default()
        };
        let input = input.input(&snapshot, None, how.seed);
        let fitted = registry::recommender_kind(&kind)?.train(&settings, &input, &mut run);
        let TrainingRun { record, mut messages, .. } = run;
        let artifact_id = match fitted {
            Ok(model) => {
                let meta = ArtifactMeta { training: record.clone(), ..meta.clone() };
                let id = artifact::save(&artifacts, name, &model.parts(), input.item_keys, &meta)?;
                artifact::publish(&artifacts, name, &id)?;
                CheckpointFile::remove(&checkpoint)?;
                Some(id)
            }
            Err(error) if is_about_the_data(&error) => {
                messages.push(error.to_string());
                None
            }
            Err(error) => {
                let kept = if checkpoint.is_file() {
                    format!("training `{name}`; its last good checkpoint stays in {}", checkpoint.display())
                } else {
                    format!("training `{name}`")
                };
                return Err(error).context(kept);
            }
        };
        out.push(Trained {
            name: name.clone(),
            kind,
            artifact_id,
            seconds: began.elapsed().as_secs_f64(),
            note: (!messages.is_empty()).then(|| messages.join("; ")),
            training: record,
        });
    }
    if wanted(&config.ranker.artifact) && !config.ranker.artifact.is_empty() {
        let began = Instant::now();
        let name = config.ranker.artifact.clone();
        bar.begin(&format!("training {name}"), None, "models");
        let (artifact_id, note) = match fit_ranker(&snapshot.examples()?, snapshot.examples_from(), how.seed)?
        {
            Ok(ranker) => {
                let meta = ArtifactMeta { metrics: ranker.metrics(), ..meta };
                let id = artifact::save(&artifacts, &name, &ranker.parts(), &[], &meta)?;
                artifact::publish(&artifacts, &name, &id)?;
                (Some(id), Some(lacking(&ranker)))
            }
            Err(reason) => (None, Some(reason)),
        };
        let seconds = began.elapsed().as_secs_f64();
        out.push(Trained { name, kind: "trees".to_owned(), artifact_id, seconds, note, training: None });
    }
    Ok(out)
}

/// The artifact that serves, to start from; `None` if there is none.
fn earlier(artifacts: &Path, name: &str) -> Result<Option<LoadedArtifact>> {
    let folder = artifact::current(artifacts, name)?;
    Ok(folder.map(|folder| artifact::load(&folder)).transpose()?)
}

/// What tells trainings of this command apart besides settings and seed.
fn identity(meta: &ArtifactMeta) -> BTreeMap<String, String> {
    let snapshot = meta.snapshot_id.clone().unwrap_or_default();
    [("snapshot".to_owned(), snapshot), ("code version".to_owned(), meta.code_version.clone())].into()
}

/// Says when a checkpoint is due.
struct Clock {
    every: Duration,
    last: Cell<Instant>,
}

impl Clock {
    fn is_due(&self) -> bool {
        let due = self.last.get().elapsed() >= self.every;
        if due {
            self.last.set(Instant::now());
        }
        due
    }
}

/// What a ranker was trained on and which heads it could not learn.
fn lacking(ranker: &TreesRanker) -> String {
    let record = ranker.record();
    let on = match record.trained_on {
        TrainedOn::Impressions => "trained on impressions",
        TrainedOn::Plays => "trained on plays: probabilities are given played, not given shown",
    };
    let lacks = record.lacks.iter().map(|l| format!("no `{}` head: {}", l.head, l.because));
    std::iter::once(on.to_owned()).chain(lacks).collect::<Vec<_>>().join("; ")
}

/// Fits the ranker on training rows.
///
/// The inner error says why the data does not allow one.
pub(crate) fn fit_ranker(
    examples: &Examples,
    from: ExamplesFrom,
    seed: u64,
) -> Result<Result<TreesRanker, String>> {
    let settings = TreesConfig { seed, ..TreesConfig::default() };
    match TreesRanker::fit_examples(examples, from, &DEFAULT_HEADS, &settings) {
        Ok(ranker) => Ok(Ok(ranker)),
        Err(error) if is_about_the_data(&error) => Ok(Err(error.to_string())),
        Err(error) => Err(error).context("training the ranker"),
    }
}

/// Whether the data, not a mistake or a fault, keeps a model from being trained.
pub(crate) fn is_about_the_data(error: &ModelError) -> bool {
    matches!(error, ModelError::NeedsDates { .. } | ModelError::NeedsData { .. } | ModelError::NoHead { .. })
}
