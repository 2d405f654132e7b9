//! Novelty: how unexpected the items of a list are.

use super::{Compute, Metric, Ranking};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "novelty",
    about: "mean self-information of the top k in bits: log2(train users / train users of the item)",
    compute: Compute::PerUser(novelty),
}];

/// `mean_i log2(n_users / n_users_of(i))` over the list, in bits; NaN for an empty list. An item
/// without train users counts as if it had one.
///
/// Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems",
/// PNAS 2010.
fn novelty(r: &Ranking<'_>) -> f64 {
    if r.top.is_empty() {
        return f64::NAN;
    }
    let bits: f64 = r
        .top
        .iter()
        .map(|&i| {
            let users = r.catalogue.n_train_users[i as usize].max(1);
            (f64::from(r.catalogue.n_users.max(1)) / f64::from(users)).log2()
        })
        .sum();
    bits / r.top.len() as f64
}

#[cfg(test)]
mod tests {
    use crate::metric::check::{is, value};

    #[test]
    fn rare_items_carry_more_bits() {
        // Items 0, 1, 3, 7 have 1, 2, 4, 8 of 16 users: 4, 3, 2, 1 bits.
        is(value("novelty", &[0], 5, &[1], &[]), 4.0);
        is(value("novelty", &[0, 1, 3, 7], 5, &[1], &[]), 2.5);
        is(value("novelty", &[0, 1, 3, 7], 2, &[1], &[]), 3.5);
        assert!(value("novelty", &[], 2, &[1], &[]).is_nan());
    }
}
