//! Asymptotic confidence sequences: intervals that hold at every look, tuned to a planned sample.

use crate::StatsError;
use crate::arm::ArmSums;
use crate::distribution::normal;
use crate::error::{finite, positive, share};
use crate::msprt::msprt_normal;
use crate::relative_lift::relative_lift;

/// Result of [`asymptotic_cs`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AsymptoticCs {
    /// Mixture parameter, tuned to `n_tune`.
    pub rho: f64,
    /// Half-width of the interval.
    pub half_width: f64,
    /// The interval at this look.
    pub interval: [f64; 2],
    /// Log e-value against 0.
    pub log_e_value: f64,
    /// `min(1, 1/e)`.
    pub p_value: f64,
    /// Half-width over that of a fixed-sample interval: the price of looking at any time.
    pub width_ratio_to_fixed: f64,
}

/// Two-sided sequence for an estimate with standard error `se` after `n` units.
///
/// `ρ² = (−2 ln α + ln(1 − 2 ln α)) / n_tune`, half-width
/// `se √n √(2(nρ² + 1)/(n²ρ²) ln(√(nρ² + 1)/α))`. The same bound as the mSPRT with mixing variance
/// `ρ² n se²`, and as the normal-mixture bound of Howard et al.
///
/// # Errors
/// [`StatsError::Range`] for `alpha` outside `(0, 1)` or sizes and errors that are not above 0.
///
/// # Source
/// Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence sequences", 2021.
pub fn asymptotic_cs(
    estimate: f64,
    se: f64,
    n: f64,
    alpha: f64,
    n_tune: f64,
) -> Result<AsymptoticCs, StatsError> {
    share("alpha", alpha)?;
    finite("estimate", estimate)?;
    positive("standard error", se)?;
    positive("units", n)?;
    let rho2 = tuned(alpha, positive("n_tune", n_tune)?);
    let half_width = se
        * n.sqrt()
        * (2.0 * (n * rho2 + 1.0) / (n * n * rho2) * ((n * rho2 + 1.0).sqrt() / alpha).ln()).sqrt();
    let v = se * se;
    let m = msprt_normal(estimate, v, 0.0, rho2 * n * v, alpha)?;
    Ok(AsymptoticCs {
        rho: rho2.sqrt(),
        half_width,
        interval: [estimate - half_width, estimate + half_width],
        log_e_value: m.log_e_value,
        p_value: m.p_value,
        width_ratio_to_fixed: half_width / (normal::upper_quantile(0.5 * alpha) * se),
    })
}

/// Which end of a one-sided sequence is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `[estimate − half-width, ∞)`: is it greater?
    Greater,
    /// `(−∞, estimate + half-width]`: is it lesser?
    Lesser,
}

/// Result of [`asymptotic_cs_one_sided`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneSidedCs {
    /// Mixture parameter, tuned to `n_tune`.
    pub rho: f64,
    /// Half-width of the interval.
    pub half_width: f64,
    /// The interval at this look; one end is infinite.
    pub interval: [f64; 2],
}

/// One-sided sequence, for guardrails. `ρ²` is tuned at `2α`; half-width
/// `√(se² n · 2(nρ² + 1)/(nρ)² · ln(1 + √(nρ² + 1)/(2α)))`.
///
/// # Errors
/// As [`asymptotic_cs`], and for `alpha` of one half or more.
pub fn asymptotic_cs_one_sided(
    estimate: f64,
    se: f64,
    n: f64,
    alpha: f64,
    n_tune: f64,
    side: Side,
) -> Result<OneSidedCs, StatsError> {
    if !(alpha > 0.0 && alpha < 0.5) {
        return Err(StatsError::Range {
            what: "alpha",
            value: alpha,
            rule: "a one-sided sequence needs it above 0 and below 1/2",
        });
    }
    finite("estimate", estimate)?;
    positive("standard error", se)?;
    positive("units", n)?;
    let rho2 = tuned(2.0 * alpha, positive("n_tune", n_tune)?);
    let half_width = (se * se * n * 2.0 * (n * rho2 + 1.0) / (n * n * rho2)
        * ((n * rho2 + 1.0).sqrt() / (2.0 * alpha)).ln_1p())
    .sqrt();
    let interval = match side {
        Side::Greater => [estimate - half_width, f64::INFINITY],
        Side::Lesser => [f64::NEG_INFINITY, estimate + half_width],
    };
    Ok(OneSidedCs { rho: rho2.sqrt(), half_width, interval })
}

/// The mixture parameter whose bound is tightest at about `n_tune` units.
fn tuned(alpha: f64, n_tune: f64) -> f64 {
    (-2.0 * alpha.ln() + (-2.0 * alpha.ln()).ln_1p()) / n_tune
}

/// Effect of two arms at one look of a sequential test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequentialEffect {
    /// Difference of means, or relative lift.
    pub effect: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// The confidence sequence at this look.
    pub sequence: AsymptoticCs,
}

/// The sequence for a difference of means or a relative lift, `n` being the units of both arms.
///
/// # Errors
/// As [`ArmSums::moments`], [`relative_lift`] and [`asymptotic_cs`].
pub fn sequential_two_sample(
    control: &ArmSums,
    treatment: &ArmSums,
    alpha: f64,
    n_tune: f64,
    relative: bool,
) -> Result<SequentialEffect, StatsError> {
    let (c, t) = (control.moments(false)?, treatment.moments(false)?);
    let (effect, standard_error) = if relative {
        let r = relative_lift(&c, &t, alpha)?;
        (r.lift, r.standard_error)
    } else {
        (t.mean - c.mean, (c.variance_of_mean() + t.variance_of_mean()).sqrt())
    };
    let sequence = asymptotic_cs(effect, standard_error, c.n + t.n, alpha, n_tune)?;
    Ok(SequentialEffect { effect, standard_error, sequence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_width_is_that_of_the_mixture_test() {
        let cs = asymptotic_cs(0.01, 0.004, 7_000.0, 0.05, 5_000.0).unwrap();
        let v = 0.004_f64.powi(2);
        let m = msprt_normal(0.01, v, 0.0, cs.rho * cs.rho * 7_000.0 * v, 0.05).unwrap();
        assert!((cs.half_width / m.half_width - 1.0).abs() < 1e-12);
        assert!(asymptotic_cs(0.0, 0.0, 10.0, 0.05, 10.0).is_err());
        assert!(asymptotic_cs(0.0, 1.0, 10.0, 0.05, 0.0).is_err());
        assert!(asymptotic_cs_one_sided(0.0, 1.0, 10.0, 0.5, 10.0, Side::Greater).is_err());
    }
}
