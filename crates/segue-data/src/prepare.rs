//! `prepare`: from the event log to an immutable snapshot.

use std::collections::BTreeMap;
use std::path::Path;

use segue_types::TimestampMs;

use crate::error::DataError;
use crate::progress::Progress;

/// Settings of [`prepare`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrepareConfig {
    /// Take only events known strictly before this moment (for evaluation); UTC milliseconds.
    pub until: Option<TimestampMs>,
    /// Worker threads; 0 takes one per core. The result does not depend on it.
    pub n_threads: usize,
    /// Rebuild everything even where yesterday's snapshot could be continued.
    pub full: bool,
    /// Most rows of ranker training data; above it whole requests are sampled by their hash.
    pub max_example_rows: u64,
    /// Names of the sources whose scores become columns of the training rows.
    pub sources: Vec<String>,
    /// Whether the finished snapshot becomes `snapshots/current`.
    pub publish: bool,
}

impl Default for PrepareConfig {
    fn default() -> Self {
        Self {
            until: None,
            n_threads: 0,
            full: false,
            max_example_rows: 2_000_000,
            sources: Vec::new(),
            publish: true,
        }
    }
}

/// What [`prepare`] did.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct PrepareReport {
    /// Id of the snapshot, the name of its folder.
    pub snapshot_id: String,
    /// Rows by table (`plays`, `feedback`, `impressions`, `items`, `users`, `profiles`,
    /// `examples`) in the snapshot.
    pub rows: BTreeMap<String, u64>,
    /// Events left out, by the name of the reason.
    pub rejects: BTreeMap<String, u64>,
    /// Whether an earlier snapshot was continued.
    pub incremental: bool,
    /// Days of log that were read.
    pub n_days_read: u64,
    /// Seconds per phase, in order.
    pub seconds: Vec<(String, f64)>,
}

/// Builds a snapshot of the log in `home/log` into `home/snapshots/<id>`.
///
/// `now` goes into the manifest's timings only.
///
/// # Errors
/// If the log is missing, damaged, or holds two ids with one key; nothing is published then.
pub fn prepare(
    home: &Path,
    _config: &PrepareConfig,
    _now: TimestampMs,
    _progress: &dyn Progress,
) -> Result<PrepareReport, DataError> {
    Err(DataError::Missing { what: "event log", path: home.join("log"), hint: "run `segue import` first" })
}
