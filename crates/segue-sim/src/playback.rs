//! How long a play lasts: a hazard in three parts, steered by appeal and mood.
//!
//! With `d = mood − PULL·appeal`, three things may end a play before its duration, each on its own clock:
//! 1. an **instant skip** with probability `σ(INSTANT + d)`, after a few seconds;
//! 2. a **falling hazard** `FALLING·e^(SLOPE·d) / (τ + t)` while it plays;
//! 3. a departure **near the end** with probability `σ(NEAR_END + d/4)`, in the last 7 %.
//!
//! The first clock to ring decides. Each clock is a decreasing function of `d` for the same luck, so
//! under common random numbers a track that is wanted more is never heard shorter.
//!
//! # Source
//! Parts and targets: Lamere, "The Skip" (2014); fractions heard in the Yambda sample
//! (arXiv 2505.22238). The split and its constants are fitted here; the marginals show the fit.

use crate::rng::Luck;

/// How strongly appeal holds a listener back from skipping.
pub const PULL: f64 = 1.0;
const INSTANT: f64 = -2.03;
const INSTANT_TAU_MS: f64 = 2_300.0;
const INSTANT_MAX_MS: f64 = 15_000.0;
const FALLING: f64 = 0.205;
const FALLING_TAU_MS: f64 = 12_000.0;
const SLOPE: f64 = 0.6;
const NEAR_END: f64 = -1.65;
const NEAR_END_SHARE: f64 = 0.07;

/// How a play went, before anybody presses anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Milliseconds heard, at most the duration.
    pub listened_ms: i64,
    /// Whether it played to its end.
    pub finished: bool,
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Probability of an instant skip.
#[must_use]
pub fn instant_skip(mood: f64, appeal: f64) -> f64 {
    logistic(INSTANT + mood - PULL * appeal)
}

/// Rate of leaving per second at `t_ms` into the play, from the falling hazard alone.
#[must_use]
pub fn falling_hazard(mood: f64, appeal: f64, t_ms: f64) -> f64 {
    1_000.0 * FALLING * (SLOPE * (mood - PULL * appeal)).min(4.0).exp() / (FALLING_TAU_MS + t_ms)
}

/// Plays a track of `duration_ms` to a listener in this mood, to whom it has this appeal.
///
/// Uses exactly four draws of `luck`, whatever happens.
pub fn listen(mood: f64, appeal: f64, duration_ms: i64, luck: &mut Luck) -> Listen {
    let d = mood - PULL * appeal;
    let duration = duration_ms as f64;
    let (u_instant, u_falling, u_near, u_where) =
        (luck.uniform(), luck.uniform(), luck.uniform(), luck.uniform());
    let q = instant_skip(mood, appeal);
    let mut t = f64::INFINITY;
    if u_instant < q {
        // `u / q` is uniform given the skip, and falls as q grows: an unwanted track ends sooner.
        t = (-INSTANT_TAU_MS * (1.0 - u_instant / q).ln()).min(INSTANT_MAX_MS);
    }
    // Inverse of the cumulative hazard `c·ln(1 + t/τ)`.
    let c = FALLING * (SLOPE * d).min(4.0).exp();
    let exponent = (-(1.0 - u_falling).ln() / c).min(50.0);
    t = t.min(FALLING_TAU_MS * (exponent.exp() - 1.0));
    if u_near < logistic(NEAR_END + 0.25 * d) {
        t = t.min(duration * (1.0 - NEAR_END_SHARE * u_where));
    }
    if t >= duration {
        Listen { listened_ms: duration_ms, finished: true }
    } else {
        Listen { listened_ms: (t as i64).max(300).min(duration_ms - 1), finished: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use proptest::prelude::*;

    fn luck(n: u64) -> Luck {
        Luck::new(n, 1, 2, 3, Stream::Playback)
    }

    proptest! {
        #[test]
        fn with_the_same_luck_a_better_track_is_never_heard_shorter(
            n in any::<u64>(), mood in -4.0..4.0_f64, appeal in -4.0..4.0_f64, more in 0.0..4.0_f64,
            duration in 1_000_i64..2_000_000,
        ) {
            let worse = listen(mood, appeal, duration, &mut luck(n));
            let better = listen(mood, appeal + more, duration, &mut luck(n));
            prop_assert!(better.listened_ms >= worse.listened_ms);
            prop_assert!(better.finished || !worse.finished);
        }

        #[test]
        fn a_play_lasts_between_nothing_and_its_duration(
            n in any::<u64>(), mood in -50.0..50.0_f64, appeal in -50.0..50.0_f64, duration in 1_i64..3_600_000,
        ) {
            let play = listen(mood, appeal, duration, &mut luck(n));
            prop_assert!((0..=duration).contains(&play.listened_ms));
            prop_assert_eq!(play.finished, play.listened_ms == duration);
        }
    }

    #[test]
    fn hazards_fall_with_time_and_appeal_and_rise_with_the_skip_mood() {
        for t in [0.0, 5_000.0, 60_000.0] {
            assert!(falling_hazard(0.0, 0.0, t) > falling_hazard(0.0, 0.0, t + 1_000.0));
            assert!(falling_hazard(0.0, 0.0, t) > falling_hazard(0.0, 0.5, t));
            assert!(falling_hazard(0.5, 0.0, t) > falling_hazard(0.0, 0.0, t));
        }
        assert!(instant_skip(0.0, 1.0) < instant_skip(0.0, 0.0));
        assert!(instant_skip(1.0, 0.0) > instant_skip(0.0, 0.0));
    }
}
