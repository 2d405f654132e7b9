//! Ranking metrics over the full catalogue, one file per family, and the list of them.
//!
//! A metric is a function of what one user was given and should have been given
//! ([`Compute::PerUser`]), averaged over users with a bootstrap interval; or of everything that was
//! given to anybody ([`Compute::Overall`]). A new one is a file with a `METRICS` constant and a
//! line in [`FAMILIES`].

use std::sync::OnceLock;

use crate::EvalError;
use crate::data::{ItemTags, Plays};

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
    diversity,
    exposure,
    popularity_lift,
    calibration,
    serendipity,
    repeat_share,
    repeats,
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
    /// Item rows that may not be in the list, ascending: the history if seen items are filtered.
    pub excluded: &'a [u32],
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

/// Counts of the train part, and facts about its items.
#[derive(Debug, Clone)]
pub struct Catalogue<'a> {
    /// `[n_items]` users of each item in the train part.
    pub n_train_users: &'a [u32],
    /// Users with a train play.
    pub n_users: u32,
    /// Items that may be recommended.
    pub n_candidates: u32,
    /// Tags of items, if known.
    pub tags: Option<&'a ItemTags>,
    /// The train part, if known.
    pub train: Option<Plays<'a>>,
    pub(crate) by_popularity: OnceLock<Vec<u32>>,
    pub(crate) users_of: OnceLock<(Vec<usize>, Vec<u32>)>,
}

impl<'a> Catalogue<'a> {
    /// Counts alone; the rest is set by name.
    #[must_use]
    pub fn new(n_train_users: &'a [u32], n_users: u32, n_candidates: u32) -> Self {
        Self {
            n_train_users,
            n_users,
            n_candidates,
            tags: None,
            train: None,
            by_popularity: OnceLock::new(),
            users_of: OnceLock::new(),
        }
    }

    /// Items with a train play by train users, most first, ties by item row. Ordered at the first
    /// call.
    pub fn by_popularity(&self) -> &[u32] {
        self.by_popularity.get_or_init(|| {
            let is_known = |i: &u32| self.n_train_users[*i as usize] > 0;
            let mut items: Vec<u32> = (0..self.n_train_users.len() as u32).filter(is_known).collect();
            items.sort_by_key(|&i| (std::cmp::Reverse(self.n_train_users[i as usize]), i));
            items
        })
    }

    /// User rows with a train play of that item, ascending; empty where the train part is not known.
    /// Turned around at the first call.
    pub fn users_of(&self, item: u32) -> &[u32] {
        let (offsets, users) = self.users_of.get_or_init(|| self.turned());
        &users[offsets[item as usize]..offsets[item as usize + 1]]
    }

    fn turned(&self) -> (Vec<usize>, Vec<u32>) {
        let n_items = self.n_train_users.len();
        let Some(train) = self.train else { return (vec![0; n_items + 1], Vec::new()) };
        let mut offsets = vec![0; n_items + 1];
        for (i, &n) in self.n_train_users.iter().enumerate() {
            offsets[i + 1] = offsets[i] + n as usize;
        }
        let mut next = offsets.clone();
        let mut users = vec![0_u32; offsets[n_items]];
        for user in 0..train.n_users() {
            let mut items = train.user(user).item.to_vec();
            items.sort_unstable();
            items.dedup();
            for item in items {
                users[next[item as usize]] = user as u32;
                next[item as usize] += 1;
            }
        }
        (offsets, users)
    }
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

    use segue_data::OwnedSequences;

    use super::{Catalogue, Compute, Ranking, find};
    use crate::data::{ItemTags, Plays};

    /// Value of per-user metric `name` for a list, cut to `k`, in a catalogue of ten items of which
    /// item `i` has users `0..=i` of 16, even items the tag `a`, odd ones `b`, item 4 both and item 9
    /// none. Items of the history are excluded unless they are in the list or wanted.
    pub(crate) fn value(name: &str, list: &[u32], k: usize, targets: &[u32], history: &[u32]) -> f64 {
        let n_train_users: Vec<u32> = (1..=10).collect();
        let train = OwnedSequences::from_items(10, (0..16).map(|u| (u..10).collect()));
        let words: [&[&str]; 10] =
            [&["a"], &["b"], &["a"], &["b"], &["a", "b"], &["b"], &["a"], &["b"], &["a"], &[]];
        let tags = ItemTags::from_words(words.map(|w| w.iter().copied()));
        let catalogue = Catalogue {
            tags: Some(&tags),
            train: Some(Plays::Sequences(train.view())),
            ..Catalogue::new(&n_train_users, 16, 10)
        };
        let top = &list[..k.min(list.len())];
        let excluded: Vec<u32> =
            history.iter().copied().filter(|i| !top.contains(i) && !targets.contains(i)).collect();
        match find(name).unwrap().compute {
            Compute::PerUser(f) => {
                f(&Ranking { top, k, targets, history, excluded: &excluded, catalogue: &catalogue })
            }
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
