//! A block of HSTU (Zhai et al. 2024): one layer of pointwise attention that gates its own output.
//!
//! ```text
//! [Q K V U] = SiLU(norm₁(x) W)
//! y = x + W₂ dropout(norm₂(attention(Q, K, V)) ⊙ U) + b₂      attention: segue_nn::PointwiseAttention
//! ```
//!
//! There is no feed-forward part: gates take its place.

use crate::relative_bias::{RelativeBias, Times};
use crate::simd::{self, vectorised};
use crate::workspace::{Carve, CarveRef, Pass};
use crate::{Dropout, Layout, Linear, Norm, NormKind, PointwiseAttention, silu};

/// What a block looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HstuConfig {
    /// Size of a token's row.
    pub d: usize,
    /// Heads of the attention; divides `d`.
    pub n_heads: usize,
    /// Tokens of the longest sequence.
    pub max_len: usize,
    /// Whether gaps of time are looked at, where a pass has them.
    pub time_bias: bool,
    /// Dropout of the gated sums.
    pub dropout: f32,
}

/// The layer and its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HstuBlock {
    d: usize,
    norm_1: Norm,
    /// `[4 d, d]`: queries, keys, values, gates.
    qkvu: Linear,
    attention: PointwiseAttention,
    norm_2: Norm,
    out: Linear,
    dropout: Dropout,
    site: u32,
}

impl HstuBlock {
    /// Adds the groups `NAME.…` of block number `index` to the layout.
    ///
    /// # Panics
    /// If the heads do not divide `d`.
    pub fn new(layout: &mut Layout, name: &str, index: u32, config: HstuConfig) -> Self {
        let HstuConfig { d, n_heads, .. } = config;
        assert!(n_heads > 0 && d % n_heads == 0, "{n_heads} heads do not divide {d}");
        Self {
            d,
            norm_1: Norm::new(layout, &format!("{name}.norm_1"), d, NormKind::Layer),
            qkvu: Linear::new(layout, &format!("{name}.qkvu"), d, 4 * d, false),
            attention: PointwiseAttention {
                d,
                n_heads,
                stride: 4 * d,
                bias: RelativeBias::new(layout, &format!("{name}.bias"), config.max_len, config.time_bias),
            },
            norm_2: Norm::new(layout, &format!("{name}.norm_2"), d, NormKind::Layer),
            out: Linear::new(layout, &format!("{name}.out"), d, d, true),
            dropout: Dropout::new(config.dropout),
            site: 16 + index,
        }
    }

    /// Numbers kept for the backward pass.
    #[must_use]
    pub fn saved_len(&self, offsets: &[u32]) -> usize {
        12 * self.n_d(offsets) + self.attention.saved_len(offsets)
    }

    /// Numbers of scratch of either pass.
    #[must_use]
    pub fn scratch_len(&self, offsets: &[u32]) -> usize {
        6 * self.n_d(offsets) + self.attention.scratch_len(offsets)
    }

    fn n_d(&self, offsets: &[u32]) -> usize {
        offsets.last().map_or(0, |&n| n as usize) * self.d
    }

