//! The common core of models that score by a sparse item × item matrix.
//!
//! `score(a | h) = Σ_j w_j · E[h_j, a] + prior[a]`, with `h_1` the newest play.
//!
//! The fast scorer adds rows into a dense accumulator that belongs to the thread, clears what the
//! filter excludes, and keeps the best `k` by partial selection: no allocation per query, and work
//! in proportion to the rows touched. A plain dense scorer stands beside it in the tests.

use std::cell::RefCell;

use sha2::{Digest, Sha256};

use crate::sparse::Csr;
use crate::top_k::TopK;
use crate::{Contribution, ItemFilter, ModelError, Scored, Tensors};

/// A sparse item × item matrix with a tie rule and, optionally, a prior.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemToItem {
    /// `E`: `[n_items, n_items]`, row = source in the history, column = candidate.
    pub(crate) matrix: Csr,
    /// `[n_items]` added to every candidate's score, or empty.
    prior: Vec<f32>,
    /// Items to offer without evidence from the history, best first; empty offers none.
    background: Vec<u32>,
    /// `[n_items]` place of each item among equal scores, or empty for item row order.
    tie_rank: Vec<u32>,
    /// Inverse of `tie_rank`.
    item_of_rank: Vec<u32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    /// Score so far by item; zero between queries.
    score: Vec<f32>,
    /// Items whose score was touched (perhaps twice, if it passed through zero).
    touched: Vec<u32>,
    top: TopK,
}

impl ItemToItem {
    /// A matrix alone: ties by item row, no prior, nothing without evidence.
    pub(crate) fn new(matrix: Csr) -> Self {
        Self { matrix, prior: vec![], background: vec![], tie_rank: vec![], item_of_rank: vec![] }
    }

    /// Breaks ties by ascending SHA-256 of the external id instead of by row.
    pub(crate) fn ties_by_sha256(mut self, item_ids: &[String]) -> Self {
        let digest: Vec<_> = item_ids.iter().map(|id| Sha256::digest(id.as_bytes())).collect();
        let mut order: Vec<u32> = (0..item_ids.len() as u32).collect();
        order.sort_unstable_by_key(|&i| (&digest[i as usize], &item_ids[i as usize], i));
        self.tie_rank = vec![0; order.len()];
        for (rank, &item) in (0..).zip(&order) {
            self.tie_rank[item as usize] = rank;
        }
        self.item_of_rank = order;
        self
    }

    /// Adds `prior[item]` to every candidate.
    pub(crate) fn with_prior(mut self, prior: Vec<f32>) -> Self {
        self.prior = prior;
        self
    }

    /// Also ranks these items where the history says nothing of them.
    pub(crate) fn with_background(mut self, mut items: Vec<u32>) -> Self {
        items.sort_by(|&a, &b| {
            self.prior_of(b).total_cmp(&self.prior_of(a)).then(self.rank_of(a).cmp(&self.rank_of(b)))
        });
        self.background = items;
        self
    }

    /// Number of item rows.
    pub(crate) fn n_items(&self) -> u32 {
        self.matrix.n_rows() as u32
    }

    /// Fills `out` with the best `k`. `history` yields items with weights, newest first; items out
    /// of range say nothing.
    pub(crate) fn recommend(
        &self,
        history: impl Iterator<Item = (u32, f32)>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) {
        out.clear();
        SCRATCH.with_borrow_mut(|Scratch { score, touched, top }| {
            let n = self.matrix.n_rows();
            if score.len() < n {
                score.resize(n, 0.0);
            }
            for (item, weight) in history {
                let (cols, values) = self.matrix.row(item);
                for (&col, &value) in cols.iter().zip(values) {
                    let sum = &mut score[col as usize];
                    if *sum == 0.0 {
                        touched.push(col);
                    }
                    *sum += weight * value;
                }
            }
            // Clearing the excluded is cheaper than searching them for every candidate.
            for &item in filter.exclude {
                if let Some(sum) = score[..n].get_mut(item as usize) {
                    *sum = 0.0;
                }
            }
            top.reset(k.min(n));
            self.background
                .iter()
                .filter(|&&item| score[item as usize] == 0.0 && filter.admits(item))
                .take(k)
                .for_each(|&item| top.offer(self.prior_of(item), self.rank_of(item)));
            for item in touched.drain(..) {
                let sum = std::mem::take(&mut score[item as usize]);
                if sum != 0.0 && filter.allows(item) {
                    top.offer(sum + self.prior_of(item), self.rank_of(item));
                }
            }
            top.finish(|rank| self.item_of_rank.get(rank as usize).copied().unwrap_or(rank), out);
        });
    }

