//! Mixture sequential probability ratio test for a normal estimate: p-values valid at every look.

use crate::StatsError;
use crate::error::{finite, positive, share};

/// Result of [`msprt_normal`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Msprt {
    /// Log of the mixture likelihood ratio.
    pub log_e_value: f64,
    /// `min(1, 1/e)` of this look alone.
    pub p_value: f64,
    /// Half-width of the confidence sequence at this look.
    pub half_width: f64,
}

/// Gaussian mixture `N(null, tau2)` against the null, for an estimate of variance `variance`.
///
/// `ln e = τ²(d − d₀)²/(2V(V + τ²)) − ½ ln((V + τ²)/V)`,
/// half-width `√(V(V + τ²)/τ² (2 ln(1/α) + ln((V + τ²)/V)))`.
///
/// # Errors
/// [`StatsError::Range`] for a variance or `tau2` that is not above 0, or `alpha` outside `(0, 1)`.
///
/// # Source
/// Johari, Koomen, Pekelis & Walsh, "Peeking at A/B tests", KDD 2017.
pub fn msprt_normal(
    estimate: f64,
    variance: f64,
    null: f64,
    tau2: f64,
    alpha: f64,
) -> Result<Msprt, StatsError> {
    share("alpha", alpha)?;
    let v = positive("variance of an estimate", variance)?;
    let tau2 = positive("tau2", tau2)?;
    let off = finite("estimate", estimate)? - finite("null", null)?;
    let log_ratio = ((v + tau2) / v).ln();
    let log_e_value = tau2 * off * off / (2.0 * v * (v + tau2)) - 0.5 * log_ratio;
    Ok(Msprt {
        log_e_value,
        p_value: (-log_e_value).exp().min(1.0),
        half_width: (v * (v + tau2) / tau2 * (2.0 * (1.0 / alpha).ln() + log_ratio)).sqrt(),
    })
}

/// Result of [`msprt_path`].
#[derive(Debug, Clone, PartialEq)]
pub struct MsprtPath {
    /// `[n_looks]` running minimum of the p-values.
    pub p_values: Vec<f64>,
    /// `[n_looks]` running intersection of the intervals; empty once it is `[low, high]` with
    /// `low > high`.
    pub intervals: Vec<[f64; 2]>,
    /// First look (0-based) with p at or below `alpha`.
    pub stop: Option<usize>,
}

/// The test along looks, against a null of 0.
///
/// # Errors
/// As [`msprt_normal`]; [`StatsError::LengthMismatch`].
pub fn msprt_path(
    estimates: &[f64],
    variances: &[f64],
    tau2: f64,
    alpha: f64,
) -> Result<MsprtPath, StatsError> {
    if estimates.len() != variances.len() {
        return Err(StatsError::LengthMismatch {
            what: "variances of looks",
            expected: estimates.len(),
            got: variances.len(),
        });
    }
    let mut path = MsprtPath { p_values: Vec::new(), intervals: Vec::new(), stop: None };
    let (mut p, mut interval) = (1.0_f64, [f64::NEG_INFINITY, f64::INFINITY]);
    for (look, (&estimate, &variance)) in estimates.iter().zip(variances).enumerate() {
        let m = msprt_normal(estimate, variance, 0.0, tau2, alpha)?;
        p = p.min(m.p_value);
        interval = [interval[0].max(estimate - m.half_width), interval[1].min(estimate + m.half_width)];
        path.p_values.push(p);
        path.intervals.push(interval);
        if path.stop.is_none() && p <= alpha {
            path.stop = Some(look);
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_excludes_the_null_exactly_when_p_is_below_alpha() {
        for estimate in [0.001, 0.01, 0.018, 0.019, 0.02, 0.05] {
            let m = msprt_normal(estimate, 3.6e-5, 0.0, 1e-4, 0.05).unwrap();
            assert_eq!(m.p_value <= 0.05, estimate >= m.half_width, "{estimate}");
        }
        assert!(msprt_normal(0.0, 0.0, 0.0, 1.0, 0.05).is_err());
        assert!(msprt_path(&[0.0], &[], 1.0, 0.05).is_err());
        assert_eq!(msprt_path(&[0.0], &[1.0], 1.0, 0.05).unwrap().stop, None);
    }
}
