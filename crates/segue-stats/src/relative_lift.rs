//! Relative lift of a mean: delta method and Fieller's interval.

use crate::StatsError;
use crate::arm::{Alternative, Moments, p_and_interval, welch_dof};
use crate::distribution::student_t;
use crate::error::share;

/// Result of [`relative_lift`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativeLift {
    /// `(m_t − m_c) / |m_c|`.
    pub lift: f64,
    /// Delta-method standard error.
    pub standard_error: f64,
    /// Welch–Satterthwaite degrees of freedom of the absolute difference.
    pub dof: f64,
    /// Two-sided p-value from Student's t.
    pub p_value: f64,
    /// Delta-method interval.
    pub interval: [f64; 2],
    /// Fieller's interval of the ratio, minus 1; absent where the control mean is not told from 0
    /// (`g ≥ 1`) or is negative.
    pub fieller: Option<[f64; 2]>,
}

/// Lift of the treatment over the control.
///
/// Delta method: `se = √(v_t/m_c² + v_c m_t²/m_c⁴)` with `v` the variances of the means. Fieller:
/// `g = k² v_c/m_c²`, `R = m_t/m_c`, `R/(1−g) ∓ (k/m_c) √(v_t(1−g) + R² v_c)/(1−g) − 1`, arms
/// independent, `k` the t quantile.
///
/// # Errors
/// [`StatsError::Range`] for a control mean of 0 or `alpha` outside `(0, 1)`; [`StatsError::NoVariance`]
/// if neither arm has any.
///
/// # Source
/// Fieller, "Some problems in interval estimation", JRSS B 1954; Deng, Knoblich & Lu, "Applying the
/// delta method in metric analytics", KDD 2018.
pub fn relative_lift(control: &Moments, treatment: &Moments, alpha: f64) -> Result<RelativeLift, StatsError> {
    share("alpha", alpha)?;
    let (mc, mt) = (control.mean, treatment.mean);
    if mc == 0.0 || !mc.is_finite() {
        return Err(StatsError::Range {
            what: "control mean",
            value: mc,
            rule: "a relative lift needs a mean that is not 0",
        });
    }
    let (vc, vt) = (control.variance_of_mean(), treatment.variance_of_mean());
    let standard_error = (vt / (mc * mc) + vc * mt * mt / mc.powi(4)).sqrt();
    if standard_error.is_nan() || standard_error <= 0.0 {
        return Err(StatsError::NoVariance { what: "a relative lift" });
    }
    let dof = welch_dof(control, treatment);
    let lift = (mt - mc) / mc.abs();
    let k = student_t::upper_quantile(0.5 * alpha, dof);
    let (_, p_value, interval) = p_and_interval(
        lift,
        0.0,
        standard_error,
        alpha,
        Alternative::TwoSided,
        |t| student_t::sf(t, dof),
        |_| k,
    );
    let g = k * k * vc / (mc * mc);
    let fieller = (g < 1.0 && mc > 0.0).then(|| {
        let ratio = mt / mc;
        let half = k / mc * (vt * (1.0 - g) + ratio * ratio * vc).sqrt() / (1.0 - g);
        [ratio / (1.0 - g) - half - 1.0, ratio / (1.0 - g) + half - 1.0]
    });
    Ok(RelativeLift { lift, standard_error, dof, p_value, interval, fieller })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_of_zero_has_no_lift() {
        let arm = |mean: f64| Moments { n: 50.0, mean, variance: 4.0 };
        assert!(relative_lift(&arm(0.0), &arm(1.0), 0.05).is_err());
        // A control mean within its own error: the ratio is unbounded.
        assert_eq!(relative_lift(&arm(0.1), &arm(1.0), 0.05).unwrap().fieller, None);
        let r = relative_lift(&arm(10.0), &arm(11.0), 0.05).unwrap();
        let [low, high] = r.fieller.unwrap();
        assert!(low < r.lift && r.lift < high);
    }
}
