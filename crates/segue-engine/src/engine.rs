//! The engine: one home folder, opened.

use std::path::{Path, PathBuf};

use segue_types::api::{
    EventsResponse, ItemsResponse, ReplayResponse, SimilarResponse, SlateRequest, SlateResponse,
    StatusResponse, UserResponse, UsersResponse,
};
use segue_types::{Event, Item, SlateRecord, TimestampMs};

use crate::config::EngineConfig;
use crate::error::EngineError;

/// Everything that serves one home folder. Shared behind an `Arc`; every method may be called from
/// many threads at once. All methods block (they may touch the disk): an async server calls them on
/// its blocking threads. Only `ingest`, `put_items`, `drain` and `shutdown` wait for the disk.
#[derive(Debug)]
pub struct Engine {
    home: PathBuf,
    config: EngineConfig,
}

impl Engine {
    /// Opens a home folder: recovers state, loads the deployment, starts the log's writer.
    /// A folder without snapshot or artifacts opens too and serves what it can.
    ///
    /// # Errors
    /// [`EngineError::Config`] for a wrong setting, [`EngineError::Io`] or [`EngineError::Store`]
    /// if the folder cannot be used.
    pub fn open(home: &Path, config: EngineConfig, now: TimestampMs) -> Result<Self, EngineError> {
        config.check()?;
        let _ = now;
        Ok(Self { home: home.to_owned(), config })
    }

    /// The configuration this engine was opened with.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    fn unavailable<T>(&self) -> Result<T, EngineError> {
        Err(EngineError::store(&self.home, "this build of the engine does not serve yet"))
    }

    /// Composes Home.
    ///
    /// # Errors
    /// [`EngineError::Request`] for a field outside its range; never for want of data.
    pub fn home(&self, request: &SlateRequest, now: TimestampMs) -> Result<SlateResponse, EngineError> {
        let _ = (request, now);
        self.unavailable()
    }

    /// Composes the queue of Now Playing.
    ///
    /// # Errors
    /// As [`home`](Self::home).
    pub fn now_playing(
        &self,
        request: &SlateRequest,
        now: TimestampMs,
    ) -> Result<SlateResponse, EngineError> {
        let _ = (request, now);
        self.unavailable()
    }

    /// Makes events durable and applies them to their listeners' state; returns after both.
    /// `now` becomes their `received_at`.
    ///
    /// # Errors
    /// [`EngineError::NotDurable`] if the log could not take them: none was acknowledged.
    pub fn ingest(&self, events: Vec<Event>, now: TimestampMs) -> Result<EventsResponse, EngineError> {
        let _ = (events, now);
        self.unavailable()
    }

    /// Puts facts about items into the live catalogue, durably and at once.
    ///
    /// # Errors
    /// As [`ingest`](Self::ingest).
    pub fn put_items(&self, items: Vec<Item>, now: TimestampMs) -> Result<ItemsResponse, EngineError> {
        let _ = (items, now);
        self.unavailable()
    }

    /// The state the next slate of this listener will see.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn user(&self, user_id: &str, now: TimestampMs) -> Result<UserResponse, EngineError> {
        let _ = (user_id, now);
        self.unavailable()
    }

    /// Listeners whose id or name contains `query`, most plays first.
    #[must_use]
    pub fn users(&self, query: &str, limit: usize) -> UsersResponse {
        let _ = (query, limit);
        UsersResponse { users: Vec::new(), n_total: 0 }
    }

    /// Items like this one; `None` if no model knows it.
    #[must_use]
    pub fn similar(&self, item_id: &str, k: usize, now: TimestampMs) -> Option<SimilarResponse> {
        let _ = (item_id, k, now);
        None
    }

    /// The record of a slate; `None` if none is kept under this id.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn slate(&self, slate_id: &str) -> Result<Option<SlateRecord>, EngineError> {
        let _ = slate_id;
        Ok(None)
    }

    /// Recomposes a slate from its record; with `recompute`, runs the stages again. `None` if no
    /// record is kept under this id.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn replay(&self, slate_id: &str, recompute: bool) -> Result<Option<ReplayResponse>, EngineError> {
        let _ = (slate_id, recompute);
        Ok(None)
    }

    /// What serves, and what start-up found.
    #[must_use]
    pub fn status(&self, now: TimestampMs) -> StatusResponse {
        StatusResponse {
            is_ready: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            deployment_id: String::new(),
            snapshot_id: None,
            client_clock: false,
            now,
            surfaces: Vec::new(),
            models: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Loads what `artifacts/*/current` and `snapshots/current` point to now and swaps it in.
    /// A missing or corrupt artifact keeps the last good one. Returns the status after it.
    ///
    /// # Errors
    /// If the home folder cannot be read at all.
    pub fn reload(&self, now: TimestampMs) -> Result<StatusResponse, EngineError> {
        Ok(self.status(now))
    }

    /// Moves what the write-ahead log and the slate spool hold into `log/` and `slates/`, so that
    /// `prepare` sees it. Returns the number of events and slates moved.
    ///
    /// # Errors
    /// If a file cannot be written; what was not moved stays where it was.
    pub fn drain(&self) -> Result<(u64, u64), EngineError> {
        Ok((0, 0))
    }

    /// Stops taking events, drains, and closes the stores.
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub fn shutdown(&self) -> Result<(), EngineError> {
        self.drain().map(|_| ())
    }
}
