//! Serendipity: hits that a list of the most popular items would not have had.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "serendipity",
    about: "targets in the top k that are not among the k most popular items for that user, over k",
    compute: Compute::PerUser(serendipity),
}];

/// `|hits \ primitive list| / k`. The primitive list is what popularity alone would show: the `k`
/// candidates with most train users (ties by item row) that the user may be shown.
///
/// Source: Ge et al., "Beyond Accuracy: Evaluating Recommender Systems by Coverage and Serendipity",
/// RecSys 2010.
fn serendipity(r: &Ranking<'_>) -> f64 {
    let hits: Vec<u32> = r.top.iter().copied().filter(|i| r.targets.binary_search(i).is_ok()).collect();
    if hits.is_empty() {
        return 0.0;
    }
    let popular = r.catalogue.by_popularity().iter().filter(|i| r.excluded.binary_search(i).is_err()).take(r.k);
    let n_expected = popular.filter(|i| hits.contains(i)).count();
    (hits.len() - n_expected) as f64 / r.k as f64
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn a_hit_that_popularity_has_too_is_no_surprise() {
        // Most popular first: 9, 8, 7, … .
        is(value("serendipity", &[9, 1], 2, &[1, 9], &[]), 0.5);
        is(value("serendipity", &[9, 8], 2, &[8, 9], &[]), 0.0);
        is(value("serendipity", &[0, 1], 2, &[0, 1], &[]), 1.0);
        is(value("serendipity", &[0, 1], 2, &[5], &[]), 0.0);
        // With 9 and 8 kept out, popularity would show 7 and 6.
        is(value("serendipity", &[7, 1], 2, &[1, 7], &[8, 9]), 0.5);
    }
}
