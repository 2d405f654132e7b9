//! One-sided confidence bounds that agree with a step-wise multiple test.

use crate::StatsError;
use crate::distribution::normal;
use crate::multiple_testing::{Correction, adjust};

/// Result of [`one_sided_simultaneous_ci`].
#[derive(Debug, Clone, PartialEq)]
pub struct SimultaneousBounds {
    /// Whether each null is rejected.
    pub rejected: Vec<bool>,
    /// Lower bound of each effect, in standard errors.
    pub lower: Vec<f64>,
}

/// Simultaneous lower bounds for effects given as z statistics (null 0, alternative larger).
///
/// All rejected: `max(0, z − q)`; some rejected: 0 for those, `z − Φ⁻¹(1 − α/r)` for the `r` others.
/// `q = Φ⁻¹(1 − α/m)` for Holm, `Φ⁻¹((1 − α)^(1/m))` for Hommel and Simes–Hochberg.
///
/// # Errors
/// [`StatsError::Unknown`] for another correction; [`StatsError::Range`] for a z that is NaN.
///
/// # Source
/// Guilbaud, "Simultaneous confidence regions corresponding to Holm's step-down procedure", 2008, and
/// "... and other closed-testing procedures", Biometrical Journal 2012.
pub fn one_sided_simultaneous_ci(
    z: &[f64],
    alpha: f64,
    correction: Correction,
) -> Result<SimultaneousBounds, StatsError> {
    let m = z.len() as f64;
    let q_all = match correction {
        Correction::Holm => normal::upper_quantile(alpha / m),
        // 1 − (1 − α)^(1/m), kept as an upper tail.
        Correction::Hommel | Correction::SimesHochberg => {
            normal::upper_quantile(-((-alpha).ln_1p() / m).exp_m1())
        }
        other => {
            return Err(StatsError::Unknown {
                what: "correction of simultaneous bounds",
                value: format!("{other:?}"),
                known: "holm, hommel, simes-hochberg",
            });
        }
    };
    let p: Vec<f64> = z.iter().map(|&z| normal::sf(z)).collect();
    let rejected = adjust(&p, correction, alpha)?.rejected;
    let kept = rejected.iter().filter(|&&r| !r).count();
    let lower = z
        .iter()
        .zip(&rejected)
        .map(|(&z, &rejected)| match (rejected, kept) {
            (_, 0) => (z - q_all).max(0.0),
            (true, _) => 0.0,
            (false, r) => z - normal::upper_quantile(alpha / r as f64),
        })
        .collect();
    Ok(SimultaneousBounds { rejected, lower })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_above_zero_only_if_everything_is_rejected() {
        let b = one_sided_simultaneous_ci(&[5.0, 0.1], 0.05, Correction::Holm).unwrap();
        assert_eq!((b.rejected.as_slice(), b.lower[0]), (&[true, false][..], 0.0));
        assert!(b.lower[1] < 0.0);
        assert!(one_sided_simultaneous_ci(&[5.0], 0.05, Correction::Sidak).is_err());
        assert!(one_sided_simultaneous_ci(&[f64::NAN], 0.05, Correction::Holm).is_err());
    }
}
