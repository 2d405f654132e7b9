//! RP3β: a random walk of three steps from the listener, with popular items held back.
//!
//! With `w_ui` the plays of item `i` by user `u` (1, or `ln(1 + plays)` with `tf = "log"`),
//! `P_ui = w_ui / Σ_i w_ui` and `P_iu = w_ui / Σ_u w_ui`,
//! `W_ij = (Σ_u P_iu^α · P_uj^α) / n_j^β`, where `n_j` counts the users of `j`; the strongest `neighbours` kept
//! per item. `score(a | h) = Σ W_ha` over the different items of the history. Ties by item row.
//! `α = 1`, `β = 0` is the plain walk user → item → user → item (P³).
//!
//! Takes undated profiles as well as plays; needs no order.
//!
//! Source: Paudel, Christoffel, Newell & Bernstein, "Updatable, Accurate, Diverse, and Scalable
//! Recommendations for Interactive Applications", ACM TiiS 2016; Christoffel et al., "Blockbusters and
//! Wallflowers", RecSys 2015.

use serde::{Deserialize, Serialize};

use super::counts::Targets;
use super::interactions::{Interactions, Reading, RowsOf, TermFrequency};
use super::item_model::{History, ItemModel, ItemModelConfig, check_setting};
use super::item_to_item::ItemToItem;
use super::kernel::check_history;
use crate::{FitInput, ModelError};

/// Settings of [`Rp3Beta`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rp3BetaConfig {
    /// `α`: power of the step probabilities, above 0. Default 1. Worth trying: 0.4 to 1.6.
    pub alpha: f32,
    /// `β`: power of popularity that divides, 0 or more. Default 0.6. Worth trying: 0 to 1.
    pub beta: f32,
    /// Neighbours kept per item, at least 1. Default 200. Worth trying: 50 to 500.
    pub neighbours: usize,
    /// What plays of one item by one user amount to. Default `binary`.
    pub tf: TermFrequency,
    /// Newest plays looked at when asked, 1 to 1000. Default 200.
    pub max_history: usize,
    /// Items per user that are learnt from, at least 1: the newest (of profiles, the most played).
    /// Time grows with its square. Default 2,000.
    pub max_user_items: usize,
    /// Which plays count. Default `wanted`.
    pub targets: Targets,
}

impl Default for Rp3BetaConfig {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 0.6,
            neighbours: 200,
            tf: TermFrequency::default(),
            max_history: 200,
            max_user_items: 2000,
            targets: Targets::default(),
        }
    }
}

/// Probabilities of the walk's last two steps, item to item.
pub type Rp3Beta = ItemModel<Rp3BetaConfig>;

impl ItemModelConfig for Rp3BetaConfig {
    const KIND: &'static str = "rp3_beta";
    const ABOUT: &'static str = "where a random walk over listeners ends, popular items held back";
    const SEARCH: &'static str = r#"
alpha = { low = 0.4, high = 1.6 }
beta = { low = 0.0, high = 1.0 }
neighbours = { low = 50, high = 500, log = true }
tf = ["binary", "log"]
"#;

    fn history(&self) -> Result<History, ModelError> {
        check_history(Self::KIND, self.max_history)?;
        for (setting, n) in [("neighbours", self.neighbours), ("max_user_items", self.max_user_items)] {
            check_setting(Self::KIND, n >= 1, setting, n, "it is a number of items, at least 1")?;
        }
        let (alpha, beta) = (self.alpha, self.beta);
        let rule = "it is a power of probabilities, above 0";
        check_setting(Self::KIND, alpha.is_finite() && alpha > 0.0, "alpha", alpha, rule)?;
        let rule = "it is a power of popularity, 0 or more";
        check_setting(Self::KIND, beta.is_finite() && beta >= 0.0, "beta", beta, rule)?;
        Ok(History::Distinct(self.max_history))
    }

