//! Fold-in: listeners the models have never met, asked with part of what they played.

use segue_data::OwnedSequences;
use segue_stats::random::mix;
use segue_types::{ItemKey, UserKey};
use serde::{Deserialize, Serialize};

use super::{Dropped, History, Parts, RawCase};
use crate::EvalError;
use crate::data::{Dataset, OwnedPlays, OwnedProfiles, Plays};

/// Hold out a seeded share of the users; a model trains on the others, is given the first part of
/// each held-out user's plays and has to predict the rest ("strong generalisation").
///
/// Ordered plays are parted in order: the newest are predicted. Of profiles a seeded choice of
/// distinct items is predicted. Users are chosen by a hash of seed and external id (row where ids are
/// not known), whatever their order.
///
/// Source: Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018 (there the
/// choice is seeded for ordered data too).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FoldIn {
    /// Share of users held out of training, above 0 and below 1.
    pub user_share: f64,
    /// Share of a held-out user's plays (distinct items for profiles) that the model is given, above
    /// 0 and below 1; at least one is given and one predicted.
    pub given_share: f64,
    /// Held-out users with fewer plays are not tested; at least 2.
    pub min_items: usize,
}

impl Default for FoldIn {
    fn default() -> Self {
        Self { user_share: 0.2, given_share: 0.8, min_items: 5 }
    }
}

impl FoldIn {
    pub(super) const NAME: &'static str = "fold_in";

