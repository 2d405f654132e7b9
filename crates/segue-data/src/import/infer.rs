//! A mapping from the looks of the files: known exports by name and content, then column names.

use std::collections::BTreeMap;

use super::input::{Caps, Input};
use super::mapping::{
    ColumnRef, FileMapping, FullSpec, Mapping, SourceMapping, Spec, TimeFormat, Unit, required_columns,
    target_columns,
};
use super::read::{BadRow, Cell, Flow, Format, Row, RowSink, each_row};
use super::{ImportError, value};
use crate::log::Table;
use crate::progress::NoProgress;

const SPOTIFY: &str = include_str!("builtin/spotify.toml");
const LISTENBRAINZ: &str = include_str!("builtin/listenbrainz.toml");
/// Rows looked at.
const N_ROWS: usize = 50;

/// Column names of other people, normalised: lower case, letters and digits only. The first
/// target that knows a name takes it.
const SYNONYMS: &[(&str, &[&str])] = &[
    (
        "user_id",
        &["user", "uid", "listener", "listenerid", "username", "memberid", "accountid", "customerid"],
    ),
    (
        "item_id",
        &[
            "item",
            "trackid",
            "songid",
            "musicid",
            "trackuri",
            "spotifytrackuri",
            "uri",
            "contentid",
            "movieid",
            "videoid",
            "recordingid",
            "iid",
            "tid",
        ],
    ),
    ("target_id", &["target"]),
    (
        "occurred_at",
        &[
            "timestamp",
            "ts",
            "time",
            "datetime",
            "playedat",
            "listenedat",
            "startedat",
            "starttime",
            "eventtime",
            "date",
            "createdat",
            "unixtime",
        ],
    ),
    ("ended_at", &["endtime", "stoppedat"]),
    (
        "listened_ms",
        &["msplayed", "playedms", "listenedseconds", "secondsplayed", "listened", "listentime", "playtime"],
    ),
    ("duration_ms", &["duration", "length", "trackduration", "tracklength", "durationseconds", "lengthms"]),
    ("n_plays", &["plays", "count", "playcount", "weight", "listens", "frequency"]),
    ("title", &["name", "trackname", "songname", "tracktitle", "songtitle", "song", "track"]),
    ("artist_names", &["artist", "artistname", "artists", "singer"]),
    ("artist_ids", &["artistid"]),
    ("album_name", &["album", "release"]),
    ("tags", &["genres", "genre", "tag"]),
    ("release_day", &["releasedate", "released"]),
    ("market", &["country", "conncountry"]),
    ("tempo_bpm", &["tempo", "bpm"]),
    ("kind", &["feedback", "action", "feedbacktype"]),
];

/// What is known of a file before its mapping.
struct Looks {
    input: String,
    format: Format,
    delimiter: Option<String>,
    header: Vec<String>,
    /// Columns → first values.
    samples: BTreeMap<String, Vec<String>>,
}

/// The mapping for inputs that come without one.
pub(crate) fn infer(inputs: &[Input], caps: &Caps) -> Result<Mapping, ImportError> {
    let mut mapping = Mapping::default();
    let named = |pattern: &str| {
        let file = FileMapping { file: pattern.into(), ..plain("") };
        inputs.iter().any(|i| file.takes(&i.plain_name()))
    };
    let is_spotify = named("*streaming_history_*.json");
    if is_spotify {
        mapping.source.extend(Mapping::parse(SPOTIFY)?.source);
    }
    let mut notes = Vec::new();
    let mut inferred = Vec::new();
    let mut listens = Vec::new();
    for input in inputs {
        let name = input.plain_name();
        if mapping.source.iter().any(|s| s.file.takes(&name)) {
            continue;
        }
        let Some(format) = format_of(input, caps)? else {
            notes.push(format!("`{}` is no table", input.name));
            continue;
        };
        let looks = match look(input, format, caps) {
            Ok(looks) => looks,
            // Beside a known export, a file that cannot be read is one more file to leave alone.
            Err(_) if is_spotify => continue,
            Err(e) => return Err(e),
        };
        let has =
            |column: &str| looks.header.iter().any(|h| h == column || h.starts_with(&format!("{column}.")));
        let is_listen = has("listened_at") && has("track_metadata");
        let is_feedback = has("score") && has("created") && (has("recording_msid") || has("recording_mbid"));
        if format == Format::Json && (is_listen || is_feedback) {
            listens.push(name);
        } else {
            match sources(&looks) {
                Ok(found) => inferred.extend(found),
                Err(note) => notes.push(note),
            }
        }
    }
    if !listens.is_empty() {
        mapping.source.extend(listenbrainz(&listens)?);
    }
    // Beside a known export lie other files of the same service; only the export is meant.
    if mapping.source.is_empty() {
        mapping.source = inferred;
    }
    if mapping.source.is_empty() {
        let looked_at = inputs.first().map_or_else(|| "the paths given".into(), |i| format!("`{}`", i.label));
        return Err(ImportError::NothingFound { looked_at, detail: notes.join("; ") });
    }
    Ok(mapping)
}

