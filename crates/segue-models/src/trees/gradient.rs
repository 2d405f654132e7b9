//! Log loss: probabilities, gradients, and their rounding to integers.
//!
//! For a label `y` and a score `s` (log odds) with `p = 1 / (1 + exp(−s))`, the loss
//! `−y ln p − (1 − y) ln(1 − p)` has gradient `p − y` and second derivative `p (1 − p)`.
//!
//! Both are rounded to integers at random, up with the probability of what rounding down would lose,
//! so that a sum of many is unbiased however small each is.
//!
//! # Source
//! Shi et al., "Quantized training of gradient boosting decision trees", NeurIPS 2022, for training
//! on rounded gradients; here they keep up to 14 bits instead of 2 to 5.

use rayon::prelude::*;

use super::histogram::{LeafRow, leaf_row};
use super::random::draw;

/// Rows of one unit of work. Sums of floats are taken per chunk, then over chunks in order, so that
/// the number of threads does not show.
pub(crate) const CHUNK_ROWS: usize = 4096;

/// `1 / (1 + exp(−score))`.
///
/// Exact to about 1e-7. Only additions, multiplications and one division, so that every machine
/// gives the same bits, which `f32::exp` does not promise.
#[must_use]
#[inline]
pub fn sigmoid(score: f32) -> f32 {
    1.0 / (1.0 + exp(-score))
}

/// `exp(x)` for `x` held to `[−87, 87]`: `2^k · exp(r)` with `|r| <= ln 2 / 2` and a polynomial for
/// `exp(r)` (Cephes `expf`, S. Moshier). Two constants for ln 2 keep `r` exact.
#[inline]
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5·2^23 leaves the nearest integer in the low bits; it vectorises where a cast does not.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = x - k * LN2_HIGH - k * LN2_LOW;
    let mut poly = 1.987_569_2e-4;
    poly = poly * r + 1.398_199_9e-3;
    poly = poly * r + 8.333_452e-3;
    poly = poly * r + 4.166_579_6e-2;
    poly = poly * r + 1.666_666_5e-1;
    poly = poly * r + 0.5;
    let fraction = poly * r * r + r + 1.0;
    let power = (shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23;
    fraction * f32::from_bits(power)
}

/// Loss of one row: `ln(1 + exp(score)) − label · score`, in the form that does not overflow.
#[must_use]
pub fn log_loss(score: f32, label: bool) -> f64 {
    let score = f64::from(score);
    let toward = if label { -score } else { score };
    toward.max(0.0) + (-toward.abs()).exp().ln_1p()
}

/// Mean loss of scores, summed chunk by chunk.
///
/// # Shapes
/// - `scores`, `labels`: `[n_rows]`, at least one row
#[must_use]
pub fn mean_log_loss(scores: &[f32], labels: &[bool]) -> f64 {
    assert_eq!(scores.len(), labels.len(), "one label per score");
    let sums: Vec<f64> = scores
        .par_chunks(CHUNK_ROWS)
        .zip(labels.par_chunks(CHUNK_ROWS))
        .map(|(scores, labels)| scores.iter().zip(labels).map(|(&s, &y)| log_loss(s, y)).sum())
        .collect();
    sums.iter().sum::<f64>() / scores.len() as f64
}

/// What an integer of rounded derivatives is worth: powers of two, so that scaling is exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    /// Integers per unit of gradient.
    pub(crate) gradient: f64,
    /// Integers per unit of second derivative.
    pub(crate) hessian: f64,
}

/// Derivatives of every row, and room to compute them.
#[derive(Debug)]
pub(crate) struct Gradients {
    gradient: Vec<f32>,
    hessian: Vec<f32>,
    scale: Scale,
    round_key: u64,
}

impl Gradients {
    pub(crate) fn new(n_rows: usize) -> Self {
        Self {
            gradient: vec![0.0; n_rows],
            hessian: vec![0.0; n_rows],
            scale: Scale { gradient: 1.0, hessian: 1.0 },
            round_key: 0,
        }
    }

