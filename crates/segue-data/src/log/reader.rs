//! The only way out of the log: days, parts and batches.

use std::fs::File;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use segue_types::Day;

use super::schema::BUCKET;
use super::{LogError, LogRow, Table, column};

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartInfo {
    /// Its table.
    pub table: Table,
    /// Received day, for tables with days.
    pub day: Option<Day>,
    /// File name; names order parts of a day by the moment they were written.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size. Parts never change: name and size identify the content.
    pub n_bytes: u64,
}

/// What to read of a table.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// Received days, both ends included; `None` is all. Ignored by tables without days.
    pub days: Option<RangeInclusive<Day>>,
    /// User buckets; `None` is all. Ignored by tables without buckets.
    pub buckets: Option<Range<u32>>,
    /// Columns to read, in the table's order; `None` is all. A bucket range adds the bucket.
    pub columns: Option<Vec<&'static str>>,
    /// Most rows per batch.
    pub batch_rows: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self { days: None, buckets: None, columns: None, batch_rows: 64 << 10 }
    }
}

/// Reads the log of a home folder. Cheap to make; holds no file open.
#[derive(Debug, Clone)]
pub struct LogReader {
    root: PathBuf,
}

impl LogReader {
    /// A reader of the log of `home`; a home without a log reads as empty.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self::of_root(home.join("log"))
    }

    pub(crate) fn of_root(root: PathBuf) -> Self {
        Self { root }
    }

    /// Received days of a table, ascending; empty for tables without days.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn days(&self, table: Table) -> Result<Vec<Day>, LogError> {
        let mut days = Vec::new();
        if table.is_by_day() {
            for name in list(&self.root.join(table.as_str()))? {
                days.extend(name.strip_prefix("day=").and_then(Day::from_iso));
            }
        }
        days.sort_unstable();
        Ok(days)
    }

    /// Parts of a table in the order `(day, name)`, of `days` only if given.
    ///
    /// # Errors
    /// If a folder cannot be listed.
    pub fn parts(&self, table: Table, days: Option<RangeInclusive<Day>>) -> Result<Vec<PartInfo>, LogError> {
        let folder = self.root.join(table.as_str());
        let mut parts = Vec::new();
        let mut add = |day: Option<Day>, folder: &Path| -> Result<(), LogError> {
            for name in list(folder)? {
                if name.starts_with('.') || !name.ends_with(".parquet") {
                    continue;
                }
                let path = folder.join(&name);
                let n_bytes = std::fs::metadata(&path).map_err(|e| LogError::io("look at", &path, e))?.len();
                parts.push(PartInfo { table, day, name, path, n_bytes });
            }
            Ok(())
        };
        if table.is_by_day() {
            for day in self.days(table)? {
                if days.as_ref().is_none_or(|range| range.contains(&day)) {
                    add(Some(day), &folder.join(format!("day={}", day.to_iso())))?;
                }
            }
        } else {
            add(None, &folder)?;
        }
        parts.sort_by(|a, b| (a.day, &a.name).cmp(&(b.day, &b.name)));
        Ok(parts)
    }

    /// Rows of a table, from the footers of its parts.
    ///
    /// # Errors
    /// If a part cannot be opened.
    pub fn n_rows(&self, table: Table, days: Option<RangeInclusive<Day>>) -> Result<u64, LogError> {
        let mut n_rows = 0;
        for part in self.parts(table, days)? {
            n_rows += part.n_rows()?;
        }
        Ok(n_rows)
    }

    /// All batches of a table, part after part in the order of [`parts`](Self::parts).
    ///
    /// # Errors
    /// If a folder cannot be listed; a part that cannot be read is an error of the iterator.
    pub fn scan(
        &self,
        table: Table,
        options: &ScanOptions,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, LogError>> + use<>, LogError> {
        let options = options.clone();
        let parts = self.parts(table, options.days.clone())?;
        Ok(parts.into_iter().flat_map(move |part| match part.open(&options) {
            Ok(batches) => Batches::Open(Box::new(batches)),
            Err(e) => Batches::Failed(Some(e)),
        }))
    }

    /// All rows of a table as structs. Holds one batch at a time.
    ///
    /// # Errors
    /// If a folder cannot be listed; a part that cannot be read is an error of the iterator.
    pub fn rows<R: LogRow>(
        &self,
        days: Option<RangeInclusive<Day>>,
    ) -> Result<impl Iterator<Item = Result<R, LogError>> + use<R>, LogError> {
        let options = ScanOptions { days, ..ScanOptions::default() };
        Ok(self.scan(R::TABLE, &options)?.flat_map(|batch| match batch.and_then(|b| R::read(&b)) {
            Ok(rows) => rows.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(e) => vec![Err(e)],
        }))
    }
}

