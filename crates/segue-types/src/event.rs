//! Events: what a listener did, as a client or an import reports it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::label::names;
use crate::{Surface, TimestampMs};

/// Why a play began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum StartReason {
    /// The listener chose this very item.
    Click = 1,
    /// The item before it ended by itself.
    TrackDone = 2,
    /// The listener pressed "next" on the item before it.
    Next = 3,
    /// The listener pressed "back".
    Back = 4,
    /// The player went on by itself after what was chosen had ended.
    Autoplay = 5,
    /// Anything else the source names.
    Other = 6,
}

names!(StartReason {
    Click => "click",
    TrackDone => "track_done",
    Next => "next",
    Back => "back",
    Autoplay => "autoplay",
    Other => "other",
});

/// Why a play ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum EndReason {
    /// It played to its end.
    TrackDone = 1,
    /// The listener pressed "next".
    Next = 2,
    /// The listener pressed "back".
    Back = 3,
    /// The listener chose something else.
    Click = 4,
    /// The listener stopped or closed the player.
    Stop = 5,
    /// The application died.
    Crash = 6,
    /// The listener was logged out.
    Logout = 7,
    /// The network went away.
    NetworkLost = 8,
    /// Anything else the source names.
    Other = 9,
}

names!(EndReason {
    TrackDone => "track_done",
    Next => "next",
    Back => "back",
    Click => "click",
    Stop => "stop",
    Crash => "crash",
    Logout => "logout",
    NetworkLost => "network_lost",
    Other => "other",
});

impl EndReason {
    /// Whether the listener ended the play.
    #[must_use]
    pub fn is_by_listener(self) -> bool {
        matches!(self, Self::Next | Self::Back | Self::Click | Self::Stop)
    }

    /// Whether the play was cut off by something nobody chose.
    #[must_use]
    pub fn is_censoring(self) -> bool {
        matches!(self, Self::Crash | Self::Logout | Self::NetworkLost)
    }
}

/// One play of one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// Deduplication key, unique per event; at most 256 bytes.
    pub event_id: String,
    /// External user id, at most 256 bytes.
    pub user_id: String,
    /// External item id, at most 256 bytes.
    pub item_id: String,
    /// When playback began.
    pub occurred_at: TimestampMs,
    /// When playback ended; the outcome exists only from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<TimestampMs>,
    /// When the server got the event; set by the server, or by an import that knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<TimestampMs>,
    /// Milliseconds of sound heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listened_ms: Option<i64>,
    /// Milliseconds the item lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// Why it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_reason: Option<StartReason>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// Where it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<Surface>,
    /// The slate that offered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slate_id: Option<String>,
    /// Its 0-based position in that slate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// Whether shuffle was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<bool>,
    /// Whether the device was offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<bool>,
    /// The playlist, album or station it was played within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
}

impl Play {
    /// A play with only its required columns.
    #[must_use]
    pub fn new(event_id: &str, user_id: &str, item_id: &str, occurred_at: TimestampMs) -> Self {
        Self {
            event_id: event_id.to_owned(),
            user_id: user_id.to_owned(),
            item_id: item_id.to_owned(),
            occurred_at,
            ended_at: None,
            received_at: None,
            listened_ms: None,
            duration_ms: None,
            start_reason: None,
            end_reason: None,
            surface: None,
            slate_id: None,
            position: None,
            shuffle: None,
            offline: None,
            context_id: None,
        }
    }
}

/// What an explicit act says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum FeedbackKind {
    /// Kept in the collection.
    Save = 1,
    /// Taken out of the collection.
    Unsave = 2,
    /// Thumb up.
    Like = 3,
    /// Thumb down.
    Dislike = 4,
    /// Never show it to me.
    Hide = 5,
    /// Show it again.
    Unhide = 6,
    /// Added to a playlist.
    PlaylistAdd = 7,
    /// Follows an artist or playlist.
    Follow = 8,
    /// Unfollows.
    Unfollow = 9,
    /// Sent to somebody.
    Share = 10,
}

names!(FeedbackKind {
    Save => "save",
    Unsave => "unsave",
    Like => "like",
    Dislike => "dislike",
    Hide => "hide",
    Unhide => "unhide",
    PlaylistAdd => "playlist_add",
    Follow => "follow",
    Unfollow => "unfollow",
    Share => "share",
});

/// One explicit act on an item, artist or playlist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// Deduplication key.
    pub event_id: String,
    /// External user id.
    pub user_id: String,
    /// External id of what the act is about.
    pub target_id: String,
    /// What the act says.
    pub kind: FeedbackKind,
    /// When it happened.
    pub occurred_at: TimestampMs,
    /// When the server got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<TimestampMs>,
    /// The slate it was done on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slate_id: Option<String>,
    /// The 0-based position in that slate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
}

/// One card or track the listener met, as the client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Impression {
    /// Deduplication key.
    pub event_id: String,
    /// External user id.
    pub user_id: String,
    /// External item id.
    pub item_id: String,
    /// The slate it belongs to.
    pub slate_id: String,
    /// The shelf, on surfaces that have shelves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelf_id: Option<String>,
    /// 0-based position in the slate, counted over its shelves from top to bottom.
    pub position: u32,
    /// When it came on screen or began to sound.
    pub shown_at: TimestampMs,
    /// When the server got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<TimestampMs>,
    /// Milliseconds it stayed visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible_ms: Option<i64>,
}

/// Anything a client can report. In JSON the field `type` says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A play.
    Play(Play),
    /// An explicit act.
    Feedback(Feedback),
    /// Something seen or heard to begin.
    Impression(Impression),
}

impl Event {
    /// The deduplication key.
    #[must_use]
    pub fn event_id(&self) -> &str {
        match self {
            Self::Play(e) => &e.event_id,
            Self::Feedback(e) => &e.event_id,
            Self::Impression(e) => &e.event_id,
        }
    }

    /// Whose event it is.
    #[must_use]
    pub fn user_id(&self) -> &str {
        match self {
            Self::Play(e) => &e.user_id,
            Self::Feedback(e) => &e.user_id,
            Self::Impression(e) => &e.user_id,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn occurred_at(&self) -> TimestampMs {
        match self {
            Self::Play(e) => e.occurred_at,
            Self::Feedback(e) => e.occurred_at,
            Self::Impression(e) => e.shown_at,
        }
    }

    /// When the system came to know of it: `received_at`, else `ended_at`, else `occurred_at`.
    ///
    /// Feature folds run in the order of `(known_at, event_id)`.
    #[must_use]
    pub fn known_at(&self) -> TimestampMs {
        match self {
            Self::Play(e) => e.received_at.or(e.ended_at).unwrap_or(e.occurred_at),
            Self::Feedback(e) => e.received_at.unwrap_or(e.occurred_at),
            Self::Impression(e) => e.received_at.unwrap_or(e.shown_at),
        }
    }

    /// Stamps the moment the server got the event, replacing what a client may have sent.
    pub fn set_received_at(&mut self, at: TimestampMs) {
        match self {
            Self::Play(e) => e.received_at = Some(at),
            Self::Feedback(e) => e.received_at = Some(at),
            Self::Impression(e) => e.received_at = Some(at),
        }
    }
}
