//! Losses over the target and negatives shared by all tokens of a step.
//!
//! With `s` the target's logit, `sⱼ` those of `k` negatives, and a negative that is the target left
//! out (an accidental hit):
//!
//! - **softmax**: `ln(eˢ + Σⱼ exp(sⱼ - ln(k qⱼ))) - s`, where `qⱼ` is the probability of the draw: the
//!   sum estimates that over the catalogue without bias (Bengio & Senécal 2003; "logQ correction",
//!   Yi et al. 2019). Without the correction the term `ln(k qⱼ)` is missing.
//! - **gBCE**: `(β ln(1 + e⁻ˢ) + Σⱼ ln(1 + exp(sⱼ))) / (k + 1)` (Petrov & Macdonald 2023), with
//!   `β = α (t (1 - 1/α) + 1/α)`, `α = k / (n_items - 1)`. With calibration `t = 0` it is BCE: `β = 1`.

//!
//! Logits stand negative by negative: a register holds those of 16 tokens (see [`softmax`](super::softmax)).

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::loss::Negatives;
use crate::simd::{self, LANES, vectorised};
use crate::{Carve, Embedding, Mat, matmul, transpose};

/// Tokens whose logits exist at one time; a multiple of [`LANES`].
const TILE: usize = 64;
/// Terms of a sum that are added before they join the others.
const TERMS: usize = 256;

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampledObjective {
    /// Sampled softmax.
    Softmax {
        /// Whether logits of negatives are corrected for the probability of the draw.
        log_q: bool,
    },
    /// Binary cross-entropy, the target's term to the power `beta`.
    Bce {
        /// See [`SampledObjective::gbce`]; 1 is plain BCE.
        beta: f32,
    },
}

impl SampledObjective {
    /// gBCE of calibration `t` in `[0, 1]` for `k` negatives out of a catalogue of `n_items`.
    #[must_use]
    pub fn gbce(t: f32, k: usize, n_items: usize) -> Self {
        let alpha = (k as f32 / (n_items.max(2) - 1) as f32).min(1.0);
        Self::Bce { beta: alpha * (t * (1.0 - 1.0 / alpha) + 1.0 / alpha) }
    }
}

/// The loss and its memory for `k` negatives of size `d`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampledLoss {
    /// What is minimised.
    pub objective: SampledObjective,
    /// Number of negatives.
    pub k: usize,
    /// Size of a row.
    pub d: usize,
}

