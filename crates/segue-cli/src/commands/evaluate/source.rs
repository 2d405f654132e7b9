//! What is evaluated on: the snapshot of a home, or benchmark files without any home.

use std::path::Path;

use anyhow::{Context, Result};
use segue_data::Snapshot;
use segue_eval::{Column, Dataset, DatasetFile, ItemTags, OwnedProfiles, Plays};
use segue_models::SnapshotFeatures;
use serde::Serialize;

/// Data with everything an evaluation borrows from it.
pub(crate) struct Source {
    /// What a reader of the report should know it by.
    pub(crate) name: String,
    held: Held,
    user_columns: Vec<Column>,
    item_columns: Vec<Column>,
    item_tags: Option<ItemTags>,
}

enum Held {
    Home {
        snapshot: Box<Snapshot>,
        profiles: OwnedProfiles,
        user_ids: Vec<String>,
        item_ids: Vec<String>,
        features: Box<SnapshotFeatures>,
    },
    File(DatasetFile),
}

impl Source {
    /// The current snapshot of a home, with the columns that slices ask for.
    pub(crate) fn of_home(home: &Path, slices: &[String]) -> Result<Self> {
        let snapshot = Snapshot::open_current(home)?;
        let mut users = vec![Vec::new(); snapshot.n_users() as usize];
        for row in snapshot.profiles() {
            users[row.user as usize].push((row.item, row.n_plays));
        }
        let columns = |prefix: &'static str| {
            slices.iter().filter_map(move |s| s.strip_prefix(prefix).map(str::to_owned))
        };
        let user_columns =
            columns("user:").map(|name| column(name, snapshot.users())).collect::<Result<_>>()?;
        let item_columns =
            columns("item:").map(|name| column(name, snapshot.items())).collect::<Result<_>>()?;
        let has_tags = snapshot.items().iter().any(|i| !i.tags.is_empty());
        let words = snapshot.items().iter().map(|i| i.tags.iter().map(String::as_str));
        Ok(Self {
            name: format!("snapshot {}", snapshot.id()),
            user_columns,
            item_columns,
            item_tags: has_tags.then(|| ItemTags::from_words(words)),
            held: Held::Home {
                profiles: OwnedProfiles::from_counts(snapshot.n_items(), users),
                user_ids: snapshot.users().iter().map(|u| u.user_id.clone()).collect(),
                item_ids: snapshot.items().iter().map(|i| i.item_id.clone()).collect(),
                features: Box::new(SnapshotFeatures::new(&snapshot)),
                snapshot: Box::new(snapshot),
            },
        })
    }

    /// One file of plays in order.
    pub(crate) fn ordered(path: &Path) -> Result<Self> {
        Ok(Self::file(path.display().to_string(), DatasetFile::ordered(path)?))
    }

    /// A published train and test part.
    pub(crate) fn parts(train: &Path, test: &Path) -> Result<Self> {
        let name = format!("{} and {}", train.display(), test.display());
        Ok(Self::file(name, DatasetFile::parts(train, test)?))
    }

    fn file(name: String, file: DatasetFile) -> Self {
        Self {
            name,
            held: Held::File(file),
            user_columns: Vec::new(),
            item_columns: Vec::new(),
            item_tags: None,
        }
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        match &self.held {
            Held::Home { snapshot, .. } => Some(snapshot),
            Held::File(_) => None,
        }
    }

    /// The external id of a listener's row.
    pub(crate) fn user_id(&self, user: usize) -> String {
        let ids = self.dataset().user_ids;
        ids.and_then(|ids| ids.get(user)).map_or_else(|| format!("row {user}"), Clone::clone)
    }

    /// The external id of an item row.
    pub(crate) fn item_id(&self, item: u32) -> String {
        let ids = self.dataset().item_ids;
        ids.and_then(|ids| ids.get(item as usize)).map_or_else(|| format!("row {item}"), Clone::clone)
    }

    /// What people call an item: title and, where that is another, the main artist; the id where there is no title.
    pub(crate) fn item_title(&self, item: u32) -> String {
        let facts = self.snapshot().and_then(|snapshot| snapshot.items().get(item as usize));
        let Some((facts, title)) = facts.and_then(|facts| Some((facts, facts.title.as_ref()?))) else {
            return self.item_id(item);
        };
        match facts.artist_names.first() {
            Some(artist) if artist != title => format!("{title} – {artist}"),
            _ => title.clone(),
        }
    }

    /// How often an undated profile has the item; nothing where plays come in order.
    pub(crate) fn profile_plays(&self, user: usize, item: u32) -> Option<u64> {
        let Plays::Profiles(profiles) = self.dataset().plays else { return None };
        let mut of_user = profiles.offsets[user] as usize..profiles.offsets[user + 1] as usize;
        of_user.find(|&at| profiles.item[at] == item).map(|at| profiles.n_plays[at])
    }

    /// Ordered plays where there are any, else profiles.
    pub(crate) fn dataset(&self) -> Dataset<'_> {
        let base = match &self.held {
            Held::File(file) => file.dataset(),
            Held::Home { snapshot, profiles, user_ids, item_ids, features } => {
                let sequences = snapshot.sequences();
                let plays = if sequences.n_plays() > 0 || profiles.item.is_empty() {
                    Plays::Sequences(sequences)
                } else {
                    Plays::Profiles(profiles.view())
                };
                Dataset {
                    user_ids: Some(user_ids),
                    item_ids: Some(item_ids),
                    item_features: features.items(),
                    user_features: features.users(),
                    ..Dataset::from(plays)
                }
            }
        };
        Dataset {
            user_columns: &self.user_columns,
            item_columns: &self.item_columns,
            item_tags: self.item_tags.as_ref(),
            ..base
        }
    }
}

/// A field of facts as a column: of a list its first value; nothing where it is absent.
fn column<T: Serialize>(name: String, facts: &[T]) -> Result<Column> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Null | serde_json::Value::Object(_) => None,
        serde_json::Value::Array(_) => None,
        other => Some(other.to_string()),
    };
    let values = facts
        .iter()
        .map(|row| {
            let row = serde_json::to_value(row).context("a fact cannot be written as JSON")?;
            Ok(row.get(&name).and_then(|value| match value {
                serde_json::Value::Array(list) => list.first().and_then(text),
                value => text(value),
            }))
        })
        .collect::<Result<Vec<Option<String>>>>()?;
    if values.iter().all(Option::is_none) {
        anyhow::bail!(
            "no row has a value of `{name}`\nhint: a slice `user:…` or `item:…` names a field of docs/tables.md that the import filled"
        );
    }
    Ok(Column { name, values })
}
