//! Decayed popularity: what a market plays most, recent days counting more.
//!
//! `score(a, m) = Σ_day n(day, m, a) · 2^(−(last_day − day) / half_life)`, where `n` counts plays and
//! `last_day` is the last day seen. All markets together make one more list, which answers requests
//! without a market or from a market the model never saw. Ties by item row.
//!
//! Day, market and item counts come from the snapshot's aggregates if there are any; else plays of
//! the sequences are counted, without markets; undated plays and profiles are not decayed
//! (profiles count listeners). With `until`, only whole days before it are seen.

use std::collections::BTreeMap;

use segue_types::{Day, TimestampMs};
use serde::{Deserialize, Serialize};

use super::market_lists::{MarketLists, last_day, market_rows};
use crate::{FitInput, ItemFilter, Model, ModelError, ModelParts, Query, Recommender, Scored};

/// Settings of [`DecayedPopularity`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecayedPopularityConfig {
    /// Days after which a play counts half, above 0. Default 14.
    pub half_life_days: f64,
    /// Items kept per market; 0 keeps all. Default 0.
    pub max_items: usize,
}

impl Default for DecayedPopularityConfig {
    fn default() -> Self {
        Self { half_life_days: 14.0, max_items: 0 }
    }
}

/// One ranked list per market.
#[derive(Debug, Clone, PartialEq)]
pub struct DecayedPopularity {
    config: DecayedPopularityConfig,
    lists: MarketLists,
}

impl Model for DecayedPopularity {
    type Config = DecayedPopularityConfig;

    const KIND: &'static str = "decayed_popularity";
    const ABOUT: &'static str = "what the market plays most, recent days counting more";
    const PERSONAL: bool = false;

    fn fit(config: &DecayedPopularityConfig, input: &FitInput<'_>) -> Result<Self, ModelError> {
        if !(config.half_life_days.is_finite() && config.half_life_days > 0.0) {
            return Err(ModelError::Config {
                model: Self::KIND,
                setting: "half_life_days",
                value: config.half_life_days.to_string(),
                rule: "it is a number of days above 0",
            });
        }
        let (markets, counts) = count(input);
        let last_day = counts.keys().map(|key| key.day).max().unwrap_or_default();
        let n = input.n_items() as usize;
        let mut lists = Vec::with_capacity(markets.len() + 1);
        let mut everywhere = vec![0.0_f64; n];
        let mut here = vec![0.0_f64; n];
        let mut rest = counts.into_iter().peekable();
        for market in 0..markets.len() as u32 {
            here.fill(0.0);
            // Within a market, days ascend: each sum has one order, whatever order the input had.
            while let Some((key, plays)) = rest.next_if(|(key, _)| key.market == market) {
                let age_days = f64::from(last_day.0) - f64::from(key.day.0);
                let decayed = plays as f64 * (-age_days / config.half_life_days).exp2();
                here[key.item as usize] += decayed;
                everywhere[key.item as usize] += decayed;
            }
            lists.push(ranked(&here, config.max_items));
        }
        lists.insert(0, ranked(&everywhere, config.max_items));
        Ok(Self { config: config.clone(), lists: MarketLists::new(input.n_items(), markets, lists) })
    }

    fn load(config: DecayedPopularityConfig, mut parts: ModelParts) -> Result<Self, ModelError> {
        Ok(Self { config, lists: MarketLists::load(&mut parts)? })
    }
}

/// Plays of an item on a day in a market; ordered by market, day, item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    market: u32,
    day: Day,
    item: u32,
}

