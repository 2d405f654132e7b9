//! What comes next without a recommender: repeat or explore, on a surface drawn before the track.
//!
//! A session is a sequence of runs; a run stays on one surface and in one context (the collection, an
//! album, a playlist, a station, the chart). Repeats come from the listener's own history: a lag in
//! steps from a power law with an exponential cut-off (Anderson, Kumar, Tomkins & Vassilvitskii,
//! "The Dynamics of Repeat Consumption", WWW 2014) or the same time of an earlier day.

use segue_types::{DAY_MS, Day, HOUR_MS, Surface, TimestampMs};

use crate::attention::{Attention, LISTS_PER_GENRE};
use crate::catalogue::{Catalogue, Place, cosine};
use crate::listener::Listener;
use crate::memory::Memory;
use crate::rng::Luck;
use crate::utility::{familiarity, lasting_appeal};

/// Exponent of the lag law.
const LAG_EXPONENT: f64 = 1.4;
/// Shortest lag in steps.
const LAG_MIN: f64 = 9.0;
/// Cut-off of the lag law in steps.
const LAG_CUTOFF: f64 = 6_000.0;
/// Share of repeats that follow the same time of an earlier day.
const DAILY: f64 = 0.2;
/// Share of repeats drawn from the kept collection.
const COLLECTION: f64 = 0.25;
/// Probability that exploring starts at a favourite artist.
const FAVOURITE: f64 = 0.36;

/// What a run of tracks plays from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// The listener's collection.
    Collection,
    /// An album, by index.
    Album(u32),
    /// An editorial playlist: genre and number.
    Playlist(u8, u8),
    /// A station around an artist.
    Station(u32),
    /// The chart.
    Chart,
    /// A single track, from search or from Home.
    Single,
}

impl Context {
    /// External id; `None` for a single track.
    #[must_use]
    pub fn id(self) -> Option<String> {
        match self {
            Self::Collection => Some("collection".to_owned()),
            Self::Album(album) => Some(Catalogue::album_id(album)),
            Self::Playlist(genre, list) => Some(format!("pl{genre:02}-{list}")),
            Self::Station(artist) => Some(format!("station-{}", Catalogue::artist_id(artist))),
            Self::Chart => Some("chart".to_owned()),
            Self::Single => None,
        }
    }
}

/// A run: where it was started and what it goes through.
#[derive(Debug, Clone)]
pub struct Run {
    /// Surface it was started from.
    pub surface: Surface,
    /// What it plays from.
    pub context: Context,
    /// Whether shuffle is on.
    pub shuffle: bool,
    /// Tracks left, last one first; empty for endless runs.
    queue: Vec<u32>,
    endless: bool,
    centre: Option<(u8, Place)>,
}

/// Surfaces of runs by share, so that shares of *plays* come out as published.
const SURFACES: [(Surface, f64); 6] = [
    (Surface::Library, 0.365),
    (Surface::Catalogue, 0.34),
    (Surface::Search, 0.06),
    (Surface::Editorial, 0.195),
    (Surface::Radio, 0.03),
    (Surface::Charts, 0.016),
];

/// Everything choosing needs to know about the world and the listener.
#[derive(Debug, Clone, Copy)]
pub struct Chooser<'a> {
    /// The catalogue.
    pub catalogue: &'a Catalogue,
    /// Where attention goes.
    pub attention: &'a Attention,
    /// Who chooses.
    pub listener: &'a Listener,
}

