//! The ranker of boosted trees: one forest per head, calibrated on later rows.
//!
//! Each head learns from the rows that have its label. The latest of all rows, by time, are held out:
//! they stop the growing and calibrate the scores, and no tree is grown on them. (Undated rows are
//! held out by request instead.) A head without enough labels is left out and the record says why; a
//! ranker without any head is an error.
//!
//! What a probability means depends on the rows: given *shown* if they were impressions, given
//! *played* if they were plays. The record says which.

use std::collections::BTreeMap;

use segue_data::{Examples, ExamplesFrom};
use serde::{Deserialize, Serialize};

use super::rows::{HeadLabels, TrainedOn, TrainingRows};
use crate::trees::{
    self, Calibration, CalibrationMethod, Direction, Forest, ForestArrays, Scorer, TreesConfig,
};
use crate::{FeatureContribution, FeatureMatrix, ModelError, ModelParts, Ranker, Tensors};

/// Name of the kind in configuration and artifacts.
pub const KIND: &str = "trees";

/// Heads trained from [`Examples`] unless asked otherwise.
pub const DEFAULT_HEADS: [&str; 2] = ["stream", "completion"];

/// Labelled rows a head needs at least.
const MIN_LABELLED: usize = 100;

/// Boosted trees as a [`Ranker`].
#[derive(Debug, Clone)]
pub struct TreesRanker {
    record: TreesRecord,
    heads: Vec<String>,
    forests: Vec<Forest>,
    scorers: Vec<Scorer>,
}

/// What the artifact says of a ranker: its settings and how its fit went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreesRecord {
    /// Settings of the fit.
    pub settings: TreesConfig,
    /// Whether a row was something shown or something played.
    pub trained_on: TrainedOn,
    /// Feature names, in column order.
    pub features: Vec<String>,
    /// The heads it has, in the order of its scores.
    pub heads: Vec<HeadRecord>,
    /// The heads it was asked for and lacks.
    pub lacks: Vec<LackedHead>,
}

/// One head of a fitted ranker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRecord {
    /// Its name.
    pub head: String,
    /// Labelled rows the trees were grown on.
    pub n_train: usize,
    /// Labelled rows held out, later in time.
    pub n_held_out: usize,
    /// Share of ones among the training rows.
    pub train_rate: f64,
    /// Trees kept.
    pub n_trees: usize,
    /// How scores become probabilities.
    pub calibration: Calibration,
    /// Log loss on the held-out rows. They chose the number of trees and the calibration, so this
    /// flatters a little; judge a ranker on rows it has not met. Absent without held-out rows.
    pub held_out: Option<HeldOutLoss>,
}

/// Mean log loss per held-out row, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOutLoss {
    /// Of the training rows' rate, the same for every row.
    pub base_rate: f64,
    /// Of the trees before calibration.
    pub uncalibrated: f64,
    /// Of the head as it scores.
    pub calibrated: f64,
}

/// A head that could not be trained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LackedHead {
    /// Its name.
    pub head: String,
    /// Why, in a sentence.
    pub because: String,
}

impl TreesRanker {
    /// Fits every head that has labels.
    ///
    /// # Errors
    /// [`ModelError::NoHead`] with the reason of each head if none can be trained;
    /// [`ModelError::Shape`], [`ModelError::Value`] or [`ModelError::Config`] if rows or settings are
    /// malformed.
    pub fn fit(rows: &TrainingRows<'_>, settings: &TreesConfig) -> Result<Self, ModelError> {
        settings.check()?;
        rows.check()?;
        let directions = directions(rows.names, settings)?;
        let is_held_out = hold_out(rows, settings);
        let mut record = TreesRecord {
            settings: settings.clone(),
            trained_on: rows.trained_on,
            features: rows.names.to_vec(),
            heads: Vec::new(),
            lacks: Vec::new(),
        };
        let mut forests = Vec::new();
        for head in rows.heads {
            match fit_head(rows, head, &is_held_out, &directions, settings)? {
                Ok((forest, fitted)) => {
                    tracing::info!(head = head.head, n_train = fitted.n_train, n_trees = fitted.n_trees);
                    forests.push(forest);
                    record.heads.push(fitted);
                }
                Err(because) => record.lacks.push(LackedHead { head: head.head.to_owned(), because }),
            }
        }
        if forests.is_empty() {
            let reason = |lack: &LackedHead| format!("{}: {}", lack.head, lack.because);
            let reasons = record.lacks.iter().map(reason).collect::<Vec<_>>().join("; ");
            return Err(ModelError::NoHead { model: KIND, reasons });
        }
        Ok(Self::new(record, forests))
    }

