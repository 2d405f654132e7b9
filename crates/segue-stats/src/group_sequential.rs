//! Group-sequential boundaries by recursive numerical integration.
//!
//! The statistic at look `k` is Brownian motion at information time `t_k`, divided by `√t_k`: its
//! increments are independent. The density of paths that have not crossed is carried from look to
//! look on a grid of Gauss–Legendre panels, and each boundary is solved so that the crossing probability of
//! that look is what the spending function gives it. A density is as smooth as the step that made it and is
//! read through a kernel as narrow as the next one: the grid resolves the narrower of the two.
//!
//! Sources: Armitage, McPherson & Rowe, JRSS A 1969; Lan & DeMets, "Discrete sequential boundaries for
//! clinical trials", Biometrika 1983; Jennison & Turnbull, "Group Sequential Methods", 2000, chapter 19.

use crate::StatsError;
use crate::distribution::{normal, student_t};
use crate::error::{finite, positive, share};
use crate::quadrature::gauss_legendre;

/// Boundaries lie within this many standard deviations: beyond, a crossing is not worth its digits.
pub(crate) const LIMIT: f64 = 8.0;

/// Grid points per standard deviation of a step; a test holds the boundaries against a grid four times as
/// fine.
pub(crate) const NODES_PER_STEP: f64 = 3.0;

/// Nodes of one panel.
const PANEL: usize = 16;

/// Steps are not followed beyond this many standard deviations: 1e-22 of them go further.
const REACH: f64 = 10.0;

/// Looks that follow each other within this share of the information are one look to the paths.
const CLOSEST: f64 = 4e-5;

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
/// A look with less than 4e-5 of its information new has the union bound `Φ⁻¹(1 − spent at this look)`, which is never too
/// low, and takes no path away from later looks.
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
    for (look, &t) in information_times.iter().enumerate() {
        let target = spending.spent(a, t.min(1.0));
        let increment = target - spent;
        out.spent_one_side.push(target);
        spent = target;
        if is_same_look(before, t) {
            out.z.push(normal::upper_quantile(increment.clamp(0.0, 0.5)).min(LIMIT));
            continue;
        }
        let sd = (t - before).sqrt();
        let z = boundary(&going, t.sqrt(), sd, increment);
        out.z.push(z);
        before = t;
        let Some(&next) = information_times[look + 1..].iter().find(|&&next| !is_same_look(t, next)) else {
            continue;
        };
        let upper = z * t.sqrt();
        let lower = if sides == Sides::Two { -upper } else { -LIMIT * t.sqrt() };
        going = advance(&going, [lower, upper], sd, (next - t).sqrt(), nodes);
    }
    Ok(out)
}

/// Whether a look adds too little information to be told from the one before.
pub(crate) fn is_same_look(before: f64, t: f64) -> bool {
    t - before < CLOSEST * t
}

/// The z that paths cross with probability `increment` in a step of standard deviation `sd` that ends where scores
/// have standard deviation `scale`; at most [`LIMIT`].
///
/// Newton's method on the logarithm of the crossing probability, which is nearly a parabola in the tail,
/// with bisection wherever a step leaves the bracket.
fn boundary(going: &[(f64, f64)], scale: f64, sd: f64, increment: f64) -> f64 {
    // Paths further below than this add less than 1e-35 and are not looked at; `going` ascends.
    let crossing = |z: f64| {
        let bar = z * scale;
        let from = going.partition_point(|&(at, _)| at < bar - 1.25 * REACH * sd);
        let (mut mass, mut slope) = (0.0, 0.0);
        for &(at, weight) in &going[from..] {
            let step = (bar - at) / sd;
            mass += weight * normal::sf(step);
            slope += weight * normal::pdf(step);
        }
        (mass, slope * scale / sd)
    };
    if increment <= 0.0 || crossing(LIMIT).0 >= increment {
        return LIMIT;
    }
    let (mut low, mut high) = (-LIMIT, LIMIT);
    let mut z = normal::upper_quantile(increment.min(0.5)).clamp(-LIMIT, LIMIT);
    for _ in 0..200 {
        let (mass, slope) = crossing(z);
        if mass > increment {
            low = z;
        } else {
            high = z;
        }
        let step = mass * (mass / increment).ln() / slope;
        let next =
            if step.is_finite() && z + step > low && z + step < high { z + step } else { 0.5 * (low + high) };
        if (next - z).abs() <= 1e-14 * z.abs().max(1.0) {
            return next;
        }
        z = next;
    }
    z
}

