//! Jagged causal self-attention (Vaswani et al. 2017): each token looks at those up to itself.
//!
//! Queries are taken in blocks (`QueryBlock`), so that little above the diagonal is multiplied;
//! sequences never see each other. A block's weights stand key by key, `[keys, queries]`: a register
//! holds one key's weights of 16 queries, so softmaxes of short histories, which are most of them, fold
//! no register, and only queries and not keys are turned around for a product.

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::query_block::{QUERY_BLOCK, QueryBlock};
use crate::simd::LANES;
use crate::workspace::Pass;
use crate::{Dropout, Mat, matmul};

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
        let lengths = offsets.windows(2).map(|w| (w[1] - w[0]) as usize);
        self.n_heads * lengths.flat_map(QueryBlock::of).map(QueryBlock::len).sum::<usize>()
    }

    /// Numbers of scratch of either pass.
    #[must_use]
    pub fn scratch_len(&self, offsets: &[u32]) -> usize {
        let longest = offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
        2 * QUERY_BLOCK * longest
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
        let noise = self.noise(pass);
        let mut at = 0;
        for sequence in pass.sequences() {
            let tokens = &qkv[sequence.start * 3 * d..sequence.end * 3 * d];
            for column in (0..d).step_by(head_dim) {
                for block in QueryBlock::of(sequence.len()) {
                    let QueryBlock { first, last } = block;
                    let (rows, width) = (block.n_queries(), block.width());
                    let q = Mat::strided(&tokens[first * 3 * d + column..], rows, head_dim, 3 * d);
                    let k = Mat::strided(&tokens[d + column..], last, head_dim, 3 * d);
                    let v = Mat::strided(&tokens[2 * d + column..], last, head_dim, 3 * d);
                    let weights = &mut saved[at..at + block.len()];
                    self.weigh(q, k, block, weights);
                    let used: &[f32] = if let Some(key) = noise {
                        let dropped = &mut scratch[..block.len()];
                        dropped.copy_from_slice(weights);
                        self.dropout.apply(key, at as u32, dropped);
                        dropped
                    } else {
                        weights
                    };
                    let target = &mut out[(sequence.start + first) * d + column..];
                    matmul(target, d, false, Mat::strided(used, last, rows, width).t(), v);
                    at += block.len();
                }
            }
        }
    }

    /// What [`forward`](Self::forward) without dropout gives for the last token of each sequence, bit for bit:
    /// fills `out` `[n_sequences, d]` from the queries `q` `[n_sequences, d]` of these tokens and the
    /// keys and values `kv` `[n, 2 d]` of all. The row of an empty sequence means nothing.
    pub fn last(&self, pass: &Pass<'_>, q: &[f32], kv: &[f32], scratch: &mut [f32], out: &mut [f32]) {
        let (d, head_dim) = (self.d, self.d / self.n_heads);
        let rows = q.chunks_exact(d).zip(out.chunks_exact_mut(d));
        for ((q, out), sequence) in rows.zip(pass.sequences()).filter(|(_, sequence)| !sequence.is_empty()) {
            let tokens = &kv[sequence.start * 2 * d..sequence.end * 2 * d];
            let last = sequence.len();
            let block = QueryBlock { first: last - 1, last };
            let weights = &mut scratch[..block.len()];
            for column in (0..d).step_by(head_dim) {
                let q = Mat::new(&q[column..column + head_dim], 1, head_dim);
                let k = Mat::strided(&tokens[column..], last, head_dim, 2 * d);
                let v = Mat::strided(&tokens[d + column..], last, head_dim, 2 * d);
                self.weigh(q, k, block, weights);
                matmul(&mut out[column..], d, false, Mat::strided(weights, last, 1, block.width()).t(), v);
            }
        }
    }

    /// Fills the weights `[keys, width]` of a block.
    fn weigh(&self, q: Mat<'_>, k: Mat<'_>, block: QueryBlock, weights: &mut [f32]) {
        let scale = 1.0 / ((self.d / self.n_heads) as f32).sqrt();
        matmul(weights, block.width(), false, k, q.t());
        dispatch(Softmax { weights, block, scale });
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
            let range = sequence.start * 3 * d..sequence.end * 3 * d;
            let (tokens, d_tokens) = (&qkv[range.clone()], &mut d_qkv[range]);
            let (d_scores, dropped) = scratch.split_at_mut(QUERY_BLOCK * sequence.len());
            for column in (0..d).step_by(head_dim) {
                for block in QueryBlock::of(sequence.len()) {
                    let QueryBlock { first, last } = block;
                    let (rows, width) = (block.n_queries(), block.width());
                    let q = Mat::strided(&tokens[first * 3 * d + column..], rows, head_dim, 3 * d);
                    let k = Mat::strided(&tokens[d + column..], last, head_dim, 3 * d);
                    let v = Mat::strided(&tokens[2 * d + column..], last, head_dim, 3 * d);
                    let d_rows =
                        Mat::strided(&d_out[(sequence.start + first) * d + column..], rows, head_dim, d);
                    let weights = &saved[at..at + block.len()];
                    let d_scores = &mut d_scores[..block.len()];
                    matmul(d_scores, width, false, v, d_rows.t());
                    let used: &[f32] = if let Some(key) = noise {
                        let dropped = &mut dropped[..block.len()];
                        dropped.copy_from_slice(weights);
                        self.dropout.apply(key, at as u32, dropped);
                        self.dropout.apply(key, at as u32, d_scores);
                        dropped
                    } else {
                        weights
                    };
                    let d_v = &mut d_tokens[2 * d + column..];
                    matmul(d_v, 3 * d, true, Mat::strided(used, last, rows, width), d_rows);
                    dispatch(SoftmaxBackward { p: weights, d: d_scores, block, scale });
                    let ds = Mat::strided(d_scores, last, rows, width);
                    matmul(&mut d_tokens[first * 3 * d + column..], 3 * d, false, ds.t(), k);
                    matmul(&mut d_tokens[d + column..], 3 * d, true, ds, q);
                    at += block.len();
                }
            }
        }
    }

    fn noise(&self, pass: &Pass<'_>) -> Option<u32> {
        pass.noise.filter(|_| self.dropout.is_active()).map(|noise| noise.site(self.site))
    }
}

