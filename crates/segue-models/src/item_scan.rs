//! The best items for a listener's vector: an exact scan over all of them, in 32, 16 or 8 bits a number.

use std::ops::Range;

use segue_nn::{ByteTable, HalfTable, ShortVector, row_products, simd};

use crate::Scored;
use crate::top_k::TopK;

/// Items whose scores exist at one time.
pub(crate) const CHUNK: usize = 256;

/// A table of item vectors to scan. Fewer bits take fewer bytes from memory, which a scan is bound by,
/// and round scores: see [`HalfTable`] and [`ByteTable`] for by how much.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemTable {
    /// 4 bytes a number: `[n_items, d]` and `d`.
    F32(Vec<f32>, usize),
    /// 2 bytes a number.
    F16(HalfTable),
    /// 1 byte a number, and 4 per item.
    I8(ByteTable),
}

impl ItemTable {
    /// Number of items.
    #[must_use]
    pub fn n_items(&self) -> usize {
        match self {
            Self::F32(table, d) => table.len() / d,
            Self::F16(table) => table.n_rows(),
            Self::I8(table) => table.n_rows(),
        }
    }

    /// Fills `out` with the best `k` items for a vector `[d]` that `admits` lets through, best first; ties by
    /// item row.
    pub fn best(&self, user: &[f32], k: usize, admits: impl Fn(u32) -> bool, out: &mut Vec<Scored>) {
        match self {
            Self::F32(table, d) => best(
                self.n_items(),
                k,
                admits,
                out,
                #[inline(always)]
                |rows, scores| score_f32(table, *d, user, rows, scores),
            ),
            Self::F16(table) => {
                best(table.n_rows(), k, admits, out, |rows, scores| table.scores(user, rows, scores))
            }
            Self::I8(table) => {
                let user = ShortVector::new(user);
                best(table.n_rows(), k, admits, out, |rows, scores| table.scores(&user, rows, scores))
            }
        }
    }
}

/// The products of `user` with rows of a table `[n_items, d]`.
pub(crate) fn score_f32(table: &[f32], d: usize, user: &[f32], rows: Range<usize>, scores: &mut [f32]) {
    row_products(user, &table[rows.start * d..rows.end * d], scores);
}

/// The best `k` of `n` items, whose scores `score` fills in a chunk at a time.
pub(crate) fn best(
    n: usize,
    k: usize,
    admits: impl Fn(u32) -> bool,
    out: &mut Vec<Scored>,
    score: impl Fn(Range<usize>, &mut [f32]),
) {
    out.clear();
    if k == 0 {
        return;
    }
    let mut top = TopK::default();
    top.reset(k);
    let mut scores = [0.0_f32; CHUNK];
    for first in (0..n).step_by(CHUNK) {
        let rows = first..n.min(first + CHUNK);
        let scores = &mut scores[..rows.len()];
        score(rows, scores);
        // Most chunks hold nothing that is good enough: no item of them is looked at.
        if simd::max(scores) >= top.floor_score() {
            for (item, &score) in (first as u32..).zip(&*scores) {
                if score >= top.floor_score() && admits(item) {
                    top.offer(score, item);
                }
            }
        }
    }
    top.finish(|item| item, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_nn::Counter;

    use super::*;

    fn values(seed: u64, n: usize) -> Vec<f32> {
        let draws = Counter::new(seed, 1);
        (0..n as u64).map(|i| draws.normal(i)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_scan_finds_what_sorting_all_scores_finds(
            seed in 0_u64..1000, n in 0_usize..900, d in 1_usize..40, k in 0_usize..120,
        ) {
            let (table, user) = (values(seed, n * d), values(seed + 1, d));
            let admits = |item: u32| item % 7 != 3;
            let short = ShortVector::new(&user);
            let tables = [
                ItemTable::F32(table.clone(), d),
                ItemTable::F16(HalfTable::new(&table, d)),
                ItemTable::I8(ByteTable::new(&table, d)),
            ];
            for table in tables {
                let mut scores = vec![0.0; n];
                match &table {
                    ItemTable::F32(table, d) => score_f32(table, *d, &user, 0..n, &mut scores),
                    ItemTable::F16(table) => table.scores(&user, 0..n, &mut scores),
                    ItemTable::I8(table) => table.scores(&short, 0..n, &mut scores),
                }
                let mut want: Vec<Scored> = (0..).zip(&scores).filter(|&(item, _)| admits(item))
                    .map(|(item, &score)| Scored { item, score }).collect();
                want.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
                want.truncate(k);
                let mut got = vec![Scored { item: 0, score: 0.0 }];
                table.best(&user, k, admits, &mut got);
                prop_assert_eq!(got, want);
                prop_assert_eq!(table.n_items(), n);
            }
        }
    }
}
