//! Design: how many units an experiment needs, and what power it has.

use crate::StatsError;
use crate::distribution::normal;
use crate::error::{finite, positive, share};

/// What the experiment is to show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A relative change of the mean of this size, either way.
    Change(f64),
    /// A relative increase of this size.
    Increase(f64),
    /// A relative decrease of this size.
    Decrease(f64),
    /// No deterioration beyond this relative margin.
    NonInferiority(f64),
}

/// Result of [`required_sample_size`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleSize {
    /// Normal quantile of the test.
    pub z_alpha: f64,
    /// Normal quantile of the power.
    pub z_power: f64,
    /// Units in the treatment.
    pub n_treatment: u64,
    /// Units in both arms.
    pub total: u64,
}

/// Units for a z-test of two arms with weights `[control, treatment]`.
///
/// `n_t = ⌈((z_α + z_β)/|effect|)² (v_c/κ + v_t)⌉` with `κ = w_c/w_t`, total `⌈n_t (1 + κ)⌉`. The treatment
/// variance is the control's, but for 0/1 superiority metrics, where it is `(p + d)(1 − p − d)`.
///
/// # Errors
/// [`StatsError::Range`] for an effect of 0, a variance or weights that are not above 0, shares outside
/// `(0, 1)`, or a 0/1 metric whose changed share leaves `[0, 1]`.
///
/// # Source
/// Chow, Shao & Wang, "Sample Size Calculations in Clinical Research", 2nd ed., 3.2 and 4.2.
pub fn required_sample_size(
    mean: f64,
    variance: f64,
    binary: bool,
    target: Target,
    weights: [f64; 2],
    alpha: f64,
    power: f64,
) -> Result<SampleSize, StatsError> {
    share("alpha", alpha)?;
    share("power", power)?;
    finite("mean", mean)?;
    positive("variance", variance)?;
    let kappa =
        positive("weight of the control", weights[0])? / positive("weight of the treatment", weights[1])?;
    let (relative, one_sided) = match target {
        Target::Change(d) => (d, false),
        Target::Increase(d) | Target::NonInferiority(d) => (d, true),
        Target::Decrease(d) => (-d, true),
    };
    let effect = relative * mean;
    positive("size of the effect", effect.abs())?;
    let treatment_variance = if binary && !matches!(target, Target::NonInferiority(_)) {
        let p = mean + effect;
        if !(0.0..=1.0).contains(&p) {
            return Err(StatsError::Range {
                what: "share under treatment",
                value: p,
                rule: "it lies between 0 and 1",
            });
        }
        p * (1.0 - p)
    } else {
        variance
    };
    let z_alpha = normal::upper_quantile(if one_sided { alpha } else { 0.5 * alpha });
    let z_power = normal::quantile(power);
    let n_treatment =
        (((z_alpha + z_power) / effect).powi(2) * (variance / kappa + treatment_variance)).ceil();
    Ok(SampleSize {
        z_alpha,
        z_power,
        n_treatment: n_treatment as u64,
        total: (n_treatment * (1.0 + kappa)).ceil() as u64,
    })
}

/// Power of a two-sided z-test: `Φ(d − z) + Φ(−d − z)`, `d = |mde|/√variance √(n₁n₂/(n₁ + n₂))`.
///
/// # Errors
/// [`StatsError::Range`] for `alpha` outside `(0, 1)` or sizes and variance that are not above 0.
pub fn achieved_power(mde: f64, variance: f64, alpha: f64, n1: f64, n2: f64) -> Result<f64, StatsError> {
    share("alpha", alpha)?;
    finite("mde", mde)?;
    positive("variance", variance)?;
    let harmonic = positive("units of an arm", n1)? * positive("units of an arm", n2)? / (n1 + n2);
    let d = mde.abs() / variance.sqrt() * harmonic.sqrt();
    let z = normal::upper_quantile(0.5 * alpha);
    Ok(normal::cdf(d - z) + normal::cdf(-d - z))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_reaches_the_power_it_was_made_for() {
        let s = required_sample_size(10.0, 25.0, false, Target::Change(0.02), [1.0, 1.0], 0.05, 0.8).unwrap();
        let n = s.n_treatment as f64;
        let at = |n| achieved_power(0.2, 25.0, 0.05, n, n).unwrap();
        assert!(at(n) >= 0.8 && at(n - 2.0) < 0.8, "{} {}", at(n), at(n - 2.0));
    }

    #[test]
    fn settings_without_an_answer_are_named() {
        let size =
            |variance, target| required_sample_size(0.9, variance, true, target, [1.0, 1.0], 0.05, 0.8);
        assert!(size(0.09, Target::Change(0.0)).is_err());
        assert!(size(0.0, Target::Change(0.1)).is_err());
        assert!(size(0.09, Target::Increase(0.5)).is_err());
        assert!(achieved_power(0.1, 1.0, 0.05, 0.0, 5.0).is_err());
    }
}
