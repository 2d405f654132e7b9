//! Cross-entropy of the softmax over the whole catalogue, a tile of tokens at a time.
//!
//! `loss = ln Σⱼ exp(h · eⱼ) - h · e_y`. Logits exist for one tile of tokens at a time, so memory is
//! `tile × n_items` whatever the batch. They stand item by item: a register holds one item's logits of
//! 16 tokens, so maxima and sums need no register folded, and no product needs the table transposed.
//!
//! The catalogue is walked once, in blocks that stay in the cache: a block's logits are turned into
//! `exp(logit - b)` at once, where `b` is the token's greatest logit up to this block, and are added to
//! `dh` there and then; what was summed under an older `b` is scaled down when `b` grows (the online
//! softmax of Milakov & Gimelshein 2018). A second walk adds to `d_table`, with each block's own `b`.

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::simd::{self, LANES, vectorised};
use crate::{Mat, matmul, transpose};

/// Tokens of a tile at most; a multiple of [`LANES`].
const TOKENS: usize = 128;
/// Numbers of a tile that are worth keeping near the cache.
const TILE_NUMBERS: usize = 1 << 20;
/// Items of a block.
const ITEMS: usize = 256;

/// The loss over a table `[n_items, d]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoftmaxLoss {
    /// Rows of the table.
    pub n_items: usize,
    /// Size of a row.
    pub d: usize,
}

/// The pieces of scratch of a tile of `stride` tokens, of which the last may not exist.
struct Tile<'a> {
    /// Tokens, rounded up to whole registers.
    stride: usize,
    /// `[d, stride]`: the hidden rows transposed; zeros for tokens that do not exist.
    columns: &'a mut [f32],
    /// `[n, d]`: the hidden rows times each token's share.
    shared: &'a mut [f32],
    /// `[n_blocks, stride]`: each block's `b`.
    bases: &'a mut [f32],
    /// `[stride]`: the greatest logit so far.
    top: &'a mut [f32],
    /// `[stride]`: `Σ exp(logit - top)` so far.
    total: &'a mut [f32],
    /// `[stride]`: what older sums are multiplied by.
    fall: &'a mut [f32],
    /// `[n_items, stride]`: logits, then `exp(logit - b)`.
    weights: &'a mut [f32],
}

impl SoftmaxLoss {
    fn tile(&self) -> usize {
        (TILE_NUMBERS / self.n_items.max(1) / LANES * LANES).clamp(LANES, TOKENS)
    }

    fn n_blocks(&self) -> usize {
        self.n_items.div_ceil(ITEMS)
    }

