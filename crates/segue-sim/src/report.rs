//! What a run of the loop was worth: true utility per session and listener, and what happened.

use serde::Serialize;

/// One session as realised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SessionOutcome {
    /// Listener.
    pub user: u32,
    /// Planned start (UTC milliseconds); with `user` it identifies the session under every policy.
    pub planned_start_ms: i64,
    /// True utility in minutes: wanted minutes less the cost of skips.
    pub utility_min: f64,
    /// The part of it from plays that came from a slate.
    pub slate_utility_min: f64,
    /// Minutes heard.
    pub listened_min: f64,
    /// Plays.
    pub n_plays: u32,
    /// Plays that came from a slate.
    pub n_slate_plays: u32,
    /// Plays the listener ended before 90 %.
    pub n_skips: u32,
}

/// A listener's sessions together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UserOutcome {
    /// Listener.
    pub user: u32,
    /// Sessions.
    pub n_sessions: u32,
    /// Sum of the true utility in minutes.
    pub utility_min: f64,
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LoopCounts {
    /// Plays.
    pub n_plays: u64,
    /// Plays that came from a slate.
    pub n_slate_plays: u64,
    /// Plays of 30 s or more.
    pub n_streams: u64,
    /// Plays of 90 % or more.
    pub n_completions: u64,
    /// Plays the listener ended before 90 %.
    pub n_skips: u64,
    /// Explicit acts.
    pub n_feedback: u64,
    /// Cards and tracks met.
    pub n_impressions: u64,
    /// Cards of Home that were chosen.
    pub n_clicks: u64,
    /// Slates got.
    pub n_slates: u64,
    /// Slates without a card.
    pub n_empty_slates: u64,
    /// Slates that said `degraded`.
    pub n_degraded_slates: u64,
    /// Cards that are no item of this world; never chosen.
    pub n_unknown_cards: u64,
    /// Sessions without network: no slates, events sent later, not part of the outcomes.
    pub n_offline_sessions: u64,
    /// Calls of the service that failed.
    pub n_errors: u64,
    /// Events given up after a second try.
    pub n_events_lost: u64,
    /// Events the service took.
    pub n_events_accepted: u64,
    /// Events the service refused, each with a reason.
    pub n_events_rejected: u64,
}

impl LoopCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            n_plays,
            n_slate_plays,
            n_streams,
            n_completions,
            n_skips,
            n_feedback,
            n_impressions,
            n_clicks,
            n_slates,
            n_empty_slates,
            n_degraded_slates,
            n_unknown_cards,
            n_offline_sessions,
            n_errors,
            n_events_lost,
            n_events_accepted,
            n_events_rejected,
        } = other;
        self.n_plays += n_plays;
        self.n_slate_plays += n_slate_plays;
        self.n_streams += n_streams;
        self.n_completions += n_completions;
        self.n_skips += n_skips;
        self.n_feedback += n_feedback;
        self.n_impressions += n_impressions;
        self.n_clicks += n_clicks;
        self.n_slates += n_slates;
        self.n_empty_slates += n_empty_slates;
        self.n_degraded_slates += n_degraded_slates;
        self.n_unknown_cards += n_unknown_cards;
        self.n_offline_sessions += n_offline_sessions;
        self.n_errors += n_errors;
        self.n_events_lost += n_events_lost;
        self.n_events_accepted += n_events_accepted;
        self.n_events_rejected += n_events_rejected;
    }
}

/// The result of [`crate::client::run_sessions`].
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LoopReport {
    /// Sessions by listener, then planned start.
    pub sessions: Vec<SessionOutcome>,
    /// What happened.
    pub counts: LoopCounts,
    /// The first messages of failed calls and refused events, at most [`MAX_MESSAGES`].
    pub messages: Vec<String>,
}

/// Messages kept in a report.
pub const MAX_MESSAGES: usize = 20;

impl LoopReport {
    /// Mean true utility per session in minutes; `None` without a session.
    #[must_use]
    pub fn utility_per_session(&self) -> Option<f64> {
        let n = self.sessions.len();
        (n > 0).then(|| self.sessions.iter().map(|s| s.utility_min).sum::<f64>() / n as f64)
    }

    /// Sums per listener, in order of listener.
    #[must_use]
    pub fn per_user(&self) -> Vec<UserOutcome> {
        let mut out: Vec<UserOutcome> = Vec::new();
        for s in &self.sessions {
            match out.last_mut() {
                Some(last) if last.user == s.user => {
                    last.n_sessions += 1;
                    last.utility_min += s.utility_min;
                }
                _ => out.push(UserOutcome { user: s.user, n_sessions: 1, utility_min: s.utility_min }),
            }
        }
        out
    }

    /// Per listener, the mean over the sessions that both runs have of `other − self` in true utility
    /// (minutes). The same sessions under two policies: feed it to a paired test over listeners.
    #[must_use]
    pub fn paired_differences(&self, other: &Self) -> Vec<f64> {
        let mut out: Vec<(u32, f64, u32)> = Vec::new();
        let mut theirs = other.sessions.iter().peekable();
        for ours in &self.sessions {
            let key = (ours.user, ours.planned_start_ms);
            while theirs.next_if(|t| (t.user, t.planned_start_ms) < key).is_some() {}
            let Some(t) = theirs.next_if(|t| (t.user, t.planned_start_ms) == key) else { continue };
            let difference = t.utility_min - ours.utility_min;
            match out.last_mut() {
                Some(last) if last.0 == ours.user => *last = (last.0, last.1 + difference, last.2 + 1),
                _ => out.push((ours.user, difference, 1)),
            }
        }
        out.into_iter().map(|(_, sum, n)| sum / f64::from(n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(user: u32, planned_start_ms: i64, utility_min: f64) -> SessionOutcome {
        SessionOutcome {
            user,
            planned_start_ms,
            utility_min,
            slate_utility_min: 0.0,
            listened_min: 0.0,
            n_plays: 0,
            n_slate_plays: 0,
            n_skips: 0,
        }
    }

    #[test]
    fn differences_pair_the_same_sessions_and_skip_the_others() {
        let a = LoopReport {
            sessions: vec![session(1, 10, 1.0), session(1, 20, 2.0), session(2, 5, 0.0), session(3, 1, 9.0)],
            ..LoopReport::default()
        };
        let b = LoopReport {
            sessions: vec![
                session(1, 10, 2.0),
                session(1, 20, 5.0),
                session(1, 30, 99.0),
                session(3, 1, 8.0),
            ],
            ..LoopReport::default()
        };
        assert_eq!(a.paired_differences(&b), vec![2.0, -1.0]);
        assert_eq!(a.per_user()[0], UserOutcome { user: 1, n_sessions: 2, utility_min: 3.0 });
        assert_eq!(a.utility_per_session(), Some(3.0));
        assert_eq!(LoopReport::default().utility_per_session(), None);
    }
}