impl Chooser<'_> {
    /// A track the listener comes across while exploring: a favourite artist's, or one of a taste's
    /// genre; of a few glimpsed the one that appeals most, with noise.
    pub fn explore(&self, day: Day, luck: &mut Luck) -> Option<u32> {
        if !self.listener.favourites.is_empty() && luck.chance(FAVOURITE) {
            let f = luck.weighted(self.listener.favourites.iter().map(|f| f.1));
            return self.of_artist(self.listener.favourites[f].0, day, luck);
        }
        let t = luck.weighted(self.listener.tastes.iter().map(|t| t.weight));
        let genre = self.listener.tastes[t].genre;
        self.best_of(
            3,
            luck,
            |luck| self.attention.draw(genre, day, luck),
            |item| 0.8 * lasting_appeal(self.listener, self.catalogue, item),
        )
    }

    fn best_of(
        &self,
        n: usize,
        luck: &mut Luck,
        draw: impl Fn(&mut Luck) -> Option<u32>,
        value: impl Fn(u32) -> f64,
    ) -> Option<u32> {
        let mut best: Option<(f64, u32)> = None;
        for _ in 0..n {
            let Some(item) = draw(luck) else { continue };
            let score = value(item) + luck.gumbel();
            if best.is_none_or(|b| score > b.0) {
                best = Some((score, item));
            }
        }
        best.map(|b| b.1)
    }

    /// A released track of an artist, by attention.
    pub fn of_artist(&self, artist: u32, day: Day, luck: &mut Luck) -> Option<u32> {
        let tracks = self.catalogue.tracks_of(artist);
        let weight = |t: u32| {
            if self.catalogue.is_released(t, day) {
                f64::from(self.catalogue.attention[t as usize])
            } else {
                0.0
            }
        };
        if tracks.clone().all(|t| weight(t) == 0.0) {
            return None;
        }
        Some(tracks.start + luck.weighted(tracks.map(weight)) as u32)
    }

    /// A track heard before, by the lag law, the daily rhythm or the collection; `None` without a past.
    pub fn repeat(&self, memory: &Memory, at: TimestampMs, luck: &mut Luck) -> Option<u32> {
        let history = memory.history();
        for _ in 0..4 {
            let item = self.repeat_once(memory, history, at, luck)?;
            let n_plays = memory.of(item).map_or(0, |h| h.n_plays);
            // Satiation: what was heard very often is chosen less.
            if !memory.is_refused(item) && luck.chance((familiarity(n_plays) + 0.5).exp().min(1.0)) {
                return Some(item);
            }
        }
        None
    }

    fn repeat_once(
        &self,
        memory: &Memory,
        history: &[(TimestampMs, u32)],
        at: TimestampMs,
        luck: &mut Luck,
    ) -> Option<u32> {
        let n = history.len();
        if n == 0 {
            return None;
        }
        let kind = luck.uniform();
        if kind < DAILY {
            let days_back = 1 + luck.poisson(0.7) as i64;
            let centre = at.plus_ms(-days_back * DAY_MS);
            let low = history.partition_point(|h| h.0 < centre.plus_ms(-HOUR_MS));
            let high = history.partition_point(|h| h.0 < centre.plus_ms(HOUR_MS));
            if high > low {
                return Some(history[low + luck.below(high - low)].1);
            }
        } else if kind < DAILY + COLLECTION && !memory.kept().is_empty() {
            let kept = memory.kept();
            // Newer saves first: the square of a uniform number favours the end of the list.
            let back = (luck.uniform().powi(2) * kept.len() as f64) as usize;
            return kept.get(kept.len() - 1 - back.min(kept.len() - 1)).copied();
        }
        let lag = lag(n as f64, luck);
        history.get(n - (lag as usize).clamp(1, n)).map(|h| h.1)
    }

    /// Starts a run on a surface drawn first.
    pub fn start_run(&self, memory: &Memory, at: TimestampMs, luck: &mut Luck) -> Option<Run> {
        let surface = SURFACES[luck.weighted(SURFACES.iter().map(|s| s.1))].0;
        self.run_on(surface, memory, at, luck)
    }

    /// Starts a run on a given surface; falls back to a station, `None` if nothing can be played.
    pub fn run_on(&self, surface: Surface, memory: &Memory, at: TimestampMs, luck: &mut Luck) -> Option<Run> {
        let day = at.day();
        let listener = self.listener;
        let shuffle_share = match surface {
            Surface::Library => 0.5,
            Surface::Editorial => 0.3,
            Surface::Catalogue => 0.18,
            _ => 0.05,
        };
        let shuffle = luck.chance(shuffle_share);
        let known = |luck: &mut Luck, share: f64| {
            if luck.chance(share) { self.repeat(memory, at, luck) } else { None }
                .or_else(|| self.explore(day, luck))
        };
        match surface {
            Surface::Library if !memory.history().is_empty() => {
                Some(Run::endless(surface, Context::Collection, shuffle, None))
            }
            Surface::Catalogue => {
                let anchor = known(luck, 0.6)?;
                let album = self.catalogue.album[anchor as usize];
                let mut queue: Vec<u32> = self
                    .catalogue
                    .tracks_on(album)
                    .filter(|&t| self.catalogue.is_released(t, day) && !memory.is_refused(t))
                    .collect();
                if shuffle {
                    shuffle_in_place(&mut queue, luck);
                } else if luck.chance(0.5) {
                    queue.retain(|&t| t >= anchor);
                }
                // A single or a short release goes on with the artist's other tracks, most known first.
                if queue.len() < 8 {
                    let artist = self.catalogue.artist[anchor as usize];
                    let mut others: Vec<u32> = self
                        .catalogue
                        .tracks_of(artist)
                        .filter(|&t| {
                            self.catalogue.is_released(t, day) && self.catalogue.album[t as usize] != album
                        })
                        .filter(|&t| !memory.is_refused(t))
                        .collect();
                    let attention = |t: &u32| self.catalogue.attention[*t as usize];
                    others.sort_by(|a, b| attention(b).total_cmp(&attention(a)).then(a.cmp(b)));
                    others.truncate(10);
                    queue.extend(others);
                }
                queue.reverse();
                if queue.is_empty() {
                    queue.push(anchor);
                }
                Some(Run {
                    surface,
                    context: Context::Album(album),
                    shuffle,
                    queue,
                    endless: false,
                    centre: None,
                })
            }
            Surface::Editorial => {
                let t = luck.weighted(listener.tastes.iter().map(|t| t.weight));
                let genre = listener.tastes.get(t)?.genre;
                // A listener has a favourite list of a genre and comes back to it.
                let list = if luck.chance(0.6) {
                    listener.user as usize % LISTS_PER_GENRE
                } else {
                    luck.below(LISTS_PER_GENRE)
                };
                let mut queue: Vec<u32> = self.attention.playlist(genre, list, day).to_vec();
                queue.retain(|&t| self.catalogue.is_released(t, day) && !memory.is_refused(t));
                if queue.is_empty() {
                    return self.station(surface, memory, at, luck);
                }
                if shuffle {
                    shuffle_in_place(&mut queue, luck);
                }
                queue.reverse();
                let context = Context::Playlist(genre, list as u8);
                Some(Run { surface, context, shuffle, queue, endless: false, centre: None })
            }
            Surface::Charts => {
                let mut queue = self.attention.chart(day).to_vec();
                queue.reverse();
                Some(Run { surface, context: Context::Chart, shuffle, queue, endless: false, centre: None })
            }
            Surface::Search => {
                let anchor = known(luck, 0.6)?;
                Some(Run::single(surface, anchor))
            }
            _ => self.station(surface, memory, at, luck),
        }
    }

    /// A station around something the listener knows or comes across.
    pub fn station(
        &self,
        surface: Surface,
        memory: &Memory,
        at: TimestampMs,
        luck: &mut Luck,
    ) -> Option<Run> {
        let seed = if luck.chance(0.6) { self.repeat(memory, at, luck) } else { None }
            .or_else(|| self.explore(at.day(), luck))?;
        Some(self.station_around(surface, seed))
    }

    /// A station around a track.
    #[must_use]
    pub fn station_around(&self, surface: Surface, seed: u32) -> Run {
        let centre = (self.catalogue.genre(seed), self.catalogue.place[seed as usize]);
        Run::endless(surface, Context::Station(self.catalogue.artist[seed as usize]), false, Some(centre))
    }

    /// The next track of a run; `None` when it has ended.
    pub fn next(&self, run: &mut Run, memory: &Memory, at: TimestampMs, luck: &mut Luck) -> Option<u32> {
        if !run.endless {
            return run.queue.pop();
        }
        let day = at.day();
        match run.centre {
            Some((genre, centre)) => {
                if luck.chance(STATION_KNOWN) {
                    let near = |item: &u32| cosine(&centre, &self.catalogue.place[*item as usize]) > 0.5;
                    if let Some(item) = self.repeat(memory, at, luck).filter(near) {
                        return Some(item);
                    }
                }
                self.best_of(
                    4,
                    luck,
                    |luck| self.attention.draw(genre, day, luck),
                    |item| 4.0 * f64::from(cosine(&centre, &self.catalogue.place[item as usize])),
                )
            }
            None if luck.chance(0.2 * (1.0 + self.listener.curiosity.tanh())) => self.explore(day, luck),
            None => self.repeat(memory, at, luck).or_else(|| self.explore(day, luck)),
        }
    }
}

