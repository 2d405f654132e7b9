//! The embedded store behind the write-ahead log: one blob per listener, put items, event ids.
//!
//! Written only at checkpoints, each one durable transaction; what came after the last checkpoint
//! is in the write-ahead log.

use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use segue_data::UserState;
use segue_types::{EventKey, Item, TimestampMs, UserKey};

use crate::error::EngineError;

const USERS: TableDefinition<u128, &[u8]> = TableDefinition::new("users");
const ITEMS: TableDefinition<(u64, i64), &[u8]> = TableDefinition::new("items");
const EVENT_IDS: TableDefinition<u64, u128> = TableDefinition::new("event_ids");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const SLATES: TableDefinition<u128, (i32, u32)> = TableDefinition::new("slates");
const BLOB_VERSION: u8 = 1;

/// A listener as stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserEntry {
    /// External id.
    pub user_id: String,
    /// Log offset of the latest event in the state.
    pub offset: u64,
    /// Start of the latest play, if any.
    pub last_played_at: Option<TimestampMs>,
    /// Everything the folds know.
    pub state: Arc<UserState>,
}

/// The head of a stored listener: enough for lists, without decoding the state.
#[derive(Debug, Clone, PartialEq)]
pub struct UserHead {
    /// External id.
    pub user_id: String,
    /// Log offset of the latest event in the state.
    pub offset: u64,
    /// Plays.
    pub n_plays: u64,
    /// Start of the latest play, if any.
    pub last_played_at: Option<TimestampMs>,
}

impl UserEntry {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![BLOB_VERSION];
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.state.n_plays().to_le_bytes());
        out.extend_from_slice(&self.last_played_at.map_or(i64::MIN, |t| t.0).to_le_bytes());
        let id = self.user_id.as_bytes();
        out.extend_from_slice(&(id.len() as u16).to_le_bytes());
        out.extend_from_slice(id);
        self.state.encode(&mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = UserHead::decode(bytes)?;
        Some(Self {
            user_id: head.user_id,
            offset: head.offset,
            last_played_at: head.last_played_at,
            state: Arc::new(UserState::decode(rest)?),
        })
    }
}

impl UserHead {
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&version, rest) = bytes.split_first()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (n_plays, rest) = rest.split_first_chunk::<8>()?;
        let (last, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (id, rest) = rest.split_at_checked(u16::from_le_bytes(*len) as usize)?;
        let last = i64::from_le_bytes(*last);
        let head = Self {
            user_id: std::str::from_utf8(id).ok()?.to_owned(),
            offset: u64::from_le_bytes(*offset),
            n_plays: u64::from_le_bytes(*n_plays),
            last_played_at: (last != i64::MIN).then_some(TimestampMs(last)),
        };
        (version == BLOB_VERSION).then_some((head, rest))
    }
}

/// What one checkpoint writes.
#[derive(Debug, Default)]
pub struct Checkpoint<'a> {
    /// Every log record up to this offset is contained.
    pub offset: u64,
    /// Listeners that changed.
    pub users: Vec<(UserKey, &'a UserEntry)>,
    /// Items put since the last checkpoint.
    pub items: &'a [Item],
    /// Offsets and ids of events accepted since the last checkpoint.
    pub event_ids: &'a [(u64, EventKey)],
    /// Event ids below this offset are forgotten.
    pub forget_ids_below: u64,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: std::path::PathBuf,
}

impl Store {
    /// Opens or makes the store in `file`.
    ///
    /// # Errors
    /// If it cannot be opened, for instance because another process has it open.
    pub fn open(file: &Path) -> Result<Self, EngineError> {
        if !file.exists() {
            // Making a database takes several writes; a power cut among them would leave a file
            // that is none. So it is made under another name and renamed when it is whole.
            let new = file.with_extension("new");
            if new.exists() {
                std::fs::remove_file(&new).map_err(EngineError::io(&new))?;
            }
            drop(Self::with(Database::create(&new).map_err(|e| EngineError::store(&new, e))?, &new)?);
            std::fs::rename(&new, file).map_err(EngineError::io(file))?;
            if let Some(folder) = file.parent() {
                let synced = std::fs::File::open(folder).and_then(|f| f.sync_all());
                synced.map_err(EngineError::io(folder))?;
            }
        }
        let database = Database::create(file)
            .map_err(|e| EngineError::store(file, format!("{e}; is another server running on this home?")))?;
        Self::with(database, file)
    }

