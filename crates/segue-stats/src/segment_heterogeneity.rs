//! Whether an effect differs between segments.

use crate::StatsError;
use crate::distribution::{chi2, normal};
use crate::error::{finite, positive};

/// Result of [`segment_heterogeneity`].
#[derive(Debug, Clone, PartialEq)]
pub struct Heterogeneity {
    /// Inverse-variance weighted mean effect.
    pub pooled: f64,
    /// Cochran's Q.
    pub q: f64,
    /// Segments minus one.
    pub dof: f64,
    /// Upper tail of Q.
    pub p_value: f64,
    /// `max(0, (Q − dof) / Q)`: share of the variation that is not sampling noise.
    pub i2: f64,
    /// Each segment against all others.
    pub segment_z: Vec<f64>,
    /// Two-sided p of that, times the number of segments, at most 1.
    pub segment_p_bonferroni: Vec<f64>,
}

/// Cochran's Q over independent segments, and each segment against the pooled rest.
///
/// # Errors
/// [`StatsError::TooFew`] below two segments, [`StatsError::LengthMismatch`], [`StatsError::Range`] for a
/// standard error that is not above 0.
///
/// # Source
/// Cochran, "The combination of estimates from different experiments", Biometrics 1954; Higgins &
/// Thompson, "Quantifying heterogeneity in a meta-analysis", 2002.
pub fn segment_heterogeneity(effects: &[f64], standard_errors: &[f64]) -> Result<Heterogeneity, StatsError> {
    let k = effects.len();
    if standard_errors.len() != k {
        return Err(StatsError::LengthMismatch {
            what: "standard errors of segments",
            expected: k,
            got: standard_errors.len(),
        });
    }
    if k < 2 {
        return Err(StatsError::TooFew { what: "segments", got: k, needed: 2 });
    }
    let mut weights = Vec::with_capacity(k);
    for (&e, &s) in effects.iter().zip(standard_errors) {
        finite("effect of a segment", e)?;
        weights.push(1.0 / positive("standard error of a segment", s)?.powi(2));
    }
    let total: f64 = weights.iter().sum();
    let weighted: f64 = weights.iter().zip(effects).map(|(w, e)| w * e).sum();
    let pooled = weighted / total;
    let q: f64 = weights.iter().zip(effects).map(|(w, e)| w * (e - pooled).powi(2)).sum();
    let dof = (k - 1) as f64;
    let segment_z: Vec<f64> = (0..k)
        .map(|i| {
            let (rest, rest_weight) = (0..k)
                .filter(|&j| j != i)
                .fold((0.0, 0.0), |(e, w), j| (e + weights[j] * effects[j], w + weights[j]));
            (effects[i] - rest / rest_weight) / (1.0 / weights[i] + 1.0 / rest_weight).sqrt()
        })
        .collect();
    Ok(Heterogeneity {
        pooled,
        q,
        dof,
        p_value: chi2::sf(q, dof),
        i2: if q > dof { (q - dof) / q } else { 0.0 },
        segment_p_bonferroni: segment_z
            .iter()
            .map(|&z| (normal::two_sided_p(z) * k as f64).min(1.0))
            .collect(),
        segment_z,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_segments_are_homogeneous() {
        let h = segment_heterogeneity(&[0.5; 3], &[0.1, 0.2, 0.3]).unwrap();
        assert!((h.pooled - 0.5).abs() < 1e-15 && h.q < 1e-20 && h.i2 == 0.0);
        assert!((h.p_value - 1.0).abs() < 1e-9);
        assert!(segment_heterogeneity(&[0.5], &[0.1]).is_err());
        assert!(segment_heterogeneity(&[0.5, 0.1], &[0.1, 0.0]).is_err());
        assert!(segment_heterogeneity(&[0.5, 0.1], &[0.1]).is_err());
    }
}