/// The ListenBrainz mapping with its patterns replaced by the very files that look like it.
fn listenbrainz(names: &[String]) -> Result<Vec<SourceMapping>, ImportError> {
    let mut out = Vec::new();
    for source in Mapping::parse(LISTENBRAINZ)?.source {
        for name in names {
            let is_feedback = name.contains("feedback");
            if is_feedback == (source.table == Table::Feedback) {
                let mut source = source.clone();
                source.file.file = name.clone();
                out.push(source);
            }
        }
    }
    Ok(out)
}

fn plain(file: &str) -> FileMapping {
    FileMapping {
        file: file.to_owned(),
        format: None,
        delimiter: None,
        quote: None,
        header: None,
        encoding: None,
        skip_rows: None,
        null: Vec::new(),
    }
}

/// The format of a file by name and content; `None` for what is no table.
pub(crate) fn format_of(input: &Input, caps: &Caps) -> Result<Option<Format>, ImportError> {
    let name = input.plain_name();
    let by_name = match name.rsplit('.').next() {
        Some("csv" | "tsv" | "tab" | "psv") => Some(Format::Csv),
        Some("json" | "jsonl" | "ndjson") => Some(Format::Json),
        Some("parquet" | "pq") => Some(Format::Parquet),
        Some("md" | "pdf" | "html" | "png" | "jpg" | "npy" | "xml" | "toml") => return Ok(None),
        _ => None,
    };
    if by_name.is_some() {
        return Ok(by_name);
    }
    input.open(caps, &NoProgress, |opened| {
        let first = opened.head.iter().find(|b| !b.is_ascii_whitespace());
        Ok(match first {
            _ if opened.head.starts_with(b"PAR1") => Some(Format::Parquet),
            Some(b'{' | b'[') => Some(Format::Json),
            Some(_) if !opened.head.contains(&0) => Some(Format::Csv),
            _ => None,
        })
    })
}

struct Collect {
    header: Vec<String>,
    samples: BTreeMap<String, Vec<String>>,
    n: usize,
}

impl RowSink for Collect {
    fn header(&mut self, names: &[String]) -> Result<(), ImportError> {
        self.header = names.to_vec();
        Ok(())
    }

    fn row(&mut self, _number: u64, row: Result<Row<'_>, BadRow>) -> Result<Flow, ImportError> {
        self.n += 1;
        if let Ok(row) = row {
            if let Row::Json(value) = &row {
                let mut names = Vec::new();
                json_names(value, "", &mut names);
                for name in names {
                    if self.header.len() < 500 && !self.header.contains(&name) {
                        self.header.push(name);
                    }
                }
            }
            for (i, name) in self.header.clone().iter().enumerate() {
                let cell = row.get(name, Some(i));
                // A column of times says so by itself; its samples are not needed.
                if !matches!(cell, Cell::Time(_))
                    && let Some(text) = value::text(&cell)
                {
                    self.samples.entry(name.clone()).or_default().push(text.into_owned());
                }
            }
        }
        Ok(if self.n < N_ROWS { Flow::Continue } else { Flow::Stop })
    }
}

fn json_names(value: &serde_json::Value, prefix: &str, out: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    for (key, value) in object {
        let name = format!("{prefix}{key}");
        if value.is_object() && prefix.len() < 64 {
            json_names(value, &format!("{name}."), out);
        } else {
            out.push(name);
        }
    }
}

fn look(input: &Input, format: Format, caps: &Caps) -> Result<Looks, ImportError> {
    let delimiter = match format {
        Format::Csv => Some(input.open(caps, &NoProgress, |opened| Ok(delimiter_of(&opened.head)))?),
        _ => None,
    };
    let file = FileMapping { delimiter: delimiter.clone(), ..plain(&input.plain_name()) };
    let mut collect = Collect { header: Vec::new(), samples: BTreeMap::new(), n: 0 };
    each_row(input, &file.layout(format)?, caps, &NoProgress, &mut collect)?;
    Ok(Looks {
        input: input.plain_name(),
        format,
        delimiter,
        header: collect.header,
        samples: collect.samples,
    })
}

/// The delimiter that splits the first lines into the most fields, the same number on each.
fn delimiter_of(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    let lines: Vec<&str> = text.lines().filter(|l| !l.is_empty()).take(10).collect();
    let mut best = (1, ",");
    for delimiter in ["\t", "::", ";", "|", ",", " "] {
        let counts: Vec<usize> = lines.iter().map(|l| l.matches(delimiter).count() + 1).collect();
        let least = counts.iter().copied().min().unwrap_or(1);
        // Quoted fields may hold the delimiter, so later lines may have more of it.
        if counts.first() == Some(&least) && least > best.0 {
            best = (least, delimiter);
        }
    }
    best.1.to_owned()
}

