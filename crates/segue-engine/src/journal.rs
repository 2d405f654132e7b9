//! The one writer of user state: events become durable, then visible, then acknowledged.
//!
//! Callers hand batches to one thread; it takes all that wait, writes them with one sync (group
//! commit), applies them to their listeners and answers. Duplicates are decided here, by event id,
//! among the latest [`dedupe_horizon_events`](crate::config::StateConfig) events at least, across
//! restarts. An event's `received_at` is the moment of receipt, but always after everything known
//! of its listener, so that the folds see one order here and in `prepare`.

use std::collections::{HashMap, HashSet, VecDeque, hash_map};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use segue_types::api::{EventsResponse, ItemsResponse, RejectedEvent};
use segue_types::{Event, EventKey, Item, RejectReason, TimestampMs, UserKey};
use serde::{Deserialize, Serialize};

use crate::config::StateConfig;
use crate::error::EngineError;
use crate::live::Live;
use crate::popularity::Popularity;
use crate::storage::Storage;
use crate::store::{Checkpoint, Store, UserEntry};
use crate::wal::Wal;

/// Name of the write-ahead log's segments.
pub const PREFIX: &str = "events";
/// Listeners kept in memory after a checkpoint.
const KEEP_USERS: usize = 10_000;

/// One record of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// An accepted event, `received_at` stamped.
    Event(Event),
    /// A put item, `valid_from` stamped.
    Item(Item),
}

/// What callers ask of the journal.
#[derive(Debug)]
pub(crate) enum Request {
    Events(Vec<Event>, TimestampMs, Sender<Result<EventsResponse, String>>),
    Items(Vec<Item>, TimestampMs, Sender<Result<ItemsResponse, String>>),
    /// Checkpoint, close the current segment if asked to, and list the closed ones.
    Close(bool, Sender<Result<Vec<(u64, u64)>, String>>),
    /// Remove a drained segment.
    Remove(u64, Sender<Result<(), String>>),
    /// A new snapshot is in place: take over its states and popularity.
    Snapshot(Box<Popularity>, Sender<Result<u64, String>>),
    Stop,
}

/// The journal without its thread: deterministic, for tests and recovery.
#[derive(Debug)]
pub(crate) struct Journal {
    wal: Wal,
    live: Arc<Live>,
    popularity: Popularity,
    config: StateConfig,
    recent_ids: HashSet<EventKey>,
    recent_order: VecDeque<(u64, EventKey)>,
    /// Changed since the last checkpoint.
    dirty: HashSet<UserKey>,
    new_ids: Vec<(u64, EventKey)>,
    new_items: Vec<Item>,
    last_offset: u64,
    checkpoint_offset: u64,
    /// Durable records could not be applied: nothing more is taken or checkpointed, so that the
    /// next start applies them from the log.
    is_behind: bool,
}

