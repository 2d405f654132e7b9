//! Tables that grow by the day: a file per block of days.
//!
//! What became known on a day does not change once the day is over. So a table of what happened on
//! each day is cut into blocks of [`BLOCK_DAYS`] days, counted from 1970-01-01: block `b` has the
//! days `8 b` to `8 b + 7`. Snapshots share the files of blocks that are over; a day's increment
//! writes the block it falls into. Bytes are kept by the key of a listener or an item ([`ByKey`]),
//! in the order of days.

use std::collections::BTreeMap;
use std::path::Path;

use segue_types::Day;

use super::by_key::ByKey;
use crate::error::DataError;

/// Days of a block: few, since the last block is written anew each day, but a listening history of
/// ten years should not be a thousand files.
pub(crate) const BLOCK_DAYS: i32 = 8;

/// The block of days that a day belongs to.
pub(crate) fn block_of(day: Day) -> i32 {
    day.0.div_euclid(BLOCK_DAYS)
}

/// The first day of a block.
pub(crate) fn first_day(block: i32) -> Day {
    Day(block.saturating_mul(BLOCK_DAYS))
}

/// The last day of a block.
pub(crate) fn last_day(block: i32) -> Day {
    Day(first_day(block).0.saturating_add(BLOCK_DAYS - 1))
}

/// File of a block of a table, within the folder.
pub(crate) fn name(table: &str, block: i32) -> String {
    format!("{table}-{block}.bin")
}

/// The block of a [`name`].
pub(crate) fn block_of_name(table: &str, name: &str) -> Option<i32> {
    name.strip_prefix(table)?.strip_prefix('-')?.strip_suffix(".bin")?.parse().ok()
}

/// Maps the blocks of a table among the files of a snapshot.
pub(crate) fn open<'a>(
    dir: &Path,
    table: &str,
    names: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<i32, ByKey>, DataError> {
    let blocks = names.filter_map(|name| Some((block_of_name(table, name)?, dir.join(name))));
    blocks.map(|(block, path)| Ok((block, ByKey::open(&path)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_in_one_block_and_a_name_says_which() {
        for day in [i32::MIN, -9, -8, -1, 0, 7, 8, 19_732, i32::MAX] {
            let block = block_of(Day(day));
            assert!((first_day(block)..=last_day(block)).contains(&Day(day)));
            assert_eq!(block_of_name("plays/times", &name("plays/times", block)), Some(block));
        }
        assert_eq!(block_of_name("plays/times", "plays/times-x.bin"), None);
        assert_eq!(block_of_name("plays/times", "plays/item.u32"), None);
    }
}
