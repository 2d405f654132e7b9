//! `segue train`: models from a snapshot, as artifacts.

use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use segue_data::progress::Progress;
use segue_data::{Examples, ExamplesFrom, Snapshot};
use segue_models::ranking::{DEFAULT_HEADS, TrainedOn, TreesRanker};
use segue_models::trees::TreesConfig;
use segue_models::{ArtifactMeta, ModelError, Ranker, SnapshotInput, artifact, registry};
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

A running server takes the new artifacts with POST /v1/reload.")]
pub(crate) struct Args {
    /// Only these models, by their names in segue.toml; `ranker` is the ranker
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    models: Vec<String>,
    /// Seed of what is random in training
    #[arg(long, default_value_t = 0)]
    seed: u64,
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
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let config = Config::load(&global.home)?;
    let trained = train(&config, &args.models, args.seed, global)?;
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
pub(crate) fn train(config: &Config, only: &[String], seed: u64, global: &Global) -> Result<Vec<Trained>> {
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
        seed,
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ArtifactMeta::default()
    };
    let bar = Bar::new(global.quiet);
    let n_models =
        config.model.keys().filter(|n| wanted(n)).count() + usize::from(wanted(&config.ranker.artifact));
    bar.begin("training", Some(n_models as u64), "models");

    let input = SnapshotInput::new(&snapshot);
    let mut out = Vec::new();
    for (name, table) in config.model.iter().filter(|(name, _)| wanted(name)) {
        let began = Instant::now();
        let (kind, _) = registry::split_kind(table)?;
        let fitted = registry::fit_recommender(table, &input.input(&snapshot, None, seed));
        let (artifact_id, note) = match fitted {
            Ok(model) => {
                let id = artifact::save(&artifacts, name, &model.parts(), input.item_keys(), &meta)?;
                artifact::publish(&artifacts, name, &id)?;
                (Some(id), None)
            }
            Err(error) if is_about_the_data(&error) => (None, Some(error.to_string())),
            Err(error) => return Err(error).with_context(|| format!("training `{name}`")),
        };
        out.push(Trained {
            name: name.clone(),
            kind,
            artifact_id,
            seconds: began.elapsed().as_secs_f64(),
            note,
        });
        bar.advance(1);
    }
    if wanted(&config.ranker.artifact) && !config.ranker.artifact.is_empty() {
        let began = Instant::now();
        let name = config.ranker.artifact.clone();
        let (artifact_id, note) = match fit_ranker(&snapshot.examples()?, snapshot.examples_from(), seed)? {
            Ok(ranker) => {
                let meta = ArtifactMeta { metrics: ranker.metrics(), ..meta };
                let id = artifact::save(&artifacts, &name, &ranker.parts(), &[], &meta)?;
                artifact::publish(&artifacts, &name, &id)?;
                (Some(id), Some(lacking(&ranker)))
            }
            Err(reason) => (None, Some(reason)),
        };
        let seconds = began.elapsed().as_secs_f64();
        out.push(Trained { name, kind: "trees".to_owned(), artifact_id, seconds, note });
        bar.advance(1);
    }
    Ok(out)
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
