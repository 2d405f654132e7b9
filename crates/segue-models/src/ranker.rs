//! The trait of every ranking model: candidates with features in, calibrated heads out.

use crate::{ModelError, ModelParts};

/// A dense row-major feature matrix; NaN is missing.
#[derive(Debug, Clone, Copy)]
pub struct FeatureMatrix<'a> {
    /// `[n_rows * names.len()]`.
    pub values: &'a [f32],
    /// Column names.
    pub names: &'a [String],
}

impl FeatureMatrix<'_> {
    /// Number of rows; 0 without columns.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        if self.names.is_empty() { 0 } else { self.values.len() / self.names.len() }
    }
}

/// A ranking model.
///
/// # Contract
/// - `score` fills `out` with `n_rows * heads().len()` probabilities, row-major, each in `[0, 1]`.
/// - A row's score does not depend on the other rows.
/// - Columns are matched by name; a column the model wants and the matrix lacks is missing (NaN).
pub trait Ranker: Send + Sync {
    /// Registered kind, such as `trees`.
    fn kind(&self) -> &'static str;

    /// Names of its heads, such as `stream` and `completion`.
    fn heads(&self) -> &[String];

    /// Names of the features it was trained on.
    fn features(&self) -> &[String];

    /// Fills `out` with one probability per row and head.
    ///
    /// # Errors
    /// If the matrix is malformed.
    fn score(&self, features: &FeatureMatrix<'_>, out: &mut Vec<f32>) -> Result<(), ModelError>;

    /// Its settings and arrays, from which the registry rebuilds a model that answers the same.
    fn parts(&self) -> ModelParts;

    /// What each feature added to a head's log odds for one row, largest first, zeros left out; empty
    /// if the model does not decompose.
    ///
    /// # Errors
    /// If the matrix is malformed, or it has no such row.
    fn explain(
        &self,
        features: &FeatureMatrix<'_>,
        row: usize,
        head: usize,
    ) -> Result<Vec<FeatureContribution>, ModelError> {
        let _ = (features, row, head);
        Ok(Vec::new())
    }
}

/// How much a feature moved one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeatureContribution {
    /// Index in [`Ranker::features`].
    pub feature: usize,
    /// Added to the log odds of the head.
    pub log_odds: f32,
}
