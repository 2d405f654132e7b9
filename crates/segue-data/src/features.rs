//! The ranker's feature row: one function fills it, offline for training and online for serving.

use segue_types::{Day, ItemKey, TimestampMs};

use crate::aggregates::item_stats::ItemStats;
use crate::catalogue::ItemFacts;
use crate::fold::ItemContext;
use crate::folds::FoldStates;
use crate::user_state::UserState;

/// Columns about the item alone: aggregates of the day before the request, and facts.
const ITEM_COLUMNS: &[&str] = &[
    "item.plays",
    "item.plays_decayed",
    "item.listener_days",
    "item.stream_share",
    "item.completion_share",
    "item.skip_share",
    "item.age_days",
    "item.duration_s",
];

/// Names and order of the columns of a feature row.
///
/// First the folds' columns (`user.*`, `user_item.*`, `user_artist.*`, `recent.*`), then `item.*`,
/// then per source `source.<name>.score` and `source.<name>.rank`. Missing is NaN throughout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSchema {
    names: Vec<String>,
    sources: Vec<String>,
    n_fold_columns: usize,
}

/// What one source said of a candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceColumn {
    /// Index in [`FeatureSchema::sources`].
    pub source_idx: usize,
    /// Its score.
    pub score: f32,
    /// Its 1-based rank.
    pub rank: u32,
}

/// What a feature row is about.
#[derive(Debug, Clone, Copy)]
pub struct FeatureInput<'a> {
    /// The listener, with every event known strictly before `as_of`.
    pub state: &'a UserState,
    /// The candidate.
    pub item: ItemKey,
    /// Its facts as of `as_of`.
    pub facts: ItemFacts,
    /// Its aggregates through the day before `as_of`, see [`aggregates_day`]; `None` if it has none.
    pub stats: Option<ItemStats>,
    /// Moment of the request.
    pub as_of: TimestampMs,
    /// What the sources said; sources not named here are missing.
    pub sources: &'a [SourceColumn],
}

/// The last day whose aggregates a request at `as_of` may read: the day before.
#[must_use]
pub fn aggregates_day(as_of: TimestampMs) -> Day {
    as_of.day().previous()
}

impl FeatureSchema {
    /// The schema for these source names, in this order.
    #[must_use]
    pub fn new<S: AsRef<str>>(sources: &[S]) -> Self {
        let folds = FoldStates::columns();
        let sources: Vec<String> = sources.iter().map(|s| s.as_ref().to_owned()).collect();
        let mut names: Vec<String> =
            folds.iter().chain(ITEM_COLUMNS).map(|name| (*name).to_owned()).collect();
        for source in &sources {
            names.push(format!("source.{source}.score"));
            names.push(format!("source.{source}.rank"));
        }
        Self { names, sources, n_fold_columns: folds.len() }
    }

    /// Column names, in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of columns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never true: the folds always have columns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Source names, in order.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Index of a source by name.
    #[must_use]
    pub fn source_idx(&self, name: &str) -> Option<usize> {
        self.sources.iter().position(|s| s == name)
    }

    /// Fills one candidate's row.
    ///
    /// # Panics
    /// If `row` is not [`len`](Self::len) long, or a source index is out of range.
    pub fn fill(&self, input: &FeatureInput<'_>, row: &mut [f32]) {
        assert_eq!(row.len(), self.len(), "a feature row has one value per column");
        self.fill_user(input, row);
        self.fill_item(input.stats, &input.facts, input.as_of, row);
        self.fill_sources(input.sources, row);
    }

    /// The part that depends on the listener.
    pub(crate) fn fill_user(&self, input: &FeatureInput<'_>, row: &mut [f32]) {
        let context = ItemContext { item: input.item, artist: input.facts.artist, tag: input.facts.tag };
        input.state.folds.read(Some(&context), input.as_of, &mut row[..self.n_fold_columns]);
    }

    /// The part that depends on the item alone.
    pub(crate) fn fill_item(
        &self,
        stats: Option<ItemStats>,
        facts: &ItemFacts,
        as_of: TimestampMs,
        row: &mut [f32],
    ) {
        let day = aggregates_day(as_of);
        let stats = stats.unwrap_or_default();
        let share = |part: u32, all: u32| if all == 0 { f32::NAN } else { part as f32 / all as f32 };
        let out = &mut row[self.n_fold_columns..self.n_fold_columns + ITEM_COLUMNS.len()];
        out.copy_from_slice(&[
            stats.plays as f32,
            stats.plays_decayed_at(day),
            stats.listener_days as f32,
            share(stats.streams, stats.timed_plays),
            share(stats.completions, stats.timed_plays),
            share(stats.skips, stats.plays),
            facts.release_day.map_or(f32::NAN, |d| (as_of.day().0.saturating_sub(d.0)) as f32),
            facts.duration_ms.map_or(f32::NAN, |ms| (ms as f64 / 1_000.0) as f32),
        ]);
    }

    /// The part that the sources said.
    pub(crate) fn fill_sources(&self, sources: &[SourceColumn], row: &mut [f32]) {
        let out = &mut row[self.n_fold_columns + ITEM_COLUMNS.len()..];
        out.fill(f32::NAN);
        for s in sources {
            out[2 * s.source_idx] = s.score;
            out[2 * s.source_idx + 1] = s.rank as f32;
        }
    }
}
