//! Rows of a source as structs of `segue-types`, by a mapping.

use std::borrow::Cow;
use std::collections::HashMap;

use segue_types::{
    EndReason, Feedback, FeedbackKind, Impression, Item, ItemKind, Play, Profile, RejectReason, StartReason,
    Surface, TimestampMs, User, validate,
};
use xxhash_rust::xxh3::Xxh3;

use super::ImportError;
use super::mapping::{ColumnRef, FullSpec, SourceMapping, Spec, Unit};
use super::read::{Cell, Row};
use super::rejects::Reject;
use super::value;
use crate::log::{CandidateRow, SlateRow, Table};

/// A row of ours, of any table.
#[derive(Debug, Clone)]
pub(crate) enum Built {
    Play(Play),
    Feedback(Feedback),
    Impression(Impression),
    Slate(SlateRow),
    Candidate(CandidateRow),
    Item(Item),
    User(User),
    Profile(Profile),
}

/// Where a value is fetched from.
#[derive(Debug, Clone)]
enum Get {
    Own { name: String, index: Option<usize> },
    Join { join: usize, column: usize },
    Each,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Column(Get),
}

/// A [`Spec`] with its columns found.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    columns: Vec<Get>,
    template: Vec<Piece>,
    minus: Option<Get>,
    flags: Vec<(usize, String)>,
    spec: FullSpec,
}

/// A file to look up in: key → the columns used.
#[derive(Debug, Clone, Default)]
pub(crate) struct JoinTable {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: HashMap<String, Vec<Cell<'static>>>,
}

/// What one row can see.
pub(crate) struct View<'a> {
    pub(crate) row: &'a Row<'a>,
    pub(crate) each: Option<Cell<'a>>,
    pub(crate) joined: Vec<Option<&'a [Cell<'static>]>>,
    pub(crate) null: &'a [String],
}

/// Finds the columns of specs in a file.
pub(crate) struct Resolver<'a> {
    pub(crate) file: &'a str,
    pub(crate) header: &'a [String],
    pub(crate) joins: &'a [JoinTable],
    pub(crate) is_json: bool,
    pub(crate) listener: &'a str,
}

impl Resolver<'_> {
    fn get(&self, column: &ColumnRef) -> Result<Get, ImportError> {
        let name = match column {
            ColumnRef::Index(index) => {
                if self.is_json {
                    return Err(ImportError::mapping(
                        Some(self.file),
                        format!("column {index} is given by index; JSON fields have names only"),
                    ));
                }
                return Ok(Get::Own { name: String::new(), index: Some(*index) });
            }
            ColumnRef::Name(name) => name,
        };
        if name == "each" {
            return Ok(Get::Each);
        }
        if let Some((prefix, rest)) = name.split_once('.')
            && let Some(join) = self.joins.iter().position(|j| j.name == prefix)
            && let Some(column) = self.joins[join].columns.iter().position(|c| c == rest)
        {
            return Ok(Get::Join { join, column });
        }
        if self.is_json {
            return Ok(Get::Own { name: name.clone(), index: None });
        }
        let index = match self.header.iter().position(|h| h == name) {
            Some(index) => index,
            None if self.header.is_empty() => name.parse().map_err(|_| {
                ImportError::mapping(
                    Some(self.file),
                    format!("column `{name}` is given by name, but the file has no header; use its index"),
                )
            })?,
            None => {
                return Err(ImportError::mapping(
                    Some(self.file),
                    format!("there is no column `{name}`; the file has {}", self.header.join(", ")),
                ));
            }
        };
        Ok(Get::Own { name: name.clone(), index: Some(index) })
    }

    pub(crate) fn resolve(&self, spec: &Spec) -> Result<Resolved, ImportError> {
        let spec = match spec {
            Spec::Column(column) => FullSpec { column: Some(column.clone()), ..FullSpec::default() },
            Spec::Full(full) => (**full).clone(),
        };
        let columns =
            spec.column.iter().chain(&spec.columns).map(|c| self.get(c)).collect::<Result<_, _>>()?;
        let template = match &spec.template {
            None => Vec::new(),
            Some(text) => self.template(text)?,
        };
        let minus = spec.minus_ms.as_ref().map(|c| self.get(c)).transpose()?;
        let flags = spec
            .flags
            .iter()
            .flat_map(|f| f.names.iter().enumerate().map(|(i, name)| (f.from + i, name.clone())))
            .collect();
        let mut spec = spec;
        spec.value = spec.value.map(|v| v.replace("{listener}", self.listener));
        Ok(Resolved { columns, template, minus, flags, spec })
    }

    fn template(&self, text: &str) -> Result<Vec<Piece>, ImportError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else {
                return Err(ImportError::mapping(
                    Some(self.file),
                    format!("the template `{text}` has a `{{` without its `}}`"),
                ));
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let column = name.parse().map_or_else(|_| ColumnRef::Name(name.to_owned()), ColumnRef::Index);
            pieces.push(Piece::Column(self.get(&column)?));
            rest = tail;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(pieces)
    }
}

