//! From a snapshot to what retrieval models fit from.

use std::collections::BTreeMap;

use segue_data::Snapshot;
use segue_types::{Day, Item, ItemKey, TimestampMs, User};

use crate::{DailyPlays, FitInput, ItemFeatures, Profiles, UNKNOWN_FEATURE, UserFeatures};

/// The parts of a [`FitInput`] that a snapshot stores in another shape; owned, to be borrowed from.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use segue_models::{SnapshotInput, fit_recommender};
///
/// let snapshot = segue_data::Snapshot::open_current("segue-home".as_ref())?;
/// let parts = SnapshotInput::new(&snapshot);
/// let table: toml::Table = "kind = \"markov\"".parse()?;
/// let model = fit_recommender(&table, &parts.input(&snapshot, None, 0))?;
/// # let _ = model;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct SnapshotInput {
    item_keys: Vec<ItemKey>,
    item_ids: Vec<String>,
    features: SnapshotFeatures,
    markets: Vec<String>,
    day: Vec<Day>,
    market: Vec<u32>,
    item: Vec<u32>,
    n_plays: Vec<u32>,
    profile_offsets: Vec<u64>,
    profile_item: Vec<u32>,
    profile_plays: Vec<u64>,
}

impl SnapshotInput {
    /// Copies what has to be reshaped: ids, keys, plays per day and market, profiles.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut out = Self {
            item_keys: snapshot.item_keys().iter().map(|&key| ItemKey(key)).collect(),
            item_ids: snapshot.items().iter().map(|item| item.item_id.clone()).collect(),
            features: SnapshotFeatures::new(snapshot),
            markets: snapshot.markets().to_vec(),
            ..Self::default()
        };
        for (row, name) in (0..).zip(snapshot.markets()) {
            for part in snapshot.market_days(name, Day(i32::MAX)) {
                out.item.extend_from_slice(&part.item);
                out.n_plays.extend_from_slice(&part.plays);
                out.day.resize(out.item.len(), part.day);
                out.market.resize(out.item.len(), row);
            }
        }
        let profiles = snapshot.profiles();
        if !profiles.is_empty() {
            let mut at = 0;
            for user in 0..snapshot.n_users() {
                out.profile_offsets.push(at as u64);
                at += profiles[at..].iter().take_while(|p| p.user == user).count();
            }
            out.profile_offsets.push(at as u64);
            out.profile_item = profiles[..at].iter().map(|p| p.item).collect();
            out.profile_plays = profiles[..at].iter().map(|p| p.n_plays).collect();
        }
        out
    }

    /// What models fit from. `snapshot` is the one given to [`new`](Self::new); nothing known at or
    /// after `until` is seen.
    #[must_use]
    pub fn input<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        until: Option<TimestampMs>,
        seed: u64,
    ) -> FitInput<'a> {
        FitInput {
            sequences: snapshot.sequences(),
            profiles: (!self.profile_offsets.is_empty()).then_some(Profiles {
                offsets: &self.profile_offsets,
                item: &self.profile_item,
                n_plays: &self.profile_plays,
            }),
            daily: (!self.item.is_empty()).then_some(DailyPlays {
                markets: &self.markets,
                day: &self.day,
                market: &self.market,
                item: &self.item,
                n_plays: &self.n_plays,
            }),
            item_ids: &self.item_ids,
            item_keys: &self.item_keys,
            item_features: self.features.items(),
            user_features: self.features.users(),
            until,
            seed,
        }
    }

    /// Item keys by row: the table of the artifacts fitted from this snapshot.
    #[must_use]
    pub fn item_keys(&self) -> &[ItemKey] {
        &self.item_keys
    }
}

/// What a snapshot knows of items and listeners besides plays; owned, to be borrowed from.
#[derive(Debug, Clone, Default)]
pub struct SnapshotFeatures {
    artist: Vec<u32>,
    album: Vec<u32>,
    genre: Vec<u32>,
    content: Vec<f32>,
    item_valid_from: Vec<i64>,
    market: Vec<String>,
    plan: Vec<String>,
    birth_year: Vec<i32>,
    valid_from: Vec<i64>,
}

