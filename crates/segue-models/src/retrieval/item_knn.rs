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
//! `|I|` counts played items. Takes undated profiles as well as plays; needs no order. Ties by item row.
//!
//! Source: Sarwar et al., "Item-Based Collaborative Filtering", WWW 2001; the weights are those of
//! `benfred/implicit`, implicit/nearest_neighbours.py.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use super::counts::{Targets, prune};
use super::item_to_item::ItemToItem;
use super::kernel::check_history;
use crate::sparse::Csr;
use crate::{
    Contribution, FitInput, ItemFilter, Model, ModelError, ModelParts, Query, Recommender, Scored,
};

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

/// What plays of one item by one user amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TermFrequency {
    /// 1, however often.
    #[default]
    Binary,
    /// `ln(1 + plays)`.
    Log,
}

/// Settings of [`ItemKnn`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemKnnConfig {
    /// How two items are compared. Default `cosine`.
    pub similarity: Similarity,
    /// What plays amount to. Default `binary`.
    pub tf: TermFrequency,
    /// Added to the denominator, 0 or more. Default 0.
    pub shrinkage: f32,
    /// Neighbours kept per item, at least 1. Default 100.
    pub neighbours: usize,
    /// Newest plays looked at when asked, 1 to 1000. Default 200.
    pub max_history: usize,
    /// Items per user that are learnt from, at least 1: the newest (of profiles, the most played).
    /// Time grows with its square. Default 2,000.
    pub max_user_items: usize,
    /// Which plays count. Default `wanted`.
    pub targets: Targets,
}

