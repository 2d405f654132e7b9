//! When a listener listens: presence over weeks, active days, sessions by hour of day and weekday.
//!
//! Plans follow from (seed, user, day) alone. No policy can change them, so the same sessions are
//! planned under every policy, and a plan's start is the session time in the key of all later luck.

use segue_types::{DAY_MS, Day, HOUR_MS, TimestampMs};

use crate::config::WorldConfig;
use crate::listener::Listener;
use crate::rng::{Luck, Stream};

/// Relative session arrivals by local hour on weekdays: peaks at 9–10 h and 18–19 h
/// (Zhang et al. 2013), lowest at 5 h.
const WEEKDAY: [f64; 24] = [
    2.2, 1.5, 1.1, 0.8, 0.65, 0.7, 1.7, 3.7, 5.4, 6.4, 5.6, 4.9, 4.9, 4.9, 5.0, 5.1, 5.5, 6.2, 6.8, 6.5, 5.7,
    5.2, 4.4, 3.3,
];
/// The same on weekends: no morning peak, most at 14–16 h (Brost et al. 2019, a Sunday).
const WEEKEND: [f64; 24] = [
    3.4, 2.5, 1.8, 1.2, 0.85, 0.7, 0.9, 1.5, 2.8, 4.3, 5.4, 6.0, 6.3, 6.6, 6.9, 6.9, 6.7, 6.4, 6.1, 5.7, 5.2,
    4.7, 4.2, 3.6,
];

/// What the listener listens on. Not part of the log; some published figures are by device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A phone.
    Mobile,
    /// A computer.
    Desktop,
}

/// A session as planned: when it begins and how it is coloured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SessionPlan {
    /// When it is to begin (a longer session before it delays it). The session time of the luck.
    pub start: TimestampMs,
    /// Local hour of day, 0–23.
    pub local_hour: u8,
    /// Saturday or Sunday, local time.
    pub is_weekend: bool,
    /// Device.
    pub device: Device,
    /// Whether the device has no network: plays arrive days later.
    pub offline: bool,
    /// The persistent part of the skip mood (a logit).
    pub mood: f64,
    /// How long this session wants to be, around 1; divides the hazard of ending.
    pub stamina: f64,
    /// Wanted energy in `[0, 1]`.
    pub energy: f64,
}

/// Whether `day` is a Saturday or Sunday (1970-01-01 was a Thursday).
#[must_use]
pub fn is_weekend(day: i64) -> bool {
    matches!((day + 3).rem_euclid(7), 5 | 6)
}

/// Relative skip logit by local hour: .47 at 06 h to .55 at 02 h (Brost et al. 2019).
#[must_use]
pub fn hour_mood(hour: u8) -> f64 {
    let bump = |centre: f64| {
        let apart = (f64::from(hour) - centre).rem_euclid(24.0);
        (-(apart.min(24.0 - apart) / 2.5).powi(2)).exp()
    };
    0.25 * bump(1.5) - 0.5 * bump(6.5)
}

/// The days of the log on which a listener is there: from registration on, with pauses, until leaving.
///
/// `n_days` counts from the first day of the log and may go beyond its end.
#[must_use]
pub fn present_days(config: &WorldConfig, listener: &Listener, n_days: u32) -> Vec<bool> {
    let b = &config.behaviour;
    let mut present = vec![false; n_days as usize];
    let first = i64::from(listener.registered_at.day().0) - i64::from(config.start_day.0);
    let mut away_until = -1_i64;
    for day in 0..i64::from(n_days) {
        let mut luck = Luck::new(config.seed, u64::from(listener.user), day, 0, Stream::Presence);
        if day < first || day < away_until {
            continue;
        }
        if luck.chance(b.leave_per_month / 30.0) {
            break;
        }
        if luck.chance(b.pause_per_month / 30.0) {
            away_until = day + 1 + (b.pause_days * luck.exponential()) as i64;
            continue;
        }
        present[day as usize] = true;
    }
    present
}

