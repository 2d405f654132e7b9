//! Leave-one-out: the last play of each user is the test.

use segue_data::OwnedSequences;
use serde::{Deserialize, Serialize};

use super::{Dropped, History, Parts, RawCase};
use crate::EvalError;
use crate::data::{Dataset, OwnedPlays, Plays};

/// Train on all but the last play of each user, test on that one.
///
/// The order is the data's own (known-at order, or that of the file): plays of the same moment keep
/// it. Models see plays of one user that are later than the test play of another, so this split
/// flatters; it is here to match published tables. A user with a single play trains and is not
/// tested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaveOneOut {}

impl LeaveOneOut {
    pub(super) const NAME: &'static str = "leave_one_out";

    pub(super) fn parts<'a>(&self, data: &Dataset<'a>) -> Result<Parts<'a>, EvalError> {
        let Plays::Sequences(all) = data.plays else {
            return Err(EvalError::NeedsOrder { split: Self::NAME });
        };
        let mut dropped = Dropped::default();
        let mut train =
            OwnedSequences { offsets: vec![0], n_items: all.n_items, ..OwnedSequences::default() };
        let mut cases = Vec::new();
        for user in 0..all.n_users() {
            let plays = all.user(user);
            let history_len = if plays.len() >= 2 { plays.len() - 1 } else { plays.len() };
            train.push(plays.head(history_len));
            match plays.len() {
                0 => dropped.n_users_without_test += 1,
                1 => dropped.n_users_too_short += 1,
                _ => cases.push(RawCase {
                    user: user as u32,
                    history_len,
                    targets: vec![plays.item[history_len]],
                }),
            }
        }
        Ok(Parts {
            train: OwnedPlays::Sequences(train),
            history: History::Prefix(data.plays),
            cases,
            until: None,
            now: None,
            dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::OwnedProfiles;
    use crate::split::SplitSpec;

    /// User row and targets of each case.
    type Cases = Vec<(usize, Vec<u32>)>;

    fn split_of(users: Vec<Vec<u32>>, filter_seen: bool) -> Result<(Cases, Dropped), EvalError> {
        let data = OwnedSequences::from_items(6, users);
        let view = data.view();
        let split = SplitSpec::LeaveOneOut(LeaveOneOut {}).split(&Dataset::from(view), 0, filter_seen)?;
        let cases = (0..split.n_cases()).map(|c| (split.user(c), split.targets(c).to_vec())).collect();
        Ok((cases, split.dropped))
    }

    #[test]
    fn the_last_play_is_the_target_and_what_cannot_be_predicted_is_dropped() {
        let users = vec![vec![0, 1, 2], vec![2, 0], vec![1, 5], vec![3], vec![], vec![0, 1, 0]];
        let (cases, dropped) = split_of(users.clone(), true).unwrap();
        assert_eq!(cases, [(0, vec![2]), (1, vec![0])]);
        assert_eq!(
            dropped,
            Dropped {
                n_users_without_test: 1,
                n_users_too_short: 1,
                n_users_target_unseen: 1,
                n_users_target_in_history: 1,
                n_targets_cold: 1,
                n_items_cold: 1,
                n_targets_in_history: 1,
                ..Dropped::default()
            }
        );
        let (cases, _) = split_of(users, false).unwrap();
        assert_eq!(cases.last(), Some(&(5, vec![0])), "a repeat counts when seen items may be shown");
    }

    #[test]
    fn a_log_of_one_user_leaves_nobody_and_says_why() {
        let message = split_of(vec![vec![0, 1, 2]], true).unwrap_err().to_string();
        assert!(
            message.contains("none of the 1 users") && message.contains("unseen in training"),
            "{message}"
        );
    }

    #[test]
    fn empty_data_is_an_empty_split() {
        for users in [vec![], vec![vec![], vec![]]] {
            assert!(matches!(split_of(users, true), Err(EvalError::EmptySplit { .. })));
        }
    }

    #[test]
    fn profiles_have_no_last_item() {
        let profiles = OwnedProfiles::from_counts(2, [vec![(0, 1), (1, 1)]]);
        let view = profiles.view();
        let error = SplitSpec::LeaveOneOut(LeaveOneOut {}).split(&Dataset::from(view), 0, true).unwrap_err();
        assert!(matches!(error, EvalError::NeedsOrder { .. }), "{error}");
    }
}
