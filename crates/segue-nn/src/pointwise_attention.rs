//! Jagged causal attention with SiLU instead of a softmax: HSTU's pointwise aggregated attention.
//!
//! Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for
//! Generative Recommendations", ICML 2024. Weights do not compete: a query that finds much of what it
//! looks for has a larger sum. The paper divides by the longest length; here query `i` divides by the
//! `i + 1` keys it sees, so that short and long histories have sums of one size; a norm follows either.

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::query_block::{QUERY_BLOCK, QueryBlock};
use crate::relative_bias::{RelativeBias, Times};
use crate::simd::LANES;
use crate::workspace::{Carve, Pass};
use crate::{Mat, matmul, silu};

/// `SiLU(Q Kᵀ / √head_dim + bias) V / n_seen` per head, below the diagonal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointwiseAttention {
    /// Size of a token's vectors.
    pub d: usize,
    /// Heads; divides `d`.
    pub n_heads: usize,
    /// Numbers from token to token in the input: query, key and value stand first.
    pub stride: usize,
    /// What is added to the scores of every head.
    pub bias: RelativeBias,
}

impl PointwiseAttention {
    /// Numbers kept for the backward pass: the scores.
    #[must_use]
    pub fn saved_len(&self, offsets: &[u32]) -> usize {
        let lengths = offsets.windows(2).map(|w| (w[1] - w[0]) as usize);
        self.n_heads * lengths.flat_map(QueryBlock::of).map(QueryBlock::len).sum::<usize>()
    }

    /// Numbers of scratch of either pass.
    #[must_use]
    pub fn scratch_len(&self, offsets: &[u32]) -> usize {
        let longest = offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
        3 * QUERY_BLOCK * longest
    }

    /// Fills `out` `[n, d]` and the scores `saved` from `rows` `[n, stride]`.
    pub fn forward(
        &self,
        pass: &Pass<'_>,
        times: Option<Times<'_>>,
        rows: &[f32],
        saved: &mut [f32],
        scratch: &mut [f32],
        out: &mut [f32],
    ) {
        let (d, stride, head_dim) = (self.d, self.stride, self.d / self.n_heads);
        let mut at = 0;
        for sequence in pass.sequences() {
            let tokens = &rows[sequence.start * stride..sequence.end * stride];
            let times = times.map(|t| t.of(sequence.clone()));
            for block in QueryBlock::of(sequence.len()) {
                let mut scratch = Carve::new(scratch);
                let (bias, weights) = (scratch.take(block.len()), scratch.take(block.len()));
                self.bias.fill(pass.params, times, block, bias);
                for column in (0..d).step_by(head_dim) {
                    let [q, k, v] = self.parts(tokens, block, column);
                    let scores = &mut saved[at..at + block.len()];
                    self.weigh(q, k, block, bias, scores, weights);
                    let weights = Mat::strided(weights, block.last, block.n_queries(), block.width());
                    let target = &mut out[(sequence.start + block.first) * d + column..];
                    matmul(target, d, false, weights.t(), v);
                    at += block.len();
                }
            }
        }
    }

    /// What [`forward`](Self::forward) gives for the last token of each sequence, bit for bit: fills `out`
    /// `[n_sequences, d]` from the queries `q` `[n_sequences, d]` of these tokens and the keys and values
    /// `kv` `[n, 2 d]` of all. The row of an empty sequence means nothing.
    pub fn last(
        &self,
        pass: &Pass<'_>,
        times: Option<Times<'_>>,
        q: &[f32],
        kv: &[f32],
        scratch: &mut [f32],
        out: &mut [f32],
    ) {
        let (d, head_dim) = (self.d, self.d / self.n_heads);
        let rows = q.chunks_exact(d).zip(out.chunks_exact_mut(d));
        for ((q, out), sequence) in rows.zip(pass.sequences()).filter(|(_, sequence)| !sequence.is_empty()) {
            let tokens = &kv[sequence.start * 2 * d..sequence.end * 2 * d];
            let last = sequence.len();
            let block = QueryBlock { first: last - 1, last };
            let mut scratch = Carve::new(scratch);
            let [bias, scores, weights] = [(); 3].map(|()| scratch.take(block.len()));
            self.bias.fill(pass.params, times.map(|t| t.of(sequence)), block, bias);
            for column in (0..d).step_by(head_dim) {
                let q = Mat::new(&q[column..column + head_dim], 1, head_dim);
                let k = Mat::strided(&tokens[column..], last, head_dim, 2 * d);
                let v = Mat::strided(&tokens[d + column..], last, head_dim, 2 * d);
                self.weigh(q, k, block, bias, scores, weights);
                matmul(&mut out[column..], d, false, Mat::strided(weights, last, 1, block.width()).t(), v);
            }
        }
    }

    /// Fills the scores and the weights `[keys, width]` of a block.
    fn weigh(
        &self,
        q: Mat<'_>,
        k: Mat<'_>,
        block: QueryBlock,
        bias: &[f32],
        scores: &mut [f32],
        weights: &mut [f32],
    ) {
        let scale = 1.0 / ((self.d / self.n_heads) as f32).sqrt();
        matmul(scores, block.width(), false, k, q.t());
        dispatch(Weigh { scores, bias, weights, block, scale });
    }

