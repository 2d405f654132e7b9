//! The engine: one home folder, opened.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use segue_data::{DataError, FeatureInput, Snapshot, UserState};
use segue_experiment::{Attributes, Units};
use segue_pipeline::{Clock, MonotonicClock, Runner, SideEffect, WorkerPool};
use segue_types::api::{
    EventsResponse, ExperimentsResponse, ExplanationResponse, ItemsResponse, NamedItem, NamedItemsResponse,
    NamedValue, PlayContribution, RecentPlay, ReplayResponse, ScoredItem, SimilarResponse, SlateRequest,
    SlateResponse, SourceExplanation, StandingFeedback, StatusResponse, UserResponse, UsersResponse,
};
use segue_types::slate::ItemDisplay;
use segue_types::validate::MAX_ID_BYTES;
use segue_types::{DAY_MS, Event, FeedbackKind, Item, ItemKey, SlateRecord, Surface, TimestampMs, UserKey};
use xxhash_rust::xxh3::xxh3_64;

use crate::catalogue::{CatalogueView, Part};
use crate::compose::compose;
use crate::config::EngineConfig;
use crate::deployment::Deployments;
use crate::drain;
use crate::error::EngineError;
use crate::experiments;
use crate::journal::{Journal, JournalHandle};
use crate::live::Live;
use crate::popularity::Popularity;
use crate::query::{History, Query};
use crate::replay;
use crate::slates::Slates;
use crate::storage::{FolderStorage, Storage};
use crate::store::{Store, UserEntry};

/// Most events or items in one call.
pub const MAX_BATCH: usize = 1_000;
/// Most cards a request may ask for per shelf.
pub const MAX_LIMIT: u32 = 100;
/// Plays listed of a listener.
const RECENT: usize = 50;
/// Plays listed per source of an explanation.
const MAX_EXPLAINED: usize = 20;
/// Largest experiment report that is served.
const MAX_REPORT_BYTES: u64 = 32 << 20;

/// Everything that serves one home folder. Shared behind an `Arc`; every method may be called from
/// many threads at once. All methods block (they may touch the disk): an async server calls them on
/// its blocking threads. Only `ingest`, `put_items`, `drain` and `shutdown` wait for the disk.
pub struct Engine {
    config: EngineConfig,
    home: PathBuf,
    runner: Runner,
    deployments: ArcSwap<Deployments>,
    parts: Arc<Parts>,
    drainer: Mutex<Option<JoinHandle<()>>>,
    notes: Vec<String>,
    request_token: u64,
    n_requests: AtomicU64,
    is_open: AtomicBool,
}

/// What the drainer's thread shares with the engine.
pub(crate) struct Parts {
    pub(crate) home: PathBuf,
    pub(crate) live: Arc<Live>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) journal: JournalHandle,
    pub(crate) slates: Slates,
    /// Tells logs of different state folders apart in the names of drained parts.
    pub(crate) token: u64,
    pub(crate) draining: Mutex<()>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("home", &self.home).finish_non_exhaustive()
    }
}

/// The current snapshot, or a note why there is none.
fn open_snapshot(home: &Path) -> Result<Arc<Snapshot>, String> {
    match Snapshot::open_current(home) {
        Ok(snapshot) => Ok(Arc::new(snapshot)),
        Err(DataError::Missing { .. }) => Err("no snapshot yet; `segue prepare` makes one".to_owned()),
        Err(e) => Err(format!("the current snapshot cannot be used: {e}")),
    }
}

/// Popularity as the snapshot knows it: plays by market and day, or undated counts.
fn popularity_of(snapshot: Option<&Snapshot>, now: TimestampMs, half_life_days: f64) -> Popularity {
    let zero = snapshot.and_then(Snapshot::time_range).map_or(now, |(_, last)| last);
    let mut popularity = Popularity::new(zero, half_life_days);
    if let Some(snapshot) = snapshot {
        for market in snapshot.markets() {
            for day in snapshot.market_days(market, segue_types::Day(i32::MAX)) {
                let noon = day.day.start().plus_ms(DAY_MS / 2);
                for (&row, &plays) in day.item.iter().zip(&day.plays) {
                    popularity.add(Some(market), snapshot.item_key(row), noon, plays);
                }
            }
        }
        for row in snapshot.profiles() {
            let plays = u32::try_from(row.n_plays).unwrap_or(u32::MAX);
            popularity.add(None, snapshot.item_key(row.item), zero, plays);
        }
    }
    popularity.refresh(true);
    popularity
}

