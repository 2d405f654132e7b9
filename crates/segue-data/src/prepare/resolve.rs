//! Between the passes: numbers become rows in key order, and facts become arrays by row.

use std::collections::HashMap;

use segue_types::{Item, ItemKey, TimestampMs, User, UserKey};

use super::intern::Interner;
use crate::catalogue::{Catalogue, ItemCatalogue, ItemFacts};
use crate::error::DataError;

/// Items, users and their rows in one run.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Item rows by key.
    pub(crate) items: Vec<Item>,
    pub(crate) item_keys: Vec<u64>,
    /// Number → index into `targets`: item rows first, then other targets of feedback.
    pub(crate) target_of: Vec<u32>,
    /// Keys of targets.
    pub(crate) target_keys: Vec<u64>,
    /// Facts of targets that never change.
    facts: Vec<ItemFacts>,
    /// Targets whose facts depend on the moment.
    moving: Vec<bool>,
    catalogue: ItemCatalogue,
    /// User rows by key.
    pub(crate) users: Vec<User>,
    pub(crate) user_keys: Vec<u128>,
    /// Number → user row.
    pub(crate) user_row: Vec<u32>,
    /// Market names, ascending, and each user's.
    pub(crate) markets: Vec<String>,
    pub(crate) market_of: Vec<u32>,
}

/// The latest of the rows of each id that hold before `until`.
fn latest<T: Clone>(
    rows: &[T],
    id: impl Fn(&T) -> &str,
    valid_from: impl Fn(&T) -> Option<TimestampMs>,
) -> HashMap<String, T> {
    let mut out: HashMap<String, T> = HashMap::with_capacity(rows.len());
    for row in rows {
        match out.get_mut(id(row)) {
            Some(known) if valid_from(known) > valid_from(row) => {}
            Some(known) => *known = row.clone(),
            None => {
                out.insert(id(row).to_owned(), row.clone());
            }
        }
    }
    out
}

impl Resolved {
    pub(crate) fn new(
        ids: &Interner<u64>,
        is_item: &[bool],
        item_rows: &[Item],
        user_ids: &Interner<u128>,
        user_rows: &[User],
    ) -> Result<Self, DataError> {
        let item = |n: u32| is_item.get(n as usize).copied().unwrap_or(false);
        let order = ids.by_key(item);
        let others = ids.by_key(|n| !item(n));
        let mut target_of = vec![0; ids.len()];
        for (target, &number) in order.iter().chain(&others).enumerate() {
            target_of[number as usize] = target as u32;
        }
        let target_keys: Vec<u64> = order.iter().chain(&others).map(|&n| ids.key(n)).collect();
        let mut known = latest(item_rows, |i| &i.item_id, |i| i.valid_from);
        let items: Vec<Item> = order
            .iter()
            .map(|&n| known.remove(ids.text(n)).unwrap_or_else(|| Item::new(ids.text(n))))
            .collect();
        let mut n_rows: HashMap<&str, (u32, bool)> = HashMap::new();
        for row in item_rows {
            let entry = n_rows.entry(&row.item_id).or_default();
            entry.0 += 1;
            entry.1 |= row.valid_from.is_some();
        }
        let catalogue = ItemCatalogue::from_items(item_rows);
        let mut moving = vec![false; target_keys.len()];
        for (target, item) in items.iter().enumerate() {
            moving[target] = n_rows.get(item.item_id.as_str()).is_some_and(|&(n, dated)| n > 1 || dated);
        }
        // Followed artists may have facts without being items of this snapshot only if they are in
        // the items table, and then they are items. Others have none.
        let facts =
            target_keys.iter().map(|&key| catalogue.facts(ItemKey(key), TimestampMs(i64::MAX))).collect();

        let user_order = user_ids.by_key(|_| true);
        let mut user_row = vec![0; user_ids.len()];
        for (row, &number) in user_order.iter().enumerate() {
            user_row[number as usize] = row as u32;
        }
        let mut known = latest(user_rows, |u| &u.user_id, |u| u.valid_from);
        let users: Vec<User> = user_order
            .iter()
            .map(|&n| {
                let id = user_ids.text(n);
                known.remove(id).unwrap_or_else(|| User { user_id: id.to_owned(), ..User::default() })
            })
            .collect();
        let mut markets: Vec<String> = users.iter().map(|u| u.market.clone().unwrap_or_default()).collect();
        markets.sort_unstable();
        markets.dedup();
        let market_of = users
            .iter()
            .map(|u| {
                let name = u.market.as_deref().unwrap_or("");
                markets.partition_point(|m| m.as_str() < name) as u32
            })
            .collect();
        Ok(Self {
            item_keys: target_keys[..items.len()].to_vec(),
            items,
            target_of,
            target_keys,
            facts,
            moving,
            catalogue,
            user_keys: user_order.iter().map(|&n| user_ids.key(n)).collect(),
            users,
            user_row,
            markets,
            market_of,
        })
    }

    /// Facts of a target at a moment.
    pub(crate) fn facts(&self, target: u32, at: TimestampMs) -> ItemFacts {
        if self.moving[target as usize] {
            self.catalogue.facts(ItemKey(self.target_keys[target as usize]), at)
        } else {
            self.facts[target as usize]
        }
    }

    pub(crate) fn user_key(&self, row: u32) -> UserKey {
        UserKey(self.user_keys[row as usize])
    }
}
