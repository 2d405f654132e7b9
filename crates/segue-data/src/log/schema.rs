//! The tables of the log, defined once: names, column order, types.
//!
//! Ids are strings as the source gave them, dictionary encoded where they repeat. Times are UTC
//! milliseconds. Enumerations are their names, so that a query reads them without a code table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// Number of user buckets of the log; fixed for the life of a log.
pub const N_BUCKETS: u32 = 256;

/// `u16`: the user's bucket, `UserKey::of(user_id).bucket(256)`; 0 for an anonymous slate.
pub const BUCKET: &str = "bucket";
/// External user id.
pub const USER_ID: &str = "user_id";
/// External item id.
pub const ITEM_ID: &str = "item_id";
/// When the system came to know: `received_at`, else `ended_at`, else `occurred_at`.
pub const KNOWN_AT: &str = "known_at";
/// Deduplication key of an event.
pub const EVENT_ID: &str = "event_id";
/// When it happened.
pub const OCCURRED_AT: &str = "occurred_at";
/// When playback ended.
pub const ENDED_AT: &str = "ended_at";
/// When the server got it.
pub const RECEIVED_AT: &str = "received_at";
/// Milliseconds heard.
pub const LISTENED_MS: &str = "listened_ms";
/// Milliseconds the item lasts.
pub const DURATION_MS: &str = "duration_ms";
/// Name of a `StartReason`.
pub const START_REASON: &str = "start_reason";
/// Name of an `EndReason`.
pub const END_REASON: &str = "end_reason";
/// Name of a `Surface`.
pub const SURFACE: &str = "surface";
/// Slate an event refers to.
pub const SLATE_ID: &str = "slate_id";
/// 0-based position in that slate.
pub const POSITION: &str = "position";
/// Whether shuffle was on.
pub const SHUFFLE: &str = "shuffle";
/// Whether the device was offline.
pub const OFFLINE: &str = "offline";
/// Playlist, album or station of a play.
pub const CONTEXT_ID: &str = "context_id";
/// What a feedback is about.
pub const TARGET_ID: &str = "target_id";
/// Name of a `FeedbackKind` or an `ItemKind`.
pub const KIND: &str = "kind";
/// Shelf of an impression.
pub const SHELF_ID: &str = "shelf_id";
/// When a card came on screen.
pub const SHOWN_AT: &str = "shown_at";
/// Milliseconds a card stayed visible.
pub const VISIBLE_MS: &str = "visible_ms";
/// `now` of a slate's request.
pub const COMPOSED_AT: &str = "composed_at";
/// Deployment that composed a slate.
pub const DEPLOYMENT_ID: &str = "deployment_id";
/// Cards of a slate.
pub const N_CARDS: &str = "n_cards";
/// Probability of a whole slate.
pub const SLATE_PROPENSITY: &str = "slate_propensity";
/// Share of requests whose candidates are kept.
pub const CANDIDATE_SAMPLING_RATE: &str = "candidate_sampling_rate";
/// Why a slate has no card.
pub const EMPTY_REASON: &str = "empty_reason";
/// Stages that did not contribute, `stage:cause`.
pub const DEGRADED: &str = "degraded";
/// Experiment arms, `experiment=arm`.
pub const ARMS: &str = "arms";
/// Names of the features in a candidate's `features`.
pub const FEATURE_NAMES: &str = "feature_names";
/// The whole `SlateRecord` as JSON: what replay reads.
pub const RECORD: &str = "record";
/// Sources that proposed a candidate.
pub const SOURCES: &str = "sources";
/// Their scores, in the order of `sources`.
pub const SOURCE_SCORES: &str = "source_scores";
/// Their 1-based ranks, in the order of `sources`.
pub const SOURCE_RANKS: &str = "source_ranks";
/// Features as served, in the order of the slate's `feature_names`.
pub const FEATURES: &str = "features";
/// Heads of the ranker.
pub const HEADS: &str = "heads";
/// Their probabilities, in the order of `heads`.
pub const HEAD_PROBABILITIES: &str = "head_probabilities";
/// The score the selector saw.
pub const SCORE: &str = "score";
/// 1-based rank by that score.
pub const RANK: &str = "rank";
/// Probability of an item at its position given those above.
pub const PREFIX_PROPENSITY: &str = "prefix_propensity";
/// The stage and rule that removed a candidate.
pub const REMOVED_BY: &str = "removed_by";
/// Display title.
pub const TITLE: &str = "title";
/// External artist ids.
pub const ARTIST_IDS: &str = "artist_ids";
/// Artist names.
pub const ARTIST_NAMES: &str = "artist_names";
/// External album id.
pub const ALBUM_ID: &str = "album_id";
/// Album name.
pub const ALBUM_NAME: &str = "album_name";
/// Genres and other tags.
pub const TAGS: &str = "tags";
/// Day of release.
pub const RELEASE_DAY: &str = "release_day";
/// Marked explicit.
pub const EXPLICIT: &str = "explicit";
/// Markets an item may be played in; empty is everywhere.
pub const MARKETS: &str = "markets";
/// Perceived intensity.
pub const ENERGY: &str = "energy";
/// Musical positiveness.
pub const VALENCE: &str = "valence";
/// Beats per minute.
pub const TEMPO_BPM: &str = "tempo_bpm";
/// Canonical recording.
pub const RECORDING_ID: &str = "recording_id";
/// International Standard Recording Code.
pub const ISRC: &str = "isrc";
/// MusicBrainz id.
pub const MBID: &str = "mbid";
/// Content embedding.
pub const EMBEDDING: &str = "embedding";
/// From when on a fact holds.
pub const VALID_FROM: &str = "valid_from";
/// Whether an item is in the catalogue.
pub const AVAILABLE: &str = "available";
/// Name to show of a user.
pub const DISPLAY_NAME: &str = "display_name";
/// Market of a user.
pub const MARKET: &str = "market";
/// When an account was made.
pub const REGISTERED_AT: &str = "registered_at";
/// Plan of a user.
pub const PLAN: &str = "plan";
/// First year of the five-year bucket of the birth year.
pub const BIRTH_YEAR_BUCKET: &str = "birth_year_bucket";
/// Whether explicit items may be shown to a user.
pub const ALLOW_EXPLICIT: &str = "allow_explicit";
/// Whether a user consents to personalization.
pub const CONSENT: &str = "consent";
/// Undated number of plays.
pub const N_PLAYS: &str = "n_plays";

