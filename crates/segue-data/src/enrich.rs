//! Enrich: validate, deduplicate, sessionise and label events before any fold sees them.
//!
//! There is one code path, [`Enricher::enrich`], with a small state per listener. `prepare` runs
//! it over the sorted log, the server over events as they arrive.

use std::collections::VecDeque;

use segue_types::validate::{MAX_CLOCK_SKEW_MS, MAX_DURATION_MS, MIN_TIMESTAMP};
use segue_types::{
    Action, DAY_MS, EndReason, Event, EventKey, FeedbackKind, ItemKey, RejectReason, SESSION_GAP_MS,
    StartReason, Surface, TimestampMs, UserKey,
};

use crate::catalogue::ItemFacts;
use crate::codec::{Put, Take};
use crate::play_context::PlayContext;

/// Events of a listener that deduplication remembers online: an event whose id is among the last
/// this many accepted events is a duplicate. Offline, `prepare` remembers all of them.
pub const DEDUPE_EVENTS: usize = 256;

/// A play that stays open longer than this (paused, forgotten) ends here for sessions: 7 days.
pub const MAX_PLAY_SPAN_MS: i64 = 7 * DAY_MS;

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
    /// Key of the slate it refers to, 0 if none.
    pub slate: u64,
    /// 0-based position in that slate, [`NO_POSITION`] if not said.
    pub position: u32,
    /// What happened.
    pub what: What,
}

impl What {
    /// Surface and completion of a play; nothing of other events.
    #[must_use]
    pub fn context(&self) -> PlayContext {
        match *self {
            Self::Play { listened_ms, duration_ms, surface, .. } => {
                PlayContext::of(surface, listened_ms, duration_ms)
            }
            _ => PlayContext::default(),
        }
    }
}

/// The position of an event that names none.
pub const NO_POSITION: u32 = u32::MAX;

/// The part of an event that depends on its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// A play.
    Play {
        /// What became of it.
        action: Action,
        /// Milliseconds heard, if known.
        listened_ms: Option<i64>,
        /// Milliseconds the item lasts, by the play or else by the catalogue, if known.
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
    /// Something met on a slate; its position is in [`Enriched::position`].
    Impression,
}

/// An event before enrichment, without strings: what the executor keeps of a log row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RawEvent {
    /// Deduplication key.
    pub event: EventKey,
    /// Whose event.
    pub user: UserKey,
    /// The item played or shown, or the target of the feedback.
    pub item: ItemKey,
    /// When it happened.
    pub occurred_at: TimestampMs,
    /// When the system came to know of it.
    pub known_at: TimestampMs,
    /// Key of the slate it refers to ([`slate_key`]), 0 if none.
    pub slate: u64,
    /// 0-based position in that slate, [`NO_POSITION`] if not said.
    pub position: u32,
    /// What happened.
    pub kind: RawKind,
}

/// The part of a raw event that depends on its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RawKind {
    /// A play; columns as in [`segue_types::Play`].
    Play {
        /// When it ended, if known.
        ended_at: Option<TimestampMs>,
        /// Milliseconds heard, if known.
        listened_ms: Option<i64>,
        /// Milliseconds the item lasts, if the play says.
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
    Impression,
}

/// The key of an external slate id: never 0, which stands for "none".
#[must_use]
pub fn slate_key(slate_id: &str) -> u64 {
    ItemKey::of(slate_id).0.max(1)
}

impl From<&Event> for RawEvent {
    fn from(event: &Event) -> Self {
        let (item, slate, position, kind) = match event {
            Event::Play(e) => (
                &e.item_id,
                e.slate_id.as_deref(),
                e.position,
                RawKind::Play {
                    ended_at: e.ended_at,
                    listened_ms: e.listened_ms,
                    duration_ms: e.duration_ms,
                    start: e.start_reason,
                    end: e.end_reason,
                    surface: e.surface,
                },
            ),
            Event::Feedback(e) => {
                (&e.target_id, e.slate_id.as_deref(), e.position, RawKind::Feedback(e.kind))
            }
            Event::Impression(e) => {
                (&e.item_id, Some(e.slate_id.as_str()), Some(e.position), RawKind::Impression)
            }
        };
        Self {
            event: EventKey::of(event.event_id()),
            user: UserKey::of(event.user_id()),
            item: ItemKey::of(item),
            occurred_at: event.occurred_at(),
            known_at: event.known_at(),
            slate: slate.map_or(0, slate_key),
            position: position.unwrap_or(NO_POSITION),
            kind,
        }
    }
}

