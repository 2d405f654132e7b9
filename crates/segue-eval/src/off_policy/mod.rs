//! Off-policy estimators: what a target policy would have earned, from another policy's log.
//!
//! Two layers. The plain estimators, one file per family, are functions of columns in memory that
//! return a number and its standard error whatever the overlap of the two policies: the references.
//! [`BanditEvidence`] and [`SlateEvidence`] sum a log of any length as it streams by, by unit, and give
//! their numbers only through the gate ([`GateConfig`]): a [`Verdict`] owns the estimates that passed,
//! or says why there are none and how much data would do.

mod bandit;
mod diagnostics;
mod direct;
mod doubly_robust;
mod gate;
mod groups;
mod interval;
mod ips;
mod matrix;
mod pseudo_inverse;
mod reward_model;
mod selection;
mod slate;
mod slate_evidence;
mod table;

pub use bandit::{BanditEvidence, LAMBDAS, LIMITS, Round, SUB_GAUSSIAN};
pub use diagnostics::{Diagnostics, diagnose};
pub use direct::direct;
pub use doubly_robust::{doubly_robust, self_normalised_doubly_robust};
pub use gate::{
    Check, Estimable, FamilyJudgement, GateConfig, GatedEstimate, IntervalConfig, MoreData, Refusal, Verdict,
    WeightDiagnostics,
};
pub use interval::{IntervalKind, bernstein_half_width};
pub use ips::{ips, snips};
pub use matrix::{MatrixRounds, PolicyColumns};
pub use pseudo_inverse::{PseudoInverse, pseudo_inverse_weight};
pub use reward_model::CellMeans;
pub use selection::{Chosen, lowest_mean_squared_error, slope};
pub use slate::{LoggedSlates, SlateWeights, cascade_doubly_robust, slate_ips, slate_snips};
pub use slate_evidence::{SlateEvidence, SlatePosition};
pub use table::{JudgeConfig, Judgement, RewardModelConfig, TablePolicy, TableSpec, judge_table};

use segue_stats::StatsError;
use segue_stats::summary::Summary;

use crate::EvalError;

/// Logged rounds of a policy that chose one action each, and what the target policy and a reward
/// model say of them. Columns of equal length.
#[derive(Debug, Clone, Copy)]
pub struct LoggedRounds<'a> {
    /// `[n_rounds]` what the shown action earned.
    pub reward: &'a [f64],
    /// `[n_rounds]` in `(0, 1]`: the logging policy's probability of the shown action.
    pub propensity: &'a [f64],
    /// `[n_rounds]` in `[0, 1]`: the target policy's probability of that same action.
    pub target_probability: &'a [f64],
    /// `[n_rounds]` the reward model's value of the shown action. Zeros are allowed: then the doubly
    /// robust estimators are IPS.
    pub model_reward: &'a [f64],
    /// `[n_rounds]` the reward model's value under the target policy, `Σ_a π_e(a|x) q̂(x, a)`.
    pub model_value: &'a [f64],
}

impl LoggedRounds<'_> {
    /// Importance weights `target_probability / propensity`, after checking every column.
    ///
    /// # Errors
    /// [`EvalError::Predictions`] names the first length or row that does not fit.
    pub fn weights(&self) -> Result<Vec<f64>, EvalError> {
        let n = self.reward.len();
        for (name, column) in [
            ("propensity", self.propensity),
            ("target_probability", self.target_probability),
            ("model_reward", self.model_reward),
            ("model_value", self.model_value),
        ] {
            if column.len() != n {
                return fail(
                    format!("length of `{name}`"),
                    format!("{} for {n} rewards", column.len()),
                    "one per round",
                );
            }
        }
        if n == 0 {
            return fail("number of rounds".into(), "0".into(), "there is nothing to estimate from");
        }
        for row in 0..n {
            let p = self.propensity[row];
            if !(p > 0.0 && p <= 1.0) {
                return fail(
                    format!("propensity of round {row}"),
                    p.to_string(),
                    "propensities are above 0 and at most 1",
                );
            }
            let e = self.target_probability[row];
            if !(0.0..=1.0).contains(&e) {
                return fail(
                    format!("target probability of round {row}"),
                    e.to_string(),
                    "probabilities lie between 0 and 1",
                );
            }
            for (name, column) in [
                ("reward", self.reward),
                ("model reward", self.model_reward),
                ("model value", self.model_value),
            ] {
                if !column[row].is_finite() {
                    return fail(
                        format!("{name} of round {row}"),
                        column[row].to_string(),
                        "it has to be finite",
                    );
                }
            }
        }
        Ok(self.target_probability.iter().zip(self.propensity).map(|(e, p)| e / p).collect())
    }
}