impl SampledLoss {
    /// Numbers of scratch.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        TILE * (self.k + 2 * self.d)
    }

    /// Gives the summed loss of `h` `[n, d]` with targets `[n]`. `negative_rows` `[k, d]` are the
    /// table rows of `negatives`. Fills `dh` `[n, d]` and `d_target` `[n, d]` (the gradient of each
    /// token's target row), adds to `d_negative` `[k, d]`; all times `scale`.
    pub fn forward_backward(
        &self,
        h: &[f32],
        targets: &[u32],
        table: &Embedding,
        negatives: &Negatives,
        negative_rows: &[f32],
        scale: f32,
        scratch: &mut [f32],
        dh: &mut [f32],
        d_target: &mut [f32],
        d_negative: &mut [f32],
    ) -> f64 {
        let (d, k) = (self.d, self.k);
        let rows = Mat::new(negative_rows, k, d);
        let mut loss = 0.0;
        let tiles = h.chunks(TILE * d).zip(dh.chunks_mut(TILE * d)).zip(d_target.chunks_mut(TILE * d));
        for (((h, dh), d_target), targets) in tiles.zip(targets.chunks(TILE)) {
            let n = targets.len();
            let stride = n.next_multiple_of(LANES);
            let mut carve = Carve::new(scratch);
            let columns = carve.take(d * stride);
            let shared = carve.take(n * d);
            let logits = carve.take(k * stride);
            if stride > n {
                columns.fill(0.0);
            }
            transpose(h, d, n, d, columns, stride);
            matmul(logits, stride, false, rows, Mat::new(columns, d, stride));
            let mut tokens = Tokens { target: [0; TILE], wanted: [0.0; TILE], share: [0.0; TILE] };
            tokens.target[..n].copy_from_slice(targets);
            vectorised(
                #[inline(always)]
                || {
                    for i in 0..n {
                        tokens.wanted[i] = simd::dot(&h[i * d..(i + 1) * d], table.row(targets[i]));
                    }
                    let values = self.gradients(logits, stride, &mut tokens, negatives, scale);
                    loss += values[..n].iter().map(|&v| f64::from(v)).sum::<f64>();
                    for i in 0..n {
                        let (row, share) = (i * d..(i + 1) * d, tokens.share[i]);
                        for (s, h) in shared[row.clone()].iter_mut().zip(&h[row]) {
                            *s = share * h;
                        }
                    }
                },
            );
            let logits = Mat::strided(logits, k, n, stride);
            matmul(dh, d, false, logits.t(), rows);
            matmul(d_negative, d, true, logits, Mat::new(shared, n, d));
            // The gradient of the target's logit stands in `wanted` by now.
            vectorised(
                #[inline(always)]
                || {
                    for i in 0..n {
                        let (slope, share) = (tokens.wanted[i], tokens.share[i]);
                        let row = i * d..(i + 1) * d;
                        for (g, h) in d_target[row.clone()].iter_mut().zip(&h[row.clone()]) {
                            *g = slope * h;
                        }
                        for (g, e) in dh[row].iter_mut().zip(table.row(targets[i])) {
                            *g = share.mul_add(*g, slope * e);
                        }
                    }
                },
            );
        }
        loss
    }

    /// Turns the negatives' logits `[k, stride]` into weights that are their gradient once multiplied by
    /// each token's `share`; `wanted` becomes the gradient of the target's logit. Gives the losses.
    #[inline(always)]
    fn gradients(
        &self,
        logits: &mut [f32],
        stride: usize,
        tokens: &mut Tokens,
        negatives: &Negatives,
        scale: f32,
    ) -> [f32; TILE] {
        // A negative that is the target counts as an impossible item.
        for (row, &id) in logits.chunks_exact_mut(stride).zip(&negatives.ids) {
            for (x, &target) in row.iter_mut().zip(&tokens.target) {
                *x = if id == target { f32::NEG_INFINITY } else { *x };
            }
        }
        let mut losses = [0.0; TILE];
        for at in (0..stride).step_by(LANES) {
            let mut wanted = [0.0; LANES];
            wanted.copy_from_slice(&tokens.wanted[at..at + LANES]);
            let (loss, slope, share) = match self.objective {
                SampledObjective::Softmax { log_q } => {
                    self.softmax(logits, stride, at, wanted, negatives, log_q, scale)
                }
                SampledObjective::Bce { beta } => self.bce(logits, stride, at, wanted, beta, scale),
            };
            losses[at..at + LANES].copy_from_slice(&loss);
            tokens.wanted[at..at + LANES].copy_from_slice(&slope);
            tokens.share[at..at + LANES].copy_from_slice(&share);
        }
        losses
    }

    /// Losses, gradients of the targets' logits and shares of [`LANES`] tokens from token `at` on.
    #[inline(always)]
    fn softmax(
        &self,
        logits: &mut [f32],
        stride: usize,
        at: usize,
        wanted: [f32; LANES],
        negatives: &Negatives,
        log_q: bool,
        scale: f32,
    ) -> ([f32; LANES], [f32; LANES], [f32; LANES]) {
        let log_expected = if log_q { &negatives.log_expected[..] } else { &[] };
        let (total, top) = dispatch(Weights { logits, stride, at, wanted, log_expected });
        let (mut loss, mut slope, mut share) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for i in 0..LANES {
            let own = simd::exp(wanted[i] - top[i]);
            let all = total[i] + own;
            share[i] = scale / all;
            slope[i] = own.mul_add(share[i], -scale);
            loss[i] = all.ln() + top[i] - wanted[i];
        }
        (loss, slope, share)
    }

    /// As [`softmax`](Self::softmax), for binary cross-entropy.
    #[inline(always)]
    fn bce(
        &self,
        logits: &mut [f32],
        stride: usize,
        at: usize,
        wanted: [f32; LANES],
        beta: f32,
        scale: f32,
    ) -> ([f32; LANES], [f32; LANES], [f32; LANES]) {
        let terms = (self.k + 1) as f32;
        let mut total = [0.0_f32; LANES];
        for rows in logits.chunks_mut(TERMS * stride) {
            let mut sums = [0.0_f32; LANES];
            for row in rows.chunks_exact_mut(stride) {
                let x = &mut row[at..at + LANES];
                for i in 0..LANES {
                    sums[i] += simd::softplus(x[i]);
                    x[i] = simd::sigmoid(x[i]);
                }
            }
            for i in 0..LANES {
                total[i] += sums[i];
            }
        }
        let (mut loss, mut slope) = ([0.0; LANES], [0.0; LANES]);
        for i in 0..LANES {
            loss[i] = beta.mul_add(simd::softplus(-wanted[i]), total[i]) / terms;
            slope[i] = beta * scale / terms * (simd::sigmoid(wanted[i]) - 1.0);
        }
        (loss, slope, [scale / terms; LANES])
    }
}

