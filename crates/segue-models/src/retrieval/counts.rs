//! Counting who follows whom, and who is heard beside whom.
//!
//! Plays are indexed by item once; then each source item is counted on its own, in parallel, with
//! dense scratch per thread. Nothing is materialised per pair of plays, so memory is one index
//! entry per play plus the result, and the result does not depend on the number of threads.

use segue_data::Sequence;
use segue_types::{Action, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::sparse::Csr;
use crate::{FitInput, ModelError};

/// Which plays count as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// Every play.
    All,
    /// Plays that were not skipped or cut under 30 s. Data without outcomes counts every play.
    #[default]
    Wanted,
}

impl Targets {
    pub(crate) fn admits(self, action: Option<u8>) -> bool {
        match self {
            Self::All => true,
            Self::Wanted => !action.and_then(Action::from_code).is_some_and(Action::is_negative),
        }
    }
}

/// Marks a play that is not a target.
const NO_TARGET: u32 = u32::MAX;

/// The largest offset that can be counted.
pub(crate) const MAX_WINDOW: usize = 255;

/// All plays of the training part, indexed by item.
pub(crate) struct OrderedPlays {
    n_items: u32,
    /// Users with a play; of an increment those whose first it is.
    n_users: u64,
    /// `[n_items]` plays of each item, skipped ones too; of an increment its own.
    n_plays: Vec<u64>,
    /// `[n_plays]` the item as a target, or [`NO_TARGET`].
    target: Vec<u32>,
    /// Plays of each item: `[n_items + 1]` offsets into `occurrence`.
    offsets: Vec<u64>,
    /// `[n_plays]` play index `<< 8` and the number of plays that follow it (at most 255).
    occurrence: Vec<u64>,
}

impl OrderedPlays {
    /// Indexes the plays known before `until`.
    pub(crate) fn index(
        model: &'static str,
        input: &FitInput<'_>,
        targets: Targets,
    ) -> Result<Self, ModelError> {
        Self::index_part(model, input, targets, None)
    }

    /// Indexes the plays known at or after a moment; the `reach` plays of each user before them are sources alone.
    pub(crate) fn index_since(
        model: &'static str,
        input: &FitInput<'_>,
        targets: Targets,
        from: TimestampMs,
        reach: usize,
    ) -> Result<Self, ModelError> {
        Self::index_part(model, input, targets, Some((from, reach)))
    }

    fn index_part(
        model: &'static str,
        input: &FitInput<'_>,
        targets: Targets,
        since: Option<(TimestampMs, usize)>,
    ) -> Result<Self, ModelError> {
        if input.sequences.n_plays() == 0 && input.profiles.is_some() {
            return Err(ModelError::NeedsData { model, what: "plays in order (undated profiles have none)" });
        }
        let n_items = input.n_items();
        // Of a user: the first play that is looked at, and the first that is new.
        let part = |user: &Sequence<'_>| {
            since.map_or((0, 0), |(from, reach)| {
                let n_known = user.known_before(from.0).len();
                (n_known.saturating_sub(reach), n_known)
            })
        };
        let (mut n_users, mut n_plays) = (0, vec![0_u64; n_items as usize]);
        let mut target = Vec::new();
        let mut offsets = vec![0_u64; n_items as usize + 1];
        for user in input.users() {
            let (first, first_new) = part(&user);
            n_users += u64::from(first_new == 0 && !user.is_empty());
            for at in first..user.len() {
                let item = user.item[at];
                let wanted = at >= first_new && targets.admits(user.action.get(at).copied());
                target.push(if wanted { item } else { NO_TARGET });
                offsets[item as usize + 1] += 1;
                n_plays[item as usize] += u64::from(at >= first_new);
            }
        }
        for i in 1..offsets.len() {
            offsets[i] += offsets[i - 1];
        }
        let mut next = offsets.clone();
        let mut occurrence = vec![0_u64; target.len()];
        let mut play = 0_u64;
        for user in input.users() {
            for at in part(&user).0..user.len() {
                let follow = (user.len() - 1 - at).min(MAX_WINDOW) as u64;
                let slot = &mut next[user.item[at] as usize];
                occurrence[*slot as usize] = play << 8 | follow;
                *slot += 1;
                play += 1;
            }
        }
        Ok(Self { n_items, n_users, n_plays, target, offsets, occurrence })
    }

    /// For each distance from 1 to `window`, and each target that follows `source` at it: calls `found(distance,
    /// target, number)`, distances ascending. `count` is room, `[n_items]` of zeros.
    pub(crate) fn each_follower(
        &self,
        source: u32,
        window: u8,
        count: &mut [u32],
        counted: &mut Vec<u32>,
        mut found: impl FnMut(u8, u32, u32),
    ) {
        let range = self.offsets[source as usize] as usize..self.offsets[source as usize + 1] as usize;
        for d in 1..=window {
            for &occurrence in &self.occurrence[range.clone()] {
                if (occurrence & 0xff) < u64::from(d) {
                    continue;
                }
                let target = self.target[((occurrence >> 8) + u64::from(d)) as usize];
                if target == NO_TARGET {
                    continue;
                }
                let count = &mut count[target as usize];
                if *count == 0 {
                    counted.push(target);
                }
                *count += 1;
            }
            for target in counted.drain(..) {
                found(d, target, std::mem::take(&mut count[target as usize]));
            }
        }
    }
}

