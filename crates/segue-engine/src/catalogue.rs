//! The live catalogue: facts about items with a validity time, as of a moment.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use segue_data::{Catalogue, ItemFacts};
use segue_types::{Item, ItemKey, ItemKind, TimestampMs};

/// Every validity row of one item, by the moment it begins to hold.
type Rows = Arc<Vec<Arc<Item>>>;

/// An immutable part of the catalogue.
#[derive(Debug, Default, Clone)]
pub struct Part {
    items: HashMap<ItemKey, Rows>,
    /// Main artist's key → items that name it in any of their rows.
    by_artist: HashMap<u64, Arc<BTreeSet<ItemKey>>>,
}

fn begins(item: &Item) -> i64 {
    item.valid_from.map_or(i64::MIN, |t| t.0)
}

impl Part {
    /// Adds or replaces a validity row. Of two rows with one `valid_from` the later call wins.
    fn insert(&mut self, item: Arc<Item>) {
        let key = ItemKey::of(&item.item_id);
        if let Some(artist) = item.artist_ids.first() {
            Arc::make_mut(self.by_artist.entry(ItemKey::of(artist).0).or_default()).insert(key);
        }
        let rows = Arc::make_mut(self.items.entry(key).or_default());
        match rows.binary_search_by_key(&begins(&item), |row| begins(row)) {
            Ok(at) => rows[at] = item,
            Err(at) => rows.insert(at, item),
        }
    }

    fn insert_rows(&mut self, key: ItemKey, rows: &Rows) {
        for row in rows.iter() {
            if let Some(artist) = row.artist_ids.first() {
                Arc::make_mut(self.by_artist.entry(ItemKey::of(artist).0).or_default()).insert(key);
            }
        }
        self.items.insert(key, Arc::clone(rows));
    }

    /// A part from items in any order.
    #[must_use]
    pub fn from_items<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut part = Self::default();
        items.into_iter().for_each(|item| part.insert(Arc::new(item.clone())));
        part
    }
}

/// The catalogue of one moment of the server: what a request sees from beginning to end.
#[derive(Debug, Default, Clone)]
pub struct CatalogueView {
    /// What the snapshot brought.
    base: Arc<Part>,
    /// What came since: an item here has all its rows here.
    overlay: Arc<Part>,
}

impl CatalogueView {
    /// The facts of an item at `at`, available or not; `None` if it has none then.
    #[must_use]
    pub fn item(&self, key: ItemKey, at: TimestampMs) -> Option<&Arc<Item>> {
        let rows = self.overlay.items.get(&key).or_else(|| self.base.items.get(&key))?;
        let n = rows.partition_point(|row| begins(row) <= at.0);
        rows.get(n.checked_sub(1)?)
    }

    /// The same, for items that are available. Home shows any kind; a queue takes what
    /// [`is_playable`].
    #[must_use]
    pub fn available(&self, key: ItemKey, at: TimestampMs) -> Option<&Arc<Item>> {
        self.item(key, at).filter(|item| item.available)
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.base.items.len() + self.overlay.items.keys().filter(|k| !self.base.items.contains_key(k)).count()
    }

    /// Whether no item is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.items.is_empty() && self.overlay.items.is_empty()
    }

    /// Items whose main artist it is (or was), by key.
    #[must_use]
    pub fn by_artist(&self, artist: u64) -> Vec<ItemKey> {
        let mut keys: BTreeSet<ItemKey> = BTreeSet::new();
        for part in [&self.base, &self.overlay] {
            keys.extend(part.by_artist.get(&artist).into_iter().flat_map(|set| set.iter()));
        }
        keys.into_iter().collect()
    }

    /// Keys of all items, in no order.
    pub fn keys(&self) -> impl Iterator<Item = ItemKey> + '_ {
        let added = self.overlay.items.keys().filter(|k| !self.base.items.contains_key(k));
        self.base.items.keys().chain(added).copied()
    }
}

impl Catalogue for CatalogueView {
    fn facts(&self, item: ItemKey, at: TimestampMs) -> ItemFacts {
        self.item(item, at).map_or_else(ItemFacts::default, |item| ItemFacts::of(item))
    }
}

/// The catalogue as it changes. Readers take a [`CatalogueView`]; there is one writer at a time.
#[derive(Debug, Default)]
pub struct LiveCatalogue {
    view: ArcSwap<CatalogueView>,
}

