//! The skip mood inside a session: a persistent state that explains more than context does.
//!
//! A session starts settled (its first track was chosen), then the mood follows what happens: a skip
//! raises it, a track heard to the end lowers it, and it forgets a part at every track. Targets: skips
//! by place in the session and after the play before (Brost et al. 2019).

use segue_types::Surface;

use crate::config::WorldConfig;
use crate::rhythm::SessionPlan;
use crate::rng::{Luck, Stream};

/// Mood of the first track relative to the later ones.
const FIRST: f64 = -0.25;
const PERSISTENCE: f64 = 0.75;
const AFTER_SKIP: f64 = 0.6;
const AFTER_FINISH: f64 = -0.5;
const NOISE: f64 = 0.25;

/// Hazard of ending the session after a track: `LATE + EARLY·e^(−k/6)`, divided by the stamina.
const LATE: f64 = 0.042;
const EARLY: f64 = 0.07;
const EARLY_TRACKS: f64 = 6.0;
/// Long sessions become background listening: the mood falls by this much per track after the 20th.
const CALM_PER_TRACK: f64 = 0.14;
const CALM_MOST: f64 = 3.0;

/// The course of one session: mood and whether it goes on. Its luck depends on the plan alone.
#[derive(Debug, Clone)]
pub struct Course {
    seed: u64,
    user: u64,
    plan: SessionPlan,
    state: f64,
    n_played: u64,
}

/// How a place colours the mood (a logit): skip rates by context of Brost et al. 2019, net of what
/// familiarity and appeal already do.
fn surface_mood(surface: Surface) -> f64 {
    match surface {
        Surface::Library => 0.45,
        Surface::Radio => 0.55,
        Surface::Charts => -0.7,
        Surface::Editorial => 0.3,
        Surface::Catalogue | Surface::Search => -0.1,
        _ => -0.25,
    }
}

impl Course {
    /// A session that begins as planned.
    #[must_use]
    pub fn new(config: &WorldConfig, user: u32, plan: SessionPlan) -> Self {
        Self { seed: config.seed, user: u64::from(user), plan, state: FIRST, n_played: 0 }
    }

    /// 0-based place of the next track.
    #[must_use]
    pub fn n_played(&self) -> u64 {
        self.n_played
    }

    /// The plan it follows.
    #[must_use]
    pub fn plan(&self) -> &SessionPlan {
        &self.plan
    }

    /// Luck of this session about its `k`-th track; the same whatever is played.
    #[must_use]
    pub fn luck(&self, k: u64, stream: Stream) -> Luck {
        Luck::new(self.seed, self.user, self.plan.start.0, k, stream)
    }

    /// The mood (a logit) in which the next track meets the listener.
    #[must_use]
    pub fn mood(&self, surface: Surface, shuffle: bool) -> f64 {
        let noise = NOISE * self.luck(self.n_played, Stream::Mood).normal();
        let calm = (CALM_PER_TRACK * (self.n_played as f64 - 20.0)).clamp(0.0, CALM_MOST);
        self.plan.mood + self.state + noise - calm + surface_mood(surface) + if shuffle { 0.12 } else { 0.0 }
    }

    /// Notes how the track went and says whether the session ends with it.
    ///
    /// When it ends does not depend on how tracks were heard: the same sessions have the same length under
    /// two policies.
    pub fn after(&mut self, finished: bool) -> bool {
        let effect = if finished { AFTER_FINISH } else { AFTER_SKIP };
        let k = self.n_played as f64;
        self.state = PERSISTENCE * if self.n_played == 0 { 0.0 } else { self.state } + effect;
        let hazard = (LATE + EARLY * (-k / EARLY_TRACKS).exp()) / self.plan.stamina;
        let ends = self.luck(self.n_played, Stream::SessionEnd).chance(1.0 - (-hazard).exp());
        self.n_played += 1;
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rhythm::Device;
    use segue_types::TimestampMs;

    fn course(start: i64) -> Course {
        let plan = SessionPlan {
            start: TimestampMs(start),
            local_hour: 12,
            is_weekend: false,
            device: Device::Mobile,
            offline: false,
            mood: 0.0,
            stamina: 1.0,
            energy: 0.5,
        };
        Course::new(&WorldConfig::smoke(1), 5, plan)
    }

    #[test]
    fn a_skip_raises_the_mood_and_a_finished_track_lowers_it() {
        let (mut skipped, mut finished) = (course(1_000), course(1_000));
        skipped.after(false);
        finished.after(true);
        let mood = |c: &Course| c.mood(Surface::Radio, false);
        assert!(mood(&skipped) > mood(&finished) + 1.0);
    }

    #[test]
    fn every_session_ends_at_the_same_place_however_its_tracks_were_heard() {
        let length = |start: i64, finished: bool| {
            let mut c = course(start);
            (1..10_000).find(|_| c.after(finished)).expect("a session ends")
        };
        for start in 0..200 {
            assert_eq!(length(start, false), length(start, true));
        }
    }
}