    /// The strongest entries of the item's row, itself excepted.
    pub(crate) fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        let mut out = Vec::new();
        let mut top = TopK::default();
        top.reset(k);
        let (cols, values) = self.matrix.row(item);
        for (&col, &value) in cols.iter().zip(values) {
            if col != item {
                top.offer(value, self.rank_of(col));
            }
        }
        top.finish(|rank| self.item_of_rank.get(rank as usize).copied().unwrap_or(rank), &mut out);
        out
    }

    /// What each play added to the score of `item`, where that is not zero.
    pub(crate) fn explain(
        &self,
        history: impl Iterator<Item = (usize, u32, f32)>,
        item: u32,
    ) -> Vec<Contribution> {
        history
            .map(|(history_idx, source, weight)| Contribution {
                history_idx,
                amount: weight * self.matrix.get(source, item),
            })
            .filter(|c| c.amount != 0.0)
            .collect()
    }

    /// All arrays; [`load`](Self::load) reads them back.
    pub(crate) fn store(&self) -> Tensors {
        self.matrix
            .store("matrix", Tensors::new())
            .with("prior", &self.prior)
            .with("background", &self.background)
            .with("tie_rank", &self.tie_rank)
    }

    /// Reads and checks what [`store`](Self::store) wrote.
    pub(crate) fn load(tensors: &mut Tensors) -> Result<Self, ModelError> {
        let tie_rank: Vec<u32> = tensors.take("tie_rank")?;
        let (n, matrix) = Csr::load_square("matrix", tensors)?;
        let mut out = Self::new(matrix);
        let prior: Vec<f32> = tensors.take("prior")?;
        if !prior.is_empty() && prior.len() != n as usize {
            return Err(tensors.wrong(format!("{n} values in `prior`"), prior.len().to_string()));
        }
        if let Some(at) = prior.iter().position(|v| !v.is_finite()) {
            return Err(
                tensors.wrong("finite values in `prior`".to_owned(), format!("{} at {at}", prior[at]))
            );
        }
        out.prior = prior;
        if !tie_rank.is_empty() {
            let mut item_of_rank = vec![u32::MAX; n as usize];
            for (item, &rank) in (0..).zip(&tie_rank) {
                match item_of_rank.get_mut(rank as usize) {
                    Some(slot) if *slot == u32::MAX => *slot = item,
                    _ => {
                        let got = format!("rank {rank} twice or out of range");
                        return Err(tensors.wrong(format!("a permutation of {n} in `tie_rank`"), got));
                    }
                }
            }
            if tie_rank.len() != n as usize {
                return Err(tensors.wrong(format!("{n} values in `tie_rank`"), tie_rank.len().to_string()));
            }
            out.tie_rank = tie_rank;
            out.item_of_rank = item_of_rank;
        }
        let background: Vec<u32> = tensors.take("background")?;
        let mut seen = vec![false; n as usize];
        for &item in &background {
            match seen.get_mut(item as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => {
                    let got = format!("item {item} twice or out of range");
                    return Err(tensors.wrong(format!("different items below {n} in `background`"), got));
                }
            }
        }
        out.background = background;
        Ok(out)
    }

    #[inline]
    fn prior_of(&self, item: u32) -> f32 {
        self.prior.get(item as usize).copied().unwrap_or(0.0)
    }

    #[inline]
    fn rank_of(&self, item: u32) -> u32 {
        self.tie_rank.get(item as usize).copied().unwrap_or(item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain reference: every item of the catalogue, scored and sorted.
    fn recommend_plainly(
        model: &ItemToItem,
        history: &[(u32, f32)],
        k: usize,
        filter: &ItemFilter<'_>,
    ) -> Vec<Scored> {
        let mut all = Vec::new();
        for item in 0..model.n_items() {
            let mut score = 0.0_f32;
            for &(source, weight) in history {
                score += weight * model.matrix.get(source, item);
            }
            if filter.admits(item) && (score != 0.0 || model.background.contains(&item)) {
                all.push(Scored { item, score: score + model.prior_of(item) });
            }
        }
        all.sort_by(|a, b| {
            b.score.partial_cmp(&a.score).unwrap().then(model.rank_of(a.item).cmp(&model.rank_of(b.item)))
        });
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn the_fast_scorer_equals_the_plain_one(
            cells in prop::collection::btree_map((0_u32..20, 0_u32..20), -2_i8..6, 0..80),
            prior in prop::collection::vec(-3_i8..3, 20),
            history in prop::collection::vec((0_u32..23, 0_i8..4), 0..12),
            exclude in prop::collection::btree_set(0_u32..25, 0..6),
            allow in prop::option::of(any::<u64>()),
            with in (any::<bool>(), any::<bool>(), any::<bool>()),
            k in 0_usize..25,
        ) {
            let matrix = Csr::build(20, || (), |(), row, out| {
                out.extend(cells.iter().filter(|((r, _), v)| *r == row && **v != 0)
                    .map(|((_, c), &v)| (*c, f32::from(v))));
            });
            let mut model = ItemToItem::new(matrix);
            if with.0 {
                model = model.ties_by_sha256(&(0..20).map(|i| i.to_string()).collect::<Vec<_>>());
            }
            if with.1 {
                model = model.with_prior(prior.iter().map(|&p| f32::from(p) / 2.0).collect());
            }
            if with.2 {
                model = model.with_background((0..20).filter(|i| i % 3 != 0).collect());
            }
            let history: Vec<_> = history.iter().map(|&(i, w)| (i, f32::from(w))).collect();
            let exclude: Vec<u32> = exclude.into_iter().collect();
            let allow = allow.map(|bits| [bits]);
            let filter = ItemFilter { exclude: &exclude, allow: allow.as_ref().map(<[u64; 1]>::as_slice) };
            let mut got = vec![Scored { item: 9, score: 9.0 }];
            model.recommend(history.iter().copied(), k, &filter, &mut got);
            prop_assert_eq!(&got, &recommend_plainly(&model, &history, k, &filter));

            let mut stored = model.store();
            let loaded = ItemToItem::load(&mut stored).unwrap();
            prop_assert_eq!(loaded, model);
        }
    }
}
