//! Where attention goes each week: tables to draw tracks from, playlists of editors, charts.
//!
//! Tables are made per week ([`EPOCH_DAYS`]) for the days of the log and its horizon, and shared by all
//! listeners, so a draw costs two random numbers (alias method).
//!
//! # Source
//! Walker, "An Efficient Method for Generating Discrete Random Variables with General Distributions",
//! ACM TOMS 1977, with Vose's construction.

use rayon::prelude::*;
use segue_types::Day;

use crate::catalogue::{Catalogue, GENRES};
use crate::config::WorldConfig;
use crate::rng::{Luck, Stream};

/// Days for which one table holds.
pub const EPOCH_DAYS: i32 = 7;
/// Tracks of an editorial playlist or a chart.
pub const LIST_LEN: usize = 50;
/// Editorial playlists per genre.
pub const LISTS_PER_GENRE: usize = 3;

/// Draws indices with probability proportional to their weight, in constant time.
#[derive(Debug, Clone, Default)]
struct Alias {
    item: Vec<u32>,
    keep: Vec<f32>,
    other: Vec<u32>,
}

impl Alias {
    fn new(items: Vec<u32>, weights: &[f64]) -> Self {
        let n = items.len();
        let total: f64 = weights.iter().sum();
        if n == 0 || total <= 0.0 {
            return Self::default();
        }
        let mut scaled: Vec<f64> = weights.iter().map(|w| w * n as f64 / total).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| scaled[i] < 1.0);
        let mut keep = vec![1.0_f32; n];
        let mut other: Vec<u32> = (0..n as u32).collect();
        while let (Some(&s), Some(&l)) = (small.last(), large.last()) {
            small.pop();
            keep[s] = scaled[s] as f32;
            other[s] = l as u32;
            scaled[l] -= 1.0 - scaled[s];
            if scaled[l] < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        Self { item: items, keep, other }
    }

    fn draw(&self, luck: &mut Luck) -> Option<u32> {
        let cell = luck.below(self.item.len());
        let keep = *self.keep.get(cell)?;
        let index = if luck.uniform() < f64::from(keep) { cell } else { self.other[cell] as usize };
        Some(self.item[index])
    }
}

#[derive(Debug)]
struct Epoch {
    by_genre: Vec<Alias>,
    /// `[genre * LISTS_PER_GENRE + list]`
    playlists: Vec<Vec<u32>>,
    /// Most attention first.
    chart: Vec<u32>,
    /// Most attention among releases of the last 45 days.
    fresh: Vec<u32>,
}

/// Attention over time. See the module's page.
#[derive(Debug)]
pub struct Attention {
    start_day: Day,
    epochs: Vec<Epoch>,
}

impl Attention {
    /// Makes the tables; in parallel over weeks, the same for any number of threads.
    #[must_use]
    pub fn new(config: &WorldConfig, catalogue: &Catalogue) -> Self {
        let n_days = (config.n_days + config.horizon_days).max(1) as i32;
        let n_epochs = (n_days + EPOCH_DAYS - 1) / EPOCH_DAYS;
        let epochs = (0..n_epochs)
            .into_par_iter()
            .map(|e| Epoch::new(config, catalogue, Day(config.start_day.0 + e * EPOCH_DAYS), e))
            .collect();
        Self { start_day: config.start_day, epochs }
    }

    fn epoch(&self, day: Day) -> &Epoch {
        let index = (day.0 - self.start_day.0).max(0) / EPOCH_DAYS;
        &self.epochs[(index as usize).min(self.epochs.len() - 1)]
    }

    /// A released track of a genre, by attention; `None` if the genre has none.
    pub fn draw(&self, genre: u8, day: Day, luck: &mut Luck) -> Option<u32> {
        self.epoch(day).by_genre[genre as usize].draw(luck)
    }

    /// The tracks of an editorial playlist this week; `list` in `0..LISTS_PER_GENRE`.
    #[must_use]
    pub fn playlist(&self, genre: u8, list: usize, day: Day) -> &[u32] {
        &self.epoch(day).playlists[genre as usize * LISTS_PER_GENRE + list]
    }

    /// The chart of the week, most attention first.
    #[must_use]
    pub fn chart(&self, day: Day) -> &[u32] {
        &self.epoch(day).chart
    }

    /// Recent releases, most attention first.
    #[must_use]
    pub fn fresh(&self, day: Day) -> &[u32] {
        &self.epoch(day).fresh
    }
}

/// Attention of a track of this age, as a multiple of its later level; 0 before release.
///
/// `1 + (boost − 1) · 2^(−age / half-life)`. No source gives the half-life: it is a parameter.
#[must_use]
pub fn release_factor(config: &WorldConfig, age_days: i32) -> f64 {
    if age_days < 0 {
        return 0.0;
    }
    let b = &config.behaviour;
    1.0 + (b.release_boost - 1.0) * (-f64::from(age_days) / b.release_half_life_days).exp2()
}