    /// Fits the named heads of a snapshot's training rows; see [`DEFAULT_HEADS`].
    ///
    /// # Errors
    /// As [`fit`](Self::fit); [`ModelError::NeedsData`] if the log had neither impressions nor plays.
    pub fn fit_examples(
        examples: &Examples,
        from: ExamplesFrom,
        heads: &[&str],
        settings: &TreesConfig,
    ) -> Result<Self, ModelError> {
        let trained_on = match from {
            ExamplesFrom::Impressions => TrainedOn::Impressions,
            ExamplesFrom::Plays => TrainedOn::Plays,
            ExamplesFrom::Nothing => {
                return Err(ModelError::NeedsData { model: KIND, what: "impressions or plays" });
            }
        };
        let n_features = examples.feature_names.len();
        if examples.values.len() != n_features * examples.len() {
            return Err(ModelError::Shape {
                what: format!("feature values of {} examples × {n_features}", examples.len()),
                expected: n_features * examples.len(),
                got: examples.values.len(),
            });
        }
        let columns: Vec<Vec<f32>> = (0..n_features)
            .map(|f| (0..examples.len()).map(|row| examples.values[row * n_features + f]).collect())
            .collect();
        let columns: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
        let labels_of = |head: &str| -> Vec<Option<bool>> {
            let known = segue_data::examples::HEADS.iter().position(|name| *name == head);
            match known {
                Some(h) => examples.labels[h].iter().map(|&l| (!l.is_nan()).then_some(l > 0.5)).collect(),
                None => vec![None; examples.len()],
            }
        };
        let labels: Vec<Vec<Option<bool>>> = heads.iter().map(|head| labels_of(head)).collect();
        let heads: Vec<HeadLabels<'_>> = heads
            .iter()
            .zip(&labels)
            .map(|(&head, labels)| {
                let missing_because = (head == "completion")
                    .then_some("a completion needs the duration of the item and how long it was heard");
                HeadLabels { head, labels, missing_because }
            })
            .collect();
        let rows = TrainingRows {
            names: &examples.feature_names,
            columns: &columns,
            request: &examples.group,
            time_ms: Some(&examples.requested_at),
            heads: &heads,
            trained_on,
        };
        Self::fit(&rows, settings)
    }

    /// Rebuilds a ranker from what [`Ranker::parts`] gave. Nothing in the parts is trusted.
    ///
    /// # Errors
    /// [`ModelError::Artifact`] names the head and what of it is wrong.
    pub fn load(mut parts: ModelParts) -> Result<Self, ModelError> {
        let mut record: TreesRecord = serde_json::from_value(parts.config.take())
            .map_err(|e| parts.tensors.wrong(format!("the record of `{KIND}`"), e.to_string()))?;
        if record.heads.is_empty() {
            return Err(parts.tensors.wrong("at least one head".into(), "none".into()));
        }
        let mut forests = Vec::new();
        for head in &mut record.heads {
            // JSON readers may miss the last bit of a number; the tensor is what scores.
            let numbers = parts.tensors.take_finite(&format!("{}.calibration", head.head), 2)?;
            let (slope, offset) = (numbers[0], numbers[1]);
            (head.calibration.slope, head.calibration.offset) = (slope, offset);
            if slope <= 0.0 {
                let expected = format!("a calibration of head `{}` with a slope above 0", head.head);
                return Err(parts.tensors.wrong(expected, format!("slope {slope}, offset {offset}")));
            }
            let arrays = take_forest(&mut parts.tensors, &head.head)?;
            let forest = Forest::from_arrays(record.features.len(), arrays)
                .map_err(|got| parts.tensors.wrong(format!("a forest for head `{}`", head.head), got))?;
            if forest.n_trees() != head.n_trees {
                let expected = format!("{} trees for head `{}`", head.n_trees, head.head);
                return Err(parts.tensors.wrong(expected, forest.n_trees().to_string()));
            }
            forests.push(forest);
        }
        Ok(Self::new(record, forests))
    }