/// A table of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// One play of one item.
    Plays,
    /// One explicit act.
    Feedback,
    /// One card or track the listener met.
    Impressions,
    /// One served slate.
    Slates,
    /// One candidate of a slate.
    Candidates,
    /// Facts about an item.
    Items,
    /// Facts about a user.
    Users,
    /// Undated user × item counts.
    Profiles,
}

/// Type of a column, as the builders and readers of this crate see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// Computed from `user_id` when a part is written.
    Bucket,
    /// String, dictionary encoded.
    Dict,
    /// String, mostly distinct.
    Text,
    /// UTC milliseconds.
    Time,
    Day,
    I32,
    I64,
    U32,
    U64,
    F32,
    F64,
    Bool,
    TextList,
    F32List,
    U32List,
}

impl Type {
    fn arrow(self) -> DataType {
        let list = |t: DataType| DataType::List(Arc::new(Field::new("item", t, true)));
        match self {
            Self::Bucket => DataType::UInt16,
            Self::Dict => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            Self::Text => DataType::Utf8,
            Self::Time => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Self::Day => DataType::Date32,
            Self::I32 => DataType::Int32,
            Self::I64 => DataType::Int64,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::TextList => list(DataType::Utf8),
            Self::F32List => list(DataType::Float32),
            Self::U32List => list(DataType::UInt32),
        }
    }
}

