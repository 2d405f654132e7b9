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
    /// Wall time of fitting; absent if the observer has no clock.
    pub fit_seconds: Option<f64>,
    /// Mean time of one call of `recommend`, microseconds, on the thread that made it; absent if the
    /// observer has no clock.
    pub recommend_us_per_user: Option<f64>,
    /// Users who got an empty list.
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
}

/// A model against the first model, user by user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DifferenceReport {
    /// Name of the first model.
    pub baseline: String,
    /// Mean of the differences over users for whom both are defined.
    pub value: f64,
    /// Bootstrap interval of that mean, from the same draws as the models' own intervals.
    pub interval: [f64; 2],
    /// Two-sided paired t-test; absent with fewer than two users.
    pub p_value: Option<f64>,
    /// The same after Holm's correction over all differences of the report.
    pub p_value_holm: Option<f64>,
}

impl EvaluationReport {
    /// The entry of a model, metric and cut-off.
    #[must_use]
    pub fn get(&self, model: &str, metric: &str, k: usize) -> Option<&MetricReport> {
        let model = self.models.iter().find(|m| m.name == model)?;
        model.metrics.iter().find(|m| m.metric == metric && m.k == k)
    }
}
