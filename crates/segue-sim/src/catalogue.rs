//! The catalogue: genres, artists, albums and tracks, their latent place and their attention.
//!
//! Every track has a place in a latent space of [`DIM`] dimensions (genre + artist + track), a quality
//! and a share of the attention of people who look around. Attention is Zipf over artists and
//! log-normal within an artist; it is related to quality, but fame hides most of it.

use std::collections::HashSet;

use segue_types::{Day, Item, TimestampMs};

use crate::config::WorldConfig;
use crate::market::{MARKETS, draw_market};
use crate::names;
use crate::rng::{Luck, Stream};

/// Dimensions of the latent space.
pub const DIM: usize = 8;

/// A place in the latent space; of length 1.
pub type Place = [f32; DIM];

/// Genres of the fictional service, by falling share of listeners.
pub const GENRES: &[&str] = &[
    "pop",
    "hip hop",
    "rock",
    "dance",
    "latin",
    "indie",
    "r&b",
    "metal",
    "country",
    "electronic",
    "folk",
    "jazz",
    "classical",
    "ambient",
    "punk",
    "soul",
    "reggae",
    "blues",
    "house",
    "techno",
    "afrobeats",
    "singer-songwriter",
    "soundtrack",
    "world",
];

/// Tracks of the catalogue as columns; artists and albums own contiguous ranges of tracks.
#[derive(Debug)]
pub struct Catalogue {
    seed: u64,
    /// Per track: artist.
    pub artist: Vec<u32>,
    /// Per track: album.
    pub album: Vec<u32>,
    /// Per track: latent place.
    pub place: Vec<Place>,
    /// Per track: quality, standard normal.
    pub quality: Vec<f32>,
    /// Per track: energy in `[0, 1]`.
    pub energy: Vec<f32>,
    /// Per track: milliseconds.
    pub duration_ms: Vec<u32>,
    /// Per track: day of release.
    pub release_day: Vec<i32>,
    /// Per track: attention without the boost of a new release; not normalised.
    pub attention: Vec<f32>,
    /// Per artist: first track; one more entry at the end.
    pub artist_start: Vec<u32>,
    /// Per artist: genre.
    pub artist_genre: Vec<u8>,
    /// Per artist: home market.
    pub artist_market: Vec<u8>,
    /// Per album: first track; one more entry at the end.
    pub album_start: Vec<u32>,
    artist_name: Vec<String>,
}

/// `genre` share of listeners and artists: Zipf with exponent .7.
pub(crate) fn genre_weights() -> impl Iterator<Item = f64> + Clone {
    (0..GENRES.len()).map(|g| (g as f64 + 1.0).powf(-0.7))
}

fn normalised(mut place: Place) -> Place {
    let norm = place.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
    place.iter_mut().for_each(|x| *x /= norm);
    place
}

/// A place near `centre`: `centre` plus `spread` times a standard normal vector of expected length 1.
pub(crate) fn near(luck: &mut Luck, centre: &Place, spread: f64) -> Place {
    let scale = spread / (DIM as f64).sqrt();
    let mut place = *centre;
    place.iter_mut().for_each(|x| *x += (scale * luck.normal()) as f32);
    normalised(place)
}

/// The centre of a genre.
pub(crate) fn genre_centre(seed: u64, genre: usize) -> Place {
    near(&mut Luck::new(seed, 0, 0, genre as u64, Stream::Catalogue), &[0.0; DIM], 1.0)
}

/// Cosine of two places.
#[must_use]
pub fn cosine(a: &Place, b: &Place) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Release day of an album relative to the first day of the log; negative is before it.
///
/// New albums arrive at a steady rate, the stock before has an exponential tail of ten years.
fn release_offset(luck: &mut Luck, n_days_ahead: f64) -> i32 {
    // About .045 % of the service's catalogue is released per day.
    let daily = 0.000_45;
    let ahead = (daily * n_days_ahead).min(0.3);
    let u = luck.uniform();
    if u < ahead {
        return (u / ahead * n_days_ahead) as i32;
    }
    if u < ahead + daily * 547.0 {
        return -1 - luck.below(547) as i32;
    }
    -548 - (luck.exponential() * 3_650.0).min(20_000.0) as i32
}

