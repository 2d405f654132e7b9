//! The binomial distribution.

use super::beta;
use super::gamma::{deviance, stirling_error};

/// `P(X = k)` for `n` trials of probability `p`.
///
/// Source: C. Loader, "Fast and accurate computation of binomial probabilities", 2000.
#[must_use]
pub fn pmf(k: u64, n: u64, p: f64) -> f64 {
    if k > n || !(0.0..=1.0).contains(&p) {
        return if p.is_nan() { f64::NAN } else { 0.0 };
    }
    let (nf, kf, q) = (n as f64, k as f64, 1.0 - p);
    if p == 0.0 {
        return if k == 0 { 1.0 } else { 0.0 };
    }
    if q == 0.0 {
        return if k == n { 1.0 } else { 0.0 };
    }
    if k == 0 {
        return (nf * (-p).ln_1p()).exp();
    }
    if k == n {
        return (nf * p.ln()).exp();
    }
    let rest = nf - kf;
    let log = stirling_error(nf)
        - stirling_error(kf)
        - stirling_error(rest)
        - deviance(kf, nf * p)
        - deviance(rest, nf * q);
    log.exp() * (nf / (2.0 * std::f64::consts::PI * kf * rest)).sqrt()
}

/// `P(X ≤ k)`.
#[must_use]
pub fn cdf(k: u64, n: u64, p: f64) -> f64 {
    if k >= n { 1.0 } else { beta::regularised((n - k) as f64, k as f64 + 1.0, 1.0 - p, p) }
}

/// Smallest `k` with `P(X ≤ k) ≥ probability`.
#[must_use]
pub fn quantile(probability: f64, n: u64, p: f64) -> u64 {
    let (mut lo, mut hi) = (0, n);
    while lo < hi {
        let mid = lo + (hi - lo) / 2;
        if cdf(mid, n, p) >= probability {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    lo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_to_the_distribution_function() {
        let (n, p) = (17, 0.23);
        let mut sum = 0.0;
        for k in 0..=n {
            sum += pmf(k, n, p);
            assert!((cdf(k, n, p) - sum).abs() < 1e-13, "{k}");
        }
        assert!((sum - 1.0).abs() < 1e-13);
        assert!((pmf(3, 5, 0.5) - 10.0 / 32.0).abs() < 1e-15);
        assert_eq!((pmf(0, 5, 0.0), pmf(5, 5, 1.0), pmf(6, 5, 0.5)), (1.0, 1.0, 0.0));
    }

    #[test]
    fn the_quantile_is_the_smallest_that_reaches_the_probability() {
        for probability in [0.0, 0.025, 0.5, 0.975, 1.0] {
            let k = quantile(probability, 42, 0.5);
            assert!(cdf(k, 42, 0.5) >= probability);
            assert!(k == 0 || cdf(k - 1, 42, 0.5) < probability);
        }
    }
}
