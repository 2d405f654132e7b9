//! A loaded model that is asked with item keys: what the engine and the CLI use.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;
use std::sync::Arc;

use segue_data::Sequence;
use segue_types::{ItemKey, TimestampMs};

use crate::{Contribution, ItemFilter, Manifest, ModelError, Query, Recommender, Scored, artifact};

/// A [`Recommender`] together with its key → row table.
pub struct KeyedRecommender {
    model: Arc<dyn Recommender>,
    keys: Vec<ItemKey>,
    rows: HashMap<ItemKey, u32, BuildHasherDefault<KeyHasher>>,
    manifest: Option<Manifest>,
}

/// A [`Query`] that names items by key. Items the model does not know are passed over.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyedQuery<'a> {
    /// Items of the listener's plays the system knows, oldest first.
    pub item: &'a [ItemKey],
    /// Codes of [`Action`](segue_types::Action), as long as `item` or empty.
    pub action: &'a [u8],
    /// UTC milliseconds when playback began, as long as `item` or empty.
    pub occurred_at: &'a [i64],
    /// UTC milliseconds when the system knew, as long as `item` or empty.
    pub known_at: &'a [i64],
    /// Session numbers, as long as `item` or empty.
    pub session: &'a [u32],
    /// Bytes of [`PlayContext`](segue_data::PlayContext), as long as `item` or empty.
    pub context: &'a [u8],
    /// Moment of the request.
    pub now: Option<TimestampMs>,
    /// Market of the request.
    pub market: Option<&'a str>,
    /// Plan of the listener.
    pub plan: Option<&'a str>,
    /// First year of the five in which the listener was born.
    pub birth_year: Option<i32>,
    /// The item that plays now.
    pub current: Option<ItemKey>,
}

/// An item key with a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyedScore {
    /// The item.
    pub item: ItemKey,
    /// Higher is better; finite.
    pub score: f32,
}

impl KeyedRecommender {
    /// Puts a model and the keys of its rows together.
    ///
    /// # Errors
    /// If the number of keys is not the number of item rows, or a key occurs twice.
    pub fn new(model: Arc<dyn Recommender>, keys: Vec<ItemKey>) -> Result<Self, ModelError> {
        if keys.len() != model.n_items() as usize {
            return Err(ModelError::Shape {
                what: format!("item keys of model `{}`", model.kind()),
                expected: model.n_items() as usize,
                got: keys.len(),
            });
        }
        let rows: HashMap<_, _, _> = keys.iter().zip(0..).map(|(&key, row)| (key, row)).collect();
        if rows.len() != keys.len() {
            return Err(ModelError::Shape {
                what: format!("different item keys of model `{}`", model.kind()),
                expected: keys.len(),
                got: rows.len(),
            });
        }
        Ok(Self { model, keys, rows, manifest: None })
    }

