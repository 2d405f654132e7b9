//! Jagged causal self-attention (Vaswani et al. 2017): each token looks at those up to itself.
//!
//! Queries are taken in blocks of [`QUERY_BLOCK`] rows, so that little above the diagonal is
//! multiplied; sequences never see each other. Rows of weights are padded to whole registers, so that
//! short histories, which are most of them, need no loop over single numbers.

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::simd::LANES;
use crate::workspace::Pass;
use crate::{Dropout, Mat, matmul};

/// Query rows taken at once.
const QUERY_BLOCK: usize = 32;

/// `softmax(Q Kᵀ / √head_dim) V` per head, below the diagonal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CausalAttention {
    /// Size of a token's row.
    pub d: usize,
    /// Heads; divides `d`.
    pub n_heads: usize,
    /// Dropout of the attention weights.
    pub dropout: Dropout,
    /// Its place for dropout.
    pub site: u32,
}

impl CausalAttention {
    /// Numbers kept for the backward pass: the attention weights.
    #[must_use]
    pub fn saved_len(&self, offsets: &[u32]) -> usize {
        let rows = offsets.windows(2).map(|w| (w[1] - w[0]) as usize);
        self.n_heads * rows.map(|len| len * padded(len)).sum::<usize>()
    }

    /// Numbers of scratch of either pass.
    #[must_use]
    pub fn scratch_len(&self, offsets: &[u32]) -> usize {
        let longest = offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
        2 * QUERY_BLOCK * padded(longest)
    }

    /// Fills `out` `[n, d]` and the weights `saved` from `qkv` `[n, 3 d]`.
    pub fn forward(
        &self,
        pass: &Pass<'_>,
        qkv: &[f32],
        saved: &mut [f32],
        scratch: &mut [f32],
        out: &mut [f32],
    ) {
        let (d, head_dim) = (self.d, self.d / self.n_heads);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let noise = self.noise(pass);
        let mut at = 0;
        for sequence in pass.sequences() {
            let len = sequence.len();
            let stride = padded(len);
            let tokens = &qkv[sequence.start * 3 * d..sequence.end * 3 * d];
            for head in 0..self.n_heads {
                let weights = &mut saved[at..at + len * stride];
                for first in (0..len).step_by(QUERY_BLOCK) {
                    let last = len.min(first + QUERY_BLOCK);
                    let rows = last - first;
                    let q = Mat::strided(&tokens[first * 3 * d + head * head_dim..], rows, head_dim, 3 * d);
                    let k = Mat::strided(&tokens[d + head * head_dim..], last, head_dim, 3 * d);
                    let v = Mat::strided(&tokens[2 * d + head * head_dim..], last, head_dim, 3 * d);
                    let block = &mut weights[first * stride..last * stride];
                    matmul(block, stride, false, q, k.t());
                    dispatch(Softmax { block, stride, first, scale });
                    let target = &mut out[(sequence.start + first) * d + head * head_dim..];
                    let used: &[f32] = if let Some(key) = noise {
                        let dropped = &mut scratch[..rows * stride];
                        dropped.copy_from_slice(block);
                        self.dropout.apply(key, (at + first * stride) as u32, dropped);
                        dropped
                    } else {
                        block
                    };
                    matmul(target, d, false, Mat::strided(used, rows, last, stride), v);
                }
                at += len * stride;
            }
        }
    }