/// The sessions a listener plans for a UTC day on which they are present, in order of start.
#[must_use]
pub fn sessions_of(config: &WorldConfig, listener: &Listener, day: Day) -> Vec<SessionPlan> {
    let luck = &mut Luck::new(config.seed, u64::from(listener.user), day.start().0, 0, Stream::Schedule);
    if !luck.chance(listener.active_share) {
        return Vec::new();
    }
    let offset_ms = listener.market().utc_offset_h * HOUR_MS;
    let n_sessions = 1 + luck.poisson(listener.sessions_per_active_day - 1.0);
    let mut plans: Vec<SessionPlan> = (0..n_sessions)
        .map(|_| {
            // The hour is drawn in local time; the UTC day only says which stretch of it is filled.
            let utc_midnight_local = (day.start().0 + offset_ms).rem_euclid(DAY_MS) / HOUR_MS;
            let local_day_at =
                |hour_utc: i64| (day.start().0 + offset_ms + hour_utc * HOUR_MS).div_euclid(DAY_MS);
            let hour_utc = luck.weighted((0..24).map(|h| {
                let local = (h + utc_midnight_local).rem_euclid(24);
                let table = if is_weekend(local_day_at(h)) { &WEEKEND } else { &WEEKDAY };
                let late = listener.late_h.clamp(-3.0, 3.0);
                let at = (local as f64 - late).rem_euclid(24.0);
                let (low, part) = (at.floor(), at.fract());
                let next = (low as usize + 1) % 24;
                table[low as usize % 24] * (1.0 - part) + table[next] * part
            })) as i64;
            let start = day.start().plus_ms(hour_utc * HOUR_MS + luck.below(HOUR_MS as usize) as i64);
            let local = (start.0 + offset_ms).rem_euclid(DAY_MS) / HOUR_MS;
            let weekend = is_weekend((start.0 + offset_ms).div_euclid(DAY_MS));
            let device = if luck.chance(listener.desktop_share) { Device::Desktop } else { Device::Mobile };
            let colour = match device {
                Device::Mobile => 0.22,
                Device::Desktop => -0.5,
            } + if weekend { 0.08 } else { 0.0 }
                + hour_mood(local as u8);
            let day_energy = 0.12 * ((local as f64 - 15.0) / 24.0 * std::f64::consts::TAU).cos();
            SessionPlan {
                start,
                local_hour: local as u8,
                is_weekend: weekend,
                device,
                offline: device == Device::Mobile && luck.chance(config.behaviour.offline_share),
                mood: listener.mood + colour + MOOD_SIGMA * luck.normal(),
                stamina: (STAMINA_SIGMA * luck.normal()).exp(),
                energy: (listener.energy + day_energy + 0.15 * luck.normal()).clamp(0.0, 1.0),
            }
        })
        .collect();
    plans.retain(|p| p.start >= listener.registered_at);
    plans.sort_by_key(|p| p.start);
    plans.dedup_by_key(|p| p.start);
    plans
}

/// Spread of the skip mood between sessions of one listener.
const MOOD_SIGMA: f64 = 1.1;
/// Spread of the wish for a long session.
const STAMINA_SIGMA: f64 = 0.35;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn weekends_are_saturday_and_sunday() {
        let day = |iso: &str| i64::from(Day::from_iso(iso).unwrap().0);
        assert!(is_weekend(day("2026-11-21")) && is_weekend(day("2026-11-22")));
        assert!(!is_weekend(day("2026-11-23")) && !is_weekend(day("2026-11-20")));
    }

    #[test]
    fn plans_are_in_order_inside_their_day_and_not_before_registration() {
        let world = World::new(WorldConfig::smoke(1)).unwrap();
        let config = world.config();
        for user in 0..200 {
            let listener = world.listener(user);
            for (i, present) in present_days(config, &listener, config.n_days).into_iter().enumerate() {
                let day = Day(config.start_day.0 + i as i32);
                assert!(!present || day >= listener.registered_at.day());
                let plans = sessions_of(config, &listener, day);
                assert!(plans.windows(2).all(|w| w[0].start < w[1].start));
                assert!(plans.iter().all(|p| p.start.day() == day));
            }
        }
    }

    #[test]
    fn nobody_leaves_or_pauses_when_the_rates_are_zero() {
        let mut config = WorldConfig::smoke(1);
        config.behaviour.leave_per_month = 0.0;
        config.behaviour.pause_per_month = 0.0;
        config.behaviour.new_listeners_per_month = 0.0;
        let world = World::new(config).unwrap();
        for user in 0..50 {
            assert!(present_days(world.config(), &world.listener(user), 20).into_iter().all(|p| p));
        }
    }
}
