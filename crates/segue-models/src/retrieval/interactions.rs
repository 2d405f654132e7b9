//! Who plays what, without order: listeners (or sessions) × items, by row and by column.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::counts::{Targets, select};
use crate::FitInput;
use crate::sparse::Csr;

/// What plays of one item by one user amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TermFrequency {
    /// 1, however often.
    #[default]
    Binary,
    /// `ln(1 + plays)`.
    Log,
}

/// What a row of the matrix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowsOf {
    /// One listener's plays.
    #[default]
    Users,
    /// One session's plays. Data without session numbers has one session per listener.
    Sessions,
}

/// What to read from the data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) rows_of: RowsOf,
    pub(crate) tf: TermFrequency,
    /// Items kept per row: the newest, or of profiles the most played.
    pub(crate) max_row_items: usize,
    pub(crate) targets: Targets,
}

/// Weighted rows × items, and its transpose. "User" means a row, which may be a session.
#[derive(Debug)]
pub(crate) struct Interactions {
    pub(crate) n_items: u32,
    /// `[n_users + 1]` into `item` and `weight`.
    pub(crate) user_offsets: Vec<usize>,
    /// `[n_entries]` ascending within a user.
    pub(crate) item: Vec<u32>,
    /// `[n_entries]`.
    pub(crate) weight: Vec<f32>,
    /// `[n_items + 1]` into `entry`.
    pub(crate) item_offsets: Vec<usize>,
    /// `[n_entries]` user row and index into `item`, by item, users ascending.
    pub(crate) entry: Vec<(u32, u32)>,
}

/// One item of a row while the row is put together.
struct RowEntry {
    item: u32,
    /// 0 for the best.
    place: usize,
    /// Its plays.
    n: u64,
}

impl Interactions {
    pub(crate) fn of(input: &FitInput<'_>, reading: &Reading) -> Self {
        let mut out = Self {
            n_items: input.n_items(),
            user_offsets: vec![0],
            item: vec![],
            weight: vec![],
            item_offsets: vec![0; input.n_items() as usize + 1],
            entry: vec![],
        };
        let mut row = Vec::new();
        match input.profiles.filter(|_| input.sequences.n_plays() == 0) {
            Some(profiles) => {
                for range in profiles.offsets.windows(2) {
                    let range = range[0] as usize..range[1] as usize;
                    let mut plays: Vec<(u32, u64)> =
                        range.map(|i| (profiles.item[i], profiles.n_plays[i])).collect();
                    plays.sort_unstable_by_key(|&(item, n)| (Reverse(n), item));
                    out.push(plays.into_iter(), reading, &mut row);
                }
            }
            None => {
                for user in input.users() {
                    let session = |at: usize| user.session.get(at).copied();
                    let mut end = user.len();
                    // Newest first; one pass per row, and one row even for who has no play.
                    loop {
                        let start = match reading.rows_of {
                            RowsOf::Users => 0,
                            RowsOf::Sessions => (0..end)
                                .rev()
                                .find(|&at| session(at) != session(end - 1))
                                .map_or(0, |at| at + 1),
                        };
                        let wanted = (start..end).rev().filter_map(|at| {
                            let wanted = reading.targets.admits(user.action.get(at).copied());
                            wanted.then_some((user.item[at], 1))
                        });
                        out.push(wanted, reading, &mut row);
                        end = start;
                        if end == 0 {
                            break;
                        }
                    }
                }
            }
        }
        for &item in &out.item {
            out.item_offsets[item as usize + 1] += 1;
        }
        for i in 1..out.item_offsets.len() {
            out.item_offsets[i] += out.item_offsets[i - 1];
        }
        let mut next = out.item_offsets.clone();
        out.entry = vec![(0, 0); out.item.len()];
        for user in 0..out.n_users() {
            for i in out.user_offsets[user]..out.user_offsets[user + 1] {
                let slot = &mut next[out.item[i] as usize];
                out.entry[*slot] = (user as u32, i as u32);
                *slot += 1;
            }
        }
        out
    }

    /// Adds a row's plays, best first: `(item, number)`. An item that is kept counts with all its plays.
    fn push(&mut self, plays: impl Iterator<Item = (u32, u64)>, reading: &Reading, row: &mut Vec<RowEntry>) {
        row.clear();
        row.extend(plays.enumerate().map(|(place, (item, n))| RowEntry { item, place, n }));
        // By item, the best of its places first; then one entry per item.
        row.sort_unstable_by_key(|e| (e.item, e.place));
        row.dedup_by(|next, first| {
            let same = next.item == first.item;
            if same {
                first.n = first.n.saturating_add(next.n);
            }
            same
        });
        if row.len() > reading.max_row_items {
            row.sort_unstable_by_key(|e| e.place);
            row.truncate(reading.max_row_items);
            row.sort_unstable_by_key(|e| e.item);
        }
        self.item.extend(row.iter().map(|e| e.item));
        self.weight.extend(row.iter().map(|e| match reading.tf {
            TermFrequency::Binary => 1.0,
            TermFrequency::Log => (e.n as f32).ln_1p(),
        }));
        self.user_offsets.push(self.item.len());
    }

