//! Bayesian reading of an effect: normal likelihood, normal prior.

use crate::StatsError;
use crate::arm::Moments;
use crate::distribution::normal;
use crate::error::{finite, positive, share};
use crate::relative_lift::relative_lift;

/// Normal prior on the relative effect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalPrior {
    /// Mean.
    pub mean: f64,
    /// Variance, above 0.
    pub variance: f64,
}

/// Result of [`bayesian_normal_effect`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// Posterior mean of the effect.
    pub mean: f64,
    /// Posterior standard deviation.
    pub sd: f64,
    /// Probability that the effect is on the good side of 0.
    pub chance_to_win: f64,
    /// Central credible interval.
    pub interval: [f64; 2],
    /// Expected loss of keeping the control, `E[max(effect, 0)]` (of the good side).
    pub risk_control: f64,
    /// Expected loss of shipping the treatment, `E[max(−effect, 0)]`.
    pub risk_treatment: f64,
}

/// Posterior of a relative or absolute effect; for an absolute one the prior is scaled by the absolute
/// control mean. With `inverse`, less is better.
///
/// # Errors
/// [`StatsError::Range`] for a prior variance that is not above 0 or `alpha` outside `(0, 1)`;
/// [`StatsError::NoVariance`]; the errors of [`relative_lift`].
///
/// # Source
/// Gelman et al., "Bayesian Data Analysis", 3rd ed., 2.5; risks as in Stucchio, "Bayesian A/B testing at
/// VWO", 2015.
pub fn bayesian_normal_effect(
    control: &Moments,
    treatment: &Moments,
    relative: bool,
    prior: NormalPrior,
    alpha: f64,
    inverse: bool,
) -> Result<Posterior, StatsError> {
    share("alpha", alpha)?;
    finite("prior mean", prior.mean)?;
    positive("prior variance", prior.variance)?;
    let (effect, variance, scale) = if relative {
        let r = relative_lift(control, treatment, alpha)?;
        (r.lift, r.standard_error.powi(2), 1.0)
    } else {
        let variance = control.variance_of_mean() + treatment.variance_of_mean();
        (treatment.mean - control.mean, variance, control.mean.abs())
    };
    if variance.is_nan() || variance <= 0.0 {
        return Err(StatsError::NoVariance { what: "an effect" });
    }
    let prior_precision = 1.0 / positive("scaled prior variance", prior.variance * scale * scale)?;
    let precision = 1.0 / variance + prior_precision;
    let mean = (effect / variance + prior.mean * scale * prior_precision) / precision;
    let sd = precision.sqrt().recip();
    let gain = sd * normal::pdf(mean / sd) + mean * normal::cdf(mean / sd);
    let loss = sd * normal::pdf(mean / sd) - mean * normal::sf(mean / sd);
    let half = normal::upper_quantile(0.5 * alpha) * sd;
    let (chance_to_win, risk_control, risk_treatment) =
        if inverse { (normal::sf(mean / sd), loss, gain) } else { (normal::cdf(mean / sd), gain, loss) };
    Ok(Posterior {
        mean,
        sd,
        chance_to_win,
        interval: [mean - half, mean + half],
        risk_control,
        risk_treatment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_prior_gives_the_estimate_back_and_inverse_swaps() {
        let arm = |mean: f64| Moments { n: 1_000.0, mean, variance: 4.0 };
        let flat = NormalPrior { mean: 0.0, variance: 1e12 };
        let up = bayesian_normal_effect(&arm(10.0), &arm(10.1), false, flat, 0.05, false).unwrap();
        assert!((up.mean - 0.1).abs() < 1e-9);
        assert!((up.risk_control - up.risk_treatment - up.mean).abs() < 1e-12, "E[x+] − E[x−] = E[x]");
        let down = bayesian_normal_effect(&arm(10.0), &arm(10.1), false, flat, 0.05, true).unwrap();
        assert!((up.chance_to_win + down.chance_to_win - 1.0).abs() < 1e-12);
        assert_eq!(up.risk_control, down.risk_treatment);
        let bad = NormalPrior { mean: 0.0, variance: 0.0 };
        assert!(bayesian_normal_effect(&arm(10.0), &arm(10.1), true, bad, 0.05, false).is_err());
    }
}
