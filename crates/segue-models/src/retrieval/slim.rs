//! SLIM: a sparse linear item × item model, for catalogues that are too large for EASE.
//!
//! For each item `a` the weights `w ≥ 0`, `w_a = 0`, minimise `½ ‖x_a − X w‖² + ½ l2 ‖w‖² + l1 Σ w`, with `X` the users ×
//! items matrix of ones; `score(a | h) = Σ w_j` over the different items `j` of the history. An item is predicted by others
//! that share more than `l1` listeners with it, of which the `candidates` best by themselves are looked at
//! (those that explain most of `x_a` alone). Coordinate descent on the counts of common listeners, one item at a time:
//! no inverse, and time and memory grow with the pairs of items that share listeners. Needs no order; ties by item row.
//!
//! scikit-learn's `ElasticNet(alpha, l1_ratio, positive=True, fit_intercept=False)` over `n` users is the same at
//! `l1 = n · alpha · l1_ratio` and `l2 = n · alpha · (1 − l1_ratio)`.
//!
//! Source: Ning & Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM 2011; Friedman, Hastie,
//! Tibshirani, "Regularization Paths for Generalized Linear Models via Coordinate Descent", 2010 (covariance updates).

use serde::{Deserialize, Serialize};

use super::counts::Targets;
use super::interactions::{Interactions, Reading, RowsOf, TermFrequency};
use super::item_model::{History, ItemModel, ItemModelConfig, check_setting};
use super::item_to_item::ItemToItem;
use super::kernel::check_history;
use crate::sparse::Csr;
use crate::{FitInput, ModelError};

/// Settings of [`Slim`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlimConfig {
    /// `l1`: listeners in common that count for nothing, 0 or more. More makes the model sparser. Default 1.
    pub l1: f32,
    /// `l2`: added to the listeners of each item, above 0. Default 100.
    pub l2: f32,
    /// Items looked at to predict one, at least 1. Default 500.
    pub candidates: usize,
    /// Passes over the candidates of an item at most, at least 1. Default 100.
    pub max_passes: usize,
    /// Passes end when no weight moves by more than this, above 0. Default 0.0001.
    pub tolerance: f32,
    /// Newest plays looked at when asked, 1 to 1000. Default 200.
    pub max_history: usize,
    /// Items per user that are learnt from, at least 1: the newest (of profiles, the most played). Default 2,000.
    pub max_user_items: usize,
    /// Which plays count. Default `wanted`.
    pub targets: Targets,
}

impl Default for SlimConfig {
    fn default() -> Self {
        Self {
            l1: 1.0,
            l2: 100.0,
            candidates: 500,
            max_passes: 100,
            tolerance: 1e-4,
            max_history: 200,
            max_user_items: 2000,
            targets: Targets::default(),
        }
    }
}

/// Weights between items.
pub type Slim = ItemModel<SlimConfig>;

impl ItemModelConfig for SlimConfig {
    const KIND: &'static str = "slim";
    const ABOUT: &'static str = "a sparse linear model of each item from others";
    const SEARCH: &'static str = r#"
l1 = { low = 0.1, high = 5.0, log = true }
l2 = { low = 5.0, high = 500.0, log = true }
"#;

    fn history(&self) -> Result<History, ModelError> {
        check_history(Self::KIND, self.max_history)?;
        let rule = "it is a number of listeners, 0 or more";
        check_setting(Self::KIND, self.l1.is_finite() && self.l1 >= 0.0, "l1", self.l1, rule)?;
        let above_0 = [
            ("l2", self.l2, "it is added to a number of listeners, above 0"),
            ("tolerance", self.tolerance, "it is a change of a weight, above 0"),
        ];
        for (setting, value, rule) in above_0 {
            check_setting(Self::KIND, value.is_finite() && value > 0.0, setting, value, rule)?;
        }
        for (setting, n) in [
            ("candidates", self.candidates),
            ("max_passes", self.max_passes),
            ("max_user_items", self.max_user_items),
        ] {
            check_setting(Self::KIND, n >= 1, setting, n, "it is a number of something, at least 1")?;
        }
        Ok(History::Distinct(self.max_history))
    }

