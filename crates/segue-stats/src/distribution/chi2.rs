//! The chi-squared distribution.

use super::gamma::regularised;

/// `P(X ≤ x)` with `dof` degrees of freedom.
#[must_use]
pub fn cdf(x: f64, dof: f64) -> f64 {
    if x <= 0.0 { 0.0 } else { regularised(0.5 * dof, 0.5 * x).0 }
}

/// `P(X > x)` with `dof` degrees of freedom, accurate in the tail.
#[must_use]
pub fn sf(x: f64, dof: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { regularised(0.5 * dof, 0.5 * x).1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(got: f64, want: f64, rel: f64) {
        assert!((got - want).abs() <= rel * want.abs(), "got {got:e}, want {want:e}");
    }

    /// With two degrees of freedom the tail is `e^(−x/2)`; with one it is a normal tail.
    #[test]
    fn small_degrees_of_freedom_match_their_closed_forms() {
        for x in [0.01, 1.0, 10.0, 99.0, 600.0] {
            close(sf(x, 2.0), (-0.5 * x).exp(), 1e-12);
            close(sf(x, 1.0), 2.0 * crate::distribution::normal::sf(x.sqrt()), 1e-12);
        }
        // The Statsig guide's counts: p = 3.1e-22 on two degrees of freedom.
        close(sf(99.040_432_123_282_24, 2.0), 3.116_329_865_438_442e-22, 1e-12);
        // mpmath 1.3 at 40 digits.
        close(sf(1_000_300.0, 1e6), 0.415_826_421_351_583_8, 1e-11);
        close(sf(999_000.0, 1e6), 0.760_176_731_459_872_8, 1e-11);
        close(sf(0.5, 9.0), 0.999_969_566_258_838_9, 1e-14);
        close(sf(120.0, 41.0), 1.120_159_429_896_784e-9, 1e-13);
        assert_eq!((sf(-1.0, 3.0), cdf(-1.0, 3.0)), (1.0, 0.0));
    }
}
