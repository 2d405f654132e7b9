//! Repeats and discoveries apart: listeners play again, and a model can be good at one of the two only.
//!
//! Each pair asks the same list for a part of the targets: those in the history (`repeat_…`) and those
//! that are not (`discovery_…`). Users without such targets are left out of the mean. With seen items
//! filtered there is nothing to repeat, and the discovery metrics equal the plain ones.

use super::ndcg::{discount, ideal};
use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "repeat_recall",
        about: "share of the targets the user had played before that are in the top k",
        compute: Compute::PerUser(|r| recall_of(r, true)),
    },
    Metric {
        name: "repeat_ndcg",
        about: "discounted gain of the targets the user had played before",
        compute: Compute::PerUser(|r| ndcg_of(r, true)),
    },
    Metric {
        name: "discovery_recall",
        about: "share of the targets new to the user that are in the top k",
        compute: Compute::PerUser(|r| recall_of(r, false)),
    },
    Metric {
        name: "discovery_ndcg",
        about: "discounted gain of the targets new to the user",
        compute: Compute::PerUser(|r| ndcg_of(r, false)),
    },
];

fn is_part(r: &Ranking<'_>, item: u32, repeats: bool) -> bool {
    r.history.binary_search(&item).is_ok() == repeats
}

fn n_part(r: &Ranking<'_>, repeats: bool) -> usize {
    r.targets.iter().filter(|&&t| is_part(r, t, repeats)).count()
}

/// Hits of that part over targets of that part; NaN without any.
fn recall_of(r: &Ranking<'_>, repeats: bool) -> f64 {
    let n_hits = r.hits().zip(r.top).filter(|(hit, item)| *hit && is_part(r, **item, repeats)).count();
    n_hits as f64 / n_part(r, repeats) as f64
}

/// Gain of the hits of that part at their ranks in the whole list, over that of a list that begins
/// with them; NaN without any.
fn ndcg_of(r: &Ranking<'_>, repeats: bool) -> f64 {
    let gain: f64 = r
        .hits()
        .zip(r.top)
        .enumerate()
        .filter(|(_, (hit, item))| *hit && is_part(r, **item, repeats))
        .map(|(position, _)| discount(position + 1))
        .sum();
    gain / ideal(n_part(r, repeats).min(r.k))
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn one_list_is_judged_for_both_parts() {
        // History 1, 2; targets 1 (repeat), 5 and 6 (new). The list has 1 at rank 2 and 5 at rank 3.
        let of = |name| value(name, &[9, 1, 5], 3, &[1, 5, 6], &[1, 2]);
        is(of("repeat_recall"), 1.0);
        is(of("discovery_recall"), 0.5);
        is(of("repeat_ndcg"), 1.0 / 3_f64.log2());
        is(of("discovery_ndcg"), 0.5 / (1.0 + 1.0 / 3_f64.log2()));
    }

    #[test]
    fn without_targets_of_a_part_it_is_not_defined() {
        for name in ["repeat_recall", "repeat_ndcg"] {
            assert!(value(name, &[5], 1, &[5], &[1]).is_nan());
        }
        for name in ["discovery_recall", "discovery_ndcg"] {
            assert!(value(name, &[1], 1, &[1], &[1]).is_nan());
            let plain = value(name.trim_start_matches("discovery_"), &[5, 6], 2, &[6], &[1]);
            is(value(name, &[5, 6], 2, &[6], &[1]), plain);
        }
    }
}