impl RawEvent {
    /// The rules of [`segue_types::validate`] that need no strings; the moment of receipt is
    /// `known_at`.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn check(&self) -> Result<(), RejectReason> {
        if self.occurred_at < MIN_TIMESTAMP || self.known_at < MIN_TIMESTAMP {
            return Err(RejectReason::BadTimestamp);
        }
        if self.occurred_at > self.known_at.plus_ms(MAX_CLOCK_SKEW_MS) {
            return Err(RejectReason::TimeOrder);
        }
        if let RawKind::Play { ended_at, listened_ms, duration_ms, .. } = self.kind {
            if ended_at.is_some_and(|end| end < self.occurred_at) {
                return Err(RejectReason::TimeOrder);
            }
            let absurd = |ms: Option<i64>, least| ms.is_some_and(|v| !(least..=MAX_DURATION_MS).contains(&v));
            if absurd(listened_ms, 0) || absurd(duration_ms, 1) {
                return Err(RejectReason::BadDuration);
            }
        }
        Ok(())
    }
}

/// What the enricher remembers of a listener.
#[derive(Debug, Clone, PartialEq)]
pub struct EnricherState {
    /// Moment and key of the latest accepted event: the next one has to come after it.
    last: Option<(i64, u128)>,
    /// Latest end of any play so far.
    latest_end: i64,
    /// Plays begin in this session; `u32::MAX` before the first.
    session: u32,
    /// Low halves of the last [`DEDUPE_EVENTS`] event keys, oldest first.
    recent: VecDeque<u64>,
}

impl Default for EnricherState {
    fn default() -> Self {
        Self { last: None, latest_end: i64::MIN, session: u32::MAX, recent: VecDeque::new() }
    }
}

/// Why an event did not reach the folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    /// It breaks a rule, or an event with its id was accepted before (`Duplicate`).
    #[error("rejected: {0}")]
    Rejected(RejectReason),
    /// It is not after the latest event in the order `(known_at, event key)`.
    #[error("known at {known_at} ms, not after the latest known event at {last_known_at} ms")]
    OutOfOrder {
        /// When the system came to know of it.
        known_at: i64,
        /// Moment of the latest accepted event.
        last_known_at: i64,
    },
}

/// Turns raw events into enriched ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Enricher;

impl Enricher {
    /// Version of the state's byte layout.
    pub const VERSION: u16 = 1;
    /// Upper bound of an encoded state in bytes.
    pub const MAX_BYTES: usize = 64 + DEDUPE_EVENTS * 8;

    /// Validates, deduplicates, sessionises and labels one event.
    ///
    /// `facts` are the item's facts as of `raw.known_at`. Events of one listener come in the order
    /// `(known_at, event key)`; who stamps the receipt makes it so ([`EnricherState::next_known_at`]).
    ///
    /// # Errors
    /// Why the event is not applied; the state is then unchanged.
    pub fn enrich(
        &self,
        state: &mut EnricherState,
        raw: &RawEvent,
        facts: &ItemFacts,
    ) -> Result<Enriched, NotApplied> {
        raw.check().map_err(NotApplied::Rejected)?;
        if state.recent.contains(&(raw.event.0 as u64)) {
            return Err(NotApplied::Rejected(RejectReason::Duplicate));
        }
        self.enrich_new(state, raw, facts)
    }

    /// [`enrich`](Self::enrich) for an event already checked and known to be new.
    pub(crate) fn enrich_new(
        &self,
        state: &mut EnricherState,
        raw: &RawEvent,
        facts: &ItemFacts,
    ) -> Result<Enriched, NotApplied> {
        let order = (raw.known_at.0, raw.event.0);
        if let Some(last) = state.last.filter(|&last| order <= last) {
            return Err(NotApplied::OutOfOrder { known_at: order.0, last_known_at: last.0 });
        }
        state.last = Some(order);
        state.remember(raw.event.0 as u64);
        let what = match raw.kind {
            RawKind::Play { ended_at, listened_ms, duration_ms, start, end, surface } => {
                let end_at = ended_at
                    .or(listened_ms.map(|ms| raw.occurred_at.plus_ms(ms)))
                    .unwrap_or(raw.occurred_at)
                    .min(raw.occurred_at.plus_ms(MAX_PLAY_SPAN_MS))
                    .0;
                let gap = raw.occurred_at.0.saturating_sub(state.latest_end);
                if state.session == u32::MAX || gap >= SESSION_GAP_MS {
                    state.session = state.session.wrapping_add(1);
                }
                state.latest_end = state.latest_end.max(end_at);
                let duration_ms = duration_ms.or(facts.duration_ms);
                let action = Action::of(listened_ms, duration_ms, end);
                What::Play { action, listened_ms, duration_ms, start, end, surface }
            }
            RawKind::Feedback(kind) => What::Feedback(kind),
            RawKind::Impression => What::Impression,
        };
        Ok(Enriched {
            event: raw.event,
            user: raw.user,
            item: raw.item,
            artist: facts.artist,
            tag: facts.tag,
            occurred_at: raw.occurred_at,
            known_at: raw.known_at,
            session: if state.session == u32::MAX { 0 } else { state.session },
            slate: raw.slate,
            position: raw.position,
            what,
        })
    }
}

