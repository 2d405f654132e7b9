//! Seeded holdout: a share of each user's items, for data without dates.

use segue_data::OwnedSequences;
use segue_stats::random::mix;
use segue_types::{ItemKey, UserKey};
use serde::{Deserialize, Serialize};

use super::{Dropped, History, Parts, RawCase};
use crate::EvalError;
use crate::data::{Dataset, OwnedPlays, OwnedProfiles, Plays};

/// Hold out a share of each user's distinct items, chosen by a hash of seed, user and item.
///
/// A user with `n` distinct items gives `round(share · n)` of them, at least one and never all. The
/// choice depends on the external ids where they are known (else on rows), not on the order of rows
/// or on other users. Dated data is refused: there a split by time is the honest one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Holdout {
    /// Share of a user's distinct items to hold out, above 0 and below 1.
    pub share: f64,
    /// Users with fewer distinct items train and are not tested; at least 2.
    pub min_items: usize,
}

impl Default for Holdout {
    fn default() -> Self {
        Self { share: 0.2, min_items: 5 }
    }
}

impl Holdout {
    pub(super) const NAME: &'static str = "holdout";

    pub(super) fn parts<'a>(&self, data: &Dataset<'a>, seed: u64) -> Result<Parts<'a>, EvalError> {
        if !(self.share > 0.0 && self.share < 1.0) {
            return Err(EvalError::Protocol {
                setting: "share",
                value: self.share.to_string(),
                rule: "it is the share of a user's items to hold out, above 0 and below 1".into(),
            });
        }
        if self.min_items < 2 {
            return Err(EvalError::Protocol {
                setting: "min_items",
                value: self.min_items.to_string(),
                rule: "a user needs one item to learn from and one to predict, so at least 2".into(),
            });
        }
        if data.plays.is_dated() {
            return Err(EvalError::Dated { split: Self::NAME });
        }
        let item_keys: Vec<u64> = (0..data.plays.n_items())
            .map(|row| data.item_ids.map_or(u64::from(row), |ids| ItemKey::of(&ids[row as usize]).0))
            .collect();
        let mut dropped = Dropped::default();
        let mut cases = Vec::new();
        let mut held: Vec<Vec<u32>> = Vec::with_capacity(data.plays.n_users());
        for user in 0..data.plays.n_users() {
            let mut items = data.plays.user(user).item.to_vec();
            items.sort_unstable();
            items.dedup();
            if items.len() < self.min_items {
                if items.is_empty() {
                    dropped.n_users_without_test += 1;
                } else {
                    dropped.n_users_too_short += 1;
                }
                held.push(Vec::new());
                continue;
            }
            let user_key = data.user_ids.map_or(user as u64, |ids| (UserKey::of(&ids[user]).0 >> 64) as u64);
            let user_seed = mix(mix(seed) ^ user_key);
            items.sort_by_cached_key(|&i| (mix(user_seed ^ item_keys[i as usize]), i));
            let n_held = ((self.share * items.len() as f64).round() as usize).clamp(1, items.len() - 1);
            items.truncate(n_held);
            items.sort_unstable();
            cases.push(RawCase { user: user as u32, history_len: 0, targets: items.clone() });
            held.push(items);
        }
        let keeps = |user: usize, item: u32| held[user].binary_search(&item).is_err();
        let train = match data.plays {
            Plays::Sequences(s) => OwnedPlays::Sequences(OwnedSequences::from_items(
                s.n_items,
                (0..s.n_users()).map(|u| s.user(u).item.iter().copied().filter(|&i| keeps(u, i)).collect()),
            )),
            Plays::Profiles(p) => OwnedPlays::Profiles(OwnedProfiles::from_counts(
                p.n_items,
                (0..p.n_users()).map(|u| {
                    (p.offsets[u] as usize..p.offsets[u + 1] as usize)
                        .filter(|&row| keeps(u, p.item[row]))
                        .map(|row| (p.item[row], p.n_plays[row]))
                        .collect()
                }),
            )),
        };
        Ok(Parts { train, history: History::Train, cases, until: None, now: None, dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::SplitSpec;

    fn profiles() -> OwnedProfiles {
        // 20 users × 10 items each from a ring of 30, so that every item has several users.
        OwnedProfiles::from_counts(30, (0..20_u32).map(|u| (0..10).map(|i| ((u * 3 + i) % 30, 7)).collect()))
    }

    fn targets(data: &Dataset<'_>, seed: u64) -> Vec<Vec<u32>> {
        let split = SplitSpec::Holdout(Holdout::default()).split(data, seed, true).unwrap();
        (0..split.n_cases()).map(|c| split.targets(c).to_vec()).collect()
    }

    #[test]
    fn a_fifth_is_held_out_and_nothing_is_lost() {
        let data = profiles();
        let view = data.view();
        let split = SplitSpec::Holdout(Holdout::default()).split(&Dataset::from(view), 1, true).unwrap();
        assert_eq!(split.n_cases(), 20);
        for case in 0..split.n_cases() {
            let (history, targets) = (split.history(case).item, split.targets(case));
            assert_eq!((history.len(), targets.len()), (8, 2));
            let mut all = [history, targets].concat();
            all.sort_unstable();
            let mut expected = view.user(split.user(case)).to_vec();
            expected.sort_unstable();
            assert_eq!(all, expected);
        }
        let Plays::Profiles(train) = split.train.view() else { panic!("profiles stay profiles") };
        assert!(train.n_plays.iter().all(|&n| n == 7));
    }

    #[test]
    fn the_choice_follows_the_seed_and_the_ids_not_the_rows() {
        let data = profiles();
        let view = data.view();
        assert_eq!(targets(&Dataset::from(view), 1), targets(&Dataset::from(view), 1));
        assert_ne!(targets(&Dataset::from(view), 1), targets(&Dataset::from(view), 2));

        let ids: Vec<String> = (0..30).map(|i| format!("item-{i}")).collect();
        let users: Vec<String> = (0..20).map(|i| format!("user-{i}")).collect();
        let straight =
            targets(&Dataset { user_ids: Some(&users), item_ids: Some(&ids), ..Dataset::from(view) }, 1);
        // The same data with item rows reversed.
        let mut flipped = data.clone();
        for item in &mut flipped.item {
            *item = 29 - *item;
        }
        let flipped_ids: Vec<String> = ids.iter().rev().cloned().collect();
        let flipped_view = flipped.view();
        let other = targets(
            &Dataset { user_ids: Some(&users), item_ids: Some(&flipped_ids), ..Dataset::from(flipped_view) },
            1,
        );
        let back: Vec<Vec<u32>> = other
            .iter()
            .map(|t| {
                let mut t: Vec<u32> = t.iter().map(|i| 29 - i).collect();
                t.sort_unstable();
                t
            })
            .collect();
        assert_eq!(straight, back);
    }

    #[test]
    fn short_users_train_and_are_not_tested() {
        let data = OwnedSequences::from_items(
            8,
            [vec![0, 1, 2, 3], vec![0, 1, 2, 3, 4, 0], vec![0, 1, 2, 3, 4, 5, 6, 7]],
        );
        let view = data.view();
        let split = SplitSpec::Holdout(Holdout::default()).split(&Dataset::from(view), 3, true);
        let split = split.unwrap();
        assert_eq!(split.dropped.n_users_too_short, 1);
        assert!((0..split.n_cases()).all(|c| split.user(c) != 0));
        assert_eq!(split.train.view().user(0).item, [0, 1, 2, 3]);
    }

    #[test]
    fn dated_data_and_bad_settings_are_refused() {
        let mut data = OwnedSequences::from_items(2, [vec![0, 1]]);
        data.known_at = vec![1, 2];
        let view = data.view();
        let error = SplitSpec::Holdout(Holdout::default()).split(&Dataset::from(view), 0, true).unwrap_err();
        assert!(matches!(error, EvalError::Dated { .. }), "{error}");
        let data = profiles();
        let view = data.view();
        for bad in [
            Holdout { share: 0.0, ..Holdout::default() },
            Holdout { share: f64::NAN, ..Holdout::default() },
            Holdout { min_items: 1, ..Holdout::default() },
        ] {
            let error = SplitSpec::Holdout(bad).split(&Dataset::from(view), 0, true).unwrap_err();
            assert!(matches!(error, EvalError::Protocol { .. }), "{error}");
        }
    }
}
