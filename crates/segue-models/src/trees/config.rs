//! Settings of the trees, their defaults and their ranges.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Which way a score may move with a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A larger value never lowers the score.
    Increasing,
    /// A larger value never raises the score.
    Decreasing,
}

/// A feature whose effect is held to one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monotone {
    /// Name of the feature.
    pub feature: String,
    /// The direction allowed.
    pub direction: Direction,
}

/// Settings of a boosted forest. The defaults suit 10 thousand to some million rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreesConfig {
    /// Largest number of trees; early stopping usually keeps fewer. 1 to 10,000.
    pub rounds: usize,
    /// Share of a leaf's step that is taken, in `(0, 1]`.
    pub learning_rate: f64,
    /// Largest number of leaves per tree, 2 to 64 (the scorer's bit mask is one machine word).
    pub max_leaves: usize,
    /// Largest number of value bins per feature, 2 to 255; 0 lets the number of rows decide
    /// (see [`TreesConfig::bins_for`]).
    pub max_bins: usize,
    /// Least sum of `p (1 − p)` on either side of a split, at least 0. Near a balanced label 5 means
    /// 20 rows; where the label is rare it asks for more rows, which is what a rate needs.
    pub min_leaf_hessian: f64,
    /// L2 penalty on leaf values, at least 0.
    pub l2: f64,
    /// Least gain of a split, at least 0.
    pub min_gain: f64,
    /// Share of rows each tree sees, in `(0, 1]`, drawn from the seed, the round and the row.
    pub row_share: f64,
    /// Share of features each tree may split on, in `(0, 1]`, at least one feature.
    pub feature_share: f64,
    /// Stop when the held-out log loss has not improved for this many trees; 0 grows all of them.
    pub early_stopping_rounds: usize,
    /// Share of the rows, the latest in time, kept for early stopping and calibration, in `[0, 0.5]`.
    pub held_out_share: f64,
    /// Seed of row and feature sampling and of gradient rounding.
    pub seed: u64,
    /// Features held to one direction; none by default. A name the data lacks is an error.
    pub monotone: Vec<Monotone>,
}

impl Default for TreesConfig {
    fn default() -> Self {
        Self {
            rounds: 300,
            learning_rate: 0.1,
            max_leaves: 31,
            max_bins: 0,
            min_leaf_hessian: 1.0,
            l2: 1.0,
            min_gain: 0.0,
            row_share: 1.0,
            feature_share: 1.0,
            early_stopping_rounds: 30,
            held_out_share: 0.15,
            seed: 0,
            monotone: Vec::new(),
        }
    }
}

impl TreesConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the first setting outside its range.
    pub fn check(&self) -> Result<(), ModelError> {
        let setting = |ok: bool, setting: &'static str, value: String, rule: &'static str| {
            if ok { Ok(()) } else { Err(ModelError::Config { model: "trees", setting, value, rule }) }
        };
        let share = |v: f64| v > 0.0 && v <= 1.0;
        setting(
            (1..=10_000).contains(&self.rounds),
            "rounds",
            self.rounds.to_string(),
            "it is the largest number of trees, 1 to 10000",
        )?;
        setting(
            share(self.learning_rate),
            "learning_rate",
            self.learning_rate.to_string(),
            "it is the share of each step taken, above 0 and at most 1",
        )?;
        setting(
            (2..=64).contains(&self.max_leaves),
            "max_leaves",
            self.max_leaves.to_string(),
            "it is the largest number of leaves per tree, 2 to 64",
        )?;
        setting(
            self.max_bins == 0 || (2..=255).contains(&self.max_bins),
            "max_bins",
            self.max_bins.to_string(),
            "it is the largest number of bins per feature, 2 to 255, or 0 to choose by rows",
        )?;
        for (name, value) in
            [("min_leaf_hessian", self.min_leaf_hessian), ("l2", self.l2), ("min_gain", self.min_gain)]
        {
            let ok = value.is_finite() && value >= 0.0;
            setting(ok, name, value.to_string(), "it is a finite number, at least 0")?;
        }
        setting(
            self.min_leaf_hessian + self.l2 > 0.0,
            "l2",
            self.l2.to_string(),
            "it may be 0 only if `min_leaf_hessian` is above 0: a leaf's value divides by their sum",
        )?;
        for (name, value) in [("row_share", self.row_share), ("feature_share", self.feature_share)] {
            setting(share(value), name, value.to_string(), "it is a share, above 0 and at most 1")?;
        }
        setting(
            (0.0..=0.5).contains(&self.held_out_share),
            "held_out_share",
            self.held_out_share.to_string(),
            "it is the share of rows kept back, 0 to 0.5",
        )
    }

    /// Number of value bins for `n_rows` training rows: [`max_bins`](TreesConfig::max_bins) if set,
    /// else one per 400 rows, at least 32 and at most 255.
    ///
    /// Each leaf costs a pass over all bins, whatever its rows. On small data that pass, not the rows,
    /// is what takes the time, while finer bins there only follow noise.
    #[must_use]
    pub fn bins_for(&self, n_rows: usize) -> usize {
        if self.max_bins == 0 { (n_rows / 400).clamp(32, 255) } else { self.max_bins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_their_own_check() {
        TreesConfig::default().check().expect("defaults are valid");
    }

    #[test]
    fn a_setting_outside_its_range_is_named_with_its_value() {
        let cases: [(&str, TreesConfig); 8] = [
            ("rounds", TreesConfig { rounds: 0, ..Default::default() }),
            ("learning_rate", TreesConfig { learning_rate: f64::NAN, ..Default::default() }),
            ("max_leaves", TreesConfig { max_leaves: 65, ..Default::default() }),
            ("max_bins", TreesConfig { max_bins: 256, ..Default::default() }),
            ("l2", TreesConfig { l2: -1.0, ..Default::default() }),
            ("l2", TreesConfig { l2: 0.0, min_leaf_hessian: 0.0, ..Default::default() }),
            ("row_share", TreesConfig { row_share: 0.0, ..Default::default() }),
            ("held_out_share", TreesConfig { held_out_share: 0.9, ..Default::default() }),
        ];
        for (name, config) in cases {
            let message = config.check().expect_err(name).to_string();
            assert!(message.contains(&format!("`{name}`")), "{message}");
        }
    }
}
