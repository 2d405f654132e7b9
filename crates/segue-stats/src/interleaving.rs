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

/// Balanced interleaving: `a_first` (a coin per list) decides who leads; the rankings take turns by their own
/// pointers, skipping what is placed already.
///
/// Credit is not by team: see [`balanced_credit`]. Where one ranking is the other shifted by one it favours the
/// shifted one; team draft does not, and is the default.
///
/// # Source
/// Joachims, "Evaluating retrieval performance using clickthrough data", 2003.
pub fn balanced<T: Clone + PartialEq>(a: &[T], b: &[T], a_first: bool, length: usize) -> Vec<T> {
    let mut out: Vec<T> = Vec::new();
    let (mut at_a, mut at_b) = (0, 0);
    while out.len() < length && (at_a < a.len() || at_b < b.len()) {
        let turn_of_a = at_b >= b.len() || at_a < a.len() && (at_a < at_b || at_a == at_b && a_first);
        let item = if turn_of_a { &a[at_a] } else { &b[at_b] };
        if turn_of_a {
            at_a += 1;
        } else {
            at_b += 1;
        }
        if !out.contains(item) {
            out.push(item.clone());
        }
    }
    out
}

/// Rewards per ranking, `(A, B)`, for a balanced list: with `k` the smallest depth at which either ranking
/// contains the last rewarded item, each ranking gets the rewarded items among its own first `k`.
///
/// # Source
/// Joachims, "Evaluating retrieval performance using clickthrough data", 2003.
pub fn balanced_credit<T: PartialEq>(
    a: &[T],
    b: &[T],
    list: &[T],
    rewarded_positions: &[usize],
) -> (u64, u64) {
    let rewarded: Vec<&T> = rewarded_positions.iter().filter_map(|&p| list.get(p)).collect();
    let Some(last) = rewarded_positions.iter().filter(|p| **p < list.len()).max() else { return (0, 0) };
    let depth = |ranking: &[T]| ranking.iter().position(|x| *x == list[*last]);
    let k = match (depth(a), depth(b)) {
        (Some(x), Some(y)) => x.min(y),
        (Some(x), None) | (None, Some(x)) => x,
        (None, None) => return (0, 0),
    };
    let count = |ranking: &[T]| {
        rewarded.iter().filter(|item| ranking.iter().take(k + 1).any(|x| x == **item)).count() as u64
    };
    (count(a), count(b))
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

    #[test]
    fn a_balanced_list_has_the_best_of_both_and_credits_by_depth() {
        // Joachims' example: A = a b c d, B = b e a f.
        let (a, b) = (["a", "b", "c", "d"], ["b", "e", "a", "f"]);
        let list = balanced(&a, &b, true, 10);
        assert_eq!(list, ["a", "b", "e", "c", "d", "f"]);
        // A reward for e: depth 2 of B; A's first two are a and b.
        assert_eq!(balanced_credit(&a, &b, &list, &[2]), (0, 1));
        assert_eq!(balanced_credit(&a, &b, &list, &[]), (0, 0));
        assert_eq!(balanced_credit(&a, &b, &list, &[1]), (0, 1));
        assert_eq!(balanced::<u32>(&[], &[7, 8], true, 1), [7]);
    }
}