    fn new(record: TreesRecord, forests: Vec<Forest>) -> Self {
        let heads = record.heads.iter().map(|head| head.head.clone()).collect();
        let scorers = forests.iter().map(Scorer::new).collect();
        Self { record, heads, forests, scorers }
    }

    /// What the artifact says of it.
    #[must_use]
    pub fn record(&self) -> &TreesRecord {
        &self.record
    }

    /// The forest of each head.
    #[must_use]
    pub fn forests(&self) -> &[Forest] {
        &self.forests
    }

    /// Measured quality by name, for the artifact's manifest: `HEAD.held_out_log_loss`,
    /// `HEAD.base_rate_log_loss` and `HEAD.n_trees`.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::new();
        for head in &self.record.heads {
            metrics.insert(format!("{}.n_trees", head.head), head.n_trees as f64);
            if let Some(loss) = head.held_out {
                metrics.insert(format!("{}.held_out_log_loss", head.head), loss.calibrated);
                metrics.insert(format!("{}.base_rate_log_loss", head.head), loss.base_rate);
            }
        }
        metrics
    }

    /// Where each of its features stands in the matrix; `None` if the matrix lacks it.
    fn columns_in(&self, features: &FeatureMatrix<'_>) -> Result<Vec<Option<usize>>, ModelError> {
        let width = features.names.len();
        if features.values.len() != features.n_rows() * width {
            return Err(ModelError::Shape {
                what: format!("values of a feature matrix of {width} columns (whole rows)"),
                expected: features.n_rows() * width,
                got: features.values.len(),
            });
        }
        if features.names == self.record.features {
            return Ok((0..width).map(Some).collect());
        }
        let find = |name: &String| features.names.iter().position(|other| other == name);
        Ok(self.record.features.iter().map(find).collect())
    }
}

impl Ranker for TreesRanker {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn heads(&self) -> &[String] {
        &self.heads
    }

    fn features(&self) -> &[String] {
        &self.record.features
    }

    fn score(&self, features: &FeatureMatrix<'_>, out: &mut Vec<f32>) -> Result<(), ModelError> {
        let columns = self.columns_in(features)?;
        let (n_rows, width, n_heads) = (features.n_rows(), features.names.len(), self.heads.len());
        out.clear();
        out.resize(n_rows * n_heads, 0.0);
        let mut scores = vec![0.0; n_rows];
        for (h, scorer) in self.scorers.iter().enumerate() {
            scorer.score_columns(&mut scores, |row, feature| {
                columns[feature].map_or(f32::NAN, |column| features.values[row * width + column])
            });
            let calibration = self.record.heads[h].calibration;
            for (row, &score) in scores.iter().enumerate() {
                out[row * n_heads + h] = calibration.probability(score);
            }
        }
        Ok(())
    }

    fn parts(&self) -> ModelParts {
        let heads = self.record.heads.iter().zip(&self.forests);
        let tensors = heads.fold(Tensors::new(), |tensors, (record, forest)| {
            let Calibration { slope, offset, .. } = record.calibration;
            put_forest(tensors, &record.head, forest.arrays())
                .with(&format!("{}.calibration", record.head), &[slope, offset])
        });
        ModelParts::new(KIND, &self.record, tensors)
    }

    fn explain(
        &self,
        features: &FeatureMatrix<'_>,
        row: usize,
        head: usize,
    ) -> Result<Vec<FeatureContribution>, ModelError> {
        let columns = self.columns_in(features)?;
        let index = |what: &str, index: usize, len: usize| {
            let what = format!("{what} to explain, below {len}");
            if index < len { Ok(()) } else { Err(ModelError::Shape { what, expected: len, got: index }) }
        };
        index("row", row, features.n_rows())?;
        index("head", head, self.heads.len())?;
        let width = features.names.len();
        let value = |c: &Option<usize>| c.map_or(f32::NAN, |c| features.values[row * width + c]);
        let values: Vec<f32> = columns.iter().map(value).collect();
        let mut amounts = vec![0.0; values.len()];
        self.forests[head].explain(&values, &mut amounts);
        let slope = self.record.heads[head].calibration.slope;
        let mut out: Vec<FeatureContribution> = amounts
            .iter()
            .enumerate()
            .filter(|(_, amount)| **amount != 0.0)
            .map(|(feature, &amount)| FeatureContribution { feature, log_odds: amount * slope })
            .collect();
        out.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()).then(a.feature.cmp(&b.feature)));
        Ok(out)
    }
}

