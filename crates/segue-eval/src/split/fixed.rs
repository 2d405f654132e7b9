//! Fixed split: somebody else drew the line, and published both parts.

use segue_data::OwnedSequences;
use serde::{Deserialize, Serialize};

use super::{Dropped, History, Parts, RawCase};
use crate::EvalError;
use crate::data::{Dataset, OwnedPlays, OwnedProfiles, Plays};

/// Train on [`Dataset::plays`], test on [`Dataset::test`]: both were given.
///
/// For benchmarks that publish their parts (Gowalla, Yelp2018, Amazon-book of NGCF and LightGCN). What
/// the split means (a random share, a moment in time) is theirs to say; settings are tuned on a
/// part of the train part, never on the test part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fixed {}

impl Fixed {
    pub(super) const NAME: &'static str = "fixed";

    pub(super) fn parts<'a>(&self, data: &Dataset<'a>) -> Result<Parts<'a>, EvalError> {
        let Some(test) = data.test else { return Err(EvalError::NeedsTest { split: Self::NAME }) };
        let mut dropped = Dropped::default();
        let mut cases = Vec::new();
        for user in 0..test.n_users() {
            if test.user(user).is_empty() {
                dropped.n_users_without_test += 1;
            } else {
                cases.push(RawCase { user: user as u32, history_len: 0, targets: test.user(user).to_vec() });
            }
        }
        let train = match data.plays {
            Plays::Sequences(s) => {
                let mut own =
                    OwnedSequences { offsets: vec![0], n_items: s.n_items, ..OwnedSequences::default() };
                s.iter().for_each(|user| own.push(user));
                OwnedPlays::Sequences(own)
            }
            Plays::Profiles(p) => OwnedPlays::Profiles(OwnedProfiles {
                offsets: p.offsets.to_vec(),
                item: p.item.to_vec(),
                n_plays: p.n_plays.to_vec(),
                n_items: p.n_items,
            }),
        };
        Ok(Parts { train, history: History::Train, cases, until: None, now: None, dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::SplitSpec;

    #[test]
    fn the_given_parts_are_used_as_they_are() {
        let train = OwnedProfiles::from_counts(4, [vec![(0, 1), (1, 1)], vec![(2, 1)], vec![]]);
        let test = OwnedProfiles::from_counts(4, [vec![(2, 1), (3, 1), (0, 1)], vec![], vec![(0, 1)]]);
        let data = Dataset { test: Some(test.view()), ..Dataset::from(train.view()) };
        let split = SplitSpec::Fixed(Fixed {}).split(&data, 0, true).unwrap();
        assert_eq!((split.n_cases(), split.user(0), split.targets(0)), (1, 0, &[2][..]));
        assert_eq!(split.history(0).item, [0, 1]);
        assert_eq!(
            split.dropped,
            Dropped {
                n_users_without_test: 1,
                n_users_cold: 1,
                n_targets_cold: 1,
                n_items_cold: 1,
                n_targets_in_history: 1,
                ..Dropped::default()
            }
        );
    }

    #[test]
    fn without_a_test_part_it_says_so() {
        let train = OwnedProfiles::from_counts(1, [vec![(0, 1)]]);
        let error = SplitSpec::Fixed(Fixed {}).split(&Dataset::from(train.view()), 0, true).unwrap_err();
        assert!(matches!(error, EvalError::NeedsTest { split: "fixed" }), "{error}");
        let test = OwnedProfiles::from_counts(1, []);
        let data = Dataset { test: Some(test.view()), ..Dataset::from(train.view()) };
        let message = SplitSpec::Fixed(Fixed {}).split(&data, 0, true).unwrap_err().to_string();
        assert!(message.contains("0 users for 1"), "{message}");
    }
}
