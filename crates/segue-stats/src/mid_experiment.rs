//! Power while an experiment runs: with the variance seen so far, and given the result so far.

use crate::StatsError;
use crate::distribution::normal;
use crate::error::{finite, positive, share};

/// Result of [`mid_experiment_power`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MidExperimentPower {
    /// Power of the test at this moment for the effect planned for, with the error seen.
    pub now: f64,
    /// Power at the planned end for it, with the error seen scaled to the planned information.
    pub at_the_end: f64,
    /// Smallest effect with the planned power at the end.
    pub detectable_at_the_end: f64,
    /// Probability of a rejection at the end given what was seen, if the effect is the one planned for.
    pub conditional: f64,
    /// Factor on the planned sample at which the planned power is met; below 1 if less is enough.
    pub sample_factor: f64,
}

/// Power of a two-sided z-test at level `alpha` on its way.
///
/// - `estimate`, `standard_error`: of the effect so far
/// - `information`: share of the planned information seen, in `(0, 1]`
/// - `effect`: the one planned for, in the metric's unit
///
/// With `d = effect / (se √t)` the drift and `b = z √t` the score so far, conditional power is
/// `Φ((b + d(1 − t) − z_α)/√(1 − t)) + Φ((−b − d(1 − t) − z_α)/√(1 − t))`.
///
/// # Errors
/// [`StatsError::Range`] for an effect of 0, information outside `(0, 1]`, a standard error that is not above
/// 0, or shares outside `(0, 1)`.
///
/// # Source
/// Lan, Simon & Halperin, "Stochastically curtailed tests in long-term clinical trials", 1982.
pub fn mid_experiment_power(
    estimate: f64,
    standard_error: f64,
    information: f64,
    effect: f64,
    alpha: f64,
    power: f64,
) -> Result<MidExperimentPower, StatsError> {
    share("alpha", alpha)?;
    share("power", power)?;
    finite("estimate", estimate)?;
    positive("standard error", standard_error)?;
    positive("size of the effect", effect.abs())?;
    if !(information > 0.0 && information <= 1.0) {
        return Err(StatsError::Range {
            what: "information",
            value: information,
            rule: "it is the share of the planned information, above 0 and up to 1",
        });
    }
    let z = normal::upper_quantile(0.5 * alpha);
    let two_sided = |drift: f64| normal::cdf(drift - z) + normal::cdf(-drift - z);
    let end_error = standard_error * information.sqrt();
    let drift = effect / end_error;
    let score = estimate / standard_error * information.sqrt();
    let rest = 1.0 - information;
    let conditional = if rest > 0.0 {
        let tail = |sign: f64| normal::cdf((sign * (score + drift * rest) - z) / rest.sqrt());
        tail(1.0) + tail(-1.0)
    } else {
        f64::from(u8::from(score.abs() >= z))
    };
    let needed = z + normal::quantile(power);
    Ok(MidExperimentPower {
        now: two_sided(effect / standard_error),
        at_the_end: two_sided(drift),
        detectable_at_the_end: needed * end_error,
        conditional,
        sample_factor: (needed / drift).powi(2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_start_conditional_power_is_power_and_at_the_end_it_is_the_answer() {
        let early = mid_experiment_power(0.0, 1e3, 1e-6, 2.801_585_218, 0.05, 0.8).unwrap();
        assert!((early.at_the_end - 0.8).abs() < 1e-4 && (early.conditional - 0.8).abs() < 1e-3);
        assert!((early.sample_factor - 1.0).abs() < 1e-6);
        let end = mid_experiment_power(2.0, 1.0, 1.0, 1.0, 0.05, 0.8).unwrap();
        assert_eq!(end.conditional, 1.0);
        assert_eq!(end.now, end.at_the_end);
        assert!(mid_experiment_power(0.0, 1.0, 1.5, 1.0, 0.05, 0.8).is_err());
        assert!(mid_experiment_power(0.0, 1.0, 0.5, 0.0, 0.05, 0.8).is_err());
    }
}
