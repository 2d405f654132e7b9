//! What can be said after a group-sequential test has stopped, without the bias of having stopped.
//!
//! An estimate read at the moment it crossed a boundary is too large on average, and its plain interval
//! covers too seldom. Stagewise ordering of the outcomes (upward crossings first, the earlier the larger;
//! then the values at the look of the stop) gives a p-value, an interval and a median-unbiased estimate.
//! [`repeated_interval`] is valid at every look whether or not the test stops there.

use crate::StatsError;
use crate::distribution::normal;
use crate::error::{finite, positive, share};
use crate::group_sequential::{Boundaries, LIMIT, NODES_PER_STEP, Sides, advance, is_same_look};

/// Result of [`after_stopping`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AfterStopping {
    /// Effect that the outcome exceeds half of the time.
    pub median_unbiased: f64,
    /// Stagewise interval of the effect.
    pub interval: [f64; 2],
    /// Stagewise p-value of no effect, two-sided for a two-sided design.
    pub p_value: f64,
}

/// Inference at look `information_times.len()`, the last so far, of a design with `boundaries`.
///
/// - `information_times`: `[n_looks]` up to and including the look of the stop
/// - `boundaries`: of at least that many looks
/// - `estimate`, `standard_error`: of the effect at that look
///
/// `P_θ(more extreme)` as a function of the drift `θ` rises from 0 to 1; the interval solves it for
/// `alpha/2` and `1 − alpha/2`, the estimate for ½. Paths under a drift are the paths without one, weighted by
/// the likelihood ratio `exp(θ s − θ² t / 2)`, so the recursion runs once.
///
/// # Errors
/// [`StatsError::TooFew`] without looks or with fewer boundaries than looks; [`StatsError::Range`] for
/// information times that do not rise, a standard error that is not above 0 or `alpha` outside `(0, 1)`.
///
/// # Source
/// Tsiatis, Rosner & Mehta, "Exact confidence intervals following a group sequential test", Biometrics 1984;
/// Jennison & Turnbull, "Group Sequential Methods", 2000, 8.4 and 8.5.
pub fn after_stopping(
    information_times: &[f64],
    boundaries: &Boundaries,
    sides: Sides,
    estimate: f64,
    standard_error: f64,
    alpha: f64,
) -> Result<AfterStopping, StatsError> {
    share("alpha", alpha)?;
    finite("estimate", estimate)?;
    positive("standard error", standard_error)?;
    let Some(&stop) = information_times.last() else {
        return Err(StatsError::TooFew { what: "looks", got: 0, needed: 1 });
    };
    if boundaries.z.len() < information_times.len() {
        return Err(StatsError::TooFew {
            what: "boundaries",
            got: boundaries.z.len(),
            needed: information_times.len(),
        });
    }
    let paths = Paths::new(information_times, boundaries, sides)?;
    let score = estimate / standard_error * stop.sqrt();
    let to_effect = standard_error * stop.sqrt();
    // The drift at which the outcome's upper tail has this probability.
    let solve = |p: f64| {
        let centre = score / stop;
        let reach = (LIMIT + 6.0) / stop.sqrt() + score.abs() / stop;
        let (mut low, mut high) = (centre - reach, centre + reach);
        for _ in 0..64 {
            let mid = 0.5 * (low + high);
            if paths.upper_tail(mid, score) < p {
                low = mid;
            } else {
                high = mid;
            }
        }
        0.5 * (low + high) * to_effect
    };
    let upper = paths.upper_tail(0.0, score);
    let p_value = match sides {
        Sides::One => upper,
        // The lower tail by the mirror image, not by 1 − upper: small p-values keep their digits.
        Sides::Two => 2.0 * upper.min(paths.upper_tail(0.0, -score)).min(0.5),
    };
    Ok(AfterStopping {
        median_unbiased: solve(0.5),
        interval: [solve(0.5 * alpha), solve(1.0 - 0.5 * alpha)],
        p_value,
    })
}

/// Interval that is valid at every look: the estimate with the boundary in place of the normal quantile.
///
/// # Errors
/// [`StatsError::Range`] for a boundary or a standard error that is not above 0.
///
/// # Source
/// Jennison & Turnbull, "Interim analyses: the repeated confidence interval approach", JRSS B 1989.
pub fn repeated_interval(
    estimate: f64,
    standard_error: f64,
    z_boundary: f64,
) -> Result<[f64; 2], StatsError> {
    let half = positive("boundary", z_boundary)? * positive("standard error", standard_error)?;
    Ok([finite("estimate", estimate)? - half, estimate + half])
}

