//! Standard error of any statistic of pooled data, from leaving out groups of units.

use crate::StatsError;
use crate::distribution::student_t;
use crate::error::{finite, share};

/// Result of [`grouped_jackknife`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jackknife {
    /// The statistic of everything.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Groups minus one.
    pub dof: f64,
    /// Student's t interval.
    pub interval: [f64; 2],
}

/// Interval from `G` statistics, each of everything but one random group of units.
///
/// `se² = (G − 1)/G Σ (θ_(g) − θ̄)²` with Student's t on `G − 1` degrees of freedom. Units have to be in groups at
/// random and whole: all plays of a listener are in one group, so that their correlation counts.
///
/// # Errors
/// [`StatsError::TooFew`] below two groups; [`StatsError::Range`] for a statistic that is not finite or `alpha`
/// outside `(0, 1)`.
///
/// # Source
/// Shao & Tu, "The Jackknife and Bootstrap", 1995, 2.3 and 5.1.
pub fn grouped_jackknife(estimate: f64, without_group: &[f64], alpha: f64) -> Result<Jackknife, StatsError> {
    share("alpha", alpha)?;
    finite("statistic", estimate)?;
    let groups = without_group.len();
    if groups < 2 {
        return Err(StatsError::TooFew { what: "groups", got: groups, needed: 2 });
    }
    for &v in without_group {
        finite("statistic without a group", v)?;
    }
    let g = groups as f64;
    let mean = without_group.iter().sum::<f64>() / g;
    let squares: f64 = without_group.iter().map(|v| (v - mean).powi(2)).sum();
    let standard_error = ((g - 1.0) / g * squares).sqrt();
    let half = student_t::upper_quantile(0.5 * alpha, g - 1.0) * standard_error;
    Ok(Jackknife { estimate, standard_error, dof: g - 1.0, interval: [estimate - half, estimate + half] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Summary;

    #[test]
    fn of_a_mean_it_is_the_standard_error_of_the_mean() {
        let x = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        let total: f64 = x.iter().sum();
        let without: Vec<f64> = x.iter().map(|v| (total - v) / 7.0).collect();
        let j = grouped_jackknife(total / 8.0, &without, 0.05).unwrap();
        assert!((j.standard_error - Summary::of(&x).unwrap().standard_error()).abs() < 1e-12);
        assert!(grouped_jackknife(1.0, &[1.0], 0.05).is_err());
        assert!(grouped_jackknife(1.0, &[1.0, f64::NAN], 0.05).is_err());
    }
}
