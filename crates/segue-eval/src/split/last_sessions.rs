//! Session-based: the last sessions of each user are the test.

use segue_data::OwnedSequences;
use serde::{Deserialize, Serialize};

use super::{Dropped, History, Parts, RawCase};
use crate::EvalError;
use crate::data::{Dataset, OwnedPlays, Plays};

/// Train on all but the last `n` sessions of each user, test on what those sessions played.
///
/// A user is asked once, before the first of the held-out sessions. Like leave-one-out, models see
/// plays of one user that are later than the test plays of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LastSessions {
    /// Sessions held out per user, at least 1.
    pub n: usize,
}

impl Default for LastSessions {
    fn default() -> Self {
        Self { n: 1 }
    }
}

impl LastSessions {
    pub(super) const NAME: &'static str = "last_sessions";

    pub(super) fn parts<'a>(&self, data: &Dataset<'a>) -> Result<Parts<'a>, EvalError> {
        if self.n == 0 {
            return Err(EvalError::Protocol {
                setting: "n",
                value: "0".into(),
                rule: "it is the number of sessions held out per user, at least 1".into(),
            });
        }
        let Plays::Sequences(all) = data.plays else {
            return Err(EvalError::NeedsOrder { split: Self::NAME });
        };
        if all.session.is_empty() && !all.item.is_empty() {
            return Err(EvalError::NeedsSessions { split: Self::NAME });
        }
        let mut dropped = Dropped::default();
        let mut train =
            OwnedSequences { offsets: vec![0], n_items: all.n_items, ..OwnedSequences::default() };
        let mut cases = Vec::new();
        for user in 0..all.n_users() {
            let plays = all.user(user);
            // Where each session begins: a late play may carry a number that was seen before.
            let starts: Vec<usize> =
                (0..plays.len()).filter(|&i| i == 0 || plays.session[i] != plays.session[i - 1]).collect();
            if starts.len() <= self.n {
                match plays.len() {
                    0 => dropped.n_users_without_test += 1,
                    _ => dropped.n_users_too_short += 1,
                }
                train.push(plays);
                continue;
            }
            let history_len = starts[starts.len() - self.n];
            train.push(plays.head(history_len));
            cases.push(RawCase {
                user: user as u32,
                history_len,
                targets: plays.item[history_len..].to_vec(),
            });
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
    use crate::split::SplitSpec;

    fn log() -> OwnedSequences {
        let mut s = OwnedSequences::from_items(
            5,
            [vec![0, 1, 2, 3, 4], vec![2, 3, 0], vec![4, 1], vec![], vec![3, 4, 2, 1]],
        );
        s.session = vec![0, 0, 1, 1, 2, 0, 1, 1, 0, 0, 0, 0, 1, 1];
        s
    }

    #[test]
    fn the_last_sessions_are_the_test_and_one_session_alone_trains() {
        let data = log();
        let view = data.view();
        let split =
            SplitSpec::LastSessions(LastSessions { n: 1 }).split(&Dataset::from(view), 0, true).unwrap();
        let cases: Vec<_> = (0..split.n_cases())
            .map(|c| (split.user(c), split.history(c).item.to_vec(), split.targets(c).to_vec()))
            .collect();
        assert_eq!(
            cases,
            [(0, vec![0, 1, 2, 3], vec![4]), (1, vec![2], vec![0, 3]), (4, vec![3, 4], vec![1, 2])]
        );
        assert_eq!(split.train.view().user(2).item, [4, 1]);
        assert_eq!((split.dropped.n_users_too_short, split.dropped.n_users_without_test), (1, 1));
        let two =
            SplitSpec::LastSessions(LastSessions { n: 2 }).split(&Dataset::from(view), 0, true).unwrap();
        assert_eq!((two.n_cases(), two.history(0).item, two.targets(0)), (1, &[0, 1][..], &[2, 3, 4][..]));
    }

    #[test]
    fn data_without_sessions_is_refused() {
        let data = OwnedSequences::from_items(2, [vec![0, 1]]);
        let view = data.view();
        let spec = SplitSpec::LastSessions(LastSessions::default());
        let error = spec.split(&Dataset::from(view), 0, true).unwrap_err();
        assert!(matches!(error, EvalError::NeedsSessions { split: "last_sessions" }), "{error}");
        let error = SplitSpec::LastSessions(LastSessions { n: 0 }).split(&Dataset::from(view), 0, true);
        assert!(matches!(error, Err(EvalError::Protocol { .. })));
    }
}