/// Probability that a design with `boundaries` rejects at any look, if the mean of z at full information is
/// `drift`: its power, or its error at a drift of 0.
///
/// # Errors
/// As [`after_stopping`].
pub fn crossing_probability(
    information_times: &[f64],
    z_boundaries: &[f64],
    sides: Sides,
    drift: f64,
) -> Result<f64, StatsError> {
    finite("drift", drift)?;
    if z_boundaries.len() < information_times.len() {
        return Err(StatsError::TooFew {
            what: "boundaries",
            got: z_boundaries.len(),
            needed: information_times.len(),
        });
    }
    let boundaries = Boundaries { z: z_boundaries.to_vec(), spent_one_side: Vec::new() };
    let paths = Paths::new(information_times, &boundaries, sides)?;
    let upper = |d: f64| paths.upper_tail(d, paths.steps.last().map_or(0.0, |s| s.upper));
    Ok((upper(drift) + if sides == Sides::Two { upper(-drift) } else { 0.0 }).min(1.0))
}

/// Paths without drift before each look: weighted points of the score scale.
struct Paths {
    steps: Vec<Step>,
}

struct Step {
    /// Information time of the look before.
    before: f64,
    /// Information time of this look.
    at: f64,
    /// Upper boundary of this look on the score scale.
    upper: f64,
    going: Vec<(f64, f64)>,
}

impl Paths {
    fn new(times: &[f64], boundaries: &Boundaries, sides: Sides) -> Result<Self, StatsError> {
        let mut before = 0.0;
        for &at in times {
            if at.is_nan() || at <= before {
                return Err(StatsError::Range {
                    what: "information time",
                    value: at,
                    rule: "information times rise, above 0",
                });
            }
            before = at;
        }
        // Of looks that cannot be told apart the first counts, but for the last look of all.
        let mut looks: Vec<(f64, f64)> = Vec::with_capacity(times.len());
        for (look, (&at, &z)) in times.iter().zip(&boundaries.z).enumerate() {
            if looks.last().is_some_and(|&(before, _)| is_same_look(before, at)) {
                if look + 1 < times.len() {
                    continue;
                }
                looks.pop();
            }
            looks.push((at, z));
        }
        let mut steps: Vec<Step> = Vec::with_capacity(looks.len());
        let mut going = vec![(0.0, 1.0)];
        let mut before = 0.0;
        for (look, &(at, z)) in looks.iter().enumerate() {
            let (sd, upper): (f64, f64) = ((at - before).sqrt(), z * at.sqrt());
            let lower = if sides == Sides::Two { -upper } else { -LIMIT * at.sqrt() };
            let next = looks.get(look + 1).map_or(Vec::new(), |&(next, _)| {
                advance(&going, [lower, upper], sd, (next - at).sqrt(), NODES_PER_STEP)
            });
            steps.push(Step { before, at, upper, going: std::mem::replace(&mut going, next) });
            before = at;
        }
        Ok(Self { steps })
    }

