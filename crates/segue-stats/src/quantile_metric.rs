//! Effects on a quantile (time to first play P90) from order statistics, plain or clustered.

use crate::StatsError;
use crate::arm::Moments;
use crate::distribution::normal;
use crate::error::share;
use crate::ratio_metric::{RatioEffect, effect_of};

/// A sample quantile and its outer order statistics in one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileSums {
    /// Observations.
    pub n: u64,
    /// Observations the order statistics come from, at most `n`.
    pub n_star: u64,
    /// Sample quantile.
    pub quantile: f64,
    /// Order statistic at `n* (ν − z √(ν(1−ν)/n*))`, `z` the .975 quantile.
    pub lower: f64,
    /// Order statistic at `n* (ν + z √(ν(1−ν)/n*))`.
    pub upper: f64,
    /// Where observations come in clusters (plays of listeners): sums over clusters.
    pub clusters: Option<ClusterSums>,
}

/// Sums over clusters of `I`, the observations at or below the quantile, and `m`, all observations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterSums {
    /// Clusters.
    pub n_clusters: u64,
    /// `Σ I`.
    pub below: f64,
    /// `Σ I²`.
    pub below_sq: f64,
    /// `Σ m`.
    pub size: f64,
    /// `Σ m²`.
    pub size_sq: f64,
    /// `Σ I m`.
    pub product: f64,
}

/// Unit variance of a quantile: `var(quantile) = variance / n`.
///
/// `(n*/n)(n − 1)((upper − lower) / 2z)²`, at least 1e-5 from 100 observations on; for clusters
/// multiplied by `var(Ī) / (ν(1−ν)/n)` with `var(Ī)` by the delta method over clusters.
///
/// # Errors
/// [`StatsError::TooFew`] below two observations or clusters, [`StatsError::Range`] for order statistics
/// out of order or `nu` outside `(0, 1)`.
///
/// # Source
/// Deng, Knoblich & Lu, "Applying the delta method in metric analytics", KDD 2018, section 4.
pub fn quantile_moments(sums: &QuantileSums, nu: f64) -> Result<Moments, StatsError> {
    share("nu", nu)?;
    if sums.n < 2 || sums.n_star == 0 {
        return Err(StatsError::TooFew { what: "observations of an arm", got: sums.n as usize, needed: 2 });
    }
    if sums.upper.is_nan() || sums.lower.is_nan() || sums.upper < sums.lower {
        return Err(StatsError::Range {
            what: "upper order statistic",
            value: sums.upper,
            rule: "it is not below the lower one",
        });
    }
    let n = sums.n as f64;
    let z = normal::upper_quantile(0.025);
    let half = (sums.upper - sums.lower) / (2.0 * z);
    let mut variance = sums.n_star as f64 / n * (n - 1.0) * half * half;
    if sums.n >= 100 {
        variance = variance.max(1e-5);
    }
    if let Some(c) = &sums.clusters {
        if c.n_clusters < 2 {
            return Err(StatsError::TooFew { what: "clusters", got: c.n_clusters as usize, needed: 2 });
        }
        let k = c.n_clusters as f64;
        let central = |cross: f64, a: f64, b: f64| (cross - a * b / k) / (k - 1.0);
        let (ratio, size) = (c.below / c.size, c.size / k);
        let of_ratio = (central(c.below_sq, c.below, c.below)
            - 2.0 * ratio * central(c.product, c.below, c.size)
            + ratio * ratio * central(c.size_sq, c.size, c.size))
            / (k * size * size);
        variance *= of_ratio / (nu * (1.0 - nu) / n);
    }
    Ok(Moments { n, mean: sums.quantile, variance })
}