    /// Fills the first `3 d` numbers of each row of `d_rows` `[n, stride]` from `d_out` `[n, d]`, sets the
    /// others to zero, and adds the gradients of the bias to `grads`.
    ///
    /// With scores `S`, weights `A = SiLU(S) / n` and `dA = dO Vᵀ`: `dS = dA SiLU'(S) / n`, `dQ = dS K`,
    /// `dK = dSᵀ Q`, `dV = Aᵀ dO`.
    pub fn backward(
        &self,
        pass: &Pass<'_>,
        times: Option<Times<'_>>,
        rows: &[f32],
        saved: &[f32],
        d_out: &[f32],
        scratch: &mut [f32],
        d_rows: &mut [f32],
        grads: &mut [f32],
    ) {
        let (d, stride, head_dim) = (self.d, self.stride, self.d / self.n_heads);
        let scale = 1.0 / (head_dim as f32).sqrt();
        d_rows.fill(0.0);
        let mut at = 0;
        for sequence in pass.sequences() {
            let range = sequence.start * stride..sequence.end * stride;
            let (tokens, d_tokens) = (&rows[range.clone()], &mut d_rows[range]);
            let times = times.map(|t| t.of(sequence.clone()));
            for block in QueryBlock::of(sequence.len()) {
                let QueryBlock { first, last } = block;
                let (n, width) = (block.n_queries(), block.width());
                let mut scratch = Carve::new(scratch);
                let [d_bias, weights, d_scores] = [(); 3].map(|()| scratch.take(block.len()));
                d_bias.fill(0.0);
                for column in (0..d).step_by(head_dim) {
                    let [q, k, v] = self.parts(tokens, block, column);
                    let d_out = &d_out[(sequence.start + first) * d + column..];
                    let d_out = Mat::strided(d_out, n, head_dim, d);
                    matmul(d_scores, width, false, v, d_out.t());
                    let scores = &saved[at..at + block.len()];
                    dispatch(WeighBackward { scores, weights, d: d_scores, d_bias, block, scale });
                    let (ds, weights) =
                        (Mat::strided(d_scores, last, n, width), Mat::strided(weights, last, n, width));
                    matmul(&mut d_tokens[2 * d + column..], stride, true, weights, d_out);
                    matmul(&mut d_tokens[first * stride + column..], stride, false, ds.t(), k);
                    matmul(&mut d_tokens[d + column..], stride, true, ds, q);
                    at += block.len();
                }
                self.bias.backward(times, block, d_bias, grads);
            }
        }
    }

    /// Queries of a block `[queries, head_dim]`, and keys and values up to its last `[keys, head_dim]`.
    fn parts<'a>(&self, tokens: &'a [f32], block: QueryBlock, column: usize) -> [Mat<'a>; 3] {
        let head_dim = self.d / self.n_heads;
        let part = |first: usize, n: usize, part: usize| {
            Mat::strided(&tokens[first * self.stride + part * self.d + column..], n, head_dim, self.stride)
        };
        [part(block.first, block.n_queries(), 0), part(0, block.last, 1), part(0, block.last, 2)]
    }
}

/// One over the number of keys that each query of a register sees.
#[inline(always)]
fn shares<V: Lanes>(first: usize) -> V {
    let mut shares = [0.0; LANES];
    for (query, share) in (first + 1..).zip(&mut shares) {
        *share = 1.0 / query as f32;
    }
    V::load(&shares)
}

/// Turns products `[keys, width]` into scores, in place, and fills the weights; those of keys that a query
/// does not see are zero.
struct Weigh<'a> {
    scores: &'a mut [f32],
    bias: &'a [f32],
    weights: &'a mut [f32],
    block: QueryBlock,
    scale: f32,
}

impl Kernel for Weigh<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let (scale, zero) = (V::splat(self.scale), V::splat(0.0));
        let width = self.block.width() / LANES;
        let scores = self.scores.as_chunks_mut::<LANES>().0;
        let (bias, weights) = (self.bias.as_chunks::<LANES>().0, self.weights.as_chunks_mut::<LANES>().0);
        for (register, (query, seen)) in self.block.registers().enumerate() {
            let share = shares::<V>(query);
            for key in 0..seen {
                let at = key * width + register;
                // The first queries of the register do not see a key after them.
                let hidden = key.saturating_sub(query).min(LANES);
                let score = zero.first(hidden, V::load(&scores[at]).fma(scale, V::load(&bias[at])));
                score.store(&mut scores[at]);
                score.mul(score.sigmoid()).mul(share).store(&mut weights[at]);
            }
            for key in seen..self.block.last {
                zero.store(&mut weights[key * width + register]);
            }
        }
    }
}

/// Turns `dA` `[keys, width]` into `scale · dS`, in place, adds `dS` to the gradient of the bias, and fills
/// the weights anew.
struct WeighBackward<'a> {
    scores: &'a [f32],
    weights: &'a mut [f32],
    d: &'a mut [f32],
    d_bias: &'a mut [f32],
    block: QueryBlock,
    scale: f32,
}