    fn matrix(&self, input: &FitInput<'_>) -> Result<ItemToItem, ModelError> {
        let reading = Reading {
            rows_of: RowsOf::Users,
            tf: TermFrequency::Binary,
            max_row_items: self.max_user_items,
            targets: self.targets,
        };
        let plays = Interactions::of(input, &reading);
        let n_listeners: Vec<f64> = (0..plays.n_items).map(|i| plays.of_item(i).len() as f64).collect();
        let in_common = plays.item_products(&plays.weight, &plays.weight, |_, _, n| n, usize::MAX);
        drop(plays);
        let scratch = || Scratch { place: vec![0; n_listeners.len()], ..Scratch::default() };
        let by_target = Csr::build(n_listeners.len() as u32, scratch, |scratch, target, out| {
            scratch.fit(self, &in_common, &n_listeners, target);
            out.extend(scratch.candidate.iter().zip(&scratch.weight).map(|(c, &w)| (*c, w as f32)));
            out.retain(|e| e.1 > 0.0);
        });
        Ok(ItemToItem::new(by_target.transposed()))
    }
}

/// Room for one item's weights.
#[derive(Default)]
struct Scratch {
    /// `[n_items]` 1 + the index among the candidates; 0 for others.
    place: Vec<u32>,
    /// Items, ascending.
    candidate: Vec<u32>,
    /// `[candidates]`.
    weight: Vec<f64>,
    /// `[candidates]` `x_jᵀ (x_a − X w)`.
    residual: Vec<f64>,
    /// `[candidates]` 1 + the row of `common`; 0 for a candidate whose weight has not moved yet.
    row: Vec<u32>,
    /// `[rows, candidates]` listeners in common. Few weights ever move, each of them many times: their rows are read
    /// once, from lists of thousands of items of which hundreds are candidates.
    common: Vec<f32>,
}

impl Scratch {
    /// Sets `candidate` and `weight` for one target.
    fn fit(&mut self, config: &SlimConfig, in_common: &Csr, n_listeners: &[f64], target: u32) {
        let (items, counts) = in_common.row(target);
        let (l1, l2) = (f64::from(config.l1), f64::from(config.l2));
        let mut best: Vec<(u32, f32)> =
            items.iter().copied().zip(counts.iter().copied()).filter(|&(_, n)| f64::from(n) > l1).collect();
        if best.len() > config.candidates {
            let explained = |&(item, n): &(u32, f32)| (f64::from(n) - l1).powi(2) / (n_listeners[item as usize] + l2);
            best.select_nth_unstable_by(config.candidates - 1, |a, b| {
                explained(b).total_cmp(&explained(a)).then(a.0.cmp(&b.0))
            });
            best.truncate(config.candidates);
            best.sort_unstable_by_key(|e| e.0);
        }
        self.candidate.clear();
        self.candidate.extend(best.iter().map(|e| e.0));
        self.residual.clear();
        self.residual.extend(best.iter().map(|e| f64::from(e.1)));
        self.weight.clear();
        self.weight.resize(best.len(), 0.0);
        self.row.clear();
        self.row.resize(best.len(), 0);
        self.common.clear();
        for (at, &item) in (1..).zip(&self.candidate) {
            self.place[item as usize] = at;
        }
        for _ in 0..config.max_passes {
            let mut moved = 0.0_f64;
            for j in 0..self.candidate.len() {
                let item = self.candidate[j];
                let n = n_listeners[item as usize];
                let next = ((self.residual[j] + n * self.weight[j] - l1) / (n + l2)).max(0.0);
                let step = next - self.weight[j];
                if step == 0.0 {
                    continue;
                }
                moved = moved.max(step.abs());
                self.weight[j] = next;
                self.residual[j] -= n * step;
                let at = self.common_row(in_common, j);
                for (residual, &count) in self.residual.iter_mut().zip(&self.common[at..]) {
                    *residual -= f64::from(count) * step;
                }
            }
            if moved <= f64::from(config.tolerance) {
                break;
            }
        }
        for &item in &self.candidate {
            self.place[item as usize] = 0;
        }
    }

