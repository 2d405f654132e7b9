//! The vocabulary of Segue: keys, times, events, facts, labels, slates and the HTTP contract.
//!
//! No I/O and no async. Every other crate speaks these types; the units are in the names
//! (`_ms` milliseconds, `_at` a UTC timestamp in milliseconds, `n_` a count).
//!
//! External ids are strings and stay strings in events; [`ItemKey`] and [`UserKey`] are their
//! stable xxh3 hashes, used by user state, slate records and artifacts.
//!
//! ```
//! use segue_types::{EndReason, ItemKey, Outcome, Play, TimestampMs};
//!
//! let play = Play {
//!     listened_ms: Some(45_000),
//!     duration_ms: Some(200_000),
//!     end_reason: Some(EndReason::Next),
//!     ..Play::new("e1", "ada", "track-7", TimestampMs(1_700_000_000_000))
//! };
//! let outcome = Outcome::of(play.listened_ms, play.duration_ms, play.end_reason);
//! assert_eq!(outcome.stream, Some(true)); // 30 s or more
//! assert_eq!(outcome.skip, Some(true)); // the listener ended it before 90 %
//! assert_eq!(ItemKey::of("track-7"), ItemKey::of(&play.item_id));
//! ```

pub mod api;
pub mod event;
pub mod fact;
pub mod key;
pub mod label;
pub mod slate;
pub mod surface;
pub mod time;
pub mod validate;

pub use event::{EndReason, Event, Feedback, FeedbackKind, Impression, Play, StartReason};
pub use fact::{Item, ItemKind, Profile, User};
pub use key::{EventKey, ItemKey, UserKey};
pub use label::{Action, CompletionBucket, Outcome};
pub use slate::{
    CandidateRecord, Card, Degraded, PoolEntry, Shelf, ShelfRecord, Slate, SlateRecord, StageTrace,
};
pub use surface::Surface;
pub use time::{DAY_MS, Day, HOUR_MS, MINUTE_MS, SESSION_GAP_MS, TimestampMs};
pub use validate::RejectReason;
