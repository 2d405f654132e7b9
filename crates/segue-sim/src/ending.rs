//! What the listener presses at the end of a play, and what they say about it.

use segue_types::{EndReason, FeedbackKind, StartReason};

use crate::memory::Memory;
use crate::playback::Listen;
use crate::rng::Luck;
use crate::utility::wanted;

/// Share of plays cut off by a crash, a lost network or a logout.
const CUT_OFF: f64 = 0.006;
/// Share of skips that press "back" rather than "next" (Brost et al. 2019: 8 % of all plays).
const BACK: f64 = 0.155;
/// Share of skips that choose something else.
const CLICK: f64 = 0.075;
/// Probability that a session ends in the middle of its last track.
const STOP_MIDWAY: f64 = 0.6;
/// Base rates of acts per play, before what the listener feels about it.
const LIKE: f64 = 0.12;
const DISLIKE: f64 = 0.02;
const UNLIKE: f64 = 0.155;
const FOLLOW: f64 = 0.001;

/// A play with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Milliseconds heard.
    pub listened_ms: i64,
    /// Why it ended.
    pub end: EndReason,
}

/// Turns how a track was listened to into how it ended. Uses four draws.
pub fn end(listen: Listen, is_last: bool, luck: &mut Luck) -> Ended {
    let (u_cut, u_kind, u_stop, part) = (luck.uniform(), luck.uniform(), luck.uniform(), luck.uniform());
    let shortened = ((listen.listened_ms as f64 * part) as i64).clamp(0, (listen.listened_ms - 1).max(0));
    if u_cut < CUT_OFF {
        let end = match u_kind {
            k if k < 0.5 => EndReason::NetworkLost,
            k if k < 0.9 => EndReason::Crash,
            _ => EndReason::Logout,
        };
        return Ended { listened_ms: shortened, end };
    }
    if is_last {
        if !listen.finished {
            return Ended { listened_ms: listen.listened_ms, end: EndReason::Stop };
        }
        if u_stop < STOP_MIDWAY {
            return Ended { listened_ms: shortened, end: EndReason::Stop };
        }
    }
    let end = match u_kind {
        _ if listen.finished => EndReason::TrackDone,
        k if k < BACK => EndReason::Back,
        k if k < BACK + CLICK => EndReason::Click,
        _ => EndReason::Next,
    };
    Ended { listened_ms: listen.listened_ms, end }
}

/// Why the next play begins, given how the one before ended within the session.
#[must_use]
pub fn next_start(previous: EndReason) -> StartReason {
    match previous {
        EndReason::TrackDone => StartReason::TrackDone,
        EndReason::Next => StartReason::Next,
        EndReason::Back => StartReason::Back,
        _ => StartReason::Click,
    }
}

/// What the listener says about a play, if anything, and notes it in the memory.
///
/// `playlist_adds` is a probability per play. Uses five draws.
pub fn react(
    memory: &mut Memory,
    item: u32,
    appeal: f64,
    listened_ms: i64,
    end: EndReason,
    playlist_adds: f64,
    luck: &mut Luck,
) -> Option<FeedbackKind> {
    let (u, u_kind, u_add, u_follow, u_drop) =
        (luck.uniform(), luck.uniform(), luck.uniform(), luck.uniform(), luck.uniform());
    let heard = listened_ms >= 30_000;
    let want = wanted(appeal);
    let is_kept = memory.of(item).is_some_and(|h| h.kept);
    if is_kept && !heard && u_drop < UNLIKE * (1.0 - want) && memory.drop_kept(item) {
        return Some(FeedbackKind::Unsave);
    }
    if !is_kept && heard && u < LIKE * want * want && memory.keep(item) {
        return Some(if u_kind < 0.6 { FeedbackKind::Save } else { FeedbackKind::Like });
    }
    if !is_kept && !heard && end.is_by_listener() && u < DISLIKE * (1.0 - want) {
        memory.refuse(item);
        return Some(if u_kind < 0.6 { FeedbackKind::Dislike } else { FeedbackKind::Hide });
    }
    if heard && u_add < 2.0 * playlist_adds * want {
        return Some(FeedbackKind::PlaylistAdd);
    }
    (heard && u_follow < FOLLOW * want).then_some(FeedbackKind::Follow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn the_next_play_begins_for_the_reason_the_last_one_ended() {
        for (end, start) in [
            (EndReason::TrackDone, StartReason::TrackDone),
            (EndReason::Next, StartReason::Next),
            (EndReason::Back, StartReason::Back),
            (EndReason::Click, StartReason::Click),
            (EndReason::Crash, StartReason::Click),
        ] {
            assert_eq!(next_start(end), start);
        }
    }

    #[test]
    fn a_finished_track_is_never_pressed_away_and_a_skipped_one_never_done() {
        for n in 0..2_000 {
            let mut luck = Luck::new(n, 0, 0, 0, Stream::Ending);
            let done = end(Listen { listened_ms: 200_000, finished: true }, false, &mut luck.clone());
            assert!(done.end == EndReason::TrackDone || done.end.is_censoring());
            let cut = end(Listen { listened_ms: 2_000, finished: false }, n % 2 == 0, &mut luck);
            assert!(cut.end != EndReason::TrackDone && cut.listened_ms <= 2_000);
        }
    }

    #[test]
    fn acts_change_the_memory_they_speak_of() {
        let mut memory = Memory::default();
        memory.note(1, segue_types::TimestampMs(0), true);
        let mut kinds = Vec::new();
        for n in 0..3_000 {
            let mut luck = Luck::new(n, 0, 0, 0, Stream::Feedback);
            let kept = memory.of(1).is_some_and(|h| h.kept);
            let (ms, appeal) = if n % 2 == 0 { (200_000, 2.0) } else { (1_000, -2.0) };
            if let Some(kind) = react(&mut memory, 1, appeal, ms, EndReason::Next, 0.0, &mut luck) {
                match kind {
                    FeedbackKind::Save | FeedbackKind::Like => assert!(!kept),
                    FeedbackKind::Unsave => assert!(kept),
                    _ => {}
                }
                kinds.push(kind);
            }
        }
        assert!(kinds.contains(&FeedbackKind::Save) && kinds.contains(&FeedbackKind::Unsave), "{kinds:?}");
    }
}
