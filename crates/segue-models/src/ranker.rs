//! The trait of every ranking model: candidates with features in, calibrated heads out.

use crate::ModelError;

/// A dense row-major feature matrix; NaN is missing.
#[derive(Debug, Clone, Copy)]
pub struct FeatureMatrix<'a> {
    /// `[n_rows * names.len()]`.
    pub values: &'a [f32],
    /// Column names.
    pub names: &'a [String],
}

impl FeatureMatrix<'_> {
    /// Number of rows.
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
}
