//! One arm of an experiment as sums: what a metric query returns, and all that a test needs.

use crate::StatsError;
use crate::error::finite;

/// Number, sum and sum of squares of one metric in one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArmSums {
    /// Units (listeners).
    pub n: u64,
    /// `Σ x`.
    pub sum: f64,
    /// `Σ x²`.
    pub sum_sq: f64,
}

impl ArmSums {
    /// Whether the sums are those of 0/1 data.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.sum_sq == self.sum && self.sum >= 0.0 && self.sum <= self.n as f64
    }

    /// Mean and variance. The variance of 0/1 data is `p (1 − p)`, of other data
    /// `(Σx² − (Σx)²/n) / (n − 1)`.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] below two units (one for 0/1 data); [`StatsError::Range`] for sums
    /// that are not finite, or whose variance would be negative beyond rounding.
    pub fn moments(&self, binary: bool) -> Result<Moments, StatsError> {
        finite("sum of a metric", self.sum)?;
        finite("sum of squares of a metric", self.sum_sq)?;
        let needed = if binary { 1 } else { 2 };
        if self.n < needed {
            return Err(StatsError::TooFew {
                what: "units of an arm",
                got: self.n as usize,
                needed: needed as usize,
            });
        }
        let n = self.n as f64;
        let mean = self.sum / n;
        let variance =
            if binary { mean * (1.0 - mean) } else { (self.sum_sq - self.sum * self.sum / n) / (n - 1.0) };
        if variance < -1e-9 * mean * mean {
            return Err(StatsError::Range {
                what: "variance of a metric",
                value: variance,
                rule: "the sum of squares is at least the squared sum divided by the units",
            });
        }
        Ok(Moments { n, mean, variance: variance.max(0.0) })
    }

    /// Moments of two arms by one rule: 0/1 if both are.
    ///
    /// # Errors
    /// As [`ArmSums::moments`].
    pub fn pair(control: &Self, treatment: &Self) -> Result<(Moments, Moments), StatsError> {
        let binary = control.is_binary() && treatment.is_binary();
        Ok((control.moments(binary)?, treatment.moments(binary)?))
    }
}

/// Mean of a metric in one arm, with the variance of a single unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Units.
    pub n: f64,
    /// Mean over units.
    pub mean: f64,
    /// Variance between units.
    pub variance: f64,
}

impl Moments {
    /// Variance of the mean.
    #[must_use]
    pub fn variance_of_mean(&self) -> f64 {
        self.variance / self.n
    }
}

/// Which deviations from the null count as evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alternative {
    /// Either way.
    TwoSided,
    /// Treatment above the null.
    Larger,
    /// Treatment below the null.
    Smaller,
}

/// Welch–Satterthwaite degrees of freedom of a difference of two means.
///
/// Source: Welch, "The generalization of Student's problem", Biometrika 1947.
pub(crate) fn welch_dof(control: &Moments, treatment: &Moments) -> f64 {
    let (vc, vt) = (control.variance_of_mean(), treatment.variance_of_mean());
    (vc + vt).powi(2) / (vc * vc / (control.n - 1.0) + vt * vt / (treatment.n - 1.0))
}

/// p-value and interval of a statistic `estimate / se` whose upper tail is `sf` with quantile `upper`.
pub(crate) fn p_and_interval(
    estimate: f64,
    null: f64,
    se: f64,
    alpha: f64,
    alternative: Alternative,
    sf: impl Fn(f64) -> f64,
    upper: impl Fn(f64) -> f64,
) -> (f64, f64, [f64; 2]) {
    let off = estimate - null;
    let statistic = if se > 0.0 {
        off / se
    } else if off == 0.0 {
        0.0
    } else {
        f64::INFINITY.copysign(off)
    };
    let reach = |tail: f64| if se > 0.0 { upper(tail) * se } else { 0.0 };
    let (p, interval) = match alternative {
        Alternative::TwoSided => {
            let half = reach(0.5 * alpha);
            (2.0 * sf(statistic.abs()), [estimate - half, estimate + half])
        }
        Alternative::Larger => (sf(statistic), [estimate - reach(alpha), f64::INFINITY]),
        Alternative::Smaller => (sf(-statistic), [f64::NEG_INFINITY, estimate + reach(alpha)]),
    };
    (statistic, p.min(1.0), interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_one_data_use_the_binomial_variance() {
        let binary = ArmSums { n: 100, sum: 40.0, sum_sq: 40.0 };
        assert!((binary.moments(binary.is_binary()).unwrap().variance - 0.24).abs() < 1e-15);
        let minutes = ArmSums { n: 3, sum: 7.0, sum_sq: 21.0 };
        assert!((minutes.moments(false).unwrap().variance - 7.0 / 3.0).abs() < 1e-14);
    }

    #[test]
    fn impossible_sums_are_refused() {
        assert!(ArmSums { n: 1, sum: 2.0, sum_sq: 4.0 }.moments(false).is_err());
        assert!(ArmSums { n: 10, sum: 100.0, sum_sq: 1.0 }.moments(false).is_err());
        assert!(ArmSums { n: 10, sum: f64::NAN, sum_sq: 1.0 }.moments(false).is_err());
        // No spread but for rounding is a variance of 0.
        assert_eq!(
            ArmSums { n: 3, sum: 0.3, sum_sq: 0.03 }.moments(false).unwrap().variance.max(1e-15),
            1e-15
        );
    }
}
