//! Opening a snapshot: every file is checked before anything relies on it.

use std::path::Path;
use std::sync::OnceLock;

use rayon::prelude::*;
use segue_types::{Item, ItemKey, Profile, User, UserKey};

use super::column::{Column, FileEntry, Pod};
use super::markets::MarketBlocks;
use super::states::States;
use super::stats::StatBlocks;
use super::times::Times;
use super::{CoListenColumns, ExampleStore, Manifest, PlayColumns, ProfileRow, Snapshot, table_file};
use crate::error::DataError;

/// Reads files of a snapshot and knows what they have to hold.
struct Reader<'a> {
    dir: &'a Path,
}

impl Reader<'_> {
    fn column<T: Pod>(&self, name: &str) -> Result<Column<T>, DataError> {
        Column::open(&self.dir.join(name))
    }

    /// A column with a known number of rows.
    fn sized<T: Pod>(&self, name: &str, expected: usize) -> Result<Column<T>, DataError> {
        let column = self.column::<T>(name)?;
        if column.len() != expected {
            let got = format!("{} rows", column.len());
            return Err(DataError::corrupt(self.dir.join(name), format!("{expected} rows"), got));
        }
        Ok(column)
    }

    /// Offsets: `n + 1` of them, from 0, never falling. Returns them and the last.
    fn offsets(&self, name: &str, n: usize) -> Result<(Column<u64>, usize), DataError> {
        let column = self.sized::<u64>(name, n + 1)?;
        let bad = |expected: &str, got: String| DataError::corrupt(self.dir.join(name), expected, got);
        if column[0] != 0 {
            return Err(bad("offsets that begin with 0", column[0].to_string()));
        }
        if let Some(at) = column.windows(2).position(|w| w[0] > w[1]) {
            let got = format!("{} after {} at {at}", column[at + 1], column[at]);
            return Err(bad("offsets that never fall", got));
        }
        let last = column[n];
        let last = usize::try_from(last).map_err(|_| bad("an offset within memory", last.to_string()))?;
        Ok((column, last))
    }

    /// A column of item rows.
    fn item_rows(&self, name: &str, n: usize, n_items: u64) -> Result<Column<u32>, DataError> {
        let column = self.sized::<u32>(name, n)?;
        if let Some(at) = column.par_iter().position_any(|&row| u64::from(row) >= n_items) {
            let got = format!("row {} at {at}", column[at]);
            return Err(DataError::corrupt(self.dir.join(name), format!("item rows below {n_items}"), got));
        }
        Ok(column)
    }
}

/// See [`Snapshot::open`].
pub(super) fn read(dir: &Path, manifest: Manifest) -> Result<Snapshot, DataError> {
    for (what, n) in [("n_items", manifest.n_items), ("n_users", manifest.n_users)] {
        if n >= u64::from(u32::MAX) {
            let path = dir.join("manifest.json");
            return Err(DataError::corrupt(path, format!("`{what}` below 2^32 - 1"), n));
        }
    }
    let is_plain =
        |name: &str| name.split('/').all(|p| !p.is_empty() && p != "." && p != "..") && !name.contains('\\');
    manifest.files.par_iter().try_for_each(|(name, entry)| {
        let path = dir.join(name);
        if !is_plain(name) {
            return Err(DataError::corrupt(dir.join("manifest.json"), "paths within the folder", name));
        }
        let n_bytes = std::fs::metadata(&path).map_err(DataError::io(&path))?.len();
        if n_bytes != entry.n_bytes {
            let expected = format!("{} bytes", entry.n_bytes);
            return Err(DataError::corrupt(path, expected, format!("{n_bytes} bytes")));
        }
        let got = FileEntry::of(&path)?;
        if got != *entry {
            return Err(DataError::corrupt(path, format!("xxh3 {}", entry.xxh3), got.xxh3));
        }
        Ok(())
    })?;
    let r = Reader { dir };
    let n_items = manifest.n_items;
    let n_users = manifest.n_users as usize;

    let mut items: Vec<Item> = table_file::read(&dir.join("items.parquet"))?;
    items.sort_by_cached_key(|i| ItemKey::of(&i.item_id));
    let users: Vec<User> = table_file::read(&dir.join("users.parquet"))?;
    let item_keys = r.sized::<u64>("items.key.u64", n_items as usize)?;
    let user_keys = r.sized::<u128>("users.key.u128", n_users)?;
    let items_fit = items.len() == item_keys.len()
        && items.iter().zip(item_keys.iter()).all(|(i, &k)| ItemKey::of(&i.item_id).0 == k);
    if !items_fit || !item_keys.is_sorted_by(|a, b| a < b) {
        let got = format!("{} items with other keys or order", items.len());
        return Err(DataError::corrupt(dir.join("items.parquet"), format!("{n_items} items by key"), got));
    }
    let users_fit = users.len() == user_keys.len()
        && users.iter().zip(user_keys.iter()).all(|(u, &k)| UserKey::of(&u.user_id).0 == k);
    if !users_fit || !user_keys.is_sorted_by(|a, b| a < b) {
        let got = format!("{} users with other keys or order", users.len());
        return Err(DataError::corrupt(dir.join("users.parquet"), format!("{n_users} users by key"), got));
    }

    let (offsets, n) = r.offsets("plays/offsets.u64", n_users)?;
    let times = Times::open(dir, manifest.files.keys(), &user_keys, &offsets)?;
    let plays = PlayColumns {
        offsets,
        item: r.item_rows("plays/item.u32", n, n_items)?,
        action: r.sized("plays/action.u8", n)?,
        context: r.sized("plays/context.u8", n)?,
        session: OnceLock::new(),
        times,
    };
    let stats = StatBlocks::open(dir, manifest.files.keys())?;
    let markets = MarketBlocks::open(dir, manifest.files.keys())?;
    let (offsets, n) = r.offsets("co_listens/offsets.u64", n_items as usize)?;
    let co_listens = CoListenColumns {
        offsets,
        item: r.item_rows("co_listens/item.u32", n, n_items)?,
        count: r.sized("co_listens/count.u32", n)?,
        day: r.sized("co_listens/day.i32", n_items as usize)?,
    };
    let states = States::open(dir, manifest.closed, manifest.files.keys())?;

    let path = dir.join("profiles.parquet");
    let mut profiles = Vec::new();
    for p in table_file::read::<Profile>(&path)? {
        let user = user_keys.binary_search(&UserKey::of(&p.user_id).0);
        let item = item_keys.binary_search(&ItemKey::of(&p.item_id).0);
        let (Ok(user), Ok(item)) = (user, item) else {
            let got = format!("`{}` × `{}`", p.user_id, p.item_id);
            return Err(DataError::corrupt(path, "users and items of this snapshot", got));
        };
        profiles.push(ProfileRow { user: user as u32, item: item as u32, n_plays: p.n_plays });
    }
    profiles.sort_unstable_by_key(|p| (p.user, p.item));
    Ok(Snapshot {
        manifest,
        items,
        item_keys,
        users,
        user_keys,
        plays,
        profiles,
        stats,
        markets,
        co_listens,
        states,
        examples: ExampleStore::Files(dir.to_path_buf()),
    })
}