fn normal(name: &str) -> String {
    name.rsplit('.')
        .next()
        .unwrap_or(name)
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The tables a file can fill, or why none.
fn sources(looks: &Looks) -> Result<Vec<SourceMapping>, String> {
    let stem = looks.input.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default();
    let mut found: BTreeMap<&str, &String> = BTreeMap::new();
    for column in &looks.header {
        let name = normal(column);
        let exact = Table::ALL.iter().flat_map(|t| target_columns(*t)).find(|target| normal(target) == name);
        let other = || SYNONYMS.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(t, _)| *t);
        let target = exact.or_else(other).or(match (stem, name.as_str()) {
            ("items" | "tracks" | "songs" | "artists" | "movies", "id") => Some("item_id"),
            ("users" | "listeners", "id") => Some("user_id"),
            _ => None,
        });
        if let Some(target) = target {
            found.entry(target).or_insert(column);
        }
    }
    let has = |names: &[&str]| names.iter().all(|n| found.contains_key(n));
    let mut composed = None;
    if !has(&["item_id"])
        && has(&["user_id"])
        && let (Some(artist), Some(title)) = (found.get("artist_names"), found.get("title"))
    {
        composed = Some(format!("{{{artist}}} / {{{title}}}"));
    }
    let has_item = has(&["item_id"]) || composed.is_some();
    let by_stem = Table::parse(stem).filter(|t| has(required_columns(*t)));
    let table = match by_stem {
        Some(table) => table,
        None if has(&["user_id", "kind", "occurred_at"]) && has(&["target_id"]) => Table::Feedback,
        None if has(required_columns(Table::Impressions)) => Table::Impressions,
        None if has(required_columns(Table::Candidates)) => Table::Candidates,
        None if has(required_columns(Table::Slates)) => Table::Slates,
        None if has_item && has(&["user_id", "occurred_at"]) => Table::Plays,
        None if has_item && has(&["user_id"]) => Table::Profiles,
        None if has(&["item_id"]) => Table::Items,
        None if has(&["user_id"]) => Table::Users,
        None => {
            return Err(format!(
                "`{}`: no table fits its columns ({})",
                looks.input,
                looks.header.iter().take(20).cloned().collect::<Vec<_>>().join(", ")
            ));
        }
    };
    let source = |table: Table| {
        let mut columns = BTreeMap::new();
        for target in target_columns(table) {
            if let Some(column) = found.get(target) {
                columns.insert(target.to_owned(), spec(target, column, looks));
            } else if target == "item_id"
                && let Some(template) = &composed
            {
                let full = FullSpec { template: Some(template.clone()), ..FullSpec::default() };
                columns.insert(target.to_owned(), Spec::Full(Box::new(full)));
            }
        }
        SourceMapping {
            table,
            file: FileMapping {
                format: Some(looks.format),
                delimiter: looks.delimiter.clone(),
                ..plain(&looks.input)
            },
            keep: BTreeMap::new(),
            explode_from: None,
            optional: false,
            join: Vec::new(),
            columns,
        }
    };
    let mut out = vec![source(table)];
    if matches!(table, Table::Plays | Table::Profiles) && (has(&["title"]) || has(&["artist_names"])) {
        out.push(source(Table::Items));
    }
    Ok(out)
}

fn spec(target: &str, column: &str, looks: &Looks) -> Spec {
    let name = ColumnRef::Name(column.to_owned());
    let empty = Vec::new();
    let samples = looks.samples.get(column).unwrap_or(&empty);
    let mut full = FullSpec { column: Some(name.clone()), ..FullSpec::default() };
    if target.ends_with("_at") || target == "valid_from" {
        let numbers: Vec<f64> = samples.iter().filter_map(|t| t.parse().ok()).collect();
        full.time = match numbers.first() {
            Some(n) if n.abs() < 1.0e11 => Some(TimeFormat::UnixS),
            Some(_) => Some(TimeFormat::UnixMs),
            None if samples.is_empty() => None,
            None => Some(TimeFormat::Iso8601),
        };
        return Spec::Full(Box::new(full));
    }
    if target.ends_with("_ms") {
        let name = normal(column);
        let says_ms = name.ends_with("ms") || name.starts_with("ms");
        let says_s = name.contains("second");
        let mut numbers: Vec<f64> = samples.iter().filter_map(|t| t.parse().ok()).collect();
        numbers.sort_by(f64::total_cmp);
        // Songs last minutes: a middle value under 3,000 is seconds, above it milliseconds.
        let looks_like_s = numbers.get(numbers.len() / 2).is_some_and(|m| *m < 3_000.0);
        if says_s || (!says_ms && looks_like_s) {
            full.unit = Some(Unit::S);
            return Spec::Full(Box::new(full));
        }
    }
    if ["tags", "artist_names", "artist_ids", "markets"].contains(&target) && looks.format == Format::Csv {
        full.split =
            ["|", ";"].into_iter().find(|d| samples.iter().any(|s| s.contains(d))).map(str::to_owned);
        if full.split.is_some() {
            return Spec::Full(Box::new(full));
        }
    }
    Spec::Column(name)
}
