//! What one listener did, in compact form, and its translation to events.

use segue_types::{
    EndReason, Feedback, FeedbackKind, Impression, MINUTE_MS, Play, StartReason, Surface, TimestampMs,
};

use crate::catalogue::Catalogue;
use crate::choice::Context;
use crate::listener::Listener;
use crate::rhythm::SessionPlan;

/// A play with what only the simulator knows.
#[derive(Debug, Clone, Copy)]
pub struct TapePlay {
    /// Track.
    pub item: u32,
    /// Session on the tape.
    pub session: u32,
    /// 0-based place in its session.
    pub place: u32,
    /// When it began.
    pub at: TimestampMs,
    /// When it ended.
    pub ended_at: TimestampMs,
    /// When the server got it.
    pub received_at: TimestampMs,
    /// Milliseconds heard.
    pub listened_ms: i64,
    /// Why it began.
    pub start: StartReason,
    /// Why it ended.
    pub end: EndReason,
    /// Where it was started.
    pub surface: Surface,
    /// Context it was played in.
    pub context: Context,
    /// Whether shuffle was on.
    pub shuffle: bool,
    /// Slate on the tape and position in it, for plays that were chosen on one.
    pub slate: Option<(u32, u32)>,
    /// Plays of this track by this listener before, those before the log included.
    pub n_before: u32,
    /// Milliseconds since the last one; `None` if there was none.
    pub gap_ms: Option<i64>,
    /// True appeal at that moment (a logit).
    pub appeal: f64,
}

/// An act on a play.
#[derive(Debug, Clone, Copy)]
pub struct TapeFeedback {
    /// Index of the play it was done on.
    pub play: u32,
    /// What it says; `Follow` is about the track's main artist.
    pub kind: FeedbackKind,
    /// When.
    pub at: TimestampMs,
}

/// A card that came on screen.
#[derive(Debug, Clone, Copy)]
pub struct TapeImpression {
    /// Track.
    pub item: u32,
    /// Slate on the tape.
    pub slate: u32,
    /// Shelf of the fictional Home: 0 is `popular`, 1 is `new`.
    pub shelf: u8,
    /// Position in the slate.
    pub position: u32,
    /// When it came on screen.
    pub at: TimestampMs,
    /// How long it stayed.
    pub visible_ms: i64,
    /// When the server got it.
    pub received_at: TimestampMs,
}

/// Everything one listener did in the log, in order of time.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    /// Sessions as planned.
    pub sessions: Vec<SessionPlan>,
    /// Plays.
    pub plays: Vec<TapePlay>,
    /// Acts.
    pub feedback: Vec<TapeFeedback>,
    /// Impressions of the fictional Home.
    pub impressions: Vec<TapeImpression>,
    /// Slates of the fictional Home that were shown.
    pub n_slates: u32,
}

/// Names of the shelves of the fictional Home.
pub const HOME_SHELVES: [&str; 2] = ["popular", "new"];

fn slate_id(user: u32, slate: u32) -> String {
    format!("w{user}-{slate}")
}

impl Tape {
    /// The plays as events.
    pub fn play_events<'a>(
        &'a self,
        catalogue: &'a Catalogue,
        user: u32,
    ) -> impl ExactSizeIterator<Item = Play> + 'a {
        let user_id = Listener::user_id(user);
        self.plays.iter().enumerate().map(move |(n, p)| Play {
            event_id: format!("p{user}-{n}"),
            user_id: user_id.clone(),
            item_id: Catalogue::item_id(p.item),
            occurred_at: p.at,
            ended_at: Some(p.ended_at),
            received_at: Some(p.received_at),
            listened_ms: Some(p.listened_ms),
            duration_ms: Some(i64::from(catalogue.duration_ms[p.item as usize])),
            start_reason: Some(p.start),
            end_reason: Some(p.end),
            surface: Some(p.surface),
            slate_id: p.slate.map(|s| slate_id(user, s.0)),
            position: p.slate.map(|s| s.1),
            shuffle: Some(p.shuffle),
            offline: Some(self.sessions[p.session as usize].offline),
            context_id: p.context.id(),
        })
    }

    /// The acts as events.
    pub fn feedback_events<'a>(
        &'a self,
        catalogue: &'a Catalogue,
        user: u32,
    ) -> impl ExactSizeIterator<Item = Feedback> + 'a {
        let user_id = Listener::user_id(user);
        self.feedback.iter().enumerate().map(move |(n, f)| {
            let play = &self.plays[f.play as usize];
            let target_id = match f.kind {
                FeedbackKind::Follow => Catalogue::artist_id(catalogue.artist[play.item as usize]),
                _ => Catalogue::item_id(play.item),
            };
            Feedback {
                event_id: format!("f{user}-{n}"),
                user_id: user_id.clone(),
                target_id,
                kind: f.kind,
                occurred_at: f.at,
                received_at: Some(f.at.max(play.received_at)),
                slate_id: play.slate.map(|s| slate_id(user, s.0)),
                position: play.slate.map(|s| s.1),
            }
        })
    }

    /// The impressions as events.
    pub fn impression_events(&self, user: u32) -> impl ExactSizeIterator<Item = Impression> + '_ {
        let user_id = Listener::user_id(user);
        self.impressions.iter().enumerate().map(move |(n, i)| Impression {
            event_id: format!("i{user}-{n}"),
            user_id: user_id.clone(),
            item_id: Catalogue::item_id(i.item),
            slate_id: slate_id(user, i.slate),
            shelf_id: Some(HOME_SHELVES[usize::from(i.shelf).min(1)].to_owned()),
            position: i.position,
            shown_at: i.at,
            received_at: Some(i.received_at),
            visible_ms: Some(i.visible_ms),
        })
    }

    /// Minutes of sound on the tape.
    #[must_use]
    pub fn minutes(&self) -> f64 {
        self.plays.iter().map(|p| p.listened_ms).sum::<i64>() as f64 / MINUTE_MS as f64
    }
}
