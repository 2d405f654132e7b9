//! An event as it waits on disk for its bucket: fixed width, no strings.

use segue_types::{EndReason, EventKey, FeedbackKind, ItemKey, StartReason, Surface, TimestampMs, UserKey};

use crate::codec::{Put, Take};
use crate::enrich::{RawEvent, RawKind};

/// Absent value of a `u32` column.
pub(crate) const NONE: u32 = u32::MAX;
/// A value that no rule allows; becomes one that validation rejects.
const BAD: u32 = u32::MAX - 1;

/// Kind codes of [`Record::kind`].
pub(crate) const PLAY: u8 = 0;
pub(crate) const FEEDBACK: u8 = 1;
pub(crate) const IMPRESSION: u8 = 2;

/// One event. `user` and `item` are numbers of this run's interners until the bucket is loaded,
/// then rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) known_at: i64,
    pub(crate) event: u128,
    pub(crate) occurred_at: i64,
    pub(crate) slate: u64,
    pub(crate) user: u32,
    pub(crate) item: u32,
    pub(crate) position: u32,
    pub(crate) listened: u32,
    pub(crate) duration: u32,
    /// Milliseconds from `occurred_at` to the end of a play.
    pub(crate) ended: u32,
    pub(crate) kind: u8,
    /// Code of the start reason, or of the feedback's kind.
    pub(crate) code: u8,
    pub(crate) end: u8,
    pub(crate) surface: u8,
}

/// A length in milliseconds as stored.
pub(crate) fn length(ms: Option<i64>) -> u32 {
    match ms {
        None => NONE,
        Some(ms) => u32::try_from(ms).ok().filter(|&v| v < BAD).unwrap_or(BAD),
    }
}

/// The time from `occurred_at` to `ended_at` as stored; longer than 49 days is stored as that.
pub(crate) fn span(occurred_at: i64, ended_at: Option<i64>) -> u32 {
    match ended_at.map(|end| end.saturating_sub(occurred_at)) {
        None => NONE,
        Some(ms) if ms < 0 => BAD,
        Some(ms) => u32::try_from(ms).unwrap_or(BAD - 1).min(BAD - 1),
    }
}

fn long(stored: u32) -> Option<i64> {
    match stored {
        NONE => None,
        BAD => Some(-1),
        ms => Some(i64::from(ms)),
    }
}

impl Record {
    /// Bytes on disk.
    pub(crate) const BYTES: usize = 8 + 16 + 8 + 8 + 6 * 4 + 4;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_i64(self.known_at);
        out.put_u64((self.event >> 64) as u64);
        out.put_u64(self.event as u64);
        out.put_i64(self.occurred_at);
        out.put_u64(self.slate);
        for v in [self.user, self.item, self.position, self.listened, self.duration, self.ended] {
            out.put_u32(v);
        }
        out.extend_from_slice(&[self.kind, self.code, self.end, self.surface]);
    }

    /// [`encode`](Self::encode) without the rows of user and item, which hold in one run only.
    pub(crate) fn encode_without_rows(&self, out: &mut Vec<u8>) {
        out.put_i64(self.known_at);
        out.put_u64((self.event >> 64) as u64);
        out.put_u64(self.event as u64);
        out.put_i64(self.occurred_at);
        out.put_u64(self.slate);
        for v in [self.position, self.listened, self.duration, self.ended] {
            out.put_u32(v);
        }
        out.extend_from_slice(&[self.kind, self.code, self.end, self.surface]);
    }

    /// Reads what [`encode_without_rows`](Self::encode_without_rows) wrote; rows are [`NONE`].
    pub(crate) fn decode_without_rows(t: &mut Take<'_>) -> Option<Self> {
        Some(Self {
            known_at: t.i64()?,
            event: u128::from(t.u64()?) << 64 | u128::from(t.u64()?),
            occurred_at: t.i64()?,
            slate: t.u64()?,
            user: NONE,
            item: NONE,
            position: t.u32()?,
            listened: t.u32()?,
            duration: t.u32()?,
            ended: t.u32()?,
            kind: t.u8()?,
            code: t.u8()?,
            end: t.u8()?,
            surface: t.u8()?,
        })
    }

    pub(crate) fn decode(t: &mut Take<'_>) -> Option<Self> {
        let known_at = t.i64()?;
        let event = u128::from(t.u64()?) << 64 | u128::from(t.u64()?);
        Some(Self {
            known_at,
            event,
            occurred_at: t.i64()?,
            slate: t.u64()?,
            user: t.u32()?,
            item: t.u32()?,
            position: t.u32()?,
            listened: t.u32()?,
            duration: t.u32()?,
            ended: t.u32()?,
            kind: t.u8()?,
            code: t.u8()?,
            end: t.u8()?,
            surface: t.u8()?,
        })
    }

    /// Order within a bucket: `(user, known_at, event)`, then everything else, so that even two
    /// different rows with one event id have a defined first.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let head = |r: &Self| (r.user, r.known_at, r.event);
        head(self).cmp(&head(other)).then_with(|| {
            let tail = |r: &Self| {
                let lengths = (r.position, r.listened, r.duration, r.ended);
                (r.occurred_at, r.kind, r.item, r.slate, lengths, r.code, r.end, r.surface)
            };
            tail(self).cmp(&tail(other))
        })
    }

    /// The event without strings. `None` if a code is unknown.
    pub(crate) fn raw(&self, user: UserKey, item: ItemKey) -> Option<RawEvent> {
        /// 0 is absent, an unknown code is `None`.
        fn code<T>(code: u8, parse: fn(u8) -> Option<T>) -> Option<Option<T>> {
            if code == 0 { Some(None) } else { parse(code).map(Some) }
        }
        let kind = match self.kind {
            PLAY => RawKind::Play {
                ended_at: long(self.ended).map(|ms| TimestampMs(self.occurred_at).plus_ms(ms)),
                listened_ms: long(self.listened),
                duration_ms: long(self.duration),
                start: code(self.code, StartReason::from_code)?,
                end: code(self.end, EndReason::from_code)?,
                surface: code(self.surface, Surface::from_code)?,
            },
            FEEDBACK => RawKind::Feedback(FeedbackKind::from_code(self.code)?),
            IMPRESSION => RawKind::Impression,
            _ => return None,
        };
        Some(RawEvent {
            event: EventKey(self.event),
            user,
            item,
            occurred_at: TimestampMs(self.occurred_at),
            known_at: TimestampMs(self.known_at),
            slate: self.slate,
            position: self.position,
            kind,
        })
    }
}
