//! Normalised discounted cumulative gain, under both conventions for the ideal list.
//!
//! `DCG = Σ_hits 1 / log2(rank + 1)`, divided by the DCG of an ideal list. The literature knows two
//! ideals, and tables made with one cannot be compared with tables made with the other where users
//! have more than one target:
//! - `ndcg`: the best list of length `k` holds `min(k, n_targets)` targets, so 1 can be reached;
//! - `ndcg_full_ideal`: all `n_targets`, as if the list had no end.
//!
//! Source: Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "ndcg",
        about: "discounted gain in the top k over that of the best list of length k",
        compute: Compute::PerUser(|r| dcg(r) / ideal(r.targets.len().min(r.k))),
    },
    Metric {
        name: "ndcg_full_ideal",
        about: "discounted gain in the top k over that of a list with every target",
        compute: Compute::PerUser(|r| dcg(r) / ideal(r.targets.len())),
    },
];

/// Gain of the hits; ranks begin at 1.
fn dcg(r: &Ranking<'_>) -> f64 {
    r.hits().enumerate().filter(|(_, hit)| *hit).map(|(position, _)| discount(position + 1)).sum()
}

/// Gain of a list that begins with `n` hits.
pub(super) fn ideal(n: usize) -> f64 {
    (1..=n).map(discount).sum()
}

/// `1 / log2(rank + 1)`.
pub(super) fn discount(rank: usize) -> f64 {
    1.0 / ((rank + 1) as f64).log2()
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn one_target_at_rank_three_is_worth_a_half() {
        is(value("ndcg", &[5, 7, 1], 10, &[1], &[]), 0.5);
        is(value("ndcg_full_ideal", &[5, 7, 1], 10, &[1], &[]), 0.5);
        is(value("ndcg", &[5, 7, 1], 2, &[1], &[]), 0.0);
    }

    #[test]
    fn the_two_ideals_differ_when_there_are_more_targets_than_places() {
        // Hits at ranks 1 and 2 of 2, with three targets: gains 1 + 1/log2(3), third 1/log2(4).
        let two = 1.0 + 1.0 / 3_f64.log2();
        is(value("ndcg", &[1, 2], 2, &[1, 2, 3], &[]), 1.0);
        is(value("ndcg_full_ideal", &[1, 2], 2, &[1, 2, 3], &[]), two / (two + 0.5));
    }

    #[test]
    fn gains_add_up_over_hits() {
        // Hits at ranks 2 and 4.
        let gain = 1.0 / 3_f64.log2() + 1.0 / 5_f64.log2();
        let best = 1.0 + 1.0 / 3_f64.log2();
        is(value("ndcg", &[9, 1, 8, 2], 4, &[1, 2], &[]), gain / best);
    }
}
