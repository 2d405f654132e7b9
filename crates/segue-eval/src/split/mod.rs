//! Splits: which plays a model may learn from, and which it has to predict.
//!
//! A split is one file with a settings struct and a function from data to [`Parts`], and one line in
//! [`SplitSpec`]. What all splits share is done here once: the train catalogue, the targets that
//! cannot be predicted, and the count of everything that was dropped.

mod fixed;
mod fold_in;
mod global_time;
mod holdout;
mod last_sessions;
mod leave_one_out;

use std::fmt;

use segue_data::Sequence;
use segue_models::{ItemFeatures, Query, UserFeatures};
use segue_types::TimestampMs;
use serde::{Deserialize, Serialize};

pub use fixed::Fixed;
pub use fold_in::FoldIn;
pub use global_time::GlobalTime;
pub use holdout::Holdout;
pub use last_sessions::LastSessions;
pub use leave_one_out::LeaveOneOut;

use crate::EvalError;
use crate::data::{Dataset, OwnedPlays, Plays};
use crate::model::Train;

/// Which split, with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SplitSpec {
    /// Train before a moment, test after it; dated data only. The default.
    GlobalTime(GlobalTime),
    /// The last play of each user is the test; ordered data, to match published tables.
    LeaveOneOut(LeaveOneOut),
    /// A seeded share of each user's items is the test; undated data only.
    Holdout(Holdout),
    /// A seeded share of the users is never trained on and asked with part of their plays.
    FoldIn(FoldIn),
    /// The last sessions of each user are the test; data with sessions only.
    LastSessions(LastSessions),
    /// Train and test part are given, as some benchmarks publish them.
    Fixed(Fixed),
}

impl Default for SplitSpec {
    fn default() -> Self {
        Self::GlobalTime(GlobalTime::default())
    }
}

impl SplitSpec {
    /// The registered name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::GlobalTime(_) => GlobalTime::NAME,
            Self::LeaveOneOut(_) => LeaveOneOut::NAME,
            Self::Holdout(_) => Holdout::NAME,
            Self::FoldIn(_) => FoldIn::NAME,
            Self::LastSessions(_) => LastSessions::NAME,
            Self::Fixed(_) => Fixed::NAME,
        }
    }

    fn parts<'a>(&self, data: &Dataset<'a>, seed: u64) -> Result<Parts<'a>, EvalError> {
        match self {
            Self::GlobalTime(s) => s.parts(data),
            Self::LeaveOneOut(s) => s.parts(data),
            Self::Holdout(s) => s.parts(data, seed),
            Self::FoldIn(s) => s.parts(data, seed),
            Self::LastSessions(s) => s.parts(data),
            Self::Fixed(s) => s.parts(data),
        }
    }

    /// Splits the data.
    ///
    /// With `filter_seen`, a target that the user's history already holds cannot be recommended: it
    /// is dropped and counted. A target without a play in the train part is always dropped and
    /// counted, since no model can know it.
    ///
    /// # Errors
    /// If the data is malformed, or lacks the dates or the order that the split needs, or if no
    /// user is left to test.
    pub fn split<'a>(
        &self,
        data: &Dataset<'a>,
        seed: u64,
        filter_seen: bool,
    ) -> Result<Split<'a>, EvalError> {
        data.check()?;
        let parts = self.parts(data, seed)?;
        settle(self.name(), data, parts, filter_seen, seed)
    }

    /// The split with which settings are tuned on the train part of this one, so that no trial sees
    /// a test play: the same rule once more, or a seeded holdout where the parts were given.
    ///
    /// ```
    /// use segue_data::OwnedSequences;
    /// use segue_eval::{Dataset, LeaveOneOut, SplitSpec};
    ///
    /// let data = OwnedSequences::from_items(4, [vec![0, 1, 2, 3], vec![3, 2, 1, 0]]);
    /// let spec = SplitSpec::LeaveOneOut(LeaveOneOut {});
    /// let split = spec.split(&data.view().into(), 0, true)?;
    /// let train = Dataset::from(split.train.view());
    /// let validation = spec.for_validation(&train).split(&train, 0, true)?;
    /// assert_eq!((validation.history(0).item, validation.targets(0)), (&[0, 1][..], &[2][..]));
    /// # Ok::<(), segue_eval::EvalError>(())
    /// ```
    #[must_use]
    pub fn for_validation(&self, train: &Dataset<'_>) -> Self {
        match self {
            // The end of the train part is a moment of its own.
            Self::GlobalTime(s) => Self::GlobalTime(GlobalTime { test_start: None, ..s.clone() }),
            Self::Fixed(_) if train.plays.is_dated() => Self::LeaveOneOut(LeaveOneOut {}),
            Self::Fixed(_) => Self::Holdout(Holdout::default()),
            other => other.clone(),
        }
    }
}

