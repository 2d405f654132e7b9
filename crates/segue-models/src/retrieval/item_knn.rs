//! Item-kNN: items that the same listeners play.
//!
//! With `w_ui` the weight of item `i` for user `u` (below), `similarity(i, j) = Σ_u w_ui w_uj / (‖i‖ ‖j‖ + shrinkage)`,
//! the strongest `neighbours` kept per item; `score(a | h) = Σ similarity(h, a)` over the different items of the
//! history. `tf_ui` is 1, or `ln(1 + plays)` with `tf = "log"`; `n_u` counts the items of user `u`.
//!
//! - `cosine`: `w = tf`.
//! - `tf_idf`: `w = √tf · (ln |I| − ln(1 + n_u))`: who plays everything says little.
//! - `bm25`: `w = tf · (K + 1) / (K · ((1 − B) + B · L_i / L) + tf) · (ln |I| − ln(1 + n_u))` with `K = 100`,
//!   `B = 0.8`, `L_i = Σ_u tf_ui` and `L` its mean over played items; both norms are 1.
//!
//! With `over = "sessions"` a session stands where a user stands here. `|I|` counts played items. Takes undated profiles as well as plays; needs no order. Ties by item row.
//!
//! Source: Sarwar et al., "Item-Based Collaborative Filtering", WWW 2001; the weights are those of
//! `benfred/implicit`, implicit/nearest_neighbours.py.

use serde::{Deserialize, Serialize};

use super::counts::Targets;
use super::interactions::{Interactions, Reading, RowsOf, TermFrequency};
use super::item_model::{History, ItemModel, ItemModelConfig, check_setting};
use super::item_to_item::ItemToItem;
use super::kernel::check_history;
use crate::{FitInput, ModelError};

/// How two items are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// Cosine of the columns.
    #[default]
    Cosine,
    /// Cosine with users weighted by how few items they play.
    TfIdf,
    /// BM25 weights, plain product.
    Bm25,
}

/// Settings of [`ItemKnn`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemKnnConfig {
    /// How two items are compared. Default `cosine`.
    pub similarity: Similarity,
    /// Whether items meet in a listener's plays or in a session's. Default `users`.
    pub over: RowsOf,
    /// What plays amount to. Default `binary`.
    pub tf: TermFrequency,
    /// Added to the denominator, 0 or more. Default 0.
    pub shrinkage: f32,
    /// Neighbours kept per item, at least 1. Default 100.
    pub neighbours: usize,
    /// Newest plays looked at when asked, 1 to 1000. Default 200.
    pub max_history: usize,
    /// Items per user (or session) that are learnt from, at least 1: the newest (of profiles, the most played).
    /// Time grows with its square. Default 2,000.
    pub max_user_items: usize,
    /// Which plays count. Default `wanted`.
    pub targets: Targets,
}

impl Default for ItemKnnConfig {
    fn default() -> Self {
        Self {
            similarity: Similarity::default(),
            over: RowsOf::default(),
            tf: TermFrequency::default(),
            shrinkage: 0.0,
            neighbours: 100,
            max_history: 200,
            max_user_items: 2000,
            targets: Targets::default(),
        }
    }
}

/// Nearest neighbours of each item.
pub type ItemKnn = ItemModel<ItemKnnConfig>;

impl ItemModelConfig for ItemKnnConfig {
    const KIND: &'static str = "item_knn";
    const ABOUT: &'static str = "items that the same listeners play";
    const SEARCH: &'static str = r#"
similarity = ["cosine", "tf_idf", "bm25"]
tf = ["binary", "log"]
shrinkage = { low = 0.1, high = 100.0, log = true }
neighbours = { low = 20, high = 500, log = true }
over = ["users", "sessions"]
"#;

    fn history(&self) -> Result<History, ModelError> {
        check_history(Self::KIND, self.max_history)?;
        for (setting, n) in [("neighbours", self.neighbours), ("max_user_items", self.max_user_items)] {
            check_setting(Self::KIND, n >= 1, setting, n, "it is a number of items, at least 1")?;
        }
        let good = self.shrinkage.is_finite() && self.shrinkage >= 0.0;
        let rule = "it is added to a product of norms, 0 or more";
        check_setting(Self::KIND, good, "shrinkage", self.shrinkage, rule)?;
        Ok(History::Distinct(self.max_history))
    }

    fn matrix(&self, input: &FitInput<'_>) -> Result<ItemToItem, ModelError> {
        let plays = Interactions::of(
            input,
            &Reading {
                rows_of: self.over,
                tf: self.tf,
                max_row_items: self.max_user_items,
                targets: self.targets,
            },
        );
        let weight = weigh(&plays, self.similarity);
        let norm: Vec<f64> = (0..plays.n_items)
            .map(|item| {
                let squares: f64 =
                    plays.of_item(item).iter().map(|&(_, at)| f64::from(weight[at as usize]).powi(2)).sum();
                if self.similarity == Similarity::Bm25 { 1.0 } else { squares.sqrt() }
            })
            .collect();
        let shrinkage = f64::from(self.shrinkage);
        // Sums are f64: weights of an idf may cancel to zero for every user but one.
        Ok(ItemToItem::new(plays.item_products(
            &weight,
            &weight,
            |a, b, dot| dot / (norm[a as usize] * norm[b as usize] + shrinkage),
            self.neighbours,
        )))
    }
}

