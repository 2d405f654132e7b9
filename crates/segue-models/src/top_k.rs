//! The best `k` of many scores without sorting them all.

use crate::Scored;

/// Collects the best `k` pairs of a score and a tie rank: higher scores first, then lower ranks.
///
/// Pairs are packed into one ordered integer; what cannot be among the best is dropped at once by
/// comparing with the `k`-th best so far, and the buffer is cut by partial selection when it fills.
#[derive(Debug, Default)]
pub(crate) struct TopK {
    /// `score << 32 | !rank`, so that a greater key is a better pair.
    keys: Vec<u64>,
    k: usize,
    /// Only keys above this may still be among the best.
    floor: u64,
    /// The score in `floor`.
    floor_score: f32,
}

impl TopK {
    /// Starts anew for the best `k`.
    pub(crate) fn reset(&mut self, k: usize) {
        self.keys.clear();
        self.k = k;
        self.floor = 0;
        self.floor_score = f32::NEG_INFINITY;
    }

    /// Offers a pair. Scores that are not finite are not taken.
    #[inline]
    pub(crate) fn offer(&mut self, score: f32, tie_rank: u32) {
        let key = u64::from(ordered(score)) << 32 | u64::from(!tie_rank);
        if key > self.floor && score.is_finite() {
            self.keys.push(key);
            if self.keys.len() >= 2 * self.k.max(64) {
                self.cut();
            }
        }
    }

    /// Scores below this one cannot be among the best.
    pub(crate) fn floor_score(&self) -> f32 {
        self.floor_score
    }

    /// Appends the best pairs to `out`, best first; `item_of` turns a tie rank into an item row.
    pub(crate) fn finish(&mut self, item_of: impl Fn(u32) -> u32, out: &mut Vec<Scored>) {
        self.cut();
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        out.extend(
            self.keys
                .iter()
                .map(|&key| Scored { item: item_of(!(key as u32)), score: unordered((key >> 32) as u32) }),
        );
        self.keys.clear();
    }

    fn cut(&mut self) {
        if self.k == 0 {
            self.keys.clear();
        } else if self.keys.len() > self.k {
            let (_, kth, _) = self.keys.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            self.floor = *kth;
            self.floor_score = unordered((*kth >> 32) as u32);
            self.keys.truncate(self.k);
        }
    }
}

/// Maps finite floats to integers of the same order; both zeros become one.
fn ordered(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The inverse of [`ordered`].
fn unordered(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_k_are_those_of_a_full_sort(
            scores in prop::collection::vec(prop_oneof![-2_i8..3, Just(100)], 0..600),
            k in 0_usize..300,
        ) {
            let scores: Vec<f32> = scores.iter().map(|&s| if s == 100 { f32::NAN } else { f32::from(s) }).collect();
            let mut top = TopK::default();
            top.reset(k);
            for (rank, &score) in scores.iter().enumerate() {
                if score >= top.floor_score() || score.is_nan() {
                    top.offer(score, rank as u32);
                }
            }
            let mut got = Vec::new();
            top.finish(|rank| rank, &mut got);
            let mut want: Vec<Scored> = (0..).zip(&scores).filter(|(_, s)| s.is_finite())
                .map(|(item, &score)| Scored { item, score }).collect();
            want.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
            want.truncate(k);
            prop_assert_eq!(got, want);
        }

        #[test]
        fn packing_keeps_value_and_order(a in -1e30_f32..1e30, b in -1e30_f32..1e30) {
            prop_assert_eq!(unordered(ordered(a)), a);
            prop_assert_eq!(ordered(a).cmp(&ordered(b)), a.partial_cmp(&b).unwrap());
        }
    }
}
