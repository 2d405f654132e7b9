//! The structs of `segue-types` as rows of the log, and back.

use arrow::array::{Array, AsArray, BooleanArray, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{Float32Type, UInt32Type};
use segue_types::{
    Day, EndReason, Feedback, FeedbackKind, Impression, Item, ItemKind, Play, Profile, SlateRecord,
    StartReason, Surface, TimestampMs, User,
};

use super::column::{self, at};
use super::row::{LogRow, RowAppender};
use super::{LogError, Table, schema as s};

/// A string column of either encoding, read row by row.
struct Texts<'a> {
    values: &'a StringArray,
    keys: Option<&'a arrow::array::DictionaryArray<arrow::datatypes::Int32Type>>,
}

impl<'a> Texts<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Result<Self, LogError> {
        if let Ok(values) = column::text(batch, name) {
            return Ok(Self { values, keys: None });
        }
        let keys = column::dict(batch, name)?;
        Ok(Self { values: column::dict_values(batch, name)?, keys: Some(keys) })
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        match self.keys {
            Some(keys) => keys.key(row).map(|v| self.values.value(v)),
            None => (!self.values.is_null(row)).then(|| self.values.value(row)),
        }
    }

    fn owned(&self, row: usize) -> Option<String> {
        self.get(row).map(str::to_owned)
    }

    /// A column that is never absent; an absent value reads as empty.
    fn required(&self, row: usize) -> String {
        self.get(row).unwrap_or_default().to_owned()
    }

    fn named<T>(
        &self,
        column: &'static str,
        row: usize,
        parse: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, LogError> {
        self.get(row)
            .map(|v| parse(v).ok_or_else(|| LogError::Value { column, value: v.to_owned() }))
            .transpose()
    }

    fn one_of<T>(
        &self,
        column: &'static str,
        row: usize,
        parse: fn(&str) -> Option<T>,
    ) -> Result<T, LogError> {
        self.named(column, row, parse)?.ok_or_else(|| LogError::Value { column, value: String::new() })
    }
}

struct Times<'a>(&'a arrow::array::TimestampMillisecondArray);

impl<'a> Times<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Result<Self, LogError> {
        column::time(batch, name).map(Self)
    }
    fn get(&self, row: usize) -> Option<TimestampMs> {
        at(self.0, row).map(TimestampMs)
    }
    fn required(&self, row: usize) -> TimestampMs {
        TimestampMs(self.0.value(row))
    }
}

fn flag(column: &BooleanArray, row: usize) -> Option<bool> {
    (!column.is_null(row)).then(|| column.value(row))
}

fn text_list(name: &str, list: &ListArray, row: usize) -> Result<Vec<String>, LogError> {
    let values = list.value(row);
    let texts = values.as_string_opt::<i32>().ok_or_else(|| wrong_list(name, list, "lists of strings"))?;
    Ok(texts.iter().map(|v| v.unwrap_or_default().to_owned()).collect())
}

fn f32_list(name: &str, list: &ListArray, row: usize) -> Result<Vec<Option<f32>>, LogError> {
    let values = list.value(row);
    let floats =
        values.as_primitive_opt::<Float32Type>().ok_or_else(|| wrong_list(name, list, "lists of f32"))?;
    Ok(floats.iter().collect())
}

fn u32_list(name: &str, list: &ListArray, row: usize) -> Result<Vec<u32>, LogError> {
    let values = list.value(row);
    let ints =
        values.as_primitive_opt::<UInt32Type>().ok_or_else(|| wrong_list(name, list, "lists of u32"))?;
    Ok(ints.iter().map(Option::unwrap_or_default).collect())
}

fn wrong_list(name: &str, list: &ListArray, expected: &str) -> LogError {
    LogError::Column {
        table: "a batch".into(),
        column: name.into(),
        got: list.data_type().to_string(),
        expected: expected.into(),
    }
}

impl LogRow for Play {
    const TABLE: Table = Table::Plays;

    fn known_at(&self) -> Option<TimestampMs> {
        Some(self.received_at.or(self.ended_at).unwrap_or(self.occurred_at))
    }