/// What a split was asked to give: train part and raw test cases, before [`settle`] looks at them.
struct Parts<'a> {
    train: OwnedPlays,
    history: History<'a>,
    cases: Vec<RawCase>,
    until: Option<TimestampMs>,
    now: Option<TimestampMs>,
    dropped: Dropped,
}

/// Where a test user's history comes from.
#[derive(Debug)]
enum History<'a> {
    /// The first plays of the user's sequence in the data.
    Prefix(Plays<'a>),
    /// All the user has in the train part.
    Train,
    /// All the user has in plays kept for this.
    Own(OwnedPlays),
}

/// One user to test.
struct RawCase {
    user: u32,
    /// Plays of the history, for [`History::Prefix`].
    history_len: usize,
    /// Item rows to predict, in any order; repeats count once.
    targets: Vec<u32>,
}

/// What a split left out, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Users with nothing in the test part; they may have trained the models.
    pub n_users_without_test: u64,
    /// Users with fewer rows than the split needs to take one away.
    pub n_users_too_short: u64,
    /// Users to test who have no history.
    pub n_users_cold: u64,
    /// Users to test none of whose targets has a train play.
    pub n_users_target_unseen: u64,
    /// Users to test all of whose remaining targets are in their own history (seen-item filter on).
    pub n_users_target_in_history: u64,
    /// Targets without a train play, of users with a history.
    pub n_targets_cold: u64,
    /// Distinct items among them.
    pub n_items_cold: u64,
    /// Targets in the user's own history (seen-item filter on).
    pub n_targets_in_history: u64,
    /// Plays known in the gap between train and test: history for the test, not train data.
    pub n_plays_in_gap: u64,
    /// Plays known after the test begins that began before it: neither train nor target.
    pub n_plays_late: u64,
    /// Plays after the test part.
    pub n_plays_after_test: u64,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.n_users_without_test, "users without test plays"),
            (self.n_users_too_short, "users too short"),
            (self.n_users_cold, "users without history"),
            (self.n_users_target_unseen, "users whose targets are unseen in training"),
            (self.n_users_target_in_history, "users whose targets are in their history"),
            (self.n_targets_cold, "targets unseen in training"),
            (self.n_items_cold, "items unseen in training"),
            (self.n_targets_in_history, "targets in the history"),
            (self.n_plays_in_gap, "plays in the gap"),
            (self.n_plays_late, "late plays"),
            (self.n_plays_after_test, "plays after the test part"),
        ];
        let said: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if said.is_empty() { f.write_str("nothing dropped") } else { write!(f, "{}", said.join(", ")) }
    }
}

/// A split of one dataset: what models learn from and what they have to predict.
#[derive(Debug)]
pub struct Split<'a> {
    /// Name of the split.
    pub name: &'static str,
    /// The train part, with the user and item rows of the data.
    pub train: OwnedPlays,
    /// Train plays were known before this moment; absent for undated data.
    pub until: Option<TimestampMs>,
    /// The moment at which every test user is asked; absent for undated data.
    pub now: Option<TimestampMs>,
    /// `[n_items]` plays (rows for profiles) of each item in the train part.
    pub n_train_plays: Vec<u32>,
    /// `[n_items]` users of each item in the train part.
    pub n_train_users: Vec<u32>,
    /// What was left out.
    pub dropped: Dropped,
    source: History<'a>,
    seed: u64,
    user: Vec<u32>,
    history_len: Vec<usize>,
    target_offsets: Vec<usize>,
    targets: Vec<u32>,
    user_ids: Option<&'a [String]>,
    item_ids: Option<&'a [String]>,
    item_features: ItemFeatures<'a>,
    user_features: UserFeatures<'a>,
}

