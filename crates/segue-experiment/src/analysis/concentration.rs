//! Concentration of plays in two arms of unequal size.
//!
//! Thinning plays to an equal total is not enough: plays of one listener go together, and a large arm thinned
//! play by play has many listeners with few plays each where a small arm has few with many. So both arms are read
//! in parts of whole listeners of one size, a quarter to half of the smaller arm, thinned to the last bit of equality and
//! averaged. At most half, because then each arm holds two parts or more that share no listener, and what two
//! independent parts differ by is the one honest measure of a variance whose statistic is far from a mean.

use segue_stats::StatsError;
use segue_stats::random::Stream;
use segue_stats::rarefaction::rarefied;

use crate::metric::MetricKind;

/// Parts read of each arm, about.
const PARTS: usize = 128;

/// Result of [`equal_plays`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EqualPlays {
    /// Concentration of the control and of the treatment.
    pub estimates: [f64; 2],
    /// Their standard errors.
    pub standard_errors: [f64; 2],
    /// Degrees of freedom of those.
    pub dof: [f64; 2],
}

/// Gini or effective number at equal plays: those of a quarter to half of the smaller arm.
///
/// - `control`, `treatment`: `[n_groups][n_keys]` plays of random groups of whole units, 16 groups or more
///
/// An arm's groups are shuffled `R` times and cut into `K` parts each time. With `S_rk` of a part, the estimate is the
/// mean of all, and its variance without bias
///
/// `Σ_r s_r² / (R K) − Σ_r (M_r − M)² / R`, `M_r` the mean and `s_r²` the variance (divisor `K − 1`) of the parts of a shuffle.
///
/// Its degrees of freedom are Satterthwaite's: `n_groups − 1` for the difference, whose two terms rest on the same
/// groups, `R (K − 1)` for the shuffles' part of the first term and `R − 1` for the second. A jackknife will not do: it counts
/// twice what two groups do to the concentration together, which for a few plays per key is much of its variance.
///
/// # Errors
/// [`StatsError::TooFew`] for fewer groups, or a part without plays.
///
/// # Source
/// Wang & Lindsay, "Variance estimation of a general U-statistic with application to cross-validation", Statistica
/// Sinica 2014 (partition resampling; a rarefied concentration is a U-statistic of its part's size); Efron
/// & Stein, "The jackknife estimate of variance", Annals of Statistics 1981 (what a jackknife counts twice).
pub fn equal_plays(
    control: &[Vec<u64>],
    treatment: &[Vec<u64>],
    kind: MetricKind,
) -> Result<EqualPlays, StatsError> {
    let arms = [control, treatment];
    for arm in arms {
        if arm.len() < 16 {
            return Err(StatsError::TooFew { what: "groups of units", got: arm.len(), needed: 16 });
        }
    }
    let totals = arms.map(|arm| arm.iter().flatten().sum::<u64>() as f64);
    let smaller = totals[0].min(totals[1]);
    if smaller <= 0.0 {
        return Err(StatsError::TooFew { what: "plays of an arm", got: 0, needed: 1 });
    }
    let sizes = part_sizes(arms.map(<[_]>::len), totals);
    let parts = [0, 1].map(|a| Parts::of(arms[a].len(), sizes[a], a as u64));
    let to = parts.iter().zip(arms).map(|(p, arm)| p.least_total(arm)).min().unwrap_or(0);
    if to == 0 {
        return Err(StatsError::TooFew { what: "plays of a part of an arm", got: 0, needed: 1 });
    }
    let mut out = EqualPlays { estimates: [0.0; 2], standard_errors: [0.0; 2], dof: [0.0; 2] };
    for (a, parts) in parts.iter().enumerate() {
        let values: Vec<f64> = parts
            .members
            .iter()
            .map(|members| {
                let r = rarefied(&sum(arms[a], members), to as f64)?;
                Ok(if kind == MetricKind::Gini { r.gini } else { r.effective_number })
            })
            .collect::<Result<_, StatsError>>()?;
        let k = parts.per_shuffle as f64;
        let shuffles: Vec<(f64, f64)> =
            values.chunks_exact(parts.per_shuffle).map(|v| (mean(v), squares(v) / (k - 1.0))).collect();
        let n_shuffles = shuffles.len() as f64;
        let means: Vec<f64> = shuffles.iter().map(|s| s.0).collect();
        let within = shuffles.iter().map(|s| s.1).sum::<f64>() / (n_shuffles * k);
        let between = squares(&means) / n_shuffles;
        // Never below a quarter of what the parts say: a difference of two variances may be anything.
        let variance = (within - between).max(0.25 * within);
        let n_groups = arms[a].len() as f64;
        let noise = variance * variance / (n_groups - 1.0)
            + within * within / (n_shuffles * (k - 1.0))
            + between * between / (n_shuffles - 1.0);
        out.estimates[a] = mean(&values);
        out.standard_errors[a] = variance.sqrt();
        out.dof[a] = if noise > 0.0 { variance * variance / noise } else { n_groups - 1.0 };
    }
    Ok(out)
}