/// One column: name, type, whether it may be absent.
pub(crate) type Column = (&'static str, Type, bool);

const NO: bool = false;
const YES: bool = true;

const PLAYS: &[Column] = &[
    (BUCKET, Type::Bucket, NO),
    (USER_ID, Type::Dict, NO),
    (ITEM_ID, Type::Dict, NO),
    (KNOWN_AT, Type::Time, NO),
    (EVENT_ID, Type::Text, NO),
    (OCCURRED_AT, Type::Time, NO),
    (ENDED_AT, Type::Time, YES),
    (RECEIVED_AT, Type::Time, YES),
    (LISTENED_MS, Type::I64, YES),
    (DURATION_MS, Type::I64, YES),
    (START_REASON, Type::Dict, YES),
    (END_REASON, Type::Dict, YES),
    (SURFACE, Type::Dict, YES),
    (SLATE_ID, Type::Dict, YES),
    (POSITION, Type::U32, YES),
    (SHUFFLE, Type::Bool, YES),
    (OFFLINE, Type::Bool, YES),
    (CONTEXT_ID, Type::Dict, YES),
];

const FEEDBACK: &[Column] = &[
    (BUCKET, Type::Bucket, NO),
    (USER_ID, Type::Dict, NO),
    (TARGET_ID, Type::Dict, NO),
    (KIND, Type::Dict, NO),
    (KNOWN_AT, Type::Time, NO),
    (EVENT_ID, Type::Text, NO),
    (OCCURRED_AT, Type::Time, NO),
    (RECEIVED_AT, Type::Time, YES),
    (SLATE_ID, Type::Dict, YES),
    (POSITION, Type::U32, YES),
];

const IMPRESSIONS: &[Column] = &[
    (BUCKET, Type::Bucket, NO),
    (USER_ID, Type::Dict, NO),
    (ITEM_ID, Type::Dict, NO),
    (KNOWN_AT, Type::Time, NO),
    (EVENT_ID, Type::Text, NO),
    (SLATE_ID, Type::Dict, NO),
    (SHELF_ID, Type::Dict, YES),
    (POSITION, Type::U32, NO),
    (SHOWN_AT, Type::Time, NO),
    (RECEIVED_AT, Type::Time, YES),
    (VISIBLE_MS, Type::I64, YES),
];

const SLATES: &[Column] = &[
    (BUCKET, Type::Bucket, NO),
    (USER_ID, Type::Dict, YES),
    (KNOWN_AT, Type::Time, NO),
    (SLATE_ID, Type::Text, NO),
    (SURFACE, Type::Dict, NO),
    (COMPOSED_AT, Type::Time, NO),
    (DEPLOYMENT_ID, Type::Dict, YES),
    (N_CARDS, Type::U32, YES),
    (SLATE_PROPENSITY, Type::F64, YES),
    (CANDIDATE_SAMPLING_RATE, Type::F64, YES),
    (EMPTY_REASON, Type::Dict, YES),
    (DEGRADED, Type::TextList, NO),
    (ARMS, Type::TextList, NO),
    (FEATURE_NAMES, Type::TextList, NO),
    (RECORD, Type::Text, YES),
];

const CANDIDATES: &[Column] = &[
    (BUCKET, Type::Bucket, NO),
    (USER_ID, Type::Dict, YES),
    (KNOWN_AT, Type::Time, NO),
    (SLATE_ID, Type::Dict, NO),
    (ITEM_ID, Type::Dict, NO),
    (SOURCES, Type::TextList, NO),
    (SOURCE_SCORES, Type::F32List, NO),
    (SOURCE_RANKS, Type::U32List, NO),
    (FEATURES, Type::F32List, NO),
    (HEADS, Type::TextList, NO),
    (HEAD_PROBABILITIES, Type::F32List, NO),
    (SCORE, Type::F32, YES),
    (RANK, Type::U32, YES),
    (POSITION, Type::U32, YES),
    (PREFIX_PROPENSITY, Type::F64, YES),
    (REMOVED_BY, Type::Dict, YES),
];

const ITEMS: &[Column] = &[
    (ITEM_ID, Type::Text, NO),
    (KIND, Type::Dict, NO),
    (TITLE, Type::Text, YES),
    (ARTIST_IDS, Type::TextList, NO),
    (ARTIST_NAMES, Type::TextList, NO),
    (ALBUM_ID, Type::Dict, YES),
    (ALBUM_NAME, Type::Dict, YES),
    (TAGS, Type::TextList, NO),
    (RELEASE_DAY, Type::Day, YES),
    (DURATION_MS, Type::I64, YES),
    (EXPLICIT, Type::Bool, NO),
    (MARKETS, Type::TextList, NO),
    (ENERGY, Type::F32, YES),
    (VALENCE, Type::F32, YES),
    (TEMPO_BPM, Type::F32, YES),
    (RECORDING_ID, Type::Text, YES),
    (ISRC, Type::Text, YES),
    (MBID, Type::Text, YES),
    (EMBEDDING, Type::F32List, NO),
    (VALID_FROM, Type::Time, YES),
    (AVAILABLE, Type::Bool, NO),
];

const USERS: &[Column] = &[
    (BUCKET, Type::Bucket, NO),
    (USER_ID, Type::Dict, NO),
    (DISPLAY_NAME, Type::Text, YES),
    (MARKET, Type::Dict, YES),
    (REGISTERED_AT, Type::Time, YES),
    (PLAN, Type::Dict, YES),
    (BIRTH_YEAR_BUCKET, Type::I32, YES),
    (ALLOW_EXPLICIT, Type::Bool, YES),
    (CONSENT, Type::Bool, YES),
    (VALID_FROM, Type::Time, YES),
];

const PROFILES: &[Column] = &[
    (BUCKET, Type::Bucket, NO),
    (USER_ID, Type::Dict, NO),
    (ITEM_ID, Type::Dict, NO),
    (N_PLAYS, Type::U64, NO),
];

impl Table {
    /// Every table.
    pub const ALL: &'static [Self] = &[
        Self::Plays,
        Self::Feedback,
        Self::Impressions,
        Self::Slates,
        Self::Candidates,
        Self::Items,
        Self::Users,
        Self::Profiles,
    ];

    /// Name of the table and of its folder.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plays => "plays",
            Self::Feedback => "feedback",
            Self::Impressions => "impressions",
            Self::Slates => "slates",
            Self::Candidates => "candidates",
            Self::Items => "items",
            Self::Users => "users",
            Self::Profiles => "profiles",
        }
    }

    /// The table of an exact name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.as_str() == name)
    }

    /// Whether its parts lie in a folder per received day.
    #[must_use]
    pub fn is_by_day(self) -> bool {
        self.columns().iter().any(|c| c.0 == KNOWN_AT)
    }

    /// Whether its rows belong to users and carry a bucket.
    #[must_use]
    pub fn has_bucket(self) -> bool {
        self.columns().iter().any(|c| c.0 == BUCKET)
    }

    /// Arrow schema of the table.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        let fields: Vec<Field> =
            self.columns().iter().map(|&(name, t, nullable)| Field::new(name, t.arrow(), nullable)).collect();
        Arc::new(Schema::new(fields))
    }

    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Plays => PLAYS,
            Self::Feedback => FEEDBACK,
            Self::Impressions => IMPRESSIONS,
            Self::Slates => SLATES,
            Self::Candidates => CANDIDATES,
            Self::Items => ITEMS,
            Self::Users => USERS,
            Self::Profiles => PROFILES,
        }
    }

    /// The column that breaks ties of `(user, known_at)`.
    pub(crate) fn tie_column(self) -> Option<&'static str> {
        match self {
            Self::Plays | Self::Feedback | Self::Impressions => Some(EVENT_ID),
            Self::Slates => Some(SLATE_ID),
            _ => None,
        }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_table_begins_with_its_bucket_and_user() {
        for &table in Table::ALL {
            let columns = table.columns();
            assert_eq!(Table::parse(table.as_str()), Some(table));
            if table.has_bucket() {
                assert_eq!((columns[0].0, columns[1].0), (BUCKET, USER_ID), "{table}");
            }
            let mut names: Vec<_> = columns.iter().map(|c| c.0).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), columns.len(), "{table} has a column twice");
        }
    }
}