/// Turns logits of [`LANES`] tokens, from token `at` on, into `exp(logit - top)`, where `top` is the greatest
/// of them and of `wanted`. Gives their sums and `top`.
struct Weights<'a> {
    logits: &'a mut [f32],
    stride: usize,
    at: usize,
    wanted: [f32; LANES],
    /// `[k]`, subtracted from the logits first; or empty.
    log_expected: &'a [f32],
}

impl Kernel for Weights<'_> {
    type Out = ([f32; LANES], [f32; LANES]);

    #[inline(always)]
    fn run<V: Lanes>(self) -> Self::Out {
        let width = self.stride / LANES;
        let logits = &mut self.logits.as_chunks_mut::<LANES>().0[self.at / LANES..];
        let mut top = V::load(&self.wanted);
        if self.log_expected.is_empty() {
            for x in logits.iter().step_by(width) {
                top = V::load(x).max(top);
            }
        }
        for (x, &q) in logits.iter_mut().step_by(width).zip(self.log_expected) {
            let corrected = V::load(x).sub(V::splat(q));
            corrected.store(x);
            top = corrected.max(top);
        }
        let mut total = V::splat(0.0);
        for logits in logits.chunks_mut(TERMS * width) {
            let mut sum = V::splat(0.0);
            for x in logits.iter_mut().step_by(width) {
                let e = V::load(x).sub(top).exp();
                sum = sum.add(e);
                e.store(x);
            }
            total = total.add(sum);
        }
        let mut out = ([0.0; LANES], [0.0; LANES]);
        total.store(&mut out.0);
        top.store(&mut out.1);
        out
    }
}

/// What is known of each token of a tile.
struct Tokens {
    target: [u32; TILE],
    /// The target's logit, then its gradient.
    wanted: [f32; TILE],
    /// What the token's weights are multiplied by.
    share: [f32; TILE],
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::*;