/// How importance weights are tamed; all but [`Weighting::Plain`] trade bias for variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// `w`.
    Plain,
    /// `min(w, limit)` (Swaminathan & Joachims 2015).
    Clip(f64),
    /// `w` up to the threshold, else 0: the reward model takes over (Wang, Agarwal & Dudík 2017).
    Switch(f64),
    /// `λ w / (w² + λ)`: optimistic shrinkage (Su, Dimakopoulou, Krishnamurthy & Dudík 2020).
    Shrink(f64),
    /// `w / (1 − g + g w)`: sub-Gaussian (Metelli, Russo & Restelli 2021).
    SubGaussian(f64),
}

impl Weighting {
    fn apply(self, w: f64) -> f64 {
        match self {
            Self::Plain => w,
            Self::Clip(limit) => w.min(limit),
            Self::Switch(threshold) => {
                if w <= threshold {
                    w
                } else {
                    0.0
                }
            }
            Self::Shrink(lambda) => lambda * w / (w * w + lambda),
            Self::SubGaussian(g) => w / (1.0 - g + g * w),
        }
    }
}

/// An estimate of the target policy's mean reward per round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error from the spread of the rounds; 0 for a single round.
    pub standard_error: f64,
}

/// Mean of per-round terms.
fn mean_of(terms: &[f64]) -> Result<Estimate, EvalError> {
    let s = Summary::of(terms)?;
    Ok(Estimate { value: s.mean, standard_error: s.standard_error() })
}

fn fail<T>(what: String, got: String, rule: &'static str) -> Result<T, EvalError> {
    Err(EvalError::Predictions { what, got, rule })
}

/// Weights that are all zero leave nothing to normalise by.
fn overlap(total: f64) -> Result<f64, EvalError> {
    if total > 0.0 {
        Ok(total)
    } else {
        Err(StatsError::Range {
            what: "sum of importance weights",
            value: total,
            rule: "the target policy has to give some shown action a chance",
        }
        .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: LoggedRounds<'static> = LoggedRounds {
        reward: &[1.0, 0.0, 1.0, 0.0],
        propensity: &[0.5, 0.5, 0.25, 0.25],
        target_probability: &[0.25, 0.5, 0.5, 0.0],
        model_reward: &[0.0; 4],
        model_value: &[0.0; 4],
    };

    #[test]
    fn small_logs_match_their_hand_computed_values() {
        // Weights .5, 1, 2, 0.
        assert_eq!(ips(&ROUNDS, Weighting::Plain).unwrap().value, 0.625);
        assert_eq!(ips(&ROUNDS, Weighting::Clip(1.0)).unwrap().value, 0.375);
        assert!((snips(&ROUNDS).unwrap().value - 2.5 / 3.5).abs() < 1e-15);
        assert_eq!(
            doubly_robust(&ROUNDS, Weighting::Plain).unwrap().value,
            0.625,
            "a model of zeros says nothing"
        );
        let knows = LoggedRounds { model_reward: ROUNDS.reward, model_value: &[0.5; 4], ..ROUNDS };
        assert_eq!(
            doubly_robust(&knows, Weighting::Plain).unwrap(),
            Estimate { value: 0.5, standard_error: 0.0 }
        );
        assert_eq!(direct(&knows).unwrap().value, 0.5);
        let d = diagnose(&ROUNDS).unwrap();
        assert_eq!((d.mean_weight, d.max_weight, d.n_rounds), (0.875, 2.0, 4));
        assert!((d.effective_sample_size - 3.5 * 3.5 / 5.25).abs() < 1e-12);
        assert!((d.max_weight_share - 2.0 / 3.5).abs() < 1e-12);
    }

    #[test]
    fn a_constant_reward_is_known_without_error_once_normalised() {
        let constant = LoggedRounds { reward: &[3.0; 4], ..ROUNDS };
        assert_eq!(snips(&constant).unwrap(), Estimate { value: 3.0, standard_error: 0.0 });
    }

    #[test]
    fn columns_outside_their_range_are_named() {
        for (bad, word) in [
            (LoggedRounds { propensity: &[0.5, 0.0, 0.25, 0.25], ..ROUNDS }, "propensity of round 1"),
            (LoggedRounds { propensity: &[0.5, 0.5, 1.25, 0.25], ..ROUNDS }, "propensity of round 2"),
            (LoggedRounds { target_probability: &[0.5, 0.5, 0.5, -0.1], ..ROUNDS }, "round 3"),
            (LoggedRounds { reward: &[f64::NAN, 0.0, 0.0, 0.0], ..ROUNDS }, "reward of round 0"),
            (LoggedRounds { model_value: &[0.0], ..ROUNDS }, "model_value"),
        ] {
            let message = ips(&bad, Weighting::Plain).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        let none = LoggedRounds { target_probability: &[0.0; 4], ..ROUNDS };
        assert!(snips(&none).is_err());
        assert_eq!(ips(&none, Weighting::Plain).unwrap().value, 0.0);
    }
}
