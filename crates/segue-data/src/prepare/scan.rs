//! The first pass: log rows become fixed-width records in one file per user bucket.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, AsArray, DictionaryArray, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Float32Type, Int32Type, UInt32Type};
use rayon::prelude::*;
use segue_types::{
    Day, EndReason, EventKey, FeedbackKind, ItemKey, RejectReason, StartReason, Surface, TimestampMs, UserKey,
};

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

    fn read(&self, bucket: u32, which: usize) -> Result<Vec<u8>, DataError> {
        let path = self.path(bucket, which);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A dictionary column whose values are looked up at most once each.
struct Ids<'a> {
    column: &'a DictionaryArray<Int32Type>,
    values: &'a StringArray,
    numbers: Vec<u32>,
}

impl<'a> Ids<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Result<Self, LogError> {
        let values = column::dict_values(batch, name)?;
        Ok(Self { column: column::dict(batch, name)?, values, numbers: vec![NONE; values.len()] })
    }

    /// The number of a row's value, by `find` the first time; [`NONE`] where absent.
    fn get(
        &mut self,
        row: usize,
        find: impl FnOnce(&str) -> Result<u32, DataError>,
    ) -> Result<u32, DataError> {
        let Some(at) = self.column.key(row) else { return Ok(NONE) };
        if self.numbers[at] == NONE {
            self.numbers[at] = find(self.values.value(at))?;
        }
        Ok(self.numbers[at])
    }
}

/// A dictionary column mapped value by value.
struct Mapped<'a, T> {
    column: &'a DictionaryArray<Int32Type>,
    values: Vec<T>,
}

impl<'a, T: Copy> Mapped<'a, T> {
    fn of(batch: &'a RecordBatch, name: &str, map: impl Fn(&str) -> T) -> Result<Self, LogError> {
        let values = column::dict_values(batch, name)?;
        let values = (0..values.len()).map(|i| map(values.value(i))).collect();
        Ok(Self { column: column::dict(batch, name)?, values })
    }

    fn get(&self, row: usize) -> Option<T> {
        self.column.key(row).map(|at| self.values[at])
    }
}

/// Code of a name; 255 for a name that is none.
fn code<T>(parse: fn(&str) -> Option<T>, to_code: fn(T) -> u8) -> impl Fn(&str) -> u8 {
    move |name| parse(name).map_or(255, to_code)
}

