//! CUPED: variance reduction with a pre-experiment covariate.

use crate::StatsError;
use crate::arm::{Alternative, ArmSums, Moments};
use crate::error::share;
use crate::welch_t::welch_t;

/// Sums of a metric `y` and its pre-period covariate `x` in one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CovariateSums {
    /// Units.
    pub n: u64,
    /// `Σ y`.
    pub y: f64,
    /// `Σ y²`.
    pub y_sq: f64,
    /// `Σ x`.
    pub x: f64,
    /// `Σ x²`.
    pub x_sq: f64,
    /// `Σ x y`.
    pub xy: f64,
}

/// Result of [`cuped`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cuped {
    /// Slope of `y` on `x`, pooled over both arms.
    pub theta: f64,
    /// `ȳ − θ x̄` of the control; the constant `θ E[x]` cancels in the difference.
    pub control_mean: f64,
    /// `ȳ − θ x̄` of the treatment.
    pub treatment_mean: f64,
    /// Adjusted difference.
    pub difference: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Difference without adjustment.
    pub unadjusted_difference: f64,
    /// Its standard error.
    pub unadjusted_standard_error: f64,
    /// `1 − (adjusted / unadjusted standard error)²`.
    pub variance_reduction: f64,
    /// Welch–Satterthwaite degrees of freedom on the adjusted moments.
    pub dof: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// Interval of the adjusted difference.
    pub interval: [f64; 2],
    /// Adjusted difference over the absolute unadjusted control mean; absent where that is 0.
    pub lift: Option<f64>,
    /// Delta-method standard error of the lift.
    pub lift_standard_error: Option<f64>,
}

/// CUPED-adjusted Welch test. `θ = cov(x, y) / var(x)` from sums pooled over both arms, without
/// removing the arms' own means (as GrowthBook does; the bias is of the order of the effect squared).
///
/// # Errors
/// [`StatsError::TooFew`] below two units per arm, [`StatsError::NoVariance`] for a constant covariate,
/// [`StatsError::Range`] for sums that are not finite or `alpha` outside `(0, 1)`.
///
/// # Source
/// Deng, Xu, Kohavi & Walker, "Improving the sensitivity of online controlled experiments by utilizing
/// pre-experiment data", WSDM 2013.
pub fn cuped(control: &CovariateSums, treatment: &CovariateSums, alpha: f64) -> Result<Cuped, StatsError> {
    share("alpha", alpha)?;
    let (c, t) = (Spread::of(control)?, Spread::of(treatment)?);
    let pooled = Spread::of(&CovariateSums {
        n: control.n + treatment.n,
        y: control.y + treatment.y,
        y_sq: control.y_sq + treatment.y_sq,
        x: control.x + treatment.x,
        x_sq: control.x_sq + treatment.x_sq,
        xy: control.xy + treatment.xy,
    })?;
    if pooled.vx <= 0.0 {
        return Err(StatsError::NoVariance { what: "covariate" });
    }
    let theta = pooled.cov / pooled.vx;
    let adjusted = |s: &Spread| Moments {
        n: s.n,
        mean: s.my - theta * s.mx,
        variance: (s.vy + theta * theta * s.vx - 2.0 * theta * s.cov).max(0.0),
    };
    let (ac, at) = (adjusted(&c), adjusted(&t));
    let test = welch_t(&ac, &at, 0.0, alpha, Alternative::TwoSided)?;
    let unadjusted_standard_error = (c.vy / c.n + t.vy / t.n).sqrt();
    let lift = (c.my != 0.0).then(|| test.difference / c.my.abs());
    let lift_variance = at.variance / (t.n * c.my * c.my)
        + (c.vy * t.my * t.my / (c.my * c.my) - 2.0 * theta * c.cov * t.my / c.my + theta * theta * c.vx)
            / (c.n * c.my * c.my);
    Ok(Cuped {
        theta,
        control_mean: ac.mean,
        treatment_mean: at.mean,
        difference: test.difference,
        standard_error: test.standard_error,
        unadjusted_difference: t.my - c.my,
        unadjusted_standard_error,
        variance_reduction: 1.0 - (test.standard_error / unadjusted_standard_error).powi(2),
        dof: test.dof,
        p_value: test.p_value,
        interval: test.interval,
        lift,
        lift_standard_error: lift.map(|_| lift_variance.max(0.0).sqrt()),
    })
}

/// Means, variances and covariance with divisor `n − 1`.
struct Spread {
    n: f64,
    my: f64,
    mx: f64,
    vy: f64,
    vx: f64,
    cov: f64,
}

impl Spread {
    fn of(s: &CovariateSums) -> Result<Self, StatsError> {
        let y = ArmSums { n: s.n, sum: s.y, sum_sq: s.y_sq }.moments(false)?;
        let x = ArmSums { n: s.n, sum: s.x, sum_sq: s.x_sq }.moments(false)?;
        let cov = (s.xy - s.x * s.y / y.n) / (y.n - 1.0);
        Ok(Self { n: y.n, my: y.mean, mx: x.mean, vy: y.variance, vx: x.variance, cov })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(rows: &[(f64, f64)]) -> CovariateSums {
        let total = |f: fn(&(f64, f64)) -> f64| rows.iter().map(f).sum();
        CovariateSums {
            n: rows.len() as u64,
            y: total(|r| r.0),
            y_sq: total(|r| r.0 * r.0),
            x: total(|r| r.1),
            x_sq: total(|r| r.1 * r.1),
            xy: total(|r| r.0 * r.1),
        }
    }

    #[test]
    fn a_covariate_that_says_everything_removes_all_variance() {
        let control = sums(&[(1.0, 1.0), (2.0, 2.0), (4.0, 4.0), (7.0, 7.0)]);
        let r = cuped(&control, &control, 0.05).unwrap();
        assert!((r.theta - 1.0).abs() < 1e-12 && r.difference.abs() < 1e-12);
        assert!((r.variance_reduction - 1.0).abs() < 1e-6);
        let flat = sums(&[(1.0, 3.0), (2.0, 3.0), (5.0, 3.0)]);
        assert!(matches!(cuped(&flat, &flat, 0.05), Err(StatsError::NoVariance { .. })));
    }
}