    fn append(&self, row: &mut RowAppender<'_>) {
        row.text(Some(&self.user_id));
        row.text(Some(&self.item_id));
        row.time(self.known_at());
        row.text(Some(&self.event_id));
        row.time(Some(self.occurred_at));
        row.time(self.ended_at);
        row.time(self.received_at);
        row.i64(self.listened_ms);
        row.i64(self.duration_ms);
        row.text(self.start_reason.map(StartReason::as_str));
        row.text(self.end_reason.map(EndReason::as_str));
        row.text(self.surface.map(Surface::as_str));
        row.text(self.slate_id.as_deref());
        row.u32(self.position);
        row.bool(self.shuffle);
        row.bool(self.offline);
        row.text(self.context_id.as_deref());
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, LogError> {
        let user = Texts::of(batch, s::USER_ID)?;
        let item = Texts::of(batch, s::ITEM_ID)?;
        let event = Texts::of(batch, s::EVENT_ID)?;
        let occurred = Times::of(batch, s::OCCURRED_AT)?;
        let ended = Times::of(batch, s::ENDED_AT)?;
        let received = Times::of(batch, s::RECEIVED_AT)?;
        let listened = column::i64s(batch, s::LISTENED_MS)?;
        let duration = column::i64s(batch, s::DURATION_MS)?;
        let start = Texts::of(batch, s::START_REASON)?;
        let end = Texts::of(batch, s::END_REASON)?;
        let surface = Texts::of(batch, s::SURFACE)?;
        let slate = Texts::of(batch, s::SLATE_ID)?;
        let position = column::u32s(batch, s::POSITION)?;
        let shuffle = column::bools(batch, s::SHUFFLE)?;
        let offline = column::bools(batch, s::OFFLINE)?;
        let context = Texts::of(batch, s::CONTEXT_ID)?;
        (0..batch.num_rows())
            .map(|i| {
                Ok(Self {
                    event_id: event.required(i),
                    user_id: user.required(i),
                    item_id: item.required(i),
                    occurred_at: occurred.required(i),
                    ended_at: ended.get(i),
                    received_at: received.get(i),
                    listened_ms: at(listened, i),
                    duration_ms: at(duration, i),
                    start_reason: start.named(s::START_REASON, i, StartReason::parse)?,
                    end_reason: end.named(s::END_REASON, i, EndReason::parse)?,
                    surface: surface.named(s::SURFACE, i, Surface::parse)?,
                    slate_id: slate.owned(i),
                    position: at(position, i),
                    shuffle: flag(shuffle, i),
                    offline: flag(offline, i),
                    context_id: context.owned(i),
                })
            })
            .collect()
    }
}

impl LogRow for Feedback {
    const TABLE: Table = Table::Feedback;

    fn known_at(&self) -> Option<TimestampMs> {
        Some(self.received_at.unwrap_or(self.occurred_at))
    }

    fn append(&self, row: &mut RowAppender<'_>) {
        row.text(Some(&self.user_id));
        row.text(Some(&self.target_id));
        row.text(Some(self.kind.as_str()));
        row.time(self.known_at());
        row.text(Some(&self.event_id));
        row.time(Some(self.occurred_at));
        row.time(self.received_at);
        row.text(self.slate_id.as_deref());
        row.u32(self.position);
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, LogError> {
        let user = Texts::of(batch, s::USER_ID)?;
        let target = Texts::of(batch, s::TARGET_ID)?;
        let kind = Texts::of(batch, s::KIND)?;
        let event = Texts::of(batch, s::EVENT_ID)?;
        let occurred = Times::of(batch, s::OCCURRED_AT)?;
        let received = Times::of(batch, s::RECEIVED_AT)?;
        let slate = Texts::of(batch, s::SLATE_ID)?;
        let position = column::u32s(batch, s::POSITION)?;
        (0..batch.num_rows())
            .map(|i| {
                Ok(Self {
                    event_id: event.required(i),
                    user_id: user.required(i),
                    target_id: target.required(i),
                    kind: kind.one_of(s::KIND, i, FeedbackKind::parse)?,
                    occurred_at: occurred.required(i),
                    received_at: received.get(i),
                    slate_id: slate.owned(i),
                    position: at(position, i),
                })
            })
            .collect()
    }
}

impl LogRow for Impression {
    const TABLE: Table = Table::Impressions;

    fn known_at(&self) -> Option<TimestampMs> {
        Some(self.received_at.unwrap_or(self.shown_at))
    }