impl Epoch {
    fn new(config: &WorldConfig, catalogue: &Catalogue, day: Day, index: i32) -> Self {
        let mut items: Vec<Vec<u32>> = vec![Vec::new(); GENRES.len()];
        let mut weights: Vec<Vec<f64>> = vec![Vec::new(); GENRES.len()];
        let mut all: Vec<(f64, u32)> = Vec::new();
        let mut fresh: Vec<(f64, u32)> = Vec::new();
        for item in 0..catalogue.n_items() as u32 {
            let age = day.0 - catalogue.release_day[item as usize];
            if age < 0 {
                continue;
            }
            let genre = catalogue.genre(item) as usize;
            let weight = f64::from(catalogue.attention[item as usize]) * release_factor(config, age);
            items[genre].push(item);
            weights[genre].push(weight);
            all.push((weight, item));
            if age <= 45 {
                fresh.push((weight, item));
            }
        }
        let top = |mut list: Vec<(f64, u32)>| -> Vec<u32> {
            let order = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            if list.len() > LIST_LEN {
                list.select_nth_unstable_by(LIST_LEN, order);
                list.truncate(LIST_LEN);
            }
            list.sort_by(order);
            list.into_iter().map(|x| x.1).collect()
        };
        let by_genre: Vec<Alias> = items.into_iter().zip(&weights).map(|(i, w)| Alias::new(i, w)).collect();
        let playlists = (0..GENRES.len() * LISTS_PER_GENRE)
            .map(|p| playlist(config, catalogue, &by_genre[p / LISTS_PER_GENRE], p, index))
            .collect();
        Self { by_genre, playlists, chart: top(all), fresh: top(fresh) }
    }
}

/// Fifty different tracks; editors take the best of two they come across.
fn playlist(config: &WorldConfig, catalogue: &Catalogue, from: &Alias, list: usize, epoch: i32) -> Vec<u32> {
    // Half of a playlist stays when a week passes.
    let mut tracks: Vec<u32> = Vec::with_capacity(LIST_LEN);
    for slot in 0..LIST_LEN {
        let changed_at = if slot % 2 == 0 { epoch / 2 } else { (epoch + 1) / 2 };
        let mut luck = Luck::new(
            config.seed,
            list as u64,
            i64::from(changed_at) * 2 + (slot % 2) as i64,
            slot as u64,
            Stream::Editorial,
        );
        for _ in 0..6 {
            let (Some(a), Some(b)) = (from.draw(&mut luck), from.draw(&mut luck)) else { break };
            let best = if catalogue.quality[a as usize] >= catalogue.quality[b as usize] { a } else { b };
            if !tracks.contains(&best) {
                tracks.push(best);
                break;
            }
        }
    }
    tracks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_draws_follow_the_weights() {
        let alias = Alias::new(vec![10, 20, 30, 40], &[1.0, 2.0, 0.0, 5.0]);
        let mut luck = Luck::new(1, 0, 0, 0, Stream::Choice);
        let mut counts = [0_i32; 5];
        for _ in 0..80_000 {
            counts[alias.draw(&mut luck).unwrap() as usize / 10] += 1;
        }
        assert_eq!(counts[3], 0);
        for (slot, expected) in [(1, 10_000), (2, 20_000), (4, 50_000)] {
            assert!((counts[slot] - expected).abs() < 900, "{counts:?}");
        }
        assert_eq!(Alias::new(Vec::new(), &[]).draw(&mut luck), None);
    }

    #[test]
    fn nothing_is_drawn_or_listed_before_its_release() {
        let config = WorldConfig::smoke(3);
        let catalogue = Catalogue::new(&config);
        let attention = Attention::new(&config, &catalogue);
        let day = config.start_day;
        let mut luck = Luck::new(1, 0, 0, 0, Stream::Choice);
        for genre in 0..GENRES.len() as u8 {
            for _ in 0..200 {
                if let Some(item) = attention.draw(genre, day, &mut luck) {
                    assert!(catalogue.is_released(item, day) && catalogue.genre(item) == genre);
                }
            }
        }
        assert!(attention.chart(day).iter().all(|&i| catalogue.is_released(i, day)));
        assert_eq!(attention.chart(day).len(), LIST_LEN);
    }

    #[test]
    fn attention_to_a_release_halves_as_configured() {
        let config = WorldConfig::smoke(3);
        assert_eq!(release_factor(&config, -1), 0.0);
        assert!((release_factor(&config, 0) - 4.0).abs() < 1e-12);
        assert!((release_factor(&config, 45) - 2.5).abs() < 1e-12);
    }
}
