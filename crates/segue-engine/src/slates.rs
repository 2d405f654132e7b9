//! Slate records: spooled as they are served, drained into the log, found again by id.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use segue_data::log::{LogReader, N_BUCKETS, SlateRow};
use segue_pipeline::SideEffect;
use segue_types::{Day, SlateRecord, UserKey};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::EngineError;
use crate::live::Live;
use crate::storage::Storage;
use crate::wal::{Place, Wal, read_record};

/// Name of the spool's segments.
pub const PREFIX: &str = "slates";
/// Records that may wait for the spool; requests wait when there are more.
const QUEUE: usize = 256;

type Index = Arc<RwLock<HashMap<u128, Place>>>;

enum Message {
    Record(Arc<SlateRecord>),
    Flush(Sender<()>),
    Close(bool, Sender<Result<Vec<(u64, u64)>, String>>),
    Remove(u64, Sender<Result<(), String>>),
    Stop,
}

/// The spool and what was drained from it.
///
/// Records go to disk on a thread of their own, without a sync each: a power cut may lose the
/// last moments of records (never events). A full queue makes requests wait rather than lose one.
pub struct Slates {
    storage: Arc<dyn Storage>,
    index: Index,
    queue: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    live: Arc<Live>,
    home: PathBuf,
}

fn key(slate_id: &str) -> u128 {
    xxh3_128(slate_id.as_bytes())
}

/// The id inside a record's JSON, without reading the rest of it.
fn id_of(json: &[u8]) -> Option<String> {
    let record: SlateRecord = serde_json::from_slice(json).ok()?;
    Some(record.slate.slate_id)
}

fn run(mut wal: Wal, index: &Index, inbox: &Receiver<Message>, rotated: &SyncSender<()>) {
    let mut n_closed = wal.closed().len();
    let write = |wal: &mut Wal, record: &SlateRecord| {
        let json = match serde_json::to_vec(record) {
            Ok(json) => json,
            Err(e) => return tracing::error!(error = %e, "slate record not written"),
        };
        match wal.append(&[json], false) {
            Ok(places) => {
                let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
                index.extend(places.first().map(|&place| (key(&record.slate.slate_id), place)));
            }
            Err(e) => tracing::error!(error = %e, "slate record not written"),
        }
    };
    while let Ok(message) = inbox.recv() {
        match message {
            Message::Record(record) => {
                write(&mut wal, &record);
                if wal.closed().len() != std::mem::replace(&mut n_closed, wal.closed().len()) {
                    // A signal that waits already is as good as two.
                    let _ = rotated.try_send(());
                }
            }
            Message::Flush(reply) => drop(reply.send(())),
            Message::Close(current_too, reply) => {
                let done = if current_too { wal.rotate() } else { Ok(()) };
                let closed = done.map(|()| wal.closed());
                drop(reply.send(closed.map_err(|e| e.to_string())));
            }
            Message::Remove(first, reply) => {
                index.write().unwrap_or_else(PoisonError::into_inner).retain(|_, p| p.segment != first);
                drop(reply.send(wal.remove(first).map_err(|e| e.to_string())));
            }
            Message::Stop => {
                if let Err(e) = wal.rotate() {
                    tracing::error!(error = %e, "slate spool not synced");
                }
                return;
            }
        }
    }
}

impl SideEffect<Arc<SlateRecord>> for Slates {
    /// Keeps the record.
    fn run(&self, record: &Arc<SlateRecord>) {
        if self.queue.send(Message::Record(Arc::clone(record))).is_err() {
            tracing::error!("slate record not written: the engine has been shut down");
        }
    }
}

