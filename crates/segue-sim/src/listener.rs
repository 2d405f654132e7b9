//! Who a listener is: tastes, favourites, activity, habits. All of it follows from (seed, user).

use segue_types::{DAY_MS, TimestampMs, User};

use crate::attention::Attention;
use crate::catalogue::{Catalogue, Place, cosine, genre_centre, genre_weights, near};
use crate::config::WorldConfig;
use crate::market::{MARKETS, Market, draw_market};
use crate::names;
use crate::rng::{Luck, Stream};

/// Spread of the log-normal activity between listeners. Yambda: p90 / median 4.2, p95 / median 5.5.
pub const ACTIVITY_SIGMA: f64 = 1.07;
/// Plays per day at which a listener is active on 63 % of the most days possible.
const ACTIVE_SCALE: f64 = 18.8;
/// Mean plays of a session (Yambda sample: 18.4).
pub const SESSION_PLAYS: f64 = 18.4;

/// One taste of a listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Taste {
    /// Genre it grew from.
    pub genre: u8,
    /// Its centre.
    pub place: Place,
    /// Share of exploring that follows it; the weights of a listener sum to 1.
    pub weight: f64,
}

/// What is fixed about one listener.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Index in `0..n_users`.
    pub user: u32,
    /// Index into [`MARKETS`].
    pub market: u8,
    /// Whether the plan is `premium`; otherwise `free`.
    pub premium: bool,
    /// Registration; inside the log for new listeners.
    pub registered_at: TimestampMs,
    /// Two to five tastes, heaviest first.
    pub tastes: Vec<Taste>,
    /// Favourite artists with their weight, heaviest first; weights sum to 1.
    pub favourites: Vec<(u32, f64)>,
    /// Expected plays per day while present.
    pub plays_per_day: f64,
    /// Probability that a day is active while present.
    pub active_share: f64,
    /// Expected sessions of an active day, at least 1.
    pub sessions_per_active_day: f64,
    /// Mean of the skip mood (a logit).
    pub mood: f64,
    /// Added to the logit of wanting something new.
    pub curiosity: f64,
    /// Hours by which the daily rhythm is late.
    pub late_h: f64,
    /// Preferred energy around which the hour of day moves.
    pub energy: f64,
    /// Share of sessions on a desktop.
    pub desktop_share: f64,
}

impl Listener {
    /// The listener `user` of a world.
    #[must_use]
    pub fn new(config: &WorldConfig, catalogue: &Catalogue, attention: &Attention, user: u32) -> Self {
        let luck = &mut Luck::new(config.seed, u64::from(user), 0, 0, Stream::Listener);
        let market = draw_market(luck);
        let premium = luck.chance(0.6);
        let registered_at = registration(config, luck);
        // Tastes.
        let n_tastes = 2 + luck.below(4);
        let mut tastes: Vec<Taste> = (0..n_tastes)
            .map(|_| {
                let genre = luck.weighted(genre_weights());
                let place = near(luck, &genre_centre(config.seed, genre), 0.6);
                Taste { genre: genre as u8, place, weight: luck.exponential().powf(1.3) + 0.05 }
            })
            .collect();
        tastes.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let total: f64 = tastes.iter().map(|t| t.weight).sum();
        tastes.iter_mut().for_each(|t| t.weight /= total);
        // Favourite artists: found by looking around in one's tastes, kept when near to them.
        let steepness = 0.4 + 0.5 * luck.normal().abs();
        let n_favourites = 20 + luck.below(41);
        let mut favourites: Vec<(u32, f64)> = Vec::with_capacity(n_favourites);
        for _ in 0..n_favourites * 2 {
            let taste = &tastes[luck.weighted(tastes.iter().map(|t| t.weight))];
            let best = (0..3)
                .filter_map(|_| attention.draw(taste.genre, config.start_day, luck))
                .map(|item| {
                    (cosine(&taste.place, &catalogue.place[item as usize]), catalogue.artist[item as usize])
                })
                .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
            if let Some((_, artist)) = best
                && favourites.len() < n_favourites
                && favourites.iter().all(|f| f.0 != artist)
            {
                favourites.push((artist, ((favourites.len() + 1) as f64).powf(-steepness)));
            }
        }
        let total: f64 = favourites.iter().map(|f| f.1).sum();
        favourites.iter_mut().for_each(|f| f.1 /= total);
        // Activity: the log-normal rate splits into active days, sessions and their length.
        let median = config.mean_plays_per_day / (ACTIVITY_SIGMA * ACTIVITY_SIGMA / 2.0).exp();
        let plays_per_day = median * (ACTIVITY_SIGMA * luck.normal()).exp();
        let active_share = 0.95 * (1.0 - (-plays_per_day / ACTIVE_SCALE).exp());
        let sessions_per_active_day = (plays_per_day / active_share / SESSION_PLAYS).clamp(1.0, 12.0);
        Self {
            user,
            market,
            premium,
            registered_at,
            tastes,
            favourites,
            plays_per_day,
            active_share,
            sessions_per_active_day,
            mood: 0.7 * luck.normal() + if premium { -0.04 } else { 0.06 },
            curiosity: 0.5 * luck.normal(),
            late_h: 1.3 * luck.normal(),
            energy: 0.5 + 0.15 * luck.normal(),
            desktop_share: (0.3 + 0.25 * luck.normal()).clamp(0.0, 0.9),
        }
    }

