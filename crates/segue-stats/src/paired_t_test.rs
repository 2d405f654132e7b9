//! Paired t-test: whether the mean of differences is zero.

use crate::StatsError;
use crate::distribution::student_t;
use crate::error::share;
use crate::summary::Summary;

/// Result of [`paired_t_test`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedTTest {
    /// Mean difference.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// `mean / standard_error`; 0 if both are 0, infinite if only the error is.
    pub statistic: f64,
    /// Degrees of freedom, `n − 1`.
    pub dof: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// Confidence interval of the mean difference.
    pub interval: [f64; 2],
}

/// Student's t-test on the differences of pairs, two-sided.
///
/// Where all differences are equal the standard error is 0: p is 1 if they are all zero, else 0.
///
/// # Errors
/// [`StatsError::TooFew`] below two differences, [`StatsError::Range`] for a difference that is not
/// finite or a confidence outside `(0, 1)`.
pub fn paired_t_test(differences: &[f64], confidence: f64) -> Result<PairedTTest, StatsError> {
    share("confidence", confidence)?;
    if differences.len() < 2 {
        return Err(StatsError::TooFew { what: "paired differences", got: differences.len(), needed: 2 });
    }
    let summary = Summary::of(differences)?;
    let standard_error = summary.standard_error();
    let dof = (summary.n - 1) as f64;
    let statistic = if standard_error > 0.0 {
        summary.mean / standard_error
    } else if summary.mean == 0.0 {
        0.0
    } else {
        f64::INFINITY.copysign(summary.mean)
    };
    let half = student_t::upper_quantile(0.5 * (1.0 - confidence), dof) * standard_error;
    Ok(PairedTTest {
        mean: summary.mean,
        standard_error,
        statistic,
        dof,
        p_value: student_t::two_sided_p(statistic, dof),
        interval: [summary.mean - half, summary.mean + half],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Student's sleep data, the example of R's `t.test(extra ~ group, paired = TRUE)`.
    #[test]
    fn the_sleep_data_give_the_published_values() {
        let differences = [-1.2, -2.4, -1.3, -1.3, 0.0, -1.0, -1.8, -0.8, -4.6, -1.4];
        let t = paired_t_test(&differences, 0.95).unwrap();
        assert!((t.statistic + 4.062_127_7).abs() < 1e-6);
        assert!((t.p_value - 0.002_832_89).abs() < 1e-8);
        assert!((t.interval[0] + 2.459_885_8).abs() < 1e-6 && (t.interval[1] + 0.700_114_2).abs() < 1e-6);
        assert!((t.mean + 1.58).abs() < 1e-12);
    }

    #[test]
    fn equal_differences_have_a_stated_answer() {
        assert_eq!(paired_t_test(&[0.0; 5], 0.95).unwrap().p_value, 1.0);
        assert_eq!(paired_t_test(&[0.5; 4], 0.95).unwrap().p_value, 0.0);
        assert!(paired_t_test(&[1.0], 0.95).is_err());
        assert!(paired_t_test(&[1.0, f64::INFINITY], 0.95).is_err());
        assert!(paired_t_test(&[1.0, 2.0], 1.0).is_err());
    }
}