    /// Fills `d_qkv` `[n, 3 d]` from `d_out` `[n, d]`.
    ///
    /// With weights `P` and `dP = dO Vᵀ`: `dS = P (dP - Σ P dP)`, `dQ = dS K`, `dK = dSᵀ Q`, `dV = Pᵀ dO`.
    pub fn backward(
        &self,
        pass: &Pass<'_>,
        qkv: &[f32],
        saved: &[f32],
        d_out: &[f32],
        scratch: &mut [f32],
        d_qkv: &mut [f32],
    ) {
        let (d, head_dim) = (self.d, self.d / self.n_heads);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let noise = self.noise(pass);
        d_qkv.fill(0.0);
        let mut at = 0;
        for sequence in pass.sequences() {
            let len = sequence.len();
            let stride = padded(len);
            let range = sequence.start * 3 * d..sequence.end * 3 * d;
            let (tokens, d_tokens) = (&qkv[range.clone()], &mut d_qkv[range]);
            let (d_scores, dropped) = scratch.split_at_mut(QUERY_BLOCK * stride);
            for head in 0..self.n_heads {
                let weights = &saved[at..at + len * stride];
                let column = head * head_dim;
                for first in (0..len).step_by(QUERY_BLOCK) {
                    let last = len.min(first + QUERY_BLOCK);
                    let rows = last - first;
                    let q = Mat::strided(&tokens[first * 3 * d + column..], rows, head_dim, 3 * d);
                    let k = Mat::strided(&tokens[d + column..], last, head_dim, 3 * d);
                    let v = Mat::strided(&tokens[2 * d + column..], last, head_dim, 3 * d);
                    let d_rows =
                        Mat::strided(&d_out[(sequence.start + first) * d + column..], rows, head_dim, d);
                    let block = &weights[first * stride..last * stride];
                    let d_scores = &mut d_scores[..rows * stride];
                    matmul(d_scores, stride, false, d_rows, v.t());
                    let used: &[f32] = if let Some(key) = noise {
                        let dropped = &mut dropped[..rows * stride];
                        let place = (at + first * stride) as u32;
                        dropped.copy_from_slice(block);
                        self.dropout.apply(key, place, dropped);
                        self.dropout.apply(key, place, d_scores);
                        dropped
                    } else {
                        block
                    };
                    matmul(
                        &mut d_tokens[2 * d + column..],
                        3 * d,
                        true,
                        Mat::strided(used, rows, last, stride).t(),
                        d_rows,
                    );
                    dispatch(SoftmaxBackward { p: block, d: d_scores, stride, first, scale });
                    let ds = Mat::strided(d_scores, rows, last, stride);
                    matmul(&mut d_tokens[first * 3 * d + column..], 3 * d, false, ds, k);
                    matmul(&mut d_tokens[d + column..], 3 * d, true, ds.t(), q);
                }
                at += len * stride;
            }
        }
    }

    fn noise(&self, pass: &Pass<'_>) -> Option<u32> {
        pass.noise.filter(|_| self.dropout.is_active()).map(|noise| noise.site(self.site))
    }
}

/// Numbers from row to row of a sequence's weights: whole registers.
fn padded(len: usize) -> usize {
    len.next_multiple_of(LANES)
}

/// Softmax of `scale · row` over the columns up to the diagonal, zero above it, for the rows from `first`
/// on. What stands above the diagonal before may be anything.
struct Softmax<'a> {
    block: &'a mut [f32],
    stride: usize,
    first: usize,
    scale: f32,
}

impl Kernel for Softmax<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let scale = V::splat(self.scale);
        for (row, i) in self.block.chunks_exact_mut(self.stride).zip(self.first..) {
            row[i + 1..].fill(f32::NEG_INFINITY);
            let (seen, above) = row.split_at_mut(padded(i + 1));
            let seen = seen.as_chunks_mut::<LANES>().0;
            let mut top = V::splat(f32::NEG_INFINITY);
            for x in &*seen {
                top = V::load(x).max(top);
            }
            let top = V::splat(top.greatest());
            let mut total = V::splat(0.0);
            for x in &mut *seen {
                let e = V::load(x).sub(top).mul(scale).exp();
                total = total.add(e);
                e.store(x);
            }
            let inverse = V::splat(1.0 / total.sum());
            for x in seen {
                V::load(x).mul(inverse).store(x);
            }
            above.fill(0.0);
        }
    }
}

/// Turns `dP` into `scale · dS`, in place, for the rows from `first` on. What stands above the diagonal
/// before may be anything; it becomes zero.
struct SoftmaxBackward<'a> {
    p: &'a [f32],
    d: &'a mut [f32],
    stride: usize,
    first: usize,
    scale: f32,
}

