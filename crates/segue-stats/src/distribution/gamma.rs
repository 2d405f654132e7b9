//! The gamma function and the regularised incomplete gamma functions.

/// `ln Γ(x)` for `x > 0`.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// `(P(a, x), Q(a, x))`: lower and upper regularised incomplete gamma, `a > 0`, `x ≥ 0`.
///
/// The smaller of the two has full relative accuracy: series below `a + 1`, Lentz's continued
/// fraction above. Source: Abramowitz & Stegun 6.5.29 and 6.5.31.
#[must_use]
pub fn regularised(a: f64, x: f64) -> (f64, f64) {
    if !(a > 0.0 && x >= 0.0) {
        return (f64::NAN, f64::NAN);
    }
    if x == 0.0 {
        return (0.0, 1.0);
    }
    if x.is_infinite() {
        return (1.0, 0.0);
    }
    // x^a e^-x / Γ(a + 1), in the form that does not cancel for large a.
    let prefix = poisson_term(a, x);
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0, 1.0, a);
        loop {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        let lower = prefix * sum;
        (lower, 1.0 - lower)
    } else {
        let tiny = f64::MIN_POSITIVE;
        let mut b = x + 1.0 - a;
        let mut c = 1.0 / tiny;
        let mut d = 1.0 / b;
        let mut h = d;
        for i in 1..1_000_000 {
            let i = f64::from(i);
            let an = -i * (i - a);
            b += 2.0;
            d = an * d + b;
            d = if d.abs() < tiny { tiny } else { d };
            c = b + an / c;
            c = if c.abs() < tiny { tiny } else { c };
            d = 1.0 / d;
            let step = d * c;
            h *= step;
            if (step - 1.0).abs() < 1e-16 {
                break;
            }
        }
        // prefix holds Γ(a + 1) = a Γ(a); the fraction is over Γ(a).
        let upper = prefix * a * h;
        (1.0 - upper, upper)
    }
}

/// `x^a e^-x / Γ(a + 1)` without cancellation: the Poisson probability of `a` at mean `x`, for real
/// `a > 0`.
///
/// Source: C. Loader, "Fast and accurate computation of binomial probabilities", 2000 (the
/// saddle-point expansion that R's `dpois` uses).
pub(crate) fn poisson_term(a: f64, x: f64) -> f64 {
    (-stirling_error(a) - deviance(a, x)).exp() / (2.0 * std::f64::consts::PI * a).sqrt()
}

/// `ln Γ(a + 1) − [½ ln(2πa) + a ln a − a]`: what Stirling's formula leaves out, `a > 0`.
pub(crate) fn stirling_error(a: f64) -> f64 {
    if a < 16.0 {
        libm::lgamma(a + 1.0) - (0.5 * (2.0 * std::f64::consts::PI * a).ln() + a * a.ln() - a)
    } else {
        let s = 1.0 / (a * a);
        // Bernoulli numbers: 1/12, 1/360, 1/1260, 1/1680, 1/1188, 691/360360.
        (1.0 / 12.0
            - s * (1.0 / 360.0
                - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s * (1.0 / 1188.0 - s * (691.0 / 360_360.0))))))
            / a
    }
}

/// `a ln(a / x) + x − a` without cancellation where `a` is near `x`; both above 0.
pub(crate) fn deviance(a: f64, x: f64) -> f64 {
    if (a - x).abs() < 0.1 * (a + x) {
        let v = (a - x) / (a + x);
        let mut s = (a - x) * v;
        let mut ej = 2.0 * a * v;
        let v2 = v * v;
        for j in 1..1_000 {
            ej *= v2;
            let next = s + ej / f64::from(2 * j + 1);
            if next == s {
                return s;
            }
            s = next;
        }
        s
    } else {
        a * (a / x).ln() + x - a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(got: f64, want: f64, rel: f64) {
        assert!((got - want).abs() <= rel * want.abs(), "got {got:e}, want {want:e}");
    }

    #[test]
    fn integer_shapes_match_their_closed_form() {
        // Q(n, x) = e^-x Σ_{k<n} x^k / k!
        for (n, x) in [(1, 0.3), (3, 2.0), (5, 20.0), (2, 300.0)] {
            let mut term = 1.0;
            let mut sum = 0.0;
            for k in 0..n {
                if k > 0 {
                    term *= x / f64::from(k);
                }
                sum += term;
            }
            close(regularised(f64::from(n), x).1, (-x).exp() * sum, 1e-13);
        }
    }

    #[test]
    fn large_shapes_do_not_lose_digits() {
        // By the relation Q(a + 1, x) = Q(a, x) + x^a e^-x / Γ(a + 1).
        for a in [50.0, 5e3, 5e5] {
            let x = a + 2.0 * f64::sqrt(a);
            let step = poisson_term(a, x);
            close(regularised(a + 1.0, x).1 - regularised(a, x).1, step, 1e-9);
        }
    }

    #[test]
    fn arguments_outside_the_domain_are_nan() {
        assert!(regularised(0.0, 1.0).0.is_nan() && regularised(1.0, -1.0).1.is_nan());
        assert_eq!(regularised(2.0, 0.0), (0.0, 1.0));
        assert_eq!(regularised(2.0, f64::INFINITY), (1.0, 0.0));
    }
}
