//! Post-stratification: the effect within strata, put together by the strata's share of all units.

use crate::StatsError;
use crate::arm::Alternative;
use crate::arm::{Moments, p_and_interval};
use crate::distribution::normal;
use crate::error::share;
use crate::two_sample_z::DifferenceTest;

/// Effect over strata.
///
/// - `strata`: control and treatment of each
///
/// `Σ_s w_s (m_ts − m_cs)` with `w_s` the stratum's share of all units and
/// `Var = Σ_s w_s² (v_cs/n_cs + v_ts/n_ts)`; a z-test.
///
/// # Errors
/// [`StatsError::TooFew`] without strata or with an arm below two units in one: merge small strata first;
/// [`StatsError::Range`] for `alpha` outside `(0, 1)`.
///
/// # Source
/// Miratrix, Sekhon & Yu, "Adjusting treatment effect estimates by post-stratification in randomized
/// experiments", JRSS B 2013.
pub fn post_stratification(strata: &[(Moments, Moments)], alpha: f64) -> Result<DifferenceTest, StatsError> {
    share("alpha", alpha)?;
    if strata.is_empty() {
        return Err(StatsError::TooFew { what: "strata", got: 0, needed: 1 });
    }
    let total: f64 = strata.iter().map(|(c, t)| c.n + t.n).sum();
    let (mut difference, mut variance) = (0.0, 0.0);
    for (c, t) in strata {
        let fewest = c.n.min(t.n);
        if fewest.is_nan() || fewest < 2.0 {
            return Err(StatsError::TooFew {
                what: "units of an arm in a stratum",
                got: fewest as usize,
                needed: 2,
            });
        }
        let weight = (c.n + t.n) / total;
        difference += weight * (t.mean - c.mean);
        variance += weight * weight * (c.variance_of_mean() + t.variance_of_mean());
    }
    let standard_error = variance.sqrt();
    let (statistic, p_value, interval) = p_and_interval(
        difference,
        0.0,
        standard_error,
        alpha,
        Alternative::TwoSided,
        normal::sf,
        normal::upper_quantile,
    );
    Ok(DifferenceTest { difference, standard_error, statistic, dof: f64::INFINITY, p_value, interval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::two_sample_z::two_sample_z;

    #[test]
    fn one_stratum_is_a_z_test_and_an_uneven_mix_is_put_right() {
        let arm = |n: f64, mean: f64| Moments { n, mean, variance: 4.0 };
        let (c, t) = (arm(100.0, 3.0), arm(80.0, 3.5));
        let one = post_stratification(&[(c, t)], 0.05).unwrap();
        assert_eq!(one, two_sample_z(&c, &t, 0.0, 0.05, Alternative::TwoSided).unwrap());
        // No effect in either stratum, but the treatment has more heavy listeners.
        let strata = [(arm(50.0, 1.0), arm(50.0, 1.0)), (arm(50.0, 9.0), arm(70.0, 9.0))];
        assert_eq!(post_stratification(&strata, 0.05).unwrap().difference, 0.0);
        assert!(post_stratification(&[], 0.05).is_err());
        assert!(post_stratification(&[(arm(1.0, 1.0), arm(5.0, 1.0))], 0.05).is_err());
    }
}
