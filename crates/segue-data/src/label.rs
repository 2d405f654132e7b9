//! Label folds: what came of something shown. They may look ahead, features cannot read them.

use segue_types::TimestampMs;

use crate::enrich::Enriched;

/// Events count for a label if they became known at most this long after the request: 24 h.
pub const HORIZON_MS: i64 = segue_types::DAY_MS;

/// What was shown, or begun, at a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Moment of the request.
    pub requested_at: TimestampMs,
    /// Whether the item's duration is known from the catalogue.
    pub has_duration: bool,
}

/// A label of one training row.
///
/// # Contract
/// - `plays` are the plays that refer to what was shown, ordered by `(occurred_at, event key)`,
///   known at most [`HORIZON_MS`] after the request.
/// - `None` means that the data cannot tell, which is not the same as `false`: a censored play
///   (crash, logout, lost network) leaves open what it did not reach.
pub trait LabelFold: Send + Sync {
    /// Name of the label, which is the ranker's head.
    const NAME: &'static str;

    /// The label.
    fn label(shown: &Shown, plays: &[Enriched]) -> Option<bool>;
}