    /// Adds `steps[leaf_of[row]]` to each score and takes the derivatives there.
    ///
    /// # Shapes
    /// - `scores`, `labels`, `leaf_of`: `[n_rows]`
    pub(crate) fn update(
        &mut self,
        scores: &mut [f32],
        labels: &[bool],
        leaf_of: &[u8],
        steps: &[f32],
        seed: u64,
        round: usize,
    ) {
        // A table of 256 needs no bounds check for a byte; there are at most 64 leaves.
        let mut step_of = [0f32; 256];
        step_of[..steps.len()].copy_from_slice(steps);
        let sums: Vec<(f64, f64)> = self
            .gradient
            .par_chunks_mut(CHUNK_ROWS)
            .zip(self.hessian.par_chunks_mut(CHUNK_ROWS))
            .zip(scores.par_chunks_mut(CHUNK_ROWS))
            .zip(labels.par_chunks(CHUNK_ROWS).zip(leaf_of.par_chunks(CHUNK_ROWS)))
            .map(|(((gradient, hessian), scores), (labels, leaf_of))| {
                for (score, &leaf) in scores.iter_mut().zip(leaf_of) {
                    *score += step_of[usize::from(leaf)];
                }
                let derivatives = gradient.iter_mut().zip(hessian.iter_mut());
                for ((g, h), (&score, &label)) in derivatives.zip(scores.iter().zip(labels)) {
                    let p = sigmoid(score);
                    *g = p - f32::from(u8::from(label));
                    *h = p * (1.0 - p);
                }
                (lane_sum(gradient, f32::abs), lane_sum(hessian, |h| h))
            })
            .collect();
        let n_rows = scores.len() as f64;
        let sum_of = |pick: fn(&(f64, f64)) -> f64| sums.iter().map(pick).sum::<f64>();
        // |g| < 1 fits 15 bits and h <= 1/4 fits 16, each with room for rounding up.
        self.scale = Scale {
            gradient: scale_within(sum_of(|s| s.0), n_rows, 16_384.0),
            hessian: scale_within(sum_of(|s| s.1), n_rows, 131_072.0),
        };
        self.round_key = draw(seed, STREAM, round as u64);
    }

    pub(crate) fn scale(&self) -> Scale {
        self.scale
    }

    /// Rounded derivatives of `row`, ready for a histogram.
    ///
    /// # Shapes
    /// - `out`: `[rows.len()]`
    pub(crate) fn rounded(&self, first_row: usize, out: &mut [LeafRow]) {
        let rows = first_row..first_row + out.len();
        let derivatives = self.gradient[rows.clone()].iter().zip(&self.hessian[rows.clone()]);
        let scale_g = self.scale.gradient as f32;
        let scale_h = self.scale.hessian as f32;
        let (key_g, key_h) = (self.round_key as u32, (self.round_key >> 32) as u32);
        for ((out, (&g, &h)), row) in out.iter_mut().zip(derivatives).zip(rows) {
            // `row` is below 2^30, see `BinnedRows::new`.
            let row = row as u32;
            let g = round_at_random(g * scale_g, row ^ key_g) as i16;
            let h = round_at_random(h * scale_h, row ^ key_h) as u16;
            *out = leaf_row(row, g, h);
        }
    }
}

/// Stream of [`draw`] for gradient rounding.
const STREAM: u64 = 0x6ad;

/// The largest power of two, at most `most`, for which a sum of absolute values scaled and rounded up
/// stays below 2^31.
fn scale_within(sum: f64, n_rows: f64, most: f64) -> f64 {
    let room = 2f64.powi(31) - 1.0 - n_rows;
    let mut scale = most;
    // The factor covers what adding floats in chunks may have lost.
    while sum * 1.001 * scale > room && scale > f64::MIN_POSITIVE {
        scale *= 0.5;
    }
    scale
}

/// Sum in sixteen interleaved lanes, then over lanes in order: a fixed order that vectorises.
fn lane_sum(values: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0f32; 16];
    let chunks = values.chunks_exact(16);
    let rest: f64 = chunks.remainder().iter().map(|&v| f64::from(of(v))).sum();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += of(value);
        }
    }
    lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + rest
}