/// [`quantile_moments`] for intervals: the variance without its bias in small samples, and the degrees of
/// freedom to hold the effect against.
///
/// The distance of two order statistics `k` apart is a multiple of a beta variable with relative variance
/// `δ = (1 − k/(n* + 1)) / k`. Its square is too large by `1 + δ` on average, and as a variance it is worth
/// `1/(2δ)` degrees of freedom: 25 where `k` is 50. The clusters' factor has one less than there are clusters;
/// relative variances of the two factors add up (`2/dof` each).
///
/// # Errors
/// As [`quantile_moments`].
///
/// # Source
/// David & Nagaraja, "Order Statistics", 2003, 2.5 (spacings of uniform variables are beta); Satterthwaite, "An
/// approximate distribution of estimates of variance components", Biometrics Bulletin 1946.
pub fn quantile_moments_and_dof(sums: &QuantileSums, nu: f64) -> Result<(Moments, f64), StatsError> {
    let moments = quantile_moments(sums, nu)?;
    let n = sums.n_star as f64;
    // Order statistics that lie beyond the sample are its ends.
    let reach = normal::upper_quantile(0.025) * (nu * (1.0 - nu) / n).sqrt();
    let k = n * ((nu + reach).min(1.0) - (nu - reach).max(0.0));
    let spread = ((1.0 - k / (n + 1.0)) / k).max(0.0);
    let of_clusters = sums.clusters.map_or(0.0, |c| 1.0 / (c.n_clusters as f64 - 1.0));
    let dof = 1.0 / (2.0 * spread + of_clusters);
    Ok((Moments { variance: moments.variance / (1.0 + spread), ..moments }, dof))
}

/// Absolute or relative effect on a quantile.
///
/// # Errors
/// As [`quantile_moments`] and the tests it feeds.
pub fn quantile_metric(
    control: &QuantileSums,
    treatment: &QuantileSums,
    nu: f64,
    alpha: f64,
    relative: bool,
) -> Result<RatioEffect, StatsError> {
    effect_of(&quantile_moments(control, nu)?, &quantile_moments(treatment, nu)?, alpha, relative)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::student_t;
    use crate::random::Stream;

    #[test]
    fn clusters_of_one_change_nothing_but_a_correction() {
        // 400 listeners with one play each, 360 of them at or below the P90.
        let plain =
            QuantileSums { n: 400, n_star: 400, quantile: 9.0, lower: 8.0, upper: 10.0, clusters: None };
        let clusters = ClusterSums {
            n_clusters: 400,
            below: 360.0,
            below_sq: 360.0,
            size: 400.0,
            size_sq: 400.0,
            product: 360.0,
        };
        let a = quantile_moments(&plain, 0.9).unwrap().variance;
        let b = quantile_moments(&QuantileSums { clusters: Some(clusters), ..plain }, 0.9).unwrap().variance;
        assert!((b / a - 400.0 / 399.0).abs() < 1e-9);
        assert!(quantile_moments(&QuantileSums { upper: 1.0, ..plain }, 0.9).is_err());
        assert!(quantile_moments(&plain, 1.0).is_err());
    }

    /// 840 independent values: the interval of the definition with a normal quantile falls short (.944 at large),
    /// the corrected one holds. Order statistics of uniforms are drawn as gamma sums.
    #[test]
    fn intervals_know_how_rough_the_spacing_is() {
        let (n, nu, runs) = (840_u64, 0.75, 20_000);
        let z = normal::upper_quantile(0.025);
        let reach = z * (nu * (1.0 - nu) / n as f64).sqrt();
        let index = |q: f64| (n as f64 * q).ceil() as usize;
        let at = [nu - reach, nu, nu + reach].map(index);
        let gamma = |k: usize, s: &mut Stream| {
            // Sums of exponentials are normal enough from here on; Wilson & Hilferty's cube is exact to 1e-3.
            let (k, [x, _]) = (k as f64, s.next_normals());
            k * (1.0 - 1.0 / (9.0 * k) + x / (3.0 * k.sqrt())).powi(3)
        };
        let (mut plain, mut corrected) = (0, 0);
        for run in 0..runs {
            let mut s = Stream::new(8, run);
            let parts =
                [at[0], at[1] - at[0], at[2] - at[1], n as usize + 1 - at[2]].map(|k| gamma(k, &mut s));
            let total: f64 = parts.iter().sum();
            let [lower, quantile, upper] =
                [parts[0], parts[0] + parts[1], parts[0] + parts[1] + parts[2]].map(|x| x / total);
            let sums = QuantileSums { n, n_star: n, quantile, lower, upper, clusters: None };
            let error = (quantile - nu).abs();
            let m = quantile_moments(&sums, nu).unwrap();
            plain += u32::from(error <= z * m.variance_of_mean().sqrt());
            let (m, dof) = quantile_moments_and_dof(&sums, nu).unwrap();
            assert!((20.0..30.0).contains(&dof), "{dof}");
            corrected +=
                u32::from(error <= student_t::upper_quantile(0.025, dof) * m.variance_of_mean().sqrt());
        }
        let [plain, corrected] = [plain, corrected].map(|c| f64::from(c) / runs as f64);
        assert!(plain < 0.945 && (corrected - 0.95).abs() < 0.005, "{plain} {corrected}");
    }
}