    fn append(&self, row: &mut RowAppender<'_>) {
        row.text(Some(&self.user_id));
        row.text(Some(&self.item_id));
        row.time(self.known_at());
        row.text(Some(&self.event_id));
        row.text(Some(&self.slate_id));
        row.text(self.shelf_id.as_deref());
        row.u32(Some(self.position));
        row.time(Some(self.shown_at));
        row.time(self.received_at);
        row.i64(self.visible_ms);
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, LogError> {
        let user = Texts::of(batch, s::USER_ID)?;
        let item = Texts::of(batch, s::ITEM_ID)?;
        let event = Texts::of(batch, s::EVENT_ID)?;
        let slate = Texts::of(batch, s::SLATE_ID)?;
        let shelf = Texts::of(batch, s::SHELF_ID)?;
        let position = column::u32s(batch, s::POSITION)?;
        let shown = Times::of(batch, s::SHOWN_AT)?;
        let received = Times::of(batch, s::RECEIVED_AT)?;
        let visible = column::i64s(batch, s::VISIBLE_MS)?;
        Ok((0..batch.num_rows())
            .map(|i| Self {
                event_id: event.required(i),
                user_id: user.required(i),
                item_id: item.required(i),
                slate_id: slate.required(i),
                shelf_id: shelf.owned(i),
                position: position.value(i),
                shown_at: shown.required(i),
                received_at: received.get(i),
                visible_ms: at(visible, i),
            })
            .collect())
    }
}

impl LogRow for Item {
    const TABLE: Table = Table::Items;

    fn known_at(&self) -> Option<TimestampMs> {
        None
    }

    fn append(&self, row: &mut RowAppender<'_>) {
        row.text(Some(&self.item_id));
        row.text(Some(self.kind.as_str()));
        row.text(self.title.as_deref());
        row.texts(&self.artist_ids);
        row.texts(&self.artist_names);
        row.text(self.album_id.as_deref());
        row.text(self.album_name.as_deref());
        row.texts(&self.tags);
        row.day(self.release_day);
        row.i64(self.duration_ms);
        row.bool(Some(self.explicit));
        row.texts(&self.markets);
        row.f32(self.energy);
        row.f32(self.valence);
        row.f32(self.tempo_bpm);
        row.text(self.recording_id.as_deref());
        row.text(self.isrc.as_deref());
        row.text(self.mbid.as_deref());
        row.f32s(self.embedding.iter().map(|&v| Some(v)));
        row.time(self.valid_from);
        row.bool(Some(self.available));
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, LogError> {
        let item = Texts::of(batch, s::ITEM_ID)?;
        let kind = Texts::of(batch, s::KIND)?;
        let title = Texts::of(batch, s::TITLE)?;
        let artist_ids = column::list(batch, s::ARTIST_IDS)?;
        let artist_names = column::list(batch, s::ARTIST_NAMES)?;
        let album_id = Texts::of(batch, s::ALBUM_ID)?;
        let album_name = Texts::of(batch, s::ALBUM_NAME)?;
        let tags = column::list(batch, s::TAGS)?;
        let release = column::day(batch, s::RELEASE_DAY)?;
        let duration = column::i64s(batch, s::DURATION_MS)?;
        let explicit = column::bools(batch, s::EXPLICIT)?;
        let markets = column::list(batch, s::MARKETS)?;
        let energy = column::f32s(batch, s::ENERGY)?;
        let valence = column::f32s(batch, s::VALENCE)?;
        let tempo = column::f32s(batch, s::TEMPO_BPM)?;
        let recording = Texts::of(batch, s::RECORDING_ID)?;
        let isrc = Texts::of(batch, s::ISRC)?;
        let mbid = Texts::of(batch, s::MBID)?;
        let embedding = column::list(batch, s::EMBEDDING)?;
        let valid_from = Times::of(batch, s::VALID_FROM)?;
        let available = column::bools(batch, s::AVAILABLE)?;
        (0..batch.num_rows())
            .map(|i| {
                Ok(Self {
                    item_id: item.required(i),
                    kind: kind.one_of(s::KIND, i, ItemKind::parse)?,
                    title: title.owned(i),
                    artist_ids: text_list(s::ARTIST_IDS, artist_ids, i)?,
                    artist_names: text_list(s::ARTIST_NAMES, artist_names, i)?,
                    album_id: album_id.owned(i),
                    album_name: album_name.owned(i),
                    tags: text_list(s::TAGS, tags, i)?,
                    release_day: at(release, i).map(Day),
                    duration_ms: at(duration, i),
                    explicit: explicit.value(i),
                    markets: text_list(s::MARKETS, markets, i)?,
                    energy: at(energy, i),
                    valence: at(valence, i),
                    tempo_bpm: at(tempo, i),
                    recording_id: recording.owned(i),
                    isrc: isrc.owned(i),
                    mbid: mbid.owned(i),
                    embedding: f32_list(s::EMBEDDING, embedding, i)?.into_iter().flatten().collect(),
                    valid_from: valid_from.get(i),
                    available: available.value(i),
                })
            })
            .collect()
    }
}

impl LogRow for User {
    const TABLE: Table = Table::Users;

