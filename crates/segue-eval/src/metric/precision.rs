//! Precision: how much of the list the user wanted.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "precision",
    about: "targets in the top k, divided by k",
    compute: Compute::PerUser(precision),
}];

/// `hits / k`. The divisor is `k` also for a shorter list: an empty place is not a hit.
fn precision(r: &Ranking<'_>) -> f64 {
    r.n_hits() as f64 / r.k as f64
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn empty_places_count_against_precision() {
        is(value("precision", &[5, 2, 1], 3, &[1, 2], &[]), 2.0 / 3.0);
        is(value("precision", &[2], 4, &[1, 2], &[]), 0.25);
    }
}
