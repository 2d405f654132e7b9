//! Two-sample z-test of a difference of means.

use crate::StatsError;
use crate::arm::{Alternative, Moments, p_and_interval};
use crate::distribution::normal;
use crate::error::{finite, share};

/// Result of a test of treatment minus control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DifferenceTest {
    /// Treatment mean minus control mean.
    pub difference: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// `(difference − null) / standard_error`; infinite if only the error is 0.
    pub statistic: f64,
    /// Degrees of freedom; infinite for a z-test.
    pub dof: f64,
    /// p-value for the alternative, from the tail it lies in.
    pub p_value: f64,
    /// Interval of the difference; one end is infinite for a one-sided alternative.
    pub interval: [f64; 2],
}

/// z-test: `z = (m_t − m_c − null) / √(v_c/n_c + v_t/n_t)`, standard normal under the null.
///
/// # Errors
/// [`StatsError::Range`] for `alpha` outside `(0, 1)` or a null that is not finite.
pub fn two_sample_z(
    control: &Moments,
    treatment: &Moments,
    null: f64,
    alpha: f64,
    alternative: Alternative,
) -> Result<DifferenceTest, StatsError> {
    share("alpha", alpha)?;
    finite("null", null)?;
    let difference = treatment.mean - control.mean;
    let standard_error = (control.variance_of_mean() + treatment.variance_of_mean()).sqrt();
    let (statistic, p_value, interval) = p_and_interval(
        difference,
        null,
        standard_error,
        alpha,
        alternative,
        normal::sf,
        normal::upper_quantile,
    );
    Ok(DifferenceTest { difference, standard_error, statistic, dof: f64::INFINITY, p_value, interval })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_tails_do_not_vanish_and_zero_variance_has_an_answer() {
        let arm = |mean: f64, variance: f64| Moments { n: 100.0, mean, variance };
        let far = two_sample_z(&arm(0.0, 1.0), &arm(1.95, 1.0), 0.0, 0.05, Alternative::TwoSided).unwrap();
        assert!(far.p_value > 1e-44 && far.p_value < 1e-42, "{}", far.p_value);
        let same = two_sample_z(&arm(1.0, 0.0), &arm(1.0, 0.0), 0.0, 0.05, Alternative::TwoSided).unwrap();
        assert_eq!((same.p_value, same.interval), (1.0, [0.0, 0.0]));
        let apart = two_sample_z(&arm(1.0, 0.0), &arm(2.0, 0.0), 0.0, 0.05, Alternative::TwoSided).unwrap();
        assert_eq!((apart.p_value, apart.statistic), (0.0, f64::INFINITY));
        assert!(two_sample_z(&arm(1.0, 1.0), &arm(2.0, 1.0), 0.0, 0.0, Alternative::Larger).is_err());
    }
}