    fn known_at(&self) -> Option<TimestampMs> {
        None
    }

    fn append(&self, row: &mut RowAppender<'_>) {
        row.text(Some(&self.user_id));
        row.text(self.display_name.as_deref());
        row.text(self.market.as_deref());
        row.time(self.registered_at);
        row.text(self.plan.as_deref());
        row.i32(self.birth_year_bucket);
        row.bool(self.allow_explicit);
        row.bool(self.consent);
        row.time(self.valid_from);
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, LogError> {
        let user = Texts::of(batch, s::USER_ID)?;
        let display_name = Texts::of(batch, s::DISPLAY_NAME)?;
        let market = Texts::of(batch, s::MARKET)?;
        let registered = Times::of(batch, s::REGISTERED_AT)?;
        let plan = Texts::of(batch, s::PLAN)?;
        let birth = column::i32s(batch, s::BIRTH_YEAR_BUCKET)?;
        let allow_explicit = column::bools(batch, s::ALLOW_EXPLICIT)?;
        let consent = column::bools(batch, s::CONSENT)?;
        let valid_from = Times::of(batch, s::VALID_FROM)?;
        Ok((0..batch.num_rows())
            .map(|i| Self {
                user_id: user.required(i),
                display_name: display_name.owned(i),
                market: market.owned(i),
                registered_at: registered.get(i),
                plan: plan.owned(i),
                birth_year_bucket: at(birth, i),
                allow_explicit: flag(allow_explicit, i),
                consent: flag(consent, i),
                valid_from: valid_from.get(i),
            })
            .collect())
    }
}

impl LogRow for Profile {
    const TABLE: Table = Table::Profiles;

    fn known_at(&self) -> Option<TimestampMs> {
        None
    }

    fn append(&self, row: &mut RowAppender<'_>) {
        row.text(Some(&self.user_id));
        row.text(Some(&self.item_id));
        row.u64(Some(self.n_plays));
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, LogError> {
        let user = Texts::of(batch, s::USER_ID)?;
        let item = Texts::of(batch, s::ITEM_ID)?;
        let n_plays = column::u64s(batch, s::N_PLAYS)?;
        Ok((0..batch.num_rows())
            .map(|i| Self { user_id: user.required(i), item_id: item.required(i), n_plays: n_plays.value(i) })
            .collect())
    }
}

/// One served slate: the columns a query asks for, and the whole record for replay.
#[derive(Debug, Clone, PartialEq)]
pub struct SlateRow {
    /// External user id; absent for an anonymous request.
    pub user_id: Option<String>,
    /// Id of the slate.
    pub slate_id: String,
    /// Which surface.
    pub surface: Surface,
    /// `now` of the request.
    pub composed_at: TimestampMs,
    /// The deployment that composed it.
    pub deployment_id: Option<String>,
    /// Number of cards.
    pub n_cards: Option<u32>,
    /// Product of the prefix propensities of its cards.
    pub slate_propensity: Option<f64>,
    /// Share of requests whose candidates are kept.
    pub candidate_sampling_rate: Option<f64>,
    /// Why it has no card.
    pub empty_reason: Option<String>,
    /// Stages that did not contribute, `stage:cause`.
    pub degraded: Vec<String>,
    /// Experiment arms, `experiment=arm`.
    pub arms: Vec<String>,
    /// Names of the features of its candidates.
    pub feature_names: Vec<String>,
    /// The whole [`SlateRecord`] as JSON; absent for slates of another system.
    pub record: Option<String>,
}

impl SlateRow {
    /// The row of a record; `record` is its JSON, which the caller has made for replay anyway.
    #[must_use]
    pub fn of(slate: &SlateRecord, record: Option<String>) -> Self {
        Self {
            user_id: slate.slate.user_id.clone(),
            slate_id: slate.slate.slate_id.clone(),
            surface: slate.slate.surface,
            composed_at: slate.now,
            deployment_id: Some(slate.deployment_id.clone()),
            n_cards: Some(slate.slate.shelves.iter().map(|shelf| shelf.cards.len() as u32).sum()),
            slate_propensity: Some(slate.slate.slate_propensity),
            candidate_sampling_rate: Some(slate.candidate_sampling_rate),
            empty_reason: slate.slate.empty_reason.clone(),
            degraded: slate.slate.degraded.iter().map(|d| format!("{}:{}", d.stage, d.cause)).collect(),
            arms: slate.arms.clone(),
            feature_names: slate.feature_names.clone(),
            record,
        }
    }
}

impl LogRow for SlateRow {
    const TABLE: Table = Table::Slates;

