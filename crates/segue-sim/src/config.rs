//! The configuration of a world: its size and the behaviour nobody has published.
//!
//! Behaviour that is known from published figures lives as constants beside the code that uses it
//! (and is held against them). What no source gives is a field of [`Behaviour`], so that
//! a study can sweep it and say how its conclusions change.

use segue_types::Day;
use serde::{Deserialize, Serialize};

use crate::SimError;

/// Size, dates and behaviour of a world. Everything follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// Seed of every random number.
    pub seed: u64,
    /// Listeners, those who register during the log included.
    pub n_users: u32,
    /// Tracks, those released during the log included.
    pub n_items: u32,
    /// Length of the log in days; 0 makes a world without a past.
    pub n_days: u32,
    /// First UTC day of the log.
    pub start_day: Day,
    /// Days after the log in which simulated listeners can still go on (releases are planned for them).
    pub horizon_days: u32,
    /// Mean plays per listener and day (log-normal between listeners). Yambda's listeners: 18.8.
    pub mean_plays_per_day: f64,
    /// Behaviour without a published figure.
    pub behaviour: Behaviour,
}

/// Parameters that no source gives; sweep them rather than trust them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Cards of a shelf visible without scrolling.
    pub visible_cards: u32,
    /// Probability of looking at a visible card of the first shelf.
    pub examine_visible: f64,
    /// Probability of scrolling one card further along a shelf.
    pub scroll_card: f64,
    /// Probability of going on to the next shelf below.
    pub scroll_shelf: f64,
    /// Probability that a session of the log begins with a look at the fictional service's Home.
    pub home_visit: f64,
    /// Probability that playback goes on by itself (autoplay) when a context has ended.
    pub autoplay: f64,
    /// Share of sessions on a device without network.
    pub offline_share: f64,
    /// Mean days until an offline play reaches the server.
    pub offline_delay_days: f64,
    /// Days after which the extra attention to a new release has halved.
    pub release_half_life_days: f64,
    /// Attention to an item on its release day, as a multiple of its later level.
    pub release_boost: f64,
    /// Adds to playlists per 1,000 plays.
    pub playlist_adds_per_mille: f64,
    /// Share of listeners who register during a month of the log.
    pub new_listeners_per_month: f64,
    /// Share of listeners who leave for good in a month.
    pub leave_per_month: f64,
    /// Share of listeners who go away for a while in a month.
    pub pause_per_month: f64,
    /// Mean days of such a pause.
    pub pause_days: f64,
    /// Share of the catalogue that nobody finds without help.
    pub dark_share: f64,
    /// Cost of a skip in minutes, in the true utility of a session.
    pub skip_cost_min: f64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            visible_cards: 3,
            examine_visible: 0.9,
            scroll_card: 0.7,
            scroll_shelf: 0.6,
            home_visit: 0.3,
            autoplay: 0.45,
            offline_share: 0.04,
            offline_delay_days: 1.5,
            release_half_life_days: 45.0,
            release_boost: 4.0,
            playlist_adds_per_mille: 4.0,
            new_listeners_per_month: 0.05,
            leave_per_month: 0.03,
            pause_per_month: 0.12,
            pause_days: 14.0,
            dark_share: 0.24,
            skip_cost_min: 0.25,
        }
    }
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            seed: 7,
            n_users: 2_000,
            n_items: 8_000,
            n_days: 45,
            start_day: Day(20_698), // 2026-09-02, a Wednesday
            horizon_days: 60,
            mean_plays_per_day: 8.0,
            behaviour: Behaviour::default(),
        }
    }
}