impl Journal {
    /// Recovers: loads what the store holds and applies what the log holds beyond it.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        live: Arc<Live>,
        popularity: Popularity,
        config: StateConfig,
    ) -> Result<(Self, Vec<String>), EngineError> {
        let store: &Store = &live.store;
        let checkpoint_offset = store.meta("checkpoint_offset")?;
        let mut records: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut already = 0_u64;
        let (wal, found) =
            Wal::open(storage, PREFIX, config.segment_bytes, checkpoint_offset + 1, |offset, _, payload| {
                if offset > checkpoint_offset {
                    records.push((offset, payload.to_vec()));
                } else {
                    already += 1;
                }
            })
            .map_err(|e| EngineError::store("state", e))?;
        let mut journal = Self {
            wal,
            live: Arc::clone(&live),
            popularity,
            config,
            recent_ids: HashSet::new(),
            recent_order: VecDeque::new(),
            dirty: HashSet::new(),
            new_ids: Vec::new(),
            new_items: Vec::new(),
            last_offset: checkpoint_offset,
            checkpoint_offset,
            is_behind: false,
        };
        // Before the log's records are applied on top.
        let n_adopted = live.adopt_snapshot(checkpoint_offset, journal.wal.first_held())?;
        for (offset, key) in live.store.event_ids()? {
            journal.remember(offset, key);
        }
        journal.new_ids.clear();
        let n_records = records.len();
        let mut entries = Vec::with_capacity(n_records);
        for (offset, payload) in records {
            let entry: Entry = serde_json::from_slice(&payload).map_err(|e| {
                EngineError::store("state", format!("record {offset} of the write-ahead log: {e}"))
            })?;
            entries.push((offset, entry));
        }
        journal.apply(entries)?;
        journal.popularity.refresh(true);
        let mut notes = found.notes;
        if n_records > 0 {
            notes.push(format!(
                "recovered {n_records} records from the write-ahead log, up to offset {}",
                journal.last_offset
            ));
        }
        if n_adopted > 0 {
            notes.push(format!(
                "the snapshot knows more of {n_adopted} listeners; their states are its own now"
            ));
        }
        if already > 0 {
            notes.push(format!("{already} records of the write-ahead log wait to be drained into log/"));
        }
        Ok((journal, notes))
    }

    fn remember(&mut self, offset: u64, key: EventKey) {
        self.recent_ids.insert(key);
        self.recent_order.push_back((offset, key));
        self.new_ids.push((offset, key));
        while self.recent_order.len() > self.config.dedupe_horizon_events as usize {
            if let Some((_, old)) = self.recent_order.pop_front() {
                self.recent_ids.remove(&old);
            }
        }
    }

    /// Applies durable entries to listeners, catalogue and popularity.
    fn apply(&mut self, entries: Vec<(u64, Entry)>) -> Result<(), EngineError> {
        let mut view = self.live.catalogue.view();
        // Items come in runs: each run is put at once, before the event that follows it.
        let mut put: Vec<Item> = Vec::new();
        let mut changed: HashMap<UserKey, UserEntry> = HashMap::new();
        let mut order: Vec<UserKey> = Vec::new();
        for (offset, entry) in entries {
            self.last_offset = offset;
            let event = match entry {
                Entry::Event(event) => event,
                Entry::Item(item) => {
                    put.push(item);
                    continue;
                }
            };
            if !put.is_empty() {
                self.live.catalogue.put(&put);
                view = self.live.catalogue.view();
                self.new_items.append(&mut put);
            }
            self.remember(offset, EventKey::of(event.event_id()));
            let key = UserKey::of(event.user_id());
            let user = match changed.entry(key) {
                hash_map::Entry::Occupied(entry) => entry.into_mut(),
                hash_map::Entry::Vacant(slot) => {
                    order.push(key);
                    let known = self.live.user(key)?;
                    slot.insert(known.map_or_else(UserEntry::default, |e| UserEntry::clone(&e)))
                }
            };
            if user.user_id.is_empty() {
                user.user_id = event.user_id().to_owned();
            }
            // The same rules ran before it was accepted; what the folds still refuse, `prepare`
            // refuses too, so both sides agree.
            if let Err(reason) = Arc::make_mut(&mut user.state).update(&event, &*view) {
                tracing::warn!(event_id = event.event_id(), %reason, "event not applied");
            } else if let Event::Play(play) = &event {
                user.last_played_at = user.last_played_at.max(Some(play.occurred_at));
                let market = self.live.facts(key).and_then(|f| f.market);
                self.popularity.add(
                    market.as_deref(),
                    segue_types::ItemKey::of(&play.item_id),
                    event.known_at(),
                    1,
                );
            }
            user.offset = offset;
            self.live.saw(event.known_at());
        }
        if !put.is_empty() {
            self.live.catalogue.put(&put);
            self.new_items.append(&mut put);
        }
        self.dirty.extend(order.iter().copied());
        let entries = order.into_iter().filter_map(|key| changed.remove_entry(&key)).collect();
        self.live.publish(entries);
        self.popularity.refresh(false);
        Ok(())
    }

    /// Takes the requests that wait: one write, one sync, then the answers.
    pub(crate) fn commit(&mut self, requests: Vec<Request>) {
        enum Reply {
            Events(EventsResponse, Sender<Result<EventsResponse, String>>),
            Items(ItemsResponse, Sender<Result<ItemsResponse, String>>),
        }
        let mut accepted: Vec<Entry> = Vec::new();
        let mut replies: Vec<Reply> = Vec::new();
        let mut in_batch: HashSet<EventKey> = HashSet::new();
        let mut next_known: HashMap<UserKey, TimestampMs> = HashMap::new();
        for request in requests {
            match request {
                Request::Events(events, now, reply) => {
                    let response = self.accept(events, now, &mut in_batch, &mut next_known, &mut accepted);
                    match response {
                        Ok(response) => replies.push(Reply::Events(response, reply)),
                        Err(e) => drop(reply.send(Err(e.to_string()))),
                    }
                }
                Request::Items(items, now, reply) => {
                    let mut response = ItemsResponse { n_accepted: 0, rejected: Vec::new() };
                    for (index, mut item) in items.into_iter().enumerate() {
                        if let Err(e) = item.validate() {
                            response.rejected.push(rejected(index, e.reason, e.to_string()));
                            continue;
                        }
                        // "At once" has a moment, so that a later request can tell before from after.
                        item.valid_from.get_or_insert(now);
                        response.n_accepted += 1;
                        accepted.push(Entry::Item(item));
                    }
                    replies.push(Reply::Items(response, reply));
                }
                Request::Close(..) | Request::Remove(..) | Request::Snapshot(..) | Request::Stop => {}
            }
        }
        let result = self.write(accepted);
        for reply in replies {
            // A caller that has gone away does not need its answer.
            match reply {
                Reply::Events(response, to) => drop(to.send(result.clone().map(|()| response))),
                Reply::Items(response, to) => drop(to.send(result.clone().map(|()| response))),
            }
        }
    }

    fn accept(
        &self,
        events: Vec<Event>,
        now: TimestampMs,
        in_batch: &mut HashSet<EventKey>,
        next_known: &mut HashMap<UserKey, TimestampMs>,
        accepted: &mut Vec<Entry>,
    ) -> Result<EventsResponse, EngineError> {
        let mut response = EventsResponse { n_accepted: 0, n_duplicates: 0, rejected: Vec::new() };
        // A request's events come in any order; the listener lived them in one.
        let mut order: Vec<usize> = (0..events.len()).collect();
        order.sort_by_key(|&i| (events[i].occurred_at(), i));
        let mut events: Vec<Option<Event>> = events.into_iter().map(Some).collect();
        for index in order {
            let Some(mut event) = events[index].take() else { continue };
            // A client cannot say when the server got it.
            event.set_received_at(now);
            if let Err(e) = event.validate(now) {
                response.rejected.push(rejected(index, e.reason, e.to_string()));
                continue;
            }
            let id = EventKey::of(event.event_id());
            if self.recent_ids.contains(&id) || !in_batch.insert(id) {
                response.n_duplicates += 1;
                continue;
            }
            let user = UserKey::of(event.user_id());
            let known_at = match next_known.get(&user) {
                Some(&next) => next.max(now),
                None => self.live.user(user)?.map_or(now, |entry| entry.state.next_known_at(now)),
            };
            next_known.insert(user, known_at.plus_ms(1));
            event.set_received_at(known_at);
            response.n_accepted += 1;
            accepted.push(Entry::Event(event));
        }
        response.rejected.sort_by_key(|r| r.index);
        Ok(response)
    }

    fn write(&mut self, entries: Vec<Entry>) -> Result<(), String> {
        if self.is_behind || self.wal.is_poisoned() {
            return Err("the log or the store failed before; restart to recover".to_owned());
        }
        if entries.is_empty() {
            return Ok(());
        }
        let mut payloads = Vec::with_capacity(entries.len());
        for entry in &entries {
            payloads.push(serde_json::to_vec(entry).map_err(|e| e.to_string())?);
        }
        let first = self.wal.next_offset();
        self.wal.append(&payloads, true).map_err(|e| e.to_string())?;
        // Durable from here on: what follows can fail only in memory, and recovery would redo it.
        if let Err(e) = self.apply((first..).zip(entries).collect()) {
            // They are safe, so the answer is yes; but nothing may be built on a state without them.
            tracing::error!(error = %e, "durable events were not applied; they will be at the next start");
            self.is_behind = true;
            return Ok(());
        }
        if self.last_offset - self.checkpoint_offset >= u64::from(self.config.checkpoint_events)
            && let Err(e) = self.checkpoint()
        {
            tracing::error!(error = %e, "checkpoint failed; the write-ahead log keeps everything");
        }
        Ok(())
    }

    /// Brings the store up to the log.
    pub(crate) fn checkpoint(&mut self) -> Result<(), EngineError> {
        if self.is_behind {
            return Err(EngineError::store("state", "durable events were not applied; restart to recover"));
        }
        if self.last_offset == self.checkpoint_offset {
            return Ok(());
        }
        let mut users = Vec::with_capacity(self.dirty.len());
        for &key in &self.dirty {
            users.extend(self.live.user(key)?.map(|entry| (key, entry)));
        }
        users.sort_unstable_by_key(|(key, _)| *key);
        self.live.store.checkpoint(&Checkpoint {
            offset: self.last_offset,
            users: users.iter().map(|(key, entry)| (*key, &**entry)).collect(),
            items: &self.new_items,
            event_ids: &self.new_ids,
            forget_ids_below: self.recent_order.front().map_or(0, |(offset, _)| *offset),
        })?;
        self.checkpoint_offset = self.last_offset;
        self.dirty.clear();
        self.new_ids.clear();
        self.new_items.clear();
        self.live.trim(KEEP_USERS);
        Ok(())
    }

    pub(crate) fn close(&mut self, current_too: bool) -> Result<Vec<(u64, u64)>, String> {
        self.checkpoint().map_err(|e| e.to_string())?;
        if current_too {
            self.wal.rotate().map_err(|e| e.to_string())?;
        }
        Ok(self.wal.closed())
    }

    fn adopt(&mut self) -> Result<u64, String> {
        self.checkpoint().map_err(|e| e.to_string())?;
        let held = self.wal.first_held();
        self.live.adopt_snapshot(self.checkpoint_offset, held).map_err(|e| e.to_string())
    }

    pub(crate) fn remove(&mut self, first: u64) -> Result<(), String> {
        self.wal.remove(first).map_err(|e| e.to_string())
    }
}

