//! Mean reciprocal rank: how far down the first wanted item is.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "mrr",
    about: "1 / rank of the first target in the top k, 0 without one",
    compute: Compute::PerUser(reciprocal_rank),
}];

fn reciprocal_rank(r: &Ranking<'_>) -> f64 {
    r.hits().position(|hit| hit).map_or(0.0, |position| 1.0 / (position + 1) as f64)
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn only_the_first_hit_counts() {
        is(value("mrr", &[5, 2, 1], 3, &[1, 2], &[]), 0.5);
        is(value("mrr", &[5, 7, 1], 2, &[1], &[]), 0.0);
        is(value("mrr", &[1], 1, &[1], &[]), 1.0);
    }
}
