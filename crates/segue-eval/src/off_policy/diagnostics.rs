//! Whether a log can say anything about the target policy.

use super::{LoggedRounds, overlap};
use crate::EvalError;

/// What the importance weights look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diagnostics {
    /// Rounds.
    pub n_rounds: usize,
    /// Mean weight; 1 in expectation where the logging policy supports the target policy.
    pub mean_weight: f64,
    /// Largest weight.
    pub max_weight: f64,
    /// `(Σw)² / Σw²`: how many equally weighted rounds would say as much.
    pub effective_sample_size: f64,
    /// Share of all weight that the largest one has.
    pub max_weight_share: f64,
}

/// Diagnostics of the weights.
///
/// # Errors
/// If the columns do not fit, or if every weight is zero.
pub fn diagnose(rounds: &LoggedRounds<'_>) -> Result<Diagnostics, EvalError> {
    let w = rounds.weights()?;
    let total = overlap(w.iter().sum())?;
    let squares: f64 = w.iter().map(|w| w * w).sum();
    let max_weight = w.iter().copied().fold(0.0, f64::max);
    Ok(Diagnostics {
        n_rounds: w.len(),
        mean_weight: total / w.len() as f64,
        max_weight,
        effective_sample_size: total * total / squares,
        max_weight_share: max_weight / total,
    })
}
