//! The ranker of an evaluation: fitted on requests before the split, judged on those after it.

use anyhow::Result;
use segue_data::{Examples, Snapshot};
use segue_eval::{EvaluationReport, Predictions, ProbabilityReport, judge};
use segue_models::{FeatureMatrix, Ranker};
use serde::Serialize;

use crate::commands::train::fit_ranker;
use crate::config::Config;

/// How good one head of the ranker is on requests after the split.
#[derive(Debug, Serialize)]
pub(crate) struct HeadQuality {
    /// Name of the head.
    pub(crate) head: String,
    /// Its quality.
    pub(crate) quality: ProbabilityReport,
}

/// Equal-count bins of the calibration table.
const CALIBRATION_BINS: usize = 10;

/// The ranker fitted on requests before the split's moment and judged on those after it.
pub(super) fn ranker(
    snapshot: &Snapshot,
    report: &EvaluationReport,
    config: &Config,
) -> Result<Result<Vec<HeadQuality>, String>> {
    let Some(until) = report.split.train_until else {
        return Ok(Err("a ranker is evaluated on dated data".to_owned()));
    };
    let settings = &config.evaluate;
    let all = snapshot.examples()?;
    let (before, after) = (part(&all, |at| at < until), part(&all, |at| at >= until));
    if after.is_empty() {
        return Ok(Err("no requests after the split".to_owned()));
    }
    let ranker = match fit_ranker(&before, snapshot.examples_from(), settings.seed)? {
        Ok(ranker) => ranker,
        Err(why) => return Ok(Err(why)),
    };
    let mut scores = Vec::new();
    ranker.score(&FeatureMatrix { values: &after.values, names: &after.feature_names }, &mut scores)?;
    let n_heads = ranker.heads().len();
    let mut out = Vec::new();
    for (h, head) in ranker.heads().iter().enumerate() {
        let Some(column) = segue_data::examples::HEADS.iter().position(|name| name == head) else { continue };
        let rows: Vec<usize> = (0..after.len()).filter(|&i| !after.labels[column][i].is_nan()).collect();
        if rows.is_empty() {
            continue;
        }
        let probability: Vec<f32> = rows.iter().map(|&i| scores[i * n_heads + h]).collect();
        let label: Vec<bool> = rows.iter().map(|&i| after.labels[column][i] > 0.5).collect();
        let request: Vec<u64> = rows.iter().map(|&i| after.group[i]).collect();
        let predictions = Predictions { probability: &probability, label: &label, request: &request };
        let quality = judge(&predictions, CALIBRATION_BINS, settings.draws, settings.seed, 0.95)?;
        out.push(HeadQuality { head: head.clone(), quality });
    }
    Ok(Ok(out))
}

/// The training rows whose request lies in a time range.
fn part(all: &Examples, is_wanted: impl Fn(i64) -> bool) -> Examples {
    let rows: Vec<usize> = (0..all.len()).filter(|&i| is_wanted(all.requested_at[i])).collect();
    fn pick<T: Copy>(column: &[T], rows: &[usize]) -> Vec<T> {
        rows.iter().map(|&i| column[i]).collect()
    }
    Examples {
        feature_names: all.feature_names.clone(),
        values: rows.iter().flat_map(|&i| all.features(i)).copied().collect(),
        group: pick(&all.group, &rows),
        requested_at: pick(&all.requested_at, &rows),
        user: pick(&all.user, &rows),
        item: pick(&all.item, &rows),
        position: pick(&all.position, &rows),
        prefix_propensity: pick(&all.prefix_propensity, &rows),
        labels: std::array::from_fn(|h| pick(&all.labels[h], &rows)),
    }
}