impl Kernel for SoftmaxBackward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let rows = self.p.chunks_exact(self.stride).zip(self.d.chunks_exact_mut(self.stride));
        for ((p, d), i) in rows.zip(self.first..) {
            // Zero times anything that is left from before need not be zero.
            d[i + 1..].fill(0.0);
            let n = padded(i + 1);
            let (p, d) = (p[..n].as_chunks::<LANES>().0, d[..n].as_chunks_mut::<LANES>().0);
            let mut along = V::splat(0.0);
            for (p, d) in p.iter().zip(&*d) {
                along = V::load(p).fma(V::load(d), along);
            }
            let along = V::splat(along.sum());
            for (p, d) in p.iter().zip(d) {
                V::load(d).sub(along).mul(V::load(p)).mul(V::splat(self.scale)).store(d);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Noise;
    use crate::testing::*;

    /// `mask` multiplies the weights, in the order of `saved`.
    fn reference(a: &CausalAttention, offsets: &[u32], qkv: &[f64], mask: &[f64]) -> Vec<f64> {
        let (d, head_dim) = (a.d, a.d / a.n_heads);
        let mut out = vec![0.0; qkv.len() / 3];
        let mut at = 0;
        for w in offsets.windows(2) {
            let (start, len) = (w[0] as usize, (w[1] - w[0]) as usize);
            let stride = padded(len);
            for head in 0..a.n_heads {
                let x = |t: usize, part: usize, i: usize| {
                    qkv[(start + t) * 3 * d + part * d + head * head_dim + i]
                };
                for i in 0..len {
                    let scores: Vec<f64> = (0..=i)
                        .map(|j| {
                            (0..head_dim).map(|c| x(i, 0, c) * x(j, 1, c)).sum::<f64>()
                                / (head_dim as f64).sqrt()
                        })
                        .collect();
                    let top = scores.iter().copied().fold(f64::MIN, f64::max);
                    let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                    for c in 0..head_dim {
                        out[(start + i) * d + head * head_dim + c] = (0..=i)
                            .map(|j| (scores[j] - top).exp() / total * mask[at + i * stride + j] * x(j, 2, c))
                            .sum();
                    }
                }
                at += len * stride;
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            offsets in ragged(), n_heads in 1_usize..3, head_dim in 1_usize..7,
            rate in prop_oneof![Just(0.0_f32), Just(0.3)], scale in prop_oneof![Just(1.0_f32), Just(8.0)],
            seed in any::<u64>(),
        ) {
            let d = n_heads * head_dim;
            let a = CausalAttention { d, n_heads, dropout: Dropout::new(rate), site: 5 };
            let n = offsets[offsets.len() - 1] as usize;
            let (qkv, dy) = (values(seed, n * 3 * d, scale), values(seed ^ 1, n * d, 1.0));
            let noise = Noise::new(seed, 0, 0);
            let pass = Pass { params: &[], offsets: &offsets, noise: Some(noise) };
            let mut mask = vec![1.0; a.saved_len(&offsets)];
            a.dropout.apply(noise.site(5), 0, &mut mask);
            let mask = f64s(&mask);
            let mut saved = vec![f32::NAN; a.saved_len(&offsets)];
            let mut scratch = vec![f32::NAN; a.scratch_len(&offsets)];
            let mut out = vec![f32::NAN; n * d];
            a.forward(&pass, &qkv, &mut saved, &mut scratch, &mut out);
            close("out", &out, &reference(&a, &offsets, &f64s(&qkv), &mask), 2e-4);
            let mut d_qkv = vec![f32::NAN; qkv.len()];
            scratch.fill(f32::NAN);
            a.backward(&pass, &qkv, &saved, &dy, &mut scratch, &mut d_qkv);
            if scale == 1.0 {
                gradient("qkv", &qkv, &d_qkv, |x| weighted(&reference(&a, &offsets, x, &mask), &dy));
            } else {
                prop_assert!(d_qkv.iter().all(|g| g.is_finite()));
            }
        }
    }
}
