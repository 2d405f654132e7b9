//! Slates: several items at once, each with a reward.

use super::{fail, overlap};
use crate::EvalError;

/// Logged slates as rows, one per position, positions of a slate in order and rows of a slate together.
#[derive(Debug, Clone, Copy)]
pub struct LoggedSlates<'a> {
    /// `[n_rows]` which slate.
    pub slate: &'a [u64],
    /// `[n_rows]` 0-based position.
    pub position: &'a [u32],
    /// `[n_rows]` what the item at that position earned.
    pub reward: &'a [f64],
}

/// Probabilities of the same rows under both policies, of one of three things: the whole slate
/// (standard IPS), the item at its position (independent IPS), or the items down to this one
/// (reward-interaction IPS).
#[derive(Debug, Clone, Copy)]
pub struct SlateWeights<'a> {
    /// `[n_rows]` in `(0, 1]`, logging policy.
    pub propensity: &'a [f64],
    /// `[n_rows]` in `[0, 1]`, target policy.
    pub target_probability: &'a [f64],
}

/// `Σ_rows w r / n_slates`: the mean reward of a whole slate.
///
/// Which probabilities `weights` holds decides the estimator: those of the whole slate (always unbiased,
/// highest variance), of single positions (unbiased if positions do not interact), of prefixes (unbiased
/// if listeners go from top to bottom).
///
/// # Errors
/// If the columns do not fit.
///
/// # Source
/// Li, Kim & Zitouni 2015 and Li et al. 2018 for the first two; McInerney et al., "Counterfactual
/// evaluation of slate recommendations with sequential reward interactions", KDD 2020 for the third.
pub fn slate_ips(slates: &LoggedSlates<'_>, weights: &SlateWeights<'_>) -> Result<f64, EvalError> {
    let w = slates.weights(weights)?;
    Ok(w.iter().zip(slates.reward).map(|(w, r)| w * r).sum::<f64>() / slates.n_slates() as f64)
}

/// The same with weights divided by their mean *at the same position*.
///
/// # Errors
/// If the columns do not fit, or if all weights of a position are zero.
pub fn slate_snips(slates: &LoggedSlates<'_>, weights: &SlateWeights<'_>) -> Result<f64, EvalError> {
    let w = slates.weights(weights)?;
    let n_positions = slates.position.iter().max().map_or(0, |&p| p as usize + 1);
    let mut of_position = vec![(0.0, 0.0); n_positions];
    for (w, &position) in w.iter().zip(slates.position) {
        of_position[position as usize].0 += w;
        of_position[position as usize].1 += 1.0;
    }
    let mut total = 0.0;
    for ((w, r), &position) in w.iter().zip(slates.reward).zip(slates.position) {
        let (sum, n) = of_position[position as usize];
        total += w * r / (overlap(sum)? / n);
    }
    Ok(total / slates.n_slates() as f64)
}

/// Cascade doubly robust: `Σ_rows [w_k (r − q(a_k)) + w_(k−1) Σ_a π_e(a | prefix) q(a)] / n_slates` with
/// prefix weights, `w_0 = 1`.
///
/// - `model_reward`: `[n_rows]` `q` of the shown item: expected reward from this position on
/// - `model_value`: `[n_rows]` `Σ_a π_e(a | prefix) q(a)`
///
/// # Errors
/// If the columns do not fit.
///
/// # Source
/// Kiyohara et al., "Doubly robust off-policy evaluation for ranking policies under the cascade behavior
/// model", WSDM 2022.
pub fn cascade_doubly_robust(
    slates: &LoggedSlates<'_>,
    prefix: &SlateWeights<'_>,
    model_reward: &[f64],
    model_value: &[f64],
) -> Result<f64, EvalError> {
    let w = slates.weights(prefix)?;
    for (name, column) in [("model_reward", model_reward), ("model_value", model_value)] {
        if column.len() != w.len() {
            return fail(
                format!("length of `{name}`"),
                format!("{} for {} rows", column.len(), w.len()),
                "one per row",
            );
        }
    }
    let mut total = 0.0;
    for row in 0..w.len() {
        let first = row == 0 || slates.slate[row] != slates.slate[row - 1];
        let before = if first { 1.0 } else { w[row - 1] };
        total += w[row] * (slates.reward[row] - model_reward[row]) + before * model_value[row];
    }
    Ok(total / slates.n_slates() as f64)
}

impl LoggedSlates<'_> {
    fn n_slates(&self) -> usize {
        self.slate.chunk_by(|a, b| a == b).count()
    }

    fn weights(&self, weights: &SlateWeights<'_>) -> Result<Vec<f64>, EvalError> {
        let n = self.reward.len();
        if n == 0 {
            return fail("number of rows".into(), "0".into(), "there is nothing to estimate from");
        }
        for (name, len) in [
            ("slate", self.slate.len()),
            ("position", self.position.len()),
            ("propensity", weights.propensity.len()),
            ("target_probability", weights.target_probability.len()),
        ] {
            if len != n {
                return fail(format!("length of `{name}`"), format!("{len} for {n} rewards"), "one per row");
            }
        }
        for row in 0..n {
            let (p, e, r) = (weights.propensity[row], weights.target_probability[row], self.reward[row]);
            if !(p > 0.0 && p <= 1.0) {
                return fail(
                    format!("propensity of row {row}"),
                    p.to_string(),
                    "propensities are above 0 and at most 1",
                );
            }
            if !(0.0..=1.0).contains(&e) {
                return fail(
                    format!("target probability of row {row}"),
                    e.to_string(),
                    "it lies between 0 and 1",
                );
            }
            if !r.is_finite() {
                return fail(format!("reward of row {row}"), r.to_string(), "it has to be finite");
            }
            let continues = row > 0 && self.slate[row] == self.slate[row - 1];
            let expected = if continues { self.position[row - 1] + 1 } else { 0 };
            if self.position[row] != expected {
                return fail(
                    format!("position of row {row}"),
                    self.position[row].to_string(),
                    "rows of a slate stand together, positions counted from 0",
                );
            }
        }
        Ok(weights.target_probability.iter().zip(weights.propensity).map(|(e, p)| e / p).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_policies_give_the_mean_reward_of_a_slate() {
        let slates =
            LoggedSlates { slate: &[4, 4, 9, 9], position: &[0, 1, 0, 1], reward: &[1.0, 0.0, 0.5, 0.5] };
        let same =
            SlateWeights { propensity: &[0.5, 0.2, 0.5, 0.2], target_probability: &[0.5, 0.2, 0.5, 0.2] };
        assert_eq!(slate_ips(&slates, &same).unwrap(), 1.0);
        assert_eq!(slate_snips(&slates, &same).unwrap(), 1.0);
        assert_eq!(cascade_doubly_robust(&slates, &same, &[0.3; 4], &[0.3; 4]).unwrap(), 1.0);
        let mixed = LoggedSlates { position: &[1, 0, 0, 1], ..slates };
        assert!(slate_ips(&mixed, &same).unwrap_err().to_string().contains("position of row 0"));
        assert!(cascade_doubly_robust(&slates, &same, &[], &[]).is_err());
        let zero = SlateWeights { propensity: &[0.0; 4], ..same };
        assert!(slate_ips(&slates, &zero).is_err());
    }
}
