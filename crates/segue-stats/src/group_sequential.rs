//! Group-sequential boundaries by recursive numerical integration.
//!
//! The statistic at look `k` is Brownian motion at information time `t_k`, divided by `√t_k`: its
//! increments are independent. The density of paths that have not crossed is carried from look to
//! look on a Gauss–Legendre grid, and each boundary is solved so that the crossing probability of
//! that look is what the spending function gives it.
//!
//! Sources: Armitage, McPherson & Rowe, JRSS A 1969; Lan & DeMets, "Discrete sequential boundaries for
//! clinical trials", Biometrika 1983; Jennison & Turnbull, "Group Sequential Methods", 2000, chapter 19.

use crate::StatsError;
use crate::distribution::{bisect_falling, normal};
use crate::error::{finite, positive, share};
use crate::quadrature::{gauss_legendre, gauss_legendre_on};

/// Boundaries lie within this many standard deviations: beyond, a crossing is not worth its digits.
pub(crate) const LIMIT: f64 = 8.0;

/// Grid points per standard deviation of a step. The density is as smooth as one step is wide; a test
/// holds the boundaries against a grid four times as fine.
pub(crate) const NODES_PER_STEP: f64 = 3.0;

/// How much of the error may be spent by information time `t`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spending {
    /// O'Brien–Fleming type: `2 (1 − Φ(Φ⁻¹(1 − a/2) / √t))`.
    ObrienFleming,
    /// Pocock type: `a ln(1 + (e − 1) t)`.
    Pocock,
    /// `a t^rho`, `rho > 0`.
    Power(f64),
    /// Hwang, Shih & DeCani: `a (1 − e^(−γ t)) / (1 − e^(−γ))`, `a t` at `γ = 0`.
    HwangShihDeCani(f64),
}

impl Spending {
    /// Error spent by information time `t` out of `a`.
    #[must_use]
    pub fn spent(self, a: f64, t: f64) -> f64 {
        match self {
            Self::ObrienFleming => {
                if t <= 0.0 {
                    0.0
                } else {
                    2.0 * normal::sf(normal::upper_quantile(0.5 * a) / t.sqrt())
                }
            }
            Self::Pocock => a * ((std::f64::consts::E - 1.0) * t).ln_1p(),
            Self::Power(rho) => a * t.powf(rho),
            Self::HwangShihDeCani(gamma) => {
                if gamma == 0.0 {
                    a * t
                } else {
                    a * (-gamma * t).exp_m1() / (-gamma).exp_m1()
                }
            }
        }
    }
}

/// One-sided or two-sided testing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Cross upwards only; the continuation region is `(−8 sd, c_k)`.
    One,
    /// Cross either way; `alpha / 2` per side, the continuation region is `(−c_k, c_k)`.
    Two,
}

/// Boundaries of a group-sequential test.
#[derive(Debug, Clone, PartialEq)]
pub struct Boundaries {
    /// `[n_looks]` upper z boundary, at most 8.
    pub z: Vec<f64>,
    /// `[n_looks]` error spent on one side by that look.
    pub spent_one_side: Vec<f64>,
}

/// Upper z boundaries for looks at `information_times`.
///
/// # Errors
/// [`StatsError::TooFew`] without looks; [`StatsError::Range`] for information times that do not rise
/// within `(0, 1]`, `alpha` outside `(0, 1)` or a spending parameter out of range.
pub fn group_sequential_bounds(
    information_times: &[f64],
    alpha: f64,
    sides: Sides,
    spending: Spending,
) -> Result<Boundaries, StatsError> {
    bounds_on_grid(information_times, alpha, sides, spending, NODES_PER_STEP)
}

/// The boundaries with `nodes` grid points per standard deviation of a step.
fn bounds_on_grid(
    information_times: &[f64],
    alpha: f64,
    sides: Sides,
    spending: Spending,
    nodes: f64,
) -> Result<Boundaries, StatsError> {
    share("alpha", alpha)?;
    match spending {
        Spending::Power(rho) => positive("rho", rho)?,
        Spending::HwangShihDeCani(gamma) => finite("gamma", gamma)?,
        _ => 0.0,
    };
    if information_times.is_empty() {
        return Err(StatsError::TooFew { what: "looks", got: 0, needed: 1 });
    }
    let mut last = 0.0;
    for &t in information_times {
        if !(t > last && t <= 1.0 + 1e-9) {
            return Err(StatsError::Range {
                what: "information time",
                value: t,
                rule: "information times rise, above 0 and up to 1",
            });
        }
        last = t;
    }
    let a = alpha / if sides == Sides::Two { 2.0 } else { 1.0 };
    let mut out = Boundaries { z: Vec::new(), spent_one_side: Vec::new() };
    // Paths that go on, as weighted points of the score scale √t z; before the first look all are at 0.
    let mut going: Vec<(f64, f64)> = vec![(0.0, 1.0)];
    let (mut spent, mut before) = (0.0, 0.0);
    for &t in information_times {
        let target = spending.spent(a, t.min(1.0));
        let sd = (t - before).sqrt();
        let crossing = |z: f64| -> f64 {
            going.iter().map(|&(at, mass)| mass * normal::sf((z * t.sqrt() - at) / sd)).sum()
        };
        let increment = target - spent;
        let z = if crossing(LIMIT) >= increment {
            LIMIT
        } else {
            bisect_falling(-LIMIT, LIMIT, |z| crossing(z) - increment)
        };
        out.z.push(z);
        out.spent_one_side.push(target);

        let upper = z * t.sqrt();
        let lower = if sides == Sides::Two { -upper } else { -LIMIT * t.sqrt() };
        going = if upper > lower { advance(&going, lower, upper, sd, nodes) } else { Vec::new() };
        (spent, before) = (target, t);
    }
    Ok(out)
}

