//! EASE: a linear item × item model in closed form.
//!
//! With `X` the users × items matrix of ones and `P = (XᵀX + l2 · I)⁻¹`, the weights that reconstruct `X` from itself
//! with the least squared error, without using an item to predict itself, are `B_ja = −P_ja / P_aa`, `B_aa = 0`;
//! `score(a | h) = Σ B_ja` over the different items `j` of the history.
//!
//! The inverse is computed in place in `f32` over the items that were played, at `2 · n²` bytes and `n³`
//! floating-point operations: Beauty's 12,101 items take about 20 CPU seconds, and `max_items` bounds it (use `slim` beyond).
//! Of each row the `neighbours` weights of greatest magnitude are kept. Weights may be negative: such a play speaks
//! against an item. Needs no order; ties by item row.
//!
//! Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.

use serde::{Deserialize, Serialize};

use super::counts::Targets;
use super::interactions::{Interactions, Reading, RowsOf, TermFrequency};
use super::item_model::{History, ItemModel, ItemModelConfig, check_setting};
use super::item_to_item::ItemToItem;
use super::kernel::check_history;
use crate::linalg::spd_inverse::Symmetric;
use crate::sparse::Csr;
use crate::{FitInput, ModelError};

/// Settings of [`Ease`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EaseConfig {
    /// `l2`: added to the diagonal, above 0. More listeners want more of it. Default 300.
    pub l2: f32,
    /// Weights kept per item, at least 1: those of greatest magnitude. Default 1,000.
    pub neighbours: usize,
    /// Played items at most; memory grows with the square. Default 50,000.
    pub max_items: usize,
    /// Newest plays looked at when asked, 1 to 1000. Default 200.
    pub max_history: usize,
    /// Items per user that are learnt from, at least 1: the newest (of profiles, the most played). Default 2,000.
    pub max_user_items: usize,
    /// Which plays count. Default `wanted`.
    pub targets: Targets,
}

impl Default for EaseConfig {
    fn default() -> Self {
        Self {
            l2: 300.0,
            neighbours: 1000,
            max_items: 50_000,
            max_history: 200,
            max_user_items: 2000,
            targets: Targets::default(),
        }
    }
}

/// Weights between items.
pub type Ease = ItemModel<EaseConfig>;

impl ItemModelConfig for EaseConfig {
    const KIND: &'static str = "ease";
    const ABOUT: &'static str = "a linear model of each item from all others, in closed form";
    const SEARCH: &'static str = "l2 = { low = 10.0, high = 3000.0, log = true }";

    fn history(&self) -> Result<History, ModelError> {
        check_history(Self::KIND, self.max_history)?;
        for (setting, n) in [
            ("neighbours", self.neighbours),
            ("max_items", self.max_items),
            ("max_user_items", self.max_user_items),
        ] {
            check_setting(Self::KIND, n >= 1, setting, n, "it is a number of items, at least 1")?;
        }
        let rule = "it is added to the diagonal of a matrix of counts, above 0";
        check_setting(Self::KIND, self.l2.is_finite() && self.l2 > 0.0, "l2", self.l2, rule)?;
        Ok(History::Distinct(self.max_history))
    }

    fn matrix(&self, input: &FitInput<'_>) -> Result<ItemToItem, ModelError> {
        let reading = Reading {
            rows_of: RowsOf::Users,
            tf: TermFrequency::Binary,
            max_row_items: self.max_user_items,
            targets: self.targets,
        };
        Ok(ItemToItem::new(weights(&Interactions::of(input, &reading), self)?))
    }
}