/// `floor(value + u)` with `u` uniform in `[0, 1)`, from 24 bits of the mixed key.
#[inline]
fn round_at_random(value: f32, key: u32) -> i32 {
    // The finaliser of MurmurHash3 (A. Appleby, public domain).
    let mut z = key;
    z = (z ^ (z >> 16)).wrapping_mul(0x85eb_ca6b);
    z = (z ^ (z >> 13)).wrapping_mul(0xc2b2_ae35);
    z ^= z >> 16;
    let unit = (z >> 8) as f32 * (1.0 / 16_777_216.0);
    let lifted = value + unit;
    let toward_zero = lifted as i32;
    toward_zero - i32::from(toward_zero as f32 > lifted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::histogram::{Sums, total};
    use super::*;

    #[test]
    fn the_sigmoid_follows_the_exact_one_and_stays_in_the_unit_interval() {
        for i in -4000..=4000 {
            let score = i as f32 / 40.0;
            let exact = 1.0 / (1.0 + (-f64::from(score)).exp());
            let p = sigmoid(score);
            assert!((f64::from(p) - exact).abs() <= 2e-7 * exact.max(1e-30) + 1e-30, "{score}: {p} {exact}");
        }
        for extreme in [f32::MAX, f32::MIN, 1e4, -1e4, 0.0] {
            assert!((0.0..=1.0).contains(&sigmoid(extreme)), "{extreme}");
        }
        assert_eq!(sigmoid(0.0), 0.5);
    }

    #[test]
    fn the_loss_is_finite_at_scores_where_the_probability_is_exactly_one() {
        assert_eq!(log_loss(200.0, false), 200.0);
        assert_eq!(log_loss(-200.0, true), 200.0);
        assert!(log_loss(200.0, true) < 1e-80);
        assert!((log_loss(0.0, true) - 2f64.ln()).abs() < 1e-15);
    }

    fn derivatives(scores: &[f32], labels: &[bool]) -> (Vec<LeafRow>, Scale) {
        let mut gradients = Gradients::new(scores.len());
        let mut moved = scores.to_vec();
        gradients.update(&mut moved, labels, &vec![0; scores.len()], &[0.0], 1, 0);
        let mut rows = vec![0; scores.len()];
        gradients.rounded(0, &mut rows);
        (rows, gradients.scale())
    }

    #[test]
    fn rounding_is_unbiased_for_gradients_far_below_one_unit() {
        // p is about 1e-6, where a unit is 1 / 16384: rounding to the nearest would give 0 throughout.
        let n = 400_000;
        let (rows, scale) = derivatives(&vec![-13.8; n], &vec![false; n]);
        let sum = f64::from(total(&rows).gradient) / scale.gradient;
        let exact = n as f64 / (1.0 + 13.8f64.exp());
        // Standard deviation of the count of rounded-up rows, in units.
        let sd = (exact * scale.gradient).sqrt() / scale.gradient;
        assert!((sum - exact).abs() < 5.0 * sd, "{sum} against {exact} ± {sd}");
    }

    #[test]
    fn a_million_rows_of_the_largest_gradient_do_not_overflow() {
        let n = 1 << 20;
        let (rows, scale) = derivatives(&vec![60.0; n], &vec![false; n]);
        let sum = f64::from(total(&rows).gradient) / scale.gradient;
        assert!((sum / n as f64 - 1.0).abs() < 1e-3, "{sum}");
        let (rows, scale) = derivatives(&vec![0.0; n], &vec![true; n]);
        let sums = total(&rows);
        assert!((f64::from(sums.gradient) / scale.gradient / n as f64 + 0.5).abs() < 1e-3);
        assert!((f64::from(sums.hessian) / scale.hessian / n as f64 - 0.25).abs() < 1e-3);
    }

    proptest! {
        #[test]
        fn rounded_derivatives_lie_within_one_unit(
            rows in prop::collection::vec((-40f32..40.0, any::<bool>()), 1..300),
        ) {
            let (scores, labels): (Vec<f32>, Vec<bool>) = rows.into_iter().unzip();
            let (rounded, scale) = derivatives(&scores, &labels);
            for ((row, &score), &label) in rounded.iter().zip(&scores).zip(&labels) {
                let Sums { gradient, hessian } = total(&[*row]);
                let p = f64::from(sigmoid(score));
                let g = (p - f64::from(u8::from(label))) * scale.gradient;
                let h = p * (1.0 - p) * scale.hessian;
                prop_assert!((f64::from(gradient) - g).abs() <= 1.01, "{gradient} {g}");
                prop_assert!((f64::from(hessian) - h).abs() <= 1.01, "{hessian} {h}");
            }
        }
    }
}
