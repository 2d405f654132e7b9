//! When each play began and became known, and how long it was heard: a file per block of days.
//!
//! Models read items, actions and contexts of all plays one after the other, so these are flat
//! columns. Moments are twice their size, few readers ask for them and a day only adds to them: they
//! stay where the day put them, and are gathered into columns when somebody asks for all.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::blocks;
use super::by_key::{ByKey, Cursor};
use super::column::{Column, Pod};
use crate::codec::{Put, Take};
use crate::error::DataError;

/// The table, in names of files.
pub(crate) const TABLE: &str = "plays/times";

/// Bytes of one play.
pub(crate) const BYTES: usize = 4 + 8 + 4;

/// What a block says of one play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PlayTimes {
    pub(crate) known_at: i64,
    pub(crate) occurred_at: i64,
    /// `u32::MAX` if unknown.
    pub(crate) listened_ms: u32,
}

/// The first moment of a block, UTC milliseconds.
fn start(block: i32) -> i64 {
    blocks::first_day(block).start().0
}

/// Appends a play known on a day of `block`.
pub(crate) fn put(block: i32, play: &PlayTimes, out: &mut Vec<u8>) {
    // Eight days are less than 2^30 ms.
    out.put_u32((play.known_at - start(block)) as u32);
    out.put_i64(play.occurred_at);
    out.put_u32(play.listened_ms);
}

/// The plays that [`put`] wrote.
pub(crate) fn plays(
    block: i32,
    bytes: &[u8],
) -> impl DoubleEndedIterator<Item = PlayTimes> + ExactSizeIterator {
    let start = start(block);
    bytes.chunks_exact(BYTES).map(move |bytes| {
        let mut t = Take(bytes);
        // Whole chunks hold all three.
        PlayTimes {
            known_at: start.saturating_add(i64::from(t.u32().unwrap_or_default())),
            occurred_at: t.i64().unwrap_or_default(),
            listened_ms: t.u32().unwrap_or_default(),
        }
    })
}

/// The bytes of plays known before a moment: plays are in known-at order.
pub(crate) fn before(block: i32, bytes: &[u8], until: i64) -> &[u8] {
    let later = plays(block, bytes).rev().take_while(|play| play.known_at >= until).count();
    &bytes[..bytes.len() - later * BYTES]
}

/// Moments of all plays of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) blocks: BTreeMap<i32, ByKey>,
    known_at: OnceLock<Column<i64>>,
    occurred_at: OnceLock<Column<i64>>,
    /// Where large columns are gathered.
    near: Option<PathBuf>,
}

impl Times {
    /// Maps the blocks; they have to have the plays that `offsets` give each listener.
    pub(crate) fn open<'a>(
        dir: &Path,
        names: impl Iterator<Item = &'a String>,
        users: &[u128],
        offsets: &[u64],
    ) -> Result<Self, DataError> {
        let blocks = blocks::open(dir, TABLE, names)?;
        let out = Self { blocks, near: Some(dir.to_owned()), ..Self::default() };
        let n_bytes: usize = out.blocks.values().map(ByKey::n_bytes).sum();
        let n_plays = offsets.last().map_or(0, |&n| n as usize);
        let bad = |expected: String, got: String| DataError::corrupt(dir.join(TABLE), expected, got);
        if n_plays.checked_mul(BYTES) != Some(n_bytes) {
            return Err(bad(
                format!("{BYTES} bytes for each of {n_plays} plays"),
                format!("{n_bytes} bytes"),
            ));
        }
        let mut cursors: Vec<Cursor<'_>> = out.blocks.values().map(|file| file.from(0)).collect();
        for (row, &user) in users.iter().enumerate() {
            let n = (offsets[row + 1] - offsets[row]) as usize;
            let mut found = 0;
            for cursor in &mut cursors {
                let bytes = cursor.get(user).len();
                if bytes % BYTES != 0 {
                    return Err(bad(
                        format!("{BYTES} bytes per play"),
                        format!("{bytes} bytes of user {row}"),
                    ));
                }
                found += bytes / BYTES;
            }
            if found != n {
                return Err(bad(format!("{n} plays of user {row}"), found.to_string()));
            }
        }
        Ok(out)
    }

    /// Moments already gathered.
    pub(crate) fn owned(known_at: Vec<i64>, occurred_at: Vec<i64>) -> Self {
        let [known_at, occurred_at] = [known_at, occurred_at].map(|at| Column::Owned(at).into());
        Self { known_at, occurred_at, ..Self::default() }
    }

    /// `[n_plays]` when the system knew of each play.
    pub(crate) fn known_at(&self, users: &[u128], offsets: &[u64]) -> &[i64] {
        self.known_at.get_or_init(|| gather(&self.blocks, users, offsets, self.near(), |play| play.known_at))
    }

    /// `[n_plays]` when each play began.
    pub(crate) fn occurred_at(&self, users: &[u128], offsets: &[u64]) -> &[i64] {
        self.occurred_at
            .get_or_init(|| gather(&self.blocks, users, offsets, self.near(), |play| play.occurred_at))
    }

    /// Where large columns are gathered.
    pub(crate) fn near(&self) -> Option<&Path> {
        self.near.as_deref()
    }

    /// The plays of one listener, who owns `range` of the columns.
    pub(crate) fn of(&self, user: u128, range: Range<usize>) -> Vec<PlayTimes> {
        if let (Some(known_at), Some(occurred_at)) = (self.known_at.get(), self.occurred_at.get())
            && self.blocks.is_empty()
        {
            let known = known_at.get(range.clone()).unwrap_or(&[]);
            let occurred = occurred_at.get(range).unwrap_or(&[]);
            let of = |(&known_at, &occurred_at)| PlayTimes { known_at, occurred_at, listened_ms: u32::MAX };
            return known.iter().zip(occurred).map(of).collect();
        }
        let blocks = self.blocks.iter();
        blocks.flat_map(|(&block, file)| plays(block, file.get(user))).collect()
    }
}

