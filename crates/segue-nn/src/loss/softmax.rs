//! Cross-entropy of the softmax over the whole catalogue, a tile of tokens at a time.
//!
//! `loss = ln Σⱼ exp(h · eⱼ) - h · e_y`. Logits exist for one tile of tokens at a time, so memory is
//! `tile × n_items` whatever the batch; the tile is chosen so that it stays near the cache.

use crate::simd::{self, vectorised};
use crate::{Mat, matmul};

/// Numbers of a tile that are worth keeping near the cache.
const TILE_NUMBERS: usize = 1 << 19;

/// The loss over a table `[n_items, d]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoftmaxLoss {
    /// Rows of the table.
    pub n_items: usize,
    /// Size of a row.
    pub d: usize,
}

impl SoftmaxLoss {
    fn tile(&self) -> usize {
        (TILE_NUMBERS / self.n_items.max(1)).clamp(16, 256)
    }

    /// Numbers of scratch.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        self.tile() * self.n_items
    }

    /// Gives the summed loss of `h` `[n, d]` with targets `[n]`; fills `dh` `[n, d]` and adds to
    /// `d_table` `[n_items, d]`, both times `scale`.
    ///
    /// # Panics
    /// If a target is no row of the table.
    pub fn forward_backward(
        &self,
        h: &[f32],
        targets: &[u32],
        table: &[f32],
        scale: f32,
        scratch: &mut [f32],
        dh: &mut [f32],
        d_table: &mut [f32],
    ) -> f64 {
        let (d, m) = (self.d, self.n_items);
        let mut loss = 0.0;
        let table = Mat::new(table, m, d);
        let tile = self.tile();
        let tiles = h.chunks(tile * d).zip(dh.chunks_mut(tile * d)).zip(targets.chunks(tile));
        for ((h, dh), targets) in tiles {
            let n = targets.len();
            let h = Mat::new(h, n, d);
            let logits = &mut scratch[..n * m];
            matmul(logits, m, false, h, table.t());
            vectorised(
                #[inline(always)]
                || {
                    for (row, &target) in logits.chunks_exact_mut(m).zip(targets) {
                        loss += f64::from(row_gradient(row, target as usize, scale));
                    }
                },
            );
            let logits = Mat::new(logits, n, m);
            matmul(dh, d, false, logits, table);
            matmul(d_table, d, true, logits.t(), h);
        }
        loss
    }
}

/// Turns logits into `scale · (softmax - one hot)` and gives the loss.
#[inline(always)]
fn row_gradient(row: &mut [f32], target: usize, scale: f32) -> f32 {
    let wanted = row[target];
    let top = simd::max(row);
    // One pass that keeps the exponentials and their sum, in independent partial sums.
    let mut sums = [0.0_f32; simd::LANES];
    let (main, rest) = row.as_chunks_mut::<{ simd::LANES }>();
    for x in main {
        for i in 0..simd::LANES {
            x[i] = simd::exp(x[i] - top);
            sums[i] += x[i];
        }
    }
    let mut total = simd::sum(&sums);
    for x in rest {
        *x = simd::exp(*x - top);
        total += *x;
    }
    let share = scale / total;
    for x in row.iter_mut() {
        *x *= share;
    }
    row[target] -= scale;
    total.ln() + top - wanted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::*;

    fn reference(h: &[f64], targets: &[u32], table: &[f64], d: usize) -> f64 {
        h.chunks_exact(d)
            .zip(targets)
            .map(|(h, &y)| {
                let logits: Vec<f64> =
                    table.chunks_exact(d).map(|e| h.iter().zip(e).map(|(a, b)| a * b).sum()).collect();
                let top = logits.iter().copied().fold(f64::MIN, f64::max);
                logits.iter().map(|l| (l - top).exp()).sum::<f64>().ln() + top - logits[y as usize]
            })
            .sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            n in 0_usize..6, n_items in 1_usize..50, d in 1_usize..9,
            size in prop_oneof![Just(1.0_f32), Just(40.0)], seed in any::<u64>(),
        ) {
            let h = values(seed, n * d, size);
            let table = values(seed ^ 1, n_items * d, 1.0);
            let targets: Vec<u32> = (0..n).map(|i| ((seed as usize ^ i) % n_items) as u32).collect();
            let loss = SoftmaxLoss { n_items, d };
            let mut scratch = vec![f32::NAN; loss.scratch_len()];
            let (mut dh, mut d_table) = (vec![f32::NAN; n * d], vec![0.0; table.len()]);
            let got = loss.forward_backward(&h, &targets, &table, 0.5, &mut scratch, &mut dh, &mut d_table);
            let want = reference(&f64s(&h), &targets, &f64s(&table), d);
            prop_assert!((got - want).abs() < 1e-4 * (1.0 + want.abs()), "{got} {want}");
            prop_assert!(dh.iter().chain(&d_table).all(|g| g.is_finite()));
            if size == 1.0 {
                gradient("h", &h, &dh, |h| 0.5 * reference(h, &targets, &f64s(&table), d));
                gradient("table", &table, &d_table, |t| 0.5 * reference(&f64s(&h), &targets, t, d));
            }
        }
    }

    #[test]
    fn many_tiles_are_one_loss() {
        let (n, m, d) = (600, 3, 2);
        let (h, table) = (values(1, n * d, 1.0), values(2, m * d, 1.0));
        let targets: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
        let loss = SoftmaxLoss { n_items: m, d };
        assert!(n > loss.tile());
        let mut scratch = vec![0.0; loss.scratch_len()];
        let (mut dh, mut d_table) = (vec![0.0; n * d], vec![0.0; m * d]);
        let got = loss.forward_backward(&h, &targets, &table, 1.0, &mut scratch, &mut dh, &mut d_table);
        assert!((got - reference(&f64s(&h), &targets, &f64s(&table), d)).abs() < 1e-2);
        gradient("table", &table, &d_table, |t| reference(&f64s(&h), &targets, t, d));
    }
}
