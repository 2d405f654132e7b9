//! The HTTP contract: requests and responses of `/v1`. The OpenAPI page is generated from these.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::slate::ItemDisplay;
use crate::{Action, Event, FeedbackKind, Item, Slate, SlateRecord, Surface, TimestampMs};

/// Asks for a slate: the body of `POST /v1/home` and `POST /v1/now-playing`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SlateRequest {
    /// Chosen by the client or made by the server; the slate's id and the seed derive from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// External user id; absent asks for the page of a stranger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Market of the request; falls back to the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub market: Option<String>,
    /// Cards per shelf, or length of the queue; the surface's default where absent, at most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Now Playing only: the item that plays now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_item_id: Option<String>,
    /// Session id of the client, for experiments by session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Platform of the client, such as `ios`; experiments may target it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Version of the client, such as `8.9.42`; experiments may target it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// The moment to compose for. Accepted only by a server started with `--client-clock`
    /// (simulations); anywhere else it is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<TimestampMs>,
    /// Whether to return the slate's record with it.
    #[serde(default)]
    pub explain: bool,
}

/// A slate, and its record when asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SlateResponse {
    /// The slate.
    #[serde(flatten)]
    pub slate: Slate,
    /// Present when the request said `explain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<SlateRecord>,
}

/// Body of `POST /v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsRequest {
    /// At most 1,000 events, in any order.
    pub events: Vec<Event>,
    /// The moment of receipt. Accepted only by a server started with `--client-clock`; such a
    /// server takes the latest moment in the batch where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<TimestampMs>,
}

/// Answer of `POST /v1/events`, sent only after the accepted events are on disk (202).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventsResponse {
    /// Events now durable.
    pub n_accepted: u32,
    /// Events whose id was accepted before, within the stated horizon; they changed nothing.
    pub n_duplicates: u32,
    /// Events not accepted.
    pub rejected: Vec<RejectedEvent>,
}

/// One event that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedEvent {
    /// Index in the request's list.
    pub index: u32,
    /// Name of the rule, see `RejectReason`.
    pub reason: String,
    /// The column, the value and the rule in words.
    pub message: String,
}

/// Body of `PUT /v1/items`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemsRequest {
    /// At most 1,000 items; each replaces what was known of its id from its `valid_from` on.
    pub items: Vec<Item>,
}

/// Answer of `PUT /v1/items`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemsResponse {
    /// Items now in the live catalogue.
    pub n_accepted: u32,
    /// Items not accepted.
    pub rejected: Vec<RejectedEvent>,
}

/// An item with a score, for lists such as "similar".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScoredItem {
    /// External id.
    pub item_id: String,
    /// Score of the model that answered.
    pub score: f32,
    /// What a page draws.
    pub display: ItemDisplay,
}

/// Answer of `GET /v1/items/{id}/similar`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SimilarResponse {
    /// The item asked about.
    pub item_id: String,
    /// Name of the model.
    pub model: String,
    /// Best first.
    pub items: Vec<ScoredItem>,
}

/// An item of the live catalogue as a page draws it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NamedItem {
    /// External id.
    pub item_id: String,
    /// What a page draws.
    pub display: ItemDisplay,
}

/// Answer of `GET /v1/items?ids=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NamedItemsResponse {
    /// The items the catalogue knows, in the order asked; the others are left out.
    pub items: Vec<NamedItem>,
}

/// One play of the listener that made a source propose an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlayContribution {
    /// External id of the item that was played.
    pub item_id: String,
    /// What a page draws.
    pub display: ItemDisplay,
    /// When the play began; absent for what plays now and for undated data.
    pub occurred_at: Option<TimestampMs>,
    /// Part of the source's score, in that score's unit.
    pub amount: f32,
}

/// Why one source proposed an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceExplanation {
    /// Name of the source.
    pub source: String,
    /// Its score of the item.
    pub score: f32,
    /// Its plays, largest part first, at most 20; empty where the score does not decompose.
    pub plays: Vec<PlayContribution>,
}

/// Answer of `GET /v1/slates/{id}/explanation?item_id=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplanationResponse {
    /// The slate.
    pub slate_id: String,
    /// The item asked about.
    pub item_id: String,
    /// One entry per source that proposed it.
    pub sources: Vec<SourceExplanation>,
    /// Whether the listener's state and the deployment are those the slate saw; where false, the
    /// parts are those of now and may not add up to the recorded score.
    pub is_current: bool,
}

/// One arm of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArmStatus {
    /// Name.
    pub name: String,
    /// Share of the admitted units, in `[0, 1]`.
    pub share: f64,
    /// Deployment that composes for this arm alone.
    pub deployment_id: String,
}

