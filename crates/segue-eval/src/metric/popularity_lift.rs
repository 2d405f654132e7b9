//! Popularity bias against the listener's own profile.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "popularity_lift",
    about: "mean popularity of the top k over that of the user's own history, minus 1",
    compute: Compute::PerUser(popularity_lift),
}];

/// `(mean pop of the list − mean pop of the history) / mean pop of the history`, with `pop` the number
/// of train users of an item and each item of the history once: 0 as popular as what the listener
/// plays, 1 twice as popular. NaN for an empty list, or a history of items without train users.
///
/// Source: Abdollahpouri et al., "The Unfairness of Popularity Bias in Recommendation", RMSE workshop
/// at RecSys 2019, there for groups of users.
fn popularity_lift(r: &Ranking<'_>) -> f64 {
    let mean = |items: &[u32]| {
        items.iter().map(|&i| f64::from(r.catalogue.n_train_users[i as usize])).sum::<f64>()
            / items.len() as f64
    };
    let own = mean(r.history);
    if own > 0.0 { mean(r.top) / own - 1.0 } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn a_list_is_compared_with_the_listeners_own_taste() {
        // Items 1, 3, 7 have 2, 4, 8 users.
        is(value("popularity_lift", &[7], 1, &[1], &[1, 3]), 8.0 / 3.0 - 1.0);
        is(value("popularity_lift", &[1, 3], 2, &[1], &[1, 3]), 0.0);
        is(value("popularity_lift", &[0], 1, &[1], &[3]), -0.75);
        assert!(value("popularity_lift", &[], 1, &[1], &[3]).is_nan());
        assert!(value("popularity_lift", &[0], 1, &[1], &[]).is_nan());
    }
}
