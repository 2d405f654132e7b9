//! What makes a row from outside acceptable. Imports and the HTTP API apply the same rules.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::label::names;
use crate::{Event, Feedback, HOUR_MS, Impression, Item, MINUTE_MS, Play, Profile, TimestampMs, User};

/// Longest external id, in bytes.
pub const MAX_ID_BYTES: usize = 256;
/// Longest display string (title, name, tag), in bytes.
pub const MAX_TEXT_BYTES: usize = 1_024;
/// Longest list inside one item (artists, tags, markets).
pub const MAX_LIST_LEN: usize = 512;
/// Longest embedding, in values.
pub const MAX_EMBEDDING_LEN: usize = 4_096;
/// A duration or listened time above this is absurd: 24 h. Repeats and audiobooks stay below.
pub const MAX_DURATION_MS: i64 = 24 * HOUR_MS;
/// Clocks of clients may run ahead of the server by this much.
pub const MAX_CLOCK_SKEW_MS: i64 = 5 * MINUTE_MS;
/// 1950-01-01: nothing was streamed before; earlier timestamps are unit mistakes.
pub const MIN_TIMESTAMP: TimestampMs = TimestampMs(-631_152_000_000);

/// Why a row was not accepted. The name is stable: reports, metrics and clients rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RejectReason {
    /// The row cannot be parsed at all.
    Malformed = 1,
    /// A required column is missing or empty.
    MissingColumn = 2,
    /// An id is longer than [`MAX_ID_BYTES`] or has a control character.
    BadId = 3,
    /// A value is not one of the names its column may have.
    UnknownValue = 4,
    /// A timestamp cannot be read or lies before 1950.
    BadTimestamp = 5,
    /// A timestamp lies after the moment of import or receipt.
    FutureTimestamp = 6,
    /// A play ends before it begins, or is received before it began.
    TimeOrder = 7,
    /// A duration or listened time is negative, zero where it may not be, or above 24 h.
    BadDuration = 8,
    /// A number is not finite or out of its range.
    BadNumber = 9,
    /// An event with the same id was accepted before.
    Duplicate = 10,
    /// A text or list is longer than allowed.
    TooLong = 11,
    /// Two external ids share one key.
    KeyCollision = 12,
}

names!(RejectReason {
    Malformed => "malformed",
    MissingColumn => "missing_column",
    BadId => "bad_id",
    UnknownValue => "unknown_value",
    BadTimestamp => "bad_timestamp",
    FutureTimestamp => "future_timestamp",
    TimeOrder => "time_order",
    BadDuration => "bad_duration",
    BadNumber => "bad_number",
    Duplicate => "duplicate",
    TooLong => "too_long",
    KeyCollision => "key_collision",
});

/// A rejected field: which rule it broke and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {reason}")]
pub struct Invalid {
    /// The rule.
    pub reason: RejectReason,
    /// The column.
    pub field: &'static str,
}

fn invalid(field: &'static str, reason: RejectReason) -> Result<(), Invalid> {
    Err(Invalid { reason, field })
}

fn id(field: &'static str, value: &str) -> Result<(), Invalid> {
    if value.is_empty() {
        return invalid(field, RejectReason::MissingColumn);
    }
    if value.len() > MAX_ID_BYTES || value.chars().any(char::is_control) {
        return invalid(field, RejectReason::BadId);
    }
    Ok(())
}

fn optional_id(field: &'static str, value: Option<&str>) -> Result<(), Invalid> {
    value.map_or(Ok(()), |v| id(field, v))
}

fn text(field: &'static str, value: Option<&str>) -> Result<(), Invalid> {
    match value {
        Some(v) if v.len() > MAX_TEXT_BYTES => invalid(field, RejectReason::TooLong),
        _ => Ok(()),
    }
}

fn moment(field: &'static str, value: TimestampMs, now: TimestampMs) -> Result<(), Invalid> {
    if value < MIN_TIMESTAMP {
        return invalid(field, RejectReason::BadTimestamp);
    }
    if value > now.plus_ms(MAX_CLOCK_SKEW_MS) {
        return invalid(field, RejectReason::FutureTimestamp);
    }
    Ok(())
}

fn length(field: &'static str, value: Option<i64>, least: i64) -> Result<(), Invalid> {
    match value {
        Some(ms) if !(least..=MAX_DURATION_MS).contains(&ms) => invalid(field, RejectReason::BadDuration),
        _ => Ok(()),
    }
}

impl Play {
    /// Checks every column; `now` is the moment of import or receipt.
    ///
    /// # Errors
    /// The first broken rule and its column.
    pub fn validate(&self, now: TimestampMs) -> Result<(), Invalid> {
        id("event_id", &self.event_id)?;
        id("user_id", &self.user_id)?;
        id("item_id", &self.item_id)?;
        optional_id("slate_id", self.slate_id.as_deref())?;
        optional_id("context_id", self.context_id.as_deref())?;
        moment("occurred_at", self.occurred_at, now)?;
        for (field, at) in [("ended_at", self.ended_at), ("received_at", self.received_at)] {
            if let Some(at) = at {
                moment(field, at, now)?;
                // A client's clock may run ahead of the server's, so receipt gets the same slack.
                let slack = if field == "received_at" { MAX_CLOCK_SKEW_MS } else { 0 };
                if at.plus_ms(slack) < self.occurred_at {
                    return invalid(field, RejectReason::TimeOrder);
                }
            }
        }
        length("listened_ms", self.listened_ms, 0)?;
        length("duration_ms", self.duration_ms, 1)
    }
}