/// Density of the paths that lie within `[lower, upper]` after a step of standard deviation `sd`, on a grid fine
/// enough for a next step of `next_sd`: nodes ascend, weights are masses. None if the interval is empty.
pub(crate) fn advance(
    going: &[(f64, f64)],
    [lower, upper]: [f64; 2],
    sd: f64,
    next_sd: f64,
    nodes: f64,
) -> Vec<(f64, f64)> {
    if upper <= lower {
        return Vec::new();
    }
    let width = upper - lower;
    let panels = (nodes * width / sd.min(next_sd) / PANEL as f64).ceil().clamp(4.0, 4_096.0);
    let half = 0.5 * width / panels;
    let rule = gauss_legendre(PANEL);
    let mut out = Vec::with_capacity(panels as usize * PANEL);
    let (mut from, mut to) = (0, 0);
    for panel in 0..panels as usize {
        let middle = lower + (2.0 * panel as f64 + 1.0) * half;
        // Paths that can reach this panel.
        while from < going.len() && going[from].0 < middle - half - REACH * sd {
            from += 1;
        }
        while to < going.len() && going[to].0 <= middle + half + REACH * sd {
            to += 1;
        }
        for &(x, weight) in &rule {
            let at = middle + half * x;
            let density: f64 =
                going[from..to.max(from)].iter().map(|&(s, mass)| mass * normal::pdf((at - s) / sd)).sum();
            out.push((at, half * weight * density / sd));
        }
    }
    out
}

/// The z that is as unlikely as a statistic whose standard error was estimated with `dof` degrees of freedom.
///
/// Boundaries are those of a known variance. With few units at a look the statistic has Student's tails, and
/// holding it against a normal boundary rejects too often; held by its tail probability it does not.
///
/// Source: Jennison & Turnbull, "Group Sequential Methods", 2000, 4.4 (significance-level approach).
#[must_use]
pub fn normal_equivalent(statistic: f64, dof: f64) -> f64 {
    let z = normal::upper_quantile(student_t::sf(statistic.abs(), dof));
    if z.is_finite() { z.copysign(statistic) } else { statistic }
}

/// The other way: what such a statistic is compared with in place of the boundary `z`.
#[must_use]
pub fn student_boundary(z: f64, dof: f64) -> f64 {
    student_t::upper_quantile(normal::sf(z), dof)
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
    fn few_degrees_of_freedom_raise_the_boundary_and_many_do_not() {
        let t = student_boundary(1.959_963_984_540_054, 9.0);
        assert!((t - 2.262_157).abs() < 1e-6, "{t}");
        assert!((normal_equivalent(-t, 9.0) + 1.959_963_984_540_054).abs() < 1e-9);
        assert!((student_boundary(2.5, 1e7) - 2.5).abs() < 1e-5);
        assert!((student_boundary(-1.0, 20.0) + student_boundary(1.0, 20.0)).abs() < 1e-9);
        assert_eq!(normal_equivalent(0.0, 5.0), 0.0);
    }

    /// Looks as they come in practice: a long pause, a hair's breadth, a day without new units.
    #[test]
    fn uneven_looks_are_as_exact_as_even_ones() {
        let times = [0.1, 0.2, 0.2004, 0.21, 0.6, 0.6003, 0.9, 1.0];
        for sides in [Sides::One, Sides::Two] {
            let coarse = group_sequential_bounds(&times, 0.05, sides, Spending::Pocock).unwrap();
            let fine = bounds_on_grid(&times, 0.05, sides, Spending::Pocock, 4.0 * NODES_PER_STEP).unwrap();
            for (c, f) in coarse.z.iter().zip(&fine.z) {
                assert!((c - f).abs() < 1e-7, "{coarse:?} {fine:?}");
            }
        }
        // A repeated look has the union bound and changes nothing after it.
        let once = group_sequential_bounds(&[0.5, 1.0], 0.05, Sides::Two, Spending::Pocock).unwrap();
        let twice =
            group_sequential_bounds(&[0.5, 0.500_001, 1.0], 0.05, Sides::Two, Spending::Pocock).unwrap();
        assert_eq!(once.z[0], twice.z[0]);
        assert!(twice.z[1] > 4.0 && (once.z[1] - twice.z[2]).abs() < 1e-5, "{once:?} {twice:?}");
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
