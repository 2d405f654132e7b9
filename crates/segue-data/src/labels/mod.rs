//! The labels, one per file.

pub mod completion;
pub mod skip;
pub mod stream;

pub use completion::Completion;
pub use skip::Skip;
pub use stream::Stream;

use segue_types::Outcome;

use crate::enrich::{Enriched, What};
use crate::label::{LabelFold, Shown};

/// Names of the labels, in the order of [`read`].
pub const HEADS: [&str; 3] = [Stream::NAME, Completion::NAME, Skip::NAME];

/// All labels: 1, 0, or NaN where the data cannot tell.
#[must_use]
pub fn read(shown: &Shown, plays: &[Enriched]) -> [f32; 3] {
    let value = |label: Option<bool>| label.map_or(f32::NAN, |yes| f32::from(u8::from(yes)));
    [
        value(Stream::label(shown, plays)),
        value(Completion::label(shown, plays)),
        value(Skip::label(shown, plays)),
    ]
}

fn outcomes(plays: &[Enriched]) -> impl Iterator<Item = Outcome> + '_ {
    plays.iter().filter_map(|event| match event.what {
        What::Play { listened_ms, duration_ms, end, .. } => Some(Outcome::of(listened_ms, duration_ms, end)),
        _ => None,
    })
}

/// True if any is true; else unknown if any is unknown; else false.
fn any(labels: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut out = Some(false);
    for label in labels {
        match label {
            Some(true) => return Some(true),
            None => out = None,
            Some(false) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::ItemFacts;
    use crate::enrich::{Enricher, EnricherState, RawEvent};
    use segue_types::{EndReason, Event, Play, TimestampMs};

    const SHOWN: Shown = Shown { requested_at: TimestampMs(0), has_duration: true };

    fn play(listened: i64, duration: Option<i64>, end: Option<EndReason>) -> Enriched {
        let play = Play {
            listened_ms: Some(listened),
            duration_ms: duration,
            end_reason: end,
            ..Play::new("e", "u", "i", TimestampMs(5))
        };
        let raw = RawEvent::from(&Event::Play(play));
        Enricher.enrich(&mut EnricherState::default(), &raw, &ItemFacts::default()).unwrap()
    }

    /// NaN as -1, to compare.
    fn labels(shown: &Shown, plays: &[Enriched]) -> [f32; 3] {
        read(shown, plays).map(|v| if v.is_nan() { -1.0 } else { v })
    }

    #[test]
    fn what_was_shown_and_not_played_was_not_streamed_and_its_skip_is_unknown() {
        assert_eq!(labels(&SHOWN, &[]), [0.0, 0.0, -1.0]);
        let unknown = Shown { has_duration: false, ..SHOWN };
        assert_eq!(labels(&unknown, &[]), [0.0, -1.0, -1.0]);
    }

    #[test]
    fn a_censored_play_leaves_open_what_it_did_not_reach() {
        let crash = play(45_000, Some(200_000), Some(EndReason::Crash));
        assert_eq!(labels(&SHOWN, &[crash]), [1.0, -1.0, -1.0]);
    }

    #[test]
    fn one_of_several_plays_is_enough_but_the_first_decides_the_skip() {
        let skip = play(1_000, Some(200_000), Some(EndReason::Next));
        let full = play(200_000, Some(200_000), Some(EndReason::TrackDone));
        assert_eq!(labels(&SHOWN, &[skip, full]), [1.0, 1.0, 1.0]);
        assert_eq!(labels(&SHOWN, &[full, skip]), [1.0, 1.0, 0.0]);
    }
}