    fn known_at(&self) -> Option<TimestampMs> {
        Some(self.composed_at)
    }

    fn append(&self, row: &mut RowAppender<'_>) {
        row.text(self.user_id.as_deref());
        row.time(self.known_at());
        row.text(Some(&self.slate_id));
        row.text(Some(self.surface.as_str()));
        row.time(Some(self.composed_at));
        row.text(self.deployment_id.as_deref());
        row.u32(self.n_cards);
        row.f64(self.slate_propensity);
        row.f64(self.candidate_sampling_rate);
        row.text(self.empty_reason.as_deref());
        row.texts(&self.degraded);
        row.texts(&self.arms);
        row.texts(&self.feature_names);
        row.text(self.record.as_deref());
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, LogError> {
        let user = Texts::of(batch, s::USER_ID)?;
        let slate = Texts::of(batch, s::SLATE_ID)?;
        let surface = Texts::of(batch, s::SURFACE)?;
        let composed = Times::of(batch, s::COMPOSED_AT)?;
        let deployment = Texts::of(batch, s::DEPLOYMENT_ID)?;
        let n_cards = column::u32s(batch, s::N_CARDS)?;
        let propensity = column::f64s(batch, s::SLATE_PROPENSITY)?;
        let rate = column::f64s(batch, s::CANDIDATE_SAMPLING_RATE)?;
        let empty = Texts::of(batch, s::EMPTY_REASON)?;
        let degraded = column::list(batch, s::DEGRADED)?;
        let arms = column::list(batch, s::ARMS)?;
        let features = column::list(batch, s::FEATURE_NAMES)?;
        let record = Texts::of(batch, s::RECORD)?;
        (0..batch.num_rows())
            .map(|i| {
                Ok(Self {
                    user_id: user.owned(i),
                    slate_id: slate.required(i),
                    surface: surface.one_of(s::SURFACE, i, Surface::parse)?,
                    composed_at: composed.required(i),
                    deployment_id: deployment.owned(i),
                    n_cards: at(n_cards, i),
                    slate_propensity: at(propensity, i),
                    candidate_sampling_rate: at(rate, i),
                    empty_reason: empty.owned(i),
                    degraded: text_list(s::DEGRADED, degraded, i)?,
                    arms: text_list(s::ARMS, arms, i)?,
                    feature_names: text_list(s::FEATURE_NAMES, features, i)?,
                    record: record.owned(i),
                })
            })
            .collect()
    }
}

/// One candidate of a slate, its lists side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateRow {
    /// External user id; absent for an anonymous request.
    pub user_id: Option<String>,
    /// `now` of the request.
    pub composed_at: TimestampMs,
    /// Id of the slate.
    pub slate_id: String,
    /// External item id.
    pub item_id: String,
    /// Sources that proposed it.
    pub sources: Vec<String>,
    /// Their scores, in the same order.
    pub source_scores: Vec<Option<f32>>,
    /// Their 1-based ranks, in the same order.
    pub source_ranks: Vec<u32>,
    /// Features as served, in the order of the slate's `feature_names`.
    pub features: Vec<Option<f32>>,
    /// Heads of the ranker.
    pub heads: Vec<String>,
    /// Their probabilities, in the same order.
    pub head_probabilities: Vec<Option<f32>>,
    /// The score the selector saw.
    pub score: Option<f32>,
    /// 1-based rank by that score.
    pub rank: Option<u32>,
    /// Position in the slate, if chosen.
    pub position: Option<u32>,
    /// Probability of this item at its position given those above, if chosen.
    pub prefix_propensity: Option<f64>,
    /// The stage and rule that removed it.
    pub removed_by: Option<String>,
}

impl CandidateRow {
    /// The rows of a record's candidates, in its order.
    pub fn of(record: &SlateRecord) -> impl Iterator<Item = Self> + '_ {
        record.candidates.iter().map(|c| Self {
            user_id: record.slate.user_id.clone(),
            composed_at: record.now,
            slate_id: record.slate.slate_id.clone(),
            item_id: c.item_id.clone(),
            sources: c.sources.iter().map(|x| x.source.clone()).collect(),
            source_scores: c.sources.iter().map(|x| Some(x.score)).collect(),
            source_ranks: c.sources.iter().map(|x| x.rank).collect(),
            features: c.features.clone(),
            heads: c.heads.iter().map(|h| h.head.clone()).collect(),
            head_probabilities: c.heads.iter().map(|h| Some(h.probability)).collect(),
            score: c.score,
            rank: c.rank,
            position: c.position,
            prefix_propensity: c.prefix_propensity,
            removed_by: c.removed_by.clone(),
        })
    }
}

impl LogRow for CandidateRow {
    const TABLE: Table = Table::Candidates;

