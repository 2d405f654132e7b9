//! Interleaving two rankings for one listener, and what the outcomes say.

use crate::StatsError;
use crate::distribution::binomial;

/// Which ranking placed an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Team {
    /// The first ranking.
    A,
    /// The second ranking.
    B,
}

/// Result of [`team_draft`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamDraft<T> {
    /// The interleaved list.
    pub items: Vec<T>,
    /// Who placed each item.
    pub teams: Vec<Team>,
    /// Coins that were looked at.
    pub n_coins: usize,
}

/// Team-draft interleaving: the team with fewer picks goes next, on equality a coin decides (`true` = A);
/// each picks its best item not yet placed, and the other picks if it has none left.
///
/// Ends early if both rankings or the coins are exhausted.
///
/// # Source
/// Radlinski, Kurup & Joachims, "How does clickthrough data reflect retrieval quality?", CIKM 2008.
pub fn team_draft<T: Clone + PartialEq>(a: &[T], b: &[T], coins: &[bool], length: usize) -> TeamDraft<T> {
    let mut out: TeamDraft<T> = TeamDraft { items: Vec::new(), teams: Vec::new(), n_coins: 0 };
    let mut picks = [0_usize; 2];
    while out.items.len() < length {
        let next = |ranking: &[T]| ranking.iter().find(|item| !out.items.contains(item)).cloned();
        let (best_a, best_b) = (next(a), next(b));
        let turn_of_a = if picks[0] == picks[1] {
            let Some(&coin) = coins.get(out.n_coins) else { break };
            out.n_coins += 1;
            coin
        } else {
            picks[0] < picks[1]
        };
        let (team, item) = match (turn_of_a, best_a, best_b) {
            (true, Some(item), _) | (false, Some(item), None) => (Team::A, item),
            (false, _, Some(item)) | (true, None, Some(item)) => (Team::B, item),
            (_, None, None) => break,
        };
        picks[usize::from(team == Team::B)] += 1;
        out.items.push(item);
        out.teams.push(team);
    }
    out
}

/// Rewards per team, `(A, B)`, from the positions that earned one.
///
/// # Errors
/// [`StatsError::Range`] for a position outside the list.
pub fn credit(teams: &[Team], rewarded_positions: &[usize]) -> Result<(u64, u64), StatsError> {
    let mut credit = (0, 0);
    for &position in rewarded_positions {
        match teams.get(position) {
            Some(Team::A) => credit.0 += 1,
            Some(Team::B) => credit.1 += 1,
            None => {
                return Err(StatsError::Range {
                    what: "rewarded position",
                    value: position as f64,
                    rule: "it lies within the list",
                });
            }
        }
    }
    Ok(credit)
}

/// Result of [`interleaving_preference`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preference {
    /// `(wins + ½ ties) / all − ½`: above 0, A is preferred.
    pub delta: f64,
    /// Exact two-sided sign test of wins against losses, ties left out.
    pub p_value: f64,
}

/// What wins, losses and ties of A say.
///
/// # Errors
/// [`StatsError::TooFew`] without any comparison.
///
/// # Source
/// Chapelle, Joachims, Radlinski & Yue, "Large-scale validation and analysis of interleaved search
/// evaluation", TOIS 2012.
pub fn interleaving_preference(wins: u64, losses: u64, ties: u64) -> Result<Preference, StatsError> {
    let all = wins + losses + ties;
    if all == 0 {
        return Err(StatsError::TooFew { what: "comparisons", got: 0, needed: 1 });
    }
    let decided = wins + losses;
    // The sign test is symmetric, so the tail of the smaller count is half of the p-value.
    let p_value =
        if wins == losses { 1.0 } else { (2.0 * binomial::cdf(wins.min(losses), decided, 0.5)).min(1.0) };
    Ok(Preference { delta: (wins as f64 + 0.5 * ties as f64) / all as f64 - 0.5, p_value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_placed_once_and_exhausted_lists_end_it() {
        let d = team_draft(&[1, 2, 3], &[3, 4], &[true, false, true, true], 10);
        let mut sorted = d.items.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 3, 4]);
        assert_eq!(team_draft::<u32>(&[], &[], &[true], 3).items, []);
        assert_eq!(team_draft(&[1, 2], &[2, 1], &[], 2).items, []);
        assert!(credit(&[Team::A], &[1]).is_err());
    }

    #[test]
    fn the_sign_test_is_exact() {
        // 1 of 5: 2 (1 + 5) / 32.
        assert!((interleaving_preference(4, 1, 3).unwrap().p_value - 0.375).abs() < 1e-12);
        assert!(interleaving_preference(0, 0, 0).is_err());
    }
}