/// Density of the paths that lie within `(lower, upper)` after a step of standard deviation `sd`.
pub(crate) fn advance(going: &[(f64, f64)], lower: f64, upper: f64, sd: f64, nodes: f64) -> Vec<(f64, f64)> {
    let n = (nodes * (upper - lower) / sd).ceil().clamp(64.0, 4_000.0) as usize;
    gauss_legendre_on(&gauss_legendre(n), lower, upper)
        .into_iter()
        .map(|(x, weight)| {
            let density: f64 = going.iter().map(|&(at, mass)| mass * normal::pdf((x - at) / sd)).sum();
            (x, weight * density / sd)
        })
        .collect()
}

/// Adjusted alpha of each look from sample sizes: what a plain test at that look may use.
///
/// Information time = cumulative sample over `max(expected_total, largest)`; power spending with
/// `rho = 2` on `alpha / comparisons`; the answer is `sides · P(Z > z_k)`.
///
/// # Errors
/// As [`group_sequential_bounds`]; [`StatsError::Range`] for a total that is not above 0.
pub fn sequential_adjusted_alpha(
    cumulative_sample: &[u64],
    expected_total: u64,
    alpha: f64,
    sides: Sides,
    comparisons: u32,
) -> Result<Vec<f64>, StatsError> {
    let largest = cumulative_sample.iter().copied().max().unwrap_or(0).max(expected_total);
    positive("largest sample", largest as f64)?;
    positive("comparisons", f64::from(comparisons))?;
    let times: Vec<f64> = cumulative_sample.iter().map(|&n| n as f64 / largest as f64).collect();
    let bounds =
        group_sequential_bounds(&times, alpha / f64::from(comparisons), sides, Spending::Power(2.0))?;
    let factor = if sides == Sides::Two { 2.0 } else { 1.0 };
    Ok(bounds.z.iter().map(|&z| factor * normal::sf(z)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(looks: usize) -> Vec<f64> {
        (1..=looks).map(|k| k as f64 / looks as f64).collect()
    }

    #[test]
    fn the_published_table_of_four_looks_is_reproduced() {
        let b = group_sequential_bounds(&even(4), 0.05, Sides::Two, Spending::ObrienFleming).unwrap();
        for (got, want) in b.z.iter().zip([4.3326, 2.9631, 2.3590, 2.0141]) {
            assert!((got - want).abs() < 5e-5, "{got} {want}");
        }
        let one = group_sequential_bounds(&[1.0], 0.05, Sides::Two, Spending::Pocock).unwrap();
        assert!((one.z[0] - 1.959_963_984_540_054).abs() < 1e-9);
    }

    /// 20 looks under the null: the share of paths that cross is what was to be spent.
    #[test]
    fn simulated_paths_cross_as_often_as_they_should() {
        use crate::random::Stream;
        let times = even(20);
        let b = group_sequential_bounds(&times, 0.1, Sides::Two, Spending::Pocock).unwrap();
        let (runs, mut crossed) = (20_000, 0);
        for run in 0..runs {
            let mut stream = Stream::new(5, run);
            let mut path = 0.0;
            for z in times.iter().zip(&b.z).map(|(t, z)| z * t.sqrt()) {
                path += normal::quantile(stream.next_f64().max(1e-300)) * 0.05_f64.sqrt();
                if path.abs() >= z {
                    crossed += 1;
                    break;
                }
            }
        }
        let rate = f64::from(crossed) / runs as f64;
        assert!((rate - 0.1).abs() < 0.0085, "{rate}"); // four standard errors
    }

    #[test]
    fn a_finer_grid_moves_no_boundary_by_more_than_1e_7() {
        for (looks, spending) in
            [(28, Spending::Power(2.0)), (28, Spending::ObrienFleming), (80, Spending::Pocock)]
        {
            let coarse = group_sequential_bounds(&even(looks), 0.05, Sides::Two, spending).unwrap();
            let fine =
                bounds_on_grid(&even(looks), 0.05, Sides::Two, spending, 4.0 * NODES_PER_STEP).unwrap();
            for (look, (c, f)) in coarse.z.iter().zip(&fine.z).enumerate() {
                assert!((c - f).abs() < 1e-7, "look {look} of {looks}: {c} {f}");
            }
            assert!((coarse.spent_one_side[looks - 1] - 0.025).abs() < 1e-12);
        }
    }

    #[test]
    fn odd_settings_are_named() {
        for times in [vec![], vec![0.5, 0.5], vec![0.0, 1.0], vec![0.5, 1.1], vec![f64::NAN]] {
            assert!(group_sequential_bounds(&times, 0.05, Sides::Two, Spending::Pocock).is_err());
        }
        assert!(group_sequential_bounds(&[1.0], 0.0, Sides::One, Spending::Pocock).is_err());
        assert!(group_sequential_bounds(&[1.0], 0.05, Sides::One, Spending::Power(-1.0)).is_err());
        assert!(sequential_adjusted_alpha(&[0, 10], 0, 0.05, Sides::One, 1).is_err());
    }
}
