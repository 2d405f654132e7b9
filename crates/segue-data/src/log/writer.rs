//! The only way into the log: rows in, parts out, all of them or none.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use segue_types::{Day, Event, SlateRecord, TimestampMs};

use super::row::Buffer;
use super::rows::{CandidateRow, SlateRow};
use super::{LogError, LogRow, Table};

/// Limits of a [`LogWriter`].
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Rows wait in memory up to about this many bytes; beyond, the largest days are written as
    /// parts of their own.
    pub memory_limit_bytes: usize,
    /// Rows per Parquet row group. Smaller groups prune better by bucket, larger ones compress
    /// better.
    pub row_group_rows: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { memory_limit_bytes: 256 << 20, row_group_rows: 64 << 10 }
    }
}

/// What one table got.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct TableWritten {
    /// Rows.
    pub n_rows: u64,
    /// Files.
    pub n_parts: u64,
    /// First and last received day, for tables with days.
    pub days: Option<(Day, Day)>,
}

/// What [`LogWriter::finish`] published.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Written {
    /// By table, in table order.
    pub tables: BTreeMap<Table, TableWritten>,
}

/// Spreads rows by table and received day and writes sorted parts.
///
/// Nothing is visible before [`finish`](Self::finish): parts carry names that start with a dot
/// until all of them are on disk. A writer dropped before that removes what it wrote.
pub struct LogWriter {
    root: PathBuf,
    options: WriterOptions,
    buffers: BTreeMap<(Table, Option<Day>), Buffer>,
    n_bytes: usize,
    parts: Vec<Pending>,
    written: Written,
    /// Folders this writer made, to take away again if nothing is published.
    made: Vec<PathBuf>,
    token: String,
}

/// A part on disk that is not visible yet.
struct Pending {
    table: Table,
    folder: PathBuf,
    temporary: PathBuf,
}

impl LogWriter {
    /// A writer into the log of `home`. `token` tells temporary files of writers that run at the
    /// same time apart: letters, digits, `-` and `_`, at most 64.
    ///
    /// # Errors
    /// If the token is not a safe file name.
    pub fn new(home: &Path, token: &str, options: WriterOptions) -> Result<Self, LogError> {
        check_id(token)?;
        Ok(Self {
            root: home.join("log"),
            options,
            buffers: BTreeMap::new(),
            n_bytes: 0,
            parts: Vec::new(),
            written: Written::default(),
            made: Vec::new(),
            token: token.to_owned(),
        })
    }

    /// Takes rows of one table, in any order.
    ///
    /// # Errors
    /// If a part cannot be written when memory is full.
    pub fn write<R: LogRow>(&mut self, rows: &[R]) -> Result<(), LogError> {
        rows.iter().try_for_each(|row| self.write_one(row))
    }

    /// Takes one row.
    ///
    /// # Errors
    /// If a part cannot be written when memory is full.
    pub fn write_one<R: LogRow>(&mut self, row: &R) -> Result<(), LogError> {
        let day = if R::TABLE.is_by_day() { row.known_at().map(TimestampMs::day) } else { None };
        let buffer = self.buffers.entry((R::TABLE, day)).or_insert_with(|| Buffer::new(R::TABLE));
        let before = buffer.n_bytes;
        buffer.push(row);
        self.n_bytes += buffer.n_bytes - before;
        if self.n_bytes > self.options.memory_limit_bytes {
            self.make_room()?;
        }
        Ok(())
    }

    /// Takes events of any kind.
    ///
    /// # Errors
    /// If a part cannot be written when memory is full.
    pub fn write_events(&mut self, events: &[Event]) -> Result<(), LogError> {
        events.iter().try_for_each(|event| match event {
            Event::Play(row) => self.write_one(row),
            Event::Feedback(row) => self.write_one(row),
            Event::Impression(row) => self.write_one(row),
        })
    }

    /// Takes the record of a slate: one row of `slates`, one of `candidates` per candidate.
    /// `json` is the record as it must be replayed.
    ///
    /// # Errors
    /// If a part cannot be written when memory is full.
    pub fn write_slate(&mut self, record: &SlateRecord, json: String) -> Result<(), LogError> {
        self.write_one(&SlateRow::of(record, Some(json)))?;
        CandidateRow::of(record).try_for_each(|row| self.write_one(&row))
    }

    /// Writes what waits, makes every part durable and then visible.
    ///
    /// Part names are `<written_at>-<id>-<number>.parquet`: names order parts by the moment of
    /// writing. With `replace`, parts that an earlier writer published under the same `id` are
    /// removed afterwards, so importing the same input again changes nothing.
    ///
    /// # Errors
    /// If a file cannot be written or renamed, or `id` is not a safe file name.
    pub fn finish(mut self, written_at: TimestampMs, id: &str, replace: bool) -> Result<Written, LogError> {
        check_id(id)?;
        let keys: Vec<_> = self.buffers.keys().copied().collect();
        for key in keys {
            self.flush(key)?;
        }
        self.buffers.clear();
        sync_all(self.parts.iter().map(|p| p.temporary.clone()).collect())?;
        let mut published = std::collections::BTreeSet::new();
        for (number, part) in std::mem::take(&mut self.parts).into_iter().enumerate() {
            let name = format!("{:013}-{id}-{number:05}.parquet", written_at.0);
            let target = part.folder.join(name);
            std::fs::rename(&part.temporary, &target)
                .map_err(|e| LogError::io("rename", &part.temporary, e))?;
            published.insert((part.table, target));
        }
        let mut folders: Vec<PathBuf> =
            published.iter().filter_map(|(_, path)| path.parent().map(Path::to_owned)).collect();
        // A new folder's own name must survive a power cut, too.
        folders.extend(self.made.iter().map(|f| folder_of(f)));
        folders.sort();
        folders.dedup();
        sync_all(folders)?;
        self.made.clear();
        if replace {
            self.remove_older(id, &published)?;
        }
        Ok(std::mem::take(&mut self.written))
    }