    fn known_at(&self) -> Option<TimestampMs> {
        Some(self.composed_at)
    }

    fn append(&self, row: &mut RowAppender<'_>) {
        row.text(self.user_id.as_deref());
        row.time(self.known_at());
        row.text(Some(&self.slate_id));
        row.text(Some(&self.item_id));
        row.texts(&self.sources);
        row.f32s(self.source_scores.iter().copied());
        row.u32s(self.source_ranks.iter().copied());
        row.f32s(self.features.iter().copied());
        row.texts(&self.heads);
        row.f32s(self.head_probabilities.iter().copied());
        row.f32(self.score);
        row.u32(self.rank);
        row.u32(self.position);
        row.f64(self.prefix_propensity);
        row.text(self.removed_by.as_deref());
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Self>, LogError> {
        let user = Texts::of(batch, s::USER_ID)?;
        let composed = Times::of(batch, s::KNOWN_AT)?;
        let slate = Texts::of(batch, s::SLATE_ID)?;
        let item = Texts::of(batch, s::ITEM_ID)?;
        let sources = column::list(batch, s::SOURCES)?;
        let source_scores = column::list(batch, s::SOURCE_SCORES)?;
        let source_ranks = column::list(batch, s::SOURCE_RANKS)?;
        let features = column::list(batch, s::FEATURES)?;
        let heads = column::list(batch, s::HEADS)?;
        let probabilities = column::list(batch, s::HEAD_PROBABILITIES)?;
        let score = column::f32s(batch, s::SCORE)?;
        let rank = column::u32s(batch, s::RANK)?;
        let position = column::u32s(batch, s::POSITION)?;
        let propensity = column::f64s(batch, s::PREFIX_PROPENSITY)?;
        let removed = Texts::of(batch, s::REMOVED_BY)?;
        (0..batch.num_rows())
            .map(|i| {
                Ok(Self {
                    user_id: user.owned(i),
                    composed_at: composed.required(i),
                    slate_id: slate.required(i),
                    item_id: item.required(i),
                    sources: text_list(s::SOURCES, sources, i)?,
                    source_scores: f32_list(s::SOURCE_SCORES, source_scores, i)?,
                    source_ranks: u32_list(s::SOURCE_RANKS, source_ranks, i)?,
                    features: f32_list(s::FEATURES, features, i)?,
                    heads: text_list(s::HEADS, heads, i)?,
                    head_probabilities: f32_list(s::HEAD_PROBABILITIES, probabilities, i)?,
                    score: at(score, i),
                    rank: at(rank, i),
                    position: at(position, i),
                    prefix_propensity: at(propensity, i),
                    removed_by: removed.owned(i),
                })
            })
            .collect()
    }
}