impl PartInfo {
    /// Rows of this part, from its footer.
    ///
    /// # Errors
    /// If the part cannot be opened.
    pub fn n_rows(&self) -> Result<u64, LogError> {
        Ok(self.builder()?.metadata().file_metadata().num_rows().unsigned_abs())
    }

    /// Opens this part alone, so that threads can share the parts of a scan among them.
    /// `options.days` plays no role.
    ///
    /// # Errors
    /// If the part cannot be opened or lacks a column asked for.
    pub fn open(&self, options: &ScanOptions) -> Result<PartBatches, LogError> {
        let builder = self.builder()?;
        let buckets = options.buckets.clone().filter(|_| self.table.has_bucket());
        let mut builder = builder.with_batch_size(options.batch_rows.max(1));
        if let Some(names) = &options.columns {
            let schema = builder.parquet_schema();
            let wanted = |name: &str| names.contains(&name) || (buckets.is_some() && name == BUCKET);
            let roots: Vec<usize> = (0..schema.root_schema().get_fields().len())
                .filter(|&i| wanted(schema.root_schema().get_fields()[i].name()))
                .collect();
            for name in names {
                if builder.schema().column_with_name(name).is_none() {
                    return Err(LogError::Column {
                        table: self.table.to_string(),
                        column: (*name).to_owned(),
                        got: "missing".into(),
                        expected: "there".into(),
                    });
                }
            }
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            builder = builder.with_projection(mask);
        }
        if let Some(buckets) = &buckets {
            let column = self.table.columns().iter().position(|c| c.0 == BUCKET).unwrap_or(0);
            let groups = builder.metadata().row_groups().iter().enumerate();
            let kept = groups.filter(|(_, g)| may_hold(g, column, buckets)).map(|(i, _)| i).collect();
            builder = builder.with_row_groups(kept);
        }
        let reader = builder.build().map_err(|e| LogError::parquet(&self.path, e))?;
        Ok(PartBatches { path: self.path.clone(), reader, buckets })
    }

    fn builder(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, LogError> {
        let file = File::open(&self.path).map_err(|e| LogError::io("open", &self.path, e))?;
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| LogError::parquet(&self.path, e))
    }
}

/// Batches of one part.
pub struct PartBatches {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    buckets: Option<Range<u32>>,
}

impl Iterator for PartBatches {
    type Item = Result<RecordBatch, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let batch = match self.reader.next()? {
                Ok(batch) => batch,
                Err(source) => return Some(Err(LogError::Arrow { table: "a part of the log", source })),
            };
            let Some(range) = &self.buckets else { return Some(Ok(batch)) };
            match column::u16s(&batch, BUCKET) {
                Err(e) => return Some(Err(e)),
                Ok(buckets) => {
                    // Rows of a part ascend by bucket, so the range is one slice.
                    let values = buckets.values();
                    let from = values.partition_point(|&b| u32::from(b) < range.start);
                    let to = values.partition_point(|&b| u32::from(b) < range.end);
                    if from < to {
                        return Some(Ok(batch.slice(from, to - from)));
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for PartBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartBatches").field("path", &self.path).field("buckets", &self.buckets).finish()
    }
}

enum Batches {
    Open(Box<PartBatches>),
    Failed(Option<LogError>),
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Open(batches) => batches.next(),
            Self::Failed(e) => e.take().map(Err),
        }
    }
}

/// Whether a row group can hold a bucket of the range; without statistics it can.
fn may_hold(group: &RowGroupMetaData, column: usize, buckets: &Range<u32>) -> bool {
    let Some(Statistics::Int32(stats)) = group.column(column).statistics() else { return true };
    match (stats.min_opt(), stats.max_opt()) {
        (Some(&min), Some(&max)) => {
            i64::from(min) < i64::from(buckets.end) && i64::from(max) >= i64::from(buckets.start)
        }
        _ => true,
    }
}

/// Names in a folder, sorted; a folder that does not exist is empty.
fn list(folder: &Path) -> Result<Vec<String>, LogError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(LogError::io("list", folder, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| LogError::io("list", folder, e))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}