/// Probability that a station tries something known.
const STATION_KNOWN: f64 = 0.35;

impl Run {
    fn endless(surface: Surface, context: Context, shuffle: bool, centre: Option<(u8, Place)>) -> Self {
        Self { surface, context, shuffle, queue: Vec::new(), endless: true, centre }
    }

    /// A run of one track.
    #[must_use]
    pub fn single(surface: Surface, item: u32) -> Self {
        Self {
            surface,
            context: Context::Single,
            shuffle: false,
            queue: vec![item],
            endless: false,
            centre: None,
        }
    }
}

/// A lag in steps: density `∝ x^−a` on `[LAG_MIN, n]`, thinned by `e^(−x / cut-off)`.
fn lag(n: f64, luck: &mut Luck) -> f64 {
    let low = LAG_MIN.min(n);
    for _ in 0..8 {
        let u = luck.uniform();
        let power = 1.0 - LAG_EXPONENT;
        let x = low * (1.0 - u * (1.0 - (n / low).powf(power))).powf(1.0 / power);
        if luck.chance((-x / LAG_CUTOFF).exp()) {
            return x;
        }
    }
    low
}

fn shuffle_in_place(items: &mut [u32], luck: &mut Luck) {
    for i in (1..items.len()).rev() {
        items.swap(i, luck.below(i + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn lags_follow_a_falling_law_within_the_history() {
        let mut luck = Luck::new(1, 0, 0, 0, Stream::Choice);
        let mut counts = [0_u32; 3];
        for _ in 0..20_000 {
            let x = lag(1_000.0, &mut luck);
            assert!((LAG_MIN..=1_000.0).contains(&x));
            counts[if x < 30.0 {
                0
            } else if x < 100.0 {
                1
            } else {
                2
            }] += 1;
        }
        // Density must fall: counts per step of lag.
        assert!(f64::from(counts[0]) / 21.0 > 2.0 * f64::from(counts[1]) / 70.0, "{counts:?}");
        assert!(f64::from(counts[1]) / 70.0 > 2.0 * f64::from(counts[2]) / 900.0, "{counts:?}");
        assert!((1.0..=2.0).contains(&lag(2.0, &mut luck)));
    }

    #[test]
    fn context_ids_are_distinct() {
        let all = [
            Context::Collection,
            Context::Album(1),
            Context::Playlist(1, 0),
            Context::Station(1),
            Context::Chart,
        ];
        let mut ids: Vec<String> = all.iter().filter_map(|c| c.id()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 5);
        assert_eq!(Context::Single.id(), None);
    }
}
