//! What enrich and features may know of an item, and when.

use std::collections::HashMap;

use segue_types::{Day, Item, ItemKey, ItemKind, TimestampMs};

/// The facts of an item that folds and features use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ItemFacts {
    /// Key of the main artist ([`ItemKey::of`] its external id), 0 if unknown.
    pub artist: u64,
    /// Key of the first tag, 0 if unknown.
    pub tag: u64,
    /// Milliseconds it lasts, if known.
    pub duration_ms: Option<i64>,
    /// Day of release, if known.
    pub release_day: Option<Day>,
}

impl ItemFacts {
    /// The facts in one catalogue row.
    ///
    /// An artist is its own main artist: following one counts for the artist.
    #[must_use]
    pub fn of(item: &Item) -> Self {
        let own = (item.kind == ItemKind::Artist).then_some(&item.item_id);
        let artist = item.artist_ids.first().or(own);
        Self {
            artist: artist.map_or(0, |id| ItemKey::of(id).0),
            tag: item.tags.first().map_or(0, |tag| ItemKey::of(tag).0),
            duration_ms: item.duration_ms,
            release_day: item.release_day,
        }
    }
}

/// Facts by item key and moment. Offline it is the log's items table, online the live catalogue.
pub trait Catalogue: Sync {
    /// The facts valid at `at`; the default (nothing known) for an unknown item.
    fn facts(&self, item: ItemKey, at: TimestampMs) -> ItemFacts;
}

/// A catalogue in memory: every validity row of every item.
#[derive(Debug, Clone, Default)]
pub struct ItemCatalogue {
    /// Per item, rows sorted by the moment they begin to hold.
    rows: HashMap<ItemKey, Vec<(i64, ItemFacts)>>,
}

impl ItemCatalogue {
    /// A catalogue of `items`, in any order. Of two rows of one item with the same `valid_from`
    /// the later in the list wins.
    #[must_use]
    pub fn from_items<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut out = Self::default();
        for item in items {
            out.insert(item);
        }
        out
    }

    /// Adds or replaces one validity row.
    pub fn insert(&mut self, item: &Item) {
        let from = item.valid_from.map_or(i64::MIN, |t| t.0);
        let rows = self.rows.entry(ItemKey::of(&item.item_id)).or_default();
        let facts = ItemFacts::of(item);
        match rows.binary_search_by_key(&from, |row| row.0) {
            Ok(at) => rows[at].1 = facts,
            Err(at) => rows.insert(at, (from, facts)),
        }
    }
}

impl Catalogue for ItemCatalogue {
    fn facts(&self, item: ItemKey, at: TimestampMs) -> ItemFacts {
        let Some(rows) = self.rows.get(&item) else { return ItemFacts::default() };
        let n = rows.partition_point(|row| row.0 <= at.0);
        if n == 0 { ItemFacts::default() } else { rows[n - 1].1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_hold_from_their_moment_until_the_next_row() {
        let row = |artist: &str, from: Option<i64>| Item {
            artist_ids: vec![artist.to_owned()],
            valid_from: from.map(TimestampMs),
            ..Item::new("i")
        };
        let catalogue = ItemCatalogue::from_items(&[row("late", Some(100)), row("early", None)]);
        let artist = |at| catalogue.facts(ItemKey::of("i"), TimestampMs(at)).artist;
        assert_eq!(artist(99), ItemKey::of("early").0);
        assert_eq!(artist(100), ItemKey::of("late").0);
        assert_eq!(catalogue.facts(ItemKey::of("none"), TimestampMs(0)), ItemFacts::default());
    }
}