    pub(super) fn parts<'a>(&self, data: &Dataset<'a>, seed: u64) -> Result<Parts<'a>, EvalError> {
        self.check()?;
        let plays = data.plays;
        let n_users = plays.n_users();
        let user_hash: Vec<u64> = (0..n_users)
            .map(|u| {
                let key = data.user_ids.map_or(u as u64, |ids| (UserKey::of(&ids[u]).0 >> 64) as u64);
                mix(mix(seed ^ 0xF01D) ^ key)
            })
            .collect();
        let mut order: Vec<usize> = (0..n_users).filter(|&u| !plays.user(u).is_empty()).collect();
        order.sort_by_key(|&u| (user_hash[u], u));
        let n_held = (self.user_share * order.len() as f64).round() as usize;
        let mut held = vec![false; n_users];
        for &user in &order[..n_held] {
            held[user] = true;
        }

        let mut dropped = Dropped { n_users_without_test: (n_users - n_held) as u64, ..Dropped::default() };
        let (train, history, mut cases) = match plays {
            Plays::Sequences(s) => {
                let mut train =
                    OwnedSequences { offsets: vec![0], n_items: s.n_items, ..OwnedSequences::default() };
                let mut cases = Vec::new();
                for user in 0..n_users {
                    let all = s.user(user);
                    train.push(all.head(if held[user] { 0 } else { all.len() }));
                    if held[user] {
                        let given = self.n_given(all.len());
                        cases.push(given.map(|n| RawCase {
                            user: user as u32,
                            history_len: n,
                            targets: all.item[n..].to_vec(),
                        }));
                    }
                }
                (OwnedPlays::Sequences(train), History::Prefix(plays), cases)
            }
            Plays::Profiles(p) => {
                let item_keys: Vec<u64> = (0..p.n_items)
                    .map(|row| data.item_ids.map_or(u64::from(row), |ids| ItemKey::of(&ids[row as usize]).0))
                    .collect();
                let rows = |user: usize| p.offsets[user] as usize..p.offsets[user + 1] as usize;
                let entries = |rows: &[usize]| rows.iter().map(|&r| (p.item[r], p.n_plays[r])).collect();
                let (mut trained, mut given) = (Vec::new(), Vec::new());
                let mut cases = Vec::new();
                for user in 0..n_users {
                    let mut own: Vec<usize> = rows(user).collect();
                    if !held[user] {
                        trained.push(entries(&own));
                        given.push(Vec::new());
                        continue;
                    }
                    trained.push(Vec::new());
                    own.sort_by_cached_key(|&r| {
                        (mix(user_hash[user] ^ item_keys[p.item[r] as usize]), p.item[r])
                    });
                    let n = self.n_given(own.len());
                    let (first, rest) = own.split_at(n.unwrap_or(0));
                    given.push(entries(first));
                    cases.push(n.map(|_| RawCase {
                        user: user as u32,
                        history_len: first.len(),
                        targets: rest.iter().map(|&r| p.item[r]).collect(),
                    }));
                }
                let given = OwnedPlays::Profiles(OwnedProfiles::from_counts(p.n_items, given));
                let train = OwnedPlays::Profiles(OwnedProfiles::from_counts(p.n_items, trained));
                (train, History::Own(given), cases)
            }
        };
        let n_before = cases.len();
        cases.retain(Option::is_some);
        dropped.n_users_too_short = (n_before - cases.len()) as u64;
        let cases = cases.into_iter().flatten().collect();
        Ok(Parts { train, history, cases, until: None, now: None, dropped })
    }

    /// How many of `n` plays are given; `None` for a user who is too short to be tested.
    fn n_given(&self, n: usize) -> Option<usize> {
        (n >= self.min_items).then(|| ((self.given_share * n as f64).round() as usize).clamp(1, n - 1))
    }

    fn check(&self) -> Result<(), EvalError> {
        for (setting, value, what) in [
            ("user_share", self.user_share, "users held out of training"),
            ("given_share", self.given_share, "a held-out user's plays that the model is given"),
        ] {
            if !(value > 0.0 && value < 1.0) {
                return Err(EvalError::Protocol {
                    setting,
                    value: value.to_string(),
                    rule: format!("it is the share of {what}, above 0 and below 1"),
                });
            }
        }
        if self.min_items < 2 {
            return Err(EvalError::Protocol {
                setting: "min_items",
                value: self.min_items.to_string(),
                rule: "a user needs one item to be given and one to predict, so at least 2".into(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::{Split, SplitSpec};

    fn split<'a>(data: &Dataset<'a>, seed: u64) -> Split<'a> {
        SplitSpec::FoldIn(FoldIn::default()).split(data, seed, true).unwrap()
    }

    #[test]
    fn held_out_users_are_not_in_training_and_the_newest_plays_are_asked() {
        let all: Vec<Vec<u32>> = (0..50_u32).map(|u| (0..10).map(|i| (u + i) % 30).collect()).collect();
        let data = OwnedSequences::from_items(30, all.clone());
        let view = data.view();
        let split = split(&Dataset::from(view), 1);
        assert_eq!(split.n_cases(), 10);
        for case in 0..split.n_cases() {
            let user = split.user(case);
            assert!(split.train.view().user(user).is_empty());
            assert_eq!(split.history(case).item, &all[user][..8]);
            let mut newest = all[user][8..].to_vec();
            newest.sort_unstable();
            assert_eq!(split.targets(case), newest);
        }
        assert_eq!(split.train.view().n_rows(), 400);
        assert_eq!(split.dropped.n_users_without_test, 40);
    }

    #[test]
    fn profiles_are_parted_by_seed_and_nothing_is_lost() {
        let data =
            OwnedProfiles::from_counts(30, (0..50_u32).map(|u| (0..10).map(|i| ((u + i) % 30, 3)).collect()));
        let view = data.view();
        let dataset = Dataset::from(view);
        let one = split(&dataset, 1);
        assert_eq!(one.n_cases(), 10);
        for case in 0..one.n_cases() {
            assert!(one.train.view().user(one.user(case)).is_empty());
            let mut all = [one.history(case).item, one.targets(case)].concat();
            all.sort_unstable();
            let mut expected = view.user(one.user(case)).to_vec();
            expected.sort_unstable();
            assert_eq!((all, one.targets(case).len()), (expected, 2));
        }
        let users = |s: &Split<'_>| (0..s.n_cases()).map(|c| s.user(c)).collect::<Vec<_>>();
        assert_eq!(users(&one), users(&split(&dataset, 1)));
        assert_ne!(users(&one), users(&split(&dataset, 2)));
    }

    #[test]
    fn short_users_and_bad_settings_are_named() {
        let data = OwnedSequences::from_items(3, (0..10).map(|_| vec![0, 1, 2]).collect::<Vec<_>>());
        let view = data.view();
        let error = SplitSpec::FoldIn(FoldIn::default()).split(&Dataset::from(view), 0, true).unwrap_err();
        assert!(error.to_string().contains("2 users too short"), "{error}");
        for bad in [
            FoldIn { user_share: 1.0, ..FoldIn::default() },
            FoldIn { given_share: f64::NAN, ..FoldIn::default() },
            FoldIn { min_items: 1, ..FoldIn::default() },
        ] {
            let error = SplitSpec::FoldIn(bad).split(&Dataset::from(view), 0, true).unwrap_err();
            assert!(matches!(error, EvalError::Protocol { .. }), "{error}");
        }
    }
}