/// One experiment as the server runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExperimentStatus {
    /// Name.
    pub name: String,
    /// `running`, `stopped` or `refused`.
    pub status: String,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What is randomised: `user`, `session` or `request`.
    pub unit: String,
    /// Share of the eligible units admitted now, in `[0, 1]`.
    pub ramp: f64,
    /// Surfaces whose slates its arms can change.
    pub surfaces: Vec<Surface>,
    /// Arms, control first.
    pub arms: Vec<ArmStatus>,
    /// When it was started; absent for one that stands in `segue.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<TimestampMs>,
    /// When it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<TimestampMs>,
    /// Whether a report was written; `GET /v1/experiments/{name}/report` has it.
    pub has_report: bool,
}

/// Answer of `GET /v1/experiments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExperimentsResponse {
    /// Experiments of `segue.toml` first, then those of `experiments/` by name.
    pub experiments: Vec<ExperimentStatus>,
}

/// A play in a listener's recent past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecentPlay {
    /// External item id.
    pub item_id: String,
    /// When it began.
    pub occurred_at: TimestampMs,
    /// What became of it.
    pub action: Action,
    /// What a page draws.
    pub display: ItemDisplay,
}

/// A standing act of a listener, such as a save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StandingFeedback {
    /// External id of what it is about.
    pub target_id: String,
    /// What it says.
    pub kind: FeedbackKind,
    /// Since when.
    pub occurred_at: TimestampMs,
    /// What a page draws.
    pub display: ItemDisplay,
}

/// A named number of a listener's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NamedValue {
    /// Name of the feature.
    pub name: String,
    /// Its value now; `null` is missing.
    pub value: Option<f64>,
}

/// Answer of `GET /v1/users/{id}`: the state the next slate will see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UserResponse {
    /// External id.
    pub user_id: String,
    /// Name to show.
    pub display_name: Option<String>,
    /// Market.
    pub market: Option<String>,
    /// False for an id never seen: it gets the page of a stranger.
    pub is_known: bool,
    /// Plays in the state.
    pub n_plays: u64,
    /// Write-ahead log offset the state includes.
    pub state_offset: u64,
    /// Latest plays, newest first, at most 50.
    pub recent: Vec<RecentPlay>,
    /// Saves, likes and hides in force, newest first.
    pub feedback: Vec<StandingFeedback>,
    /// User features as the ranker would see them now.
    pub features: Vec<NamedValue>,
}

/// One row of `GET /v1/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserSummary {
    /// External id.
    pub user_id: String,
    /// Name to show.
    pub display_name: Option<String>,
    /// Market.
    pub market: Option<String>,
    /// Plays known.
    pub n_plays: u64,
    /// Last play.
    pub last_played_at: Option<TimestampMs>,
}

/// Answer of `GET /v1/users?query=&limit=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsersResponse {
    /// Listeners whose id or name contains the query, most plays first.
    pub users: Vec<UserSummary>,
    /// How many match in all.
    pub n_total: u64,
}

/// Answer of `POST /v1/slates/{id}/replay`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayResponse {
    /// The slate.
    pub slate_id: String,
    /// Whether the recomposed slate equals the served one byte for byte.
    pub is_identical: bool,
    /// What differs, in words; empty when identical.
    pub differences: Vec<String>,
}

/// One model of the deployment that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelStatus {
    /// Name in the configuration.
    pub name: String,
    /// Kind, such as `markov`.
    pub kind: String,
    /// Artifact id.
    pub artifact_id: String,
    /// `serving`, `missing`, `corrupt` or `kept_previous`.
    pub status: String,
    /// Detail where the status is not `serving`.
    pub detail: Option<String>,
}

/// Answer of `GET /readyz` and `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusResponse {
    /// Whether requests are served as configured.
    pub is_ready: bool,
    /// Version of the binary.
    pub version: String,
    /// Deployment that serves.
    pub deployment_id: String,
    /// Snapshot the models were trained on.
    pub snapshot_id: Option<String>,
    /// Whether requests may bring their own `now`.
    pub client_clock: bool,
    /// The server's moment; where `client_clock` holds, the latest moment it has seen.
    pub now: TimestampMs,
    /// Surfaces that can be asked for.
    pub surfaces: Vec<Surface>,
    /// Models.
    pub models: Vec<ModelStatus>,
    /// What start-up found and did, such as events recovered from the write-ahead log.
    pub notes: Vec<String>,
}

/// Every error answer. `code` is stable; the message names the thing, the value, the rule and the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorResponse {
    /// Stable code, such as `body_not_json`.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
