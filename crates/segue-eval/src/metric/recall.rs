//! Recall: how much of what the user wanted was in the list.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "recall",
    about: "share of the targets that are in the top k",
    compute: Compute::PerUser(recall),
}];

/// `hits / n_targets`. A user with more targets than `k` cannot reach 1.
fn recall(r: &Ranking<'_>) -> f64 {
    r.n_hits() as f64 / r.targets.len() as f64
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn recall_is_the_share_of_targets_found() {
        is(value("recall", &[5, 2, 7, 1], 3, &[1, 2], &[]), 0.5);
        is(value("recall", &[5, 2, 7, 1], 4, &[1, 2], &[]), 1.0);
        is(value("recall", &[5, 2], 20, &[2, 3, 4], &[]), 1.0 / 3.0);
        is(value("recall", &[], 3, &[1], &[]), 0.0);
    }
}
