//! What an evaluation of a home leaves beside the artifacts of its models, for their cards.

use std::path::Path;

use anyhow::{Context, Result};
use segue_data::Snapshot;
use segue_eval::{Candidates, EvaluationReport};
use segue_models::{Measured, MeasuredMetric};
use segue_types::TimestampMs;

use super::Evaluation;

/// Within `artifacts/NAME`.
const FILE: &str = "measured.json";

/// Writes what was measured of each model that was fitted here and has artifacts; an evaluation of other
/// settings replaces it too, since the card takes in none but its own.
pub(super) fn keep(artifacts: &Path, snapshot: &Snapshot, found: &Evaluation) -> Result<()> {
    let report = &found.retrieval;
    for model in &report.models {
        let folder = artifacts.join(&model.name);
        let Some((kind, settings)) = found.fitted.get(&model.name).filter(|_| folder.is_dir()) else {
            continue;
        };
        let metric = |m: &segue_eval::MetricReport| MeasuredMetric {
            name: format!("{}@{}", m.metric, m.k),
            value: m.value,
            interval: m.interval,
            n_users: m.n_users as u64,
        };
        let measured = Measured {
            snapshot_id: snapshot.id().to_owned(),
            kind: kind.clone(),
            settings: settings.clone(),
            protocol: protocol(snapshot, report),
            n_users: report.split.n_test_users as u64,
            confidence: report.protocol.confidence,
            metrics: model.metrics.iter().map(metric).collect(),
        };
        let mut text = serde_json::to_vec_pretty(&measured)?;
        text.push(b'\n');
        crate::commands::write_whole(&folder.join(FILE), &text)?;
    }
    Ok(())
}

/// What was measured last of the models called `name`; `None` if nothing was.
///
/// # Errors
/// If the file cannot be read or is not one of ours.
pub(crate) fn of(artifacts: &Path, name: &str) -> Result<Option<Measured>> {
    let path = artifacts.join(name).join(FILE);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("{}\nhint: remove it; `segue evaluate` writes it anew", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| path.display().to_string()),
    }
}

/// The protocol in words: the split with its moment, what is ranked, the days of the data.
fn protocol(snapshot: &Snapshot, report: &EvaluationReport) -> String {
    let day = |ms: i64| TimestampMs(ms).day().to_iso();
    let mut text = format!("split {}", report.split.kind);
    if let Some(until) = report.split.train_until {
        text += &format!(" at {}", day(until));
    }
    let n_items = match report.protocol.candidates {
        Candidates::Train => report.split.n_train_items,
        Candidates::All => report.split.n_items,
    };
    text += &format!(", {} train plays, full ranking of {n_items} items", report.split.n_train_plays);
    text += if report.protocol.filter_seen { " without those of the history" } else { ", repeats allowed" };
    match report.protocol.fit_seeds().len() {
        0 | 1 => {}
        n => text += &format!(", mean of {n} seeds"),
    }
    if let Some((first, last)) = snapshot.time_range() {
        text += &format!(", plays from {} to {}", first.day().to_iso(), last.day().to_iso());
    }
    text
}
