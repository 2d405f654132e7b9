//! Plays by market on disk: by market, then day, then item, a file per block of days.
//!
//! Items are stored by key, as everything that snapshots share; keys and rows ascend alike, so a
//! day is turned into rows by walking both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use segue_types::Day;
use xxhash_rust::xxh3::xxh3_128;

use super::MarketDay;
use super::blocks;
use super::by_key::ByKey;
use crate::codec::{Put, Take};
use crate::error::DataError;

/// The table, in names of files.
pub(crate) const TABLE: &str = "market_plays/days";

/// The key of a market.
pub(crate) fn key(name: &str) -> u128 {
    xxh3_128(name.as_bytes())
}

/// Appends a day: item keys, ascending, and the plays of each.
pub(crate) fn put(day: Day, plays: &[(u64, u32)], out: &mut Vec<u8>) {
    out.put_u32(day.0 as u32);
    out.put_u32(plays.len() as u32);
    for (item, _) in plays {
        out.put_u64(*item);
    }
    for (_, n) in plays {
        out.put_u32(*n);
    }
}

/// One day as stored: item keys and plays, little-endian.
struct Stored<'a> {
    day: Day,
    items: &'a [u8],
    plays: &'a [u8],
}

/// Takes the next day; `None` at the end, or if it is torn.
fn take<'a>(t: &mut Take<'a>) -> Option<Stored<'a>> {
    let (day, n) = (Day(t.u32()? as i32), t.u32()? as usize);
    Some(Stored { day, items: t.bytes(n.checked_mul(8)?)?, plays: t.bytes(n.checked_mul(4)?)? })
}

/// The bytes of days up to one, that day included.
pub(crate) fn through(bytes: &[u8], day: Day) -> &[u8] {
    let mut t = Take(bytes);
    let mut n_bytes = 0;
    while take(&mut t).is_some_and(|stored| stored.day <= day) {
        n_bytes = bytes.len() - t.0.len();
    }
    &bytes[..n_bytes]
}

/// Plays by market of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct MarketBlocks {
    pub(crate) blocks: BTreeMap<i32, ByKey>,
}

impl MarketBlocks {
    /// Maps the blocks.
    pub(crate) fn open<'a>(dir: &Path, names: impl Iterator<Item = &'a String>) -> Result<Self, DataError> {
        Ok(Self { blocks: blocks::open(dir, TABLE, names)? })
    }

    /// Of these names the markets with plays.
    pub(crate) fn with_plays(&self, names: &[String]) -> Vec<String> {
        let keys: BTreeSet<u128> = self.blocks.values().flat_map(ByKey::keys).collect();
        names.iter().filter(|name| keys.contains(&key(name))).cloned().collect()
    }

    /// See [`Snapshot::market_days`](super::Snapshot::market_days).
    pub(crate) fn days<'a>(
        &'a self,
        market: &str,
        through: Day,
        item_keys: &'a [u64],
    ) -> impl Iterator<Item = MarketDay> + 'a {
        let key = key(market);
        let blocks = self.blocks.range(..=blocks::block_of(through));
        let days = blocks.flat_map(move |(_, file)| {
            let mut t = Take(file.get(key));
            std::iter::from_fn(move || take(&mut t))
        });
        days.take_while(move |stored| stored.day <= through).map(|stored| {
            let (mut item, mut plays) = (Vec::new(), Vec::new());
            let mut known = item_keys.iter().zip(0_u32..).peekable();
            for (key, n) in stored.items.chunks_exact(8).zip(stored.plays.chunks_exact(4)) {
                let key = u64::from_le_bytes(key.try_into().unwrap_or_default());
                while known.next_if(|(known, _)| **known < key).is_some() {}
                if let Some((_, row)) = known.next_if(|(known, _)| **known == key) {
                    item.push(row);
                    plays.push(u32::from_le_bytes(n.try_into().unwrap_or_default()));
                }
            }
            MarketDay { day: stored.day, item, plays }
        })
    }
}
