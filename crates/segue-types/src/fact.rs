//! Facts with a validity time: items, users, and undated profiles.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::label::names;
use crate::{Day, TimestampMs};

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ItemKind {
    /// A track.
    Track = 1,
    /// An episode of a show.
    Episode = 2,
    /// A chapter of an audiobook.
    Chapter = 3,
    /// An artist.
    Artist = 4,
    /// An album.
    Album = 5,
    /// A playlist.
    Playlist = 6,
}

names!(ItemKind {
    Track => "track",
    Episode => "episode",
    Chapter => "chapter",
    Artist => "artist",
    Album => "album",
    Playlist => "playlist",
});

/// What is known of an item, from `valid_from` until the next row of the same item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// External id.
    pub item_id: String,
    /// What it is.
    #[serde(default = "track")]
    pub kind: ItemKind,
    /// Display title; the id is shown where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// External ids of its artists, main artist first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artist_ids: Vec<String>,
    /// Display names of its artists, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artist_names: Vec<String>,
    /// External id of its album.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub album_id: Option<String>,
    /// Display name of its album.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub album_name: Option<String>,
    /// Genres and other tags, most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Day of release (UTC days since 1970).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_day: Option<Day>,
    /// Milliseconds it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// Whether it is marked explicit.
    #[serde(default)]
    pub explicit: bool,
    /// Markets it may be played in (ISO 3166 alpha-2); empty means everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub markets: Vec<String>,
    /// Perceived intensity in `[0, 1]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<f32>,
    /// Musical positiveness in `[0, 1]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valence: Option<f32>,
    /// Beats per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tempo_bpm: Option<f32>,
    /// Canonical recording shared by several releases of one song.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_id: Option<String>,
    /// International Standard Recording Code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isrc: Option<String>,
    /// MusicBrainz id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mbid: Option<String>,
    /// Content embedding, any fixed length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedding: Vec<f32>,
    /// From when on this row holds; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<TimestampMs>,
    /// False takes the item out of the catalogue from `valid_from` on.
    #[serde(default = "yes")]
    pub available: bool,
}

fn track() -> ItemKind {
    ItemKind::Track
}

fn yes() -> bool {
    true
}

impl Item {
    /// An available track of which only the id is known.
    #[must_use]
    pub fn new(item_id: &str) -> Self {
        Self {
            item_id: item_id.to_owned(),
            kind: ItemKind::Track,
            title: None,
            artist_ids: Vec::new(),
            artist_names: Vec::new(),
            album_id: None,
            album_name: None,
            tags: Vec::new(),
            release_day: None,
            duration_ms: None,
            explicit: false,
            markets: Vec::new(),
            energy: None,
            valence: None,
            tempo_bpm: None,
            recording_id: None,
            isrc: None,
            mbid: None,
            embedding: Vec::new(),
            valid_from: None,
            available: true,
        }
    }

    /// The title, or the id where there is none.
    #[must_use]
    pub fn display_title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.item_id)
    }

    /// Whether it may be played in `market`; an unknown market sees only unrestricted items.
    #[must_use]
    pub fn is_in_market(&self, market: Option<&str>) -> bool {
        self.markets.is_empty() || market.is_some_and(|m| self.markets.iter().any(|x| x == m))
    }
}

/// What is known of a user, from `valid_from` until the next row of the same user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// External id.
    pub user_id: String,
    /// Name to show in the console, if the operator gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// ISO 3166 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub market: Option<String>,
    /// When the account was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<TimestampMs>,
    /// Name of the plan, such as `free` or `premium`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Five-year bucket of the birth year, as its first year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_year_bucket: Option<i32>,
    /// False keeps explicit items out of every slate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_explicit: Option<bool>,
    /// False means: no personalization. The listener gets what is popular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<bool>,
    /// From when on this row holds; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<TimestampMs>,
}

/// An undated count: how often a user played an item. For data without time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// External user id.
    pub user_id: String,
    /// External item id.
    pub item_id: String,
    /// Number of plays, at least 1.
    pub n_plays: u64,
}
