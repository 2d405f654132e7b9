//! Slates: what was composed for one request, and the record from which it can be judged later.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::SlateRequest;
use crate::{Item, ItemKey, ItemKind, Surface, TimestampMs, UserKey};

/// What a page needs to draw an item, as it was when the slate was composed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct ItemDisplay {
    /// Title, or the id where there is none.
    pub title: String,
    /// Kind; a track unless said otherwise.
    pub kind: Option<ItemKind>,
    /// Artist names, main artist first.
    pub artists: Vec<String>,
    /// Album name.
    pub album: Option<String>,
    /// Most telling tag, if any.
    pub genre: Option<String>,
    /// Milliseconds it lasts.
    pub duration_ms: Option<i64>,
    /// Marked explicit.
    pub explicit: bool,
    /// In `[0, 1]`; steers the contrast of a drawn cover.
    pub energy: Option<f32>,
    /// Beats per minute; steers the density of a drawn cover.
    pub tempo_bpm: Option<f32>,
}

impl From<&Item> for ItemDisplay {
    fn from(item: &Item) -> Self {
        Self {
            title: item.display_title().to_owned(),
            kind: Some(item.kind),
            artists: item.artist_names.clone(),
            album: item.album_name.clone(),
            genre: item.tags.first().cloned(),
            duration_ms: item.duration_ms,
            explicit: item.explicit,
            energy: item.energy,
            tempo_bpm: item.tempo_bpm,
        }
    }
}

/// One item at one position of a slate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Card {
    /// External item id.
    pub item_id: String,
    /// Its key.
    #[schema(value_type = String)]
    pub item_key: ItemKey,
    /// 0-based position in the slate, counted over shelves from top to bottom.
    pub position: u32,
    /// The source that proposed it with the highest rank.
    pub source: String,
    /// Why it is here, in words for the listener.
    pub reason: Option<String>,
    /// The ranker's score it was chosen by.
    pub score: f32,
    /// Probability that the selector put this item here, given the items above. In `(0, 1]`.
    pub prefix_propensity: f64,
    /// What a page draws.
    pub display: ItemDisplay,
}

/// A titled row of cards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Shelf {
    /// Stable id from the configuration, such as `made_for_you`; the queue of Now Playing is `queue`.
    pub shelf_id: String,
    /// Title as shown.
    pub title: String,
    /// Why this shelf is here, in words.
    pub why: String,
    /// Its cards, left to right.
    pub cards: Vec<Card>,
}

/// A part of the pipeline that did not contribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Degraded {
    /// Name of the stage.
    pub stage: String,
    /// What happened: `timeout`, `error`, `missing_model`, `bad_output`.
    pub cause: String,
    /// Detail for the maker.
    pub detail: String,
}

/// The ordered cards shown together for one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Slate {
    /// Id that impressions, plays and feedback refer to; equal to the request id.
    pub slate_id: String,
    /// Which surface.
    pub surface: Surface,
    /// External id of the listener; absent for an anonymous request.
    pub user_id: Option<String>,
    /// The `now` of the request.
    pub composed_at: TimestampMs,
    /// Shelves from top to bottom.
    pub shelves: Vec<Shelf>,
    /// Stages that did not contribute; empty on a healthy request.
    pub degraded: Vec<Degraded>,
    /// Why the slate has no card, when it has none.
    pub empty_reason: Option<String>,
    /// Product of the prefix propensities of all cards.
    pub slate_propensity: f64,
}

/// The score one source gave a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceScore {
    /// Name of the source.
    pub source: String,
    /// Its score; comparable only within this source and request.
    pub score: f32,
    /// 1-based rank within this source and request.
    pub rank: u32,
}

/// One head of the ranker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeadScore {
    /// Name, such as `stream` or `completion`.
    pub head: String,
    /// Calibrated probability in `[0, 1]`.
    pub probability: f32,
}