impl Engine {
    /// Opens a home folder: recovers state, loads the deployment, starts the log's writer.
    /// A folder without snapshot or artifacts opens too and serves what it can.
    ///
    /// # Errors
    /// [`EngineError::Config`] for a wrong setting, [`EngineError::Io`] or [`EngineError::Store`]
    /// if the folder cannot be used.
    pub fn open(home: &Path, config: EngineConfig, now: TimestampMs) -> Result<Self, EngineError> {
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::default());
        let runner = match config.serving.source_threads as usize {
            0 => Runner::inline(clock),
            n => Runner::threaded(clock, WorkerPool::new(n).map_err(EngineError::io("segue-source"))?),
        };
        Self::open_with(home, config, now, runner)
    }

    /// [`open`](Self::open) with a runner of one's own, which brings its clock.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        home: &Path,
        config: EngineConfig,
        now: TimestampMs,
        runner: Runner,
    ) -> Result<Self, EngineError> {
        Self::open_over(home, config, now, runner, open_snapshot(home))
    }

    /// [`open_with`](Self::open_with) over a snapshot at hand, or a note why there is none, in
    /// place of the one that `snapshots/current` names.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_over(
        home: &Path,
        config: EngineConfig,
        now: TimestampMs,
        runner: Runner,
        snapshot: Result<Arc<Snapshot>, String>,
    ) -> Result<Self, EngineError> {
        config.check()?;
        let state = home.join("state");
        let storage: Arc<dyn Storage> =
            Arc::new(FolderStorage::new(&state).map_err(EngineError::io(&state))?);
        let store = Store::open(&state.join("users.redb"))?;
        let token = match store.meta("token")? {
            0 => {
                let token = xxh3_64(format!("{} {}", home.display(), now.0).as_bytes()).max(1);
                store.set_meta("token", token)?;
                token
            }
            token => token,
        };
        let mut notes = Vec::new();
        let snapshot = snapshot.map_err(|note| notes.push(note)).ok();
        let popularity = popularity_of(snapshot.as_deref(), now, config.serving.popularity_half_life_days);
        let live = Arc::new(Live::new(store, popularity.lists()));
        let base = snapshot.as_ref().map_or_else(Part::default, |s| Part::from_items(s.items()));
        live.catalogue.replace_base(base, &live.store.items()?);
        live.snapshot.store(snapshot.clone());
        if let Some((_, last)) = snapshot.as_deref().and_then(Snapshot::time_range) {
            live.saw(last);
        }
        let (journal, found) =
            Journal::open(Arc::clone(&storage), Arc::clone(&live), popularity, config.state.clone())?;
        notes.extend(found);
        let (rotated, signals) = sync_channel(1);
        let journal = JournalHandle::start(journal, rotated.clone())?;
        let (slates, found) =
            Slates::open(Arc::clone(&storage), config.state.segment_bytes, Arc::clone(&live), home, rotated)?;
        notes.extend(found);
        live.fill_directory()?;
        let deployments = Deployments::load(home, &config, snapshot, None);
        let parts = Arc::new(Parts {
            home: home.to_owned(),
            live,
            storage,
            journal,
            slates,
            token,
            draining: Mutex::new(()),
        });
        let drainer = start_drainer(Arc::clone(&parts), signals)?;
        for note in &notes {
            tracing::info!(note, "start");
        }
        Ok(Self {
            request_token: xxh3_64(format!("{token} {}", now.0).as_bytes()),
            config,
            home: home.to_owned(),
            runner,
            deployments: ArcSwap::from_pointee(deployments),
            parts,
            drainer: Mutex::new(Some(drainer)),
            notes,
            n_requests: AtomicU64::new(0),
            is_open: AtomicBool::new(true),
        })
    }

    /// The configuration this engine was opened with.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Composes Home.
    ///
    /// # Errors
    /// [`EngineError::Request`] for a field outside its range; never for want of data.
    pub fn home(&self, request: &SlateRequest, now: TimestampMs) -> Result<SlateResponse, EngineError> {
        self.serve(Surface::Home, request, now)
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
        self.serve(Surface::NowPlaying, request, now)
    }

    fn serve(
        &self,
        surface: Surface,
        request: &SlateRequest,
        now: TimestampMs,
    ) -> Result<SlateResponse, EngineError> {
        check_request(request)?;
        let mut request = request.clone();
        if request.request_id.is_none() {
            let n = self.n_requests.fetch_add(1, Ordering::Relaxed);
            request.request_id = Some(format!("r-{:016x}-{n:x}", self.request_token));
        }
        let (query, offset) = self.query(surface, &mut request, &Moment::Now(now))?;
        let explain = request.explain;
        let record = Arc::new(compose(&self.runner, &query, request, offset));
        self.parts.live.saw(record.now);
        self.parts.slates.run(&record);
        Ok(SlateResponse {
            slate: record.slate.clone(),
            record: explain.then(|| SlateRecord::clone(&record)),
        })
    }

    /// Composes each surface for a stranger and for the listeners with most plays, and keeps no record, until no
    /// stage runs out of time (at most five times): what a page reads first (models, catalogue, snapshot) is in
    /// memory, and threads are started, before a listener waits for it. Call it before traffic.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn warm_up(&self, now: TimestampMs) -> Result<(), EngineError> {
        let listeners = self.users("", 3).users.into_iter().map(|user| Some(user.user_id));
        for user_id in std::iter::once(None).chain(listeners) {
            for surface in [Surface::Home, Surface::NowPlaying] {
                for _ in 0..5 {
                    let mut request = SlateRequest { user_id: user_id.clone(), ..SlateRequest::default() };
                    let (query, offset) = self.query(surface, &mut request, &Moment::Now(now))?;
                    let record = compose(&self.runner, &query, request, offset);
                    if record.slate.degraded.iter().all(|stage| stage.cause != "timeout") {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// What the stages may know. Fills in the request's defaults.
    fn query(
        &self,
        surface: Surface,
        request: &mut SlateRequest,
        moment: &Moment<'_>,
    ) -> Result<(Arc<Query>, u64), EngineError> {
        let live = &self.parts.live;
        let user = request.user_id.as_deref().map(UserKey::of);
        let entry = match user {
            Some(key) => live.user(key)?.unwrap_or_else(|| Arc::new(UserEntry::default())),
            None => Arc::new(UserEntry::default()),
        };
        let facts = user.and_then(|key| live.facts(key)).unwrap_or_default();
        let now = match moment {
            Moment::Now(now) => entry.state.next_known_at(*now),
            Moment::Recorded(record) => record.now,
        };
        request.now = Some(now);
        if request.market.is_none() {
            request.market.clone_from(&facts.market);
        }
        let consent = facts.consent != Some(false);
        let holds = facts.valid_from.is_none_or(|from| from <= now);
        let hidden = entry.state.interactions().standing.iter();
        let hidden: Vec<ItemKey> = hidden
            .filter(|(_, s)| s.has(segue_data::folds::interactions::flag::HIDDEN))
            .map(|(&key, _)| ItemKey(key))
            .collect();
        let state = if consent { Arc::clone(&entry.state) } else { Arc::new(UserState::default()) };
        let deployments = self.deployments.load();
        let (deployment, arms) = match moment {
            Moment::Now(_) => {
                let units = Units {
                    user: request.user_id.as_deref(),
                    session: request.session_id.as_deref(),
                    request: request.request_id.as_deref(),
                };
                let attributes = Attributes {
                    market: request.market.as_deref(),
                    plan: facts.plan.as_deref(),
                    platform: request.platform.as_deref(),
                    app_version: request.app_version.as_deref(),
                    surface: Some(surface),
                };
                deployments.of_request(surface, &units, &attributes)
            }
            Moment::Recorded(record) => (deployments.of_arms(&record.arms), record.arms.clone()),
        };
        let mut history = History::of(&state);
        if consent && history.item.is_empty() {
            history = undated_history(deployment.snapshot.as_deref(), user);
        }
        let query = Query {
            surface,
            now,
            user,
            market: request.market.clone(),
            plan: facts.plan.filter(|_| consent && holds),
            birth_year: facts.birth_year_bucket.filter(|_| consent && holds),
            allow_explicit: facts.allow_explicit != Some(false),
            consent,
            current: request.current_item_id.as_deref().map(ItemKey::of),
            k: deployment.config.serving.candidates_per_source as usize,
            state,
            hidden,
            history,
            catalogue: live.catalogue.view(),
            deployment,
            arms,
            popular: live.popular.load_full(),
        };
        Ok((Arc::new(query), entry.offset))
    }

    /// Makes events durable and applies them to their listeners' state; returns after both.
    /// `now` becomes their `received_at`, or the first moment after everything known of a listener.
    ///
    /// # Errors
    /// [`EngineError::NotDurable`] if the log could not take them: none was acknowledged.
    pub fn ingest(&self, events: Vec<Event>, now: TimestampMs) -> Result<EventsResponse, EngineError> {
        check_batch("events", events.len())?;
        self.parts.live.saw(now);
        self.parts.journal.events(events, now)
    }

    /// Puts facts about items into the live catalogue, durably and at once. A row without
    /// `valid_from` holds from `now` on.
    ///
    /// # Errors
    /// As [`ingest`](Self::ingest).
    pub fn put_items(&self, items: Vec<Item>, now: TimestampMs) -> Result<ItemsResponse, EngineError> {
        check_batch("items", items.len())?;
        self.parts.live.saw(now);
        self.parts.journal.items(items, now)
    }

    /// The state the next slate of this listener will see.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn user(&self, user_id: &str, now: TimestampMs) -> Result<UserResponse, EngineError> {
        let live = &self.parts.live;
        let key = UserKey::of(user_id);
        let entry = live.user(key)?;
        let facts = live.facts(key);
        let is_known = entry.is_some() || facts.is_some();
        let entry = entry.unwrap_or_else(|| Arc::new(UserEntry::default()));
        let facts = facts.unwrap_or_default();
        let view = live.catalogue.view();
        let as_of = entry.state.next_known_at(now);
        let recent = entry.state.recent_plays().iter().rev().take(RECENT);
        let recent = recent
            .map(|play| {
                let (item_id, display) = name_of(&view, play.item, as_of);
                RecentPlay { item_id, occurred_at: play.occurred_at, action: play.action, display }
            })
            .collect();
        Ok(UserResponse {
            user_id: user_id.to_owned(),
            display_name: facts.display_name,
            market: facts.market,
            is_known,
            n_plays: entry.state.n_plays(),
            state_offset: entry.offset,
            recent,
            feedback: standing_feedback(&entry.state, &view, as_of),
            features: self.user_features(&entry.state, as_of),
        })
    }

    fn user_features(&self, state: &UserState, as_of: TimestampMs) -> Vec<NamedValue> {
        let deployments = self.deployments.load();
        let schema = &deployments.base.features;
        let mut row = vec![f32::NAN; schema.len()];
        let input = FeatureInput {
            state,
            item: ItemKey(0),
            facts: segue_data::ItemFacts::default(),
            stats: None,
            as_of,
            sources: &[],
        };
        schema.fill(&input, &mut row);
        let about_user = schema.names().iter().zip(row).filter(|(name, _)| name.starts_with("user."));
        about_user
            .map(|(name, v)| NamedValue { name: name.clone(), value: v.is_finite().then_some(f64::from(v)) })
            .collect()
    }

    /// Listeners whose id or name contains `query`, most plays first.
    #[must_use]
    pub fn users(&self, query: &str, limit: usize) -> UsersResponse {
        self.parts.live.users(query, limit)
    }

    /// Items like this one that can be played at `now`; `None` if neither the catalogue nor a
    /// model knows it.
    #[must_use]
    pub fn similar(&self, item_id: &str, k: usize, now: TimestampMs) -> Option<SimilarResponse> {
        let key = ItemKey::of(item_id);
        let view = self.parts.live.catalogue.view();
        let deployments = self.deployments.load();
        let found = deployments.base.similar(key, k.saturating_add(1));
        if found.is_none() && view.item(key, now).is_none() {
            return None;
        }
        let (model, neighbours) = found.unwrap_or(("none", Vec::new()));
        let items = neighbours.into_iter().filter(|&(item, _)| item != key).filter_map(|(item, score)| {
            let item = view.available(item, now)?;
            Some(ScoredItem { item_id: item.item_id.clone(), score, display: (&**item).into() })
        });
        Some(SimilarResponse {
            item_id: item_id.to_owned(),
            model: model.to_owned(),
            items: items.take(k).collect(),
        })
    }

    /// The items of these ids that the catalogue knows at `now`, in the order asked.
    #[must_use]
    pub fn items(&self, ids: &[&str], now: TimestampMs) -> NamedItemsResponse {
        let view = self.parts.live.catalogue.view();
        let known = ids.iter().filter_map(|id| view.item(ItemKey::of(id), now));
        let items = known.map(|item| NamedItem { item_id: item.item_id.clone(), display: (&**item).into() });
        NamedItemsResponse { items: items.collect() }
    }

    /// The experiments, running, stopped and refused.
    #[must_use]
    pub fn experiments(&self) -> ExperimentsResponse {
        ExperimentsResponse { experiments: self.deployments.load().experiments(&self.home) }
    }

    /// The HTML report of an experiment, if one was written.
    ///
    /// # Errors
    /// If the file is there and cannot be read, or is larger than 32 MiB.
    pub fn experiment_report(&self, name: &str) -> Result<Option<String>, EngineError> {
        let Some(path) = experiments::report_path(&self.home, name) else { return Ok(None) };
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(EngineError::io(&path)(e)),
            Ok(meta) if meta.len() > MAX_REPORT_BYTES => Err(EngineError::store(
                &path,
                format!("{} bytes; a report has at most {MAX_REPORT_BYTES}", meta.len()),
            )),
            Ok(_) => std::fs::read_to_string(&path).map(Some).map_err(EngineError::io(&path)),
        }
    }

    /// Why each source proposed an item of a slate: the plays that made its score. `None` if no
    /// record is kept, or the item was no candidate.
    ///
    /// The parts are worked out from the listener's state now; the answer says whether that is the
    /// state the slate saw.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn explanation(
        &self,
        slate_id: &str,
        item_id: &str,
    ) -> Result<Option<ExplanationResponse>, EngineError> {
        let Some((record, _)) = self.stored(slate_id)? else { return Ok(None) };
        let Some(candidate) = record.candidates.iter().find(|c| c.item_id == item_id) else {
            return Ok(None);
        };
        let mut request = record.request.clone();
        let (query, offset) = self.query(record.slate.surface, &mut request, &Moment::Recorded(&record))?;
        let is_current = offset == record.user_state_offset && query.deployment.id == record.deployment_id;
        let sources = candidate.sources.iter().map(|said| {
            let parts = query.deployment.model(&said.source).map_or_else(
                |_| Vec::new(),
                |model| model.explain(&query.history.keyed(&query), candidate.item_key),
            );
            let mut plays: Vec<PlayContribution> = parts
                .into_iter()
                .filter(|part| part.amount.is_finite() && part.amount != 0.0)
                .filter_map(|part| {
                    let key = query.history.item.get(part.history_idx).copied().or(query.current)?;
                    let occurred_at = query.history.occurred_at.get(part.history_idx).copied();
                    let (item_id, display) = name_of(&query.catalogue, key, query.now);
                    let occurred_at = occurred_at.map(TimestampMs);
                    Some(PlayContribution { item_id, display, occurred_at, amount: part.amount })
                })
                .collect();
            plays.sort_by(|a, b| {
                b.amount
                    .total_cmp(&a.amount)
                    .then(b.occurred_at.cmp(&a.occurred_at))
                    .then_with(|| a.item_id.cmp(&b.item_id))
            });
            plays.truncate(MAX_EXPLAINED);
            SourceExplanation { source: said.source.clone(), score: said.score, plays }
        });
        Ok(Some(ExplanationResponse {
            slate_id: slate_id.to_owned(),
            item_id: item_id.to_owned(),
            sources: sources.collect(),
            is_current,
        }))
    }

    /// The record of a slate; `None` if none is kept under this id.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn slate(&self, slate_id: &str) -> Result<Option<SlateRecord>, EngineError> {
        Ok(self.stored(slate_id)?.map(|(record, _)| record))
    }

    fn stored(&self, slate_id: &str) -> Result<Option<(SlateRecord, String)>, EngineError> {
        let Some(json) = self.parts.slates.find(slate_id)? else { return Ok(None) };
        let record = serde_json::from_str(&json)
            .map_err(|e| EngineError::store(&self.home, format!("record of slate `{slate_id}`: {e}")))?;
        Ok(Some((record, json)))
    }

    /// Recomposes a slate from its record alone: the selectors run again over the recorded pools.
    /// With `recompute` all stages run again, at the recorded moment against what is known now; it
    /// is first said where that differs from what the request saw. `None` if no record is kept.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn replay(&self, slate_id: &str, recompute: bool) -> Result<Option<ReplayResponse>, EngineError> {
        let Some((record, json)) = self.stored(slate_id)? else { return Ok(None) };
        let served = replay::served_bytes(&json).ok_or_else(|| {
            EngineError::store(&self.home, format!("record of slate `{slate_id}` holds no slate"))
        })?;
        let mut differences = Vec::new();
        let again = if recompute {
            let mut request = record.request.clone();
            let (query, offset) =
                self.query(record.slate.surface, &mut request, &Moment::Recorded(&record))?;
            if offset != record.user_state_offset {
                differences.push(format!(
                    "user state: the request saw offset {}, it is at {offset} now",
                    record.user_state_offset
                ));
            }
            if query.deployment.id != record.deployment_id {
                differences.push(format!(
                    "deployment: the request saw {}, now it is {}",
                    record.deployment_id, query.deployment.id
                ));
            }
            compose(&self.runner, &query, request, offset).slate
        } else {
            replay::recompose(&record)
        };
        let bytes = serde_json::to_string(&again)
            .map_err(|e| EngineError::store(&self.home, format!("slate `{slate_id}`: {e}")))?;
        let is_identical = bytes == served;
        if !is_identical {
            differences.extend(replay::differences(&record.slate, &again));
            if differences.is_empty() {
                differences.push("the bytes differ in a field that is not listed".to_owned());
            }
        }
        Ok(Some(ReplayResponse { slate_id: slate_id.to_owned(), is_identical, differences }))
    }

    /// What serves, and what start-up found. `is_ready` says that requests are answered and events
    /// taken; each model's own status says whether it serves as configured. `now` is the later of
    /// the argument and the latest moment seen.
    #[must_use]
    pub fn status(&self, now: TimestampMs) -> StatusResponse {
        let deployments = self.deployments.load();
        let deployment = &deployments.base;
        let mut notes = self.notes.clone();
        notes.extend(deployments.notes.iter().cloned());
        StatusResponse {
            is_ready: self.is_open.load(Ordering::SeqCst),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            deployment_id: deployment.id.clone(),
            snapshot_id: deployment.snapshot.as_ref().map(|s| s.id().to_owned()),
            client_clock: false,
            now: now.max(self.parts.live.latest()),
            surfaces: vec![Surface::Home, Surface::NowPlaying],
            models: deployments.models(),
            notes,
        }
    }

    /// Loads what `artifacts/*/current`, `snapshots/current` and `experiments/` hold now and swaps it in. A
    /// request that has begun goes on with what it took. A missing or corrupt artifact or snapshot
    /// keeps the last good one. Returns the status after it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn reload(&self, now: TimestampMs) -> Result<StatusResponse, EngineError> {
        let live = &self.parts.live;
        let before = self.deployments.load_full();
        let before_snapshot = &before.base.snapshot;
        let mut notes = Vec::new();
        let snapshot = match open_snapshot(&self.home) {
            Ok(snapshot) if before_snapshot.as_ref().is_some_and(|s| s.id() == snapshot.id()) => {
                before_snapshot.clone()
            }
            Ok(snapshot) => Some(snapshot),
            Err(note) => {
                if before_snapshot.is_some() {
                    notes.push(format!("snapshot: kept_previous: {note}"));
                }
                before_snapshot.clone()
            }
        };
        let is_new = snapshot.as_ref().map(|s| s.id()) != before_snapshot.as_ref().map(|s| s.id());
        let mut deployments = Deployments::load(&self.home, &self.config, snapshot.clone(), Some(&before));
        deployments.notes.extend(notes);
        if is_new {
            let half_life = self.config.serving.popularity_half_life_days;
            let popularity = popularity_of(snapshot.as_deref(), now, half_life);
            let base = snapshot.as_ref().map_or_else(Part::default, |s| Part::from_items(s.items()));
            // Items put since the last checkpoint are not in the store yet.
            self.parts.journal.close(false)?;
            live.catalogue.replace_base(base, &live.store.items()?);
            live.snapshot.store(snapshot);
            self.parts.journal.snapshot(popularity)?;
            live.fill_directory()?;
        }
        self.deployments.store(Arc::new(deployments));
        Ok(self.status(now))
    }

    /// Moves what the write-ahead log and the slate spool hold into `log/`, so that `prepare` sees
    /// it. Returns the number of events and slates moved. Happens by itself when a segment is full
    /// and at [`shutdown`](Self::shutdown).
    ///
    /// # Errors
    /// If a file cannot be written; what was not moved stays where it was.
    pub fn drain(&self) -> Result<(u64, u64), EngineError> {
        drain::drain(&self.parts, true)
    }

    /// Stops taking events, drains, and closes the stores. Later calls that write are refused.
    ///
    /// # Errors
    /// As [`drain`](Self::drain); the engine is closed all the same, and what was not drained is
    /// found at the next start.
    pub fn shutdown(&self) -> Result<(), EngineError> {
        if !self.is_open.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let drained = self.drain();
        self.close();
        drained.map(|_| ())
    }

    fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        self.parts.journal.stop();
        self.parts.slates.stop();
        // Both threads held the drainer's signal; with them gone it ends.
        let drainer = self.drainer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(drainer) = drainer
            && drainer.join().is_err()
        {
            tracing::error!("the drainer's thread panicked");
        }
    }
}