impl Catalogue {
    /// Makes the catalogue of a configuration. Takes about 1 µs per track.
    #[must_use]
    pub fn new(config: &WorldConfig) -> Self {
        let seed = config.seed;
        let n_items = config.n_items as usize;
        let n_ahead = f64::from(config.n_days + config.horizon_days);
        let centres: Vec<Place> = (0..GENRES.len()).map(|g| genre_centre(seed, g)).collect();
        let mut out = Self {
            seed,
            artist: Vec::with_capacity(n_items),
            album: Vec::with_capacity(n_items),
            place: Vec::with_capacity(n_items),
            quality: Vec::with_capacity(n_items),
            energy: Vec::with_capacity(n_items),
            duration_ms: Vec::with_capacity(n_items),
            release_day: Vec::with_capacity(n_items),
            attention: Vec::with_capacity(n_items),
            artist_start: vec![0],
            artist_genre: Vec::new(),
            artist_market: Vec::new(),
            album_start: vec![0],
            artist_name: Vec::new(),
        };
        let mut taken = HashSet::new();
        let mut fame: Vec<f64> = Vec::new();
        while out.artist.len() < n_items {
            let artist_idx = out.artist_genre.len();
            let luck = &mut Luck::new(seed, 1, 0, artist_idx as u64, Stream::Catalogue);
            let genre = luck.weighted(genre_weights());
            // Median 6 tracks, mean about 10, at most 200.
            let n_tracks = (1.0 + 5.5 * (1.05 * luck.normal()).exp()).min(200.0) as usize;
            // A larger body of work goes with more fame.
            fame.push(luck.exponential() + 0.5 * (n_tracks as f64).ln());
            let centre = near(luck, &centres[genre], 0.55);
            out.artist_genre.push(genre as u8);
            out.artist_market.push(draw_market(luck));
            out.artist_name.push(names::artist(
                &mut Luck::new(seed, 1, 0, artist_idx as u64, Stream::Names),
                &mut taken,
            ));
            let mut left = n_tracks.min(n_items - out.artist.len());
            while left > 0 {
                let size = match luck.below(10) {
                    0..=4 => 1 + luck.below(2),
                    5 | 6 => 3 + luck.below(4),
                    _ => 8 + luck.below(6),
                }
                .min(left);
                let release_day = config.start_day.0 + release_offset(luck, n_ahead);
                let tone = near(luck, &centre, 0.2);
                for _ in 0..size {
                    out.push_track(luck, artist_idx, release_day, &tone);
                }
                out.album_start.push(out.artist.len() as u32);
                left -= size;
            }
            out.artist_start.push(out.artist.len() as u32);
        }
        out.share_attention(&fame, config.behaviour.dark_share);
        out
    }

    /// Gives the artist of fame rank r the attention `(r + 3.5)^−1.15`, r from 0, and splits it over the tracks by their
    /// factor; a share `dark` of the tracks keeps next to nothing of it.
    fn share_attention(&mut self, fame: &[f64], dark: f64) {
        let mut by_fame: Vec<usize> = (0..fame.len()).collect();
        by_fame.sort_by(|&a, &b| fame[b].total_cmp(&fame[a]).then(a.cmp(&b)));
        for (rank, &artist) in by_fame.iter().enumerate() {
            let tracks = self.artist_start[artist] as usize..self.artist_start[artist + 1] as usize;
            let total: f32 = self.attention[tracks.clone()].iter().sum();
            for track in tracks {
                let mut luck = Luck::new(self.seed, 4, 0, track as u64, Stream::Catalogue);
                let seen = if luck.chance(dark) { 1e-5 } else { 1.0 };
                self.attention[track] *= seen / (total * (rank as f32 + 3.5).powf(1.15));
            }
        }
    }

    fn push_track(&mut self, luck: &mut Luck, artist: usize, release: i32, tone: &Place) {
        let place = near(luck, tone, 0.3);
        let quality = luck.normal();
        let ln_seconds =
            if luck.chance(0.09) { 4.4 + 0.45 * luck.normal() } else { 5.42 + 0.37 * luck.normal() };
        let energy = logistic(2.2 * f64::from(place[0]) + 1.2 * f64::from(place[1]) + 0.5 * luck.normal());
        self.artist.push(artist as u32);
        self.album.push(self.album_start.len() as u32 - 1);
        self.place.push(place);
        self.quality.push(quality as f32);
        self.energy.push(energy as f32);
        self.duration_ms.push((ln_seconds.exp().clamp(30.0, 1_800.0) * 1_000.0) as u32);
        self.release_day.push(release);
        self.attention.push((0.7 * quality + 2.1 * luck.normal()).exp() as f32);
    }

    /// Number of tracks.
    #[must_use]
    pub fn n_items(&self) -> usize {
        self.artist.len()
    }

    /// Number of artists.
    #[must_use]
    pub fn n_artists(&self) -> usize {
        self.artist_genre.len()
    }

    /// Genre of a track: that of its artist.
    #[must_use]
    pub fn genre(&self, item: u32) -> u8 {
        self.artist_genre[self.artist[item as usize] as usize]
    }

    /// Tracks of an artist.
    #[must_use]
    pub fn tracks_of(&self, artist: u32) -> std::ops::Range<u32> {
        self.artist_start[artist as usize]..self.artist_start[artist as usize + 1]
    }

    /// Tracks of an album.
    #[must_use]
    pub fn tracks_on(&self, album: u32) -> std::ops::Range<u32> {
        self.album_start[album as usize]..self.album_start[album as usize + 1]
    }

    /// Whether a track is out on `day`.
    #[must_use]
    pub fn is_released(&self, item: u32, day: Day) -> bool {
        self.release_day[item as usize] <= day.0
    }

    /// External id of a track.
    #[must_use]
    pub fn item_id(item: u32) -> String {
        format!("t{item:07}")
    }

