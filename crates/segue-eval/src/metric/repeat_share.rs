//! Repeat share: how much of a list the user has already played.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "repeat_share",
    about: "share of the top k that is in the user's history; 0 when seen items are filtered",
    compute: Compute::PerUser(repeat_share),
}];

/// `|top ∩ history| / |top|`; NaN for an empty list.
fn repeat_share(r: &Ranking<'_>) -> f64 {
    if r.top.is_empty() {
        return f64::NAN;
    }
    let repeats = r.top.iter().filter(|item| r.history.binary_search(item).is_ok()).count();
    repeats as f64 / r.top.len() as f64
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn repeats_are_items_of_the_history() {
        is(value("repeat_share", &[4, 1, 2, 3], 4, &[9], &[1, 3]), 0.5);
        is(value("repeat_share", &[4], 4, &[9], &[1, 3]), 0.0);
        assert!(value("repeat_share", &[], 4, &[9], &[1, 3]).is_nan());
    }
}