impl Kernel for WeighBackward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let (scale, zero) = (V::splat(self.scale), V::splat(0.0));
        let width = self.block.width() / LANES;
        let scores = self.scores.as_chunks::<LANES>().0;
        let (d, d_bias) = (self.d.as_chunks_mut::<LANES>().0, self.d_bias.as_chunks_mut::<LANES>().0);
        let weights = self.weights.as_chunks_mut::<LANES>().0;
        for (register, (query, seen)) in self.block.registers().enumerate() {
            let share = shares::<V>(query);
            for key in 0..seen {
                let at = key * width + register;
                let hidden = key.saturating_sub(query).min(LANES);
                let (value, slope) = silu::value_and_slope(V::load(&scores[at]));
                value.mul(share).store(&mut weights[at]);
                let gradient = zero.first(hidden, V::load(&d[at]).mul(slope).mul(share));
                V::load(&d_bias[at]).add(gradient).store(&mut d_bias[at]);
                gradient.mul(scale).store(&mut d[at]);
            }
            for key in seen..self.block.last {
                let at = key * width + register;
                zero.store(&mut weights[at]);
                zero.store(&mut d[at]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::relative_bias::gap_bucket;
    use crate::testing::*;
    use crate::{Counter, Layout};

    fn reference(
        a: &PointwiseAttention,
        offsets: &[u32],
        times: Option<Times<'_>>,
        params: &[f64],
        rows: &[f64],
    ) -> Vec<f64> {
        let (d, head_dim) = (a.d, a.d / a.n_heads);
        let mut out = vec![0.0; rows.len() / a.stride * d];
        for w in offsets.windows(2) {
            let (start, end) = (w[0] as usize, w[1] as usize);
            for i in start..end {
                for column in 0..d {
                    let first = column / head_dim * head_dim;
                    for j in start..=i {
                        let x = |token: usize, part: usize, c: usize| rows[token * a.stride + part * d + c];
                        let product: f64 =
                            (first..first + head_dim).map(|c| x(i, 0, c) * x(j, 1, c)).sum::<f64>();
                        let mut score =
                            product / (head_dim as f64).sqrt() + params[a.bias.position.range()][i - j];
                        if let Some((time, times)) = a.bias.time.zip(times) {
                            let gap = times.request_at[i].saturating_sub(times.occurred_at[j]);
                            score += params[time.range()][gap_bucket(gap)];
                        }
                        out[i * d + column] +=
                            score / (1.0 + (-score).exp()) * x(j, 2, column) / (i + 1 - start) as f64;
                    }
                }
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            offsets in ragged(), n_heads in 1_usize..3, head_dim in 1_usize..7, with_time in any::<bool>(),
            dated in any::<bool>(), scale in prop_oneof![Just(1.0_f32), Just(20.0)], seed in any::<u64>(),
        ) {
            let d = n_heads * head_dim;
            let mut layout = Layout::default();
            let bias = RelativeBias::new(&mut layout, "b", 40, with_time);
            let a = PointwiseAttention { d, n_heads, stride: 3 * d + 2, bias };
            let n = offsets[offsets.len() - 1] as usize;
            let params = values(seed ^ 2, layout.len(), 1.0);
            let (rows, dy) = (values(seed, n * a.stride, scale), values(seed ^ 1, n * d, 1.0));
            let draws = Counter::new(seed, 3);
            // Out of order here and there, and gaps of all sizes.
            let at: Vec<u32> = (0..n as u64).map(|i| draws.bits(2 * i) as u32 >> (draws.bits(2 * i + 1) % 32)).collect();
            let asked: Vec<u32> = (0..n).map(|i| at[(i + 1).min(n - 1)].saturating_add(seed as u32 % 9)).collect();
            let times = dated.then_some(Times { occurred_at: &at, request_at: &asked });
            let pass = Pass { params: &params, packed: &[], offsets: &offsets, noise: None };
            let mut saved = vec![f32::NAN; a.saved_len(&offsets)];
            let mut scratch = vec![f32::NAN; a.scratch_len(&offsets)];
            let mut out = vec![f32::NAN; n * d];
            a.forward(&pass, times, &rows, &mut saved, &mut scratch, &mut out);
            let p = f64s(&params);
            close("out", &out, &reference(&a, &offsets, times, &p, &f64s(&rows)), 2e-4 * f64::from(scale));
            let (mut d_rows, mut grads) = (vec![f32::NAN; rows.len()], vec![0.0; params.len()]);
            scratch.fill(f32::NAN);
            a.backward(&pass, times, &rows, &saved, &dy, &mut scratch, &mut d_rows, &mut grads);
            if scale == 1.0 {
                gradient("rows", &rows, &d_rows, |x| weighted(&reference(&a, &offsets, times, &p, x), &dy));
                gradient("bias", &params, &grads, |p| {
                    weighted(&reference(&a, &offsets, times, p, &f64s(&rows)), &dy)
                });
            } else {
                prop_assert!(d_rows.iter().chain(&grads).all(|g| g.is_finite()));
            }
        }
    }
}
