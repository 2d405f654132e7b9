//! Wilson's interval of a proportion.

use crate::StatsError;
use crate::distribution::normal;
use crate::error::share;

/// Interval of a proportion from `successes` of `n`, never outside `[0, 1]` and sensible at 0 and `n`.
///
/// # Errors
/// [`StatsError::TooFew`] without trials; [`StatsError::Range`] for more successes than trials or a
/// confidence outside `(0, 1)`.
///
/// # Source
/// Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
pub fn wilson_interval(successes: f64, n: f64, confidence: f64) -> Result<[f64; 2], StatsError> {
    share("confidence", confidence)?;
    if n.is_nan() || n <= 0.0 {
        return Err(StatsError::TooFew { what: "trials", got: 0, needed: 1 });
    }
    if !(0.0..=n).contains(&successes) {
        return Err(StatsError::Range {
            what: "successes",
            value: successes,
            rule: "they lie between 0 and the trials",
        });
    }
    let z = normal::upper_quantile(0.5 * (1.0 - confidence));
    let (p, z2) = (successes / n, z * z);
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Ok([(centre - half).max(0.0), (centre + half).min(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of statsmodels `proportion_confint(..., method="wilson")`.
    #[test]
    fn published_values_hold() {
        let close = |got: [f64; 2], want: [f64; 2]| {
            assert!((got[0] - want[0]).abs() < 1e-6 && (got[1] - want[1]).abs() < 1e-6, "{got:?}");
        };
        close(wilson_interval(8.0, 10.0, 0.95).unwrap(), [0.490_162, 0.943_318]);
        close(wilson_interval(0.0, 10.0, 0.95).unwrap(), [0.0, 0.277_533]);
        assert!(wilson_interval(2.0, 1.0, 0.95).is_err());
        assert!(wilson_interval(0.0, 0.0, 0.95).is_err());
    }
}
