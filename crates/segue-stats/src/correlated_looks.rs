//! Boundaries for looks whose increments are *not* independent, from their estimated covariance.
//!
//! A listener's minutes keep accumulating: the estimate at look 2 holds the same listeners as at look 1 with
//! more of each, so the share of enrolled listeners is not the information fraction and the boundaries of
//! [`crate::group_sequential`] do not hold. Here the covariance of the estimates across looks is taken as it
//! is, estimated from the listeners ([`LookSums`]), and the boundaries are solved against it.

use rayon::prelude::*;

use crate::StatsError;
use crate::arm::{ArmSums, Moments};
use crate::distribution::normal;
use crate::error::{finite, positive, share};
use crate::group_sequential::{Sides, Spending};
use crate::random::Stream;

/// Paths drawn; the boundary of a look that spends less than [`FEWEST`] of them is the union bound, which
/// is never too low.
const PATHS: usize = 1 << 17;
const FEWEST: f64 = 100.0;

/// One arm's units as sums over looks, as a stream: memory does not grow with the units.
#[derive(Debug, Clone, PartialEq)]
pub struct LookSums {
    looks: usize,
    /// `[n_looks]` units enrolled by each look.
    n: Vec<u64>,
    /// Row-major `[n_looks²]`: at `(j, k)`, `j ≤ k`, `Σ y_k` over the units enrolled by look `j`.
    sum: Vec<f64>,
    /// Row-major `[n_looks²]`: at `(j, k)`, `j ≤ k`, `Σ y_j y_k` over those units.
    cross: Vec<f64>,
}

impl LookSums {
    /// No units yet.
    #[must_use]
    pub fn new(looks: usize) -> Self {
        Self { looks, n: vec![0; looks], sum: vec![0.0; looks * looks], cross: vec![0.0; looks * looks] }
    }

    /// Adds a unit that enrolled by look `enrolled` with its value as it stood at each look; what stands before
    /// that look is not read.
    ///
    /// # Errors
    /// [`StatsError::LengthMismatch`]; [`StatsError::Range`] for a value that is not finite.
    pub fn add(&mut self, enrolled: usize, values: &[f64]) -> Result<(), StatsError> {
        if values.len() != self.looks {
            return Err(StatsError::LengthMismatch {
                what: "looks of a unit",
                expected: self.looks,
                got: values.len(),
            });
        }
        for j in enrolled..self.looks {
            finite("value of a unit", values[j])?;
            self.n[j] += 1;
            for k in j..self.looks {
                self.sum[j * self.looks + k] += values[k];
                self.cross[j * self.looks + k] += values[j] * values[k];
            }
        }
        Ok(())
    }

    /// Number, mean and variance between units at each look.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] where a look has fewer than two units.
    pub fn moments(&self) -> Result<Vec<Moments>, StatsError> {
        (0..self.looks)
            .map(|k| {
                let at = k * self.looks + k;
                ArmSums { n: self.n[k], sum: self.sum[at], sum_sq: self.cross[at] }.moments(false)
            })
            .collect()
    }

    /// Covariance of the arm's mean between looks:
    /// `Cov(ȳ_j, ȳ_k) = Σ_i (y_ij − ȳ_j)(y_ik − ȳ_k) / (n_j n_k)` over the units enrolled by the earlier look. The
    /// covariance of a difference is the sum of both arms' matrices.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] where a look has fewer than two units.
    pub fn covariance(&self) -> Result<Vec<Vec<f64>>, StatsError> {
        let mean: Vec<f64> = self.moments()?.iter().map(|m| m.mean).collect();
        let mut out = vec![vec![0.0; self.looks]; self.looks];
        for j in 0..self.looks {
            for k in j..self.looks {
                let at = j * self.looks + k;
                let (n, own) = (self.n[j] as f64, self.sum[j * self.looks + j]);
                let cross = self.cross[at] - mean[j] * self.sum[at] - mean[k] * own + n * mean[j] * mean[k];
                out[j][k] = cross / (n * self.n[k] as f64);
                out[k][j] = out[j][k];
            }
        }
        Ok(out)
    }
}

