//! The event log: Parquet files by table, received day and user bucket.
//!
//! ```text
//! log/plays/day=2026-11-21/1763683200000-9f2c…-0000.parquet     tables of events and slates
//! log/items/1763683200000-9f2c…-0000.parquet                    tables without a day
//! ```
//!
//! [`schema`] defines every table once, [`LogWriter`] is the only way in and [`LogReader`] the
//! only way out. A part is written to a name that starts with a dot, fsynced and renamed, so a
//! reader never meets half of one. Within a part, rows of user tables are in the order
//! `(bucket, UserKey, known_at, event_id)`; the bucket is the highest bits of the key, so this
//! is the order of `(UserKey, known_at, event_id)`. Tables without events keep the order they
//! were written in within one user or item.

pub mod column;
pub mod error;
pub mod reader;
pub mod row;
pub mod rows;
pub mod schema;
pub mod writer;

pub use error::LogError;
pub use reader::{LogReader, PartBatches, PartInfo, ScanOptions};
pub use row::LogRow;
pub use rows::{CandidateRow, SlateRow};
pub use schema::{N_BUCKETS, Table};
pub use writer::{LogWriter, TableWritten, WriterOptions, Written};
