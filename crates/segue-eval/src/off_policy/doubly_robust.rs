//! Doubly robust estimators: the reward model, corrected where the log knows better.

use super::{Estimate, LoggedRounds, Weighting, mean_of, overlap};
use crate::EvalError;

/// `mean(v + w′ (r − q))` with `v` the model's value under the target policy and `q` of the shown action.
/// With plain weights unbiased if either propensities or model are right. [`Weighting::Switch`] makes it
/// SWITCH-DR, [`Weighting::Shrink`] DR with optimistic shrinkage.
///
/// # Errors
/// If the columns do not fit.
///
/// # Source
/// Dudík, Langford & Li, "Doubly robust policy evaluation and learning", ICML 2011; see [`Weighting`].
pub fn doubly_robust(rounds: &LoggedRounds<'_>, weighting: Weighting) -> Result<Estimate, EvalError> {
    mean_of(&terms(rounds, weighting)?)
}

/// `mean(v) + Σ w (r − q) / Σ w`. The standard error adds the spread of `v` to that of the ratio,
/// round by round.
///
/// # Errors
/// If the columns do not fit, or if every weight is zero.
///
/// # Source
/// Thomas & Brunskill, "Data-efficient off-policy policy evaluation", ICML 2016 (weighted DR).
pub fn self_normalised_doubly_robust(rounds: &LoggedRounds<'_>) -> Result<Estimate, EvalError> {
    let w = rounds.weights()?;
    let total = overlap(w.iter().sum())?;
    let gaps: Vec<f64> = rounds.reward.iter().zip(rounds.model_reward).map(|(r, q)| r - q).collect();
    let correction = w.iter().zip(&gaps).map(|(w, g)| w * g).sum::<f64>() / total;
    let scale = w.len() as f64 / total;
    let parts: Vec<f64> =
        (0..w.len()).map(|i| rounds.model_value[i] + scale * w[i] * (gaps[i] - correction)).collect();
    let spread = mean_of(&parts)?;
    Ok(Estimate { value: spread.value + correction, standard_error: spread.standard_error })
}

/// Per-round terms of the doubly robust mean.
pub(super) fn terms(rounds: &LoggedRounds<'_>, weighting: Weighting) -> Result<Vec<f64>, EvalError> {
    let weights = rounds.weights()?;
    Ok((0..weights.len())
        .map(|i| {
            rounds.model_value[i] + weighting.apply(weights[i]) * (rounds.reward[i] - rounds.model_reward[i])
        })
        .collect())
}
