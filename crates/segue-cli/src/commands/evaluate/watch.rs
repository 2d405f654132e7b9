//! What the command lends the evaluator: a clock, a memory gauge, a progress bar, and leniency towards
//! models that need what the data lacks.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use segue_data::progress::Progress as _;
use segue_eval::{Answer, Observer, Progress};
use segue_models::ModelError;

use super::examples::{Collector, Example};
use super::source::Source;
use crate::Global;
use crate::commands::train::is_about_the_data;
use crate::measure;
use crate::progress::Bar;

/// Draws progress, measures and collects examples.
pub(super) struct Watch<'a> {
    began: Instant,
    bar: Bar,
    shown: Mutex<(String, usize)>,
    examples: Collector<'a>,
}

impl<'a> Watch<'a> {
    /// Keeps the lists of `n_examples` listeners of the source, drawn by seed.
    pub(super) fn new(global: &Global, source: &'a Source, n_examples: usize, seed: u64) -> Self {
        Self {
            began: Instant::now(),
            bar: Bar::new(global.quiet),
            shown: Mutex::default(),
            examples: Collector::new(source, n_examples, seed),
        }
    }

    pub(super) fn into_examples(self) -> Vec<Example> {
        self.examples.into_examples()
    }
}

impl Observer for Watch<'_> {
    fn clock(&self) -> Option<Duration> {
        Some(self.began.elapsed())
    }

    fn progress(&self, progress: Progress<'_>) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (stage, n_done, n_all) = match progress {
            Progress::Splitting => ("splitting".to_owned(), 0, None),
            Progress::Fitting { model } => (format!("fitting {model}"), 0, None),
            Progress::Asking { model, n_done, n_users } => {
                (format!("asking {model}"), n_done, Some(n_users as u64))
            }
            Progress::Bootstrapping => ("resampling listeners".to_owned(), 0, None),
        };
        if shown.0 != stage {
            self.bar.begin(&stage, n_all, "listeners");
            *shown = (stage, 0);
        }
        self.bar.advance(n_done.saturating_sub(shown.1) as u64);
        shown.1 = shown.1.max(n_done);
    }

    fn begin_memory(&self) {
        measure::reset_peak();
    }

    fn peak_memory_bytes(&self) -> Option<u64> {
        measure::peak_memory_bytes()
    }

    fn leaves_out(&self, _model: &str, error: &ModelError) -> bool {
        is_about_the_data(error)
    }
    fn answered(&self, answer: &Answer<'_>) {
        self.examples.take(answer);
    }
}
