//! Variance reduction with several pre-experiment covariates.

use crate::StatsError;
use crate::arm::{Alternative, Moments};
use crate::error::{finite, share};
use crate::linear::{Cholesky, dot};
use crate::two_sample_z::DifferenceTest;
use crate::welch_t::welch_t;

/// Sums of a metric and its covariates in one arm, as a stream of units.
#[derive(Debug, Clone, PartialEq)]
pub struct CovariateMatrix {
    n: u64,
    /// `[1 + n_covariates]`: metric first.
    sum: Vec<f64>,
    /// Row-major `[(1 + n_covariates)²]`.
    cross: Vec<f64>,
}

impl CovariateMatrix {
    /// No units yet.
    #[must_use]
    pub fn new(n_covariates: usize) -> Self {
        let p = n_covariates + 1;
        Self { n: 0, sum: vec![0.0; p], cross: vec![0.0; p * p] }
    }

    /// Adds a unit.
    ///
    /// # Errors
    /// [`StatsError::LengthMismatch`] for another number of covariates; [`StatsError::Range`] for a value that
    /// is not finite.
    pub fn add(&mut self, metric: f64, covariates: &[f64]) -> Result<(), StatsError> {
        let p = self.sum.len();
        if covariates.len() + 1 != p {
            return Err(StatsError::LengthMismatch {
                what: "covariates of a unit",
                expected: p - 1,
                got: covariates.len(),
            });
        }
        finite("metric of a unit", metric)?;
        for &x in covariates {
            finite("covariate of a unit", x)?;
        }
        let value = |i: usize| if i == 0 { metric } else { covariates[i - 1] };
        self.n += 1;
        for i in 0..p {
            self.sum[i] += value(i);
            for j in 0..p {
                self.cross[i * p + j] += value(i) * value(j);
            }
        }
        Ok(())
    }

    /// Adds the units of another arm or part.
    ///
    /// # Errors
    /// [`StatsError::LengthMismatch`] for another number of covariates.
    pub fn merge(&mut self, other: &Self) -> Result<(), StatsError> {
        if self.sum.len() != other.sum.len() {
            return Err(StatsError::LengthMismatch {
                what: "covariates of an arm",
                expected: self.sum.len() - 1,
                got: other.sum.len() - 1,
            });
        }
        self.n += other.n;
        self.sum.iter_mut().zip(&other.sum).for_each(|(a, b)| *a += b);
        self.cross.iter_mut().zip(&other.cross).for_each(|(a, b)| *a += b);
        Ok(())
    }

    /// Covariance with divisor `n − 1`.
    fn covariance(&self, i: usize, j: usize) -> f64 {
        let (n, p) = (self.n as f64, self.sum.len());
        (self.cross[i * p + j] - self.sum[i] * self.sum[j] / n) / (n - 1.0)
    }
}

/// Result of [`regression_adjustment`].
#[derive(Debug, Clone, PartialEq)]
pub struct Adjusted {
    /// `[n_covariates]` slopes of the metric, pooled over both arms.
    pub slopes: Vec<f64>,
    /// Test of the adjusted difference.
    pub test: DifferenceTest,
    /// Adjusted mean of the control, up to a constant that both arms share.
    pub control: Moments,
    /// Adjusted mean of the treatment, up to the same constant.
    pub treatment: Moments,
    /// `1 − (adjusted / unadjusted standard error)²`.
    pub variance_reduction: f64,
}