/// Groups of a part in each arm: about half of the smaller arm in both, and as equal in plays as whole groups allow.
/// What is left to thinning goes play by play, which listeners' plays do not: a twentieth of it is a bias.
fn part_sizes(n_groups: [usize; 2], totals: [f64; 2]) -> [usize; 2] {
    let small = usize::from(totals[1] < totals[0]);
    let large = 1 - small;
    let per_group = [0, 1].map(|a| totals[a] / n_groups[a] as f64);
    let mut best = (f64::INFINITY, [1, 1]);
    for k in (n_groups[small] / 4..=n_groups[small] / 2).rev() {
        let plays = k as f64 * per_group[small];
        let of_large = ((plays / per_group[large]).round() as usize).clamp(1, n_groups[large] / 2);
        let gap = (of_large as f64 * per_group[large] / plays - 1.0).abs();
        if gap < best.0 {
            best.0 = gap;
            best.1[small] = k;
            best.1[large] = of_large;
        }
        if gap < 0.01 {
            break;
        }
    }
    best.1
}

/// Parts of one arm, whole groups each.
struct Parts {
    /// `[n_shuffles * per_shuffle]` groups of each part.
    members: Vec<Vec<usize>>,
    /// Parts of a shuffle: they share no group.
    per_shuffle: usize,
}

impl Parts {
    /// Parts of `size` groups, at most half of all.
    fn of(n_groups: usize, size: usize, arm: u64) -> Self {
        let per_shuffle = n_groups / size;
        let mut members = Vec::new();
        for shuffle in 0..PARTS.div_ceil(per_shuffle) {
            let mut s = Stream::new(0x6e9_141 + arm, shuffle as u64);
            let mut order: Vec<usize> = (0..n_groups).collect();
            for i in (1..n_groups).rev() {
                order.swap(i, s.next_below(i + 1));
            }
            members.extend(order.chunks_exact(size).take(per_shuffle).map(<[usize]>::to_vec));
        }
        Self { members, per_shuffle }
    }

    /// Plays of the part that has the fewest.
    fn least_total(&self, groups: &[Vec<u64>]) -> u64 {
        let totals: Vec<u64> = groups.iter().map(|g| g.iter().sum()).collect();
        self.members.iter().map(|part| part.iter().map(|&g| totals[g]).sum()).min().unwrap_or(0)
    }
}

/// `[n_keys]` plays of some groups.
fn sum(groups: &[Vec<u64>], members: &[usize]) -> Vec<u64> {
    let mut sum = vec![0; groups.first().map_or(0, Vec::len)];
    for &g in members {
        sum.iter_mut().zip(&groups[g]).for_each(|(s, x)| *s += x);
    }
    sum
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sum of squared deviations from the mean.
fn squares(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use segue_stats::random::Stream;

    use super::*;

    #[test]
    fn parts_are_as_equal_as_whole_groups_allow() {
        assert_eq!(part_sizes([64, 64], [9_000.0, 1_000.0]), [3, 27]);
        assert_eq!(part_sizes([64, 64], [1_000.0, 9_000.0]), [27, 3]);
        assert_eq!(part_sizes([64, 64], [1_000.0, 1_001.0]), [32, 32]);
        assert_eq!(part_sizes([16, 16], [1e6, 1.0]), [1, 8]);
    }

    /// Listeners who mostly play one artist, nine times as many in the control, both from one world.
    #[test]
    fn a_small_arm_of_loyal_listeners_is_not_less_diverse_than_a_large_one() {
        let arm = |n: u64, first: u64| {
            let mut groups = vec![vec![0_u64; 60]; 64];
            for user in first..first + n {
                let mut s = Stream::new(11, user);
                let artist = (60.0 * s.next_f64().powi(2)) as usize;
                let group = s.next_below(64);
                groups[group][artist] += 1 + s.next_below(30) as u64;
            }
            groups
        };
        let e = equal_plays(&arm(2_700, 0), &arm(300, 10_000), MetricKind::Gini).unwrap();
        let z = (e.estimates[1] - e.estimates[0]) / e.standard_errors[0].hypot(e.standard_errors[1]);
        assert!(z.abs() < 3.0, "{e:?}");
        // At most those of 63 groups and 64 shuffles of two.
        assert!(e.dof[1] > 5.0 && e.dof[1] < 1.0 / (1.0 / 63.0 + 1.0 / 64.0), "{:?}", e.dof);
        assert!(equal_plays(&arm(10, 0)[..3], &arm(10, 0), MetricKind::Gini).is_err());
        assert!(equal_plays(&vec![vec![0; 3]; 16], &arm(10, 0), MetricKind::Gini).is_err());
    }

    /// 700 plays over 80 artists, each arm anew 300 times: the standard error against the spread of the estimates.
    #[test]
    fn the_standard_error_is_the_spread_of_few_plays_over_many_keys() {
        let arm = |s: &mut Stream| {
            let mut groups = vec![vec![0_u64; 80]; 64];
            for _ in 0..700 {
                let group = s.next_below(64);
                groups[group][(80.0 * s.next_f64().powi(2)) as usize] += 1;
            }
            groups
        };
        let (runs, mut errors, mut variance) = (300, 0.0, 0.0);
        for run in 0..runs {
            let mut s = Stream::new(12, run);
            let e = equal_plays(&arm(&mut s), &arm(&mut s), MetricKind::Gini).unwrap();
            errors += (e.estimates[1] - e.estimates[0]).powi(2);
            variance += e.standard_errors.map(|x| x * x).iter().sum::<f64>();
        }
        // The simulation's own error is .08.
        assert!((variance / errors - 1.0).abs() < 0.17, "{}", variance / errors);
    }
}
