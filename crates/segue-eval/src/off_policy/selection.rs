//! Choosing how much to tame the weights of a doubly robust estimator.

use segue_stats::distribution::student_t;
use segue_stats::summary::{Summary, sum};

use super::doubly_robust::terms;
use super::{LoggedRounds, Weighting};
use crate::EvalError;

/// The candidate that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Index among the candidates.
    pub index: usize,
    /// The estimate with it.
    pub value: f64,
}

/// SLOPE: from the widest interval to the narrowest, keep a candidate while it agrees with all kept
/// before, `|θ_j − θ_i| ≤ c_i + (√6 − 1) c_j`; the last kept is chosen. `c` is the half-width
/// `t_(n−1, .95) sd / √n`.
///
/// # Errors
/// If the columns do not fit or there is no candidate.
///
/// # Source
/// Su, Srinath & Krishnamurthy, "Adaptive estimator selection for off-policy evaluation", ICML 2020.
pub fn slope(rounds: &LoggedRounds<'_>, candidates: &[Weighting]) -> Result<Chosen, EvalError> {
    some(candidates)?;
    let mut found = Vec::with_capacity(candidates.len());
    for (index, &weighting) in candidates.iter().enumerate() {
        let s = Summary::of(&terms(rounds, weighting)?)?;
        let half = if s.n > 1 {
            student_t::upper_quantile(0.05, (s.n - 1) as f64) * s.standard_error()
        } else {
            f64::INFINITY
        };
        found.push((half, index, s.mean));
    }
    let (index, value) = slope_of(found);
    Ok(Chosen { index, value })
}

/// SLOPE over `(half-width, index, value)`: index and value of the last that agrees with all wider ones.
pub(super) fn slope_of(mut found: Vec<(f64, usize, f64)>) -> (usize, f64) {
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut kept = 1;
    while kept < found.len() {
        let (half, _, value) = found[kept];
        let agrees =
            found[..kept].iter().all(|(h, _, v)| (v - value).abs() <= half + (6_f64.sqrt() - 1.0) * h);
        if !agrees {
            break;
        }
        kept += 1;
    }
    let (_, index, value) = found[kept - 1];
    (index, value)
}

/// The candidate with the smallest bound of the mean squared error, and the bounds of all:
/// `var/n + (|mean((w − w′)(r − q))| + √(2 mean(w²) ln(2/δ)/n) + 2 max(w) ln(2/δ)/(3n))²`, where the
/// bound of the bias holds with probability `1 − δ`.
///
/// # Errors
/// If the columns do not fit, there is no candidate, or `delta` lies outside `(0, 1)`.
///
/// # Source
/// Su, Dimakopoulou, Krishnamurthy & Dudík, "Doubly robust off-policy evaluation with shrinkage",
/// ICML 2020.
pub fn lowest_mean_squared_error(
    rounds: &LoggedRounds<'_>,
    candidates: &[Weighting],
    delta: f64,
) -> Result<(Chosen, Vec<f64>), EvalError> {
    some(candidates)?;
    if !(delta > 0.0 && delta < 1.0) {
        return super::fail("delta".into(), delta.to_string(), "it lies above 0 and below 1");
    }
    let w = rounds.weights()?;
    let n = w.len() as f64;
    let log = (2.0 / delta).ln();
    let squares: Vec<f64> = w.iter().map(|w| w * w).collect();
    let noise = (2.0 * sum(&squares) / n * log / n).sqrt()
        + 2.0 * w.iter().copied().fold(0.0, f64::max) * log / (3.0 * n);
    let (mut scores, mut best) = (Vec::new(), None::<(f64, Chosen)>);
    for (index, &weighting) in candidates.iter().enumerate() {
        let s = Summary::of(&terms(rounds, weighting)?)?;
        let bias: Vec<f64> = (0..w.len())
            .map(|i| (w[i] - weighting.apply(w[i])) * (rounds.reward[i] - rounds.model_reward[i]))
            .collect();
        let score = s.variance * (n - 1.0) / n / n + ((sum(&bias) / n).abs() + noise).powi(2);
        scores.push(score);
        if best.as_ref().is_none_or(|(b, _)| score < *b) {
            best = Some((score, Chosen { index, value: s.mean }));
        }
    }
    match best {
        Some((_, chosen)) => Ok((chosen, scores)),
        None => super::fail("bound of every candidate".into(), "not a number".into(), "it has to be finite"),
    }
}

fn some(candidates: &[Weighting]) -> Result<(), EvalError> {
    if candidates.is_empty() {
        return super::fail(
            "number of candidates".into(),
            "0".into(),
            "there is at least one to choose from",
        );
    }
    Ok(())
}