    /// Numbers of scratch.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        self.tile() * (self.n_items + 2 * self.d + self.n_blocks() + 3)
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
        let step = self.tile() * self.d;
        let tiles = h.chunks(step).zip(dh.chunks_mut(step)).zip(targets.chunks(self.tile()));
        tiles
            .map(|((h, dh), targets)| {
                let mut carve = crate::Carve::new(scratch);
                let stride = targets.len().next_multiple_of(LANES);
                let mut tile = Tile {
                    stride,
                    columns: carve.take(self.d * stride),
                    shared: carve.take(targets.len() * self.d),
                    bases: carve.take(self.n_blocks() * stride),
                    top: carve.take(stride),
                    total: carve.take(stride),
                    fall: carve.take(stride),
                    weights: carve.take(self.n_items * stride),
                };
                self.tile_forward_backward(h, targets, table, scale, &mut tile, dh, d_table)
            })
            .sum()
    }

    fn tile_forward_backward(
        &self,
        h: &[f32],
        targets: &[u32],
        table: &[f32],
        scale: f32,
        tile: &mut Tile<'_>,
        dh: &mut [f32],
        d_table: &mut [f32],
    ) -> f64 {
        let (d, n, stride) = (self.d, targets.len(), tile.stride);
        if stride > n {
            tile.columns.fill(0.0);
        }
        transpose(h, d, n, d, tile.columns, stride);
        tile.top.fill(f32::NEG_INFINITY);
        tile.total.fill(0.0);
        dh.fill(0.0);
        let mut wanted = 0.0;
        let blocks = tile.weights.chunks_mut(ITEMS * stride).zip(table.chunks(ITEMS * d));
        for (block, (weights, table)) in blocks.enumerate() {
            let m = table.len() / d;
            let items = Mat::new(table, m, d);
            matmul(weights, stride, false, items, Mat::new(tile.columns, d, stride));
            for (i, &target) in targets.iter().enumerate() {
                if let Some(row) = (target as usize).checked_sub(block * ITEMS).filter(|&row| row < m) {
                    wanted += f64::from(weights[row * stride + i]);
                }
            }
            dispatch(Absorb { logits: weights, top: tile.top, total: tile.total, fall: tile.fall });
            tile.bases[block * stride..(block + 1) * stride].copy_from_slice(tile.top);
            if block > 0 {
                scale_rows(dh, d, |i| tile.fall[i]);
            }
            matmul(dh, d, true, Mat::strided(weights, m, n, stride).t(), items);
        }

        let loss: f64 = (0..n).map(|i| f64::from(tile.total[i].ln()) + f64::from(tile.top[i])).sum();
        scale_rows(dh, d, |i| scale / tile.total[i]);
        for (i, &target) in targets.iter().enumerate() {
            let row = target as usize * d..(target as usize + 1) * d;
            let token = i * d..(i + 1) * d;
            vectorised(
                #[inline(always)]
                || {
                    simd::axpy(-scale, &table[row.clone()], &mut dh[token.clone()]);
                    simd::axpy(-scale, &h[token], &mut d_table[row]);
                },
            );
        }
        let blocks = tile.weights.chunks(ITEMS * stride).zip(d_table.chunks_mut(ITEMS * d));
        for ((weights, d_table), bases) in blocks.zip(tile.bases.chunks_exact(stride)) {
            let m = d_table.len() / d;
            tile.shared.copy_from_slice(h);
            scale_rows(tile.shared, d, |i| scale / tile.total[i] * simd::exp(bases[i] - tile.top[i]));
            matmul(d_table, d, true, Mat::strided(weights, m, n, stride), Mat::new(tile.shared, n, d));
        }
        loss - wanted
    }
}

/// Turns logits `[m, stride]` into `exp(logit - top)`, with `top` and `total` brought up to date;
/// `fall` is what sums under the old `top` are to be multiplied by.
struct Absorb<'a> {
    logits: &'a mut [f32],
    top: &'a mut [f32],
    total: &'a mut [f32],
    fall: &'a mut [f32],
}

impl Kernel for Absorb<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let (top, total) = (self.top.as_chunks_mut::<LANES>().0, self.total.as_chunks_mut::<LANES>().0);
        let fall = self.fall.as_chunks_mut::<LANES>().0;
        let width = top.len();
        let logits = self.logits.as_chunks_mut::<LANES>().0;
        for (stripe, ((top, total), fall)) in top.iter_mut().zip(total).zip(fall).enumerate() {
            let before = V::load(top);
            let mut best = before;
            for x in logits[stripe..].iter().step_by(width) {
                best = V::load(x).max(best);
            }
            let mut sum = V::splat(0.0);
            for x in logits[stripe..].iter_mut().step_by(width) {
                let e = V::load(x).sub(best).exp();
                sum = sum.add(e);
                e.store(x);
            }
            let factor = before.sub(best).exp();
            factor.store(fall);
            V::load(total).fma(factor, sum).store(total);
            best.store(top);
        }
    }
}

/// Multiplies row `i` of `x` `[n, d]` by `factor(i)`.
fn scale_rows(x: &mut [f32], d: usize, factor: impl Fn(usize) -> f32) {
    vectorised(
        #[inline(always)]
        || {
            for (i, row) in x.chunks_exact_mut(d).enumerate() {
                let factor = factor(i);
                for x in row {
                    *x *= factor;
                }
            }
        },
    );
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
            n in 0_usize..6, n_items in prop_oneof![1_usize..50, 250_usize..530], d in 1_usize..9,
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