impl View<'_> {
    fn fetch(&self, get: &Get) -> Cell<'_> {
        let cell = match get {
            Get::Own { name, index } => self.row.get(name, *index),
            Get::Join { join, column } => self
                .joined
                .get(*join)
                .copied()
                .flatten()
                .and_then(|r| r.get(*column))
                .cloned()
                .unwrap_or(Cell::Null),
            Get::Each => self.each.clone().unwrap_or(Cell::Null),
        };
        let is_null = match &cell {
            Cell::Text(t) => t.trim().is_empty() || self.null.iter().any(|n| n == t.trim()),
            Cell::Float(f) => f.is_nan(),
            _ => false,
        };
        if is_null { Cell::Null } else { cell }
    }
}

impl Resolved {
    /// The value before any conversion.
    pub(crate) fn cell<'a>(&'a self, view: &'a View<'_>) -> Cell<'a> {
        let mut cell =
            self.columns.iter().map(|get| view.fetch(get)).find(|c| *c != Cell::Null).unwrap_or(Cell::Null);
        if cell == Cell::Null && !self.template.is_empty() {
            cell = self.compose(view);
        }
        if cell == Cell::Null
            && let Some(value) = &self.spec.value
        {
            cell = Cell::Text(Cow::Borrowed(value));
        }
        if self.spec.integer
            && let Ok(Some(i)) = value::whole("", &cell)
        {
            cell = Cell::Int(i);
        }
        if !self.spec.map.is_empty()
            && let Some(text) = value::text(&cell)
            && let Some(to) = self.spec.map.get(text.as_ref()).or_else(|| self.spec.map.get("*"))
        {
            cell = Cell::Text(Cow::Owned(to.clone()));
        }
        if !self.spec.prefix.is_empty()
            && let Some(text) = value::text(&cell)
        {
            cell = Cell::Text(Cow::Owned(format!("{}{text}", self.spec.prefix)));
        }
        cell
    }

    /// The template filled in; absent if every column in it is.
    fn compose<'a>(&self, view: &View<'_>) -> Cell<'a> {
        let (mut out, mut any) = (String::new(), false);
        for piece in &self.template {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Column(get) => {
                    let cell = view.fetch(get);
                    if let Some(text) = value::text(&cell) {
                        any = true;
                        out.push_str(&text);
                    }
                }
            }
        }
        if any { Cell::Text(Cow::Owned(out)) } else { Cell::Null }
    }
}

/// The columns of one table, found in one file.
pub(crate) struct Builder {
    table: Table,
    columns: Vec<(&'static str, Resolved)>,
    id_prefix: String,
}

impl Builder {
    pub(crate) fn new(
        source: &SourceMapping,
        id_prefix: &str,
        resolver: &Resolver<'_>,
    ) -> Result<Self, ImportError> {
        let known = super::mapping::target_columns(source.table);
        let mut columns = Vec::new();
        for (name, spec) in &source.columns {
            if let Some(name) = known.iter().find(|k| *k == name) {
                columns.push((*name, resolver.resolve(spec)?));
            }
        }
        Ok(Self { table: source.table, columns, id_prefix: id_prefix.to_owned() })
    }

    /// Whether the mapping gives events an id of the source's own.
    pub(crate) fn has_event_ids(&self) -> bool {
        self.columns.iter().any(|(name, _)| *name == "event_id")
    }

