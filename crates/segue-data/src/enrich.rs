//! Enrich: validate, deduplicate, sessionise and label events before any fold sees them.

use segue_types::{
    Action, EndReason, EventKey, FeedbackKind, ItemKey, StartReason, Surface, TimestampMs, UserKey,
};

/// An event of one listener as the folds see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Enriched {
    /// Deduplication key.
    pub event: EventKey,
    /// Whose event.
    pub user: UserKey,
    /// The item played or shown, or the target of the feedback.
    pub item: ItemKey,
    /// Key of the item's main artist at that time, 0 if unknown.
    pub artist: u64,
    /// Key of the item's first tag at that time, 0 if unknown.
    pub tag: u64,
    /// When it happened.
    pub occurred_at: TimestampMs,
    /// When the system came to know of it: the order of feature folds.
    pub known_at: TimestampMs,
    /// 0-based number of the listener's session, counted in known-at order. A play starts a new
    /// session when it begins 30 min or more after the latest end seen so far.
    pub session: u32,
    /// What happened.
    pub what: What,
}

/// The part of an event that depends on its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// A play.
    Play {
        /// What became of it.
        action: Action,
        /// Milliseconds heard, if known.
        listened_ms: Option<i64>,
        /// Milliseconds the item lasts, if known.
        duration_ms: Option<i64>,
        /// Why it began.
        start: Option<StartReason>,
        /// Why it ended.
        end: Option<EndReason>,
        /// Where it was started from.
        surface: Option<Surface>,
    },
    /// An explicit act.
    Feedback(FeedbackKind),
    /// Something met on a slate.
    Impression {
        /// 0-based position in the slate.
        position: u32,
    },
}