impl Drop for Engine {
    /// An engine dropped without [`shutdown`](Engine::shutdown) closes its files and drains
    /// nothing: the next start finds everything in the write-ahead log.
    fn drop(&mut self) {
        self.close();
    }
}

fn start_drainer(parts: Arc<Parts>, signals: Receiver<()>) -> Result<JoinHandle<()>, EngineError> {
    std::thread::Builder::new()
        .name("segue-drain".to_owned())
        .spawn(move || {
            while signals.recv().is_ok() {
                if let Err(e) = drain::drain(&parts, false) {
                    tracing::error!(error = %e, "full segments were not drained; they stay and are tried again");
                }
            }
        })
        .map_err(EngineError::io("segue-drain"))
}

/// The moment a query is made for.
enum Moment<'a> {
    /// A request of now: composed after everything known of its listener.
    Now(TimestampMs),
    /// A replay, with the recorded moment and arms.
    Recorded(&'a SlateRecord),
}

fn check_batch(field: &'static str, n: usize) -> Result<(), EngineError> {
    if n > MAX_BATCH {
        let message = format!("{n} in one call; send at most {MAX_BATCH} at a time");
        return Err(EngineError::Request { field, message });
    }
    Ok(())
}

fn check_request(request: &SlateRequest) -> Result<(), EngineError> {
    let ids = [
        ("request_id", &request.request_id),
        ("user_id", &request.user_id),
        ("market", &request.market),
        ("current_item_id", &request.current_item_id),
        ("session_id", &request.session_id),
        ("platform", &request.platform),
        ("app_version", &request.app_version),
    ];
    for (field, value) in ids {
        if let Some(v) = value
            && (v.is_empty() || v.len() > MAX_ID_BYTES || v.chars().any(char::is_control))
        {
            let message = format!("an id is 1 to {MAX_ID_BYTES} bytes without control characters");
            return Err(EngineError::Request { field, message });
        }
    }
    if let Some(limit) = request.limit
        && !(1..=MAX_LIMIT).contains(&limit)
    {
        let message = format!("{limit} is outside 1 to {MAX_LIMIT} cards");
        return Err(EngineError::Request { field: "limit", message });
    }
    Ok(())
}