/// Buffers per bucket and kind, local to one part.
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
                while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    self.part(part, &mut sum)?;
                    progress.advance(1);
                }
                Ok(sum)
            })
            .collect::<Result<_, DataError>>()?;
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

    fn part(&self, part: &PartInfo, out: &mut Scanned) -> Result<(), DataError> {
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
        let mut buffers = Buffers::new(self);
        for batch in part.open(&options)? {
            let batch = batch?;
            let n = match part.table {
                Table::Slates => self.slates(&batch, &mut buffers)?,
                Table::Candidates => self.candidates(&batch, &mut buffers)?,
                table => self.events(table, &batch, &mut buffers, &mut out.rejects)?,
            };
            *out.rows.entry((part.table, part.day.unwrap_or_default())).or_default() += n;
        }
        buffers.flush()
    }

    fn events(
        &self,
        table: Table,
        batch: &RecordBatch,
        buffers: &mut Buffers<'_>,
        rejects: &mut Rejects,
    ) -> Result<u64, DataError> {
        let optional_time = |name| -> Result<Option<&TimestampMillisecondArray>, LogError> {
            if table == Table::Plays { column::time(batch, name).map(Some) } else { Ok(None) }
        };
        let mut users = Ids::of(batch, s::USER_ID)?;
        let target = if table == Table::Feedback { s::TARGET_ID } else { s::ITEM_ID };
        let mut items = Ids::of(batch, target)?;
        let known = column::time(batch, s::KNOWN_AT)?.values();
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
        let mut bucket_of: Vec<u32> = vec![NONE; users.numbers.len()];
        let mut n = 0;
        for row in 0..batch.num_rows() {
            if known[row] >= self.until {
                continue;
            }
            n += 1;
            let user = users.get(row, |id| self.user(id))?;
            let item = items.get(row, |id| self.item(id, kind != FEEDBACK))?;
            let Some(user_at) = users.column.key(row).filter(|_| item != NONE) else {
                *rejects.entry(RejectReason::MissingColumn).or_default() += 1;
                continue;
            };
            if bucket_of[user_at] == NONE {
                bucket_of[user_at] = UserKey::of(users.values.value(user_at)).bucket(N_BUCKETS);
            }
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
            buffers.push(bucket_of[user_at], 0, |out| record.encode(out))?;
        }
        Ok(n)
    }

    fn slates(&self, batch: &RecordBatch, buffers: &mut Buffers<'_>) -> Result<u64, DataError> {
        let mut users = Ids::of(batch, s::USER_ID)?;
        let known = column::time(batch, s::KNOWN_AT)?.values();
        let slate = column::text(batch, s::SLATE_ID)?;
        let mut n = 0;
        for row in 0..batch.num_rows() {
            if known[row] >= self.until {
                continue;
            }
            n += 1;
            let Some(at) = users.column.key(row) else { continue };
            let bucket = UserKey::of(users.values.value(at)).bucket(N_BUCKETS);
            let user = users.get(row, |id| self.user(id))?;
            buffers.push(bucket, 1, |out| {
                out.put_u32(user);
                out.put_u64(slate_key(slate.value(row)));
                out.put_i64(known[row]);
            })?;
        }
        Ok(n)
    }

    fn candidates(&self, batch: &RecordBatch, buffers: &mut Buffers<'_>) -> Result<u64, DataError> {
        let mut users = Ids::of(batch, s::USER_ID)?;
        let mut items = Ids::of(batch, s::ITEM_ID)?;
        let known = column::time(batch, s::KNOWN_AT)?.values();
        let slate = Mapped::of(batch, s::SLATE_ID, slate_key)?;
        let sources = column::list(batch, s::SOURCES)?;
        let scores = column::list(batch, s::SOURCE_SCORES)?;
        let ranks = column::list(batch, s::SOURCE_RANKS)?;
        let position = column::u32s(batch, s::POSITION)?;
        let propensity = column::f64s(batch, s::PREFIX_PROPENSITY)?;
        let wrong = |name: &str| LogError::Column {
            table: Table::Candidates.to_string(),
            column: name.into(),
            got: "another type".into(),
            expected: "the schema's".into(),
        };
        let mut n = 0;
        for row in 0..batch.num_rows() {
            if known[row] >= self.until {
                continue;
            }
            n += 1;
            // Only what was chosen can have been shown.
            let Some(position) = column::at(position, row) else { continue };
            let Some(at) = users.column.key(row) else { continue };
            let bucket = UserKey::of(users.values.value(at)).bucket(N_BUCKETS);
            let user = users.get(row, |id| self.user(id))?;
            let item = items.get(row, |id| self.item(id, true))?;
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

    /// Everything spread to one bucket, unsorted, with numbers of the interners.
    pub(crate) fn load(&self, bucket: u32) -> Result<BucketInput, DataError> {
        let damaged =
            |which: usize| DataError::corrupt(self.spill.path(bucket, which), "whole records", "a torn one");
        let bytes = self.spill.read(bucket, 0)?;
        let mut records = Vec::with_capacity(bytes.len() / Record::BYTES);
        let mut t = Take(&bytes);
        while t.end().is_none() {
            records.push(Record::decode(&mut t).ok_or_else(|| damaged(0))?);
        }
        let bytes = self.spill.read(bucket, 1)?;
        let mut slates = Vec::new();
        let mut t = Take(&bytes);
        while t.end().is_none() {
            let mut one = || Some(SlateSeen { user: t.u32()?, slate: t.u64()?, composed_at: t.i64()? });
            slates.push(one().ok_or_else(|| damaged(1))?);
        }
        let bytes = self.spill.read(bucket, 2)?;
        let mut candidates = Vec::new();
        let mut t = Take(&bytes);
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
        Ok(BucketInput { records, slates, candidates })
    }
}