/// `B`, of each row the `neighbours` greatest magnitudes.
fn weights(plays: &Interactions, config: &EaseConfig) -> Result<Csr, ModelError> {
    // The matrix is made of the items that were played; `place` is their place in it.
    let played: Vec<u32> = (0..plays.n_items).filter(|&i| !plays.of_item(i).is_empty()).collect();
    let rule = "the data has more played items; raise it if 2 bytes × items² fit in memory, or use `slim`";
    check_setting(EaseConfig::KIND, played.len() <= config.max_items, "max_items", config.max_items, rule)?;
    let mut place = vec![u32::MAX; plays.n_items as usize];
    for (at, &item) in (0..).zip(&played) {
        place[item as usize] = at;
    }
    let mut matrix = Symmetric::identity(played.len());
    matrix.fill(|at, row| {
        // Counts of listeners in common: whole numbers, exact in any order.
        for &(user, _) in plays.of_item(played[at]) {
            for &other in &plays.item[plays.of_user(user as usize)] {
                let other = place[other as usize] as usize;
                if other > at {
                    break;
                }
                row[other] += 1.0;
            }
        }
        row[at] += config.l2;
    });
    let rule = "it is too small for this data: the matrix has no inverse in f32";
    check_setting(EaseConfig::KIND, matrix.invert_negated(), "l2", config.l2, rule)?;
    // The matrix holds −P, so that B_ja = −P_ja / P_aa is its element over −(its diagonal).
    let scale: Vec<f32> = (0..played.len()).map(|at| -1.0 / matrix.get(at, at)).collect();
    let scratch = || vec![0.0_f32; played.len()];
    Ok(Csr::build(plays.n_items, scratch, |row, source, out| {
        let at = place[source as usize];
        if at == u32::MAX {
            return;
        }
        matrix.read_row(at as usize, row);
        row[at as usize] = 0.0;
        let weights = row.iter().zip(&scale).map(|(value, scale)| value * scale);
        out.extend(played.iter().copied().zip(weights).filter(|e| e.1 != 0.0));
        if out.len() > config.neighbours {
            let order = |a: &(u32, f32), b: &(u32, f32)| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0));
            out.select_nth_unstable_by(config.neighbours - 1, order);
            out.truncate(config.neighbours);
            out.sort_unstable_by_key(|e| e.0);
        }
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_data::OwnedSequences;

    use super::*;
    use crate::{Model, Query, Recommender};

    /// `(XᵀX + l2 · I)⁻¹` by Gauss-Jordan elimination in `f64`, and from it `B`.
    fn plainly(users: &[Vec<u32>], n: usize, l2: f64) -> Vec<Vec<f64>> {
        let mut a = vec![vec![0.0_f64; 2 * n]; n];
        for user in users {
            for i in 0..n {
                for j in 0..n {
                    let both = user.contains(&(i as u32)) && user.contains(&(j as u32));
                    a[i][j] += f64::from(u8::from(both));
                }
            }
        }
        for i in 0..n {
            a[i][i] += l2;
            a[i][n + i] = 1.0;
        }
        for k in 0..n {
            let pivot = a[k][k];
            a[k].iter_mut().for_each(|v| *v /= pivot);
            let row = a[k].clone();
            for i in (0..n).filter(|&i| i != k) {
                let factor = a[i][k];
                a[i].iter_mut().zip(&row).for_each(|(v, r)| *v -= factor * r);
            }
        }
        let p = |i: usize, j: usize| a[i][n + j];
        (0..n).map(|i| (0..n).map(|j| if i == j { 0.0 } else { -p(i, j) / p(j, j) }).collect()).collect()
    }

    proptest! {
        /// Users without plays, items nobody plays and repeated plays among them.
        #[test]
        fn weights_equal_those_of_the_dense_formula(
            users in prop::collection::vec(prop::collection::vec(0_u32..12, 0..9), 1..20),
            l2 in 0.5_f32..50.0,
        ) {
            let plays = OwnedSequences::from_items(12, users.clone());
            let config = EaseConfig { l2, ..EaseConfig::default() };
            let model = Ease::fit(&config, &FitInput::of(plays.view())).unwrap();
            let want = plainly(&users, 12, f64::from(l2));
            for i in 0..12 {
                for j in 0..12 {
                    let got = f64::from(model.items().matrix.get(i, j));
                    let want = want[i as usize][j as usize];
                    prop_assert!((got - want).abs() < 1e-5, "{i} {j}: {got} is not {want}");
                }
            }
        }
    }

    #[test]
    fn the_weights_of_greatest_magnitude_are_kept_and_an_item_against_another_counts_below_zero() {
        // 0 goes with 1; who plays 2 and 1 never plays 0.
        let users = [vec![0, 1], vec![0, 1], vec![0, 1], vec![1, 2], vec![2, 3]];
        let plays = OwnedSequences::from_items(4, users);
        let fit = |neighbours| {
            let config = EaseConfig { l2: 1.0, neighbours, ..EaseConfig::default() };
            Ease::fit(&config, &FitInput::of(plays.view())).unwrap()
        };
        let (all, few) = (fit(9), fit(1));
        assert!(all.items().matrix.get(2, 0) < 0.0);
        assert_eq!(few.items().matrix.row(0).0, [1]);
        assert_eq!(few.items().matrix.get(0, 1), all.items().matrix.get(0, 1));
        let why = all.explain(&Query::of_items(&[2, 1, 2]), 0);
        assert_eq!(why.iter().map(|c| c.history_idx).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn settings_out_of_range_and_catalogues_too_large_are_named() {
        let plays = OwnedSequences::from_items(3, [vec![0, 1, 2]]);
        for (setting, config) in [
            ("l2", EaseConfig { l2: 0.0, ..EaseConfig::default() }),
            ("l2", EaseConfig { l2: f32::NAN, ..EaseConfig::default() }),
            ("neighbours", EaseConfig { neighbours: 0, ..EaseConfig::default() }),
            ("max_items", EaseConfig { max_items: 2, ..EaseConfig::default() }),
            ("max_history", EaseConfig { max_history: 0, ..EaseConfig::default() }),
            ("max_user_items", EaseConfig { max_user_items: 0, ..EaseConfig::default() }),
        ] {
            let error = Ease::fit(&config, &FitInput::of(plays.view())).unwrap_err().to_string();
            assert!(error.contains(&format!("`ease`: `{setting}`")), "{error}");
        }
    }
}