impl Split<'_> {
    /// Number of test cases: users who are asked.
    #[must_use]
    pub fn n_cases(&self) -> usize {
        self.user.len()
    }

    /// User row of a case.
    #[must_use]
    pub fn user(&self, case: usize) -> usize {
        self.user[case] as usize
    }

    /// What is known of the user when asked. Includes plays of the gap; never a test play.
    #[must_use]
    pub fn history(&self, case: usize) -> Sequence<'_> {
        match &self.source {
            History::Prefix(plays) => plays.user(self.user(case)).head(self.history_len[case]),
            History::Train => self.train.view().user(self.user(case)),
            History::Own(plays) => plays.view().user(self.user(case)),
        }
    }

    /// The question a case asks: the history, the moment, and what is known of the user by then; without a moment,
    /// when the last play of the history became known.
    #[must_use]
    pub fn query(&self, case: usize) -> Query<'_> {
        let history = self.history(case);
        let last = || history.known_at.last().copied().unwrap_or(i64::MAX);
        let at = self.now.map_or_else(last, |now| now.0);
        let (market, plan, birth_year) = self.user_features.known_at(self.user(case), at);
        Query { history, now: self.now, market, plan, birth_year, current: None }
    }

    /// Item rows to predict, ascending, each once, at least one.
    #[must_use]
    pub fn targets(&self, case: usize) -> &[u32] {
        &self.targets[self.target_offsets[case]..self.target_offsets[case + 1]]
    }

    /// The train part as models see it.
    #[must_use]
    pub fn train(&self) -> Train<'_> {
        Train {
            plays: self.train.view(),
            until: self.until,
            user_ids: self.user_ids,
            item_ids: self.item_ids,
            item_features: self.item_features,
            user_features: self.user_features,
            seed: self.seed,
        }
    }

    /// Number of items with a train play.
    #[must_use]
    pub fn n_train_items(&self) -> usize {
        self.n_train_plays.iter().filter(|&&n| n > 0).count()
    }
}

/// Drops what cannot be predicted, counts it, and refuses a split that leaves nobody.
fn settle<'a>(
    name: &'static str,
    data: &Dataset<'a>,
    parts: Parts<'a>,
    filter_seen: bool,
    seed: u64,
) -> Result<Split<'a>, EvalError> {
    let Parts { train, history, cases, until, now, mut dropped } = parts;
    let (n_train_plays, n_train_users) = count_items(train.view());
    let mut cold = vec![false; data.plays.n_items() as usize];
    let mut split = Split {
        name,
        train,
        until,
        now,
        n_train_plays,
        n_train_users,
        dropped: Dropped::default(),
        source: history,
        seed,
        user: Vec::new(),
        history_len: Vec::new(),
        target_offsets: vec![0],
        targets: Vec::new(),
        user_ids: data.user_ids,
        item_ids: data.item_ids,
        item_features: data.item_features,
        user_features: data.user_features,
    };
    let n_asked = cases.len();
    let mut seen = Vec::new();
    for case in cases {
        split.user.push(case.user);
        split.history_len.push(case.history_len);
        let row = split.user.len() - 1;
        let mut targets = case.targets;
        targets.sort_unstable();
        targets.dedup();
        let keep = {
            let history = split.history(row);
            if history.is_empty() {
                dropped.n_users_cold += 1;
                false
            } else {
                targets.retain(|&t| {
                    let known = split.n_train_plays[t as usize] > 0;
                    if !known {
                        dropped.n_targets_cold += 1;
                        cold[t as usize] = true;
                    }
                    known
                });
                let all_unseen = targets.is_empty();
                if filter_seen {
                    seen.clear();
                    seen.extend_from_slice(history.item);
                    seen.sort_unstable();
                    let before = targets.len();
                    targets.retain(|t| seen.binary_search(t).is_err());
                    dropped.n_targets_in_history += (before - targets.len()) as u64;
                }
                if all_unseen {
                    dropped.n_users_target_unseen += 1;
                } else if targets.is_empty() {
                    dropped.n_users_target_in_history += 1;
                }
                !targets.is_empty()
            }
        };
        if keep {
            split.targets.extend_from_slice(&targets);
            split.target_offsets.push(split.targets.len());
        } else {
            split.user.pop();
            split.history_len.pop();
        }
    }
    dropped.n_items_cold = cold.iter().filter(|&&c| c).count() as u64;
    split.dropped = dropped;
    if split.user.is_empty() {
        let why = if data.plays.n_rows() == 0 {
            "the data has no plays".to_owned()
        } else if n_asked == 0 {
            "no user has both a history and something to predict".to_owned()
        } else {
            let hint = if dropped.n_users_target_in_history > 0 {
                "; with `filter_seen` off, items of a user's own history may be predicted"
            } else {
                ""
            };
            format!("none of the {n_asked} users in the test part can be predicted{hint}")
        };
        return Err(EvalError::EmptySplit { split: name, why, dropped: Box::new(dropped) });
    }
    Ok(split)
}

/// Per item: train rows, and users with at least one.
fn count_items(train: Plays<'_>) -> (Vec<u32>, Vec<u32>) {
    let n_items = train.n_items() as usize;
    let (mut plays, mut users, mut last) = (vec![0_u32; n_items], vec![0_u32; n_items], vec![0_u32; n_items]);
    for user in 0..train.n_users() {
        for &item in train.user(user).item {
            let item = item as usize;
            plays[item] += 1;
            if last[item] != user as u32 + 1 {
                last[item] = user as u32 + 1;
                users[item] += 1;
            }
        }
    }
    (plays, users)
}