    /// Loads and checks the artifact in `folder` through the registry.
    ///
    /// # Errors
    /// [`ModelError::Artifact`] or [`ModelError::UnknownKind`]; the model that served before can go on.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let loaded = artifact::load(folder)?;
        let model = crate::recommender_kind(&loaded.parts.kind)?.load(loaded.parts)?;
        let mut keyed = Self::new(model.into(), loaded.item_keys)?;
        keyed.manifest = Some(loaded.manifest);
        Ok(keyed)
    }

    /// The model, asked by row.
    #[must_use]
    pub fn model(&self) -> &dyn Recommender {
        &*self.model
    }

    /// Key of each row.
    #[must_use]
    pub fn keys(&self) -> &[ItemKey] {
        &self.keys
    }

    /// The manifest, if it came from an artifact.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The row of a key.
    #[must_use]
    pub fn row(&self, key: ItemKey) -> Option<u32> {
        self.rows.get(&key).copied()
    }

    /// A bitmap for [`recommend`](Self::recommend): the items that `keep` lets through.
    pub fn allow_bitmap(&self, mut keep: impl FnMut(ItemKey) -> bool) -> Vec<u64> {
        let mut bits = vec![0_u64; self.keys.len().div_ceil(64)];
        for (row, &key) in self.keys.iter().enumerate() {
            if keep(key) {
                bits[row / 64] |= 1 << (row % 64);
            }
        }
        bits
    }

    /// The best `k` items that are not in `exclude` and, if given, in the bitmap `allow`.
    ///
    /// # Errors
    /// If the query lacks what the model needs.
    pub fn recommend(
        &self,
        query: &KeyedQuery<'_>,
        k: usize,
        exclude: &[ItemKey],
        allow: Option<&[u64]>,
    ) -> Result<Vec<KeyedScore>, ModelError> {
        let mut exclude: Vec<u32> = exclude.iter().filter_map(|&key| self.row(key)).collect();
        exclude.sort_unstable();
        exclude.dedup();
        let known = self.rows_of(query);
        let mut out = Vec::new();
        let filter = ItemFilter { exclude: &exclude, allow };
        self.model.recommend(&known.query(query, self), k, &filter, &mut out)?;
        Ok(self.keyed(&out))
    }

    /// Items most like `item`; empty if the model does not know it.
    #[must_use]
    pub fn similar_items(&self, item: ItemKey, k: usize) -> Vec<KeyedScore> {
        self.row(item).map_or_else(Vec::new, |row| self.keyed(&self.model.similar_items(row, k)))
    }

    /// Which plays of `query` made `item` score; indexes are those of `query.item`.
    #[must_use]
    pub fn explain(&self, query: &KeyedQuery<'_>, item: ItemKey) -> Vec<Contribution> {
        let Some(row) = self.row(item) else { return Vec::new() };
        let known = self.rows_of(query);
        let mut parts = self.model.explain(&known.query(query, self), row);
        for part in &mut parts {
            part.history_idx = known.at.get(part.history_idx).copied().unwrap_or(query.item.len());
        }
        parts
    }

    fn keyed(&self, scored: &[Scored]) -> Vec<KeyedScore> {
        scored.iter().map(|s| KeyedScore { item: self.keys[s.item as usize], score: s.score }).collect()
    }

    /// The plays whose item the model knows, as rows.
    fn rows_of(&self, query: &KeyedQuery<'_>) -> KnownPlays {
        let mut known = KnownPlays::default();
        for (at, &key) in query.item.iter().enumerate() {
            let Some(row) = self.row(key) else { continue };
            known.at.push(at);
            known.item.push(row);
            known.action.extend(query.action.get(at));
            known.occurred_at.extend(query.occurred_at.get(at));
            known.known_at.extend(query.known_at.get(at));
            known.session.extend(query.session.get(at));
            known.context.extend(query.context.get(at));
        }
        known
    }
}

impl fmt::Debug for KeyedRecommender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRecommender")
            .field("kind", &self.model.kind())
            .field("n_items", &self.keys.len())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct KnownPlays {
    /// Index in the keyed query.
    at: Vec<usize>,
    item: Vec<u32>,
    action: Vec<u8>,
    occurred_at: Vec<i64>,
    known_at: Vec<i64>,
    session: Vec<u32>,
    context: Vec<u8>,
}

impl KnownPlays {
    fn query<'a>(&'a self, query: &KeyedQuery<'a>, table: &KeyedRecommender) -> Query<'a> {
        Query {
            history: Sequence {
                item: &self.item,
                action: &self.action,
                occurred_at: &self.occurred_at,
                known_at: &self.known_at,
                session: &self.session,
                context: &self.context,
            },
            now: query.now,
            market: query.market,
            plan: query.plan,
            birth_year: query.birth_year,
            current: query.current.and_then(|key| table.row(key)),
        }
    }
}

/// Keys are xxh3 hashes already; hashing them again would only cost time.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(b);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::*;
    use crate::{FitInput, fit_recommender};

    fn keyed() -> KeyedRecommender {
        let plays = OwnedSequences::from_items(3, [vec![0, 1], vec![0, 1], vec![1, 2]]);
        let table: toml::Table = "kind = \"markov\"".parse().unwrap();
        let model = fit_recommender(&table, &FitInput::of(plays.view())).unwrap();
        KeyedRecommender::new(model.into(), ["a", "b", "c"].map(ItemKey::of).to_vec()).unwrap()
    }

    #[test]
    fn keys_go_in_and_keys_come_out() {
        let model = keyed();
        let query =
            KeyedQuery { item: &[ItemKey::of("nobody knows"), ItemKey::of("a")], ..Default::default() };
        let best = model.recommend(&query, 5, &[], None).unwrap();
        assert_eq!(best, [KeyedScore { item: ItemKey::of("b"), score: 1.0 }]);
        let why = model.explain(&query, ItemKey::of("b"));
        assert_eq!(why, [Contribution { history_idx: 1, amount: 1.0 }]);
        assert!(model.recommend(&query, 5, &[ItemKey::of("b")], None).unwrap().is_empty());
        let allow = model.allow_bitmap(|key| key != ItemKey::of("b"));
        assert!(model.recommend(&query, 5, &[], Some(&allow)).unwrap().is_empty());
    }

    #[test]
    fn a_key_table_of_the_wrong_length_or_with_doubles_is_refused() {
        let model = keyed().model;
        assert!(KeyedRecommender::new(model.clone(), vec![]).is_err());
        assert!(KeyedRecommender::new(model, vec![ItemKey(1); 3]).is_err());
    }
}