fn rejected(index: usize, reason: RejectReason, message: String) -> RejectedEvent {
    RejectedEvent { index: index as u32, reason: reason.as_str().to_owned(), message }
}

/// The journal behind its thread.
#[derive(Debug)]
pub struct JournalHandle {
    requests: Sender<Request>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Most requests in one group commit.
const GROUP: usize = 1_024;

fn run(mut journal: Journal, inbox: &Receiver<Request>, rotated: &SyncSender<()>) {
    let mut n_closed = journal.wal.closed().len();
    while let Ok(first) = inbox.recv() {
        let mut group = Vec::new();
        let mut other = None;
        for request in std::iter::once(first).chain(inbox.try_iter().take(GROUP)) {
            match request {
                Request::Events(..) | Request::Items(..) => group.push(request),
                request => {
                    other = Some(request);
                    break;
                }
            }
        }
        if !group.is_empty() {
            journal.commit(group);
            if journal.wal.closed().len() != std::mem::replace(&mut n_closed, journal.wal.closed().len()) {
                // A signal that waits already is as good as two.
                let _ = rotated.try_send(());
            }
        }
        match other {
            Some(Request::Close(current_too, reply)) => drop(reply.send(journal.close(current_too))),
            Some(Request::Remove(first, reply)) => drop(reply.send(journal.remove(first))),
            Some(Request::Snapshot(mut popularity, reply)) => {
                popularity.share(Arc::clone(&journal.live.popular));
                journal.popularity = *popularity;
                drop(reply.send(journal.adopt()));
            }
            Some(Request::Stop) => {
                if let Err(e) = journal.checkpoint() {
                    tracing::error!(error = %e, "last checkpoint failed; the write-ahead log keeps everything");
                }
                return;
            }
            Some(Request::Events(..) | Request::Items(..)) | None => {}
        }
    }
}

impl JournalHandle {
    /// Starts the journal's thread. `rotated` is told when a segment is full.
    pub(crate) fn start(journal: Journal, rotated: SyncSender<()>) -> Result<Self, EngineError> {
        let (requests, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("segue-journal".to_owned())
            .spawn(move || run(journal, &inbox, &rotated))
            .map_err(EngineError::io("segue-journal"))?;
        Ok(Self { requests, thread: Mutex::new(Some(thread)) })
    }

    fn ask<T>(&self, make: impl FnOnce(Sender<Result<T, String>>) -> Request) -> Result<T, EngineError> {
        let (reply, answer) = channel();
        let gone = || EngineError::NotDurable("the engine has been shut down".to_owned());
        self.requests.send(make(reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?.map_err(EngineError::NotDurable)
    }

    pub(crate) fn events(&self, events: Vec<Event>, now: TimestampMs) -> Result<EventsResponse, EngineError> {
        self.ask(|reply| Request::Events(events, now, reply))
    }

    pub(crate) fn items(&self, items: Vec<Item>, now: TimestampMs) -> Result<ItemsResponse, EngineError> {
        self.ask(|reply| Request::Items(items, now, reply))
    }

    pub(crate) fn close(&self, current_too: bool) -> Result<Vec<(u64, u64)>, EngineError> {
        self.ask(|reply| Request::Close(current_too, reply))
    }

    pub(crate) fn remove(&self, first: u64) -> Result<(), EngineError> {
        self.ask(|reply| Request::Remove(first, reply))
    }

    pub(crate) fn snapshot(&self, popularity: Popularity) -> Result<u64, EngineError> {
        self.ask(|reply| Request::Snapshot(Box::new(popularity), reply))
    }

    /// Stops the thread after everything asked so far; later requests are refused.
    pub(crate) fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use segue_data::UserState;
    use segue_types::{Feedback, FeedbackKind, Play};

    use super::*;
    use crate::fault::{FaultBackend, FaultDisk};
    use crate::wal::read_segment;

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    /// The journal and everything below it on one disk that can lose power.
    struct Bench {
        disk: FaultDisk,
        journal: Journal,
        live: Arc<Live>,
    }

    fn config() -> StateConfig {
        StateConfig { segment_bytes: 4_096, checkpoint_events: 12, dedupe_horizon_events: 1_000 }
    }

    fn open(disk: &FaultDisk) -> Result<Bench, EngineError> {
        let mut builder = redb::Database::builder();
        builder.set_cache_size(1 << 20);
        let database = builder
            .create_with_backend(FaultBackend::new(disk, "users.redb"))
            .map_err(|e| EngineError::store("users.redb", e))?;
        let store = Store::with(database, "users.redb".as_ref())?;
        let popularity = Popularity::new(NOW, 7.0);
        let live = Arc::new(Live::new(store, popularity.lists()));
        live.catalogue.replace_base(Default::default(), &live.store.items()?);
        let (journal, _) = Journal::open(Arc::new(disk.clone()), Arc::clone(&live), popularity, config())?;
        Ok(Bench { disk: disk.clone(), journal, live })
    }

    impl Bench {
        /// Hands a group of batches to the journal; `true` for each that was acknowledged.
        fn commit(&mut self, batches: &[Vec<Event>], now: TimestampMs) -> Vec<Option<EventsResponse>> {
            let (mut requests, mut answers) = (Vec::new(), Vec::new());
            for batch in batches {
                let (reply, answer) = channel();
                requests.push(Request::Events(batch.clone(), now, reply));
                answers.push(answer);
            }
            self.journal.commit(requests);
            answers.iter().map(|a| a.try_recv().expect("every request is answered").ok()).collect()
        }

        /// Every event on the disk: offset → event.
        fn on_disk(&self) -> BTreeMap<u64, Event> {
            let mut out = BTreeMap::new();
            for name in self.disk.list().unwrap() {
                let first = name.strip_prefix("events-").and_then(|n| n.strip_suffix(".seg"));
                if let Some(first) = first.and_then(|n| n.parse().ok()) {
                    read_segment(&self.disk, PREFIX, first, |offset, payload| {
                        if let Entry::Event(event) = serde_json::from_slice(payload).unwrap() {
                            out.insert(offset, event);
                        }
                    })
                    .unwrap();
                }
            }
            out
        }
    }

    fn play(id: u64, user: u64, at: i64) -> Event {
        let (event, user, item) = (format!("e{id}"), format!("u{user}"), format!("i{}", id % 7));
        Event::Play(Play { listened_ms: Some(40_000), ..Play::new(&event, &user, &item, NOW.plus_ms(at)) })
    }

    fn event(id: u64, user: u64, at: i64) -> Event {
        if !id.is_multiple_of(5) {
            return play(id, user, at);
        }
        Event::Feedback(Feedback {
            event_id: format!("e{id}"),
            user_id: format!("u{user}"),
            target_id: format!("i{}", id % 7),
            kind: if id.is_multiple_of(2) { FeedbackKind::Hide } else { FeedbackKind::Save },
            occurred_at: NOW.plus_ms(at),
            received_at: None,
            slate_id: None,
            position: None,
        })
    }

    struct Random(u64);
    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    /// What the world outside remembers.
    #[derive(Default)]
    struct Outside {
        acknowledged: HashSet<String>,
        attempted: Vec<Event>,
        /// Parts of the log that were drained: offset → event.
        drained: BTreeMap<u64, Event>,
    }

    /// Random traffic until the power goes or the steps are done.
    fn traffic(bench: &mut Bench, outside: &mut Outside, random: &mut Random, n_steps: u64) {
        for _ in 0..n_steps {
            let now = NOW.plus_ms(outside.attempted.len() as i64 * 500);
            let mut batches: Vec<Vec<Event>> = Vec::new();
            for _ in 0..=random.below(3) {
                let mut batch = Vec::new();
                for _ in 0..=random.below(4) {
                    let n = outside.attempted.len() as u64;
                    if n > 0 && random.below(5) == 0 {
                        // A client that did not hear the answer sends again.
                        batch.push(outside.attempted[random.below(n) as usize].clone());
                    } else {
                        // Late by up to a minute, so events of a batch are out of order.
                        let at = n as i64 * 500 - random.below(60_000) as i64;
                        let e = event(n, random.below(4), at);
                        outside.attempted.push(e.clone());
                        batch.push(e);
                    }
                }
                batches.push(batch);
            }
            for (batch, answer) in batches.iter().zip(bench.commit(&batches, now)) {
                if let Some(answer) = answer {
                    let n_rejected = answer.rejected.len() as u32;
                    assert_eq!(answer.n_accepted + answer.n_duplicates + n_rejected, batch.len() as u32);
                    assert_eq!(n_rejected, 0, "{:?}", answer.rejected);
                    outside.acknowledged.extend(batch.iter().map(|e| e.event_id().to_owned()));
                }
            }
            if random.below(6) == 0 {
                drain(bench, outside);
            }
        }
    }

    fn drain(bench: &mut Bench, outside: &mut Outside) {
        let Ok(closed) = bench.journal.close(true) else { return };
        for (first, _) in closed {
            let read = read_segment(&bench.disk, PREFIX, first, |offset, payload| {
                if let Entry::Event(event) = serde_json::from_slice(payload).unwrap() {
                    outside.drained.insert(offset, event);
                }
            });
            // Without power nothing more is drained, nor removed.
            if read.is_err() || bench.journal.remove(first).is_err() {
                return;
            }
        }
    }

    /// No acknowledged event lost, none doubled, states equal to the fold of what is on disk.
    fn check(bench: &Bench, outside: &Outside, what: &str) {
        let mut all = bench.on_disk();
        for (offset, event) in &outside.drained {
            let again = all.insert(*offset, event.clone());
            assert!(again.is_none_or(|e| e == *event), "{what}: offset {offset} was used twice");
        }
        let mut offsets: HashMap<&str, u64> = HashMap::new();
        for (&offset, event) in &all {
            let before = offsets.insert(event.event_id(), offset);
            assert_eq!(before, None, "{what}: {} is stored twice", event.event_id());
        }
        for id in &outside.acknowledged {
            assert!(offsets.contains_key(id.as_str()), "{what}: {id} was acknowledged and is lost");
        }
        let mut expected: HashMap<&str, UserState> = HashMap::new();
        let catalogue = bench.live.catalogue.view();
        for event in all.values() {
            let state = expected.entry(event.user_id()).or_default();
            state.update(event, &*catalogue).expect("accepted events are applied");
        }
        for (user, state) in expected {
            let entry = bench.live.user(UserKey::of(user)).unwrap().expect("a listener with events");
            assert!(*entry.state == state, "{what}: the state of {user} is not the fold of its events");
        }
    }

    /// A thousand power cuts at random points of random traffic. The disk drops unsynced writes
    /// and tears the last; the write-ahead log and the embedded store are both on it.
    #[test]
    fn a_thousand_power_cuts_lose_no_acknowledged_event_and_double_none() {
        let mut n_cuts = 0;
        let mut n_recovered = 0;
        for seed in 0.. {
            if n_cuts == 1_000 {
                break;
            }
            let mut random = Random(seed);
            let mut outside = Outside::default();
            let mut disk = FaultDisk::new(seed);
            // The empty store is there before any cut: `Store::open` makes it under another name
            // and renames it when it is whole.
            drop(open(&disk).unwrap());
            // Two cuts in a row, so that recovery itself is cut short, too.
            for round in 0..2 {
                let what = format!("seed {seed} round {round}");
                disk.cut_power_after(random.below(500));
                if let Ok(mut bench) = open(&disk) {
                    traffic(&mut bench, &mut outside, &mut random, 25);
                }
                n_cuts += 1;
                disk = disk.restart();
                let bench = open(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
                check(&bench, &outside, &what);
                n_recovered += bench.journal.last_offset;
                drop(bench);
            }
            // Clients send again whatever they did not hear of: then everything is there, once.
            let mut bench = open(&disk).unwrap();
            let now = NOW.plus_ms(10_000_000);
            for batch in outside.attempted.chunks(20) {
                let answer = bench.commit(&[batch.to_vec()], now);
                assert!(answer[0].is_some());
                outside.acknowledged.extend(batch.iter().map(|e| e.event_id().to_owned()));
            }
            check(&bench, &outside, &format!("seed {seed} after sending again"));
        }
        assert!(n_recovered > 10_000, "the cuts came too early to mean anything: {n_recovered}");
    }

    #[test]
    fn the_check_sees_a_log_that_acknowledges_before_the_sync() {
        // The same machinery with the last write not synced: the loss has to be found.
        let disk = FaultDisk::new(3);
        let mut bench = open(&disk).unwrap();
        bench.commit(&[vec![event(1, 1, 0)]], NOW);
        let unsynced = Entry::Event(event(2, 1, 0));
        bench.journal.wal.append(&[serde_json::to_vec(&unsynced).unwrap()], false).unwrap();
        let outside = Outside { acknowledged: ["e1", "e2"].map(str::to_owned).into(), ..Outside::default() };
        let lost = (0..20).any(|_| {
            let bench = open(&disk.restart()).unwrap();
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&bench, &outside, ""))).is_err()
        });
        assert!(lost);
    }

    #[test]
    fn an_id_is_a_duplicate_within_a_batch_within_a_group_and_after_a_restart() {
        let disk = FaultDisk::new(1);
        let mut bench = open(&disk).unwrap();
        let e = play(1, 1, 0);
        let answers = bench.commit(&[vec![e.clone(), e.clone()], vec![e.clone()]], NOW);
        let counts: Vec<_> = answers.iter().flatten().map(|a| (a.n_accepted, a.n_duplicates)).collect();
        assert_eq!(counts, [(1, 1), (0, 1)]);
        bench.journal.checkpoint().unwrap();
        drop(bench);
        let mut bench = open(&disk.restart()).unwrap();
        let answer = bench.commit(&[vec![e]], NOW)[0].clone().unwrap();
        assert_eq!((answer.n_accepted, answer.n_duplicates), (0, 1));
    }

    #[test]
    fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
        let disk = FaultDisk::new(1);
        let mut bench = open(&disk).unwrap();
        assert!(bench.commit(&[vec![play(1, 1, 0)]], NOW)[0].is_some());
        disk.set_full(true);
        assert!(bench.commit(&[vec![play(2, 1, 0)]], NOW)[0].is_none());
        disk.set_full(false);
        let answer = bench.commit(&[vec![play(2, 1, 0)]], NOW)[0].clone().unwrap();
        assert_eq!((answer.n_accepted, answer.n_duplicates), (1, 0));
        assert_eq!(bench.live.user(UserKey::of("u1")).unwrap().unwrap().state.n_plays(), 2);
    }

    #[test]
    fn bad_events_are_named_by_index_and_the_rest_is_taken() {
        let mut bench = open(&FaultDisk::new(1)).unwrap();
        let mut bad = Play::new("e9", "", "i", NOW);
        bad.listened_ms = Some(-1);
        let future = play(3, 1, 3_600_000);
        let answer = bench.commit(&[vec![play(1, 1, 0), Event::Play(bad), future]], NOW)[0].clone().unwrap();
        assert_eq!(answer.n_accepted, 1);
        let reasons: Vec<_> = answer.rejected.iter().map(|r| (r.index, r.reason.as_str())).collect();
        assert_eq!(reasons, [(1, "missing_column"), (2, "future_timestamp")]);
    }
}
