//! Item statistics on disk: by item key, then day, a file per block of days.
//!
//! A row holds the sums over all days up to its own, so that one row answers, and a day's increment
//! starts from the last.

use std::collections::BTreeMap;
use std::path::Path;

use segue_types::Day;

use super::blocks;
use super::by_key::{ByKey, Cursor};
use crate::aggregates::item_stats::ItemStats;
use crate::codec::{Put, Take};
use crate::error::DataError;

/// The table, in names of files.
pub(crate) const TABLE: &str = "item_stats/days";

/// Bytes of one row.
const BYTES: usize = 4 + 6 * 4 + 4;

/// Appends a row.
pub(crate) fn put(stats: &ItemStats, out: &mut Vec<u8>) {
    out.put_u32(stats.day.0 as u32);
    let s = stats;
    for n in [s.plays, s.timed_plays, s.streams, s.completions, s.skips, s.listener_days] {
        out.put_u32(n);
    }
    out.put_u32(s.plays_decayed.to_bits());
}

/// Reads one row; `None` if it is torn.
fn read(bytes: &[u8]) -> Option<ItemStats> {
    let mut t = Take(bytes);
    Some(ItemStats {
        day: Day(t.u32()? as i32),
        plays: t.u32()?,
        timed_plays: t.u32()?,
        streams: t.u32()?,
        completions: t.u32()?,
        skips: t.u32()?,
        listener_days: t.u32()?,
        plays_decayed: f32::from_bits(t.u32()?),
    })
}

/// The bytes of rows up to a day, that day included.
pub(crate) fn through(bytes: &[u8], day: Day) -> &[u8] {
    let later =
        bytes.rchunks_exact(BYTES).take_while(|row| read(row).is_some_and(|row| row.day > day)).count();
    &bytes[..bytes.len() - later * BYTES]
}

/// Item statistics of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct StatBlocks {
    pub(crate) blocks: BTreeMap<i32, ByKey>,
}

impl StatBlocks {
    /// Maps the blocks.
    pub(crate) fn open<'a>(dir: &Path, names: impl Iterator<Item = &'a String>) -> Result<Self, DataError> {
        let blocks = blocks::open(dir, TABLE, names)?;
        match blocks.values().find(|file| file.n_bytes() % BYTES != 0) {
            Some(file) => {
                let got = format!("{} bytes", file.n_bytes());
                Err(DataError::corrupt(dir.join(TABLE), format!("rows of {BYTES} bytes"), got))
            }
            None => Ok(Self { blocks }),
        }
    }

    /// See [`Snapshot::item_stats`](super::Snapshot::item_stats).
    pub(crate) fn through(&self, item: u64, day: Day) -> Option<ItemStats> {
        let blocks = self.blocks.range(..=blocks::block_of(day)).rev();
        blocks
            .map(|(_, file)| through(file.get(u128::from(item)), day))
            .find_map(|rows| read(&rows[rows.len().checked_sub(BYTES)?..]))
    }
}

impl StatBlocks {
    /// By item the first day on which it had as many plays as `reach` says of its plays in all;
    /// [`Day`]`(i32::MIN)` if that is none. `items` ascend.
    pub(crate) fn first_days(&self, items: &[u64], reach: impl Fn(u32) -> u32) -> Vec<Day> {
        let mut files: Vec<Cursor<'_>> = self.blocks.values().rev().map(|file| file.from(0)).collect();
        let mut first_day = |&item: &u64| {
            let (mut wanted, mut day) = (None, Day(i32::MIN));
            for file in &mut files {
                for row in file.get(u128::from(item)).rchunks_exact(BYTES).filter_map(read) {
                    let wanted = *wanted.get_or_insert_with(|| reach(row.plays));
                    if wanted == 0 || row.plays < wanted {
                        return day;
                    }
                    day = row.day;
                }
            }
            day
        };
        items.iter().map(&mut first_day).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::by_key::ByKeyPart;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The row of a day is the last one up to it, whichever block that is in.
        #[test]
        fn the_last_row_up_to_a_day_is_found_in_any_block(
            days in prop::collection::btree_map(-20..40_i32, 1..9_u32, 0..20),
            asked in -25..45_i32,
        ) {
            let mut parts: BTreeMap<i32, ByKeyPart> = BTreeMap::new();
            let mut sum = ItemStats::default();
            let mut rows = Vec::new();
            for (&day, &plays) in &days {
                sum = sum.with_day(Day(day), &[plays, 0, 1, 0, 0, 1]).unwrap();
                rows.push(sum);
                let part = parts.entry(blocks::block_of(Day(day))).or_default();
                part.add(7, |out| put(&sum, out));
            }
            let blocks = parts.iter().map(|(&block, part)| (block, ByKey::of(part).unwrap())).collect();
            let stats = StatBlocks { blocks };
            let want = rows.iter().rev().find(|row| row.day.0 <= asked).copied();
            prop_assert_eq!(stats.through(7, Day(asked)), want);
            prop_assert_eq!(stats.through(8, Day(asked)), None);
            let half = rows.iter().find(|row| 2 * row.plays >= sum.plays).map_or(Day(i32::MIN), |row| row.day);
            let first_days = stats.first_days(&[3, 7, 8], |n| n.div_ceil(2));
            prop_assert_eq!(first_days, [Day(i32::MIN), half, Day(i32::MIN)]);
        }
    }
}