impl Feedback {
    /// Checks every column; `now` is the moment of import or receipt.
    ///
    /// # Errors
    /// The first broken rule and its column.
    pub fn validate(&self, now: TimestampMs) -> Result<(), Invalid> {
        id("event_id", &self.event_id)?;
        id("user_id", &self.user_id)?;
        id("target_id", &self.target_id)?;
        optional_id("slate_id", self.slate_id.as_deref())?;
        moment("occurred_at", self.occurred_at, now)?;
        self.received_at.map_or(Ok(()), |at| moment("received_at", at, now))
    }
}

impl Impression {
    /// Checks every column; `now` is the moment of import or receipt.
    ///
    /// # Errors
    /// The first broken rule and its column.
    pub fn validate(&self, now: TimestampMs) -> Result<(), Invalid> {
        id("event_id", &self.event_id)?;
        id("user_id", &self.user_id)?;
        id("item_id", &self.item_id)?;
        id("slate_id", &self.slate_id)?;
        optional_id("shelf_id", self.shelf_id.as_deref())?;
        moment("shown_at", self.shown_at, now)?;
        length("visible_ms", self.visible_ms, 0)?;
        self.received_at.map_or(Ok(()), |at| moment("received_at", at, now))
    }
}

impl Event {
    /// Checks every column; `now` is the moment of import or receipt.
    ///
    /// # Errors
    /// The first broken rule and its column.
    pub fn validate(&self, now: TimestampMs) -> Result<(), Invalid> {
        match self {
            Self::Play(e) => e.validate(now),
            Self::Feedback(e) => e.validate(now),
            Self::Impression(e) => e.validate(now),
        }
    }
}

impl Item {
    /// Checks every column.
    ///
    /// # Errors
    /// The first broken rule and its column.
    pub fn validate(&self) -> Result<(), Invalid> {
        id("item_id", &self.item_id)?;
        text("title", self.title.as_deref())?;
        text("album_name", self.album_name.as_deref())?;
        optional_id("album_id", self.album_id.as_deref())?;
        optional_id("recording_id", self.recording_id.as_deref())?;
        for (field, list) in [
            ("artist_ids", &self.artist_ids),
            ("artist_names", &self.artist_names),
            ("tags", &self.tags),
            ("markets", &self.markets),
        ] {
            if list.len() > MAX_LIST_LEN || list.iter().any(|v| v.len() > MAX_TEXT_BYTES) {
                return invalid(field, RejectReason::TooLong);
            }
        }
        length("duration_ms", self.duration_ms, 1)?;
        for (field, value, most) in [
            ("energy", self.energy, 1.0),
            ("valence", self.valence, 1.0),
            ("tempo_bpm", self.tempo_bpm, 1_000.0),
        ] {
            if value.is_some_and(|v| !(0.0..=most).contains(&v)) {
                return invalid(field, RejectReason::BadNumber);
            }
        }
        if self.embedding.len() > MAX_EMBEDDING_LEN {
            return invalid("embedding", RejectReason::TooLong);
        }
        if self.embedding.iter().any(|v| !v.is_finite()) {
            return invalid("embedding", RejectReason::BadNumber);
        }
        Ok(())
    }
}

impl User {
    /// Checks every column.
    ///
    /// # Errors
    /// The first broken rule and its column.
    pub fn validate(&self) -> Result<(), Invalid> {
        id("user_id", &self.user_id)?;
        text("display_name", self.display_name.as_deref())?;
        optional_id("market", self.market.as_deref())?;
        optional_id("plan", self.plan.as_deref())
    }
}

impl Profile {
    /// Checks every column.
    ///
    /// # Errors
    /// The first broken rule and its column.
    pub fn validate(&self) -> Result<(), Invalid> {
        id("user_id", &self.user_id)?;
        id("item_id", &self.item_id)?;
        if self.n_plays == 0 { invalid("n_plays", RejectReason::BadNumber) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    fn reason(change: impl FnOnce(&mut Play)) -> Option<(RejectReason, &'static str)> {
        let mut play = Play::new("e", "u", "i", NOW.plus_ms(-60_000));
        change(&mut play);
        play.validate(NOW).err().map(|e| (e.reason, e.field))
    }

    #[test]
    fn each_rule_names_its_reason_and_column() {
        use RejectReason as R;
        assert_eq!(reason(|_| ()), None);
        assert_eq!(reason(|p| p.event_id.clear()), Some((R::MissingColumn, "event_id")));
        assert_eq!(reason(|p| p.user_id = "x".repeat(257)), Some((R::BadId, "user_id")));
        assert_eq!(reason(|p| p.item_id = "a\u{0}b".into()), Some((R::BadId, "item_id")));
        assert_eq!(reason(|p| p.occurred_at = TimestampMs(i64::MIN)), Some((R::BadTimestamp, "occurred_at")));
        assert_eq!(
            reason(|p| p.occurred_at = NOW.plus_ms(600_000)),
            Some((R::FutureTimestamp, "occurred_at"))
        );
        assert_eq!(reason(|p| p.ended_at = Some(NOW.plus_ms(-70_000))), Some((R::TimeOrder, "ended_at")));
        assert_eq!(reason(|p| p.listened_ms = Some(-1)), Some((R::BadDuration, "listened_ms")));
        assert_eq!(reason(|p| p.duration_ms = Some(0)), Some((R::BadDuration, "duration_ms")));
        assert_eq!(reason(|p| p.duration_ms = Some(i64::MAX)), Some((R::BadDuration, "duration_ms")));
    }

    #[test]
    fn a_client_clock_a_little_ahead_is_forgiven() {
        assert_eq!(reason(|p| p.occurred_at = NOW.plus_ms(299_000)), None);
    }
}