impl Slates {
    /// Opens the spool; finds the records that were not drained. `rotated` is told when a segment
    /// is full.
    ///
    /// # Errors
    /// If the spool cannot be read.
    pub fn open(
        storage: Arc<dyn Storage>,
        segment_bytes: u64,
        live: Arc<Live>,
        home: &Path,
        rotated: SyncSender<()>,
    ) -> Result<(Self, Vec<String>), EngineError> {
        let mut places = HashMap::new();
        let next = live.store.meta("slates_next_offset")?;
        let (wal, found) = Wal::open(Arc::clone(&storage), PREFIX, segment_bytes, next, |_, place, json| {
            places.extend(id_of(json).map(|id| (key(&id), place)));
        })
        .map_err(|e| EngineError::store("state", e))?;
        let mut notes = found.notes;
        if !places.is_empty() {
            notes.push(format!("{} slate records wait to be drained into log/", places.len()));
        }
        let index: Index = Arc::new(RwLock::new(places));
        let (queue, inbox) = sync_channel(QUEUE);
        let shared = Arc::clone(&index);
        let thread = std::thread::Builder::new()
            .name("segue-slates".to_owned())
            .spawn(move || run(wal, &shared, &inbox, &rotated))
            .map_err(EngineError::io("segue-slates"))?;
        let slates =
            Self { storage, index, queue, thread: Mutex::new(Some(thread)), live, home: home.to_owned() };
        Ok((slates, notes))
    }

    fn ask<T>(&self, make: impl FnOnce(Sender<T>) -> Message) -> Result<T, EngineError> {
        let (reply, answer) = channel();
        let gone = || EngineError::store("state", "the engine has been shut down");
        self.queue.send(make(reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }

    /// The JSON of a record, as it was written; `None` if none is kept under this id.
    ///
    /// # Errors
    /// If the spool or the log cannot be read.
    pub fn find(&self, slate_id: &str) -> Result<Option<String>, EngineError> {
        // Records still in the queue count as kept. After a shutdown everything is on disk.
        let _ = self.ask(Message::Flush);
        let key = key(slate_id);
        let place = self.index.read().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(place) = place {
            match read_record(&*self.storage, PREFIX, place) {
                Ok(bytes) => return Ok(String::from_utf8(bytes).ok()),
                // Drained in this very moment: then it is in the log.
                Err(e) => tracing::debug!(error = %e, "slate left the spool"),
            }
        }
        let Some((day, bucket)) = self.live.store.slate_place(key)? else { return Ok(None) };
        self.find_in_log(slate_id, Day(day), bucket)
    }

    fn find_in_log(&self, slate_id: &str, day: Day, bucket: u32) -> Result<Option<String>, EngineError> {
        use segue_data::log::{LogRow, ScanOptions};
        let options = ScanOptions {
            days: Some(day..=day),
            buckets: Some(bucket..bucket + 1),
            columns: None,
            batch_rows: 256,
        };
        let reader = LogReader::new(&self.home);
        let fault = |e: segue_data::log::LogError| EngineError::store(self.home.join("log"), e);
        for batch in reader.scan(SlateRow::TABLE, &options).map_err(fault)? {
            for row in SlateRow::read(&batch.map_err(fault)?).map_err(fault)? {
                if row.slate_id == slate_id {
                    return Ok(row.record);
                }
            }
        }
        Ok(None)
    }

    /// Closes the current segment if asked to, and lists the closed ones.
    ///
    /// # Errors
    /// If it cannot be synced.
    pub(crate) fn close(&self, current_too: bool) -> Result<Vec<(u64, u64)>, EngineError> {
        self.ask(|reply| Message::Close(current_too, reply))?.map_err(|e| EngineError::store("state", e))
    }

    /// Notes where drained records lie, then removes their segment from the spool.
    pub(crate) fn drained(
        &self,
        first: u64,
        next: u64,
        records: &[(String, Day, Option<String>)],
    ) -> Result<(), EngineError> {
        let places: Vec<(u128, i32, u32)> = records
            .iter()
            .map(|(slate_id, day, user)| (key(slate_id), day.0, bucket_of(user.as_deref())))
            .collect();
        self.live.store.index_slates(&places)?;
        self.live.store.set_meta("slates_next_offset", next)?;
        self.ask(|reply| Message::Remove(first, reply))?.map_err(|e| EngineError::store("state", e))
    }

    /// Stops the thread after everything kept so far.
    pub(crate) fn stop(&self) {
        let _ = self.queue.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the slate spool's thread panicked");
        }
    }
}

/// The log's bucket of a listener; the log puts rows without one into bucket 0.
fn bucket_of(user_id: Option<&str>) -> u32 {
    user_id.map_or(0, |id| UserKey::of(id).bucket(N_BUCKETS))
}