    fn reference(l: &SampledLoss, h: &[f64], targets: &[u32], table: &[f64], negatives: &Negatives) -> f64 {
        let d = l.d;
        let dot =
            |h: &[f64], id: u32| -> f64 { h.iter().zip(&table[id as usize * d..]).map(|(a, b)| a * b).sum() };
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let mut loss = 0.0;
        for (h, &y) in h.chunks_exact(d).zip(targets) {
            let wanted = dot(h, y);
            let others = negatives.ids.iter().zip(&negatives.log_expected).filter(|(id, _)| **id != y);
            loss += match l.objective {
                SampledObjective::Softmax { log_q } => {
                    let terms: Vec<f64> = others
                        .map(|(&id, &q)| dot(h, id) - if log_q { f64::from(q) } else { 0.0 })
                        .chain([wanted])
                        .collect();
                    let top = terms.iter().copied().fold(f64::MIN, f64::max);
                    terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln() + top - wanted
                }
                SampledObjective::Bce { beta } => {
                    let negative: f64 = others.map(|(&id, _)| softplus(dot(h, id))).sum();
                    (f64::from(beta) * softplus(-wanted) + negative) / (l.k + 1) as f64
                }
            };
        }
        loss
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            n in 0_usize..6, n_items in 1_usize..9, d in 1_usize..9, k in 1_usize..12,
            which in 0_usize..4, size in prop_oneof![Just(1.0_f32), Just(50.0)], seed in any::<u64>(),
        ) {
            let objective = [
                SampledObjective::Softmax { log_q: true },
                SampledObjective::Softmax { log_q: false },
                SampledObjective::Bce { beta: 1.0 },
                SampledObjective::gbce(0.75, k, n_items),
            ][which];
            let h = values(seed, n * d, size);
            let table = Embedding { table: values(seed ^ 1, n_items * d, 1.0), d };
            let targets: Vec<u32> = (0..n).map(|i| ((seed as usize ^ i) % n_items) as u32).collect();
            let ids: Vec<u32> = (0..k).map(|j| ((seed as usize / 7 + 3 * j) % n_items) as u32).collect();
            let negatives = Negatives { log_expected: values(seed ^ 2, k, 1.0), ids };
            let loss = SampledLoss { objective, k, d };
            let mut rows = vec![0.0; k * d];
            table.gather(&negatives.ids, 1.0, &mut rows);
            let mut scratch = vec![f32::NAN; loss.scratch_len()];
            let (mut dh, mut d_target) = (vec![f32::NAN; n * d], vec![f32::NAN; n * d]);
            let mut d_negative = vec![0.0; k * d];
            let got = loss.forward_backward(
                &h, &targets, &table, &negatives, &rows, 0.5, &mut scratch, &mut dh, &mut d_target, &mut d_negative,
            );
            let want = reference(&loss, &f64s(&h), &targets, &f64s(&table.table), &negatives);
            prop_assert!((got - want).abs() < 1e-4 * (1.0 + want.abs()), "{got} {want}");
            prop_assert!(dh.iter().chain(&d_target).chain(&d_negative).all(|g| g.is_finite()));
            if size == 1.0 {
                gradient("h", &h, &dh, |h| 0.5 * reference(&loss, h, &targets, &f64s(&table.table), &negatives));
                let mut sparse = crate::RowGradient::default();
                let parts = [(&targets[..], &d_target[..]), (&negatives.ids[..], &d_negative[..])];
                sparse.sum(d, parts.iter().copied());
                let mut d_table = vec![0.0; n_items * d];
                for (&row, g) in sparse.rows.iter().zip(sparse.values.chunks_exact(d)) {
                    d_table[row as usize * d..(row as usize + 1) * d].copy_from_slice(g);
                }
                gradient("table", &table.table, &d_table, |t| {
                    0.5 * reference(&loss, &f64s(&h), &targets, t, &negatives)
                });
            }
        }
    }

    #[test]
    fn the_corrected_sum_estimates_the_whole_softmax() {
        // With every item drawn in proportion to its probability the two losses nearly agree.
        let (m, d, k) = (50, 4, 20_000);
        let table = Embedding { table: values(1, m * d, 1.0), d };
        let counts: Vec<u64> = (0..m as u64).map(|i| i * i).collect();
        let sampler = crate::loss::NegativeSampler::new(&counts, 0.7, 0.0);
        let mut negatives = Negatives::default();
        sampler.draw(crate::Counter::new(5, 5), k, &[], &mut negatives);
        let h = values(2, d, 1.0);
        let mut rows = vec![0.0; k * d];
        table.gather(&negatives.ids, 1.0, &mut rows);
        let loss = SampledLoss { objective: SampledObjective::Softmax { log_q: true }, k, d };
        let (mut dh, mut dt, mut dn) = (vec![0.0; d], vec![0.0; d], vec![0.0; k * d]);
        let mut scratch = vec![0.0; loss.scratch_len()];
        let sampled = loss.forward_backward(
            &h,
            &[7],
            &table,
            &negatives,
            &rows,
            1.0,
            &mut scratch,
            &mut dh,
            &mut dt,
            &mut dn,
        );
        let whole = crate::loss::SoftmaxLoss { n_items: m, d };
        let mut scratch = vec![0.0; whole.scratch_len()];
        let full =
            whole.forward_backward(&h, &[7], &table.table, 1.0, &mut scratch, &mut dh, &mut vec![0.0; m * d]);
        assert!((sampled - full).abs() < 0.05, "{sampled} {full}");
    }
}
