//! What an evaluation tells its caller while it runs, and what it borrows: a clock, a memory gauge.

use std::time::Duration;

use segue_data::Sequence;
use segue_models::{ModelError, Scored};

/// Watches an evaluation: has a clock, draws progress. Libraries here read no clock themselves.
pub trait Observer: Sync {
    /// Time since any fixed moment; `None` leaves timings out of the report.
    fn clock(&self) -> Option<Duration> {
        None
    }

    /// Called when something begins or advances, possibly from several threads.
    fn progress(&self, progress: Progress<'_>) {
        let _ = progress;
    }

    /// Called before a model is fitted: what [`peak_memory_bytes`](Self::peak_memory_bytes) says
    /// counts from here.
    fn begin_memory(&self) {}

    /// Most memory the process held at once since [`begin_memory`](Self::begin_memory); `None` leaves
    /// it out of the report.
    fn peak_memory_bytes(&self) -> Option<u64> {
        None
    }

    /// Asked when a model cannot be fitted: true leaves it out and the report says so, false ends the
    /// evaluation with the error.
    fn leaves_out(&self, model: &str, error: &ModelError) -> bool {
        let _ = (model, error);
        false
    }

    /// Called with every list that is judged, possibly from several threads; with several seeds once for each.
    fn answered(&self, answer: &Answer<'_>) {
        let _ = answer;
    }
}

/// One list of one model, as it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// User row.
    pub user: usize,
    /// What the model was told of the user.
    pub history: Sequence<'a>,
    /// Item rows to predict, ascending.
    pub targets: &'a [u32],
    /// The best items under the protocol's rule for ties, best first.
    pub list: &'a [Scored],
}

/// What an evaluation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Splitting the data.
    Splitting,
    /// Fitting a model.
    Fitting {
        /// Its name.
        model: &'a str,
    },
    /// Asking a model.
    Asking {
        /// Its name.
        model: &'a str,
        /// Users asked so far.
        n_done: usize,
        /// Users to ask.
        n_users: usize,
    },
    /// Resampling users.
    Bootstrapping,
}

/// An observer without clock or display.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