impl EnricherState {
    fn remember(&mut self, event: u64) {
        if self.recent.len() == DEDUPE_EVENTS {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
    }

    /// When the system knew of the latest accepted event.
    #[must_use]
    pub fn last_known_at(&self) -> Option<TimestampMs> {
        self.last.map(|(at, _)| TimestampMs(at))
    }

    /// The first moment, `now` or later, that is after everything known: what a server stamps on
    /// the next event, and what a request is composed for. Both then mean the same order.
    #[must_use]
    pub fn next_known_at(&self, now: TimestampMs) -> TimestampMs {
        self.last.map_or(now, |(at, _)| now.max(TimestampMs(at.saturating_add(1))))
    }

    /// Number of the current session, `None` before the first play.
    #[must_use]
    pub fn session(&self) -> Option<u32> {
        (self.session != u32::MAX).then_some(self.session)
    }

    /// Whether a play that begins at `at` would start a new session.
    #[must_use]
    pub fn is_session_over(&self, at: TimestampMs) -> bool {
        self.session == u32::MAX || at.0.saturating_sub(self.latest_end) >= SESSION_GAP_MS
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (at, event) = self.last.unwrap_or((0, 0));
        out.put_u8(u8::from(self.last.is_some()));
        out.put_i64(at);
        out.put_u64((event >> 64) as u64);
        out.put_u64(event as u64);
        out.put_i64(self.latest_end);
        out.put_u32(self.session);
        out.put_u32(self.recent.len() as u32);
        for event in &self.recent {
            out.put_u64(*event);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut t = Take(bytes);
        let has_last = match t.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let at = t.i64()?;
        let event = u128::from(t.u64()?) << 64 | u128::from(t.u64()?);
        let latest_end = t.i64()?;
        let session = t.u32()?;
        let n = t.count(8, DEDUPE_EVENTS)?;
        let recent = (0..n).map(|_| t.u64()).collect::<Option<VecDeque<_>>>()?;
        t.end()?;
        if !has_last && (at != 0 || event != 0) {
            return None;
        }
        Some(Self { last: has_last.then_some((at, event)), latest_end, session, recent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use segue_types::Play;

    fn play(id: &str, occurred: i64, known: i64) -> RawEvent {
        let play = Play {
            received_at: Some(TimestampMs(known)),
            listened_ms: Some(60_000),
            ..Play::new(id, "u", "i", TimestampMs(occurred))
        };
        RawEvent::from(&Event::Play(play))
    }

    fn run(events: &[RawEvent]) -> Vec<Result<u32, NotApplied>> {
        let mut state = EnricherState::default();
        let facts = ItemFacts::default();
        events.iter().map(|e| Enricher.enrich(&mut state, e, &facts).map(|e| e.session)).collect()
    }

    #[test]
    fn a_gap_of_thirty_minutes_after_the_latest_end_starts_a_session() {
        let end = 60_000;
        let got = run(&[
            play("a", 0, 60_000),
            play("b", end + SESSION_GAP_MS - 1, 10_000_000),
            play("c", end + SESSION_GAP_MS - 1 + 60_000 + SESSION_GAP_MS, 20_000_000),
            play("late", 5, 30_000_000),
        ]);
        assert_eq!(got, [Ok(0), Ok(0), Ok(1), Ok(1)]);
    }

    #[test]
    fn duplicates_and_events_out_of_order_change_nothing() {
        let got = run(&[play("a", 0, 100), play("a", 0, 200), play("b", 0, 99), play("c", 0, 100_000)]);
        assert_eq!(got[1], Err(NotApplied::Rejected(RejectReason::Duplicate)));
        assert_eq!(got[2], Err(NotApplied::OutOfOrder { known_at: 99, last_known_at: 100 }));
        assert_eq!(got[3], Ok(0));
    }

    #[test]
    fn a_full_ring_forgets_the_oldest_and_survives_encoding() {
        let mut state = EnricherState::default();
        for i in 0..(DEDUPE_EVENTS as i64 + 10) {
            Enricher.enrich(&mut state, &play(&format!("e{i}"), 0, i + 1), &ItemFacts::default()).unwrap();
        }
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        assert!(bytes.len() <= Enricher::MAX_BYTES);
        let mut back = EnricherState::decode(&bytes).unwrap();
        for s in [&mut state, &mut back] {
            let again = |s: &mut EnricherState, id| {
                Enricher.enrich(s, &play(id, 0, 100_000), &ItemFacts::default()).is_err()
            };
            assert!(again(s, "e10"));
            assert!(!again(s, "e9"));
        }
    }
}