    /// Probability under a drift of an earlier upward crossing, or of a score of at least `score` at the
    /// last look.
    fn upper_tail(&self, drift: f64, score: f64) -> f64 {
        let last = self.steps.len() - 1;
        self.steps
            .iter()
            .enumerate()
            .map(|(k, step)| {
                let bar = if k == last { score } else { step.upper };
                let sd = (step.at - step.before).sqrt();
                step.going
                    .iter()
                    .map(|&(x, mass)| {
                        let ratio = (drift * x - 0.5 * drift * drift * step.before).exp();
                        mass * ratio * normal::sf((bar - x - drift * (step.at - step.before)) / sd)
                    })
                    .sum::<f64>()
            })
            .sum::<f64>()
            .min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group_sequential::{Spending, group_sequential_bounds};
    use crate::random::Stream;

    #[test]
    fn one_look_is_a_plain_z_test() {
        let b = group_sequential_bounds(&[1.0], 0.05, Sides::Two, Spending::ObrienFleming).unwrap();
        let a = after_stopping(&[1.0], &b, Sides::Two, 2.5, 1.0, 0.05).unwrap();
        assert!((a.median_unbiased - 2.5).abs() < 1e-9);
        assert!((a.interval[0] - 0.540_036).abs() < 1e-5 && (a.interval[1] - 4.459_964).abs() < 1e-5);
        assert!((a.p_value - normal::two_sided_p(2.5)).abs() < 1e-12);
    }

    #[test]
    fn the_mirror_image_gives_the_mirror_answer() {
        let times = [0.3, 0.6, 1.0];
        let b = group_sequential_bounds(&times, 0.05, Sides::Two, Spending::Pocock).unwrap();
        let up = after_stopping(&times[..2], &b, Sides::Two, 3.0, 1.0, 0.05).unwrap();
        let down = after_stopping(&times[..2], &b, Sides::Two, -3.0, 1.0, 0.05).unwrap();
        assert!((up.median_unbiased + down.median_unbiased).abs() < 1e-6);
        assert!((up.interval[0] + down.interval[1]).abs() < 1e-6);
        assert!((up.p_value - down.p_value).abs() < 1e-9);
        // Stopping early on a large value overstates: the estimate is pulled back.
        assert!(up.median_unbiased < 3.0, "{up:?}");
    }

    /// 1,500 designs with a true drift of 2: the plain estimate at the stop is too large on average, the
    /// stagewise interval covers as often as it says and the estimate is too large half of the time.
    #[test]
    fn after_stopping_the_interval_covers_and_the_median_is_unbiased() {
        let times = [0.25, 0.5, 0.75, 1.0];
        let b = group_sequential_bounds(&times, 0.05, Sides::Two, Spending::Pocock).unwrap();
        let (truth, runs) = (2.0, 1_500);
        let (mut covered, mut above, mut naive) = (0, 0, 0.0);
        for run in 0..runs {
            let mut stream = Stream::new(17, run);
            let (mut score, mut k) = (0.0, 0);
            loop {
                score += truth * 0.25 + 0.5 * normal::quantile(stream.next_f64().max(1e-300));
                if (score / f64::sqrt(times[k])).abs() >= b.z[k] || k == 3 {
                    break;
                }
                k += 1;
            }
            // Scale: one standard error at full information is 1, so the effect is the drift.
            let se = 1.0 / times[k].sqrt();
            let a = after_stopping(&times[..=k], &b, Sides::Two, score / times[k], se, 0.1).unwrap();
            covered += i32::from(a.interval[0] <= truth && truth <= a.interval[1]);
            above += i32::from(a.median_unbiased > truth);
            naive += score / times[k] / runs as f64;
        }
        assert!((1_304..=1_396).contains(&covered), "{covered}"); // four standard errors around 1,350
        assert!((673..=827).contains(&above), "{above}");
        assert!(naive > 2.1, "{naive}");
    }

    #[test]
    fn the_error_is_what_was_spent_and_the_power_of_one_look_is_the_plain_one() {
        let times: Vec<f64> = (1..=14).map(|k| f64::from(k) / 14.0).collect();
        let b = group_sequential_bounds(&times, 0.05, Sides::Two, Spending::ObrienFleming).unwrap();
        assert!((crossing_probability(&times, &b.z, Sides::Two, 0.0).unwrap() - 0.05).abs() < 1e-8);
        let plain = crossing_probability(&[1.0], &[1.959_963_985], Sides::Two, 2.801_585_218).unwrap();
        assert!((plain - 0.8).abs() < 1e-5, "{plain}");
        assert!(crossing_probability(&times, &b.z[..3], Sides::Two, 1.0).is_err());
    }

    #[test]
    fn input_without_an_answer_is_named() {
        let b = group_sequential_bounds(&[0.5, 1.0], 0.05, Sides::Two, Spending::Pocock).unwrap();
        assert!(after_stopping(&[], &b, Sides::Two, 1.0, 1.0, 0.05).is_err());
        assert!(after_stopping(&[0.2, 0.5, 1.0], &b, Sides::Two, 1.0, 1.0, 0.05).is_err());
        assert!(after_stopping(&[0.5, 0.5], &b, Sides::Two, 1.0, 1.0, 0.05).is_err());
        assert!(after_stopping(&[0.5], &b, Sides::Two, 1.0, 0.0, 0.05).is_err());
        assert_eq!(repeated_interval(1.0, 0.5, 3.0).unwrap(), [-0.5, 2.5]);
    }
}