    pub(crate) fn with(database: Database, path: &Path) -> Result<Self, EngineError> {
        let store = Self { database, path: path.to_owned() };
        store.write(|t| {
            t.open_table(USERS)?;
            t.open_table(ITEMS)?;
            t.open_table(EVENT_IDS)?;
            t.open_table(META)?;
            t.open_table(SLATES)?;
            Ok(())
        })?;
        Ok(store)
    }

    fn write(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), EngineError> {
        let run = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            work(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        run().map_err(|e| EngineError::store(&self.path, e))
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, EngineError> {
        let run = || -> Result<T, redb::Error> { work(&self.database.begin_read()?) };
        run().map_err(|e| EngineError::store(&self.path, e))
    }

    /// A number kept under a name; 0 if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn meta(&self, name: &str) -> Result<u64, EngineError> {
        self.read(|t| Ok(t.open_table(META)?.get(name)?.map_or(0, |v| v.value())))
    }

    /// Keeps a number under a name, durably.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn set_meta(&self, name: &str, value: u64) -> Result<(), EngineError> {
        self.write(|t| {
            t.open_table(META)?.insert(name, value)?;
            Ok(())
        })
    }

    /// A listener; `None` if unknown, or stored by a version this one does not read.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn user(&self, key: UserKey) -> Result<Option<UserEntry>, EngineError> {
        self.read(|t| Ok(t.open_table(USERS)?.get(key.0)?.and_then(|v| UserEntry::decode(v.value()))))
    }

    /// The heads of all listeners. The second number counts those of an unreadable version.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn heads(&self) -> Result<(Vec<(UserKey, UserHead)>, usize), EngineError> {
        self.read(|t| {
            let (mut heads, mut unreadable) = (Vec::new(), 0);
            for row in t.open_table(USERS)?.iter()? {
                let (key, value) = row?;
                match UserHead::decode(value.value()) {
                    Some((head, _)) => heads.push((UserKey(key.value()), head)),
                    None => unreadable += 1,
                }
            }
            Ok((heads, unreadable))
        })
    }

    /// Items put through the API, by key and validity.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn items(&self) -> Result<Vec<Item>, EngineError> {
        self.read(|t| {
            let mut items = Vec::new();
            for row in t.open_table(ITEMS)?.iter()? {
                items.extend(serde_json::from_slice::<Item>(row?.1.value()).ok());
            }
            Ok(items)
        })
    }

    /// Offsets and ids of the latest events, by offset.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn event_ids(&self) -> Result<Vec<(u64, EventKey)>, EngineError> {
        self.read(|t| {
            let mut ids = Vec::new();
            for row in t.open_table(EVENT_IDS)?.iter()? {
                let (offset, key) = row?;
                ids.push((offset.value(), EventKey(key.value())));
            }
            Ok(ids)
        })
    }

    /// Writes a checkpoint: all of it, durably, or none.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn checkpoint(&self, checkpoint: &Checkpoint<'_>) -> Result<(), EngineError> {
        self.write(|t| {
            let mut users = t.open_table(USERS)?;
            for (key, entry) in &checkpoint.users {
                users.insert(key.0, entry.encode().as_slice())?;
            }
            let mut items = t.open_table(ITEMS)?;
            for item in checkpoint.items {
                let key = segue_types::ItemKey::of(&item.item_id).0;
                let from = item.valid_from.map_or(i64::MIN, |at| at.0);
                items.insert((key, from), serde_json::to_vec(item).unwrap_or_default().as_slice())?;
            }
            let mut ids = t.open_table(EVENT_IDS)?;
            for (offset, key) in checkpoint.event_ids {
                ids.insert(offset, key.0)?;
            }
            ids.retain_in(..checkpoint.forget_ids_below, |_, _| false)?;
            t.open_table(META)?.insert("checkpoint_offset", checkpoint.offset)?;
            Ok(())
        })
    }

    /// Notes in which day and user bucket of the log drained slates lie.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn index_slates(&self, slates: &[(u128, i32, u32)]) -> Result<(), EngineError> {
        self.write(|t| {
            let mut table = t.open_table(SLATES)?;
            for &(key, day, bucket) in slates {
                table.insert(key, (day, bucket))?;
            }
            Ok(())
        })
    }

    /// Day and user bucket of a drained slate.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn slate_place(&self, key: u128) -> Result<Option<(i32, u32)>, EngineError> {
        self.read(|t| Ok(t.open_table(SLATES)?.get(key)?.map(|v| v.value())))
    }
}
