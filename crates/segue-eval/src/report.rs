//! What an evaluation returns: numbers with their protocol, ready for JSON or a table.

use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;
use crate::split::Dropped;

/// The result of [`evaluate`](crate::evaluate).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// How the numbers were made.
    pub protocol: Protocol,
    /// What they were made on.
    pub split: SplitReport,
    /// One entry per model, in the order given; the first is the baseline.
    pub models: Vec<ModelReport>,
    /// Every model against every other before it, metric by metric; Holm's correction is over all of
    /// them together.
    pub differences: Vec<PairReport>,
    /// One entry per slicing of the protocol.
    pub slices: Vec<SlicingReport>,
    /// Models that could not be fitted on this data.
    pub left_out: Vec<LeftOut>,
}

/// A model that could not be fitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Name given to the evaluation.
    pub model: String,
    /// What it lacks.
    pub why: String,
}

/// Sizes of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitReport {
    /// Name of the split.
    pub kind: String,
    /// Train plays were known before this moment (UTC ms); absent for undated data.
    pub train_until: Option<i64>,
    /// The moment every test user is asked at (UTC ms); absent for undated data.
    pub asked_at: Option<i64>,
    /// User rows of the data.
    pub n_users: usize,
    /// Item rows of the data.
    pub n_items: usize,
    /// Users with a train play.
    pub n_train_users: usize,
    /// Items with a train play.
    pub n_train_items: usize,
    /// Plays (entries for profiles) in the train part.
    pub n_train_plays: usize,
    /// Users asked.
    pub n_test_users: usize,
    /// Distinct user-item pairs to predict.
    pub n_targets: usize,
    /// What was left out.
    pub dropped: Dropped,
}

/// Numbers of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// Name given to the evaluation.
    pub name: String,
    /// Seeds it was fitted with.
    pub seeds: Vec<u64>,
    /// Wall time of one fit, mean over seeds; absent if the observer has no clock.
    pub fit_seconds: Option<f64>,
    /// Mean time of one call of `recommend`, microseconds, on the thread that made it; absent if the
    /// observer has no clock.
    pub recommend_us_per_user: Option<f64>,
    /// Most memory the process held at once while this model was fitted and asked, all data included;
    /// absent if the observer does not know.
    pub peak_memory_bytes: Option<u64>,
    /// Users who got an empty list; the most of any seed.
    pub n_users_unanswered: usize,
    /// One entry per metric and cut-off, in the order of the protocol, cut-off last.
    pub metrics: Vec<MetricReport>,
}

/// One number of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricReport {
    /// Name of the metric.
    pub metric: String,
    /// Cut-off.
    pub k: usize,
    /// Users it is defined for; metrics of all users together count all.
    pub n_users: usize,
    /// Mean over those users; absent if it is defined for none.
    pub value: Option<f64>,
    /// Percentile bootstrap interval over users; absent for metrics of all users together.
    pub interval: Option<[f64; 2]>,
    /// This model minus the first; absent for the first and for metrics of all users together.
    pub difference: Option<DifferenceReport>,
    /// How the value varies from seed to seed; absent with one seed.
    pub over_seeds: Option<SeedsReport>,
}

/// The values of one number over several seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedsReport {
    /// One value per seed, in their order; absent where no user has one.
    pub values: Vec<Option<f64>>,
    /// Student-t interval of their mean; absent if a value is.
    pub interval: Option<[f64; 2]>,
}

/// A model against another that was given before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairReport {
    /// Name of the model.
    pub model: String,
    /// Name of the metric.
    pub metric: String,
    /// Cut-off.
    pub k: usize,
    /// The model minus the baseline named there.
    #[serde(flatten)]
    pub difference: DifferenceReport,
}

/// Numbers of groups of users, or of users for groups of their targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlicingReport {
    /// Name in the protocol.
    pub slicing: String,
    /// One entry per group that has users, in the order of the slicing.
    pub groups: Vec<SliceReport>,
}

/// Numbers of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceReport {
    /// Name of the group.
    pub group: String,
    /// Users in it.
    pub n_users: usize,
    /// Per model and per-user metric: value and interval over the users of the group.
    pub numbers: Vec<SliceNumber>,
}

/// One number of one model for one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceNumber {
    /// Name of the model.
    pub model: String,
    /// Name of the metric.
    pub metric: String,
    /// Cut-off.
    pub k: usize,
    /// Users of the group it is defined for.
    pub n_users: usize,
    /// Mean over them.
    pub value: Option<f64>,
    /// Percentile bootstrap interval.
    pub interval: Option<[f64; 2]>,
}

/// A model against another, user by user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DifferenceReport {
    /// Name of the other model.
    pub baseline: String,
    /// Mean of the differences over users for whom both are defined.
    pub value: f64,
    /// Bootstrap interval of that mean, from the same draws as the models' own intervals.
    pub interval: [f64; 2],
    /// Two-sided paired t-test; absent with fewer than two users.
    pub p_value: Option<f64>,
    /// The same after Holm's correction over all differences of the report.
    pub p_value_holm: Option<f64>,
    /// Two-sided paired bootstrap: twice the smaller share of draws on either side of 0, at most 1.
    pub p_value_bootstrap: f64,
}

impl EvaluationReport {
    /// The entry of a model, metric and cut-off.
    #[must_use]
    pub fn get(&self, model: &str, metric: &str, k: usize) -> Option<&MetricReport> {
        let model = self.models.iter().find(|m| m.name == model)?;
        model.metrics.iter().find(|m| m.metric == metric && m.k == k)
    }
}
