//! The listeners as they are now: what readers share with the journal that writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use segue_data::Snapshot;
use segue_types::api::{UserSummary, UsersResponse};
use segue_types::{TimestampMs, User, UserKey};
use xxhash_rust::xxh3::xxh3_64;

use crate::catalogue::LiveCatalogue;
use crate::error::EngineError;
use crate::popularity::PopularLists;
use crate::store::{Checkpoint, Store, UserEntry};

/// Name under which the store keeps the snapshot whose states were taken over.
const ADOPTED: &str = "adopted_snapshot";

/// State shared between requests and the journal. Requests only read.
#[derive(Debug)]
pub struct Live {
    /// Listeners that changed since the last checkpoint, and some that did not.
    users: RwLock<HashMap<UserKey, Arc<UserEntry>>>,
    /// Everybody else.
    pub store: Store,
    /// What was prepared: states of listeners not met since, and their facts.
    pub snapshot: ArcSwapOption<Snapshot>,
    /// Items.
    pub catalogue: LiveCatalogue,
    /// Popular lists.
    pub popular: Arc<ArcSwap<PopularLists>>,
    directory: RwLock<HashMap<UserKey, UserSummary>>,
    latest_ms: AtomicI64,
}

impl Live {
    /// Shared state over a store.
    #[must_use]
    pub fn new(store: Store, popular: Arc<ArcSwap<PopularLists>>) -> Self {
        Self {
            users: RwLock::default(),
            store,
            snapshot: ArcSwapOption::empty(),
            catalogue: LiveCatalogue::default(),
            popular,
            directory: RwLock::default(),
            latest_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// The listener's entry: in memory, else stored, else from the snapshot; `None` if unknown.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn user(&self, key: UserKey) -> Result<Option<Arc<UserEntry>>, EngineError> {
        if let Some(entry) = self.users.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Some(Arc::clone(entry)));
        }
        if let Some(entry) = self.store.user(key)? {
            return Ok(Some(Arc::new(entry)));
        }
        let snapshot = self.snapshot.load();
        Ok(snapshot.as_deref().and_then(|snapshot| {
            let row = snapshot.user_row(key)?;
            let state = snapshot.user_state(row)?;
            let user_id = snapshot.users()[row as usize].user_id.clone();
            let last_played_at =
                (state.n_plays() > 0).then(|| TimestampMs(state.user_features().last_played_at));
            Some(Arc::new(UserEntry { user_id, offset: 0, last_played_at, state: Arc::new(state) }))
        }))
    }

    /// What is known of a listener, from the snapshot.
    #[must_use]
    pub fn facts(&self, key: UserKey) -> Option<User> {
        let snapshot = self.snapshot.load();
        let snapshot = snapshot.as_deref()?;
        Some(snapshot.users()[snapshot.user_row(key)? as usize].clone())
    }

    /// Puts entries in place, for the journal.
    pub(crate) fn publish(&self, entries: Vec<(UserKey, UserEntry)>) {
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        for (key, entry) in &entries {
            let row = directory.entry(*key).or_insert_with(|| summary(&entry.user_id, self.facts(*key)));
            row.n_plays = entry.state.n_plays();
            row.last_played_at = entry.last_played_at;
        }
        drop(directory);
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        users.extend(entries.into_iter().map(|(key, entry)| (key, Arc::new(entry))));
    }

    /// Forgets entries in memory that the store holds too, once there are more than `keep`.
    pub(crate) fn trim(&self, keep: usize) {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        if users.len() > keep {
            users.clear();
        }
    }

    /// Takes over the snapshot's state of every stored listener of whom it knows as much or more:
    /// years of history may have been imported since. A listener with events at or after offset
    /// `first_held`, which no snapshot can hold yet, keeps theirs. The store has to be at
    /// `checkpoint_offset`. Returns the number taken over.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub(crate) fn adopt_snapshot(&self, checkpoint_offset: u64, first_held: u64) -> Result<u64, EngineError> {
        let snapshot = self.snapshot.load_full();
        let Some(snapshot) = snapshot.as_deref() else { return Ok(0) };
        let token = xxh3_64(snapshot.id().as_bytes());
        if self.store.meta(ADOPTED)? == token {
            return Ok(0);
        }
        let mut adopted: Vec<(UserKey, UserEntry)> = Vec::new();
        for (key, head) in self.store.heads()?.0.into_iter().filter(|(_, head)| head.offset < first_held) {
            let prepared = snapshot.user_row(key).and_then(|row| snapshot.user_state(row));
            let (Some(prepared), Some(entry)) = (prepared, self.store.user(key)?) else { continue };
            if prepared.last_known_at() >= entry.state.last_known_at() && prepared != *entry.state {
                let last_played_at = TimestampMs(prepared.user_features().last_played_at);
                let last_played_at = (prepared.n_plays() > 0).then_some(last_played_at);
                let user_id = head.user_id;
                adopted
                    .push((key, UserEntry { user_id, last_played_at, state: Arc::new(prepared), ..entry }));
            }
        }
        let users = adopted.iter().map(|(key, entry)| (*key, entry)).collect();
        self.store.checkpoint(&Checkpoint { offset: checkpoint_offset, users, ..Checkpoint::default() })?;
        self.store.set_meta(ADOPTED, token)?;
        self.trim(0);
        Ok(adopted.len() as u64)
    }

    /// Fills the list of listeners from the snapshot and the store.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn fill_directory(&self) -> Result<(), EngineError> {
        let mut rows: HashMap<UserKey, UserSummary> = HashMap::new();
        if let Some(snapshot) = self.snapshot.load().as_deref() {
            for row in 0..snapshot.n_users() {
                let user = &snapshot.users()[row as usize];
                let mut line = summary(&user.user_id, Some(user.clone()));
                line.n_plays = snapshot.n_plays(row) as u64;
                line.last_played_at = snapshot.last_played_at(row);
                rows.insert(snapshot.user_key(row), line);
            }
        }
        for (key, head) in self.store.heads()?.0 {
            let line = rows.entry(key).or_insert_with(|| summary(&head.user_id, None));
            line.n_plays = head.n_plays;
            line.last_played_at = head.last_played_at;
        }
        for (key, entry) in self.users.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let line = rows.entry(*key).or_insert_with(|| summary(&entry.user_id, None));
            line.n_plays = entry.state.n_plays();
            line.last_played_at = entry.last_played_at;
        }
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = rows;
        Ok(())
    }

    /// Listeners whose id or name contains `query` (case does not matter), most plays first, ties
    /// by id.
    #[must_use]
    pub fn users(&self, query: &str, limit: usize) -> UsersResponse {
        let needle = query.to_lowercase();
        let directory = self.directory.read().unwrap_or_else(PoisonError::into_inner);
        let contains = |text: &str| text.to_lowercase().contains(&needle);
        let mut found: Vec<&UserSummary> = directory
            .values()
            .filter(|u| contains(&u.user_id) || u.display_name.as_deref().is_some_and(contains))
            .collect();
        found.sort_unstable_by(|a, b| b.n_plays.cmp(&a.n_plays).then(a.user_id.cmp(&b.user_id)));
        let n_total = found.len() as u64;
        UsersResponse { users: found.into_iter().take(limit).cloned().collect(), n_total }
    }

    /// Notes a moment that was seen.
    pub fn saw(&self, at: TimestampMs) {
        self.latest_ms.fetch_max(at.0, Ordering::Relaxed);
    }

    /// The latest moment seen.
    #[must_use]
    pub fn latest(&self) -> TimestampMs {
        TimestampMs(self.latest_ms.load(Ordering::Relaxed))
    }
}

fn summary(user_id: &str, facts: Option<User>) -> UserSummary {
    UserSummary {
        user_id: user_id.to_owned(),
        display_name: facts.as_ref().and_then(|f| f.display_name.clone()),
        market: facts.and_then(|f| f.market),
        n_plays: 0,
        last_played_at: None,
    }
}
