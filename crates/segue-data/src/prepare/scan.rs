//! The first pass: log rows become fixed-width records in one file per user bucket.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{Float32Type, UInt32Type};
use rayon::prelude::*;
use segue_types::{
    Day, EndReason, EventKey, FeedbackKind, ItemKey, RejectReason, StartReason, Surface, TimestampMs, UserKey,
};

use super::ids::{Dictionaries, Ids, Mapped};
use super::intern::Interner;
use super::record::{FEEDBACK, IMPRESSION, NONE, PLAY, Record, length, span};
use crate::codec::{Put, Take};
use crate::enrich::{NO_POSITION, slate_key};
use crate::error::DataError;
use crate::log::{LogError, N_BUCKETS, PartInfo, ScanOptions, Table, column, schema as s};
use crate::progress::Progress;

/// Bytes a bucket's buffer holds before it goes to disk.
const BUFFER_BYTES: usize = 64 << 10;

/// Rejected events by reason.
pub(crate) type Rejects = BTreeMap<RejectReason, u64>;

/// A slate met in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlateSeen {
    pub(crate) user: u32,
    pub(crate) slate: u64,
    pub(crate) composed_at: i64,
}

/// A chosen candidate met in the log, with what its sources said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CandidateSeen {
    pub(crate) user: u32,
    pub(crate) slate: u64,
    pub(crate) item: u32,
    pub(crate) position: u32,
    pub(crate) prefix_propensity: f64,
    /// Number of the source's name, score, rank.
    pub(crate) sources: Vec<(u32, f32, u32)>,
}

/// Everything one user bucket holds.
#[derive(Debug, Default)]
pub(crate) struct BucketInput {
    pub(crate) records: Vec<Record>,
    pub(crate) slates: Vec<SlateSeen>,
    pub(crate) candidates: Vec<CandidateSeen>,
    /// The file being read; kept, as the rest is, for the next bucket.
    bytes: Vec<u8>,
}

/// The three files of each bucket.
#[derive(Debug)]
struct Spill {
    folder: PathBuf,
    files: Vec<Mutex<[Option<File>; 3]>>,
}

const SPILL_NAMES: [&str; 3] = ["events", "slates", "candidates"];

impl Spill {
    fn path(&self, bucket: u32, which: usize) -> PathBuf {
        self.folder.join(format!("{}-{bucket:03}", SPILL_NAMES[which]))
    }

    fn append(&self, bucket: u32, which: usize, bytes: &[u8]) -> Result<(), DataError> {
        let path = self.path(bucket, which);
        let mut files = self.files[bucket as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut files[which] {
            Some(file) => file,
            none => none.insert(File::create(&path).map_err(DataError::io(&path))?),
        };
        file.write_all(bytes).map_err(DataError::io(&path))
    }

    /// Reads a whole file into `bytes`; one that was never written is empty. The file is removed:
    /// its memory serves the files that are written next.
    fn take(&self, bucket: u32, which: usize, bytes: &mut Vec<u8>) -> Result<(), DataError> {
        bytes.clear();
        let path = self.path(bucket, which);
        match File::open(&path).and_then(|mut file| file.read_to_end(bytes)) {
            Ok(_) => std::fs::remove_file(&path).map_err(DataError::io(path)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(DataError::io(path)(e)),
        }
    }
}

/// Ids met so far and the files events are spread to.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Items, and targets of feedback.
    pub(crate) items: Mutex<Interner<u64>>,
    /// Whether the number is an item: played, shown, or of the items or profiles table.
    pub(crate) is_item: Mutex<Vec<bool>>,
    pub(crate) users: Mutex<Interner<u128>>,
    /// Names of sources.
    pub(crate) sources: Mutex<Interner<u64>>,
    spill: Spill,
    until: i64,
}

/// What the scan counted.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// By table and received day.
    pub(crate) rows: BTreeMap<(Table, Day), u64>,
    pub(crate) rejects: Rejects,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Code of a name; 255 for a name that is none.
fn code<T>(parse: fn(&str) -> Option<T>, to_code: fn(T) -> u8) -> impl Fn(&str) -> u8 {
    move |name| parse(name).map_or(255, to_code)
}

/// Buffers per bucket and kind, local to one thread.
struct Buffers<'a> {
    scan: &'a Scan,
    buffers: Vec<[Vec<u8>; 3]>,
}

