//! Counting who follows whom, and who is heard beside whom.
//!
//! Plays are indexed by item once; then each source item is counted on its own, in parallel, with
//! dense scratch per thread. Nothing is materialised per pair of plays, so memory is one index
//! entry per play plus the result, and the result does not depend on the number of threads.

use segue_types::Action;
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
        if input.sequences.n_plays() == 0 && input.profiles.is_some() {
            return Err(ModelError::NeedsData { model, what: "plays in order (undated profiles have none)" });
        }
        let n_items = input.n_items();
        let mut target = Vec::with_capacity(input.sequences.n_plays());
        let mut offsets = vec![0_u64; n_items as usize + 1];
        for user in input.users() {
            for (at, &item) in user.item.iter().enumerate() {
                let wanted = targets.admits(user.action.get(at).copied());
                target.push(if wanted { item } else { NO_TARGET });
                offsets[item as usize + 1] += 1;
            }
        }
        for i in 1..offsets.len() {
            offsets[i] += offsets[i - 1];
        }
        let mut next = offsets.clone();
        let mut occurrence = vec![0_u64; target.len()];
        let mut play = 0_u64;
        for user in input.users() {
            for (at, &item) in user.item.iter().enumerate() {
                let follow = (user.len() - 1 - at).min(MAX_WINDOW) as u64;
                let slot = &mut next[item as usize];
                occurrence[*slot as usize] = play << 8 | follow;
                *slot += 1;
                play += 1;
            }
        }
        Ok(Self { n_items, target, offsets, occurrence })
    }

    /// Plays of each item (skipped ones too).
    pub(crate) fn n_plays(&self, item: u32) -> u64 {
        self.offsets[item as usize + 1] - self.offsets[item as usize]
    }

    /// Number of item rows.
    pub(crate) fn n_items(&self) -> u32 {
        self.n_items
    }

    /// Items that were played, ascending.
    pub(crate) fn played(&self) -> Vec<u32> {
        (0..self.n_items).filter(|&i| self.n_plays(i) > 0).collect()
    }

    /// `C[b, a] = Σ_d weight[d-1] · N_d[b, a]`, where `N_d[b, a]` counts how often a user's play of
    /// `b` is followed `d` plays later by `a`. Zero entries are not stored.
    ///
    /// Each entry is summed in `f32` in the order of `d`, as the published tables did.
    pub(crate) fn offset_counts(
        &self,
        weight: &[f32],
        finish: impl Fn(u32, &mut Vec<(u32, f32)>) + Sync + Send,
    ) -> Csr {
        let n = self.n_items as usize;
        let scratch = || OffsetScratch { sum: vec![0.0; n], count: vec![0; n], ..Default::default() };
        Csr::build(self.n_items, scratch, |s, source, out| {
            let range = self.offsets[source as usize] as usize..self.offsets[source as usize + 1] as usize;
            for (d, &weight) in (1..).zip(weight) {
                if weight == 0.0 {
                    continue;
                }
                for &occurrence in &self.occurrence[range.clone()] {
                    if (occurrence & 0xff) < d {
                        continue;
                    }
                    let target = self.target[((occurrence >> 8) + d) as usize];
                    if target == NO_TARGET {
                        continue;
                    }
                    let count = &mut s.count[target as usize];
                    if *count == 0 {
                        s.counted.push(target);
                    }
                    *count += 1;
                }
                for target in s.counted.drain(..) {
                    let sum = &mut s.sum[target as usize];
                    if *sum == 0.0 {
                        s.summed.push(target);
                    }
                    *sum += weight * std::mem::take(&mut s.count[target as usize]) as f32;
                }
            }
            s.summed.sort_unstable();
            for target in s.summed.drain(..) {
                let sum = std::mem::take(&mut s.sum[target as usize]);
                if sum != 0.0 {
                    out.push((target, sum));
                }
            }
            finish(source, out);
        })
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
        row.select_nth_unstable_by(limit - 1, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        row.truncate(limit);
        row.sort_unstable_by_key(|e| e.0);
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