/// Turns scores `[keys, width]` into the softmax of `scale · scores` over the keys that a query sees,
/// zero for the others.
struct Softmax<'a> {
    weights: &'a mut [f32],
    block: QueryBlock,
    scale: f32,
}

impl Kernel for Softmax<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let scale = V::splat(self.scale);
        let nothing = V::splat(f32::NEG_INFINITY);
        let width = self.block.width() / LANES;
        let weights = self.weights.as_chunks_mut::<LANES>().0;
        for (register, (query, seen)) in self.block.registers().enumerate() {
            let weights = &mut weights[register..];
            let mut top = nothing;
            for x in weights.iter().step_by(width).take(query + 1) {
                top = V::load(x).max(top);
            }
            // From here on some queries do not see the key.
            for (x, hidden) in weights.iter_mut().step_by(width).take(seen).skip(query + 1).zip(1..) {
                let seen = nothing.first(hidden, V::load(x));
                seen.store(x);
                top = seen.max(top);
            }
            let mut total = V::splat(0.0);
            for x in weights.iter_mut().step_by(width).take(seen) {
                let e = V::load(x).sub(top).mul(scale).exp();
                total = total.add(e);
                e.store(x);
            }
            // The greatest score alone adds 1.
            let inverse = total.recip();
            for x in weights.iter_mut().step_by(width).take(seen) {
                V::load(x).mul(inverse).store(x);
            }
            for x in weights.iter_mut().step_by(width).skip(seen) {
                V::splat(0.0).store(x);
            }
        }
    }
}

/// Turns `dP` `[keys, width]` into `scale · dS`, in place.
struct SoftmaxBackward<'a> {
    p: &'a [f32],
    d: &'a mut [f32],
    block: QueryBlock,
    scale: f32,
}

impl Kernel for SoftmaxBackward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let scale = V::splat(self.scale);
        let width = self.block.width() / LANES;
        let (p, d) = (self.p.as_chunks::<LANES>().0, self.d.as_chunks_mut::<LANES>().0);
        for (register, (_, seen)) in self.block.registers().enumerate() {
            let (p, d) = (&p[register..], &mut d[register..]);
            let mut along = V::splat(0.0);
            for (p, d) in p.iter().step_by(width).zip(d.iter().step_by(width)).take(seen) {
                along = V::load(p).fma(V::load(d), along);
            }
            for (p, d) in p.iter().step_by(width).zip(d.iter_mut().step_by(width)).take(seen) {
                V::load(d).sub(along).mul(V::load(p).mul(scale)).store(d);
            }
            for d in d.iter_mut().step_by(width).skip(seen) {
                V::splat(0.0).store(d);
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

    /// Numbers of the blocks before the one that begins at query `first`.
    fn before(first: usize) -> usize {
        QueryBlock::of(first).map(QueryBlock::len).sum()
    }

    /// `mask` multiplies the weights, in the order of `saved`.
    fn reference(a: &CausalAttention, offsets: &[u32], qkv: &[f64], mask: &[f64]) -> Vec<f64> {
        let (d, head_dim) = (a.d, a.d / a.n_heads);
        let mut out = vec![0.0; qkv.len() / 3];
        let mut at = 0;
        for w in offsets.windows(2) {
            let (start, len) = (w[0] as usize, (w[1] - w[0]) as usize);
            for head in 0..a.n_heads {
                let x = |t: usize, part: usize, i: usize| {
                    qkv[(start + t) * 3 * d + part * d + head * head_dim + i]
                };
                for (block, i) in QueryBlock::of(len).flat_map(|b| (b.first..b.last).map(move |i| (b, i))) {
                    let place = |j: usize| at + before(block.first) + j * block.width() + i - block.first;
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
                            .map(|j| (scores[j] - top).exp() / total * mask[place(j)] * x(j, 2, c))
                            .sum();
                    }
                }
                at += QueryBlock::of(len).map(QueryBlock::len).sum::<usize>();
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
            let pass = Pass { params: &[], packed: &[], offsets: &offsets, noise: Some(noise) };
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