impl SnapshotFeatures {
    /// Copies what has to be reshaped.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let (items, users) = (snapshot.items(), snapshot.users());
        Self {
            artist: numbered(items, |item| item.artist_ids.first()),
            album: numbered(items, |item| item.album_id.as_ref()),
            genre: numbered(items, |item| item.tags.first()),
            content: content(items),
            item_valid_from: items.iter().map(|item| item.valid_from.map_or(i64::MIN, |t| t.0)).collect(),
            market: of_users(users, |user| user.market.clone()),
            plan: of_users(users, |user| user.plan.clone()),
            birth_year: of_users(users, |user| user.birth_year_bucket),
            valid_from: users.iter().map(|user| user.valid_from.map_or(i64::MIN, |t| t.0)).collect(),
        }
    }

    /// Features of items by row.
    #[must_use]
    pub fn items(&self) -> ItemFeatures<'_> {
        ItemFeatures {
            artist: &self.artist,
            album: &self.album,
            genre: &self.genre,
            content: &self.content,
            valid_from: &self.item_valid_from,
        }
    }

    /// Features of listeners by row.
    #[must_use]
    pub fn users(&self) -> UserFeatures<'_> {
        UserFeatures {
            market: &self.market,
            plan: &self.plan,
            birth_year: &self.birth_year,
            valid_from: &self.valid_from,
        }
    }
}

/// One feature of each listener, the default where it is not known; empty if it is known of nobody.
fn of_users<T: Clone + Default>(users: &[User], feature: impl Fn(&User) -> Option<T>) -> Vec<T> {
    let all: Vec<Option<T>> = users.iter().map(feature).collect();
    if all.iter().all(Option::is_none) {
        return Vec::new();
    }
    all.into_iter().map(Option::unwrap_or_default).collect()
}

/// The items' content vectors `[n_items, size]`, where `size` is what most of them have (of two as frequent the
/// smaller one): zeros for items without one of that size or with one that is not finite. Empty if there is none.
fn content(items: &[Item]) -> Vec<f32> {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for item in items.iter().filter(|item| !item.embedding.is_empty()) {
        *sizes.entry(item.embedding.len()).or_default() += 1;
    }
    let most = sizes.iter().max_by_key(|&(&size, &n)| (n, std::cmp::Reverse(size)));
    let Some((&size, _)) = most else { return Vec::new() };
    let mut out = vec![0.0; items.len() * size];
    for (item, out) in items.iter().zip(out.chunks_exact_mut(size)) {
        if item.embedding.len() == size && item.embedding.iter().all(|x| x.is_finite()) {
            out.copy_from_slice(&item.embedding);
        }
    }
    out
}

/// The number of each item's value, numbers ascending with the values' names.
fn numbered<'a>(items: &'a [Item], value: impl Fn(&'a Item) -> Option<&'a String>) -> Vec<u32> {
    let mut numbers: BTreeMap<&str, u32> =
        items.iter().filter_map(&value).map(|name| (name.as_str(), 0)).collect();
    (0..).zip(numbers.values_mut()).for_each(|(n, number)| *number = n);
    items.iter().map(|item| value(item).map_or(UNKNOWN_FEATURE, |name| numbers[name.as_str()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_vectors_have_the_size_of_most_items_and_others_are_zeros() {
        let item = |embedding: &[f32]| Item { embedding: embedding.to_vec(), ..Item::new("x") };
        let items = [item(&[1.0, 2.0]), item(&[]), item(&[3.0]), item(&[f32::NAN, 0.0]), item(&[5.0, 6.0])];
        assert_eq!(content(&items), [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 6.0]);
        assert!(content(&items[1..2]).is_empty());
        assert_eq!(content(&items[1..4]), [0.0, 3.0, 0.0], "of two as frequent the smaller");
    }
}
