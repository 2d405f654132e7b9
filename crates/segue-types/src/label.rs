//! Labels, defined once: stream, completion, skip, censored.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::EndReason;

/// Gives an enum `ALL`, `as_str`, `parse` (exact name) and `from_code` (its stored `u8`).
macro_rules! names {
    ($ty:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $ty {
            /// Every value, in code order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in tables, JSON and configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The value of an exact name; `None` for anything else.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// The stored code. Codes never change meaning; 0 is kept for "absent".
            #[must_use]
            pub fn code(self) -> u8 {
                self as u8
            }

            /// The value of a stored code; `None` for 0 and for codes of a newer version.
            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.code() == code)
            }
        }

        impl std::fmt::Display for $ty {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use names;

/// A play heard for at least this long is a stream, in milliseconds.
pub const STREAM_MS: i64 = 30_000;
/// A play heard for at least this share of its duration, in thousandths, is a completion.
pub const COMPLETION_PER_MILLE: i64 = 900;

/// What a play says of itself. `None` where the data cannot tell; nothing is invented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// Heard for 30 s or more. Unknown without `listened_ms`; false only if not censored.
    pub stream: Option<bool>,
    /// Heard for 90 % of the duration or more. Unknown without a duration.
    pub completion: Option<bool>,
    /// Ended by the listener before completion. Unknown without an end reason.
    pub skip: Option<bool>,
    /// Ended by a crash, a logout or a lost network: what it did not reach is unknown, not false.
    pub censored: bool,
}

impl Outcome {
    /// The outcome of a play.
    ///
    /// `listened_ms` and `duration_ms` are milliseconds. Integers only: 90 % is
    /// `listened_ms * 1000 >= duration_ms * 900`, so every platform agrees.
    #[must_use]
    pub fn of(listened_ms: Option<i64>, duration_ms: Option<i64>, end: Option<EndReason>) -> Self {
        let censored = end.is_some_and(EndReason::is_censoring);
        let reached = |reached: bool| if reached { Some(true) } else { (!censored).then_some(false) };
        let stream = listened_ms.and_then(|ms| reached(ms >= STREAM_MS));
        let completion = match (listened_ms, duration_ms) {
            (Some(ms), Some(duration)) if duration > 0 => {
                reached(ms.saturating_mul(1000) >= duration.saturating_mul(COMPLETION_PER_MILLE))
            }
            _ => None,
        };
        let skip = match end {
            None => None,
            Some(_) if censored => None,
            // "Before that" is before completion; without a duration the reason alone decides.
            Some(end) => Some(end.is_by_listener() && completion != Some(true)),
        };
        Self { stream, completion, skip, censored }
    }
}

/// How far a play went, as sequence models and features see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum CompletionBucket {
    /// No listened time in the data.
    Unknown = 1,
    /// Under 30 s.
    Sampled = 2,
    /// 30 s or more, but under 90 % (or no duration to compare with).
    Streamed = 3,
    /// 90 % or more.
    Completed = 4,
}

names!(CompletionBucket {
    Unknown => "unknown",
    Sampled => "sampled",
    Streamed => "streamed",
    Completed => "completed",
});

impl CompletionBucket {
    /// The bucket of a play; both arguments in milliseconds.
    #[must_use]
    pub fn of(listened_ms: Option<i64>, duration_ms: Option<i64>) -> Self {
        let outcome = Outcome::of(listened_ms, duration_ms, None);
        match (outcome.completion, outcome.stream) {
            (Some(true), _) => Self::Completed,
            (_, Some(true)) => Self::Streamed,
            (_, Some(false)) => Self::Sampled,
            (_, None) => Self::Unknown,
        }
    }
}

/// The one-byte action column of packed sequences: what a listener did with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Action {
    /// A play whose outcome the data does not tell.
    Played = 1,
    /// A play under 30 s that was not ended by the listener.
    Sampled = 2,
    /// A play of 30 s or more that did not complete.
    Streamed = 3,
    /// A play of 90 % or more.
    Completed = 4,
    /// A play the listener ended before completion.
    Skipped = 5,
    /// A play cut off by a crash, logout or lost network.
    Censored = 6,
}

names!(Action {
    Played => "played",
    Sampled => "sampled",
    Streamed => "streamed",
    Completed => "completed",
    Skipped => "skipped",
    Censored => "censored",
});

impl Action {
    /// The action of a play; arguments as in [`Outcome::of`].
    #[must_use]
    pub fn of(listened_ms: Option<i64>, duration_ms: Option<i64>, end: Option<EndReason>) -> Self {
        let outcome = Outcome::of(listened_ms, duration_ms, end);
        match outcome {
            Outcome { completion: Some(true), .. } => Self::Completed,
            Outcome { skip: Some(true), .. } => Self::Skipped,
            Outcome { censored: true, .. } => Self::Censored,
            Outcome { stream: Some(true), .. } => Self::Streamed,
            Outcome { stream: Some(false), .. } => Self::Sampled,
            _ => Self::Played,
        }
    }

    /// Whether this action alone says that the listener did not want the item.
    #[must_use]
    pub fn is_negative(self) -> bool {
        matches!(self, Self::Skipped | Self::Sampled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_unreached_labels_unknown_but_keeps_reached_ones() {
        let o = Outcome::of(Some(45_000), Some(200_000), Some(EndReason::Crash));
        assert_eq!((o.stream, o.completion, o.skip, o.censored), (Some(true), None, None, true));
    }

    #[test]
    fn no_duration_means_no_completion_label() {
        let o = Outcome::of(Some(200_000), None, Some(EndReason::TrackDone));
        assert_eq!((o.stream, o.completion, o.skip), (Some(true), None, Some(false)));
    }

    #[test]
    fn the_thresholds_belong_to_the_positive_side() {
        assert_eq!(Outcome::of(Some(30_000), Some(100_000), None).stream, Some(true));
        assert_eq!(Outcome::of(Some(29_999), Some(100_000), None).stream, Some(false));
        assert_eq!(Outcome::of(Some(90_000), Some(100_000), None).completion, Some(true));
        assert_eq!(Outcome::of(Some(89_999), Some(100_000), None).completion, Some(false));
    }

    #[test]
    fn a_listener_who_leaves_at_the_very_end_did_not_skip() {
        assert_eq!(Outcome::of(Some(95_000), Some(100_000), Some(EndReason::Next)).skip, Some(false));
        assert_eq!(Action::of(Some(50_000), Some(100_000), Some(EndReason::Next)), Action::Skipped);
    }

    #[test]
    fn every_code_reads_back() {
        for &action in Action::ALL {
            assert_eq!(Action::from_code(action.code()), Some(action));
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
        assert_eq!(Action::from_code(0), None);
    }
}
