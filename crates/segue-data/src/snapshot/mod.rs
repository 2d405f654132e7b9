//! A snapshot: the immutable output of `prepare`, memory-mapped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use segue_types::{Action, Day, Item, ItemKey, TimestampMs, User, UserKey};

pub(crate) mod blocks;
pub(crate) mod by_key;
pub(crate) mod column;
pub(crate) mod example_files;
mod interactions;
pub(crate) mod markets;
mod parts;
mod read;
pub(crate) mod states;
pub(crate) mod stats;
pub(crate) mod table_file;
pub(crate) mod tables;
pub(crate) mod times;

use column::Column;
pub use column::FileEntry;
use markets::MarketBlocks;
use states::States;
use stats::StatBlocks;
use times::{PlayTimes, Times};

use crate::aggregates::item_stats::ItemStats;
use crate::error::DataError;
use crate::examples::{Examples, ExamplesFrom};
use crate::play_context;
use crate::sequences::{OwnedSequences, Sequences};
use crate::user_state::UserState;

/// What a snapshot says of itself: `manifest.json`. It holds nothing that depends on the machine,
/// the clock or the number of threads.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Version of the snapshot's layout.
    pub format: u32,
    /// Hash of the logical rows, and the folder's name.
    pub snapshot_id: String,
    /// Events known at or after this moment were left out.
    pub until: Option<TimestampMs>,
    /// Number of item rows.
    pub n_items: u64,
    /// Number of user rows.
    pub n_users: u64,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Events left out, by the name of the reason.
    pub rejects: BTreeMap<String, u64>,
    /// First and last moment a play began.
    pub time_range: Option<(TimestampMs, TimestampMs)>,
    /// First and last moment an event became known.
    pub known_range: Option<(TimestampMs, TimestampMs)>,
    /// Whether any play says how long it was heard.
    pub has_listened_ms: bool,
    /// What the training rows are made from.
    pub examples_from: ExamplesFrom,
    /// Training rows are those of one in `2^example_sample_bits` requests.
    pub example_sample_bits: u32,
    /// Names of the training rows' feature columns.
    pub feature_names: Vec<String>,
    /// Versions of the folds' states and of the aggregates, by name.
    pub versions: BTreeMap<String, u16>,
    /// The last day that no later event changes: two days before the last day of the log.
    pub closed: Day,
    /// Names of the markets, ascending.
    pub markets: Vec<String>,
    /// xxh3 over table, day, name and size of every part of the log that was read.
    pub input_xxh3: String,
    /// Number of these parts.
    pub n_input_parts: u64,
    /// Every other file of the folder, by its path within.
    pub files: BTreeMap<String, FileEntry>,
}

/// Version of the layout this code writes and reads.
pub const FORMAT: u32 = 5;

/// One undated count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileRow {
    /// User row.
    pub user: u32,
    /// Item row.
    pub item: u32,
    /// Plays, at least 1.
    pub n_plays: u64,
}

/// What one listener did with one item, over the whole snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InteractionRow {
    /// Item row.
    pub item: u32,
    /// Plays.
    pub n_plays: u32,
    /// Plays of 30 s or more.
    pub n_streams: u32,
    /// Plays of 90 % or more.
    pub n_completions: u32,
    /// Plays the listener ended before completion.
    pub n_skips: u32,
    /// Latest start of a play, UTC milliseconds.
    pub last_played_at: i64,
}

/// An item heard in the same sessions as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoListen {
    /// The other item's row.
    pub item: u32,
    /// How often both were played within the window.
    pub count: u32,
}

/// Plays of one market on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketDay {
    /// The day (of `known_at`).
    pub day: Day,
    /// Item rows, ascending.
    pub item: Vec<u32>,
    /// Plays of each.
    pub plays: Vec<u32>,
}

/// Prepared data, immutable. Rows of items and users are in ascending order of their keys and
/// private to this snapshot.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) manifest: Manifest,
    pub(crate) items: Vec<Item>,
    pub(crate) item_keys: Column<u64>,
    pub(crate) users: Vec<User>,
    pub(crate) user_keys: Column<u128>,
    pub(crate) plays: PlayColumns,
    pub(crate) profiles: Vec<ProfileRow>,
    pub(crate) stats: StatBlocks,
    pub(crate) markets: MarketBlocks,
    pub(crate) co_listens: CoListenColumns,
    pub(crate) states: States,
    pub(crate) examples: ExampleStore,
}

