//! Welch's t-test of a difference of means with unequal variances.

use crate::StatsError;
use crate::arm::{Alternative, Moments, p_and_interval, welch_dof};
use crate::distribution::student_t;
use crate::error::{finite, share};
use crate::two_sample_z::DifferenceTest;

/// t-test with Welch–Satterthwaite degrees of freedom.
///
/// # Errors
/// [`StatsError::Range`] for `alpha` outside `(0, 1)` or a null that is not finite,
/// [`StatsError::TooFew`] for an arm below two units.
///
/// # Source
/// Welch, "The generalization of Student's problem", Biometrika 1947.
pub fn welch_t(
    control: &Moments,
    treatment: &Moments,
    null: f64,
    alpha: f64,
    alternative: Alternative,
) -> Result<DifferenceTest, StatsError> {
    share("alpha", alpha)?;
    finite("null", null)?;
    let n = control.n.min(treatment.n);
    if n.is_nan() || n < 2.0 {
        return Err(StatsError::TooFew { what: "units of an arm", got: n as usize, needed: 2 });
    }
    let difference = treatment.mean - control.mean;
    let standard_error = (control.variance_of_mean() + treatment.variance_of_mean()).sqrt();
    // Without any variance the degrees of freedom are 0 / 0; any will do, for the statistic is 0 or ∞.
    let dof =
        if standard_error > 0.0 { welch_dof(control, treatment) } else { control.n + treatment.n - 2.0 };
    let (statistic, p_value, interval) = p_and_interval(
        difference,
        null,
        standard_error,
        alpha,
        alternative,
        |t| student_t::sf(t, dof),
        |p| student_t::upper_quantile(p, dof),
    );
    Ok(DifferenceTest { difference, standard_error, statistic, dof, p_value, interval })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_without_spread_or_units_have_a_stated_answer() {
        let arm = |n: f64, mean: f64, variance: f64| Moments { n, mean, variance };
        let apart =
            welch_t(&arm(9.0, 1.0, 0.0), &arm(9.0, 2.0, 0.0), 0.0, 0.05, Alternative::Larger).unwrap();
        assert_eq!(apart.p_value, 0.0);
        assert!(welch_t(&arm(1.0, 1.0, 1.0), &arm(9.0, 2.0, 1.0), 0.0, 0.05, Alternative::TwoSided).is_err());
    }
}