impl Followers for OrderedPlays {
    fn n_items(&self) -> u32 {
        self.n_items
    }

    fn n_users(&self) -> u64 {
        self.n_users
    }

    fn n_plays(&self, item: u32) -> u64 {
        self.n_plays[item as usize]
    }

    fn offset_counts(&self, weight: &[f32], finish: impl Fn(u32, &mut Vec<(u32, f32)>) + Sync + Send) -> Csr {
        let n = self.n_items as usize;
        let window = weight.len().min(MAX_WINDOW) as u8;
        let scratch = || OffsetScratch { sum: vec![0.0; n], count: vec![0; n], ..Default::default() };
        Csr::build(self.n_items, scratch, |s, source, out| {
            let OffsetScratch { sum, count, counted, summed } = s;
            self.each_follower(source, window, count, counted, |d, target, n| {
                add(sum, summed, target, weight[usize::from(d) - 1] * n as f32);
            });
            take_row(sum, summed, out);
            finish(source, out);
        })
    }
}

/// Who follows whom, counted from plays or kept from before.
pub(crate) trait Followers {
    /// Number of item rows.
    fn n_items(&self) -> u32;

    /// Users with a play.
    fn n_users(&self) -> u64;

    /// Plays of an item, skipped ones too.
    fn n_plays(&self, item: u32) -> u64;

    /// Items that were played, ascending.
    fn played(&self) -> Vec<u32> {
        (0..self.n_items()).filter(|&i| self.n_plays(i) > 0).collect()
    }

    /// `C[b, a] = Σ_d weight[d-1] · N_d[b, a]`, where `N_d[b, a]` counts how often a user's play of
    /// `b` is followed `d` plays later by `a`. Zero entries are not stored.
    ///
    /// Each entry is summed in `f32` in the order of `d`, as the published tables did.
    fn offset_counts(&self, weight: &[f32], finish: impl Fn(u32, &mut Vec<(u32, f32)>) + Sync + Send) -> Csr;
}

/// Adds to the sum of a target, and notes the target at its first.
#[inline]
pub(crate) fn add(sum: &mut [f32], summed: &mut Vec<u32>, target: u32, value: f32) {
    if value != 0.0 {
        let sum = &mut sum[target as usize];
        if *sum == 0.0 {
            summed.push(target);
        }
        *sum += value;
    }
}

/// Moves sums into a row, targets ascending, and leaves zeros behind.
pub(crate) fn take_row(sum: &mut [f32], summed: &mut Vec<u32>, out: &mut Vec<(u32, f32)>) {
    summed.sort_unstable();
    for target in summed.drain(..) {
        let sum = std::mem::take(&mut sum[target as usize]);
        if sum != 0.0 {
            out.push((target, sum));
        }
    }
}

#[derive(Default)]
struct OffsetScratch {
    sum: Vec<f32>,
    count: Vec<u32>,
    counted: Vec<u32>,
    summed: Vec<u32>,
}

/// Keeps the `limit` greatest entries of a row, at least 1, ties by column. What is cut ends in column order.
pub(crate) fn prune(row: &mut Vec<(u32, f32)>, limit: usize) {
    if row.len() > limit {
        select(row, limit);
        row.sort_unstable_by_key(|e| e.0);
    }
}

/// Keeps the `limit` greatest entries of a row, at least 1, ties by column; the least of them is the last.
pub(crate) fn select(row: &mut Vec<(u32, f32)>, limit: usize) {
    if row.len() > limit {
        row.select_nth_unstable_by(limit - 1, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        row.truncate(limit);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use segue_data::OwnedSequences;

    use super::*;

    proptest! {
        /// The reference counts pairs of plays one by one.
        #[test]
        fn offset_counts_equal_a_loop_over_pairs(
            users in prop::collection::vec(prop::collection::vec(0_u32..7, 0..12), 0..8),
            skipped in prop::collection::vec(any::<bool>(), 100),
        ) {
            let mut plays = OwnedSequences::from_items(7, users);
            plays.action = (0..plays.item.len())
                .map(|i| if skipped[i] { Action::Skipped.code() } else { Action::Streamed.code() })
                .collect();
            let weight = [1.0_f32, 0.5, 0.25];
            let mut want = BTreeMap::new();
            for user in plays.view().iter() {
                for from in 0..user.len() {
                    for d in 1..=3 {
                        if from + d < user.len() && user.action[from + d] != Action::Skipped.code() {
                            *want.entry((user.item[from], user.item[from + d])).or_insert(0.0) += weight[d - 1];
                        }
                    }
                }
            }
            let index = OrderedPlays::index("test", &FitInput::of(plays.view()), Targets::Wanted).unwrap();
            let got = index.offset_counts(&weight, |_, _| {});
            prop_assert_eq!(got.n_entries(), want.len());
            for ((b, a), count) in want {
                prop_assert_eq!(got.get(b, a), count); // halves and quarters add exactly
            }
        }
    }

    #[test]
    fn pruning_keeps_the_greatest_and_breaks_ties_by_column() {
        let mut row = vec![(0, 1.0), (3, 2.0), (5, 1.0), (9, 1.0)];
        prune(&mut row, 2);
        assert_eq!(row, [(0, 1.0), (3, 2.0)]);
    }
}