/// Packed sequences, see [`Sequences`].
#[derive(Debug, Default)]
pub(crate) struct PlayColumns {
    pub(crate) offsets: Column<u64>,
    pub(crate) item: Column<u32>,
    pub(crate) action: Column<u8>,
    pub(crate) context: Column<u8>,
    /// Gathered from `context` when somebody asks for it.
    pub(crate) session: OnceLock<Column<u32>>,
    pub(crate) times: Times,
}

impl PlayColumns {
    /// `[n_plays]` 0-based numbers of sessions.
    fn sessions(&self) -> &[u32] {
        self.session.get_or_init(|| {
            let offsets = &*self.offsets;
            Column::gathered(&times::tasks(offsets), self.times.near(), |task, out| {
                let rows = times::rows_of(task, offsets.len() - 1);
                play_context::sessions(&self.context, &offsets[rows.start..=rows.end], out);
            })
        })
    }
}

/// Co-listens by item row.
#[derive(Debug, Default)]
pub(crate) struct CoListenColumns {
    pub(crate) offsets: Column<u64>,
    pub(crate) item: Column<u32>,
    pub(crate) count: Column<u32>,
    /// `[n_items]` numbers of the last days counted; empty for plays without dates.
    pub(crate) day: Column<i32>,
}

/// Where the training rows are.
#[derive(Debug)]
pub(crate) enum ExampleStore {
    Owned(ExamplesFrom, Box<Examples>),
    /// The folder of the snapshot, whose manifest lists the files.
    Files(PathBuf),
}

/// The parts of a snapshot made without a log, for tests of models and pages.
#[derive(Debug, Clone, Default)]
pub struct SnapshotParts {
    /// Items in any order; `sequences.item` and `profiles` index this list.
    pub items: Vec<Item>,
    /// Users in any order; `sequences` and `profiles` index this list.
    pub users: Vec<User>,
    /// One sequence per user, or none at all.
    pub sequences: OwnedSequences,
    /// Undated counts: user index, item index, plays.
    pub profiles: Vec<ProfileRow>,
    /// Training rows, already in rows of the finished snapshot.
    pub examples: Examples,
}

pub(crate) fn csr<T>(offsets: &[u64], row: u32, column: &[T]) -> std::ops::Range<usize> {
    let row = row as usize;
    if row + 1 >= offsets.len() || column.is_empty() {
        return 0..0;
    }
    offsets[row] as usize..offsets[row + 1] as usize
}

