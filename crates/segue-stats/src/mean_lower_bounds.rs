//! Lower confidence bounds of the mean of non-negative terms, such as weighted rewards.

use crate::StatsError;
use crate::distribution::student_t;
use crate::error::{positive, share};
use crate::summary::Summary;

/// Lower bounds that hold with probability `1 − delta`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanLowerBounds {
    /// Hoeffding: `mean − x_max √(ln(1/δ) / 2n)`. Any distribution up to `x_max`.
    pub hoeffding: f64,
    /// Empirical Bernstein: `mean − 7 x_max ln(2/δ) / (3(n−1)) − √(2 ln(2/δ) v / (n−1))`, `v` the
    /// variance with divisor `n`. As Hoeffding, tighter where the spread is small.
    pub bernstein: f64,
    /// Student: `mean − t_(n−1, 1−δ) sd / √n`. Approximate; needs no maximum.
    pub student: f64,
}

/// Bounds of the mean of `terms`. Without `maximum` the largest term stands for it, which makes the first
/// two bounds approximate as well.
///
/// # Errors
/// [`StatsError::TooFew`] below two terms; [`StatsError::Range`] for a negative term, a maximum below one,
/// or `delta` outside `(0, 1)`.
///
/// # Source
/// Hoeffding, JASA 1963; Maurer & Pontil, "Empirical Bernstein bounds", COLT 2009, as used in Thomas,
/// Theocharous & Ghavamzadeh, "High confidence off-policy evaluation", AAAI 2015.
pub fn mean_lower_bounds(
    terms: &[f64],
    maximum: Option<f64>,
    delta: f64,
) -> Result<MeanLowerBounds, StatsError> {
    share("delta", delta)?;
    if terms.len() < 2 {
        return Err(StatsError::TooFew { what: "terms", got: terms.len(), needed: 2 });
    }
    let s = Summary::of(terms)?;
    let largest = terms.iter().copied().fold(0.0, f64::max);
    if let Some(&negative) = terms.iter().find(|&&x| x < 0.0) {
        return Err(StatsError::Range { what: "a term", value: negative, rule: "terms are not negative" });
    }
    let x_max = match maximum {
        Some(m) if positive("maximum", m)? < largest => {
            return Err(StatsError::Range {
                what: "a term",
                value: largest,
                rule: "no term is above the stated maximum",
            });
        }
        Some(m) => m,
        None => largest,
    };
    let n = s.n as f64;
    let log2 = (2.0 / delta).ln();
    let population_variance = s.variance * (n - 1.0) / n;
    Ok(MeanLowerBounds {
        hoeffding: s.mean - x_max * ((1.0 / delta).ln() / (2.0 * n)).sqrt(),
        bernstein: s.mean
            - 7.0 * x_max * log2 / (3.0 * (n - 1.0))
            - (2.0 * log2 * population_variance / (n - 1.0)).sqrt(),
        student: s.mean - student_t::upper_quantile(delta, n - 1.0) * s.standard_error(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_lie_below_the_mean_and_bad_terms_are_refused() {
        let terms: Vec<f64> = (0..100).map(|i| f64::from(i % 3)).collect();
        let b = mean_lower_bounds(&terms, Some(5.0), 0.05).unwrap();
        let mean = terms.iter().sum::<f64>() / 100.0;
        assert!(b.hoeffding < mean && b.bernstein < mean && b.student < mean);
        assert!(b.hoeffding < mean_lower_bounds(&terms, None, 0.05).unwrap().hoeffding);
        assert!(mean_lower_bounds(&terms, Some(1.0), 0.05).is_err());
        assert!(mean_lower_bounds(&[1.0, -1.0], None, 0.05).is_err());
        assert!(mean_lower_bounds(&[1.0], None, 0.05).is_err());
    }
}
