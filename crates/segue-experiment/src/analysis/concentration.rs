//! Concentration of plays in two arms of unequal size.
//!
//! Thinning plays to an equal total is not enough: plays of one listener go together, and a large arm thinned
//! play by play has many listeners with few plays each where a small arm has few with many. So the larger arm is
//! first cut into blocks of whole listeners about as large as the smaller arm; blocks are thinned to the last
//! bit of equality and averaged.

use segue_stats::StatsError;
use segue_stats::rarefaction::rarefied;

use crate::metric::MetricKind;

/// Result of [`equal_plays`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EqualPlays {
    /// Concentration of the control and of the treatment.
    pub estimates: [f64; 2],
    /// Their standard errors, jackknifed over groups of whole units within blocks.
    pub standard_errors: [f64; 2],
}

/// Gini or effective number at equal plays.
///
/// - `control`, `treatment`: `[n_groups][n_keys]` plays of random groups of whole units, 16 groups or more
///
/// # Errors
/// [`StatsError::TooFew`] for fewer groups, or a group or block without plays.
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
    let blocks = [0, 1].map(|a| {
        let n = ((totals[a] / smaller).round() as usize).clamp(1, arms[a].len() / 4);
        let groups = arms[a].len();
        (0..n).map(|b| &arms[a][b * groups / n..(b + 1) * groups / n]).collect::<Vec<_>>()
    });
    let all: [Vec<Vec<u64>>; 2] = [0, 1].map(|a| blocks[a].iter().map(|block| add(block, None)).collect());
    let without: [Vec<Vec<Vec<u64>>>; 2] = [0, 1].map(|a| {
        blocks[a].iter().map(|block| (0..block.len()).map(|g| add(block, Some(g))).collect()).collect()
    });
    let total = |plays: &Vec<u64>| plays.iter().sum::<u64>() as f64;
    let to = all.iter().flatten().map(total).fold(f64::INFINITY, f64::min);
    let to_without = without.iter().flatten().flatten().map(total).fold(f64::INFINITY, f64::min);
    let read = |plays: &[u64], to: f64| -> Result<f64, StatsError> {
        let r = rarefied(plays, to)?;
        Ok(if kind == MetricKind::Gini { r.gini } else { r.effective_number })
    };
    let mut out = EqualPlays { estimates: [0.0; 2], standard_errors: [0.0; 2] };
    for a in 0..2 {
        let n_blocks = all[a].len() as f64;
        let mut variance = 0.0;
        for (whole, parts) in all[a].iter().zip(&without[a]) {
            out.estimates[a] += read(whole, to)? / n_blocks;
            let values: Vec<f64> = parts.iter().map(|p| read(p, to_without)).collect::<Result<_, _>>()?;
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            variance += (n - 1.0) / n * values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        }
        out.standard_errors[a] = variance.sqrt() / n_blocks;
    }
    Ok(out)
}

/// Plays per key over groups, one group left out.
fn add(groups: &[Vec<u64>], without: Option<usize>) -> Vec<u64> {
    let mut sum = vec![0; groups.first().map_or(0, Vec::len)];
    for (_, group) in groups.iter().enumerate().filter(|(g, _)| Some(*g) != without) {
        sum.iter_mut().zip(group).for_each(|(s, x)| *s += x);
    }
    sum
}

#[cfg(test)]
mod tests {
    use segue_stats::random::Stream;

    use super::*;

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
        assert!(equal_plays(&arm(10, 0)[..3], &arm(10, 0), MetricKind::Gini).is_err());
        assert!(equal_plays(&vec![vec![0; 3]; 16], &arm(10, 0), MetricKind::Gini).is_err());
    }
}