/// Fits one head; the inner error is why there can be none.
fn fit_head(
    rows: &TrainingRows<'_>,
    head: &HeadLabels<'_>,
    is_held_out: &[bool],
    directions: &[Option<Direction>],
    settings: &TreesConfig,
) -> Result<Result<(Forest, HeadRecord), String>, ModelError> {
    let labels: Vec<bool> = head.labels.iter().map(|label| *label == Some(true)).collect();
    let of_part = |held_out: bool| -> Vec<u32> {
        let is_in = |row: &u32| {
            let row = *row as usize;
            head.labels[row].is_some() && is_held_out[row] == held_out
        };
        (0..head.labels.len() as u32).filter(is_in).collect()
    };
    let (train, held_out) = (of_part(false), of_part(true));
    let n_labelled = train.len() + held_out.len();
    if n_labelled < MIN_LABELLED {
        let why = head.missing_because.map_or(String::new(), |why| format!(" ({why})"));
        return Ok(Err(format!("{n_labelled} rows have a label, {MIN_LABELLED} are needed{why}")));
    }
    let n_positive = train.iter().filter(|&&row| labels[row as usize]).count();
    if n_positive == 0 || n_positive == train.len() {
        let label = u8::from(n_positive > 0);
        return Ok(Err(format!("all {} training labels are {label}; both are needed", train.len())));
    }
    let fitted = trees::fit(rows.columns, &labels, &train, &held_out, directions, settings)?;

    let scorer = Scorer::new(&fitted.forest);
    let mut scores = vec![0.0; held_out.len()];
    scorer.score_columns(&mut scores, |row, feature| rows.columns[feature][held_out[row] as usize]);
    let held_out_labels: Vec<bool> = held_out.iter().map(|&row| labels[row as usize]).collect();
    let calibration = Calibration::fit(&scores, &held_out_labels);
    let uncalibrated = Calibration::none(CalibrationMethod::TooFewRows);
    let base = vec![fitted.forest.arrays().base_score; held_out.len()];
    let record = HeadRecord {
        head: head.head.to_owned(),
        n_train: train.len(),
        n_held_out: held_out.len(),
        train_rate: n_positive as f64 / train.len() as f64,
        n_trees: fitted.forest.n_trees(),
        calibration,
        held_out: (!held_out.is_empty()).then(|| HeldOutLoss {
            base_rate: uncalibrated.mean_log_loss(&base, &held_out_labels),
            uncalibrated: uncalibrated.mean_log_loss(&scores, &held_out_labels),
            calibrated: calibration.mean_log_loss(&scores, &held_out_labels),
        }),
    };
    Ok(Ok((fitted.forest, record)))
}

/// Which rows are held out: the latest in time, whole requests; by a hash of the request for undated
/// rows, and for rows whose times are so alike that no cut leaves half of them to train on.
fn hold_out(rows: &TrainingRows<'_>, settings: &TreesConfig) -> Vec<bool> {
    if settings.held_out_share == 0.0 {
        return vec![false; rows.n_rows()];
    }
    if let Some(time_ms) = rows.time_ms {
        let mut sorted = time_ms.to_vec();
        sorted.sort_unstable();
        let n_kept = ((1.0 - settings.held_out_share) * sorted.len() as f64).ceil() as usize;
        if let Some(&cut) = sorted.get(n_kept)
            && 2 * sorted.partition_point(|&t| t < cut) >= sorted.len()
        {
            return time_ms.iter().map(|&t| t >= cut).collect();
        }
    }
    let by_request =
        |&request: &u64| trees::request_falls_in(settings.held_out_share, settings.seed, request);
    rows.request.iter().map(by_request).collect()
}

