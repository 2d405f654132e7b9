//! Global time split: one moment for everybody, as in production.

use segue_data::OwnedSequences;
use segue_types::{DAY_MS, TimestampMs};
use serde::{Deserialize, Serialize};

use super::{Dropped, History, Parts, RawCase};
use crate::EvalError;
use crate::data::{Dataset, OwnedPlays, Plays};

/// Train on what was known before a moment, test on what was played from a later one on.
///
/// ```text
/// ──── train ────┤ gap ├──── test ────┤ after
///        test_start − gap_days   test_start   test_start + test_days
/// ```
///
/// A model learns from plays *known* before the gap. A user is asked once, at `test_start`, with the
/// history known by then (the gap included: serving is fresher than training). Targets are the items
/// whose playback *began* in the test part. A play that began before `test_start` and became known
/// after it is neither.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GlobalTime {
    /// First moment of the test part; absent means `test_days` before the end of the data.
    pub test_start: Option<TimestampMs>,
    /// Length of the test part in days of 24 hours, above 0.
    pub test_days: f64,
    /// Days between the train and the test part, at least 0.
    pub gap_days: f64,
}

impl Default for GlobalTime {
    fn default() -> Self {
        Self { test_start: None, test_days: 7.0, gap_days: 0.0 }
    }
}

impl GlobalTime {
    pub(super) const NAME: &'static str = "global_time";

    pub(super) fn parts<'a>(&self, data: &Dataset<'a>) -> Result<Parts<'a>, EvalError> {
        let (test_ms, gap_ms) = (self.test_ms()?, self.gap_ms()?);
        let Plays::Sequences(all) = data.plays else {
            return Err(EvalError::NeedsDates { split: Self::NAME });
        };
        if all.item.is_empty() {
            return Err(EvalError::EmptySplit {
                split: Self::NAME,
                why: "the data has no plays".into(),
                dropped: Box::default(),
            });
        }
        if !all.is_dated() {
            return Err(EvalError::NeedsDates { split: Self::NAME });
        }
        // Where only the known-at column exists, playback is taken to begin when it became known.
        let began = if all.occurred_at.is_empty() { all.known_at } else { all.occurred_at };
        let test_start = match self.test_start {
            Some(start) => start.0,
            None => began.iter().max().map_or(0, |&last| last.saturating_add(1).saturating_sub(test_ms)),
        };
        let test_end = test_start.saturating_add(test_ms);
        let until = test_start.saturating_sub(gap_ms);

        let mut dropped = Dropped::default();
        let mut train =
            OwnedSequences { offsets: vec![0], n_items: all.n_items, ..OwnedSequences::default() };
        let mut cases = Vec::new();
        for user in 0..all.n_users() {
            let plays = all.user(user);
            let learnt = plays.known_before(until);
            let history_len = plays.known_before(test_start).len();
            train.push(learnt);
            dropped.n_plays_in_gap += (history_len - learnt.len()) as u64;
            let first = all.offsets[user] as usize;
            let mut targets = Vec::new();
            for i in history_len..plays.len() {
                let at = began[first + i];
                if at < test_start {
                    dropped.n_plays_late += 1;
                } else if at >= test_end {
                    dropped.n_plays_after_test += 1;
                } else {
                    targets.push(plays.item[i]);
                }
            }
            if targets.is_empty() {
                dropped.n_users_without_test += 1;
            } else {
                cases.push(RawCase { user: user as u32, history_len, targets });
            }
        }
        if train.item.is_empty() {
            return Err(EvalError::EmptySplit {
                split: Self::NAME,
                why: format!(
                    "nothing is known before the train part ends ({}); a shorter `test_days` or `gap_days` leaves more to learn from",
                    TimestampMs(until).day().to_iso()
                ),
                dropped: Box::new(dropped),
            });
        }
        Ok(Parts {
            train: OwnedPlays::Sequences(train),
            history: History::Prefix(data.plays),
            cases,
            until: Some(TimestampMs(until)),
            now: Some(TimestampMs(test_start)),
            dropped,
        })
    }

    fn test_ms(&self) -> Result<i64, EvalError> {
        days_to_ms(self.test_days).filter(|&ms| ms > 0).ok_or_else(|| EvalError::Protocol {
            setting: "test_days",
            value: self.test_days.to_string(),
            rule: "it is the length of the test part, above 0".into(),
        })
    }

    fn gap_ms(&self) -> Result<i64, EvalError> {
        days_to_ms(self.gap_days).ok_or_else(|| EvalError::Protocol {
            setting: "gap_days",
            value: self.gap_days.to_string(),
            rule: "it is the distance between train and test, at least 0".into(),
        })
    }
}