/// Listeners that one task gathers.
const USERS_PER_TASK: usize = 1_024;

/// What each task gathers of listeners whose plays begin at `offsets`, counted from the first.
pub(crate) fn tasks(offsets: &[u64]) -> Vec<Range<usize>> {
    let first = offsets.first().copied().unwrap_or(0);
    let at = |row: usize| (offsets[row] - first) as usize;
    let n_users = offsets.len().saturating_sub(1);
    let begin = |row: usize| row..(row + USERS_PER_TASK).min(n_users);
    (0..n_users).step_by(USERS_PER_TASK).map(begin).map(|rows| at(rows.start)..at(rows.end)).collect()
}

/// The listeners of a task.
pub(crate) fn rows_of(task: usize, n_users: usize) -> Range<usize> {
    task * USERS_PER_TASK..((task + 1) * USERS_PER_TASK).min(n_users)
}

/// One value of every play of some listeners, one after the other. `offsets` are theirs.
pub(crate) fn gather<T: Pod + Default>(
    blocks: &BTreeMap<i32, ByKey>,
    users: &[u128],
    offsets: &[u64],
    near: Option<&Path>,
    value: impl Fn(&PlayTimes) -> T + Sync,
) -> Column<T> {
    Column::gathered(&tasks(offsets), near, |task, mut out| {
        let users = &users[rows_of(task, users.len())];
        let mut files: Vec<(i32, Cursor<'_>)> =
            blocks.iter().map(|(&block, file)| (block, file.from(users[0]))).collect();
        for &user in users {
            for (block, file) in &mut files {
                let plays = plays(*block, file.get(user));
                let (mine, others) = std::mem::take(&mut out).split_at_mut(plays.len());
                mine.iter_mut().zip(plays).for_each(|(out, play)| *out = value(&play));
                out = others;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::by_key::ByKeyPart;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Spread over blocks and gathered again, every play is where its listener has it.
        #[test]
        fn gathered_moments_are_those_of_each_listener_in_order(
            users in prop::collection::vec(prop::collection::vec((0..3 * 86_400_000_i64, any::<u32>()), 0..40), 0..9),
        ) {
            let mut parts: BTreeMap<i32, ByKeyPart> = BTreeMap::new();
            let (mut all, mut offsets, mut keys) = (Vec::new(), vec![0], Vec::new());
            for (n, waits) in users.iter().enumerate() {
                let key = 3 * n as u128;
                let mut known_at = -86_400_000;
                for &(wait, listened_ms) in waits {
                    known_at += wait;
                    let play = PlayTimes { known_at, occurred_at: known_at - wait, listened_ms };
                    let block = blocks::block_of(segue_types::TimestampMs(known_at).day());
                    parts.entry(block).or_default().add(key, |out| put(block, &play, out));
                    all.push(play);
                }
                keys.push(key);
                offsets.push(all.len() as u64);
            }
            let blocks = parts.iter().map(|(&block, part)| (block, ByKey::of(part).unwrap())).collect();
            let times = Times { blocks, ..Times::default() };
            let known: Vec<i64> = all.iter().map(|play| play.known_at).collect();
            prop_assert_eq!(times.known_at(&keys, &offsets), &known);
            let occurred: Vec<i64> = all.iter().map(|play| play.occurred_at).collect();
            prop_assert_eq!(times.occurred_at(&keys, &offsets), &occurred);
            for (row, &key) in keys.iter().enumerate() {
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                prop_assert_eq!(&times.of(key, range.clone()), &all[range.clone()]);
            }
        }
    }
}
