//! Ranking metrics over the full catalogue, one file per family, and the list of them.
//!
//! A metric is a function of what one user was given and should have been given
//! ([`Compute::PerUser`]), averaged over users with a bootstrap interval; or of everything that was
//! given to anybody ([`Compute::Overall`]). A new one is a file with a `METRICS` constant and a
//! line in [`FAMILIES`].

use crate::EvalError;

/// Declares the modules and the list from one line per family.
macro_rules! families {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+

        /// Every metric there is, family by family.
        pub const FAMILIES: &[&[Metric]] = &[$($module::METRICS),+];
    };
}

families! {
    recall,
    hit_rate,
    precision,
    ndcg,
    map,
    mrr,
    coverage,
    novelty,
    repeat_share,
}

/// A registered metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name in a protocol and a report, such as `ndcg`.
    pub name: &'static str,
    /// What it says, in one line.
    pub about: &'static str,
    /// How it is computed.
    pub compute: Compute,
}

/// How a metric is computed.
#[derive(Debug, Clone, Copy)]
pub enum Compute {
    /// One number per user; NaN where it is not defined, and that user is left out of the mean.
    PerUser(fn(&Ranking<'_>) -> f64),
    /// One number for all users together; it has no interval.
    Overall(fn(&Shown<'_>) -> f64),
}

/// What one user was given, and what should have been.
#[derive(Debug, Clone, Copy)]
pub struct Ranking<'a> {
    /// Item rows, best first, at most `k`, none twice.
    pub top: &'a [u32],
    /// Cut-off, at least 1.
    pub k: usize,
    /// Item rows to predict, ascending, at least one.
    pub targets: &'a [u32],
    /// Item rows in the history, ascending, each once.
    pub history: &'a [u32],
    /// The train part, as counts.
    pub catalogue: &'a Catalogue<'a>,
}

impl Ranking<'_> {
    /// Whether each item of the top list is a target, best first.
    pub fn hits(&self) -> impl Iterator<Item = bool> + '_ {
        self.top.iter().map(|item| self.targets.binary_search(item).is_ok())
    }

    /// Number of targets in the top list.
    #[must_use]
    pub fn n_hits(&self) -> usize {
        self.hits().filter(|&hit| hit).count()
    }
}

/// Counts of the train part.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue<'a> {
    /// `[n_items]` users of each item in the train part.
    pub n_train_users: &'a [u32],
    /// Users with a train play.
    pub n_users: u32,
    /// Items that may be recommended.
    pub n_candidates: u32,
}

/// What all users together were given.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// `[n_items]` users in whose top `k` the item is.
    pub n_shown: &'a [u32],
    /// Cut-off.
    pub k: usize,
    /// The train part, as counts.
    pub catalogue: &'a Catalogue<'a>,
}

/// All registered metrics.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    FAMILIES.iter().copied().flatten()
}

/// The metric of that name.
///
/// # Errors
/// [`EvalError::Protocol`] with the names that exist.
pub fn find(name: &str) -> Result<&'static Metric, EvalError> {
    all().find(|m| m.name == name).ok_or_else(|| EvalError::Protocol {
        setting: "metrics",
        value: format!("`{name}`"),
        rule: format!("known metrics are {}", all().map(|m| m.name).collect::<Vec<_>>().join(", ")),
    })
}

#[cfg(test)]
pub(crate) mod check {
    //! One helper for the hand-computed tests of all families.

    use super::{Catalogue, Compute, Ranking, find};

    /// Value of per-user metric `name` for a list, cut to `k`, in a catalogue of ten items of which
    /// item `i` has `i + 1` of 16 users.
    pub(crate) fn value(name: &str, list: &[u32], k: usize, targets: &[u32], history: &[u32]) -> f64 {
        let n_train_users: Vec<u32> = (1..=10).collect();
        let catalogue = Catalogue { n_train_users: &n_train_users, n_users: 16, n_candidates: 10 };
        let top = &list[..k.min(list.len())];
        match find(name).unwrap().compute {
            Compute::PerUser(f) => f(&Ranking { top, k, targets, history, catalogue: &catalogue }),
            Compute::Overall(_) => panic!("`{name}` is not a metric of one user"),
        }
    }

    /// Asserts a hand-computed value.
    #[track_caller]
    pub(crate) fn is(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-12, "got {got}, want {want}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_unique_and_unknown_ones_are_answered_with_the_list() {
        let mut names: Vec<_> = all().map(|m| m.name).collect();
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n);
        let message = find("ndgc").unwrap_err().to_string();
        assert!(message.contains("`ndgc`") && message.contains("ndcg"), "{message}");
    }

    proptest! {
        /// Accuracy metrics lie in [0, 1], agree on whether anything was hit, and never fall when a
        /// target moves up by one place.
        #[test]
        fn accuracy_metrics_keep_their_bounds(
            list in proptest::sample::subsequence((0..10_u32).collect::<Vec<_>>(), 0..=10).prop_shuffle(),
            targets in proptest::sample::subsequence((0..10_u32).collect::<Vec<_>>(), 1..=10),
            k in 1..15_usize,
        ) {
            for name in ["recall", "hit_rate", "precision", "ndcg", "ndcg_full_ideal", "mrr"] {
                let v = check::value(name, &list, k, &targets, &[]);
                prop_assert!((0.0..=1.0 + 1e-12).contains(&v), "{name} {v}");
                let hit = list.iter().take(k).any(|i| targets.contains(i));
                prop_assert_eq!(v > 0.0, hit, "{}", name);
                for at in 1..list.len() {
                    if targets.contains(&list[at]) && !targets.contains(&list[at - 1]) {
                        let mut better = list.clone();
                        better.swap(at, at - 1);
                        prop_assert!(check::value(name, &better, k, &targets, &[]) >= v - 1e-12);
                    }
                }
            }
        }
    }
}