/// Whole milliseconds; `None` for a negative or absurd number (over a thousand years).
fn days_to_ms(days: f64) -> Option<i64> {
    (0.0..=366_000.0).contains(&days).then(|| (days * DAY_MS as f64).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::SplitSpec;

    /// Days of playback and knowledge per play, one user after the other.
    fn log(users: &[&[(u32, i64, i64)]]) -> OwnedSequences {
        let mut s = OwnedSequences { offsets: vec![0], n_items: 6, ..OwnedSequences::default() };
        for user in users {
            for &(item, occurred, known) in *user {
                s.item.push(item);
                s.occurred_at.push(occurred * DAY_MS);
                s.known_at.push(known * DAY_MS);
            }
            s.offsets.push(s.item.len() as u64);
        }
        s
    }

    fn spec(start: i64, test_days: f64, gap_days: f64) -> SplitSpec {
        SplitSpec::GlobalTime(GlobalTime {
            test_start: Some(TimestampMs(start * DAY_MS)),
            test_days,
            gap_days,
        })
    }

    #[test]
    fn train_gap_test_and_after_are_kept_apart() {
        let data = log(&[
            &[(0, 1, 1), (1, 8, 8), (2, 10, 10), (3, 12, 12)], // train, gap, test, after
            &[(2, 1, 1), (1, 9, 11), (0, 10, 11)],             // known late: began before the test
            &[(1, 10, 10)],                                    // cold user
            &[(1, 2, 2)],                                      // nothing to test
        ]);
        let view = data.view();
        let dataset = Dataset::from(view);
        let split = spec(10, 2.0, 3.0).split(&dataset, 0, true).unwrap();
        assert_eq!(split.n_cases(), 2);
        assert_eq!((split.user(0), split.history(0).item, split.targets(0)), (0, &[0, 1][..], &[2][..]));
        assert_eq!((split.user(1), split.history(1).item, split.targets(1)), (1, &[2][..], &[0][..]));
        assert_eq!(split.until, Some(TimestampMs(7 * DAY_MS)));
        let Plays::Sequences(train) = split.train.view() else { panic!("sequences stay sequences") };
        assert_eq!(
            train.iter().map(|u| u.item.to_vec()).collect::<Vec<_>>(),
            [vec![0], vec![2], vec![], vec![1]]
        );
        assert_eq!(
            split.dropped,
            Dropped {
                n_users_without_test: 1,
                n_users_cold: 1,
                n_plays_in_gap: 1,
                n_plays_late: 1,
                n_plays_after_test: 1,
                ..Dropped::default()
            }
        );
    }

    #[test]
    fn targets_unseen_in_training_or_in_the_history_are_counted() {
        let data = log(&[
            &[(0, 1, 1), (5, 10, 10)],
            &[(1, 1, 1), (1, 10, 10)],
            &[(1, 1, 1), (0, 10, 10), (5, 10, 10)],
        ]);
        let view = data.view();
        let dataset = Dataset::from(view);
        let split = spec(10, 1.0, 0.0).split(&dataset, 0, true).unwrap();
        assert_eq!((split.n_cases(), split.user(0), split.targets(0)), (1, 2, &[0][..]));
        assert_eq!(split.dropped.n_users_target_unseen, 1);
        assert_eq!(split.dropped.n_users_target_in_history, 1);
        assert_eq!((split.dropped.n_targets_cold, split.dropped.n_items_cold), (2, 1));
        let split = spec(10, 1.0, 0.0).split(&dataset, 0, false).unwrap();
        assert_eq!(split.n_cases(), 2, "a repeat is a fair target when seen items may be shown");
    }

    #[test]
    fn without_a_start_the_last_days_are_the_test() {
        let data = log(&[&[(0, 1, 1), (1, 5, 5)], &[(1, 2, 2), (0, 9, 9)]]);
        let view = data.view();
        let split = SplitSpec::default().split(&Dataset::from(view), 0, true).unwrap();
        assert_eq!(split.now, Some(TimestampMs(2 * DAY_MS + 1)));
        assert_eq!(split.n_cases(), 2);
        assert_eq!((split.targets(0), split.targets(1)), (&[1][..], &[0][..]));
    }

    #[test]
    fn one_listener_with_seen_items_filtered_is_told_about_repeats() {
        let data = log(&[&[(0, 1, 1), (1, 2, 2), (0, 9, 9), (1, 9, 9)]]);
        let view = data.view();
        let message = SplitSpec::default().split(&Dataset::from(view), 0, true).unwrap_err().to_string();
        assert!(message.contains("`filter_seen` off"), "{message}");
        let split = SplitSpec::default().split(&Dataset::from(view), 0, false).unwrap();
        assert_eq!(split.targets(0), [0, 1]);
    }

    #[test]
    fn data_without_dates_is_refused() {
        let data = OwnedSequences::from_items(2, [vec![0, 1]]);
        let view = data.view();
        let error = SplitSpec::default().split(&Dataset::from(view), 0, true).unwrap_err();
        assert!(matches!(error, EvalError::NeedsDates { split: "global_time" }), "{error}");
    }

    #[test]
    fn a_test_longer_than_the_data_says_so() {
        let data = log(&[&[(0, 1, 1), (1, 3, 3)]]);
        let view = data.view();
        let message = SplitSpec::default().split(&Dataset::from(view), 0, true).unwrap_err().to_string();
        assert!(message.contains("test_days"), "{message}");
        for (test_days, gap_days) in [(0.0, 0.0), (f64::NAN, 0.0), (1.0, -1.0)] {
            let error = spec(2, test_days, gap_days).split(&Dataset::from(view), 0, true).unwrap_err();
            assert!(matches!(error, EvalError::Protocol { .. }), "{error}");
        }
    }
}