impl Default for ItemKnnConfig {
    fn default() -> Self {
        Self {
            similarity: Similarity::default(),
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
#[derive(Debug, Clone, PartialEq)]
pub struct ItemKnn {
    config: ItemKnnConfig,
    neighbours: ItemToItem,
}

thread_local! {
    /// Different items of the history that is asked with.
    static HISTORY: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

impl ItemKnn {
    fn new(config: ItemKnnConfig, neighbours: ItemToItem) -> Result<Self, ModelError> {
        check_history(Self::KIND, config.max_history)?;
        for (setting, value) in
            [("neighbours", config.neighbours), ("max_user_items", config.max_user_items)]
        {
            if value == 0 {
                let rule = "it is a number of items, at least 1";
                return Err(ModelError::Config { model: Self::KIND, setting, value: value.to_string(), rule });
            }
        }
        if !(config.shrinkage.is_finite() && config.shrinkage >= 0.0) {
            return Err(ModelError::Config {
                model: Self::KIND,
                setting: "shrinkage",
                value: config.shrinkage.to_string(),
                rule: "it is added to a product of norms, 0 or more",
            });
        }
        Ok(Self { config, neighbours })
    }
}

impl Model for ItemKnn {
    type Config = ItemKnnConfig;

    const KIND: &'static str = "item_knn";
    const ABOUT: &'static str = "items that the same listeners play";

    fn fit(config: &ItemKnnConfig, input: &FitInput<'_>) -> Result<Self, ModelError> {
        let mut model = Self::new(config.clone(), ItemToItem::new(Csr::default()))?;
        model.neighbours = ItemToItem::new(Interactions::of(input, config).similarities(config));
        Ok(model)
    }

    fn load(config: ItemKnnConfig, mut parts: ModelParts) -> Result<Self, ModelError> {
        Self::new(config, ItemToItem::load(&mut parts.tensors)?)
    }
}

/// Weighted users × items, and its transpose.
struct Interactions {
    n_items: u32,
    /// `[n_users + 1]` into `item` and `weight`.
    user_offsets: Vec<usize>,
    /// `[n_entries]` ascending within a user.
    item: Vec<u32>,
    /// `[n_entries]`.
    weight: Vec<f32>,
    /// `[n_items + 1]` into `entry`.
    item_offsets: Vec<usize>,
    /// `[n_entries]` user row and weight by item, users ascending.
    entry: Vec<(u32, f32)>,
}

impl Interactions {
    fn of(input: &FitInput<'_>, config: &ItemKnnConfig) -> Self {
        let mut out = Self {
            n_items: input.n_items(),
            user_offsets: vec![0],
            item: vec![],
            weight: vec![],
            item_offsets: vec![0; input.n_items() as usize + 1],
            entry: vec![],
        };
        match input.profiles.filter(|_| input.sequences.n_plays() == 0) {
            Some(profiles) => {
                for range in profiles.offsets.windows(2) {
                    let range = range[0] as usize..range[1] as usize;
                    let mut plays: Vec<(u32, u64)> =
                        range.map(|i| (profiles.item[i], profiles.n_plays[i])).collect();
                    plays.sort_unstable_by_key(|&(item, n)| (std::cmp::Reverse(n), item));
                    out.push(plays.into_iter(), config);
                }
            }
            None => {
                for user in input.users() {
                    let wanted = (0..user.len()).rev().filter_map(|at| {
                        config.targets.admits(user.action.get(at).copied()).then_some((user.item[at], 1))
                    });
                    out.push(wanted, config);
                }
            }
        }
        for &item in &out.item {
            out.item_offsets[item as usize + 1] += 1;
        }
        for i in 1..out.item_offsets.len() {
            out.item_offsets[i] += out.item_offsets[i - 1];
        }
        out.weigh(config.similarity);
        let mut next = out.item_offsets.clone();
        out.entry = vec![(0, 0.0); out.item.len()];
        for user in 0..out.user_offsets.len() - 1 {
            for i in out.user_offsets[user]..out.user_offsets[user + 1] {
                let slot = &mut next[out.item[i] as usize];
                out.entry[*slot] = (user as u32, out.weight[i]);
                *slot += 1;
            }
        }
        out
    }

    /// Adds a user's plays, best first: `(item, number)`.
    fn push(&mut self, plays: impl Iterator<Item = (u32, u64)>, config: &ItemKnnConfig) {
        let mut kept = std::collections::BTreeMap::<u32, u64>::new();
        for (item, n) in plays {
            if kept.len() < config.max_user_items || kept.contains_key(&item) {
                let sum = kept.entry(item).or_default();
                *sum = sum.saturating_add(n);
            }
        }
        self.item.extend(kept.keys());
        self.weight.extend(kept.values().map(|&n| match config.tf {
            TermFrequency::Binary => 1.0,
            TermFrequency::Log => (n as f32).ln_1p(),
        }));
        self.user_offsets.push(self.item.len());
    }

    /// From `tf` to the weights of the similarity.
    fn weigh(&mut self, similarity: Similarity) {
        const K: f64 = 100.0;
        const B: f64 = 0.8;
        if similarity == Similarity::Cosine {
            return;
        }
        let n_played = self.item_offsets.windows(2).filter(|w| w[0] < w[1]).count() as f64;
        let mut length = vec![0.0_f64; self.n_items as usize];
        for (&item, &tf) in self.item.iter().zip(&self.weight) {
            length[item as usize] += f64::from(tf);
        }
        let mean_length = length.iter().sum::<f64>() / n_played.max(1.0);
        for user in self.user_offsets.windows(2) {
            let idf = n_played.ln() - ((user[1] - user[0]) as f64).ln_1p();
            for i in user[0]..user[1] {
                let tf = f64::from(self.weight[i]);
                self.weight[i] = match similarity {
                    Similarity::Bm25 => {
                        let norm = (1.0 - B) + B * length[self.item[i] as usize] / mean_length;
                        tf * (K + 1.0) / (K * norm + tf) * idf
                    }
                    _ => tf.sqrt() * idf,
                } as f32;
            }
        }
    }

    fn similarities(&self, config: &ItemKnnConfig) -> Csr {
        let n = self.n_items as usize;
        let norm: Vec<f64> = (0..n)
            .map(|item| {
                let entries = &self.entry[self.item_offsets[item]..self.item_offsets[item + 1]];
                let squares: f64 = entries.iter().map(|e| f64::from(e.1) * f64::from(e.1)).sum();
                if config.similarity == Similarity::Bm25 { 1.0 } else { squares.sqrt() }
            })
            .collect();
        // Sums are f64: weights of an idf may cancel to zero for every user but one.
        let scratch = || (vec![0.0_f64; n], Vec::<u32>::new());
        Csr::build(self.n_items, scratch, |(sum, touched), source, out| {
            let source_row = source as usize;
            for &(user, weight) in
                &self.entry[self.item_offsets[source_row]..self.item_offsets[source_row + 1]]
            {
                for i in self.user_offsets[user as usize]..self.user_offsets[user as usize + 1] {
                    let other = self.item[i];
                    if sum[other as usize] == 0.0 {
                        touched.push(other);
                    }
                    sum[other as usize] += f64::from(weight) * f64::from(self.weight[i]);
                }
            }
            for other in touched.drain(..) {
                let dot = std::mem::take(&mut sum[other as usize]);
                let similarity =
                    dot / (norm[source_row] * norm[other as usize] + f64::from(config.shrinkage));
                if other != source && similarity as f32 != 0.0 && similarity.is_finite() {
                    out.push((other, similarity as f32));
                }
            }
            out.sort_unstable_by_key(|e| e.0);
            prune(out, config.neighbours);
        })
    }
}

impl Recommender for ItemKnn {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn n_items(&self) -> u32 {
        self.neighbours.n_items()
    }

    fn recommend(
        &self,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        HISTORY.with_borrow_mut(|items| {
            items.clear();
            items.extend(query.newest_first(self.n_items()).take(self.config.max_history).map(|(_, i)| i));
            items.sort_unstable();
            items.dedup();
            self.neighbours.recommend(items.iter().map(|&item| (item, 1.0)), k, filter, out);
        });
        Ok(())
    }

    fn parts(&self) -> ModelParts {
        ModelParts::new(Self::KIND, &self.config, self.neighbours.store())
    }

    fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        self.neighbours.similar_items(item, k)
    }

    fn explain(&self, query: &Query<'_>, item: u32) -> Vec<Contribution> {
        let mut seen = Vec::new();
        let newest = query.newest_first(self.n_items()).take(self.config.max_history);
        let first_met = newest.filter(|&(_, source)| {
            let new = !seen.contains(&source);
            seen.push(source);
            new
        });
        self.neighbours.explain(first_met.map(|(at, source)| (at, source, 1.0)), item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_data::OwnedSequences;

    use super::*;
    use crate::Profiles;

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
                    let got = f64::from(model.neighbours.matrix.get(i, j));
                    prop_assert!((got - want).abs() < 1e-5, "{i} {j}: {got} is not {want}");
                }
            }
        }
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
