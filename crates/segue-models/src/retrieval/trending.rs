//! Trending: what rises over its own baseline, by market.
//!
//! `score(a) = (n_now + s) / (n_before · w_now / w_before + s)`, where `n_now` counts plays of the last
//! `window_days` days, `n_before` those of the `baseline_days` days before, `w` are the lengths of the
//! two windows in days, and `s` is `smoothing`: an item must rise by more than chance to rank high.
//! Items with fewer than `min_plays` in the window are left out. All markets together make one more
//! list, which answers requests without a market or from one the model never saw. Ties by item row.
//!
//! Days come from the snapshot's aggregates if there are any, else from the sequences. With `until`,
//! only whole days before it are seen. Undated data has no trend.

use std::collections::BTreeMap;

use segue_types::{Day, TimestampMs};
use serde::{Deserialize, Serialize};

use super::market_lists::{MarketLists, last_day, market_rows};
use crate::{FitInput, ItemFilter, Model, ModelError, ModelParts, Query, Recommender, Scored};

/// Settings of [`Trending`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrendingConfig {
    /// Days whose plays count as now, at least 1. Default 3.
    pub window_days: u32,
    /// Days before them whose plays are the baseline, at least 1. Default 21.
    pub baseline_days: u32,
    /// Plays added to both sides, above 0. Default 5.
    pub smoothing: f64,
    /// Plays in the window an item needs. Default 5.
    pub min_plays: u64,
}

impl Default for TrendingConfig {
    fn default() -> Self {
        Self { window_days: 3, baseline_days: 21, smoothing: 5.0, min_plays: 5 }
    }
}

/// One ranked list per market.
#[derive(Debug, Clone, PartialEq)]
pub struct Trending {
    config: TrendingConfig,
    lists: MarketLists,
}

impl Model for Trending {
    type Config = TrendingConfig;

    const KIND: &'static str = "trending";
    const ABOUT: &'static str = "what rises over its own baseline";
    const PERSONAL: bool = false;

    fn fit(config: &TrendingConfig, input: &FitInput<'_>) -> Result<Self, ModelError> {
        let range = |good: bool, setting: &'static str, value: String, rule: &'static str| {
            if good { Ok(()) } else { Err(ModelError::Config { model: Self::KIND, setting, value, rule }) }
        };
        range(config.window_days >= 1, "window_days", config.window_days.to_string(), "it is at least 1 day")?;
        range(config.baseline_days >= 1, "baseline_days", config.baseline_days.to_string(), "it is at least 1 day")?;
        let smoothing = config.smoothing;
        range(smoothing.is_finite() && smoothing > 0.0, "smoothing", smoothing.to_string(), "it is a number of plays above 0")?;

        let (markets, plays) = daily_plays(input)?;
        let before = last_day(input.until);
        let last = plays.iter().map(|p| p.day).filter(|&day| day < before).max().unwrap_or_default();
        let now_from = i64::from(last.0) - i64::from(config.window_days) + 1;
        let baseline_from = now_from - i64::from(config.baseline_days);
        // Plays now and in the baseline, by item: all markets together, then each.
        let mut counts = vec![BTreeMap::<u32, (u64, u64)>::new(); markets.len() + 1];
        for p in plays.iter().filter(|p| p.day < before && i64::from(p.day.0) >= baseline_from) {
            for list in [0, p.market as usize + 1] {
                let count = counts[list].entry(p.item).or_default();
                if i64::from(p.day.0) >= now_from {
                    count.0 += p.n_plays;
                } else {
                    count.1 += p.n_plays;
                }
            }
        }
        let lists = counts.iter().map(|counts| ranked(counts, config)).collect();
        Ok(Self { config: config.clone(), lists: MarketLists::new(input.n_items(), markets, lists) })
    }

    fn load(config: TrendingConfig, mut parts: ModelParts) -> Result<Self, ModelError> {
        Ok(Self { config, lists: MarketLists::load(&mut parts)? })
    }
}

fn ranked(counts: &BTreeMap<u32, (u64, u64)>, config: &TrendingConfig) -> Vec<Scored> {
    let shrink = f64::from(config.window_days) / f64::from(config.baseline_days);
    let mut list: Vec<Scored> = counts
        .iter()
        .filter(|(_, (now, _))| *now >= config.min_plays.max(1))
        .map(|(&item, &(now, before))| {
            let rise = (now as f64 + config.smoothing) / (before as f64 * shrink + config.smoothing);
            Scored { item, score: (rise as f32).min(f32::MAX) }
        })
        .collect();
    list.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
    list
}

/// Plays of an item on a day in a market.
struct DayPlays {
    market: u32,
    day: Day,
    item: u32,
    n_plays: u64,
}

/// Market names, ascending, and plays in any order; without aggregates one nameless market.
fn daily_plays(input: &FitInput<'_>) -> Result<(Vec<String>, Vec<DayPlays>), ModelError> {
    if let Some(daily) = input.daily.filter(|d| !d.item.is_empty()) {
        let (names, rows) = market_rows(&daily);
        let plays = (0..daily.item.len())
            .map(|i| {
                let (day, item, n_plays) = (daily.day[i], daily.item[i], u64::from(daily.n_plays[i]));
                DayPlays { market: rows[i], day, item, n_plays }
            })
            .collect();
        return Ok((names, plays));
    }
    let has_plays = input.sequences.n_plays() > 0 || input.profiles.is_some();
    if has_plays && !input.sequences.is_dated() {
        return Err(ModelError::NeedsDates { model: Trending::KIND });
    }
    let plays = input.users().flat_map(|user| {
        user.item.iter().zip(user.known_at).map(|(&item, &at)| DayPlays {
            market: 0,
            day: TimestampMs(at).day(),
            item,
            n_plays: 1,
        })
    });
    Ok((vec![String::new()], plays.collect()))
}

impl Recommender for Trending {
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

    use super::*;
    use crate::DailyPlays;

    #[test]
    fn a_riser_stands_above_a_steady_hit_and_chance_does_not() {
        let nothing = OwnedSequences { n_items: 4, ..OwnedSequences::default() };
        // Item 0 is a steady hit, item 1 rises, item 2 is new but rare, item 3 fell silent.
        let daily = DailyPlays {
            markets: &[String::new()],
            day: &[Day(10), Day(30), Day(10), Day(30), Day(30), Day(10)],
            market: &[0; 6],
            item: &[0, 0, 1, 1, 2, 3],
            n_plays: &[700, 100, 7, 30, 2, 50],
        };
        let input = FitInput { daily: Some(daily), ..FitInput::of(nothing.view()) };
        let model = Trending::fit(&TrendingConfig::default(), &input).unwrap();
        let mut out = Vec::new();
        model.recommend(&Query::default(), 9, &ItemFilter::default(), &mut out).unwrap();
        assert_eq!(out.iter().map(|s| s.item).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(out[0].score, (30.0 + 5.0) / (7.0 * 3.0 / 21.0 + 5.0));
    }

    #[test]
    fn undated_plays_have_no_trend() {
        let plays = OwnedSequences::from_items(2, [vec![0, 1]]);
        let error = Trending::fit(&TrendingConfig::default(), &FitInput::of(plays.view())).unwrap_err();
        assert!(matches!(error, ModelError::NeedsDates { model: "trending" }));
    }
}