    /// The track of an external id; `None` if it is none of this catalogue.
    #[must_use]
    pub fn item_of(&self, item_id: &str) -> Option<u32> {
        let digits = item_id.strip_prefix('t')?;
        let item: u32 = digits.parse().ok()?;
        ((item as usize) < self.n_items() && Self::item_id(item) == item_id).then_some(item)
    }

    /// External id of an artist.
    #[must_use]
    pub fn artist_id(artist: u32) -> String {
        format!("ar{artist:06}")
    }

    /// External id of an album.
    #[must_use]
    pub fn album_id(album: u32) -> String {
        format!("al{album:06}")
    }

    /// Name of an artist.
    #[must_use]
    pub fn artist_name(&self, artist: u32) -> &str {
        &self.artist_name[artist as usize]
    }

    /// The facts of a track as a service would know them: its place only through a noisy embedding.
    #[must_use]
    pub fn item(&self, item: u32) -> Item {
        let i = item as usize;
        let (artist, album) = (self.artist[i], self.album[i]);
        let mut luck = Luck::new(self.seed, 2, 0, u64::from(item), Stream::Names);
        let title = names::title(&mut luck);
        let mut album_luck = Luck::new(self.seed, 3, 0, u64::from(album), Stream::Names);
        let tracks = self.tracks_on(album);
        // A single is called like its track.
        let album_name = if tracks.len() == 1 { title.clone() } else { names::title(&mut album_luck) };
        let genre = GENRES[self.genre(item) as usize];
        let mut tags = vec![genre.to_owned()];
        let energy = self.energy[i];
        let valence = logistic(2.0 * f64::from(self.place[i][2]) + 0.6 * luck.normal()) as f32;
        if energy > 0.75 {
            tags.push("energetic".to_owned());
        } else if energy < 0.25 {
            tags.push("calm".to_owned());
        }
        let local = MARKETS[self.artist_market[artist as usize] as usize];
        let markets = if luck.chance(0.03) { vec![local.code.to_owned()] } else { Vec::new() };
        let guest = luck.chance(0.06).then(|| luck.below(self.n_artists()) as u32).filter(|g| *g != artist);
        let artists: Vec<u32> = std::iter::once(artist).chain(guest).collect();
        let release = Day(self.release_day[i]);
        Item {
            title: Some(title),
            artist_ids: artists.iter().map(|&a| Self::artist_id(a)).collect(),
            artist_names: artists.iter().map(|&a| self.artist_name(a).to_owned()).collect(),
            album_id: Some(Self::album_id(album)),
            album_name: Some(album_name),
            tags,
            release_day: Some(release),
            duration_ms: Some(i64::from(self.duration_ms[i])),
            explicit: luck.chance(if genre == "hip hop" { 0.4 } else { 0.08 }),
            markets,
            energy: Some(energy),
            valence: Some(valence),
            tempo_bpm: Some((75.0 + 90.0 * f64::from(energy) + 9.0 * luck.normal()).clamp(50.0, 210.0) as f32),
            embedding: near(&mut luck, &self.place[i], 0.5).to_vec(),
            valid_from: Some(TimestampMs(release.start().0.max(0))),
            ..Item::new(&Self::item_id(item))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalogue_has_exactly_the_items_asked_for_and_ranges_that_tile_it() {
        for n_items in [0, 1, 2, 997] {
            let c = Catalogue::new(&WorldConfig { n_items, ..WorldConfig::smoke(1) });
            assert_eq!(c.n_items(), n_items as usize);
            assert_eq!(c.artist_start.last(), Some(&n_items));
            assert_eq!(c.album_start.last(), Some(&n_items));
            for artist in 0..c.n_artists() as u32 {
                assert!(c.tracks_of(artist).all(|t| c.artist[t as usize] == artist));
            }
            for item in 0..n_items {
                assert!(c.tracks_on(c.album[item as usize]).contains(&item));
            }
        }
    }

    #[test]
    fn every_item_is_valid_named_and_found_by_its_id() {
        let c = Catalogue::new(&WorldConfig::smoke(1));
        for item in 0..c.n_items() as u32 {
            let facts = c.item(item);
            facts.validate().unwrap();
            assert!(facts.title.as_ref().is_some_and(|t| t.len() > 2));
            assert_eq!(c.item_of(&facts.item_id), Some(item));
        }
        assert_eq!(c.item_of("t9999999"), None);
        assert_eq!(c.item_of("t1"), None);
        assert_eq!(c.item_of("x"), None);
    }

    #[test]
    fn tracks_of_one_artist_sound_more_alike_than_tracks_of_others() {
        let c = Catalogue::new(&WorldConfig::smoke(1));
        let (mut same, mut other) = ((0.0, 0), (0.0, 0));
        for i in 0..c.n_items() - 1 {
            let j = (i * 31 + 17) % c.n_items();
            let near = cosine(&c.place[i], &c.place[i + 1]);
            if c.artist[i] == c.artist[i + 1] {
                same = (same.0 + near, same.1 + 1);
            }
            other = (other.0 + cosine(&c.place[i], &c.place[j]), other.1 + 1);
        }
        assert!(same.0 / same.1 as f32 > 0.8 && (other.0 / other.1 as f32) < 0.4);
    }
}
