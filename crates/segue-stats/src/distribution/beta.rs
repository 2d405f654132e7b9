//! The regularised incomplete beta function.

use super::gamma::{deviance, stirling_error};

/// `I_x(a, b)`, given both `x` and `y = 1 − x` so that neither tail loses digits; `a, b > 0`.
///
/// A continued fraction on the side where it converges fast; the prefix `x^a y^b / B(a, b)`
/// in Loader's saddle-point form, which does not cancel for large `a` and `b`.
/// Source: Didonato & Morris, "Algorithm 708", ACM TOMS 18 (1992).
#[must_use]
pub fn regularised(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if !(a > 0.0 && b > 0.0 && (0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y)) {
        return f64::NAN;
    }
    if x == 0.0 {
        return 0.0;
    }
    if y == 0.0 {
        return 1.0;
    }
    if x < (a + 1.0) / (a + b + 2.0) {
        prefix(a, b, x, y) / fraction(a, b, x, y)
    } else {
        1.0 - prefix(a, b, x, y) / fraction(b, a, y, x)
    }
}

/// `x^a y^b / B(a, b)` = `ab / (a + b)` times the binomial probability of `a` in `a + b`.
fn prefix(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let n = a + b;
    let log =
        stirling_error(n) - stirling_error(a) - stirling_error(b) - deviance(a, n * x) - deviance(b, n * y);
    let binomial = log.exp() * (n / (2.0 * std::f64::consts::PI * a * b)).sqrt();
    a * b / n * binomial
}

/// `(x^a y^b / B(a, b)) / I_x(a, b)` as a continued fraction.
///
/// Didonato & Morris's form (their `BFRAC`): `a y − b x` keeps the digits that `a − (a + b) x` loses
/// when `a` is large and `x` near 1, as for a t statistic with millions of degrees of freedom.
fn fraction(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let tiny = f64::MIN_POSITIVE;
    let guard = |v: f64| if v.abs() < tiny { tiny } else { v };
    let term = |m: f64| {
        m + m * (b - m) * x / (a + 2.0 * m - 1.0)
            + (a + m) * (a * y - b * x + 1.0 + m * (2.0 - x)) / (a + 2.0 * m + 1.0)
    };
    // term(0), written out: its first part is 0 / 0 where a = 1.
    let mut f = guard(a * (a * y - b * x + 1.0) / (a + 1.0));
    let (mut c, mut d) = (f, 0.0);
    for m in 1..1_000_000 {
        let m = f64::from(m);
        let e = (a + 2.0 * m - 1.0).recip();
        let over = (a + m - 1.0) * e * ((a + b + m - 1.0) * e) * m * (b - m) * x * x;
        let under = term(m);
        d = guard(under + over * d).recip();
        c = guard(under + over / c);
        let step = c * d;
        f *= step;
        if (step - 1.0).abs() < 1e-16 {
            break;
        }
    }
    f
}

/// `x` with `I_x(a, b) = p`: the quantile of a Beta distribution, by bisection.
#[must_use]
pub fn quantile(p: f64, a: f64, b: f64) -> f64 {
    super::bisect_falling(0.0, 1.0, |x| p - regularised(a, b, x, 1.0 - x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(got: f64, want: f64, rel: f64) {
        assert!((got - want).abs() <= rel * want.abs(), "got {got:e}, want {want:e}");
    }

    #[test]
    fn closed_forms_hold() {
        for x in [1e-9, 0.1, 0.5, 0.9] {
            close(regularised(1.0, 1.0, x, 1.0 - x), x, 1e-14);
            close(regularised(3.0, 1.0, x, 1.0 - x), x.powi(3), 1e-13);
            close(regularised(2.0, 2.0, x, 1.0 - x), x * x * (3.0 - 2.0 * x), 1e-13);
        }
        assert_eq!(regularised(2.0, 3.0, 0.0, 1.0), 0.0);
        assert_eq!(regularised(2.0, 3.0, 1.0, 0.0), 1.0);
        assert!(regularised(-1.0, 3.0, 0.5, 0.5).is_nan());
    }

    /// `I_x(a, b) + I_y(b, a) = 1`, and the binomial sum for integers.
    #[test]
    fn symmetry_and_the_binomial_sum_hold() {
        for (a, b, x) in [(0.5, 7.5, 0.2), (30.0, 2.0, 0.97), (5e5, 0.5, 0.999_99)] {
            close(regularised(a, b, x, 1.0 - x) + regularised(b, a, 1.0 - x, x), 1.0, 1e-12);
        }
        let (n, k, p) = (12, 4, 0.3_f64);
        let choose = |n: u32, k: u32| (0..k).fold(1.0, |c, i| c * f64::from(n - i) / f64::from(i + 1));
        let tail: f64 =
            (k..=n).map(|j| choose(n, j) * p.powi(j as i32) * (1.0 - p).powi((n - j) as i32)).sum();
        close(regularised(f64::from(k), f64::from(n - k + 1), p, 1.0 - p), tail, 1e-13);
    }

    #[test]
    fn the_quantile_inverts_the_distribution() {
        for (a, b) in [(1.0, 1.0), (2.0, 5.0), (0.5, 0.5), (300.0, 20.0)] {
            for p in [1e-6, 0.1, 0.5, 0.99] {
                let x = quantile(p, a, b);
                assert!((regularised(a, b, x, 1.0 - x) - p).abs() < 1e-9, "{a} {b} {p} {x}");
            }
        }
    }
}