    fn matrix(&self, input: &FitInput<'_>) -> Result<ItemToItem, ModelError> {
        let plays = Interactions::of(
            input,
            &Reading {
                rows_of: RowsOf::Users,
                tf: self.tf,
                max_row_items: self.max_user_items,
                targets: self.targets,
            },
        );
        let alpha = f64::from(self.alpha);
        let step = |weight: f32, of: f64| (f64::from(weight) / of).powf(alpha) as f32;
        let mut to_item = vec![0.0_f32; plays.item.len()];
        for user in 0..plays.n_users() {
            let range = plays.of_user(user);
            let sum: f64 = plays.weight[range.clone()].iter().map(|&w| f64::from(w)).sum();
            range.for_each(|i| to_item[i] = step(plays.weight[i], sum));
        }
        let mut to_user = vec![0.0_f32; plays.item.len()];
        let mut held_back = vec![0.0_f64; plays.n_items as usize];
        for item in 0..plays.n_items {
            let entries = plays.of_item(item);
            let sum: f64 = entries.iter().map(|&(_, at)| f64::from(plays.weight[at as usize])).sum();
            entries.iter().for_each(|&(_, at)| to_user[at as usize] = step(plays.weight[at as usize], sum));
            held_back[item as usize] = (entries.len() as f64).powf(f64::from(self.beta));
        }
        Ok(ItemToItem::new(plays.item_products(
            &to_user,
            &to_item,
            |_, to, walk| walk / held_back[to as usize],
            self.neighbours,
        )))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_data::OwnedSequences;

    use super::*;
    use crate::{ItemFilter, Model, Query, Recommender};

    proptest! {
        /// The reference multiplies dense matrices, straight from the formula above.
        #[test]
        fn the_walk_equals_products_of_dense_matrices(
            users in prop::collection::vec(prop::collection::vec(0_u32..6, 0..9), 1..8),
            tf in prop::sample::select(vec![TermFrequency::Binary, TermFrequency::Log]),
            alpha in 0.3_f32..1.8,
            beta in 0.0_f32..1.2,
        ) {
            let plays = OwnedSequences::from_items(6, users.clone());
            let config = Rp3BetaConfig { alpha, beta, tf, ..Rp3BetaConfig::default() };
            let model = Rp3Beta::fit(&config, &FitInput::of(plays.view())).unwrap();
            let w = |u: &[u32], i: u32| {
                let n = u.iter().filter(|&&x| x == i).count() as f64;
                if tf == TermFrequency::Log { n.ln_1p() } else { n.min(1.0) }
            };
            let of_user = |u: &[u32]| (0..6).map(|i| w(u, i)).sum::<f64>();
            let of_item = |i: u32| users.iter().map(|u| w(u, i)).sum::<f64>();
            let (alpha, beta) = (f64::from(alpha), f64::from(beta));
            for i in 0..6 {
                for j in 0..6 {
                    let walk: f64 = users
                        .iter()
                        .filter(|u| u.contains(&i) && u.contains(&j))
                        .map(|u| (w(u, i) / of_item(i)).powf(alpha) * (w(u, j) / of_user(u)).powf(alpha))
                        .sum();
                    let n_j = users.iter().filter(|u| u.contains(&j)).count() as f64;
                    let want = if i == j || walk == 0.0 { 0.0 } else { walk / n_j.powf(beta) };
                    let got = f64::from(model.items().matrix.get(i, j));
                    prop_assert!((got - want).abs() < 1e-5, "{i} {j}: {got} is not {want}");
                }
            }
        }
    }

    #[test]
    fn a_greater_beta_prefers_the_rarer_of_two_neighbours() {
        // 0 is played with 1 by two of five listeners of 1, with 2 by the only listener of 2.
        let plays = [vec![0, 1], vec![0, 1], vec![0, 2], vec![1], vec![1], vec![1]];
        let plays = OwnedSequences::from_items(3, plays);
        let first = |beta| {
            let config = Rp3BetaConfig { beta, ..Rp3BetaConfig::default() };
            let model = Rp3Beta::fit(&config, &FitInput::of(plays.view())).unwrap();
            let mut out = Vec::new();
            let filter = ItemFilter { exclude: &[0], allow: None };
            model.recommend(&Query::of_items(&[0]), 1, &filter, &mut out).unwrap();
            out[0].item
        };
        assert_eq!((first(0.0), first(1.0)), (1, 2));
    }
}
