//! Probability distributions with both tails: `cdf` for the lower, `sf` for the upper.
//!
//! A p-value comes from the tail it lies in, never from `1 − cdf`: p = 1e-43 stays 1e-43. Quantiles
//! come in pairs as well: `quantile(p)` and `upper_quantile(p)`.

pub mod beta;
pub mod binomial;
pub mod chi2;
pub mod gamma;
pub mod normal;
pub mod student_t;

/// `x ↦ ½ (lo + hi)` until `f` changes sign between neighbours; `f` falls from `lo` to `hi`.
///
/// Plain bisection: at most some 1,100 halvings end at neighbouring floats, and in practice under
/// 80. Quantiles are not on a hot path; certainty is worth more than speed here.
pub(crate) fn bisect_falling(mut lo: f64, mut hi: f64, f: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..1_100 {
        let mid = 0.5 * (lo + hi);
        if mid <= lo || mid >= hi {
            break;
        }
        if f(mid) > 0.0 {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    0.5 * (lo + hi)
}