    /// Where candidate `j`'s row of `common` starts.
    fn common_row(&mut self, in_common: &Csr, j: usize) -> usize {
        let width = self.candidate.len();
        if let Some(row) = (self.row[j] as usize).checked_sub(1) {
            return row * width;
        }
        let start = self.common.len();
        self.common.resize(start + width, 0.0);
        self.row[j] = (start / width + 1) as u32;
        let (others, counts) = in_common.row(self.candidate[j]);
        for (&other, &count) in others.iter().zip(counts) {
            if let Some(at) = (self.place[other as usize] as usize).checked_sub(1) {
                self.common[start + at] = count;
            }
        }
        start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_data::OwnedSequences;

    use super::*;
    use crate::{Model, Query, Recommender};

    /// Coordinate descent on the dense matrix, straight from the objective: one residual per user.
    fn plainly(users: &[Vec<u32>], n: u32, target: u32, l1: f64, l2: f64) -> Vec<f64> {
        let x = |u: &Vec<u32>, i: u32| f64::from(u8::from(u.contains(&i)));
        let mut w = vec![0.0; n as usize];
        for _ in 0..3000 {
            for j in (0..n).filter(|&j| j != target) {
                let without = |u: &Vec<u32>| {
                    let sum: f64 = (0..n).filter(|&i| i != j).map(|i| w[i as usize] * x(u, i)).sum();
                    x(u, target) - sum
                };
                let fit: f64 = users.iter().map(|u| x(u, j) * without(u)).sum();
                let n_j: f64 = users.iter().map(|u| x(u, j)).sum();
                w[j as usize] = ((fit - l1) / (n_j + l2)).max(0.0);
            }
        }
        w
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Users without plays, items nobody plays and repeated plays among them.
        #[test]
        fn weights_minimise_the_objective(
            users in prop::collection::vec(prop::collection::vec(0_u32..7, 0..7), 1..16),
            l1 in prop_oneof![Just(0.0_f32), 0.1_f32..2.0],
            l2 in 0.2_f32..9.0,
        ) {
            let plays = OwnedSequences::from_items(7, users.clone());
            let config = SlimConfig { l1, l2, tolerance: 1e-9, max_passes: 9000, ..SlimConfig::default() };
            let model = Slim::fit(&config, &FitInput::of(plays.view())).unwrap();
            for target in 0..7 {
                let want = plainly(&users, 7, target, l1.into(), l2.into());
                for item in 0..7 {
                    let got = f64::from(model.items().matrix.get(item, target));
                    let want = want[item as usize];
                    prop_assert!((got - want).abs() < 1e-5, "{item} for {target}: {got} is not {want}");
                }
            }
        }
    }

    #[test]
    fn only_the_best_candidates_get_weights() {
        let users = [vec![0, 1], vec![0, 1], vec![0, 1], vec![0, 2], vec![0, 2], vec![3]];
        let plays = OwnedSequences::from_items(4, users);
        let config = SlimConfig { l2: 1.0, candidates: 1, ..SlimConfig::default() };
        let model = Slim::fit(&config, &FitInput::of(plays.view())).unwrap();
        assert!(model.items().matrix.get(1, 0) > 0.0);
        assert_eq!(model.items().matrix.get(2, 0), 0.0);
        assert_eq!(model.explain(&Query::of_items(&[3, 1]), 0).len(), 1);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let plays = OwnedSequences::from_items(3, [vec![0, 1, 2]]);
        let ok = SlimConfig::default;
        for (setting, config) in [
            ("l1", SlimConfig { l1: -1.0, ..ok() }),
            ("l2", SlimConfig { l2: 0.0, ..ok() }),
            ("tolerance", SlimConfig { tolerance: f32::NAN, ..ok() }),
            ("candidates", SlimConfig { candidates: 0, ..ok() }),
            ("max_passes", SlimConfig { max_passes: 0, ..ok() }),
            ("max_history", SlimConfig { max_history: 0, ..ok() }),
            ("max_user_items", SlimConfig { max_user_items: 0, ..ok() }),
        ] {
            let error = Slim::fit(&config, &FitInput::of(plays.view())).unwrap_err().to_string();
            assert!(error.contains(&format!("`slim`: `{setting}`")), "{error}");
        }
    }
}