impl<'a> Buffers<'a> {
    fn new(scan: &'a Scan) -> Self {
        Self { scan, buffers: (0..N_BUCKETS).map(|_| Default::default()).collect() }
    }

    fn push(&mut self, bucket: u32, which: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), DataError> {
        let buffer = &mut self.buffers[bucket as usize][which];
        write(buffer);
        if buffer.len() >= BUFFER_BYTES {
            self.scan.spill.append(bucket, which, buffer)?;
            buffer.clear();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DataError> {
        for (bucket, kinds) in self.buffers.iter_mut().enumerate() {
            for (which, buffer) in kinds.iter_mut().enumerate() {
                if !buffer.is_empty() {
                    self.scan.spill.append(bucket as u32, which, buffer)?;
                    buffer.clear();
                }
            }
        }
        Ok(())
    }
}

impl Scan {
    /// A scan that spills into `folder`, which exists and is empty.
    pub(crate) fn new(folder: &Path, until: Option<TimestampMs>) -> Self {
        Self {
            items: Mutex::new(Interner::new("item")),
            is_item: Mutex::new(Vec::new()),
            users: Mutex::new(Interner::new("user")),
            sources: Mutex::new(Interner::new("source")),
            spill: Spill {
                folder: folder.to_path_buf(),
                files: (0..N_BUCKETS).map(|_| Mutex::default()).collect(),
            },
            until: until.map_or(i64::MAX, |t| t.0),
        }
    }

    /// The number of an item; `is_item` is false for targets of feedback.
    pub(crate) fn item(&self, id: &str, is_item: bool) -> Result<u32, DataError> {
        let number = lock(&self.items).intern(id, ItemKey::of(id).0)?;
        let mut flags = lock(&self.is_item);
        let at = number as usize;
        if flags.len() <= at {
            flags.resize(at + 1, false);
        }
        flags[at] |= is_item;
        Ok(number)
    }

    /// Notes that the targets of these numbers are items.
    fn are_items(&self, numbers: impl Iterator<Item = u32>) {
        let mut flags = lock(&self.is_item);
        for at in numbers.map(|n| n as usize) {
            if flags.len() <= at {
                flags.resize(at + 1, false);
            }
            flags[at] = true;
        }
    }

    /// The number of a user.
    pub(crate) fn user(&self, id: &str) -> Result<u32, DataError> {
        lock(&self.users).intern(id, UserKey::of(id).0)
    }

    /// Spreads all rows of `parts`, several at a time.
    pub(crate) fn run(&self, parts: &[PartInfo], progress: &dyn Progress) -> Result<Scanned, DataError> {
        // Parts are taken in order, so that what a bucket receives is nearly in order, too.
        let next = AtomicUsize::new(0);
        let all: Vec<Scanned> = (0..rayon::current_num_threads())
            .into_par_iter()
            .with_max_len(1)
            .map(|_| {
                let mut sum = Scanned::default();
                let mut buffers = Buffers::new(self);
                while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    self.part(part, &mut buffers, &mut sum)?;
                    progress.advance(1);
                }
                buffers.flush()?;
                Ok(sum)
            })
            .collect::<Result<_, DataError>>()?;
        // Nothing is added any more, and the next phase opens files of its own.
        self.spill.files.iter().for_each(|files| *lock(files) = Default::default());
        let mut sum = Scanned::default();
        for one in all {
            for (key, n) in one.rows {
                *sum.rows.entry(key).or_default() += n;
            }
            for (reason, n) in one.rejects {
                *sum.rejects.entry(reason).or_default() += n;
            }
        }
        Ok(sum)
    }

    fn part(&self, part: &PartInfo, buffers: &mut Buffers<'_>, out: &mut Scanned) -> Result<(), DataError> {
        let columns: &[&'static str] = match part.table {
            Table::Plays => &[
                s::USER_ID,
                s::ITEM_ID,
                s::KNOWN_AT,
                s::EVENT_ID,
                s::OCCURRED_AT,
                s::ENDED_AT,
                s::LISTENED_MS,
                s::DURATION_MS,
                s::START_REASON,
                s::END_REASON,
                s::SURFACE,
                s::SLATE_ID,
                s::POSITION,
            ],
            Table::Feedback => &[
                s::USER_ID,
                s::TARGET_ID,
                s::KIND,
                s::KNOWN_AT,
                s::EVENT_ID,
                s::OCCURRED_AT,
                s::SLATE_ID,
                s::POSITION,
            ],
            Table::Impressions => {
                &[s::USER_ID, s::ITEM_ID, s::KNOWN_AT, s::EVENT_ID, s::SLATE_ID, s::POSITION, s::SHOWN_AT]
            }
            Table::Slates => &[s::USER_ID, s::KNOWN_AT, s::SLATE_ID],
            Table::Candidates => &[
                s::USER_ID,
                s::KNOWN_AT,
                s::SLATE_ID,
                s::ITEM_ID,
                s::SOURCES,
                s::SOURCE_SCORES,
                s::SOURCE_RANKS,
                s::POSITION,
                s::PREFIX_PROPENSITY,
            ],
            _ => return Ok(()),
        };
        let options = ScanOptions { columns: Some(columns.to_vec()), ..ScanOptions::default() };
        let mut ids = Dictionaries::default();
        for batch in part.open(&options)? {
            let batch = batch?;
            let n = match part.table {
                Table::Slates => self.slates(&batch, &mut ids, buffers)?,
                Table::Candidates => self.candidates(&batch, &mut ids, buffers)?,
                table => self.events(table, &batch, &mut ids, buffers, &mut out.rejects)?,
            };
            *out.rows.entry((part.table, part.day.unwrap_or_default())).or_default() += n;
        }
        Ok(())
    }

    fn events(
        &self,
        table: Table,
        batch: &RecordBatch,
        ids: &mut Dictionaries,
        buffers: &mut Buffers<'_>,
        rejects: &mut Rejects,
    ) -> Result<u64, DataError> {
        let optional_time = |name| -> Result<Option<&TimestampMillisecondArray>, LogError> {
            if table == Table::Plays { column::time(batch, name).map(Some) } else { Ok(None) }
        };
        let mut users = Ids::of(batch, s::USER_ID, &mut ids.users)?;
        let target = if table == Table::Feedback { s::TARGET_ID } else { s::ITEM_ID };
        let mut items = Ids::of(batch, target, &mut ids.items)?;
        let known = column::time(batch, s::KNOWN_AT)?.values();
        let in_time = || (0..batch.num_rows()).filter(|&row| known[row] < self.until);
        users.look_up(in_time(), &self.users, |id| UserKey::of(id).0)?;
        items.look_up(in_time(), &self.items, |id| ItemKey::of(id).0)?;
        let event = column::text(batch, s::EVENT_ID)?;
        let when = if table == Table::Impressions { s::SHOWN_AT } else { s::OCCURRED_AT };
        let occurred = column::time(batch, when)?.values();
        let slate = Mapped::of(batch, s::SLATE_ID, slate_key)?;
        let position = column::u32s(batch, s::POSITION)?;
        let ended = optional_time(s::ENDED_AT)?;
        let play = table == Table::Plays;
        let listened = play.then(|| column::i64s(batch, s::LISTENED_MS)).transpose()?;
        let duration = play.then(|| column::i64s(batch, s::DURATION_MS)).transpose()?;
        let codes = |name, f: &dyn Fn(&str) -> u8| Mapped::of(batch, name, f);
        let start = match table {
            Table::Plays => Some(codes(s::START_REASON, &code(StartReason::parse, StartReason::code))?),
            Table::Feedback => Some(codes(s::KIND, &code(FeedbackKind::parse, FeedbackKind::code))?),
            _ => None,
        };
        let end = play.then(|| codes(s::END_REASON, &code(EndReason::parse, EndReason::code))).transpose()?;
        let surface = play.then(|| codes(s::SURFACE, &code(Surface::parse, Surface::code))).transpose()?;
        let kind = match table {
            Table::Plays => PLAY,
            Table::Feedback => FEEDBACK,
            _ => IMPRESSION,
        };
        let get = |c: &Option<Mapped<'_, u8>>, row| c.as_ref().and_then(|c| c.get(row)).unwrap_or(0);
        if kind != FEEDBACK {
            self.are_items(items.numbers());
        }
        let mut n = 0;
        for row in in_time() {
            n += 1;
            let (user, item) = (users.get(row), items.get(row));
            let Some(bucket) = users.bucket(row).filter(|_| item != NONE) else {
                *rejects.entry(RejectReason::MissingColumn).or_default() += 1;
                continue;
            };
            let record = Record {
                known_at: known[row],
                event: EventKey::of(event.value(row)).0,
                occurred_at: occurred[row],
                slate: slate.get(row).unwrap_or(0),
                user,
                item,
                position: column::at(position, row).unwrap_or(NO_POSITION),
                listened: length(listened.and_then(|c| column::at(c, row))),
                duration: length(duration.and_then(|c| column::at(c, row))),
                ended: span(occurred[row], ended.and_then(|c| column::at(c, row))),
                kind,
                code: get(&start, row),
                end: get(&end, row),
                surface: get(&surface, row),
            };
            buffers.push(bucket, 0, |out| record.encode(out))?;
        }
        Ok(n)
    }

    fn slates(
        &self,
        batch: &RecordBatch,
        ids: &mut Dictionaries,
        buffers: &mut Buffers<'_>,
    ) -> Result<u64, DataError> {
        let mut users = Ids::of(batch, s::USER_ID, &mut ids.users)?;
        let known = column::time(batch, s::KNOWN_AT)?.values();
        let in_time = || (0..batch.num_rows()).filter(|&row| known[row] < self.until);
        users.look_up(in_time(), &self.users, |id| UserKey::of(id).0)?;
        let slate = column::text(batch, s::SLATE_ID)?;
        let mut n = 0;
        for row in in_time() {
            n += 1;
            let Some(bucket) = users.bucket(row) else { continue };
            let user = users.get(row);
            buffers.push(bucket, 1, |out| {
                out.put_u32(user);
                out.put_u64(slate_key(slate.value(row)));
                out.put_i64(known[row]);
            })?;
        }
        Ok(n)
    }

    fn candidates(
        &self,
        batch: &RecordBatch,
        ids: &mut Dictionaries,
        buffers: &mut Buffers<'_>,
    ) -> Result<u64, DataError> {
        let mut users = Ids::of(batch, s::USER_ID, &mut ids.users)?;
        let mut items = Ids::of(batch, s::ITEM_ID, &mut ids.items)?;
        let known = column::time(batch, s::KNOWN_AT)?.values();
        let slate = Mapped::of(batch, s::SLATE_ID, slate_key)?;
        let sources = column::list(batch, s::SOURCES)?;
        let scores = column::list(batch, s::SOURCE_SCORES)?;
        let ranks = column::list(batch, s::SOURCE_RANKS)?;
        let position = column::u32s(batch, s::POSITION)?;
        let users_of = users.column;
        let propensity = column::f64s(batch, s::PREFIX_PROPENSITY)?;
        let wrong = |name: &str| LogError::Column {
            table: Table::Candidates.to_string(),
            column: name.into(),
            got: "another type".into(),
            expected: "the schema's".into(),
        };
        let in_time = || (0..batch.num_rows()).filter(|&row| known[row] < self.until);
        // Only what was chosen can have been shown.
        let chosen = || in_time().filter(|&row| !position.is_null(row) && users_of.key(row).is_some());
        users.look_up(chosen(), &self.users, |id| UserKey::of(id).0)?;
        items.look_up(chosen(), &self.items, |id| ItemKey::of(id).0)?;
        self.are_items(items.numbers());
        let n = in_time().count() as u64;
        for row in chosen() {
            let position = position.value(row);
            let Some(bucket) = users.bucket(row) else { continue };
            let (user, item) = (users.get(row), items.get(row));
            let names = sources.value(row);
            let names = names.as_string_opt::<i32>().ok_or_else(|| wrong(s::SOURCES))?;
            let scores = scores.value(row);
            let scores = scores.as_primitive_opt::<Float32Type>().ok_or_else(|| wrong(s::SOURCE_SCORES))?;
            let ranks = ranks.value(row);
            let ranks = ranks.as_primitive_opt::<UInt32Type>().ok_or_else(|| wrong(s::SOURCE_RANKS))?;
            let n_sources = names.len().min(scores.len()).min(ranks.len());
            let mut said = Vec::with_capacity(n_sources);
            for i in 0..n_sources {
                let name = names.value(i);
                let number = lock(&self.sources).intern(name, ItemKey::of(name).0)?;
                let score = if scores.is_null(i) { f32::NAN } else { scores.value(i) };
                said.push((number, score, ranks.value(i)));
            }
            buffers.push(bucket, 2, |out| {
                out.put_u32(user);
                out.put_u64(slate.get(row).unwrap_or(0));
                out.put_u32(item);
                out.put_u32(position);
                out.put_u64(column::at(propensity, row).unwrap_or(f64::NAN).to_bits());
                out.put_u32(said.len() as u32);
                for (number, score, rank) in &said {
                    out.put_u32(*number);
                    out.put_u32(score.to_bits());
                    out.put_u32(*rank);
                }
            })?;
        }
        Ok(n)
    }

    /// Takes everything spread to one bucket, unsorted, with numbers of the interners, in place of what
    /// `input` held.
    pub(crate) fn load(&self, bucket: u32, input: &mut BucketInput) -> Result<(), DataError> {
        let damaged =
            |which: usize| DataError::corrupt(self.spill.path(bucket, which), "whole records", "a torn one");
        let BucketInput { records, slates, candidates, bytes } = input;
        records.clear();
        slates.clear();
        candidates.clear();
        self.spill.take(bucket, 0, bytes)?;
        records.reserve(bytes.len() / Record::BYTES);
        let mut t = Take(bytes);
        while t.end().is_none() {
            records.push(Record::decode(&mut t).ok_or_else(|| damaged(0))?);
        }
        self.spill.take(bucket, 1, bytes)?;
        let mut t = Take(bytes);
        while t.end().is_none() {
            let mut one = || Some(SlateSeen { user: t.u32()?, slate: t.u64()?, composed_at: t.i64()? });
            slates.push(one().ok_or_else(|| damaged(1))?);
        }
        self.spill.take(bucket, 2, bytes)?;
        let mut t = Take(bytes);
        while t.end().is_none() {
            let mut one = || {
                let (user, slate, item, position) = (t.u32()?, t.u64()?, t.u32()?, t.u32()?);
                let prefix_propensity = f64::from_bits(t.u64()?);
                let n = t.count(12, usize::MAX)?;
                let sources = (0..n)
                    .map(|_| Some((t.u32()?, f32::from_bits(t.u32()?), t.u32()?)))
                    .collect::<Option<_>>()?;
                Some(CandidateSeen { user, slate, item, position, prefix_propensity, sources })
            };
            candidates.push(one().ok_or_else(|| damaged(2))?);
        }
        Ok(())
    }
}
