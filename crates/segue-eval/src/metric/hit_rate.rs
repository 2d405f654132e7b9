//! Hit rate: whether the list held anything the user wanted.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "hit_rate",
    about: "share of users with at least one target in the top k",
    compute: Compute::PerUser(hit_rate),
}];

/// 1 if any target is in the list, else 0. Equal to recall where every user has one target.
fn hit_rate(r: &Ranking<'_>) -> f64 {
    f64::from(u8::from(r.hits().any(|hit| hit)))
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn one_hit_is_enough() {
        is(value("hit_rate", &[5, 2, 1], 3, &[1, 2], &[]), 1.0);
        is(value("hit_rate", &[5, 2, 1], 1, &[1, 2], &[]), 0.0);
        is(value("hit_rate", &[], 1, &[1, 2], &[]), 0.0);
    }
}
