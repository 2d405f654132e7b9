//! Ratio metrics (skips per play) with the listener as the unit: delta method.

use crate::StatsError;
use crate::arm::{Alternative, Moments};
use crate::relative_lift::relative_lift;
use crate::welch_t::welch_t;

/// Per-listener sums of a numerator and a denominator in one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioSums {
    /// Units.
    pub n: u64,
    /// `Σ M`.
    pub numerator: f64,
    /// `Σ M²`.
    pub numerator_sq: f64,
    /// `Σ D`.
    pub denominator: f64,
    /// `Σ D²`.
    pub denominator_sq: f64,
    /// `Σ M D`.
    pub product: f64,
}

impl RatioSums {
    /// `ΣM / ΣD`, with the unit-level delta variance
    /// `V = v_M/D̄² + v_D M̄²/D̄⁴ − 2 cov M̄/D̄³` from unbiased moments.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] below two units; [`StatsError::Range`] for a denominator of 0.
    pub fn moments(&self) -> Result<Moments, StatsError> {
        if self.n < 2 {
            return Err(StatsError::TooFew { what: "units of an arm", got: self.n as usize, needed: 2 });
        }
        let n = self.n as f64;
        let (m, d) = (self.numerator / n, self.denominator / n);
        if d == 0.0 || !d.is_finite() || !m.is_finite() {
            return Err(StatsError::Range {
                what: "denominator of a ratio metric",
                value: self.denominator,
                rule: "a ratio needs a denominator that is not 0",
            });
        }
        let central = |cross: f64, a: f64, b: f64| (cross - a * b / n) / (n - 1.0);
        let vm = central(self.numerator_sq, self.numerator, self.numerator);
        let vd = central(self.denominator_sq, self.denominator, self.denominator);
        let cov = central(self.product, self.numerator, self.denominator);
        let variance = vm / (d * d) + vd * m * m / d.powi(4) - 2.0 * cov * m / d.powi(3);
        Ok(Moments { n, mean: m / d, variance: variance.max(0.0) })
    }
}

/// Effect on a ratio metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioEffect {
    /// Control ratio and its unit-level variance.
    pub control: Moments,
    /// Treatment ratio and its unit-level variance.
    pub treatment: Moments,
    /// Difference of the ratios, or relative lift.
    pub effect: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Welch–Satterthwaite degrees of freedom.
    pub dof: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// Interval of the effect.
    pub interval: [f64; 2],
}

/// Absolute or relative effect on a ratio metric.
///
/// # Errors
/// As [`RatioSums::moments`], [`welch_t`] and [`relative_lift`].
///
/// # Source
/// Deng, Knoblich & Lu, "Applying the delta method in metric analytics", KDD 2018.
pub fn ratio_metric(
    control: &RatioSums,
    treatment: &RatioSums,
    alpha: f64,
    relative: bool,
) -> Result<RatioEffect, StatsError> {
    let (c, t) = (control.moments()?, treatment.moments()?);
    effect_of(&c, &t, alpha, relative)
}

/// Absolute or relative effect from moments.
pub(crate) fn effect_of(
    control: &Moments,
    treatment: &Moments,
    alpha: f64,
    relative: bool,
) -> Result<RatioEffect, StatsError> {
    let (control, treatment) = (*control, *treatment);
    Ok(if relative {
        let r = relative_lift(&control, &treatment, alpha)?;
        RatioEffect {
            control,
            treatment,
            effect: r.lift,
            standard_error: r.standard_error,
            dof: r.dof,
            p_value: r.p_value,
            interval: r.interval,
        }
    } else {
        let w = welch_t(&control, &treatment, 0.0, alpha, Alternative::TwoSided)?;
        RatioEffect {
            control,
            treatment,
            effect: w.difference,
            standard_error: w.standard_error,
            dof: w.dof,
            p_value: w.p_value,
            interval: w.interval,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_denominator_is_a_mean() {
        // M = 1, 2, 3, 4 and D = 2 each: the ratio is a mean of halves.
        let sums = RatioSums {
            n: 4,
            numerator: 10.0,
            numerator_sq: 30.0,
            denominator: 8.0,
            denominator_sq: 16.0,
            product: 20.0,
        };
        let m = sums.moments().unwrap();
        assert!((m.mean - 1.25).abs() < 1e-15 && (m.variance - 5.0 / 12.0).abs() < 1e-12);
        assert!(RatioSums { denominator: 0.0, ..sums }.moments().is_err());
        assert!(RatioSums { n: 1, ..sums }.moments().is_err());
    }
}
