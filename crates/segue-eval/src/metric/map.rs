//! Mean average precision: precision at each hit, averaged over what could have been hit.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "map",
    about: "sum of precision at each hit in the top k, over min(targets, k)",
    compute: Compute::PerUser(average_precision),
}];

fn average_precision(r: &Ranking<'_>) -> f64 {
    let mut n_hits = 0.0;
    let mut sum = 0.0;
    for (position, _) in r.hits().enumerate().filter(|(_, hit)| *hit) {
        n_hits += 1.0;
        sum += n_hits / (position + 1) as f64;
    }
    sum / r.targets.len().min(r.k) as f64
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn early_hits_count_more_and_a_perfect_list_is_1() {
        is(value("map", &[1, 2], 2, &[1, 2], &[]), 1.0);
        is(value("map", &[5, 1, 2], 3, &[1, 2], &[]), (1.0 / 2.0 + 2.0 / 3.0) / 2.0);
        is(value("map", &[1], 1, &[1, 2, 3], &[]), 1.0);
        is(value("map", &[5], 1, &[1], &[]), 0.0);
    }
}
