//! Direct method: the reward model's word.

use super::{Estimate, LoggedRounds, mean_of};
use crate::EvalError;

/// `mean(Σ_a π_e(a|x) q̂(x, a))`. As biased as the reward model; the error says nothing of that.
///
/// # Errors
/// If the columns do not fit.
pub fn direct(rounds: &LoggedRounds<'_>) -> Result<Estimate, EvalError> {
    rounds.weights()?;
    mean_of(rounds.model_value)
}