    /// Fills `y` `[n, d]` from `x` `[n, d]`.
    pub fn forward(
        &self,
        pass: &Pass<'_>,
        times: Option<Times<'_>>,
        x: &[f32],
        saved: &mut [f32],
        scratch: &mut [f32],
        y: &mut [f32],
    ) {
        let n_d = x.len();
        let mut saved = Carve::new(saved);
        let normed = saved.take(n_d);
        let wide = saved.take(4 * n_d);
        let qkvu = saved.take(4 * n_d);
        let scores = saved.take(self.attention.saved_len(pass.offsets));
        let attended = saved.take(n_d);
        let unit = saved.take(n_d);
        let gated = saved.take(n_d);

        self.norm_1.forward(pass.params, x, normed);
        self.qkvu.forward(pass, normed, wide);
        silu::forward(wide, qkvu);
        self.attention.forward(pass, times, qkvu, scores, scratch, attended);
        self.norm_2.forward(pass.params, attended, unit);
        self.gate(qkvu, unit, gated);
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(self.site), 0, gated);
        }
        self.out.forward(pass, gated, y);
        simd::add(x, y);
    }

    /// `gated = U ⊙ unit`, both `[n, d]`; the last `d` numbers of each row of `rows` `[n, …]` are `U`.
    fn gate(&self, rows: &[f32], unit: &[f32], gated: &mut [f32]) {
        let d = self.d;
        let stride = rows.len() / (unit.len() / d).max(1);
        vectorised(
            #[inline(always)]
            || {
                let rows = rows.chunks_exact(stride.max(d)).zip(unit.chunks_exact(d));
                for ((row, unit), gated) in rows.zip(gated.chunks_exact_mut(d)) {
                    for ((u, x), gated) in row[stride - d..].iter().zip(unit).zip(gated) {
                        *gated = u * x;
                    }
                }
            },
        );
    }

    /// Numbers of space of [`last`](Self::last).
    #[must_use]
    pub fn last_len(&self, offsets: &[u32]) -> usize {
        let n_last = offsets.len().saturating_sub(1) * self.d;
        5 * self.n_d(offsets) + 9 * n_last + self.attention.scratch_len(offsets)
    }

    /// What [`forward`](Self::forward) without dropout gives for the last token of each sequence, bit for bit:
    /// fills `y` `[n_sequences, d]`. Of the other tokens only keys and values are computed. The row of an
    /// empty sequence means nothing.
    pub fn last(
        &self,
        pass: &Pass<'_>,
        times: Option<Times<'_>>,
        x: &[f32],
        space: &mut [f32],
        y: &mut [f32],
    ) {
        let (d, n) = (self.d, y.len());
        let mut space = Carve::new(space);
        let normed = space.take(x.len());
        let (wide_kv, kv) = (space.take(2 * x.len()), space.take(2 * x.len()));
        let normed_last = space.take(n);
        let [wide_q, wide_u, q, u] = [(); 4].map(|()| space.take(n));
        let [attended, unit, gated, x_last] = [(); 4].map(|()| space.take(n));
        let rest = space.take(self.attention.scratch_len(pass.offsets));

        self.norm_1.forward(pass.params, x, normed);
        self.qkvu.forward_part(pass, d..3 * d, normed, wide_kv);
        silu::forward(wide_kv, kv);
        pass.gather_last(d, normed, normed_last);
        self.qkvu.forward_part(pass, 0..d, normed_last, wide_q);
        silu::forward(wide_q, q);
        self.qkvu.forward_part(pass, 3 * d..4 * d, normed_last, wide_u);
        silu::forward(wide_u, u);
        self.attention.last(pass, times, q, kv, rest, attended);
        self.norm_2.forward(pass.params, attended, unit);
        self.gate(u, unit, gated);
        self.out.forward(pass, gated, y);
        pass.gather_last(d, x, x_last);
        simd::add(x_last, y);
    }

    /// Turns `d` from the gradient of `y` into that of `x`, both `[n, d]`, and adds the gradients of
    /// the parameters to `grads`.
    pub fn backward(
        &self,
        pass: &Pass<'_>,
        times: Option<Times<'_>>,
        x: &[f32],
        saved: &[f32],
        d: &mut [f32],
        scratch: &mut [f32],
        grads: &mut [f32],
    ) {
        let (size, n_d) = (self.d, x.len());
        let mut saved = CarveRef::new(saved);
        let normed = saved.take(n_d);
        let wide = saved.take(4 * n_d);
        let qkvu = saved.take(4 * n_d);
        let scores = saved.take(self.attention.saved_len(pass.offsets));
        let attended = saved.take(n_d);
        let unit = saved.take(n_d);
        let gated = saved.take(n_d);
        let mut scratch = Carve::new(scratch);
        let d_gated = scratch.take(n_d);
        let inner = scratch.take(n_d);
        let d_qkvu = scratch.take(4 * n_d);
        let rest = scratch.take(self.attention.scratch_len(pass.offsets));

        self.out.backward(pass.params, gated, d, d_gated, false, grads);
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(self.site), 0, d_gated);
        }
        // From here on `inner` is the gradient of the attention's output; `d_qkvu` holds that of the
        // normed sums for a moment.
        let d_unit = &mut d_qkvu[..n_d];
        vectorised(
            #[inline(always)]
            || {
                let rows = qkvu.chunks_exact(4 * size).zip(d_gated.chunks_exact(size));
                for ((qkvu, d_gated), d_unit) in rows.zip(d_unit.chunks_exact_mut(size)) {
                    for ((u, d_gated), d_unit) in qkvu[3 * size..].iter().zip(d_gated).zip(d_unit) {
                        *d_unit = u * d_gated;
                    }
                }
            },
        );
        inner.fill(0.0);
        self.norm_2.backward(pass.params, attended, d_unit, inner, grads);
        self.attention.backward(pass, times, qkvu, scores, inner, rest, d_qkvu, grads);
        vectorised(
            #[inline(always)]
            || {
                let rows = d_qkvu.chunks_exact_mut(4 * size).zip(d_gated.chunks_exact(size));
                for ((d_qkvu, d_gated), unit) in rows.zip(unit.chunks_exact(size)) {
                    for ((d_u, d_gated), unit) in d_qkvu[3 * size..].iter_mut().zip(d_gated).zip(unit) {
                        *d_u = d_gated * unit;
                    }
                }
            },
        );
        silu::backward(wide, d_qkvu);
        self.qkvu.backward(pass.params, normed, d_qkvu, inner, false, grads);
        self.norm_1.backward(pass.params, x, inner, d, grads);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::relative_bias::gap_bucket;
    use crate::testing::*;

    fn linear(l: &Linear, params: &[f64], x: &[f64]) -> Vec<f64> {
        let w = &params[l.weight.range()];
        (0..l.n_out())
            .map(|o| {
                l.bias.map_or(0.0, |b| params[b.range()][o])
                    + (0..l.n_in()).map(|i| w[o * l.n_in() + i] * x[i]).sum::<f64>()
            })
            .collect()
    }

    fn norm(norm: &Norm, params: &[f64], x: &[f64]) -> Vec<f64> {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let sd = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + 1e-6).sqrt();
        let (gain, bias) = (&params[norm.gain.range()], norm.bias.map(|b| &params[b.range()]));
        (0..x.len()).map(|i| (x[i] - mean) / sd * gain[i] + bias.map_or(0.0, |b| b[i])).collect()
    }

    fn silu(x: f64) -> f64 {
        x / (1.0 + (-x).exp())
    }

    /// A plain block in `f64`, without dropout.
    fn reference(b: &HstuBlock, offsets: &[u32], times: Times<'_>, params: &[f64], x: &[f64]) -> Vec<f64> {
        let (d, heads) = (b.d, b.attention.n_heads);
        let size = d / heads;
        let bias = b.attention.bias;
        let mut y = Vec::new();
        for w in offsets.windows(2) {
            let start = w[0] as usize;
            let rows: Vec<&[f64]> = x[start * d..w[1] as usize * d].chunks_exact(d).collect();
            let wide: Vec<Vec<f64>> = rows
                .iter()
                .map(|x| linear(&b.qkvu, params, &norm(&b.norm_1, params, x)).into_iter().map(silu).collect())
                .collect();
            for i in 0..rows.len() {
                let mut sums = vec![0.0; d];
                for (c, sum) in sums.iter_mut().enumerate() {
                    for j in 0..=i {
                        let head = c / size * size..(c / size + 1) * size;
                        let product: f64 = head.map(|e| wide[i][e] * wide[j][d + e]).sum();
                        let gap = times.request_at[start + i].saturating_sub(times.occurred_at[start + j]);
                        let score = product / (size as f64).sqrt()
                            + params[bias.position.range()][i - j]
                            + bias.time.map_or(0.0, |t| params[t.range()][gap_bucket(gap)]);
                        *sum += silu(score) * wide[j][2 * d + c] / (i + 1) as f64;
                    }
                }
                let unit = norm(&b.norm_2, params, &sums);
                let gated: Vec<f64> = (0..d).map(|c| unit[c] * wide[i][3 * d + c]).collect();
                y.extend(linear(&b.out, params, &gated).iter().zip(rows[i]).map(|(a, x)| a + x));
            }
        }
        y
    }

    fn block(time_bias: bool, dropout: f32) -> (Layout, HstuBlock) {
        let mut layout = Layout::default();
        let config = HstuConfig { d: 8, n_heads: 2, max_len: 8, time_bias, dropout };
        let block = HstuBlock::new(&mut layout, "b", 0, config);
        (layout, block)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            lengths in prop::collection::vec(0_u32..5, 0..3), time_bias in any::<bool>(), seed in any::<u64>(),
        ) {
            let mut offsets = vec![0];
            for length in lengths { offsets.push(offsets[offsets.len() - 1] + length); }
            let (layout, block) = block(time_bias, 0.0);
            let params = values(seed, layout.len(), 0.5);
            let n = offsets[offsets.len() - 1] as usize;
            let (x, dy) = (values(seed ^ 1, n * 8, 1.0), values(seed ^ 2, n * 8, 1.0));
            let at: Vec<u32> = (0..n as u32).map(|i| 1_000_000 + i * i * i * 100).collect();
            let asked: Vec<u32> = at.iter().map(|at| at + seed as u32 % 5000).collect();
            let times = Times { occurred_at: &at, request_at: &asked };
            let pass = Pass { params: &params, packed: &[], offsets: &offsets, noise: None };
            let mut saved = vec![f32::NAN; block.saved_len(&offsets)];
            let mut scratch = vec![f32::NAN; block.scratch_len(&offsets)];
            let mut y = vec![f32::NAN; n * 8];
            block.forward(&pass, Some(times), &x, &mut saved, &mut scratch, &mut y);
            let p = f64s(&params);
            close("y", &y, &reference(&block, &offsets, times, &p, &f64s(&x)), 1e-3);
            let (mut dx, mut grads) = (dy.clone(), vec![0.0; params.len()]);
            scratch.fill(f32::NAN);
            block.backward(&pass, Some(times), &x, &saved, &mut dx, &mut scratch, &mut grads);
            gradient("x", &x, &dx, |x| weighted(&reference(&block, &offsets, times, &p, x), &dy));
            gradient("params", &params, &grads, |p| {
                weighted(&reference(&block, &offsets, times, p, &f64s(&x)), &dy)
            });
        }
    }

    #[test]
    fn dropout_is_the_same_mask_in_both_passes() {
        // With dropout the block is a fixed function of its input: differences of the fast forward pass
        // itself tell whether the backward pass used the same mask.
        let (layout, block) = block(false, 0.4);
        let params = values(3, layout.len(), 0.4);
        let offsets = [0, 3, 9];
        let pass =
            Pass { params: &params, packed: &[], offsets: &offsets, noise: Some(crate::Noise::new(1, 2, 3)) };
        let (x, dy) = (values(4, 72, 1.0), values(5, 72, 1.0));
        let forward = |x: &[f32]| {
            let mut saved = vec![0.0; block.saved_len(&offsets)];
            let mut scratch = vec![0.0; block.scratch_len(&offsets)];
            let mut y = vec![0.0; 72];
            block.forward(&pass, None, x, &mut saved, &mut scratch, &mut y);
            (y, saved)
        };
        let (_, saved) = forward(&x);
        let (mut dx, mut grads) = (dy.clone(), vec![0.0; params.len()]);
        let mut scratch = vec![0.0; block.scratch_len(&offsets)];
        block.backward(&pass, None, &x, &saved, &mut dx, &mut scratch, &mut grads);
        for i in 0..72 {
            let value = |h: f32| {
                let mut moved = x.clone();
                moved[i] += h;
                weighted(&f64s(&forward(&moved).0), &dy)
            };
            let want = (value(1e-2) - value(-1e-2)) / 2e-2;
            assert!((f64::from(dx[i]) - want).abs() < 0.03 * (1.0 + want.abs()), "{i}: {} {want}", dx[i]);
        }
    }
}
