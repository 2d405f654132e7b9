//! Interval of a sample quantile without resampling.

use crate::StatsError;
use crate::distribution::binomial;
use crate::error::share;

/// 1-based order statistics that bound the `nu`-quantile of `n` observations.
///
/// Over Poisson-bootstrap replicates the index of the quantile is approximately `Binomial(n + 1, nu)`;
/// the bounds are its `alpha/2` and `1 − alpha/2` quantiles, kept within `1..=n`.
///
/// # Errors
/// [`StatsError::TooFew`] without observations, [`StatsError::Range`] for shares outside `(0, 1)`.
///
/// # Source
/// Schultzberg & Ankargren, "Resampling-free bootstrap inference for quantiles", 2022.
pub fn quantile_index_ci(n: u64, nu: f64, alpha: f64) -> Result<[u64; 2], StatsError> {
    share("nu", nu)?;
    share("alpha", alpha)?;
    if n == 0 {
        return Err(StatsError::TooFew { what: "observations", got: 0, needed: 1 });
    }
    let at = |p: f64| binomial::quantile(p, n + 1, nu).clamp(1, n);
    Ok([at(0.5 * alpha), at(1.0 - 0.5 * alpha)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_stay_inside_the_sample() {
        assert_eq!(quantile_index_ci(1, 0.5, 0.05).unwrap(), [1, 1]);
        assert_eq!(quantile_index_ci(3, 0.99, 0.05).unwrap()[1], 3);
        assert!(quantile_index_ci(0, 0.5, 0.05).is_err());
    }
}
