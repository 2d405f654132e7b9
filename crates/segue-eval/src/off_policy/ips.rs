//! Inverse propensity scoring, plain and self-normalised.

use super::{Estimate, LoggedRounds, Weighting, mean_of, overlap};
use crate::EvalError;

/// `mean(w′ r)`. Unbiased with plain weights if the logging policy supports the target policy.
///
/// # Errors
/// If the columns do not fit.
///
/// # Source
/// Horvitz & Thompson, 1952; see [`Weighting`] for the variants.
pub fn ips(rounds: &LoggedRounds<'_>, weighting: Weighting) -> Result<Estimate, EvalError> {
    let weights = rounds.weights()?;
    let terms: Vec<f64> = weights.iter().zip(rounds.reward).map(|(&w, r)| weighting.apply(w) * r).collect();
    mean_of(&terms)
}

/// `Σ w r / Σ w`: slightly biased, never outside the range of the rewards seen.
///
/// The standard error is that of a ratio, `√(Σ w² (r − estimate)²) / Σ w`: a constant reward has none.
///
/// # Errors
/// If the columns do not fit, or if every weight is zero.
///
/// # Source
/// Swaminathan & Joachims, "The self-normalized estimator for counterfactual learning", NeurIPS 2015.
pub fn snips(rounds: &LoggedRounds<'_>) -> Result<Estimate, EvalError> {
    let w = rounds.weights()?;
    let total = overlap(w.iter().sum())?;
    let value = w.iter().zip(rounds.reward).map(|(w, r)| w * r).sum::<f64>() / total;
    let squares: f64 = w.iter().zip(rounds.reward).map(|(w, r)| (w * (r - value)).powi(2)).sum();
    Ok(Estimate { value, standard_error: squares.sqrt() / total })
}
