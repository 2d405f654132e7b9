//! Decayed popularity: what a market plays most, recent days counting more.
//!
//! `score(a, m) = Σ_day n(day, m, a) · 2^(−(last_day − day) / half_life)`, where `n` counts plays and
//! `last_day` is the last day seen. All markets together make one more list, which answers requests
//! without a market or from a market the model never saw. Ties by item row.
//!
//! Day, market and item counts come from the snapshot's aggregates if there are any; else plays of
//! the sequences are counted, without markets; undated plays and profiles are not decayed
//! (profiles count listeners). With `until`, only whole days before it are seen.

use rayon::prelude::*;
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
    const SEARCH: &'static str = r#"
half_life_days = { low = 0.5, high = 365.0, log = true }
"#;

    fn fit(config: &DecayedPopularityConfig, input: &FitInput<'_>) -> Result<Self, ModelError> {
        if !(config.half_life_days.is_finite() && config.half_life_days > 0.0) {
            return Err(ModelError::Config {
                model: Self::KIND,
                setting: "half_life_days",
                value: config.half_life_days.to_string(),
                rule: "it is a number of days above 0",
            });
        }
        let (markets, mut rows) = rows(input);
        // Within a market, days ascend: each sum has one order, whatever order the input had. Plays of one day
        // are integers, whose order is nothing to a sum; rows of a snapshot are in order already.
        let place = |row: &Row| (row.market, row.day);
        if !rows.is_sorted_by_key(place) {
            rows.par_sort_unstable_by_key(place);
        }
        let last_day = rows.iter().map(|row| row.day).max().unwrap_or_default();
        let n = input.n_items() as usize;
        let mut lists = Vec::with_capacity(markets.len() + 1);
        let mut everywhere = vec![0.0_f64; n];
        let mut here = vec![0.0_f64; n];
        let mut today = vec![0_u64; n];
        let mut days = rows.chunk_by(|a, b| place(a) == place(b)).peekable();
        for market in 0..markets.len() as u32 {
            here.fill(0.0);
            while let Some(day) = days.next_if(|day| day[0].market == market) {
                for row in day {
                    let sum = &mut today[row.item as usize];
                    *sum = sum.saturating_add(row.plays);
                }
                let age_days = f64::from(last_day.0) - f64::from(day[0].day.0);
                let weight = (-age_days / config.half_life_days).exp2();
                for row in day {
                    let plays = std::mem::take(&mut today[row.item as usize]);
                    let decayed = plays as f64 * weight;
                    here[row.item as usize] += decayed;
                    everywhere[row.item as usize] += decayed;
                }
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

/// Plays of an item on a day in a market.
#[derive(Debug, Clone, Copy)]
struct Row {
    market: u32,
    day: Day,
    item: u32,
    plays: u64,
}

/// Market names, ascending, and plays in any order; without aggregates one nameless market.
fn rows(input: &FitInput<'_>) -> (Vec<String>, Vec<Row>) {
    let before = last_day(input.until);
    if let Some(daily) = input.daily.filter(|d| !d.item.is_empty()) {
        let (names, market) = market_rows(&daily);
        let rows = (0..daily.item.len())
            .filter(|&i| daily.day[i] < before && daily.n_plays[i] > 0)
            .map(|i| Row {
                market: market[i],
                day: daily.day[i],
                item: daily.item[i],
                plays: u64::from(daily.n_plays[i]),
            })
            .collect();
        return (names, rows);
    }
    let one = |item, day| Row { market: 0, day, item, plays: 1 };
    let mut rows = Vec::new();
    if input.sequences.n_plays() > 0 {
        for user in input.users() {
            rows.extend(user.item.iter().enumerate().filter_map(|(at, &item)| {
                let day = user.known_at.get(at).map_or(Day(0), |&t| TimestampMs(t).day());
                (day < before).then(|| one(item, day))
            }));
        }
    } else if let Some(profiles) = input.profiles {
        rows.extend(profiles.item.iter().map(|&item| one(item, Day(0))));
    }
    (vec![String::new()], rows)
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;
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

    proptest! {
        /// The reference keeps a map, and sums each market's days in order.
        #[test]
        fn lists_equal_those_of_a_map_by_market_day_and_item(
            plays in prop::collection::vec((0_i32..40, 0_u32..3, 0_u32..6, 0_u64..5), 0..60),
            until in prop::option::of(0_i32..50),
        ) {
            let nothing = OwnedSequences { n_items: 6, ..OwnedSequences::default() };
            let markets = ["b", "", "a"].map(str::to_owned);
            let column = |f: fn(&(i32, u32, u32, u64)) -> u32| plays.iter().map(f).collect::<Vec<_>>();
            let (market, item) = (column(|p| p.1), column(|p| p.2));
            let day: Vec<Day> = plays.iter().map(|p| Day(p.0)).collect();
            let n_plays: Vec<u32> = plays.iter().map(|p| p.3 as u32).collect();
            let daily = DailyPlays { markets: &markets, day: &day, market: &market, item: &item, n_plays: &n_plays };
            let until = until.map(|day| Day(day).start());
            let input = FitInput { daily: Some(daily), until, ..FitInput::of(nothing.view()) };
            let model = DecayedPopularity::fit(&DecayedPopularityConfig::default(), &input).unwrap();

            let mut counts = BTreeMap::new();
            for p in plays.iter().filter(|p| p.3 > 0 && until.is_none_or(|u| Day(p.0) < u.day())) {
                *counts.entry((&markets[p.1 as usize], p.0, p.2)).or_insert(0) += p.3;
            }
            let last = counts.keys().map(|key| key.1).max().unwrap_or_default();
            for wanted in markets.iter().map(Some).chain([None]) {
                let mut score = [0.0_f64; 6];
                for (key, &n) in counts.iter().filter(|(key, _)| wanted.is_none_or(|m| key.0 == m)) {
                    score[key.2 as usize] += n as f64 * (-f64::from(last - key.1) / 14.0).exp2();
                }
                let want: Vec<(u32, f32)> = ranked(&score, 0).iter().map(|s| (s.item, s.score)).collect();
                prop_assert_eq!(best(&model, wanted.map(String::as_str)), want);
            }
        }
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
