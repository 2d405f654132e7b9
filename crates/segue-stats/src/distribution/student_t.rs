//! Student's t distribution.

use super::{beta, bisect_falling, normal};

/// `P(T > t)` with `dof > 0` degrees of freedom (not necessarily whole), accurate in the tail:
/// relative error about `dof · 1e-16`, from rounding `dof / (dof + t²)`.
#[must_use]
pub fn sf(t: f64, dof: f64) -> f64 {
    if t.is_nan() || dof.is_nan() || dof <= 0.0 {
        return f64::NAN;
    }
    if dof.is_infinite() {
        return normal::sf(t);
    }
    if t.is_infinite() {
        return if t > 0.0 { 0.0 } else { 1.0 };
    }
    let square = t * t;
    let half = 0.5 * beta::regularised(0.5 * dof, 0.5, dof / (dof + square), square / (dof + square));
    if t >= 0.0 { half } else { 1.0 - half }
}

/// `P(T ≤ t)`.
#[must_use]
pub fn cdf(t: f64, dof: f64) -> f64 {
    sf(-t, dof)
}

/// Two-sided p-value: `2 P(T > |t|)`.
#[must_use]
pub fn two_sided_p(t: f64, dof: f64) -> f64 {
    2.0 * sf(t.abs(), dof)
}

/// `t` with `P(T > t) = p`.
#[must_use]
pub fn upper_quantile(p: f64, dof: f64) -> f64 {
    if p.is_nan() || !(0.0..=1.0).contains(&p) || dof.is_nan() || dof <= 0.0 {
        return f64::NAN;
    }
    if p == 0.0 {
        return f64::INFINITY;
    }
    if p > 0.5 {
        return -upper_quantile(1.0 - p, dof);
    }
    if p == 0.5 {
        return 0.0;
    }
    let mut hi = 2.0 * normal::upper_quantile(p).max(1.0);
    while sf(hi, dof) > p && hi < f64::MAX / 4.0 {
        hi *= 2.0;
    }
    bisect_falling(0.0, hi, |t| sf(t, dof) - p)
}

/// `t` with `P(T ≤ t) = p`.
#[must_use]
pub fn quantile(p: f64, dof: f64) -> f64 {
    -upper_quantile(p, dof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(got: f64, want: f64, rel: f64) {
        assert!((got - want).abs() <= rel * want.abs(), "got {got:e}, want {want:e}");
    }

    /// One degree of freedom is Cauchy, two have a closed form, very many are normal.
    #[test]
    fn known_degrees_of_freedom_match_their_closed_forms() {
        for t in [0.0, 0.3, 2.0, 40.0] {
            close(sf(t, 1.0), 0.5 - f64::atan(t) / std::f64::consts::PI, 1e-12);
            let two = 0.5 * (2.0 / (2.0 + t * t)) / (1.0 + t / (2.0 + t * t).sqrt());
            close(sf(t, 2.0), two, 1e-12);
        }
        close(sf(13.0, 1e12), normal::sf(13.0), 1e-7);
        // mpmath 1.3 at 40 digits.
        close(sf(13.0, 1e6), 6.161_512_946_338_69e-39, 1e-10);
        close(sf(13.5, 35_000.0), 9.929_916_308_855_188e-42, 1e-11);
        close(sf(2.5, 1e4), 0.006_217_609_775_291_848, 1e-13);
        close(sf(1e-3, 7.3), 0.499_614_448_490_512_2, 1e-13);
        close(sf(40.0, 3.3), 7.529_443_640_899_677e-6, 1e-13);
        close(two_sided_p(2.324_022_760_921_520_3, 5_841.742_032_093_565), 0.020_158_402_643_586_978, 1e-11);
        close(1.0 - sf(-1.0, 5.0), sf(1.0, 5.0), 1e-14);
    }

    #[test]
    fn quantiles_invert_the_tail() {
        // Printed in every table: t(.975) with 10 degrees of freedom.
        close(quantile(0.975, 10.0), 2.228_138_851_986_274, 1e-12);
        for dof in [1.0, 3.5, 30.0, 1e6] {
            for p in [1e-20, 1e-6, 0.025, 0.4, 0.6] {
                close(sf(upper_quantile(p, dof), dof), p, 1e-10);
            }
        }
        assert!(upper_quantile(0.1, 0.0).is_nan());
    }
}