impl WorldConfig {
    /// The world of `segue demo`: 2,000 listeners, 8,000 items, 45 days.
    #[must_use]
    pub fn demo(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// A world for quick checks: 200 listeners, 1,000 items, 20 days.
    #[must_use]
    pub fn smoke(seed: u64) -> Self {
        Self { seed, n_users: 200, n_items: 1_000, n_days: 20, ..Self::default() }
    }

    /// The world of the load figures: 50,000 listeners, 100,000 items, 60 days, about 20M plays.
    #[must_use]
    pub fn large(seed: u64) -> Self {
        Self {
            seed,
            n_users: 50_000,
            n_items: 100_000,
            n_days: 60,
            mean_plays_per_day: 7.4,
            ..Self::default()
        }
    }

    /// The world that is held against published figures: their activity, 60 days.
    #[must_use]
    pub fn reference(seed: u64) -> Self {
        Self {
            seed,
            n_users: 4_000,
            n_items: 60_000,
            n_days: 60,
            mean_plays_per_day: 18.8,
            ..Self::default()
        }
    }

    /// Preset by name: `demo`, `smoke`, `large` or `reference`.
    #[must_use]
    pub fn preset(name: &str, seed: u64) -> Option<Self> {
        match name {
            "demo" => Some(Self::demo(seed)),
            "smoke" => Some(Self::smoke(seed)),
            "large" => Some(Self::large(seed)),
            "reference" => Some(Self::reference(seed)),
            _ => None,
        }
    }

    /// The first day after the log.
    #[must_use]
    pub fn end_day(&self) -> Day {
        Day(self.start_day.0 + self.n_days as i32)
    }

    /// Checks every field. Zero listeners, items or days are fine: they make an empty log.
    ///
    /// # Errors
    /// [`SimError::Config`] names the first field that breaks its rule.
    pub fn validate(&self) -> Result<(), SimError> {
        fn check(
            ok: bool,
            field: &'static str,
            value: impl ToString,
            rule: &'static str,
        ) -> Result<(), SimError> {
            if ok { Ok(()) } else { Err(SimError::Config { field, value: value.to_string(), rule }) }
        }
        check(self.n_users <= 100_000_000, "n_users", self.n_users, "at most 100,000,000")?;
        check(self.n_items <= 10_000_000, "n_items", self.n_items, "at most 10,000,000")?;
        check(self.n_days <= 3_650, "n_days", self.n_days, "at most 3,650")?;
        check(self.horizon_days <= 3_650, "horizon_days", self.horizon_days, "at most 3,650")?;
        check(
            (0..=40_000).contains(&self.start_day.0),
            "start_day",
            self.start_day.to_iso(),
            "a day between 1970-01-01 and 2079-07-07",
        )?;
        check(
            (0.1..=200.0).contains(&self.mean_plays_per_day),
            "mean_plays_per_day",
            self.mean_plays_per_day,
            "a number between 0.1 and 200",
        )?;
        let b = &self.behaviour;
        check(
            (1..=100).contains(&b.visible_cards),
            "behaviour.visible_cards",
            b.visible_cards,
            "a number of cards between 1 and 100",
        )?;
        for (field, value) in [
            ("behaviour.examine_visible", b.examine_visible),
            ("behaviour.scroll_card", b.scroll_card),
            ("behaviour.scroll_shelf", b.scroll_shelf),
            ("behaviour.home_visit", b.home_visit),
            ("behaviour.autoplay", b.autoplay),
            ("behaviour.offline_share", b.offline_share),
            ("behaviour.new_listeners_per_month", b.new_listeners_per_month),
            ("behaviour.leave_per_month", b.leave_per_month),
            ("behaviour.pause_per_month", b.pause_per_month),
            ("behaviour.dark_share", b.dark_share),
        ] {
            check((0.0..=1.0).contains(&value), field, value, "a share between 0 and 1")?;
        }
        for (field, value) in [
            ("behaviour.offline_delay_days", b.offline_delay_days),
            ("behaviour.release_half_life_days", b.release_half_life_days),
            ("behaviour.pause_days", b.pause_days),
        ] {
            check(
                (0.01..=1_000.0).contains(&value),
                field,
                value,
                "a number of days between 0.01 and 1,000",
            )?;
        }
        check(
            (1.0..=1_000.0).contains(&b.release_boost),
            "behaviour.release_boost",
            b.release_boost,
            "a factor between 1 and 1,000",
        )?;
        check(
            (0.0..=1_000.0).contains(&b.playlist_adds_per_mille),
            "behaviour.playlist_adds_per_mille",
            b.playlist_adds_per_mille,
            "a number per 1,000 plays between 0 and 1,000",
        )?;
        check(
            (0.0..=60.0).contains(&b.skip_cost_min),
            "behaviour.skip_cost_min",
            b.skip_cost_min,
            "a number of minutes between 0 and 60",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_unknown_names_have_none() {
        for name in ["demo", "smoke", "large", "reference"] {
            WorldConfig::preset(name, 1).unwrap().validate().unwrap();
        }
        assert!(WorldConfig::preset("huge", 1).is_none());
    }

    #[test]
    fn a_broken_field_is_named_with_its_value_and_rule() {
        let message = |change: fn(&mut WorldConfig)| {
            let mut config = WorldConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(
            message(|c| c.mean_plays_per_day = f64::NAN),
            "world: `mean_plays_per_day` is NaN; it is a number between 0.1 and 200"
        );
        assert_eq!(
            message(|c| c.behaviour.scroll_card = 1.5),
            "world: `behaviour.scroll_card` is 1.5; it is a share between 0 and 1"
        );
        assert_eq!(message(|c| c.n_days = 9_999), "world: `n_days` is 9999; it is at most 3,650");
        assert!(message(|c| c.behaviour.pause_days = 0.0).contains("pause_days"));
        assert!(message(|c| c.behaviour.visible_cards = 0).contains("visible_cards"));
    }
}