/// The direction of each feature, or nothing if none is held to one.
fn directions(names: &[String], settings: &TreesConfig) -> Result<Vec<Option<Direction>>, ModelError> {
    if settings.monotone.is_empty() {
        return Ok(Vec::new());
    }
    let mut directions = vec![None; names.len()];
    for rule in &settings.monotone {
        let Some(feature) = names.iter().position(|name| *name == rule.feature) else {
            return Err(ModelError::Config {
                model: KIND,
                setting: "monotone",
                value: rule.feature.clone(),
                rule: "it names features of the training rows",
            });
        };
        directions[feature] = Some(rule.direction);
    }
    Ok(directions)
}

fn put_forest(tensors: Tensors, head: &str, arrays: &ForestArrays) -> Tensors {
    let name = |array: &str| format!("{head}.{array}");
    tensors
        .with(&name("base_score"), &[arrays.base_score])
        .with(&name("node_offsets"), &arrays.node_offsets)
        .with(&name("leaf_offsets"), &arrays.leaf_offsets)
        .with(&name("feature"), &arrays.feature)
        .with(&name("threshold"), &arrays.threshold)
        .with(&name("missing_left"), &arrays.missing_left)
        .with(&name("left"), &arrays.left)
        .with(&name("right"), &arrays.right)
        .with(&name("node_value"), &arrays.node_value)
        .with(&name("leaf_value"), &arrays.leaf_value)
}