impl Snapshot {
    /// Opens the snapshot in `dir` and checks it: version, sizes, hashes, offsets, row bounds.
    ///
    /// # Errors
    /// [`DataError::Corrupt`] names the file, what was expected and what is there.
    pub fn open(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join("manifest.json");
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                DataError::Missing { what: "snapshot", path: dir.to_path_buf(), hint: "run `segue prepare`" }
            }
            _ => DataError::Io { path: path.clone(), source },
        })?;
        let version: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| DataError::corrupt(&path, "a JSON object", e))?;
        let format = version.get("format").and_then(serde_json::Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            let got = format.map_or("none".to_owned(), |f| f.to_string());
            let got = format!("{got}; `segue prepare` builds it anew");
            return Err(DataError::corrupt(&path, format!("format {FORMAT}"), got));
        }
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|e| DataError::corrupt(&path, "a snapshot's manifest", e))?;
        read::read(dir, manifest)
    }

    /// Opens the snapshot that `home/snapshots/current` names.
    ///
    /// # Errors
    /// [`DataError::Missing`] if there is none; otherwise as [`open`](Self::open).
    pub fn open_current(home: &Path) -> Result<Self, DataError> {
        let path = home.join("snapshots").join("current");
        let id = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => DataError::Missing {
                what: "current snapshot",
                path: home.join("snapshots"),
                hint: "run `segue prepare`",
            },
            _ => DataError::Io { path: path.clone(), source },
        })?;
        let id = id.trim();
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(DataError::corrupt(path, "the id of a snapshot", format!("`{id}`")));
        }
        Self::open(&home.join("snapshots").join(id))
    }

    /// A snapshot in memory, for tests. Statistics, interactions and co-listens are derived from
    /// the sequences; there are no user states, and markets come from the users.
    ///
    /// # Errors
    /// If two ids share a key or an index is out of range.
    pub fn from_parts(parts: SnapshotParts) -> Result<Self, DataError> {
        parts::assemble(parts)
    }

    /// Id: a hash of the logical rows, and the name of the folder.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.manifest.snapshot_id
    }

    /// Input hashes, counts, rejects, versions, time range.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Number of item rows.
    #[must_use]
    pub fn n_items(&self) -> u32 {
        self.items.len() as u32
    }

    /// Number of user rows.
    #[must_use]
    pub fn n_users(&self) -> u32 {
        self.users.len() as u32
    }

    /// Items by row; of several validity rows the latest. An item that only plays mention has
    /// nothing but its id.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Item keys by row, ascending.
    #[must_use]
    pub fn item_keys(&self) -> &[u64] {
        &self.item_keys
    }

    /// The key of an item row.
    ///
    /// # Panics
    /// If `row` is not below [`n_items`](Self::n_items).
    #[must_use]
    pub fn item_key(&self, row: u32) -> ItemKey {
        ItemKey(self.item_keys[row as usize])
    }

    /// The row of an item key.
    #[must_use]
    pub fn item_row(&self, key: ItemKey) -> Option<u32> {
        self.item_keys.binary_search(&key.0).ok().map(|row| row as u32)
    }

    /// Users by row; of several validity rows the latest.
    #[must_use]
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The key of a user row.
    ///
    /// # Panics
    /// If `row` is not below [`n_users`](Self::n_users).
    #[must_use]
    pub fn user_key(&self, row: u32) -> UserKey {
        UserKey(self.user_keys[row as usize])
    }

    /// The row of a user key.
    #[must_use]
    pub fn user_row(&self, key: UserKey) -> Option<u32> {
        self.user_keys.binary_search(&key.0).ok().map(|row| row as u32)
    }

    /// Every listener's plays in known-at order.
    ///
    /// The first call gathers moments and numbers of sessions of all plays, 20 bytes each: small ones in memory, large
    /// ones in files without a name beside the snapshot's, whose pages the system may drop. Everything else is read
    /// from the files: history may be larger than memory. For one listener there is [`last_played_at`](Self::last_played_at).
    #[must_use]
    pub fn sequences(&self) -> Sequences<'_> {
        let (users, offsets) = (&self.user_keys, &self.plays.offsets);
        Sequences {
            occurred_at: self.plays.times.occurred_at(users, offsets),
            known_at: self.plays.times.known_at(users, offsets),
            session: self.plays.sessions(),
            ..self.undated_sequences()
        }
    }

    /// [`sequences`](Self::sequences) without moments and numbers of sessions.
    pub(crate) fn undated_sequences(&self) -> Sequences<'_> {
        Sequences {
            offsets: if self.plays.offsets.is_empty() { &[0] } else { &self.plays.offsets },
            item: &self.plays.item,
            action: &self.plays.action,
            occurred_at: &[],
            known_at: &[],
            session: &[],
            context: &self.plays.context,
            n_items: self.n_items(),
        }
    }

    /// Number of plays of a listener.
    #[must_use]
    pub fn n_plays(&self, user_row: u32) -> usize {
        csr(&self.plays.offsets, user_row, &self.plays.item).len()
    }

    /// When the latest of a listener's plays began; `None` without dated plays.
    #[must_use]
    pub fn last_played_at(&self, user_row: u32) -> Option<TimestampMs> {
        let times = self.play_times(user_row);
        times.iter().map(|play| TimestampMs(play.occurred_at)).max()
    }

    fn play_times(&self, user_row: u32) -> Vec<PlayTimes> {
        let range = csr(&self.plays.offsets, user_row, &self.plays.item);
        if range.is_empty() {
            Vec::new()
        } else {
            self.plays.times.of(self.user_keys[user_row as usize], range)
        }
    }

    /// Undated counts, ordered by user row and item row.
    #[must_use]
    pub fn profiles(&self) -> &[ProfileRow] {
        &self.profiles
    }

    /// The undated profile of the user in row `user`, by item row; empty if there is none.
    #[must_use]
    pub fn profile(&self, user: u32) -> &[ProfileRow] {
        let from = self.profiles.partition_point(|p| p.user < user);
        let to = self.profiles.partition_point(|p| p.user <= user);
        &self.profiles[from..to]
    }

    /// What the listener did with each item they played, by item row; counted from the plays.
    pub fn interactions(&self, user_row: u32) -> impl Iterator<Item = InteractionRow> + '_ {
        let range = csr(&self.plays.offsets, user_row, &self.plays.item);
        let action = self.plays.action.get(range.clone()).unwrap_or(&[]);
        interactions::count(&self.plays.item[range], action, &self.play_times(user_row)).into_iter()
    }

    /// Sums over all days up to `through`, that day included; `None` if nobody had played it.
    #[must_use]
    pub fn item_stats(&self, item_row: u32, through: Day) -> Option<ItemStats> {
        self.stats.through(*self.item_keys.get(item_row as usize)?, through)
    }

    /// Names of the markets with plays, ascending; the empty name is "unknown".
    #[must_use]
    pub fn markets(&self) -> &[String] {
        &self.manifest.markets
    }

    /// Plays of a market by day (of `known_at`), days ascending, up to `through`.
    pub fn market_days(&self, market: &str, through: Day) -> impl Iterator<Item = MarketDay> + '_ {
        self.markets.days(market, through, &self.item_keys)
    }

    /// Items most often played within [`CO_LISTEN_WINDOW`](crate::aggregates::CO_LISTEN_WINDOW)
    /// plays of this one in a session: count descending, then item row; at most 50. Plays known
    /// through [`co_listens_through`](Self::co_listens_through) count.
    pub fn co_listens(&self, item_row: u32) -> impl Iterator<Item = CoListen> + '_ {
        let t = &self.co_listens;
        csr(&t.offsets, item_row, &t.item).map(|i| CoListen { item: t.item[i], count: t.count[i] })
    }

    /// The last day whose plays [`co_listens`](Self::co_listens) of an item counts: when its plays last
    /// grew by one in [`CO_LISTEN_GROWTH`](crate::aggregates::CO_LISTEN_GROWTH). `None` without plays,
    /// or if they have no dates: all of them count.
    #[must_use]
    pub fn co_listens_through(&self, item_row: u32) -> Option<Day> {
        self.co_listens.day.get(item_row as usize).map(|&day| Day(day)).filter(|&day| day != Day(i32::MIN))
    }

    /// The user's state after all events of the snapshot; `None` if there is none for this row.
    #[must_use]
    pub fn user_state(&self, user_row: u32) -> Option<UserState> {
        self.states.of(self.user_key(user_row))
    }

    /// What the training rows are made from.
    #[must_use]
    pub fn examples_from(&self) -> ExamplesFrom {
        match &self.examples {
            ExampleStore::Owned(from, _) => *from,
            ExampleStore::Files(_) => self.manifest.examples_from,
        }
    }

    /// Loads the ranker's training rows.
    ///
    /// # Errors
    /// If their files are damaged.
    pub fn examples(&self) -> Result<Examples, DataError> {
        match &self.examples {
            ExampleStore::Owned(_, examples) => Ok((**examples).clone()),
            ExampleStore::Files(dir) => {
                let m = &self.manifest;
                let names = m.files.keys().filter(|name| name.starts_with("examples/"));
                example_files::load(dir, names, &m.feature_names, &self.user_keys, &self.item_keys)
            }
        }
    }

    /// First and last moment a play began; `None` without dated plays.
    #[must_use]
    pub fn time_range(&self) -> Option<(TimestampMs, TimestampMs)> {
        self.manifest.time_range
    }
}

/// Actions by code, for tables that count them.
pub(crate) fn action_counts(action: u8, listened_ms: u32) -> [u32; 4] {
    let action = Action::from_code(action);
    let stream = if listened_ms == u32::MAX {
        matches!(action, Some(Action::Streamed | Action::Completed))
    } else {
        i64::from(listened_ms) >= segue_types::label::STREAM_MS
    };
    [
        1,
        u32::from(stream),
        u32::from(action == Some(Action::Completed)),
        u32::from(action == Some(Action::Skipped)),
    ]
}
