//! The truth: how much a listener wants a track in a context, and what a session was worth.
//!
//! `appeal = TASTE·(affinity − AFFINITY_MEAN) + QUALITY·quality + familiarity + energy fit + home market`,
//! a logit. `wanted = 1 / (1 + e^−appeal)` is the probability that the listener, asked now, would say
//! yes. The utility of a play is `wanted · minutes heard`, less a cost if it was skipped; that of a
//! session is the sum over its plays. Nothing of it depends on who proposed the track.

use segue_types::TimestampMs;

use crate::catalogue::Catalogue;
use crate::config::WorldConfig;
use crate::listener::Listener;
use crate::memory::{Heard, Memory};

/// Weight of the affinity to the listener's tastes.
const TASTE: f64 = 3.2;
/// Affinity of a track at which taste says neither yes nor no.
const AFFINITY_MEAN: f64 = 0.62;
/// Weight of the track's quality.
const QUALITY: f64 = 0.35;
/// Weight of the distance between the track's energy and the wanted one.
const ENERGY: f64 = 1.6;
/// Bonus of artists from the listener's market.
const HOME_MARKET: f64 = 0.25;

/// What is known at the moment of a play and matters for wanting it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// When.
    pub at: TimestampMs,
    /// Wanted energy in `[0, 1]`.
    pub energy: f64,
}

fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|p| p.0 <= x);
    match (after.checked_sub(1).and_then(|i| points.get(i)), points.get(after)) {
        (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0),
        (Some(a), None) => a.1,
        (None, Some(b)) => b.1,
        (None, None) => 0.0,
    }
}

/// Effect of having heard a track `n_plays` times (a logit): lower at the second hearing, highest near
/// ten, then slowly satiated. Shape from the Deezer uncertainty-feedback notebook (2025).
#[must_use]
pub fn familiarity(n_plays: u32) -> f64 {
    const POINTS: &[(f64, f64)] = &[(0.0, 0.0), (0.693, -0.2), (2.398, 0.35), (3.932, 0.05), (6.0, -0.5)];
    interpolate(POINTS, f64::from(n_plays).ln_1p())
}

/// Effect of the time since the last hearing (a logit), in minutes: too soon is worst, a few hours are
/// best, then it fades. Shape from the same source.
#[must_use]
pub fn recency(gap_min: f64) -> f64 {
    const POINTS: &[(f64, f64)] =
        &[(1.609, -0.75), (4.094, 0.1), (4.8, 0.2), (7.272, 0.1), (9.755, -0.2), (12.02, -0.5)];
    interpolate(POINTS, gap_min.max(1.0).ln())
}

fn familiarity_of(heard: Option<Heard>, at: TimestampMs) -> f64 {
    heard.map_or(0.0, |h| familiarity(h.n_plays) + recency(at.ms_since(h.last_at) as f64 / 60_000.0))
}

/// The part of the appeal that lasts: taste, quality, home market. A logit.
#[must_use]
pub fn lasting_appeal(listener: &Listener, catalogue: &Catalogue, item: u32) -> f64 {
    let i = item as usize;
    let home = catalogue.artist_market[catalogue.artist[i] as usize] == listener.market;
    TASTE * (listener.affinity(&catalogue.place[i]) - AFFINITY_MEAN)
        + QUALITY * f64::from(catalogue.quality[i])
        + if home { HOME_MARKET } else { 0.0 }
}

/// True appeal of a track for a listener at a moment (a logit); see the module's page.
#[must_use]
pub fn true_utility(
    listener: &Listener,
    memory: &Memory,
    catalogue: &Catalogue,
    item: u32,
    moment: Moment,
) -> f64 {
    let energy_gap = (f64::from(catalogue.energy[item as usize]) - moment.energy).abs();
    lasting_appeal(listener, catalogue, item)
        + ENERGY * (0.25 - energy_gap)
        + familiarity_of(memory.of(item), moment.at)
}

/// Probability of wanting a track of this appeal.
#[must_use]
pub fn wanted(appeal: f64) -> f64 {
    1.0 / (1.0 + (-appeal).exp())
}

/// True utility of one play in minutes: wanted minutes less the cost of a skip.
#[must_use]
pub fn play_utility(config: &WorldConfig, appeal: f64, listened_ms: i64, was_skipped: bool) -> f64 {
    wanted(appeal) * listened_ms as f64 / 60_000.0
        - if was_skipped { config.behaviour.skip_cost_min } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn familiarity_dips_at_the_second_hearing_peaks_near_ten_and_satiates() {
        assert_eq!(familiarity(0), 0.0);
        assert!(familiarity(1) < familiarity(0) && familiarity(1) < familiarity(3));
        let best = (1..500).max_by(|&a, &b| familiarity(a).total_cmp(&familiarity(b))).unwrap();
        assert!((8..=12).contains(&best), "{best}");
        assert!(familiarity(50) < familiarity(10) && familiarity(400) < familiarity(50));
    }

    #[test]
    fn recency_is_worst_at_once_best_after_hours_then_fades() {
        assert!(recency(5.0) < recency(120.0));
        assert!(recency(120.0) > recency(60.0 * 24.0 * 12.0));
        assert!(recency(60.0 * 24.0 * 12.0) > recency(60.0 * 24.0 * 116.0));
    }

    #[test]
    fn interpolation_holds_its_end_values() {
        let points = [(1.0, 10.0), (2.0, 20.0)];
        for (x, y) in [(0.0, 10.0), (1.0, 10.0), (1.5, 15.0), (2.0, 20.0), (9.0, 20.0)] {
            assert!((interpolate(&points, x) - y).abs() < 1e-12, "{x}");
        }
        assert_eq!(interpolate(&[], 1.0), 0.0);
    }

    #[test]
    fn a_skip_costs_and_wanted_minutes_count() {
        let config = WorldConfig::smoke(1);
        assert!((play_utility(&config, 0.0, 120_000, false) - 1.0).abs() < 1e-12);
        assert!((play_utility(&config, 0.0, 0, true) + 0.25).abs() < 1e-12);
    }
}
