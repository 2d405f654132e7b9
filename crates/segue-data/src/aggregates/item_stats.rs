//! Plays, streams, completions, skips and listeners per item and day.

use segue_types::{Action, DAY_MS, Day};

use crate::aggregate::{Aggregate, CountedPlay};
use crate::folds::decayed::decay;
use crate::snapshot::action_counts;

/// Half-life of [`ItemStats::plays_decayed`] in days.
pub const HALF_LIFE_DAYS: f64 = 7.0;

/// What is known of an item through a day: sums over all days up to it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ItemStats {
    /// The last day with a play, at or before the day asked for.
    pub day: Day,
    /// Plays.
    pub plays: u32,
    /// Plays whose listened time is known: the denominator of streams and completions.
    pub timed_plays: u32,
    /// Plays of 30 s or more.
    pub streams: u32,
    /// Plays of 90 % or more.
    pub completions: u32,
    /// Plays the listener ended before completion.
    pub skips: u32,
    /// Pairs of a listener and a day on which they played it.
    pub listener_days: u32,
    /// Plays decayed by day with a half-life of [`HALF_LIFE_DAYS`], as of the end of `day`.
    pub plays_decayed: f32,
}

impl ItemStats {
    /// The decayed plays as of the end of `day`, at or after [`ItemStats::day`].
    #[must_use]
    pub fn plays_decayed_at(&self, day: Day) -> f32 {
        let days = i64::from(day.0) - i64::from(self.day.0);
        (f64::from(self.plays_decayed) * decay(days.saturating_mul(DAY_MS), HALF_LIFE_DAYS)) as f32
    }

    /// These sums with one more day of counts added; `None` if a count leaves `u32`.
    #[must_use]
    pub fn with_day(&self, day: Day, counts: &[u32; 6]) -> Option<Self> {
        let [plays, timed, streams, completions, skips, listeners] = *counts;
        Some(Self {
            day,
            plays: self.plays.checked_add(plays)?,
            timed_plays: self.timed_plays.checked_add(timed)?,
            streams: self.streams.checked_add(streams)?,
            completions: self.completions.checked_add(completions)?,
            skips: self.skips.checked_add(skips)?,
            listener_days: self.listener_days.checked_add(listeners)?,
            plays_decayed: self.plays_decayed_at(day) + plays as f32,
        })
    }
}

/// Emits, per item: plays, timed plays, streams, completions, skips, listeners of the day.
#[derive(Debug, Clone, Copy)]
pub struct ItemStatistics;

impl Aggregate<6> for ItemStatistics {
    const NAME: &'static str = "item_stats";
    const VERSION: u16 = 1;
    const COUNTS: [&'static str; 6] =
        ["plays", "timed_plays", "streams", "completions", "skips", "listeners"];

    fn emit(&self, play: &CountedPlay) -> (u32, [u32; 6]) {
        let [n, stream, completion, skip] = action_counts(play.action, play.listened_ms.unwrap_or(u32::MAX));
        let is_timed = match play.listened_ms {
            Some(ms) => ms != u32::MAX,
            None => stream + skip == 1 || play.action == Action::Sampled.code(),
        };
        (0, [n, u32::from(is_timed), stream, completion, skip, u32::from(play.is_first_of_day)])
    }
}
