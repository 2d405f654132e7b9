//! Between the passes: numbers become rows in key order, and facts become arrays by row.

use segue_types::{Item, ItemKey, Profile, TimestampMs, User, UserKey};

use super::base::FactHashes;
use super::intern::Interner;
use super::scan::{self, Scan};
use crate::catalogue::{Catalogue, ItemCatalogue, ItemFacts};
use crate::error::DataError;
use crate::log::{LogReader, LogRow};

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

/// The latest of the rows of each number, and whether a number's facts depend on the moment.
fn latest<T>(
    n: usize,
    rows: Vec<T>,
    number: impl Fn(&T) -> Option<u32>,
    valid_from: impl Fn(&T) -> Option<TimestampMs>,
) -> (Vec<Option<T>>, Vec<bool>) {
    let mut out: Vec<Option<T>> = std::iter::repeat_with(|| None).take(n).collect();
    let mut is_moving = vec![false; n];
    for row in rows {
        let Some(number) = number(&row) else { continue };
        let at = number as usize;
        is_moving[at] |= out[at].is_some() || valid_from(&row).is_some();
        if out[at].as_ref().is_none_or(|known| valid_from(known) <= valid_from(&row)) {
            out[at] = Some(row);
        }
    }
    (out, is_moving)
}

impl Resolved {
    pub(crate) fn new(
        ids: &Interner<u64>,
        is_item: &[bool],
        item_rows: Vec<Item>,
        user_ids: &Interner<u128>,
        user_rows: Vec<User>,
    ) -> Self {
        let item = |n: u32| is_item.get(n as usize).copied().unwrap_or(false);
        let order = ids.by_key(item);
        let others = ids.by_key(|n| !item(n));
        let mut target_of = vec![0; ids.len()];
        for (target, &number) in order.iter().chain(&others).enumerate() {
            target_of[number as usize] = target as u32;
        }
        let target_keys: Vec<u64> = order.iter().chain(&others).map(|&n| ids.key(n)).collect();
        let number = |i: &Item| ids.number(ItemKey::of(&i.item_id).0);
        let mut n_rows = vec![0_u32; ids.len()];
        for n in item_rows.iter().filter_map(number) {
            n_rows[n as usize] += 1;
        }
        let changes = |i: &&Item| i.valid_from.is_some() || number(i).is_some_and(|n| n_rows[n as usize] > 1);
        let catalogue = ItemCatalogue::from_items(item_rows.iter().filter(changes));
        let (mut known, moves) = latest(ids.len(), item_rows, number, |i| i.valid_from);
        let items: Vec<Item> = order
            .iter()
            .map(|&n| known[n as usize].take().unwrap_or_else(|| Item::new(ids.text(n))))
            .collect();
        // Followed artists may have facts without being items of this snapshot only if they are in
        // the items table, and then they are items. Others have none.
        let mut facts: Vec<ItemFacts> = items.iter().map(ItemFacts::of).collect();
        facts.resize(target_keys.len(), ItemFacts::default());
        let moving = order.iter().chain(&others).map(|&n| moves[n as usize]).collect();

        let user_order = user_ids.by_key(|_| true);
        let mut user_row = vec![0; user_ids.len()];
        for (row, &number) in user_order.iter().enumerate() {
            user_row[number as usize] = row as u32;
        }
        let number = |u: &User| user_ids.number(UserKey::of(&u.user_id).0);
        let (mut known, _) = latest(user_ids.len(), user_rows, number, |u| u.valid_from);
        let users: Vec<User> = user_order
            .iter()
            .map(|&n| {
                let new = || User { user_id: user_ids.text(n).to_owned(), ..User::default() };
                known[n as usize].take().unwrap_or_else(new)
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
        Self {
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
        }
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

/// Reads the tables without days and gives everything its row.
pub(super) fn resolve(
    log: &LogReader,
    scan: &Scan,
    until: Option<TimestampMs>,
) -> Result<(Resolved, Vec<Profile>, Vec<u64>), DataError> {
    let holds = |from: Option<TimestampMs>| until.is_none_or(|t| from.is_none_or(|from| from < t));
    let mut items: Vec<Item> = all(log)?;
    items.retain(|i| holds(i.valid_from));
    let mut users: Vec<User> = all(log)?;
    users.retain(|u| holds(u.valid_from));
    let mut profiles: Vec<Profile> = all(log)?;
    for item in &items {
        scan.item(&item.item_id, true)?;
    }
    for user in &users {
        scan.user(&user.user_id)?;
    }
    for p in &profiles {
        scan.item(&p.item_id, true)?;
        scan.user(&p.user_id)?;
    }
    // The same pair in two files is one count: the files are parts of one whole.
    profiles.sort_unstable_by(|a, b| (&a.user_id, &a.item_id).cmp(&(&b.user_id, &b.item_id)));
    profiles.dedup_by(|next, kept| {
        let same = next.user_id == kept.user_id && next.item_id == kept.item_id;
        if same {
            kept.n_plays = kept.n_plays.saturating_add(next.n_plays);
        }
        same
    });
    let ids = scan::lock(&scan.items);
    let is_item = scan::lock(&scan.is_item);
    let user_ids = scan::lock(&scan.users);
    let facts = FactHashes::new(&items);
    let resolved = Resolved::new(&ids, &is_item, items, &user_ids, users);
    let facts = facts.of(&resolved.item_keys);
    Ok((resolved, profiles, facts))
}

fn all<R: LogRow>(log: &LogReader) -> Result<Vec<R>, DataError> {
    Ok(log.rows::<R>(None)?.collect::<Result<Vec<_>, _>>()?)
}