/// Market names, ascending, and plays; without aggregates one nameless market.
fn count(input: &FitInput<'_>) -> (Vec<String>, BTreeMap<Key, u64>) {
    let mut counts = BTreeMap::new();
    let mut add = |market, day, item, plays: u64| {
        if plays > 0 {
            let sum: &mut u64 = counts.entry(Key { market, day, item }).or_default();
            *sum = sum.saturating_add(plays);
        }
    };
    let before = last_day(input.until);
    if let Some(daily) = input.daily.filter(|d| !d.item.is_empty()) {
        let (names, rows) = market_rows(&daily);
        for i in 0..daily.item.len() {
            if daily.day[i] < before {
                add(rows[i], daily.day[i], daily.item[i], daily.n_plays[i]);
            }
        }
        return (names, counts);
    }
    if input.sequences.n_plays() > 0 {
        for user in input.users() {
            for (at, &item) in user.item.iter().enumerate() {
                let day = user.known_at.get(at).map_or(Day(0), |&t| TimestampMs(t).day());
                if day < before {
                    add(0, day, item, 1);
                }
            }
        }
    } else if let Some(profiles) = input.profiles {
        for &item in profiles.item {
            add(0, Day(0), item, 1);
        }
    }
    (vec![String::new()], counts)
}

fn ranked(score: &[f64], max_items: usize) -> Vec<Scored> {
    let mut list: Vec<Scored> = (0..)
        .zip(score)
        .map(|(item, &score)| Scored { item, score: (score as f32).min(f32::MAX) })
        .filter(|s| s.score > 0.0)
        .collect();
    list.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
    if max_items > 0 {
        list.truncate(max_items);
    }
    list
}

impl Recommender for DecayedPopularity {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn n_items(&self) -> u32 {
        self.lists.n_items()
    }

    fn recommend(
        &self,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        self.lists.answer(query.market, k, filter, out);
        Ok(())
    }

    fn parts(&self) -> ModelParts {
        ModelParts::new(Self::KIND, &self.config, self.lists.tensors())
    }
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;
    use segue_types::DAY_MS;

    use super::*;
    use crate::DailyPlays;

    fn best(model: &DecayedPopularity, market: Option<&str>) -> Vec<(u32, f32)> {
        let mut out = Vec::new();
        let query = Query { market, ..Query::default() };
        model.recommend(&query, 9, &ItemFilter::default(), &mut out).unwrap();
        out.iter().map(|s| (s.item, s.score)).collect()
    }

    #[test]
    fn a_play_counts_half_after_its_half_life_and_markets_have_their_own_lists() {
        let nothing = OwnedSequences { n_items: 3, ..OwnedSequences::default() };
        let daily = DailyPlays {
            markets: &["SE".to_owned(), "DE".to_owned()],
            day: &[Day(10), Day(24), Day(24), Day(24)],
            market: &[0, 0, 1, 1],
            item: &[0, 1, 1, 2],
            n_plays: &[8, 3, 1, 2],
        };
        let input = FitInput { daily: Some(daily), ..FitInput::of(nothing.view()) };
        let model = DecayedPopularity::fit(&DecayedPopularityConfig::default(), &input).unwrap();
        assert_eq!(best(&model, Some("SE")), [(0, 4.0), (1, 3.0)]);
        assert_eq!(best(&model, Some("DE")), [(2, 2.0), (1, 1.0)]);
        assert_eq!(best(&model, None), [(0, 4.0), (1, 4.0), (2, 2.0)]);
        assert_eq!(best(&model, Some("nowhere")), best(&model, None));

        // Before day 24 there is only the old play, and it is new then.
        let input = FitInput { until: Some(Day(24).start()), ..input };
        let model = DecayedPopularity::fit(&DecayedPopularityConfig::default(), &input).unwrap();
        assert_eq!(best(&model, Some("SE")), [(0, 8.0)]);
        assert_eq!(best(&model, Some("DE")), []);
    }

    #[test]
    fn without_aggregates_the_sequences_are_counted() {
        let mut plays = OwnedSequences::from_items(3, [vec![0, 0, 0, 1, 1]]);
        let model =
            DecayedPopularity::fit(&DecayedPopularityConfig::default(), &FitInput::of(plays.view())).unwrap();
        assert_eq!(best(&model, None), [(0, 3.0), (1, 2.0)]);
        plays.known_at = vec![0, 0, 0, 14 * DAY_MS, 14 * DAY_MS];
        plays.occurred_at = plays.known_at.clone();
        let model =
            DecayedPopularity::fit(&DecayedPopularityConfig::default(), &FitInput::of(plays.view())).unwrap();
        assert_eq!(best(&model, None), [(1, 2.0), (0, 1.5)]);
    }
}