/// One candidate of a request: where it came from, what was known of it and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CandidateRecord {
    /// External item id.
    pub item_id: String,
    /// Its key.
    #[schema(value_type = String)]
    pub item_key: ItemKey,
    /// Sources that proposed it, in the order of the configuration.
    pub sources: Vec<SourceScore>,
    /// Features as served, in the order of [`SlateRecord::feature_names`]; `null` is missing.
    pub features: Vec<Option<f32>>,
    /// The ranker's heads; empty where no ranker ran.
    pub heads: Vec<HeadScore>,
    /// The score the selector saw; `null` if the candidate was removed before scoring.
    pub score: Option<f32>,
    /// 1-based rank by that score before the selector; `null` if removed.
    pub rank: Option<u32>,
    /// Position in the slate; `null` if not chosen.
    pub position: Option<u32>,
    /// Probability of this item at its position given those above; `null` if not chosen.
    pub prefix_propensity: Option<f64>,
    /// The stage and rule that removed it; `null` if it reached the selector.
    pub removed_by: Option<String>,
}

/// One candidate as the selector of a shelf saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolEntry {
    /// External item id.
    pub item_id: String,
    /// The score the selector saw.
    pub score: f32,
    /// What the diversity cap counts: the key of the main artist, 0 where unknown.
    #[schema(value_type = String)]
    #[serde(with = "hex_u64")]
    pub group: u64,
    /// The source that proposed it with the highest rank.
    pub source: String,
    /// Why it would be here, in words for the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the selector of one shelf was told: enough to run it again without any other store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShelfRecord {
    /// Stable id from the configuration.
    pub shelf_id: String,
    /// Title, words filled in.
    pub title: String,
    /// Why this shelf is here, words filled in.
    pub why: String,
    /// Name of the selector, such as `top` or `explore`.
    pub selector: String,
    /// Most cards the shelf may have.
    pub limit: u32,
    /// A shelf with fewer cards is left out.
    pub min_cards: u32,
    /// Most cards of one group; 0 is no cap.
    pub max_per_group: u32,
    /// Exploration: temperature of the softmax over scores.
    pub temperature: f64,
    /// Exploration: share of uniform choice, in `[0, 1]`.
    pub epsilon: f64,
    /// Exploration: how many of the best candidates may be chosen.
    pub pool_size: u32,
    /// Candidates, best first.
    pub pool: Vec<PoolEntry>,
}

/// 64-bit keys travel as fixed-width hexadecimal strings: JSON numbers lose digits past 2^53.
mod hex_u64 {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .map_err(|_| serde::de::Error::custom(format!("not a hexadecimal key: `{text}`")))
    }
}

/// What one stage did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageTrace {
    /// Name from the configuration.
    pub stage: String,
    /// `source`, `hydrator`, `filter`, `scorer`, `selector` or `side_effect`.
    pub kind: String,
    /// Candidates in.
    pub n_in: u32,
    /// Candidates out.
    pub n_out: u32,
    /// Microseconds from the start of the request to the start of the stage.
    pub started_us: u64,
    /// Microseconds the stage took.
    pub took_us: u64,
    /// Microseconds it was allowed.
    pub budget_us: u64,
    /// `ok`, `timeout`, `error` or `bad_output`.
    pub status: String,
}

/// Everything that decided one slate. `segue replay` recomposes the slate from it, byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SlateRecord {
    /// Version of this record's layout.
    pub version: u32,
    /// The request as received, with defaults filled in.
    pub request: SlateRequest,
    /// Key of the listener.
    #[schema(value_type = Option<String>)]
    pub user_key: Option<UserKey>,
    /// `now` of the request.
    pub now: TimestampMs,
    /// Id of the deployment: artifacts and configuration.
    pub deployment_id: String,
    /// Write-ahead log offset up to which the user's state was known.
    pub user_state_offset: u64,
    /// Seed of the selector, from the request id.
    #[schema(value_type = String)]
    pub seed: u64,
    /// Arms of the experiments that could have changed this slate, `experiment=arm`: its exposures.
    pub arms: Vec<String>,
    /// Names of the features of each candidate.
    pub feature_names: Vec<String>,
    /// Every candidate, or none where this request was not in the logged sample.
    pub candidates: Vec<CandidateRecord>,
    /// Share of requests whose candidates are kept, in `(0, 1]`.
    pub candidate_sampling_rate: f64,
    /// What the selector of each shelf was told, in the order the shelves were composed.
    #[serde(default)]
    pub shelves: Vec<ShelfRecord>,
    /// What each stage did, time-outs included.
    pub stages: Vec<StageTrace>,
    /// The slate as served.
    pub slate: Slate,
}