    /// Number of rows.
    pub(crate) fn n_users(&self) -> usize {
        self.user_offsets.len() - 1
    }

    /// Where a user's entries are.
    pub(crate) fn of_user(&self, user: usize) -> std::ops::Range<usize> {
        self.user_offsets[user]..self.user_offsets[user + 1]
    }

    /// `(user, index of the entry)` of an item, users ascending.
    pub(crate) fn of_item(&self, item: u32) -> &[(u32, u32)] {
        &self.entry[self.item_offsets[item as usize]..self.item_offsets[item as usize + 1]]
    }

    /// The matrix `finish(i, j, Σ_u left[u, i] · right[u, j])`: one row per item `i`, without its diagonal,
    /// the `limit` greatest entries of each, at least 1, ties by column.
    ///
    /// `left` and `right` are `[n_entries]` beside `item`; `left[u, i] · right[u, j]` is never negative, and 0 only
    /// where `left[u, i]` is. Sums are `f64`, users ascending. Entries for which `finish` gives 0 or no finite number are left out.
    pub(crate) fn item_products(
        &self,
        left: &[f32],
        right: &[f32],
        finish: impl Fn(u32, u32, f64) -> f64 + Sync + Send,
        limit: usize,
    ) -> Csr {
        let n = self.n_items as usize;
        // One slot more than there are items: the slot after the last is written before it is known to count.
        let scratch = || (vec![0.0_f64; n], vec![0_u32; n + 1]);
        Csr::build(self.n_items, scratch, |(sum, touched), source, out| {
            let mut n_touched = 0;
            for &(user, at) in self.of_item(source) {
                let weight = f64::from(left[at as usize]);
                if weight == 0.0 {
                    continue;
                }
                let range = self.of_user(user as usize);
                for (&other, &value) in self.item[range.clone()].iter().zip(&right[range]) {
                    let sum = &mut sum[other as usize];
                    // Without a branch: whether a pair is new cannot be predicted.
                    touched[n_touched] = other;
                    n_touched += usize::from(*sum == 0.0);
                    *sum += weight * f64::from(value);
                }
            }
            let mut greatest = Greatest::new(limit, out);
            for &other in &touched[..n_touched] {
                let product = std::mem::take(&mut sum[other as usize]);
                let value = finish(source, other, product);
                if other != source && value as f32 != 0.0 && value.is_finite() {
                    greatest.push(other, value as f32);
                }
            }
            greatest.finish();
        })
    }
}

/// Keeps the `limit` greatest entries of a row as they come, ties by column: thousands come of which a hundred stay.
struct Greatest<'a> {
    limit: usize,
    /// What is below it cannot stay.
    floor: f32,
    row: &'a mut Vec<(u32, f32)>,
}

impl<'a> Greatest<'a> {
    fn new(limit: usize, row: &'a mut Vec<(u32, f32)>) -> Self {
        Self { limit, floor: f32::NEG_INFINITY, row }
    }

    #[inline]
    fn push(&mut self, col: u32, value: f32) {
        if value >= self.floor {
            self.row.push((col, value));
            if self.row.len() >= self.limit.saturating_mul(2) {
                select(self.row, self.limit);
                self.floor = self.row[self.limit - 1].1;
            }
        }
    }

    /// The row in column order.
    fn finish(self) {
        select(self.row, self.limit);
        self.row.sort_unstable_by_key(|e| e.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use segue_data::OwnedSequences;

    use super::*;

    proptest! {
        /// The reference walks back from the newest play.
        #[test]
        fn the_newest_items_count_with_all_their_plays(
            users in prop::collection::vec(prop::collection::vec(0_u32..9, 0..20), 0..6),
            limit in 1_usize..6,
        ) {
            let plays = OwnedSequences::from_items(9, users.clone());
            let got = Interactions::of(&FitInput::of(plays.view()), &Reading {
                rows_of: RowsOf::Users,
                tf: TermFrequency::Log,
                max_row_items: limit,
                targets: Targets::All,
            });
            prop_assert_eq!(got.n_users(), users.len());
            for (user, plays) in users.iter().enumerate() {
                let mut kept = BTreeMap::<u32, u32>::new();
                for &item in plays.iter().rev() {
                    if kept.contains_key(&item) || kept.len() < limit {
                        *kept.entry(item).or_default() += 1;
                    }
                }
                let want: Vec<(u32, f32)> = kept.iter().map(|(&i, &n)| (i, (n as f32).ln_1p())).collect();
                let entries: Vec<(u32, f32)> =
                    got.of_user(user).map(|at| (got.item[at], got.weight[at])).collect();
                prop_assert_eq!(entries, want);
            }
        }
    }
}