/// z boundaries for looks with this covariance of their estimates.
///
/// - `covariance`: `[n_looks][n_looks]` of the effect's estimates
/// - `spending_times`: `[n_looks]` when error may be spent: any schedule that rises to at most 1 and does not
///   depend on the effect, such as the planned share of the sample or of the calendar
///
/// Paths are drawn from the covariance with fixed random numbers; each boundary is the quantile of the paths
/// that go on, so that a look spends what it may. Where that quantile would rest on fewer than 100 paths, it
/// is the union bound `Φ⁻¹(1 − spent at this look)`, which is never too low.
///
/// # Errors
/// [`StatsError::LengthMismatch`], [`StatsError::NoVariance`] for a look without variance;
/// [`StatsError::Range`] for times that do not rise within `(0, 1]` or `alpha` outside `(0, 1)`.
///
/// # Source
/// Lan & DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 1983, on a general
/// covariance as in Genz & Bretz, "Computation of Multivariate Normal and t Probabilities", 2009.
pub fn correlated_bounds(
    covariance: &[Vec<f64>],
    spending_times: &[f64],
    alpha: f64,
    sides: Sides,
    spending: Spending,
    seed: u64,
) -> Result<Vec<f64>, StatsError> {
    share("alpha", alpha)?;
    let looks = covariance.len();
    if spending_times.len() != looks || covariance.iter().any(|row| row.len() != looks) {
        return Err(StatsError::LengthMismatch {
            what: "looks of a covariance",
            expected: looks,
            got: spending_times.len(),
        });
    }
    let mut before = 0.0;
    for &t in spending_times {
        if !(t > before && t <= 1.0 + 1e-9) {
            return Err(StatsError::Range {
                what: "spending time",
                value: t,
                rule: "spending times rise, above 0 and up to 1",
            });
        }
        before = t;
    }
    let factor = semidefinite_factor(&correlation(covariance)?);
    let per_side = alpha / if sides == Sides::Two { 2.0 } else { 1.0 };
    let tails = if sides == Sides::Two { 2.0 } else { 1.0 };
    // Row-major `[PATHS][n_looks]`.
    let mut paths = vec![0.0; PATHS * looks];
    paths.par_chunks_exact_mut(looks).enumerate().for_each(|(path, z)| {
        let mut stream = Stream::new(seed, path as u64);
        for pair in z.chunks_mut(2) {
            pair.iter_mut().zip(stream.next_normals()).for_each(|(z, noise)| *z = noise);
        }
        // In place from the last look back: a row of the factor reads no noise after its own.
        for k in (0..looks).rev() {
            z[k] = factor[k].iter().zip(&*z).take(k + 1).map(|(l, noise)| l * noise).sum();
        }
    });
    let mut going: Vec<u32> = (0..PATHS as u32).collect();
    let mut reached = Vec::with_capacity(PATHS);
    let (mut bounds, mut spent) = (Vec::with_capacity(looks), 0.0);
    for (k, &t) in spending_times.iter().enumerate() {
        let target = spending.spent(per_side, t.min(1.0));
        let increment: f64 = (target - spent).max(0.0);
        spent = target;
        let union = normal::upper_quantile(increment.min(0.5));
        let reach = |path: u32| {
            let z = paths[path as usize * looks + k];
            if sides == Sides::Two { z.abs() } else { z }
        };
        let crossing = increment * tails * PATHS as f64;
        let z = if crossing < FEWEST {
            union
        } else {
            reached.clear();
            reached.extend(going.iter().map(|&p| reach(p)));
            let at = crossing.ceil() as usize;
            if at < reached.len() {
                reached.select_nth_unstable_by(at, |a, b| b.total_cmp(a)).1.clamp(0.0, union)
            } else {
                0.0
            }
        };
        going.retain(|&p| reach(p) < z);
        bounds.push(z);
    }
    Ok(bounds)
}

fn correlation(covariance: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, StatsError> {
    let sd: Vec<f64> = covariance
        .iter()
        .enumerate()
        .map(|(k, row)| Ok(positive("variance of a look", row[k])?.sqrt()))
        .collect::<Result<_, StatsError>>()?;
    Ok(covariance
        .iter()
        .enumerate()
        .map(|(j, row)| row.iter().enumerate().map(|(k, c)| c / (sd[j] * sd[k])).collect())
        .collect())
}

/// `L` with `L Lᵀ ≈ A` for a correlation matrix that may be singular: a look that says nothing new adds no
/// column.
fn semidefinite_factor(a: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = a.len();
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            let rest = a[i][j] - dot;
            l[i][j] = if i == j {
                rest.max(0.0).sqrt()
            } else if l[j][j] > 1e-7 {
                rest / l[j][j]
            } else {
                0.0
            };
        }
    }
    l
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group_sequential::group_sequential_bounds;

    #[test]
    fn independent_increments_give_the_boundaries_of_the_recursion() {
        let times = [0.2, 0.4, 0.6, 0.8, 1.0];
        // Brownian estimates: Var(d_k) = 1/t_k, Cov(d_j, d_k) = 1/max(t_j, t_k).
        let covariance: Vec<Vec<f64>> =
            times.iter().map(|s| times.iter().map(|t| 1.0 / f64::max(*s, *t)).collect()).collect();
        for spending in [Spending::Pocock, Spending::ObrienFleming] {
            let want = group_sequential_bounds(&times, 0.05, Sides::Two, spending).unwrap().z;
            let got = correlated_bounds(&covariance, &times, 0.05, Sides::Two, spending, 3).unwrap();
            for (g, w) in got.iter().zip(&want) {
                assert!((g - w).abs() < 0.05, "{got:?} {want:?}");
            }
        }
    }

    #[test]
    fn looks_that_repeat_each_other_cost_less_than_independent_ones() {
        let same = vec![vec![1.0; 3]; 3];
        let b =
            correlated_bounds(&same, &[0.4, 0.7, 1.0], 0.05, Sides::Two, Spending::Power(1.0), 1).unwrap();
        // One and the same statistic: in all it is crossed 5 % of the time, at the lowest boundary.
        let lowest = b.iter().copied().fold(f64::INFINITY, f64::min);
        assert!((lowest - 1.96).abs() < 0.03, "{b:?}");
    }

    #[test]
    fn the_covariance_of_accumulating_values_is_that_of_their_sums() {
        let mut sums = LookSums::new(2);
        sums.add(0, &[1.0, 2.0]).unwrap();
        sums.add(0, &[3.0, 5.0]).unwrap();
        sums.add(1, &[f64::NAN, 2.0]).unwrap();
        let c = sums.covariance().unwrap();
        assert!((c[0][0] - 2.0 / 4.0).abs() < 1e-15);
        assert!((c[0][1] - ((1.0 - 2.0) * (2.0 - 3.0) + (3.0 - 2.0) * (5.0 - 3.0)) / 6.0).abs() < 1e-15);
        assert!((c[1][1] - 6.0 / 9.0).abs() < 1e-15);
        assert_eq!(sums.moments().unwrap()[1].mean, 3.0);
        assert!(LookSums::new(1).covariance().is_err());
        assert!(sums.add(0, &[1.0]).is_err() && sums.add(0, &[1.0, f64::NAN]).is_err());
    }
}
