//! Ranker training rows: what was shown (or played), what was known then, and what came of it.

/// What the rows are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExamplesFrom {
    /// Impressions joined with their outcome: labels say what happened *given shown*.
    Impressions,
    /// Plays, where the log has no impressions: labels say what happened *given started*.
    Plays,
    /// The log has neither.
    #[default]
    Nothing,
}

/// Names of the heads, in the order of [`Examples::labels`].
pub use crate::labels::HEADS;

/// Columnar training rows. All columns have the same length; rows are ordered by request day,
/// user key, request time and position.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Examples {
    /// Names of the feature columns, see [`FeatureSchema`](crate::features::FeatureSchema).
    pub feature_names: Vec<String>,
    /// `[n_rows * feature_names.len()]`, row-major; NaN is missing.
    pub values: Vec<f32>,
    /// `[n_rows]` request: rows of one slate share it.
    pub group: Vec<u64>,
    /// `[n_rows]` moment of the request, UTC milliseconds.
    pub requested_at: Vec<i64>,
    /// `[n_rows]` user row in the snapshot.
    pub user: Vec<u32>,
    /// `[n_rows]` item row in the snapshot.
    pub item: Vec<u32>,
    /// `[n_rows]` 0-based position in the slate, `u32::MAX` if not said.
    pub position: Vec<u32>,
    /// `[n_rows]` propensity of this item here given those above; NaN where the log has none.
    pub prefix_propensity: Vec<f64>,
    /// Per head of [`HEADS`], `[n_rows]`: 1, 0, or NaN where the data cannot tell.
    pub labels: [Vec<f32>; 3],
}

impl Examples {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.group.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.group.is_empty()
    }

    /// The features of one row.
    ///
    /// # Panics
    /// If `row` is not below [`len`](Self::len).
    #[must_use]
    pub fn features(&self, row: usize) -> &[f32] {
        let n = self.feature_names.len();
        &self.values[row * n..(row + 1) * n]
    }
}
