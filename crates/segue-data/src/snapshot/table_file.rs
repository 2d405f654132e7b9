//! Rows of `items`, `users` and `profiles` as one Parquet file each, in the log's schema.

use std::fs::File;
use std::path::Path;

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::column::FileEntry;
use crate::error::DataError;
use crate::log::LogRow;
use crate::log::row::Buffer;

/// Settings of every Parquet file of a snapshot: fixed, so that equal rows give equal bytes.
pub(crate) fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(64 << 10))
        .build()
}

/// Settings of training rows: mostly distinct floats, read whole. A dictionary would hold each of
/// them once more, and LZ4 takes out the long runs of zeros and missing values as well as zstd
/// does at a fraction of its time.
pub(crate) fn float_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(64 << 10))
        .build()
}

pub(crate) fn parquet_error(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> DataError {
    let path = path.to_path_buf();
    move |e| DataError::corrupt(path, "a Parquet file of a snapshot", e)
}

/// Writes rows in the log's order for their table.
pub(crate) fn write<R: LogRow>(path: &Path, rows: &[R]) -> Result<FileEntry, DataError> {
    let mut buffer = Buffer::new(R::TABLE);
    for row in rows {
        buffer.push(row);
    }
    let batch = buffer.take_sorted()?;
    let file = File::create(path).map_err(DataError::io(path))?;
    let sync = file.try_clone().map_err(DataError::io(path))?;
    let mut writer =
        ArrowWriter::try_new(file, R::TABLE.schema(), Some(properties())).map_err(parquet_error(path))?;
    writer.write(&batch).map_err(parquet_error(path))?;
    writer.close().map_err(parquet_error(path))?;
    sync.sync_all().map_err(DataError::io(path))?;
    FileEntry::of(path)
}

/// Reads all rows.
pub(crate) fn read<R: LogRow>(path: &Path) -> Result<Vec<R>, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(parquet_error(path))?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|e| DataError::corrupt(path, "a readable batch", e))?;
        rows.extend(R::read(&batch)?);
    }
    Ok(rows)
}