impl LiveCatalogue {
    /// The catalogue of this moment.
    #[must_use]
    pub fn view(&self) -> Arc<CatalogueView> {
        self.view.load_full()
    }

    /// Takes rows in; each is visible to every request that begins after the call.
    ///
    /// Copies the overlay, not the base; an overlay that has grown to a quarter of the base is
    /// folded into it, so a load of n items costs n log n copies of pointers.
    pub fn put(&self, items: &[Item]) {
        let view = self.view.load();
        let mut overlay = Part::clone(&view.overlay);
        for item in items {
            let key = ItemKey::of(&item.item_id);
            if !overlay.items.contains_key(&key)
                && let Some(rows) = view.base.items.get(&key)
            {
                overlay.insert_rows(key, rows);
            }
            overlay.insert(Arc::new(item.clone()));
        }
        let next = if overlay.items.len() > 1_024.max(view.base.items.len() / 4) {
            let mut base = Part::clone(&view.base);
            for (key, rows) in &overlay.items {
                base.insert_rows(*key, rows);
            }
            CatalogueView { base: Arc::new(base), overlay: Arc::default() }
        } else {
            CatalogueView { base: Arc::clone(&view.base), overlay: Arc::new(overlay) }
        };
        self.view.store(Arc::new(next));
    }

    /// Replaces what the snapshot brought; rows put since stay on top.
    pub fn replace_base(&self, base: Part, put_since: &[Item]) {
        self.view.store(Arc::new(CatalogueView { base: Arc::new(base), overlay: Arc::default() }));
        self.put(put_since);
    }
}

/// Whether an item sounds by itself: tracks, episodes and chapters do, artists, albums and playlists
/// are opened first.
#[must_use]
pub fn is_playable(kind: ItemKind) -> bool {
    matches!(kind, ItemKind::Track | ItemKind::Episode | ItemKind::Chapter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, title: &str, from: Option<i64>) -> Item {
        Item {
            title: Some(title.to_owned()),
            artist_ids: vec!["artist".to_owned()],
            valid_from: from.map(TimestampMs),
            ..Item::new(id)
        }
    }

    #[test]
    fn a_request_sees_the_facts_of_its_moment() {
        let live = LiveCatalogue::default();
        live.put(&[item("a", "late", Some(100)), item("a", "early", None)]);
        let view = live.view();
        let title = |at| view.item(ItemKey::of("a"), TimestampMs(at)).unwrap().title.clone().unwrap();
        assert_eq!((title(99), title(100)), ("early".to_owned(), "late".to_owned()));
    }

    #[test]
    fn a_view_does_not_change_while_it_is_held() {
        let live = LiveCatalogue::default();
        live.put(&[item("a", "one", None)]);
        let before = live.view();
        live.put(&[item("a", "two", None)]);
        let title =
            |v: &CatalogueView| v.item(ItemKey::of("a"), TimestampMs(0)).unwrap().title.clone().unwrap();
        assert_eq!((title(&before), title(&live.view())), ("one".to_owned(), "two".to_owned()));
    }

    #[test]
    fn many_puts_fold_into_the_base_and_lose_nothing() {
        let live = LiveCatalogue::default();
        live.replace_base(Part::from_items(&[item("old", "old", None)]), &[]);
        for batch in 0..5 {
            let items: Vec<Item> = (0..500).map(|i| item(&format!("{batch}-{i}"), "t", None)).collect();
            live.put(&items);
        }
        let view = live.view();
        assert_eq!(view.len(), 2_501);
        assert_eq!(view.keys().count(), 2_501);
        assert_eq!(view.by_artist(ItemKey::of("artist").0).len(), 2_501);
        assert!(view.item(ItemKey::of("4-499"), TimestampMs(0)).is_some());
    }

    #[test]
    fn what_is_taken_out_is_not_available() {
        let live = LiveCatalogue::default();
        let gone = Item { available: false, ..item("a", "t", Some(10)) };
        live.put(&[item("a", "t", None), gone]);
        let view = live.view();
        assert!(view.available(ItemKey::of("a"), TimestampMs(9)).is_some());
        assert!(view.available(ItemKey::of("a"), TimestampMs(10)).is_none());
    }
}
