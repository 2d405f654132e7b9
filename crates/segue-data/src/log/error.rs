//! What can go wrong with the log on disk.

use std::path::{Path, PathBuf};

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system said no.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A part of the log is not a readable Parquet file.
    #[error("`{path}` is not a readable part of the log: {source}")]
    Parquet {
        /// The part.
        path: PathBuf,
        /// The reader's error.
        source: parquet::errors::ParquetError,
    },
    /// Arrow refused an operation on a batch.
    #[error("table `{table}`: {source}")]
    Arrow {
        /// The table.
        table: &'static str,
        /// Arrow's error.
        source: arrow::error::ArrowError,
    },
    /// A column is missing or of another type than the schema says.
    #[error("table `{table}`: column `{column}` is {got}, the log's schema says {expected}")]
    Column {
        /// The table, or what the batch was read from.
        table: String,
        /// The column.
        column: String,
        /// What is there.
        got: String,
        /// What the schema says.
        expected: String,
    },
    /// A stored value is not one of its column's names.
    #[error("column `{column}`: `{value}` is not one of its names")]
    Value {
        /// The column.
        column: &'static str,
        /// The value.
        value: String,
    },
    /// A part id would not be a safe file name.
    #[error("`{id}` cannot name a part of the log; use letters, digits, `-` and `_`, at most 64")]
    PartId {
        /// The id as given.
        id: String,
    },
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn parquet(path: &Path, source: parquet::errors::ParquetError) -> Self {
        Self::Parquet { path: path.to_owned(), source }
    }
}
