//! Progressive feedback: what the first days of a trace say of all its days.
//!
//! An item earns activity on each of `w` days after a listener met it. The belief about the mean trace
//! is normal; partly seen traces update the days that are visible, and through the prior covariance
//! the days that are not. A bandit may thus act on the sum before the traces are complete.
//!
//! Source: McDonald, Maystre, Lalmas, Russo & Ciosek, "Impatient bandits: optimizing recommendations for
//! the long-term without delay", KDD 2023.

use crate::StatsError;
use crate::linear::{Cholesky, dot};

/// One listener's activity.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// `[w]` activity per day since `start`; days that have not happened yet are not read.
    pub activity: Vec<f64>,
    /// Step at which the listener met the item.
    pub start: i64,
}

/// How the noise of a mean of partly seen traces is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseEstimator {
    /// `C_ij / max(n_i, n_j)` from the given covariance.
    Fixed,
    /// `(S_ij + C_ij) / ((min(n_i, n_j) + 1) max(n_i, n_j))`: the given covariance counts as one more
    /// observation beside the scatter `S` of the traces.
    Regularized,
}

/// Normal prior of the mean trace, and the covariance of a single listener's trace around it.
#[derive(Debug, Clone, PartialEq)]
pub struct TracePrior {
    /// `[w]`.
    pub mean: Vec<f64>,
    /// `[w][w]` covariance of the mean trace.
    pub covariance: Vec<Vec<f64>>,
    /// `[w][w]` covariance of one trace.
    pub noise: Vec<Vec<f64>>,
}

/// Belief about the sum of the mean trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    /// Mean of the sum over days.
    pub mean: f64,
    /// Variance of the sum over days.
    pub variance: f64,
}

/// Posterior of the sum at step `now`. Day `j` of a trace is visible once `j < now − start`.
///
/// # Errors
/// [`StatsError::LengthMismatch`] if shapes do not fit; [`StatsError::NoVariance`] if the covariance of the
/// visible days is not positive definite.
pub fn progressive_posterior(
    prior: &TracePrior,
    traces: &[Trace],
    now: i64,
    estimator: NoiseEstimator,
) -> Result<Belief, StatsError> {
    let w = prior.mean.len();
    let fits = |what, got: usize| {
        if got == w { Ok(()) } else { Err(StatsError::LengthMismatch { what, expected: w, got }) }
    };
    for (what, matrix) in [("covariance of a trace", &prior.covariance), ("noise of a trace", &prior.noise)] {
        fits(what, matrix.len())?;
        for row in matrix {
            fits(what, row.len())?;
        }
    }
    for trace in traces {
        fits("days of a trace", trace.activity.len())?;
    }
    let visible = |trace: &Trace| usize::try_from(now.saturating_sub(trace.start)).unwrap_or(0).min(w);
    // Visibility is a prefix, so counts fall with the day.
    let counts: Vec<f64> = (0..w).map(|j| traces.iter().filter(|t| j < visible(t)).count() as f64).collect();
    let k = counts.iter().position(|&n| n == 0.0).unwrap_or(w);
    let prior_sum =
        Belief { mean: prior.mean.iter().sum(), variance: prior.covariance.iter().flatten().sum() };
    if k == 0 {
        return Ok(prior_sum);
    }
    let mean: Vec<f64> = (0..k)
        .map(|j| {
            let total: f64 = traces.iter().filter(|t| j < visible(t)).map(|t| t.activity[j]).sum();
            total / counts[j]
        })
        .collect();
    let mut scatter = vec![0.0; k * k];
    if estimator == NoiseEstimator::Regularized {
        for trace in traces {
            // As the authors' code does it: a day that is not visible enters as 0, not as missing, which
            // makes the estimate wider while traces are incomplete.
            let off: Vec<f64> =
                (0..k).map(|j| if j < visible(trace) { trace.activity[j] } else { 0.0 } - mean[j]).collect();
            for i in 0..k {
                for j in 0..k {
                    scatter[i * k + j] += off[i] * off[j];
                }
            }
        }
    }
    let mut system = vec![0.0; k * k];
    for i in 0..k {
        for j in 0..k {
            let (few, many) = (counts[i].min(counts[j]), counts[i].max(counts[j]));
            let noise = match estimator {
                NoiseEstimator::Fixed => prior.noise[i][j] / many,
                NoiseEstimator::Regularized => {
                    (scatter[i * k + j] + prior.noise[i][j]) / ((few + 1.0) * many)
                }
            };
            system[i * k + j] = prior.covariance[i][j] + noise;
        }
    }
    let factored = Cholesky::new(&system, k, "the visible part of a trace")?;
    // Only the sum is asked for: with u = Pᵀ1 on the visible days, its gain is the solution for u.
    let u: Vec<f64> = (0..k).map(|j| prior.covariance.iter().map(|row| row[j]).sum()).collect();
    let gain = factored.solve(&u);
    let surprise: Vec<f64> = (0..k).map(|j| mean[j] - prior.mean[j]).collect();
    Ok(Belief { mean: prior_sum.mean + dot(&gain, &surprise), variance: prior_sum.variance - dot(&gain, &u) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_day_is_the_normal_update_and_nothing_seen_is_the_prior() {
        let prior = TracePrior { mean: vec![1.0], covariance: vec![vec![4.0]], noise: vec![vec![2.0]] };
        let traces = [Trace { activity: vec![3.0], start: 0 }, Trace { activity: vec![5.0], start: 0 }];
        let at = |now| progressive_posterior(&prior, &traces, now, NoiseEstimator::Fixed).unwrap();
        assert_eq!(at(0), Belief { mean: 1.0, variance: 4.0 });
        // Precision 1/4 + 2/2, mean (1/4 + 4) / 1.25.
        assert!((at(1).mean - 3.4).abs() < 1e-12 && (at(1).variance - 0.8).abs() < 1e-12);
        assert_eq!(at(9), at(1));
        let short = [Trace { activity: vec![], start: 0 }];
        assert!(progressive_posterior(&prior, &short, 1, NoiseEstimator::Fixed).is_err());
    }
}
