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

use crate::{FitInput, ItemFilter, Model, ModelError, ModelParts, Query, Recommender, Scored, Tensors};

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
    n_items: u32,
    /// Names, ascending.
    markets: Vec<String>,
    /// List 0 is all markets together, list `m + 1` is `markets[m]`; best first.
    lists: Vec<Vec<Scored>>,
}

impl DecayedPopularity {
    /// The list that answers for `market`.
    fn list(&self, market: Option<&str>) -> &[Scored] {
        let row = market.and_then(|m| self.markets.binary_search_by(|name| name.as_str().cmp(m)).ok());
        &self.lists[row.map_or(0, |row| row + 1)]
    }
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
        Ok(Self { config: config.clone(), n_items: input.n_items(), markets, lists })
    }

    fn load(config: DecayedPopularityConfig, mut parts: ModelParts) -> Result<Self, ModelError> {
        let t = &mut parts.tensors;
        let n_items = t.take_len::<u32>("n_items", 1)?[0];
        let markets = t.take_strings("markets")?;
        if !markets.windows(2).all(|w| w[0] < w[1]) {
            return Err(t.wrong("`markets` in ascending order".to_owned(), format!("{markets:?}")));
        }
        let ends: Vec<u64> = t.take_len("ends", markets.len() + 1)?;
        let score: Vec<f32> = t.take("score")?;
        if let Some(at) = score.iter().position(|s| !s.is_finite()) {
            return Err(t.wrong("finite values in `score`".to_owned(), format!("{} at {at}", score[at])));
        }
        let item = t.take_below("item", score.len(), n_items)?;
        let mut lists = Vec::with_capacity(ends.len());
        let mut from = 0;
        for (row, &end) in ends.iter().enumerate() {
            let range = usize::try_from(end).ok().filter(|&end| end >= from && end <= item.len());
            let Some(end) = range else {
                return Err(t.wrong(format!("`ends` ascending to {}", item.len()), end.to_string()));
            };
            let list: Vec<Scored> =
                (from..end).map(|i| Scored { item: item[i], score: score[i] }).collect();
            // Sorted, not marked in a table by row: the file alone says how many rows there are.
            let mut items = item[from..end].to_vec();
            items.sort_unstable();
            if let Some(twice) = items.windows(2).find(|w| w[0] == w[1]) {
                return Err(t.wrong("each item once in a list".to_owned(), format!("item {} twice", twice[0])));
            }
            if !list.windows(2).all(|w| w[0].score >= w[1].score) {
                return Err(t.wrong("lists best first".to_owned(), format!("list {row} out of order")));
            }
            lists.push(list);
            from = end;
        }
        if from != item.len() {
            return Err(t.wrong(format!("the last of `ends` to be {}", item.len()), from.to_string()));
        }
        Ok(Self { config, n_items, markets, lists })
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
    let before = input.until.map_or(Day(i32::MAX), TimestampMs::day);
    if let Some(daily) = input.daily.filter(|d| !d.item.is_empty()) {
        let mut names = daily.markets.to_vec();
        names.sort_unstable();
        names.dedup();
        let row: Vec<u32> =
            daily.markets.iter().map(|m| names.partition_point(|name| name < m) as u32).collect();
        for i in 0..daily.item.len() {
            if daily.day[i] < before {
                add(row[daily.market[i] as usize], daily.day[i], daily.item[i], daily.n_plays[i]);
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
        self.n_items
    }

    fn recommend(
        &self,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        out.clear();
        out.extend(self.list(query.market).iter().filter(|s| filter.admits(s.item)).take(k));
        Ok(())
    }

    fn parts(&self) -> ModelParts {
        let all = || self.lists.iter().flatten();
        let mut end = 0;
        let ends: Vec<u64> = self
            .lists
            .iter()
            .map(|list| {
                end += list.len() as u64;
                end
            })
            .collect();
        let tensors = Tensors::new()
            .with("n_items", &[self.n_items])
            .with_strings("markets", &self.markets)
            .with("ends", &ends)
            .with("item", &all().map(|s| s.item).collect::<Vec<_>>())
            .with("score", &all().map(|s| s.score).collect::<Vec<_>>());
        ModelParts::new(Self::KIND, &self.config, tensors)
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