/// From `tf` to the weights of the similarity.
fn weigh(plays: &Interactions, similarity: Similarity) -> Vec<f32> {
    const K: f64 = 100.0;
    const B: f64 = 0.8;
    let mut weight = plays.weight.clone();
    if similarity == Similarity::Cosine {
        return weight;
    }
    let n_played = plays.item_offsets.windows(2).filter(|w| w[0] < w[1]).count() as f64;
    let mut length = vec![0.0_f64; plays.n_items as usize];
    for (&item, &tf) in plays.item.iter().zip(&plays.weight) {
        length[item as usize] += f64::from(tf);
    }
    let mean_length = length.iter().sum::<f64>() / n_played.max(1.0);
    for user in 0..plays.n_users() {
        let range = plays.of_user(user);
        let idf = n_played.ln() - (range.len() as f64).ln_1p();
        for i in range {
            let tf = f64::from(weight[i]);
            weight[i] = match similarity {
                Similarity::Bm25 => {
                    let norm = (1.0 - B) + B * length[plays.item[i] as usize] / mean_length;
                    tf * (K + 1.0) / (K * norm + tf) * idf
                }
                _ => tf.sqrt() * idf,
            } as f32;
        }
    }
    weight
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_data::OwnedSequences;

    use super::*;
    use crate::{Contribution, ItemFilter, Model, Profiles, Query, Recommender, Scored};

    proptest! {
        /// The reference works on the dense matrix, straight from the formulas above.
        #[test]
        fn similarities_equal_those_of_the_dense_matrix(
            users in prop::collection::vec(prop::collection::vec(0_u32..6, 0..9), 1..8),
            similarity in prop::sample::select(vec![Similarity::Cosine, Similarity::TfIdf, Similarity::Bm25]),
            tf in prop::sample::select(vec![TermFrequency::Binary, TermFrequency::Log]),
        ) {
            let plays = OwnedSequences::from_items(6, users.clone());
            let config = ItemKnnConfig { similarity, tf, shrinkage: 0.5, ..ItemKnnConfig::default() };
            let model = ItemKnn::fit(&config, &FitInput::of(plays.view())).unwrap();
            let tf_of = |u: &Vec<u32>, i: u32| {
                let n = u.iter().filter(|&&x| x == i).count() as f64;
                if tf == TermFrequency::Log { n.ln_1p() } else { n.min(1.0) }
            };
            let length = |i: u32| users.iter().map(|u| tf_of(u, i)).sum::<f64>();
            let played = (0..6).filter(|&i| length(i) > 0.0).count() as f64;
            let mean = (0..6).map(length).sum::<f64>() / played.max(1.0);
            let w = |u: &Vec<u32>, i: u32| {
                let n_u = (0..6).filter(|i| u.contains(i)).count() as f64;
                let (tf, idf) = (tf_of(u, i), played.ln() - n_u.ln_1p());
                match similarity {
                    _ if tf == 0.0 => 0.0,
                    Similarity::Cosine => tf,
                    Similarity::TfIdf => tf.sqrt() * idf,
                    Similarity::Bm25 => tf * 101.0 / (100.0 * (0.2 + 0.8 * length(i) / mean) + tf) * idf,
                }
            };
            let dot = |i, j| users.iter().map(|u| w(u, i) * w(u, j)).sum::<f64>();
            for i in 0..6 {
                for j in 0..6 {
                    let norms = if similarity == Similarity::Bm25 { 1.0 } else { (dot(i, i) * dot(j, j)).sqrt() };
                    let want = if i == j { 0.0 } else { dot(i, j) / (norms + 0.5) };
                    let got = f64::from(model.items().matrix.get(i, j));
                    prop_assert!((got - want).abs() < 1e-5, "{i} {j}: {got} is not {want}");
                }
            }
        }
    }

    #[test]
    fn over_sessions_items_of_two_sessions_of_a_listener_are_strangers() {
        let mut plays = OwnedSequences::from_items(4, [vec![0, 1, 2, 3], vec![0, 1]]);
        plays.session = vec![0, 0, 1, 1, 0, 0];
        let near = |over| {
            let config = ItemKnnConfig { over, ..ItemKnnConfig::default() };
            let model = ItemKnn::fit(&config, &FitInput::of(plays.view())).unwrap();
            model.similar_items(0, 9).iter().map(|s| s.item).collect::<Vec<_>>()
        };
        assert_eq!(near(RowsOf::Sessions), [1]);
        assert_eq!(near(RowsOf::Users), [1, 2, 3]);
    }

    #[test]
    fn profiles_without_dates_are_enough_and_repeats_in_the_history_count_once() {
        let nothing = OwnedSequences { n_items: 3, ..OwnedSequences::default() };
        let profiles = Profiles { offsets: &[0, 2, 4], item: &[0, 1, 0, 2], n_plays: &[9, 1, 2, 2] };
        let input = FitInput { profiles: Some(profiles), ..FitInput::of(nothing.view()) };
        let model = ItemKnn::fit(&ItemKnnConfig::default(), &input).unwrap();
        let mut out = Vec::new();
        model.recommend(&Query::of_items(&[1, 1, 1]), 9, &ItemFilter::default(), &mut out).unwrap();
        assert_eq!(out, [Scored { item: 0, score: 0.5_f32.sqrt() }]);
        let why = model.explain(&Query::of_items(&[1, 1, 1]), 0);
        assert_eq!(why, [Contribution { history_idx: 2, amount: 0.5_f32.sqrt() }]);
    }
}
