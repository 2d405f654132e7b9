//! Trending: what rises over its own baseline.
//!
//! `score(a) = (n_now + s) / (n_before · w_now / w_before + s)`, where `n_now` counts plays of the last
//! `window_days` days, `n_before` those of the `baseline_days` days before, `w` are the lengths of the
//! two windows in days, and `s` is `smoothing`: an item must rise by more than chance to rank high.
//! Items with fewer than `min_plays` in the window are left out. Ties by item row.
//!
//! Days come from the snapshot's aggregates if there are any, else from the sequences. With `until`,
//! only whole days before it are seen. Undated data has no trend.

use segue_types::{Day, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::{FitInput, ItemFilter, Model, ModelError, ModelParts, Query, Recommender, Scored, Tensors};

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

/// One ranked list.
#[derive(Debug, Clone, PartialEq)]
pub struct Trending {
    config: TrendingConfig,
    n_items: u32,
    /// Best first.
    list: Vec<Scored>,
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

        let mut plays = daily_plays(input)?;
        let before = input.until.map_or(Day(i32::MAX), TimestampMs::day);
        plays.retain(|&(day, ..)| day < before);
        let last = plays.iter().map(|&(day, ..)| day.0).max().unwrap_or(0);
        let (now_from, baseline_from) = (
            i64::from(last) - i64::from(config.window_days) + 1,
            i64::from(last) - i64::from(config.window_days) - i64::from(config.baseline_days) + 1,
        );
        let mut counts = vec![(0_u64, 0_u64); input.n_items() as usize];
        for (day, item, n) in plays {
            let count = &mut counts[item as usize];
            match i64::from(day.0) {
                day if day >= now_from => count.0 += n,
                day if day >= baseline_from => count.1 += n,
                _ => {}
            }
        }
        let shrink = f64::from(config.window_days) / f64::from(config.baseline_days);
        let mut list: Vec<Scored> = (0..)
            .zip(&counts)
            .filter(|(_, (now, _))| *now >= config.min_plays.max(1))
            .map(|(item, &(now, before))| {
                let rise = (now as f64 + smoothing) / (before as f64 * shrink + smoothing);
                Scored { item, score: (rise as f32).min(f32::MAX) }
            })
            .collect();
        list.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        Ok(Self { config: config.clone(), n_items: input.n_items(), list })
    }

    fn load(config: TrendingConfig, mut parts: ModelParts) -> Result<Self, ModelError> {
        let t = &mut parts.tensors;
        let n_items = t.take_len::<u32>("n_items", 1)?[0];
        let score: Vec<f32> = t.take("score")?;
        let item = t.take_below("item", score.len(), n_items)?;
        if let Some(at) = score.iter().position(|s| !s.is_finite()) {
            return Err(t.wrong("finite values in `score`".to_owned(), format!("{} at {at}", score[at])));
        }
        if let Some(at) = score.windows(2).position(|w| w[0] < w[1]) {
            return Err(t.wrong("`score` best first".to_owned(), format!("a rise at {at}")));
        }
        let mut rows = item.clone();
        rows.sort_unstable();
        if let Some(twice) = rows.windows(2).find(|w| w[0] == w[1]) {
            return Err(t.wrong("each item once".to_owned(), format!("item {} twice", twice[0])));
        }
        let list = item.into_iter().zip(score).map(|(item, score)| Scored { item, score }).collect();
        Ok(Self { config, n_items, list })
    }
}

/// Plays per day and item, in any order.
fn daily_plays(input: &FitInput<'_>) -> Result<Vec<(Day, u32, u64)>, ModelError> {
    if let Some(daily) = input.daily.filter(|d| !d.item.is_empty()) {
        return Ok((0..daily.item.len()).map(|i| (daily.day[i], daily.item[i], daily.n_plays[i])).collect());
    }
    let has_plays = input.sequences.n_plays() > 0 || input.profiles.is_some();
    if has_plays && !input.sequences.is_dated() {
        return Err(ModelError::NeedsDates { model: Trending::KIND });
    }
    let rows = input.users().flat_map(|user| {
        user.item.iter().zip(user.known_at).map(|(&item, &at)| (TimestampMs(at).day(), item, 1))
    });
    Ok(rows.collect())
}

impl Recommender for Trending {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn n_items(&self) -> u32 {
        self.n_items
    }

    fn recommend(
        &self,
        _query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        out.clear();
        out.extend(self.list.iter().filter(|s| filter.admits(s.item)).take(k));
        Ok(())
    }

    fn parts(&self) -> ModelParts {
        let tensors = Tensors::new()
            .with("n_items", &[self.n_items])
            .with("item", &self.list.iter().map(|s| s.item).collect::<Vec<_>>())
            .with("score", &self.list.iter().map(|s| s.score).collect::<Vec<_>>());
        ModelParts::new(Self::KIND, &self.config, tensors)
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