    /// Builds and validates one row.
    pub(crate) fn build(&self, view: &View<'_>, now: TimestampMs) -> Result<Built, Reject> {
        let r = Fields { builder: self, view };
        let built = match self.table {
            Table::Plays => Built::Play(r.play()?),
            Table::Feedback => Built::Feedback(r.feedback()?),
            Table::Impressions => Built::Impression(r.impression()?),
            Table::Slates => Built::Slate(r.slate()?),
            Table::Candidates => Built::Candidate(r.candidate()?),
            Table::Items => Built::Item(r.item()?),
            Table::Users => Built::User(r.user()?),
            Table::Profiles => Built::Profile(r.profile()?),
        };
        let checked = match &built {
            Built::Play(x) => x.validate(now),
            Built::Feedback(x) => x.validate(now),
            Built::Impression(x) => x.validate(now),
            Built::Item(x) => x.validate(),
            Built::User(x) => x.validate(),
            Built::Profile(x) => x.validate(),
            // Slates have no rules of their own in `segue-types`; an impression of the same
            // slate has the same ids and time, so its rules serve here.
            Built::Slate(x) => stand_in(&x.slate_id, x.user_id.as_deref(), "-", x.composed_at, now),
            Built::Candidate(x) => {
                stand_in(&x.slate_id, x.user_id.as_deref(), &x.item_id, x.composed_at, now)
            }
        };
        checked.map_err(|e| Reject::new(e.reason, r.say(&e)))?;
        Ok(built)
    }
}

fn stand_in(
    slate_id: &str,
    user_id: Option<&str>,
    item_id: &str,
    at: TimestampMs,
    now: TimestampMs,
) -> Result<(), validate::Invalid> {
    Impression {
        event_id: "-".into(),
        user_id: user_id.unwrap_or("-").into(),
        item_id: item_id.into(),
        slate_id: slate_id.into(),
        shelf_id: None,
        position: 0,
        shown_at: at,
        received_at: None,
        visible_ms: None,
    }
    .validate(now)
}

struct Fields<'a> {
    builder: &'a Builder,
    view: &'a View<'a>,
}