/// What models may read of a listener whose data has no dates: their items, least played first, so
/// that the favourites come last like the latest plays of others.
fn undated_history(snapshot: Option<&Snapshot>, user: Option<UserKey>) -> History {
    let mut history = History::default();
    let row = snapshot.and_then(|s| Some((s, s.user_row(user?)?)));
    if let Some((snapshot, row)) = row {
        let mut played: Vec<(u64, ItemKey)> =
            snapshot.profile(row).iter().map(|p| (p.n_plays, snapshot.item_key(p.item))).collect();
        played.sort_unstable();
        history.item = played.into_iter().map(|(_, key)| key).collect();
    }
    history
}

/// External id and display of an item, an artist, or anything else feedback can be about.
fn name_of(view: &CatalogueView, key: ItemKey, at: TimestampMs) -> (String, ItemDisplay) {
    if let Some(item) = view.item(key, at) {
        return (item.item_id.clone(), (&**item).into());
    }
    let by = view.by_artist(key.0).into_iter().find_map(|item| view.item(item, at).cloned());
    let artist = by.as_deref().and_then(|item| {
        let i = item.artist_ids.iter().position(|id| ItemKey::of(id) == key)?;
        Some((item.artist_ids[i].clone(), item.artist_names.get(i).cloned()))
    });
    let (id, title) = artist.unwrap_or_else(|| (key.to_string(), None));
    let title = title.unwrap_or_else(|| id.clone());
    (id, ItemDisplay { title, ..ItemDisplay::default() })
}

fn standing_feedback(state: &UserState, view: &CatalogueView, at: TimestampMs) -> Vec<StandingFeedback> {
    use segue_data::folds::interactions::flag;
    let kinds = [
        (flag::SAVED, FeedbackKind::Save),
        (flag::LIKED, FeedbackKind::Like),
        (flag::DISLIKED, FeedbackKind::Dislike),
        (flag::HIDDEN, FeedbackKind::Hide),
        (flag::FOLLOWED, FeedbackKind::Follow),
    ];
    let mut out: Vec<StandingFeedback> = Vec::new();
    for (&key, standing) in &state.interactions().standing {
        let (target_id, display) = name_of(view, ItemKey(key), at);
        for (_, kind) in kinds.iter().filter(|(flag, _)| standing.has(*flag)) {
            out.push(StandingFeedback {
                target_id: target_id.clone(),
                kind: *kind,
                occurred_at: TimestampMs(standing.occurred_at),
                display: display.clone(),
            });
        }
    }
    out.sort_by(|a, b| b.occurred_at.cmp(&a.occurred_at).then_with(|| a.target_id.cmp(&b.target_id)));
    out
}