    /// External id of a listener.
    #[must_use]
    pub fn user_id(user: u32) -> String {
        format!("u{user:07}")
    }

    /// Where the listener lives.
    #[must_use]
    pub fn market(&self) -> &'static Market {
        &MARKETS[self.market as usize]
    }

    /// Affinity to a place: the best cosine over the tastes, less for those that weigh little.
    #[must_use]
    pub fn affinity(&self, place: &Place) -> f64 {
        let lead = self.tastes.first().map_or(1.0, |t| t.weight);
        self.tastes
            .iter()
            .map(|t| f64::from(cosine(&t.place, place)) + 0.06 * (t.weight / lead).ln())
            .fold(f64::NEG_INFINITY, f64::max)
    }

    /// The facts a service knows of the listener.
    #[must_use]
    pub fn facts(&self, config: &WorldConfig) -> User {
        let luck = &mut Luck::new(config.seed, u64::from(self.user), 0, 0, Stream::Names);
        User {
            user_id: Self::user_id(self.user),
            display_name: Some(names::listener(luck)),
            market: Some(self.market().code.to_owned()),
            registered_at: Some(self.registered_at),
            plan: Some(if self.premium { "premium" } else { "free" }.to_owned()),
            birth_year_bucket: Some(1_950 + 5 * luck.below(12) as i32),
            allow_explicit: Some(luck.chance(0.93)),
            consent: Some(luck.chance(0.98)),
            valid_from: Some(self.registered_at),
        }
    }
}

fn registration(config: &WorldConfig, luck: &mut Luck) -> TimestampMs {
    let share = (config.behaviour.new_listeners_per_month * f64::from(config.n_days) / 30.0).min(0.9);
    let start = config.start_day.start();
    let days = if luck.chance(share) {
        luck.uniform() * f64::from(config.n_days)
    } else {
        -(10.0 + 900.0 * luck.exponential()).min(4_000.0).min(f64::from(config.start_day.0))
    };
    start.plus_ms((days * DAY_MS as f64) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn weights_sum_to_one_and_facts_are_valid() {
        let world = World::new(WorldConfig::smoke(1)).unwrap();
        for user in 0..200 {
            let l = world.listener(user);
            assert!((l.tastes.iter().map(|t| t.weight).sum::<f64>() - 1.0).abs() < 1e-9);
            assert!((l.favourites.iter().map(|t| t.1).sum::<f64>() - 1.0).abs() < 1e-9);
            assert!((0.0..=1.0).contains(&l.active_share) && l.sessions_per_active_day >= 1.0);
            l.facts(world.config()).validate().unwrap();
        }
    }

    #[test]
    fn activity_is_log_normal_with_the_published_spread() {
        let world = World::new(WorldConfig { n_users: 4_000, ..WorldConfig::smoke(2) }).unwrap();
        let mut rates: Vec<f64> = (0..4_000).map(|u| world.listener(u).plays_per_day).collect();
        rates.sort_by(f64::total_cmp);
        let (median, p90, p95) = (rates[2_000], rates[3_600], rates[3_800]);
        assert!((3.6..4.8).contains(&(p90 / median)), "{}", p90 / median);
        assert!((4.9..7.1).contains(&(p95 / median)), "{}", p95 / median);
    }
}