fn take_forest(tensors: &mut Tensors, head: &str) -> Result<ForestArrays, ModelError> {
    let name = |array: &str| format!("{head}.{array}");
    Ok(ForestArrays {
        base_score: tensors.take_finite(&name("base_score"), 1)?[0],
        node_offsets: tensors.take(&name("node_offsets"))?,
        leaf_offsets: tensors.take(&name("leaf_offsets"))?,
        feature: tensors.take(&name("feature"))?,
        threshold: tensors.take(&name("threshold"))?,
        missing_left: tensors.take(&name("missing_left"))?,
        left: tensors.take(&name("left"))?,
        right: tensors.take(&name("right"))?,
        node_value: tensors.take(&name("node_value"))?,
        leaf_value: tensors.take(&name("leaf_value"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ArtifactMeta, artifact, load_ranker};

    /// 2,000 rows of 200 requests over 200 days: `stream` follows `taste`, `completion` its absence.
    struct World {
        names: Vec<String>,
        columns: Vec<Vec<f32>>,
        request: Vec<u64>,
        time_ms: Vec<i64>,
        stream: Vec<Option<bool>>,
        completion: Vec<Option<bool>>,
    }

    fn world() -> World {
        let n = 2000u64;
        let unit = |stream: u64, i: u64| {
            let z = (i * 2_654_435_761 + stream * 40_503).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (z >> 40) as f32 / (1u64 << 24) as f32
        };
        let taste: Vec<f32> = (0..n).map(|i| unit(1, i)).collect();
        let noise: Vec<f32> = (0..n).map(|i| if i % 7 == 0 { f32::NAN } else { unit(2, i) }).collect();
        let stream = (0..n).map(|i| Some(unit(3, i) < 0.1 + 0.8 * taste[i as usize])).collect();
        let completion =
            (0..n).map(|i| (i % 3 > 0).then(|| unit(4, i) < 0.9 - 0.8 * taste[i as usize])).collect();
        World {
            names: vec!["taste".into(), "noise".into()],
            columns: vec![taste, noise],
            request: (0..n).map(|i| i / 10).collect(),
            time_ms: (0..n as i64).map(|i| i / 10 * 86_400_000).collect(),
            stream,
            completion,
        }
    }

    fn settings() -> TreesConfig {
        TreesConfig { rounds: 40, max_leaves: 8, ..Default::default() }
    }

    fn fit(world: &World, dated: bool) -> Result<TreesRanker, ModelError> {
        let columns: Vec<&[f32]> = world.columns.iter().map(Vec::as_slice).collect();
        let why = Some("the plays have no durations");
        let heads = [
            HeadLabels { head: "stream", labels: &world.stream, missing_because: None },
            HeadLabels { head: "completion", labels: &world.completion, missing_because: why },
        ];
        let rows = TrainingRows {
            names: &world.names,
            columns: &columns,
            request: &world.request,
            time_ms: dated.then_some(&world.time_ms),
            heads: &heads,
            trained_on: TrainedOn::Impressions,
        };
        TreesRanker::fit(&rows, &settings())
    }

    fn score(ranker: &dyn Ranker, names: &[&str], values: &[f32]) -> Vec<f32> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut out = vec![9.0];
        ranker.score(&FeatureMatrix { values, names: &names }, &mut out).expect("well-formed");
        out
    }

    #[test]
    fn heads_follow_their_own_labels_and_are_probabilities() {
        let ranker = fit(&world(), true).expect("fits");
        assert_eq!(ranker.heads(), ["stream", "completion"]);
        let p = score(&ranker, &["taste", "noise"], &[0.05, 0.5, 0.95, 0.5]);
        assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
        assert!(p[2] > p[0] + 0.4 && p[1] > p[3] + 0.4, "{p:?}");
        for head in &ranker.record().heads {
            let loss = head.held_out.expect("rows were held out");
            assert!(loss.calibrated < loss.base_rate - 0.05, "{head:?}");
            assert_eq!(head.calibration.method, CalibrationMethod::Platt);
        }
        assert!(ranker.metrics()["stream.held_out_log_loss"] > 0.0);
    }

    #[test]
    fn columns_are_matched_by_name_and_an_absent_one_is_missing() {
        let ranker = fit(&world(), true).expect("fits");
        let straight = score(&ranker, &["taste", "noise"], &[0.9, 0.3]);
        assert_eq!(score(&ranker, &["other", "noise", "taste"], &[7.0, 0.3, 0.9]), straight);
        let absent = score(&ranker, &["taste"], &[0.9]);
        assert_eq!(absent, score(&ranker, &["taste", "noise"], &[0.9, f32::NAN]));
        assert!(score(&ranker, &["taste", "noise"], &[]).is_empty());
    }

    #[test]
    fn a_matrix_that_is_not_whole_rows_is_refused() {
        let ranker = fit(&world(), true).expect("fits");
        for (names, values) in [(vec!["taste".to_owned(), "noise".to_owned()], [1.0; 3]), (vec![], [1.0; 3])]
        {
            let matrix = FeatureMatrix { values: &values, names: &names };
            let message = ranker.score(&matrix, &mut Vec::new()).expect_err("ragged").to_string();
            assert!(message.contains("whole rows"), "{message}");
        }
    }

    #[test]
    fn the_latest_requests_are_held_out_whole() {
        let world = world();
        let ranker = fit(&world, true).expect("fits");
        let stream = &ranker.record().heads[0];
        assert_eq!((stream.n_train, stream.n_held_out), (1700, 300));
        let undated = fit(&world, false).expect("fits");
        let stream = &undated.record().heads[0];
        assert_eq!(stream.n_train + stream.n_held_out, 2000);
        assert_eq!(stream.n_held_out % 10, 0, "a request of ten rows was divided");
        assert!((150..450).contains(&stream.n_held_out));
    }

    #[test]
    fn a_head_without_labels_is_left_out_and_the_record_says_why() {
        let mut world = world();
        world.completion = vec![None; 2000];
        let ranker = fit(&world, true).expect("stream still fits");
        assert_eq!(ranker.heads(), ["stream"]);
        let lack = &ranker.record().lacks[0];
        assert_eq!(lack.head, "completion");
        assert!(lack.because.contains("no durations"), "{}", lack.because);
        world.stream = vec![Some(true); 2000];
        let message = fit(&world, true).expect_err("no head is left").to_string();
        assert!(message.contains("stream: all 1700 training labels are 1"), "{message}");
    }

    #[test]
    fn an_artifact_scores_as_the_model_that_was_saved() {
        let ranker = fit(&world(), true).expect("fits");
        let folder = tempfile::tempdir().expect("a folder");
        let meta = ArtifactMeta { metrics: ranker.metrics(), ..Default::default() };
        let id = artifact::save(folder.path(), "ranker", &ranker.parts(), &[], &meta).expect("saves");
        let loaded = artifact::load(&folder.path().join("ranker").join(id)).expect("loads");
        let loaded = load_ranker(loaded.parts).expect("a ranker");
        let values: Vec<f32> = (0..200).map(|i| i as f32 / 199.0).collect();
        let names = ["taste", "noise"];
        assert_eq!(score(loaded.as_ref(), &names, &values), score(&ranker, &names, &values));
        assert_eq!(loaded.parts().tensors, ranker.parts().tensors);
    }

    #[test]
    fn corrupt_parts_are_an_error_that_names_the_head() {
        let good = fit(&world(), true).expect("fits").parts();
        let n_nodes = good.tensors.len_of("stream.feature").expect("present");
        let n_leaves = good.tensors.len_of("stream.leaf_value").expect("present");
        let with = |tensors: Tensors| ModelParts { tensors, ..good.clone() };
        let of = |t: &Tensors| t.clone();
        let cases = [
            with(of(&good.tensors).with("stream.feature", &vec![2u32; n_nodes])),
            with(of(&good.tensors).with("stream.left", &vec![0i32; n_nodes])),
            with(of(&good.tensors).with("stream.right", &vec![i32::MAX; n_nodes])),
            with(of(&good.tensors).with("stream.threshold", &vec![f32::NAN; n_nodes])),
            with(of(&good.tensors).with("stream.leaf_value", &vec![0f32; n_leaves - 1])),
            with(of(&good.tensors).with("stream.node_offsets", &[0u32])),
            with(of(&good.tensors).with("stream.base_score", &[f32::INFINITY])),
        ];
        for parts in cases {
            let message = TreesRanker::load(parts).expect_err("corrupt").to_string();
            assert!(message.contains("stream"), "{message}");
        }
        let slope = with(of(&good.tensors).with("stream.calibration", &[-1f32, 0.0]));
        assert!(TreesRanker::load(slope).expect_err("falls").to_string().contains("slope"));
        let mut fewer = good.clone();
        fewer.config["features"] = serde_json::json!(["taste"]);
        TreesRanker::load(fewer).expect_err("trees read a column that is gone");
        let unknown = ModelParts { kind: "forest".into(), ..good };
        assert!(load_ranker(unknown).err().expect("unknown").to_string().contains("trees"));
    }

    #[test]
    fn an_explanation_names_the_feature_that_decided_and_adds_up() {
        let ranker = fit(&world(), true).expect("fits");
        let names = ranker.features().to_vec();
        let values = [0.95, 0.5, 0.05, 0.5];
        let matrix = FeatureMatrix { values: &values, names: &names };
        let sum = |row| -> f32 {
            ranker.explain(&matrix, row, 0).expect("explains").iter().map(|c| c.log_odds).sum()
        };
        assert_eq!(ranker.explain(&matrix, 0, 0).expect("explains")[0].feature, 0);
        let p = score(&ranker, &["taste", "noise"], &values);
        let log_odds = |p: f32| (p / (1.0 - p)).ln();
        let difference = log_odds(p[0]) - log_odds(p[2]);
        assert!((sum(0) - sum(1) - difference).abs() < 1e-3, "{} {difference}", sum(0) - sum(1));
        ranker.explain(&matrix, 2, 0).expect_err("there are two rows");
    }

    #[test]
    fn a_direction_for_an_unknown_feature_is_refused() {
        let rule = trees::Monotone { feature: "tsate".into(), direction: Direction::Increasing };
        let settings = TreesConfig { monotone: vec![rule], ..settings() };
        let message = directions(&["taste".to_owned()], &settings).expect_err("misspelt").to_string();
        assert!(message.contains("`monotone` is tsate"), "{message}");
    }

    #[test]
    fn snapshot_examples_train_the_heads_they_have() {
        let world = world();
        let examples = Examples {
            feature_names: world.names.clone(),
            values: (0..2000).flat_map(|i| [world.columns[0][i], world.columns[1][i]]).collect(),
            group: world.request.clone(),
            requested_at: world.time_ms.clone(),
            labels: [
                world.stream.iter().map(|l| f32::from(u8::from(l.expect("all set")))).collect(),
                vec![f32::NAN; 2000],
                vec![f32::NAN; 2000],
            ],
            ..Examples::default()
        };
        let fit = |from| TreesRanker::fit_examples(&examples, from, &DEFAULT_HEADS, &settings());
        let ranker = fit(ExamplesFrom::Plays).expect("fits");
        assert_eq!(ranker.record().trained_on, TrainedOn::Plays);
        assert_eq!(ranker.heads(), ["stream"]);
        assert!(ranker.record().lacks[0].because.contains("duration"));
        fit(ExamplesFrom::Nothing).expect_err("nothing to learn from");
    }
}