/// Welch's test of `y − θᵀ(x − x̄)` with `θ = Var(x)⁻¹ Cov(x, y)` pooled over both arms; with one covariate it
/// is [`crate::cuped`].
///
/// # Errors
/// [`StatsError::TooFew`] below two units per arm; [`StatsError::NoVariance`] for covariates that are constant
/// or combinations of each other; [`StatsError::LengthMismatch`].
///
/// # Source
/// Deng, Xu, Kohavi & Walker, WSDM 2013, appendix; Lin, "Agnostic notes on regression adjustments to
/// experimental data", Annals of Applied Statistics 2013.
pub fn regression_adjustment(
    control: &CovariateMatrix,
    treatment: &CovariateMatrix,
    alpha: f64,
) -> Result<Adjusted, StatsError> {
    share("alpha", alpha)?;
    for arm in [control, treatment] {
        if arm.n < 2 {
            return Err(StatsError::TooFew { what: "units of an arm", got: arm.n as usize, needed: 2 });
        }
    }
    let mut pooled = control.clone();
    pooled.merge(treatment)?;
    let p = control.sum.len() - 1;
    let spread: Vec<f64> =
        (0..p * p).map(|at| pooled.covariance(1 + at / p.max(1), 1 + at % p.max(1))).collect();
    let with_metric: Vec<f64> = (0..p).map(|j| pooled.covariance(0, 1 + j)).collect();
    let slopes = Cholesky::new(&spread, p, "covariates")?.solve(&with_metric);
    let grand: Vec<f64> = (0..p).map(|j| pooled.sum[1 + j] / pooled.n as f64).collect();
    let moments = |arm: &CovariateMatrix| {
        let n = arm.n as f64;
        let off: Vec<f64> = (0..p).map(|j| arm.sum[1 + j] / n - grand[j]).collect();
        let quadratic: f64 = (0..p)
            .map(|i| (0..p).map(|j| slopes[i] * slopes[j] * arm.covariance(1 + i, 1 + j)).sum::<f64>())
            .sum();
        let cross: f64 = (0..p).map(|j| slopes[j] * arm.covariance(0, 1 + j)).sum();
        Moments {
            n,
            mean: arm.sum[0] / n - dot(&slopes, &off),
            variance: (arm.covariance(0, 0) - 2.0 * cross + quadratic).max(0.0),
        }
    };
    let (c, t) = (moments(control), moments(treatment));
    let test = welch_t(&c, &t, 0.0, alpha, Alternative::TwoSided)?;
    let plain = control.covariance(0, 0) / c.n + treatment.covariance(0, 0) / t.n;
    let variance_reduction = if plain > 0.0 { 1.0 - test.standard_error.powi(2) / plain } else { 0.0 };
    Ok(Adjusted { slopes, test, control: c, treatment: t, variance_reduction })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cuped::{CovariateSums, cuped};

    proptest! {
        #[test]
        fn one_covariate_is_cuped(
            rows in proptest::collection::vec((-5.0..5.0_f64, -5.0..5.0_f64, any::<bool>()), 8..60),
        ) {
            let mut arms = [CovariateMatrix::new(1), CovariateMatrix::new(1)];
            let mut sums = [CovariateSums { n: 0, y: 0.0, y_sq: 0.0, x: 0.0, x_sq: 0.0, xy: 0.0 }; 2];
            for &(y, x, treated) in &rows {
                let arm = usize::from(treated);
                arms[arm].add(y, &[x]).unwrap();
                let s = &mut sums[arm];
                *s = CovariateSums {
                    n: s.n + 1, y: s.y + y, y_sq: s.y_sq + y * y, x: s.x + x, x_sq: s.x_sq + x * x, xy: s.xy + x * y,
                };
            }
            prop_assume!(sums[0].n > 2 && sums[1].n > 2);
            let a = regression_adjustment(&arms[0], &arms[1], 0.05).unwrap();
            let b = cuped(&sums[0], &sums[1], 0.05).unwrap();
            prop_assert!((a.slopes[0] - b.theta).abs() < 1e-9);
            prop_assert!((a.test.difference - b.difference).abs() < 1e-9);
            prop_assert!((a.test.standard_error - b.standard_error).abs() < 1e-9);
            prop_assert!((a.variance_reduction - b.variance_reduction).abs() < 1e-6);
        }
    }

    #[test]
    fn two_covariates_that_explain_the_metric_leave_no_variance() {
        let mut arms = [CovariateMatrix::new(2), CovariateMatrix::new(2)];
        for i in 0..40 {
            let (a, b) = (f64::from(i % 7), f64::from(i * i % 11));
            arms[i as usize % 2].add(2.0 * a - b, &[a, b]).unwrap();
        }
        let r = regression_adjustment(&arms[0], &arms[1], 0.05).unwrap();
        assert!((r.slopes[0] - 2.0).abs() < 1e-9 && (r.slopes[1] + 1.0).abs() < 1e-9);
        assert!(r.test.difference.abs() < 1e-9 && r.variance_reduction > 1.0 - 1e-9);
    }

    #[test]
    fn covariates_that_repeat_each_other_are_refused() {
        let mut arm = CovariateMatrix::new(2);
        for i in 0..10 {
            arm.add(f64::from(i), &[f64::from(i), 2.0 * f64::from(i)]).unwrap();
        }
        assert!(matches!(regression_adjustment(&arm, &arm, 0.05), Err(StatsError::NoVariance { .. })));
        assert!(arm.add(1.0, &[1.0]).is_err() && arm.add(f64::NAN, &[1.0, 1.0]).is_err());
    }
}
