//! Intra-list diversity: how unlike each other the items of one list are.
//!
//! `1 − mean similarity over all pairs of the list`, with two similarities: who listened (`diversity`,
//! for any data) and tags (`tag_diversity`, where items have them).
//!
//! Source: Ziegler et al., "Improving Recommendation Lists Through Topic Diversification", WWW 2005.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "diversity",
        about: "1 - mean cosine between the train listeners of two items of the top k",
        compute: Compute::PerUser(diversity),
    },
    Metric {
        name: "tag_diversity",
        about: "1 - mean Jaccard similarity between the tags of two items of the top k, tagged items only",
        compute: Compute::PerUser(tag_diversity),
    },
];

/// With `v_i` the listeners of item `i` as a vector of length 1, all pairs at once:
/// `Σ_{i≠j} v_i·v_j = |Σ v_i|² − n`. An item without train listeners is like no other. NaN for fewer
/// than two items.
fn diversity(r: &Ranking<'_>) -> f64 {
    let n = r.top.len();
    if n < 2 {
        return f64::NAN;
    }
    let mut weights: Vec<(u32, f64)> = Vec::new();
    let mut n_known = 0.0;
    for &item in r.top {
        let users = r.catalogue.users_of(item);
        if !users.is_empty() {
            n_known += 1.0;
            let weight = 1.0 / (users.len() as f64).sqrt();
            weights.extend(users.iter().map(|&user| (user, weight)));
        }
    }
    // A stable sort keeps the order of the list within a user, so the sums are always the same.
    weights.sort_by_key(|w| w.0);
    let squared: f64 = weights
        .chunk_by(|a, b| a.0 == b.0)
        .map(|same| same.iter().map(|w| w.1).sum::<f64>().powi(2))
        .sum();
    let n_pairs = (n * (n - 1)) as f64;
    // Rounding must not leave a list of equal items below 0.
    (1.0 - (squared - n_known) / n_pairs).clamp(0.0, 1.0)
}

/// NaN for fewer than two tagged items.
fn tag_diversity(r: &Ranking<'_>) -> f64 {
    let Some(tags) = r.catalogue.tags else { return f64::NAN };
    let tagged: Vec<&[u32]> = r.top.iter().map(|&i| tags.of(i)).filter(|t| !t.is_empty()).collect();
    if tagged.len() < 2 {
        return f64::NAN;
    }
    let mut alike = 0.0;
    for (i, a) in tagged.iter().enumerate() {
        for b in &tagged[..i] {
            let shared = a.iter().filter(|t| b.binary_search(t).is_ok()).count();
            alike += shared as f64 / (a.len() + b.len() - shared) as f64;
        }
    }
    1.0 - 2.0 * alike / (tagged.len() * (tagged.len() - 1)) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::metric::check::{is, value};

    #[test]
    fn items_with_other_listeners_are_diverse() {
        // Item i is played by users 0..=i: the cosine of items i < j is sqrt((i + 1) / (j + 1)).
        is(value("diversity", &[0, 3], 2, &[1], &[]), 0.5);
        let three = (0.5_f64.sqrt() + 0.5 + 0.5_f64.sqrt()) / 3.0;
        is(value("diversity", &[0, 1, 3], 3, &[1], &[]), 1.0 - three);
        assert!(value("diversity", &[0], 5, &[1], &[]).is_nan());
    }

    #[test]
    fn items_with_other_tags_are_diverse() {
        // Even items are `a`, odd ones `b`, item 4 is both, item 9 has no tag.
        is(value("tag_diversity", &[0, 2], 2, &[1], &[]), 0.0);
        is(value("tag_diversity", &[0, 1], 2, &[1], &[]), 1.0);
        is(value("tag_diversity", &[0, 4], 2, &[1], &[]), 0.5);
        is(value("tag_diversity", &[0, 1, 4], 3, &[1], &[]), 1.0 - (0.0 + 0.5 + 0.5) / 3.0);
        is(value("tag_diversity", &[0, 9, 1], 3, &[1], &[]), 1.0);
        assert!(value("tag_diversity", &[0, 9], 2, &[1], &[]).is_nan());
    }

    proptest! {
        #[test]
        fn all_pairs_at_once_equals_pair_by_pair(
            list in proptest::sample::subsequence((0..10_u32).collect::<Vec<_>>(), 2..=10).prop_shuffle(),
        ) {
            let mut alike = 0.0;
            for (at, &i) in list.iter().enumerate() {
                for &j in &list[..at] {
                    alike += (f64::from(i.min(j) + 1) / f64::from(i.max(j) + 1)).sqrt();
                }
            }
            let n_pairs = (list.len() * (list.len() - 1) / 2) as f64;
            let got = value("diversity", &list, list.len(), &[1], &[]);
            prop_assert!((got - (1.0 - alike / n_pairs)).abs() < 1e-12);
        }
    }
}
