//! Pearson's chi-squared test of two proportions.

use crate::StatsError;
use crate::distribution::{chi2, normal};
use crate::error::share;

/// Result of [`two_proportion_chi2`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoProportions {
    /// Treatment share minus control share.
    pub difference: f64,
    /// Pearson's statistic on one degree of freedom, without continuity correction.
    pub chi2: f64,
    /// Upper tail of the statistic.
    pub p_value: f64,
    /// Wald interval of the difference, unpooled variance.
    pub interval: [f64; 2],
}

/// Successes of `n` in two arms: pooled proportion for the test, unpooled for the interval.
///
/// # Errors
/// [`StatsError::TooFew`] for an empty arm, [`StatsError::Range`] for more successes than units or
/// `alpha` outside `(0, 1)`.
///
/// # Source
/// Agresti, "Categorical Data Analysis", 3rd ed., 3.1 and 3.2.
pub fn two_proportion_chi2(
    control: (u64, u64),
    treatment: (u64, u64),
    alpha: f64,
) -> Result<TwoProportions, StatsError> {
    share("alpha", alpha)?;
    for (successes, n) in [control, treatment] {
        if n == 0 {
            return Err(StatsError::TooFew { what: "units of an arm", got: 0, needed: 1 });
        }
        if successes > n {
            return Err(StatsError::Range {
                what: "successes",
                value: successes as f64,
                rule: "there are no more of them than units",
            });
        }
    }
    let (nc, nt) = (control.1 as f64, treatment.1 as f64);
    let (pc, pt) = (control.0 as f64 / nc, treatment.0 as f64 / nt);
    let pooled = (control.0 + treatment.0) as f64 / (nc + nt);
    let difference = pt - pc;
    let under_null = pooled * (1.0 - pooled) * (1.0 / nc + 1.0 / nt);
    let statistic = if difference == 0.0 { 0.0 } else { difference * difference / under_null };
    let half = normal::upper_quantile(0.5 * alpha) * (pc * (1.0 - pc) / nc + pt * (1.0 - pt) / nt).sqrt();
    Ok(TwoProportions {
        difference,
        chi2: statistic,
        p_value: chi2::sf(statistic, 1.0),
        interval: [difference - half, difference + half],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_by_hand_and_the_empty_corners() {
        // 10 of 20 against 15 of 20: (.25)² / (.625 · .375 · .1) = 2.666…
        let t = two_proportion_chi2((10, 20), (15, 20), 0.05).unwrap();
        assert!((t.chi2 - 8.0 / 3.0).abs() < 1e-12);
        assert_eq!(two_proportion_chi2((0, 5), (0, 7), 0.05).unwrap().p_value, 1.0);
        assert!(two_proportion_chi2((1, 0), (0, 7), 0.05).is_err());
        assert!(two_proportion_chi2((8, 5), (0, 7), 0.05).is_err());
    }
}