    fn remove_older(
        &self,
        id: &str,
        published: &std::collections::BTreeSet<(Table, PathBuf)>,
    ) -> Result<(), LogError> {
        let reader = super::LogReader::of_root(self.root.clone());
        for &table in Table::ALL {
            for part in reader.parts(table, None)? {
                let same_id =
                    part.name.split_once('-').and_then(|(_, rest)| rest.rsplit_once('-')).map(|x| x.0);
                if same_id == Some(id) && !published.contains(&(table, part.path.clone())) {
                    std::fs::remove_file(&part.path).map_err(|e| LogError::io("remove", &part.path, e))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the largest buffers until half of the memory is free.
    fn make_room(&mut self) -> Result<(), LogError> {
        let mut sizes: Vec<_> = self.buffers.iter().map(|(key, b)| (b.n_bytes, *key)).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        for (_, key) in sizes {
            if self.n_bytes <= self.options.memory_limit_bytes / 2 {
                break;
            }
            self.flush(key)?;
        }
        Ok(())
    }

    fn flush(&mut self, key: (Table, Option<Day>)) -> Result<(), LogError> {
        let Some(mut buffer) = self.buffers.remove(&key) else { return Ok(()) };
        let (table, day) = key;
        let n_rows = buffer.n_rows as u64;
        self.n_bytes = self.n_bytes.saturating_sub(buffer.n_bytes);
        if n_rows == 0 {
            return Ok(());
        }
        let batch = buffer.take_sorted()?;
        drop(buffer);
        let mut folder = self.root.join(table.as_str());
        if let Some(day) = day {
            folder.push(format!("day={}", day.to_iso()));
        }
        self.make_folder(&folder)?;
        let temporary = folder.join(format!(".{}-{:05}.tmp", self.token, self.parts.len()));
        // Listed before it is written: a failure halfway must not leave the file behind.
        self.parts.push(Pending { table, folder, temporary: temporary.clone() });
        let file = File::create(&temporary).map_err(|e| LogError::io("create", &temporary, e))?;
        let parquet = |e| LogError::parquet(&temporary, e);
        let properties = properties(self.options.row_group_rows).map_err(parquet)?;
        let mut writer = ArrowWriter::try_new(file, table.schema(), Some(properties)).map_err(parquet)?;
        writer.write(&batch).map_err(parquet)?;
        writer.close().map_err(parquet)?;
        let entry = self.written.tables.entry(table).or_default();
        entry.n_rows += n_rows;
        entry.n_parts += 1;
        if let Some(day) = day {
            let (first, last) = entry.days.unwrap_or((day, day));
            entry.days = Some((first.min(day), last.max(day)));
        }
        Ok(())
    }

    fn make_folder(&mut self, folder: &Path) -> Result<(), LogError> {
        let mut missing = Vec::new();
        let mut at = Some(folder);
        while let Some(f) = at.filter(|f| !f.as_os_str().is_empty() && !f.exists()) {
            missing.push(f.to_owned());
            at = f.parent();
        }
        for f in missing.into_iter().rev() {
            std::fs::create_dir_all(&f).map_err(|e| LogError::io("create", &f, e))?;
            self.made.push(f);
        }
        Ok(())
    }
}

/// The folder that holds a path; of a bare name it is the current one.
fn folder_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        for part in &self.parts {
            // Best effort: a leftover starts with a dot and is never read.
            let _ = std::fs::remove_file(&part.temporary);
        }
        for folder in self.made.iter().rev() {
            // Fails where somebody else has put something in the meantime, as it should.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn check_id(id: &str) -> Result<(), LogError> {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if id.is_empty() || id.len() > 64 || !id.bytes().all(safe) {
        return Err(LogError::PartId { id: id.to_owned() });
    }
    Ok(())
}

fn properties(row_group_rows: usize) -> Result<WriterProperties, parquet::errors::ParquetError> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(row_group_rows.max(1)))
        // Catalogues of a few 100,000 ids stay dictionary encoded, so readers hash each once.
        .set_dictionary_page_size_limit(16 << 20)
        // Event ids are distinct: a dictionary would only be built and thrown away.
        .set_column_dictionary_enabled(super::schema::EVENT_ID.into(), false)
        .set_column_dictionary_enabled(super::schema::RECORD.into(), false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build())
}

/// Fsyncs files or folders, eight at a time: an import of ten years has a file per day, and a
/// journalling file system commits waiting syncs together.
fn sync_all(paths: Vec<PathBuf>) -> Result<(), LogError> {
    let failed = Mutex::new(None);
    let chunk = paths.len().div_ceil(8).max(1);
    std::thread::scope(|scope| {
        for paths in paths.chunks(chunk) {
            let failed = &failed;
            scope.spawn(move || {
                for path in paths {
                    if let Err(e) = File::open(path).and_then(|f| f.sync_all()) {
                        let mut slot = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        slot.get_or_insert_with(|| LogError::io("fsync", path, e));
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok(()),
    }
}
