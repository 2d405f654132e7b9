//! Activity, shares and the current session of a listener.

use segue_types::{Action, DAY_MS, HOUR_MS, TimestampMs};

use super::decayed::{decay, hours_since};
use crate::codec::{Put, Take};
use crate::enrich::{Enriched, What};
use crate::fold::{Fold, ItemContext};

/// Half-life of the decayed sums in days.
pub const HALF_LIFE_DAYS: f64 = 7.0;

/// State of [`UserFeatures`]. The decayed sums share one moment, `at`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UserFeaturesState {
    /// Plays in all.
    pub n_plays: u64,
    /// Impressions in all.
    pub n_impressions: u64,
    /// Moment of the decayed sums, UTC milliseconds.
    pub at: i64,
    /// Decayed plays.
    pub plays: f64,
    /// Decayed plays whose outcome is known.
    pub outcomes: f64,
    /// Decayed completions.
    pub completions: f64,
    /// Decayed skips.
    pub skips: f64,
    /// Latest start of a play, UTC milliseconds.
    pub last_played_at: i64,
    /// Number of the session of the latest play.
    pub session: u32,
    /// Plays in that session.
    pub session_plays: u32,
    /// Skips in that session.
    pub session_skips: u32,
}

/// Decayed activity, skip and completion share, time since the last play, the current session,
/// hour and weekday (UTC).
#[derive(Debug, Clone, Copy)]
pub struct UserFeatures;

impl Fold for UserFeatures {
    type State = UserFeaturesState;

    const NAME: &'static str = "user_features";
    const VERSION: u16 = 1;
    const MAX_BYTES: usize = 8 * 8 + 3 * 4;
    const COLUMNS: &'static [&'static str] = &[
        "user.plays",
        "user.plays_decayed",
        "user.completion_share",
        "user.skip_share",
        "user.hours_since_play",
        "user.session_plays",
        "user.session_skip_share",
        "user.hour_of_day",
        "user.weekday",
    ];

    fn update(state: &mut Self::State, event: &Enriched) {
        match event.what {
            What::Play { action, .. } => {
                let factor = decay(event.known_at.0.saturating_sub(state.at), HALF_LIFE_DAYS);
                let tell = !matches!(action, Action::Played | Action::Censored);
                state.plays = state.plays * factor + 1.0;
                state.outcomes = state.outcomes * factor + f64::from(u8::from(tell));
                state.completions =
                    state.completions * factor + f64::from(u8::from(action == Action::Completed));
                state.skips = state.skips * factor + f64::from(u8::from(action == Action::Skipped));
                state.at = event.known_at.0;
                if state.n_plays == 0 || event.session != state.session {
                    state.session = event.session;
                    state.session_plays = 0;
                    state.session_skips = 0;
                }
                state.session_plays = state.session_plays.saturating_add(1);
                state.session_skips =
                    state.session_skips.saturating_add(u32::from(action == Action::Skipped));
                state.last_played_at = if state.n_plays == 0 {
                    event.occurred_at.0
                } else {
                    state.last_played_at.max(event.occurred_at.0)
                };
                state.n_plays += 1;
            }
            What::Impression => state.n_impressions += 1,
            What::Feedback(_) => {}
        }
    }

    fn read(state: &Self::State, _item: Option<&ItemContext>, as_of: TimestampMs, row: &mut [f32]) {
        row.fill(f32::NAN);
        row[0] = state.n_plays as f32;
        row[7] = (as_of.0.rem_euclid(DAY_MS) / HOUR_MS) as f32;
        // 1970-01-01 was a Thursday; Monday is 0.
        row[8] = (as_of.0.div_euclid(DAY_MS) + 3).rem_euclid(7) as f32;
        row[1] = 0.0;
        row[5] = 0.0;
        if state.n_plays == 0 {
            return;
        }
        row[1] = (state.plays * decay(as_of.0.saturating_sub(state.at), HALF_LIFE_DAYS)) as f32;
        // Both sums age alike, so their ratio needs no decay.
        if state.outcomes > 0.0 {
            row[2] = (state.completions / state.outcomes) as f32;
            row[3] = (state.skips / state.outcomes) as f32;
        }
        row[4] = hours_since(state.last_played_at, as_of);
        row[5] = state.session_plays as f32;
        row[6] = state.session_skips as f32 / state.session_plays as f32;
    }

    fn encode(state: &Self::State, out: &mut Vec<u8>) {
        out.put_u64(state.n_plays);
        out.put_u64(state.n_impressions);
        out.put_i64(state.at);
        for v in [state.plays, state.outcomes, state.completions, state.skips] {
            out.put_f64(v);
        }
        out.put_i64(state.last_played_at);
        for v in [state.session, state.session_plays, state.session_skips] {
            out.put_u32(v);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self::State> {
        let mut t = Take(bytes);
        let state = UserFeaturesState {
            n_plays: t.u64()?,
            n_impressions: t.u64()?,
            at: t.i64()?,
            plays: t.f64()?,
            outcomes: t.f64()?,
            completions: t.f64()?,
            skips: t.f64()?,
            last_played_at: t.i64()?,
            session: t.u32()?,
            session_plays: t.u32()?,
            session_skips: t.u32()?,
        };
        t.end()?;
        (state.n_plays > 0
            || state
                == UserFeaturesState { n_impressions: state.n_impressions, ..UserFeaturesState::default() })
        .then_some(state)
    }
}
