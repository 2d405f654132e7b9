//! Plays, streams, completions, skips and listeners per item and day.

use segue_types::{Action, DAY_MS, Day, label::STREAM_MS};

use crate::aggregate::{Aggregate, Counts};
use crate::enrich::{Enriched, What};
use crate::folds::decayed::decay;

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
    pub fn with_day(&self, day: Day, counts: &Counts<6>) -> Option<Self> {
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
    type Key = u64;

    const NAME: &'static str = "item_stats";
    const VERSION: u16 = 1;
    const COUNTS: [&'static str; 6] =
        ["plays", "timed_plays", "streams", "completions", "skips", "listeners"];

    fn emit(&self, _market: u32, day: &[Enriched], out: &mut dyn FnMut(u64, Counts<6>)) {
        let mut items: Vec<u64> = Vec::with_capacity(day.len());
        for event in day {
            let What::Play { action, listened_ms, .. } = event.what else { continue };
            let stream = listened_ms.is_some_and(|ms| ms >= STREAM_MS);
            let bit = u32::from;
            out(
                event.item.0,
                [
                    1,
                    bit(listened_ms.is_some()),
                    bit(stream),
                    bit(action == Action::Completed),
                    bit(action == Action::Skipped),
                    0,
                ],
            );
            items.push(event.item.0);
        }
        items.sort_unstable();
        items.dedup();
        for item in items {
            out(item, [0, 0, 0, 0, 0, 1]);
        }
    }
}