impl Fields<'_> {
    fn spec(&self, name: &str) -> Option<&Resolved> {
        self.builder.columns.iter().find(|(n, _)| *n == name).map(|(_, r)| r)
    }

    fn cell(&self, name: &str) -> Cell<'_> {
        self.spec(name).map_or(Cell::Null, |r| r.cell(self.view))
    }

    /// A broken rule with the value that broke it.
    fn say(&self, e: &validate::Invalid) -> String {
        let value = value::text(&self.cell(e.field)).map_or_else(|| "empty".to_owned(), |v| format!("`{v}`"));
        format!("`{}` is {value}; rule `{}`", e.field, e.reason)
    }

    fn text(&self, name: &str) -> Option<String> {
        value::text(&self.cell(name)).map(Cow::into_owned)
    }

    fn optional_id(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        Some(if self.builder.id_prefix.is_empty() {
            text
        } else {
            format!("{}{text}", self.builder.id_prefix)
        })
    }

    fn id(&self, name: &str) -> Result<String, Reject> {
        self.optional_id(name).ok_or_else(|| {
            Reject::new(RejectReason::MissingColumn, format!("`{name}` is empty; every row needs it"))
        })
    }

    fn one_of<T>(&self, name: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>, Reject> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| {
            Reject::new(
                RejectReason::UnknownValue,
                format!("`{name}` is `{text}`; it is none of the known names"),
            )
        })
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, Reject> {
        value.ok_or_else(|| {
            Reject::new(RejectReason::MissingColumn, format!("`{name}` is empty; every row needs it"))
        })
    }

    fn moment(&self, name: &str) -> Result<Option<TimestampMs>, Reject> {
        let Some(spec) = self.spec(name) else { return Ok(None) };
        let moment = value::moment(name, &spec.cell(self.view), spec.spec.time)?;
        let (Some(at), Some(minus)) = (moment, &spec.minus) else { return Ok(moment) };
        let minus = value::duration(name, &self.view.fetch(minus), Unit::Ms)?.unwrap_or(0);
        Ok(Some(at.plus_ms(minus.saturating_neg())))
    }

    fn duration(&self, name: &str) -> Result<Option<i64>, Reject> {
        let Some(spec) = self.spec(name) else { return Ok(None) };
        value::duration(name, &spec.cell(self.view), spec.spec.unit.unwrap_or(Unit::Ms))
    }

    fn f32(&self, name: &str) -> Result<Option<f32>, Reject> {
        Ok(value::float(name, &self.cell(name))?.map(|f| f as f32))
    }

    fn f64(&self, name: &str) -> Result<Option<f64>, Reject> {
        value::float(name, &self.cell(name))
    }

    fn u32(&self, name: &str) -> Result<Option<u32>, Reject> {
        value::ranged(name, &self.cell(name))
    }

    fn bool(&self, name: &str) -> Result<Option<bool>, Reject> {
        value::flag(name, &self.cell(name))
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let Some(spec) = self.spec(name) else { return Vec::new() };
        if !spec.flags.is_empty() {
            let is_set = |index: usize| {
                matches!(value::flag(name, &self.view.row.get("", Some(index))), Ok(Some(true)))
            };
            return spec.flags.iter().filter(|(i, _)| is_set(*i)).map(|(_, n)| n.clone()).collect();
        }
        match spec.cell(self.view) {
            Cell::List(values) => values.iter().filter_map(|v| value::text(v).map(Cow::into_owned)).collect(),
            cell => match (value::text(&cell), &spec.spec.split) {
                (None, _) => Vec::new(),
                (Some(text), Some(split)) if !split.is_empty() => text
                    .split(split.as_str())
                    .map(str::trim)
                    .filter(|t| !t.is_empty())
                    .map(str::to_owned)
                    .collect(),
                (Some(text), _) => vec![text.into_owned()],
            },
        }
    }

    fn ids(&self, name: &str) -> Vec<String> {
        self.texts(name).into_iter().map(|id| format!("{}{id}", self.builder.id_prefix)).collect()
    }

    fn f32s(&self, name: &str) -> Result<Vec<Option<f32>>, Reject> {
        let Some(spec) = self.spec(name) else { return Ok(Vec::new()) };
        match spec.cell(self.view) {
            Cell::List(values) => {
                values.iter().map(|v| Ok(value::float(name, v)?.map(|f| f as f32))).collect()
            }
            _ => self
                .texts(name)
                .into_iter()
                .map(|t| Ok(value::float(name, &Cell::Text(Cow::Owned(t)))?.map(|f| f as f32)))
                .collect(),
        }
    }

    /// The source's event id, or one hashed from what identifies the row: importing the same
    /// row again gives the same id.
    fn event_id(&self, parts: &[&str]) -> String {
        self.optional_id("event_id").unwrap_or_else(|| {
            let mut hash = Xxh3::new();
            hash.update(self.builder.table.as_str().as_bytes());
            for part in parts {
                // Lengths keep ("ab", "c") and ("a", "bc") apart.
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part.as_bytes());
            }
            format!("x{:032x}", hash.digest128())
        })
    }

    fn play(&self) -> Result<Play, Reject> {
        let (user_id, item_id) = (self.id("user_id")?, self.id("item_id")?);
        let occurred_at = self.required("occurred_at", self.moment("occurred_at")?)?;
        let ended_at = self.moment("ended_at")?;
        let event_id = self.event_id(&[
            &user_id,
            &item_id,
            &occurred_at.0.to_string(),
            &ended_at.map_or(String::new(), |t| t.0.to_string()),
        ]);
        Ok(Play {
            event_id,
            user_id,
            item_id,
            occurred_at,
            ended_at,
            received_at: self.moment("received_at")?,
            listened_ms: self.duration("listened_ms")?,
            duration_ms: self.duration("duration_ms")?,
            start_reason: self.one_of("start_reason", StartReason::parse)?,
            end_reason: self.one_of("end_reason", EndReason::parse)?,
            surface: self.one_of("surface", Surface::parse)?,
            slate_id: self.optional_id("slate_id"),
            position: self.u32("position")?,
            shuffle: self.bool("shuffle")?,
            offline: self.bool("offline")?,
            context_id: self.optional_id("context_id"),
        })
    }

    fn feedback(&self) -> Result<Feedback, Reject> {
        let (user_id, target_id) = (self.id("user_id")?, self.id("target_id")?);
        let kind = self.required("kind", self.one_of("kind", FeedbackKind::parse)?)?;
        let occurred_at = self.required("occurred_at", self.moment("occurred_at")?)?;
        let event_id = self.event_id(&[&user_id, &target_id, kind.as_str(), &occurred_at.0.to_string()]);
        Ok(Feedback {
            event_id,
            user_id,
            target_id,
            kind,
            occurred_at,
            received_at: self.moment("received_at")?,
            slate_id: self.optional_id("slate_id"),
            position: self.u32("position")?,
        })
    }

    fn impression(&self) -> Result<Impression, Reject> {
        let (user_id, item_id, slate_id) = (self.id("user_id")?, self.id("item_id")?, self.id("slate_id")?);
        let position = self.required("position", self.u32("position")?)?;
        let shown_at = self.required("shown_at", self.moment("shown_at")?)?;
        let event_id =
            self.event_id(&[&user_id, &item_id, &slate_id, &position.to_string(), &shown_at.0.to_string()]);
        Ok(Impression {
            event_id,
            user_id,
            item_id,
            slate_id,
            shelf_id: self.text("shelf_id"),
            position,
            shown_at,
            received_at: self.moment("received_at")?,
            visible_ms: self.duration("visible_ms")?,
        })
    }

    fn slate(&self) -> Result<SlateRow, Reject> {
        Ok(SlateRow {
            user_id: self.optional_id("user_id"),
            slate_id: self.id("slate_id")?,
            surface: self.required("surface", self.one_of("surface", Surface::parse)?)?,
            composed_at: self.required("composed_at", self.moment("composed_at")?)?,
            deployment_id: self.text("deployment_id"),
            n_cards: self.u32("n_cards")?,
            slate_propensity: self.propensity("slate_propensity")?,
            candidate_sampling_rate: self.propensity("candidate_sampling_rate")?,
            empty_reason: self.text("empty_reason"),
            degraded: self.texts("degraded"),
            arms: self.texts("arms"),
            feature_names: self.texts("feature_names"),
            record: None,
        })
    }

    fn candidate(&self) -> Result<CandidateRow, Reject> {
        let source_ranks = self.f32s("source_ranks")?.into_iter().flatten().map(|r| r as u32).collect();
        Ok(CandidateRow {
            user_id: self.optional_id("user_id"),
            composed_at: self.required("composed_at", self.moment("composed_at")?)?,
            slate_id: self.id("slate_id")?,
            item_id: self.id("item_id")?,
            sources: self.texts("sources"),
            source_scores: self.f32s("source_scores")?,
            source_ranks,
            features: self.f32s("features")?,
            heads: self.texts("heads"),
            head_probabilities: self.f32s("head_probabilities")?,
            score: self.f32("score")?,
            rank: self.u32("rank")?,
            position: self.u32("position")?,
            prefix_propensity: self.propensity("prefix_propensity")?,
            removed_by: self.text("removed_by"),
        })
    }

    fn propensity(&self, name: &str) -> Result<Option<f64>, Reject> {
        match self.f64(name)? {
            Some(p) if !(p > 0.0 && p <= 1.0) => {
                Err(Reject::new(RejectReason::BadNumber, format!("`{name}` is {p}; it lies in (0, 1]")))
            }
            p => Ok(p),
        }
    }

    fn item(&self) -> Result<Item, Reject> {
        let item_id = self.id("item_id")?;
        Ok(Item {
            kind: self.one_of("kind", ItemKind::parse)?.unwrap_or(ItemKind::Track),
            title: self.text("title"),
            artist_ids: self.ids("artist_ids"),
            artist_names: self.texts("artist_names"),
            album_id: self.optional_id("album_id"),
            album_name: self.text("album_name"),
            tags: self.texts("tags"),
            release_day: self.moment("release_day")?.map(TimestampMs::day),
            duration_ms: self.duration("duration_ms")?,
            explicit: self.bool("explicit")?.unwrap_or(false),
            markets: self.texts("markets"),
            energy: self.f32("energy")?,
            valence: self.f32("valence")?,
            tempo_bpm: self.f32("tempo_bpm")?,
            recording_id: self.optional_id("recording_id"),
            isrc: self.text("isrc"),
            mbid: self.text("mbid"),
            embedding: self.f32s("embedding")?.into_iter().flatten().collect(),
            valid_from: self.moment("valid_from")?,
            available: self.bool("available")?.unwrap_or(true),
            ..Item::new(&item_id)
        })
    }

    fn user(&self) -> Result<User, Reject> {
        Ok(User {
            user_id: self.id("user_id")?,
            display_name: self.text("display_name"),
            market: self.text("market"),
            registered_at: self.moment("registered_at")?,
            plan: self.text("plan"),
            birth_year_bucket: value::ranged("birth_year_bucket", &self.cell("birth_year_bucket"))?,
            allow_explicit: self.bool("allow_explicit")?,
            consent: self.bool("consent")?,
            valid_from: self.moment("valid_from")?,
        })
    }

    fn profile(&self) -> Result<Profile, Reject> {
        let n_plays = match self.spec("n_plays") {
            // One line, one play.
            None => 1,
            Some(_) => {
                let n: Option<u64> = value::ranged("n_plays", &self.cell("n_plays"))?;
                self.required("n_plays", n)?
            }
        };
        Ok(Profile { user_id: self.id("user_id")?, item_id: self.id("item_id")?, n_plays })
    }
}
