//! One import from start to end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use segue_types::{EventKey, ItemKey, RejectReason, TimestampMs};
use serde::Serialize;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use super::build::{Builder, Built, JoinTable, Resolved, Resolver, View};
use super::input::{Caps, Input, list};
use super::mapping::{ColumnRef, Mapping, SourceMapping, Spec};
use super::read::{BadRow, Cell, Flow, Format, Row, RowSink, each_row};
use super::rejects::{Reject, Rejects, Sample};
use super::{ImportError, infer, value};
use crate::log::{LogError, LogRow, LogWriter, Table, WriterOptions, Written};
use crate::progress::{NoProgress, Progress};

/// Event ids remembered to find duplicates within one import; 16 bytes each. `prepare` finds
/// those beyond, and those of earlier imports.
const MAX_IDS_REMEMBERED: usize = 16_000_000;
/// Rows of each file a dry run looks at.
const DRY_RUN_ROWS: u64 = 10_000;
/// Parsed rows a dry run returns.
const N_PARSED: usize = 10;

/// What to import, and within which limits.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Files, folders and zip archives.
    pub paths: Vec<PathBuf>,
    /// A mapping; inferred where absent.
    pub mapping: Option<Mapping>,
    /// The home folder; its `log/` and `rejects/` are written.
    pub home: PathBuf,
    /// The moment of import: later timestamps are refused.
    pub now: TimestampMs,
    /// Id of the listener of exports that do not name one.
    pub listener: String,
    /// Largest share of rejected rows of a table, in `[0, 1]`.
    pub max_reject_share: f64,
    /// Reads up to 10,000 rows of each file and writes nothing.
    pub dry_run: bool,
    /// Limits on what a file may hold.
    pub caps: Caps,
}

impl ImportRequest {
    /// A request with the default limits: 5 % rejects, the listener `me`.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>, home: &Path, now: TimestampMs) -> Self {
        Self {
            paths,
            mapping: None,
            home: home.to_owned(),
            now,
            listener: "me".into(),
            max_reject_share: 0.05,
            dry_run: false,
            caps: Caps::default(),
        }
    }
}

/// What an import did.
#[derive(Debug, Clone, Serialize)]
pub struct ImportReport {
    /// Names the parts this import wrote; the same input and mapping give the same id.
    pub import_id: String,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The mapping used, as TOML.
    pub mapping: String,
    /// Whether that mapping was inferred.
    pub is_inferred: bool,
    /// What each file gave to each table, in reading order.
    pub sources: Vec<SourceReport>,
    /// Files no source took.
    pub ignored_files: Vec<String>,
    /// By table.
    pub tables: BTreeMap<Table, TableReport>,
    /// Rejected rows by table and reason, `plays: bad_timestamp`.
    pub rejects_by_reason: BTreeMap<String, u64>,
    /// A few rejected rows per reason.
    pub reject_samples: Vec<Sample>,
    /// Where rejected rows are, if there are any and this is no dry run.
    pub rejects_file: Option<PathBuf>,
    /// First rows as parsed, at most ten per table; dry runs only.
    pub parsed: Vec<ParsedRow>,
    /// When the first and last event or slate happened.
    pub occurred: Option<(TimestampMs, TimestampMs)>,
    /// Parts written.
    pub written: Written,
}

/// One file and one table.
#[derive(Debug, Clone, Serialize)]
pub struct SourceReport {
    /// The file, or `archive.zip:member`.
    pub file: String,
    /// How it was read.
    pub format: Format,
    /// The table it fed.
    pub table: Table,
    /// Rows read.
    pub n_read: u64,
}

/// One table of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TableReport {
    /// Rows read, `where` and repetitions of facts included.
    pub n_read: u64,
    /// Rows a `where` left out.
    pub n_left_out: u64,
    /// Rows that repeat an item, user or slate already taken; the first one stays.
    pub n_repeated: u64,
    /// Rows rejected, duplicates included.
    pub n_rejected: u64,
    /// Of these, events whose id was accepted before.
    pub n_duplicates: u64,
    /// Rows taken.
    pub n_accepted: u64,
}

/// A row as it would enter the log.
#[derive(Debug, Clone, Serialize)]
pub struct ParsedRow {
    /// Its table.
    pub table: Table,
    /// Its values.
    pub row: serde_json::Value,
}

/// Imports files into the log of a home folder.
///
/// # Errors
/// See [`ImportError`]; whatever it is, the log is as it was before.
pub fn import(request: &ImportRequest, progress: &dyn Progress) -> Result<ImportReport, ImportError> {
    // Log and rejects make the home folder if it is missing; either may outlive the other.
    let missing: Vec<&Path> = request
        .home
        .ancestors()
        .take_while(|f| !request.dry_run && !f.as_os_str().is_empty() && !f.exists())
        .collect();
    let result = run(request, progress);
    if result.is_err() {
        for folder in missing {
            let _ = std::fs::remove_dir(folder);
        }
    }
    match result {
        // A reader that was told to stop reports a damaged file; the caller knows better.
        Err(_) if progress.is_cancelled() => Err(ImportError::Cancelled),
        result => result,
    }
}

fn run(request: &ImportRequest, progress: &dyn Progress) -> Result<ImportReport, ImportError> {
    let inputs = list(&request.paths, &request.caps)?;
    if inputs.is_empty() {
        return Err(ImportError::NothingFound {
            looked_at: request.paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "),
            detail: "there are no files".into(),
        });
    }
    let mapping = match &request.mapping {
        Some(mapping) => mapping.clone(),
        None => infer::infer(&inputs, &request.caps)?,
    };
    let plan = plan(&mapping, &inputs)?;
    let import_id = import_id(request, &mapping, &inputs)?;
    let mut run = Run {
        request,
        progress,
        mapping: &mapping,
        writer: if request.dry_run {
            None
        } else {
            Some(LogWriter::new(&request.home, &import_id, WriterOptions::default())?)
        },
        rejects: Rejects::new(&request.home, &import_id, !request.dry_run),
        seen_events: HashSet::new(),
        seen_facts: HashSet::new(),
        tables: BTreeMap::new(),
        n_own_duplicates: BTreeMap::new(),
        parsed: Vec::new(),
        occurred: None,
    };
    let total = plan.iter().map(|(_, input)| input.n_bytes).sum();
    progress.begin("import", Some(total), "bytes");
    let mut sources = Vec::new();
    for (source, input) in &plan {
        sources.push(run.source(source, input, &inputs)?);
    }
    progress.end();
    run.check_shares()?;
    let taken = |input: &Input| {
        let name = input.plain_name();
        mapping.source.iter().any(|s| s.file.takes(&name) || s.join.iter().any(|j| j.file.takes(&name)))
    };
    let ignored_files = inputs.iter().filter(|i| !taken(i)).map(|i| i.label.clone()).collect();
    run.publish(import_id, sources, ignored_files)
}

/// Which source reads which file, in the order of the mapping.
fn plan<'a>(
    mapping: &'a Mapping,
    inputs: &'a [Input],
) -> Result<Vec<(&'a SourceMapping, &'a Input)>, ImportError> {
    let mut plan = Vec::new();
    for source in &mapping.source {
        let before = plan.len();
        plan.extend(inputs.iter().filter(|i| source.file.takes(&i.plain_name())).map(|i| (source, i)));
        if plan.len() == before && !source.optional {
            let names: Vec<&str> = inputs.iter().take(10).map(|i| i.name.as_str()).collect();
            return Err(ImportError::mapping(
                Some(&source.file.file),
                format!("no file matches; there are {}", names.join(", ")),
            ));
        }
    }
    Ok(plan)
}

/// Hash of what decides the outcome: the mapping, the listener and every byte of the files.
fn import_id(request: &ImportRequest, mapping: &Mapping, inputs: &[Input]) -> Result<String, ImportError> {
    let mut hash = Xxh3::new();
    hash.update(mapping.to_toml().as_bytes());
    hash.update(request.listener.as_bytes());
    let mut buf = vec![0; 1 << 20];
    let mut last: Option<&Path> = None;
    for input in inputs {
        hash.update(input.name.as_bytes());
        if last == Some(&input.path) {
            continue;
        }
        last = Some(&input.path);
        // A dry run only wants rows, so it does not read terabytes for a name.
        if request.dry_run {
            continue;
        }
        let io = |e| ImportError::io("read", &input.path, e);
        let mut file = std::fs::File::open(&input.path).map_err(io)?;
        loop {
            let n = file.read(&mut buf).map_err(io)?;
            if n == 0 {
                break;
            }
            hash.update(&buf[..n]);
        }
    }
    Ok(format!("i{:032x}", hash.digest128()))
}

struct Run<'a> {
    request: &'a ImportRequest,
    progress: &'a dyn Progress,
    mapping: &'a Mapping,
    writer: Option<LogWriter>,
    rejects: Rejects,
    seen_events: HashSet<u128>,
    seen_facts: HashSet<(Table, u64, Option<TimestampMs>)>,
    tables: BTreeMap<Table, TableReport>,
    /// Duplicates by ids the source gave: a fault of the data, unlike rows that simply repeat.
    n_own_duplicates: BTreeMap<Table, u64>,
    parsed: Vec<ParsedRow>,
    occurred: Option<(TimestampMs, TimestampMs)>,
}

impl Run<'_> {
    fn source(
        &mut self,
        source: &SourceMapping,
        input: &Input,
        inputs: &[Input],
    ) -> Result<SourceReport, ImportError> {
        let format = match source.file.format {
            Some(format) => format,
            None => infer::format_of(input, &self.request.caps)?.unwrap_or(Format::Csv),
        };
        let mut joins = Vec::new();
        for index in 0..source.join.len() {
            joins.push(self.join(source, index, inputs)?);
        }
        let layout = source.file.layout(format)?;
        let (caps, progress) = (&self.request.caps, self.progress);
        let mut sink = Sink {
            run: self,
            source,
            input,
            is_json: format == Format::Json,
            joins,
            builder: None,
            keep: Vec::new(),
            on: Vec::new(),
            n_read: 0,
        };
        each_row(input, &layout, caps, progress, &mut sink)?;
        let n_read = sink.n_read;
        Ok(SourceReport { file: input.label.clone(), format, table: source.table, n_read })
    }

    fn join(&self, source: &SourceMapping, index: usize, inputs: &[Input]) -> Result<JoinTable, ImportError> {
        let join = &source.join[index];
        let input = inputs.iter().find(|i| join.file.takes(&i.plain_name())).ok_or_else(|| {
            ImportError::mapping(Some(&join.file.file), format!("no file matches the join `{}`", join.name))
        })?;
        let format = match join.file.format {
            Some(format) => format,
            None => infer::format_of(input, &self.request.caps)?.unwrap_or(Format::Csv),
        };
        // Only columns the source mentions are held.
        let prefix = format!("{}.", join.name);
        let mut columns: Vec<String> = Vec::new();
        let mut want = |name: &str| {
            if let Some(rest) = name.strip_prefix(&prefix)
                && !columns.iter().any(|c| c == rest)
            {
                columns.push(rest.to_owned());
            }
        };
        for spec in source.columns.values() {
            let Spec::Full(full) = spec else {
                if let Spec::Column(ColumnRef::Name(name)) = spec {
                    want(name);
                }
                continue;
            };
            for column in full.column.iter().chain(&full.columns).chain(&full.minus_ms) {
                if let ColumnRef::Name(name) = column {
                    want(name);
                }
            }
            for piece in full.template.iter().flat_map(|t| t.split('{').skip(1)) {
                want(piece.split('}').next().unwrap_or_default());
            }
        }
        let mut sink = JoinSink {
            input,
            caps: &self.request.caps,
            is_json: format == Format::Json,
            null: &join.file.null,
            key: &join.key,
            resolved: None,
            table: JoinTable { name: join.name.clone(), columns, rows: HashMap::new() },
        };
        each_row(input, &join.file.layout(format)?, &self.request.caps, &NoProgress, &mut sink)?;
        Ok(sink.table)
    }

    fn reject(
        &mut self,
        input: &Input,
        row: u64,
        table: Table,
        reject: Reject,
        raw: &str,
    ) -> Result<(), ImportError> {
        self.tables.entry(table).or_default().n_rejected += 1;
        self.rejects.add(&input.label, row, table, reject, raw)
    }

    /// Takes a valid row; false if its id was taken before.
    fn take(&mut self, built: Built) -> Result<Taken, ImportError> {
        let (event_id, at) = match &built {
            Built::Play(x) => (Some(&x.event_id), Some(x.occurred_at)),
            Built::Feedback(x) => (Some(&x.event_id), Some(x.occurred_at)),
            Built::Impression(x) => (Some(&x.event_id), Some(x.shown_at)),
            Built::Slate(x) => (None, Some(x.composed_at)),
            _ => (None, None),
        };
        if let Some(id) = event_id {
            let key = EventKey::of(id).0;
            if self.seen_events.len() < MAX_IDS_REMEMBERED {
                if !self.seen_events.insert(key) {
                    return Ok(Taken::Duplicate);
                }
            } else if self.seen_events.contains(&key) {
                return Ok(Taken::Duplicate);
            }
        }
        let fact = match &built {
            Built::Item(x) => Some((Table::Items, ItemKey::of(&x.item_id).0, x.valid_from)),
            Built::User(x) => Some((Table::Users, xxh3_128(x.user_id.as_bytes()) as u64, x.valid_from)),
            Built::Slate(x) => Some((Table::Slates, xxh3_64(x.slate_id.as_bytes()), None)),
            _ => None,
        };
        if fact.is_some_and(|fact| !self.seen_facts.insert(fact)) {
            return Ok(Taken::Repeated);
        }
        if let Some(at) = at {
            let (first, last) = self.occurred.unwrap_or((at, at));
            self.occurred = Some((first.min(at), last.max(at)));
        }
        match &built {
            Built::Play(x) => self.write(x, |x| serde_json::to_value(x))?,
            Built::Feedback(x) => self.write(x, |x| serde_json::to_value(x))?,
            Built::Impression(x) => self.write(x, |x| serde_json::to_value(x))?,
            Built::Slate(x) => self.write(x, |x| Ok(serde_json::Value::String(format!("{x:?}"))))?,
            Built::Candidate(x) => self.write(x, |x| Ok(serde_json::Value::String(format!("{x:?}"))))?,
            Built::Item(x) => self.write(x, |x| serde_json::to_value(x))?,
            Built::User(x) => self.write(x, |x| serde_json::to_value(x))?,
            Built::Profile(x) => self.write(x, |x| serde_json::to_value(x))?,
        }
        Ok(Taken::Yes)
    }

    fn write<R: LogRow>(
        &mut self,
        row: &R,
        show: impl Fn(&R) -> serde_json::Result<serde_json::Value>,
    ) -> Result<(), LogError> {
        match &mut self.writer {
            Some(writer) => writer.write_one(row),
            None => {
                if self.parsed.iter().filter(|p| p.table == R::TABLE).count() < N_PARSED
                    && let Ok(row) = show(row)
                {
                    self.parsed.push(ParsedRow { table: R::TABLE, row });
                }
                Ok(())
            }
        }
    }

    /// Fails where a table has too many rejects, or where there is no row at all.
    fn check_shares(&self) -> Result<(), ImportError> {
        if self.tables.values().all(|t| t.n_read == 0) {
            return Err(ImportError::NothingFound {
                looked_at: self
                    .request
                    .paths
                    .iter()
                    .map(|p| p.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
                detail: "the files have no rows".into(),
            });
        }
        if self.request.dry_run {
            return Ok(());
        }
        for (&table, report) in &self.tables {
            // A scrobbler that sends a play twice, or exports that overlap, give rows whose
            // derived id repeats. They are left out and counted, but are no reason to fail.
            let own = self.n_own_duplicates.get(&table).copied().unwrap_or(0);
            let n_rejected = report.n_rejected - report.n_duplicates + own;
            let considered = report.n_read - report.n_left_out;
            if n_rejected as f64 > self.request.max_reject_share * considered as f64 {
                let mut reasons: Vec<(String, u64)> = RejectReason::ALL
                    .iter()
                    .map(|r| (r.as_str().to_owned(), self.rejects.n_of(table, *r)))
                    .filter(|(_, n)| *n > 0)
                    .collect();
                reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                let samples =
                    self.rejects.samples.iter().filter(|s| s.table == table).take(6).cloned().collect();
                return Err(ImportError::TooManyRejects {
                    table: table.as_str(),
                    n_rejected,
                    n_read: considered,
                    max_share: self.request.max_reject_share,
                    reasons,
                    samples,
                });
            }
        }
        Ok(())
    }

    fn publish(
        mut self,
        import_id: String,
        sources: Vec<SourceReport>,
        ignored_files: Vec<String>,
    ) -> Result<ImportReport, ImportError> {
        let now = self.request.now;
        let written = match self.writer.take() {
            Some(writer) => writer.finish(now, &import_id, true)?,
            None => Written::default(),
        };
        let rejects_file = self.rejects.publish(&import_id)?;
        for (&table, report) in &self.tables {
            debug_assert_eq!(report.n_rejected, self.rejects.n_in(table));
        }
        let by_reason = &self.rejects.by_reason;
        Ok(ImportReport {
            import_id,
            dry_run: self.request.dry_run,
            mapping: self.mapping.to_toml(),
            is_inferred: self.request.mapping.is_none(),
            sources,
            ignored_files,
            rejects_by_reason: by_reason.iter().map(|((t, r), n)| (format!("{t}: {r}"), *n)).collect(),
            reject_samples: std::mem::take(&mut self.rejects.samples),
            rejects_file,
            tables: self.tables,
            parsed: self.parsed,
            occurred: self.occurred,
            written,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    Duplicate,
    Repeated,
}

/// Turns the rows of one file into rows of one table.
struct Sink<'a, 'r> {
    run: &'a mut Run<'r>,
    source: &'a SourceMapping,
    input: &'a Input,
    is_json: bool,
    joins: Vec<JoinTable>,
    builder: Option<Builder>,
    keep: Vec<(Resolved, &'a [String])>,
    on: Vec<Resolved>,
    n_read: u64,
}

impl RowSink for Sink<'_, '_> {
    fn header(&mut self, names: &[String]) -> Result<(), ImportError> {
        let resolver = Resolver {
            file: &self.input.label,
            header: names,
            joins: &self.joins,
            is_json: self.is_json,
            listener: &self.run.request.listener,
        };
        let builder = Builder::new(self.source, &self.run.mapping.id_prefix, &resolver)?;
        let mut keep = Vec::new();
        for (column, values) in &self.source.keep {
            // A number is an index where there is no header, as everywhere.
            let column = match column.parse() {
                Ok(index) if names.is_empty() && !self.is_json => ColumnRef::Index(index),
                _ => ColumnRef::Name(column.clone()),
            };
            keep.push((resolver.resolve(&Spec::Column(column))?, values.as_slice()));
        }
        let on = self.source.join.iter().map(|j| resolver.resolve(&j.on)).collect::<Result<_, _>>()?;
        (self.builder, self.keep, self.on) = (Some(builder), keep, on);
        Ok(())
    }

    fn row(&mut self, number: u64, row: Result<Row<'_>, BadRow>) -> Result<Flow, ImportError> {
        if number.is_multiple_of(4_096) && self.run.progress.is_cancelled() {
            return Err(ImportError::Cancelled);
        }
        let flow =
            if self.run.request.dry_run && number >= DRY_RUN_ROWS { Flow::Stop } else { Flow::Continue };
        let row = match row {
            Ok(row) => row,
            Err(bad) => {
                self.n_read += 1;
                self.run.tables.entry(self.source.table).or_default().n_read += 1;
                let reject = Reject::new(RejectReason::Malformed, bad.message);
                self.run.reject(self.input, number, self.source.table, reject, &bad.raw)?;
                return Ok(flow);
            }
        };
        match self.source.explode_from {
            None => self.one(number, &row, None)?,
            Some(from) => {
                for index in from..row.len() {
                    self.one(number, &row, Some(row.get("", Some(index))))?;
                }
            }
        }
        Ok(flow)
    }
}

impl Sink<'_, '_> {
    fn one(&mut self, number: u64, row: &Row<'_>, each: Option<Cell<'_>>) -> Result<(), ImportError> {
        let table = self.source.table;
        self.n_read += 1;
        let report = self.run.tables.entry(table).or_default();
        report.n_read += 1;
        let mut view = View { row, each, joined: Vec::new(), null: &self.source.file.null };
        for (column, values) in &self.keep {
            let cell = column.cell(&view);
            let text = value::text(&cell);
            let is_kept = match &text {
                Some(text) => values.iter().any(|v| v == "*" || v == text.as_ref()),
                None => values.iter().any(String::is_empty),
            };
            if !is_kept {
                report.n_left_out += 1;
                return Ok(());
            }
        }
        let mut joined = Vec::with_capacity(self.joins.len());
        for (on, join) in self.on.iter().zip(&self.joins) {
            let cell = on.cell(&view);
            joined.push(value::text(&cell).and_then(|key| join.rows.get(key.as_ref()).map(Vec::as_slice)));
        }
        view.joined = joined;
        let Some(builder) = &self.builder else { return Ok(()) };
        let has_event_ids = builder.has_event_ids();
        let outcome = match builder.build(&view, self.run.request.now) {
            Err(reject) => return self.run.reject(self.input, number, table, reject, &row.raw()),
            Ok(built) => self.run.take(built)?,
        };
        let report = self.run.tables.entry(table).or_default();
        match outcome {
            Taken::Yes => report.n_accepted += 1,
            Taken::Repeated => report.n_repeated += 1,
            Taken::Duplicate => {
                report.n_duplicates += 1;
                if has_event_ids {
                    *self.run.n_own_duplicates.entry(table).or_default() += 1;
                }
                let reject = Reject::new(
                    RejectReason::Duplicate,
                    "an event with this id was accepted before in this import",
                );
                self.run.reject(self.input, number, table, reject, &row.raw())?;
            }
        }
        Ok(())
    }
}

/// Holds a file by key.
struct JoinSink<'a> {
    input: &'a Input,
    caps: &'a Caps,
    is_json: bool,
    null: &'a [String],
    key: &'a Spec,
    resolved: Option<(Resolved, Vec<Resolved>)>,
    table: JoinTable,
}

impl RowSink for JoinSink<'_> {
    fn header(&mut self, names: &[String]) -> Result<(), ImportError> {
        let resolver = Resolver {
            file: &self.input.label,
            header: names,
            joins: &[],
            is_json: self.is_json,
            listener: "",
        };
        let key = resolver.resolve(self.key)?;
        let mut columns = Vec::new();
        for name in &self.table.columns {
            let column = match name.parse() {
                Ok(index) if names.is_empty() && !self.is_json => ColumnRef::Index(index),
                _ => ColumnRef::Name(name.clone()),
            };
            columns.push(resolver.resolve(&Spec::Column(column))?);
        }
        self.resolved = Some((key, columns));
        Ok(())
    }

    fn row(&mut self, _number: u64, row: Result<Row<'_>, BadRow>) -> Result<Flow, ImportError> {
        let (Ok(row), Some((key, columns))) = (row, &self.resolved) else { return Ok(Flow::Continue) };
        let view = View { row: &row, each: None, joined: Vec::new(), null: self.null };
        let cell = key.cell(&view);
        let Some(key) = value::text(&cell) else { return Ok(Flow::Continue) };
        let values = columns.iter().map(|c| owned(c.cell(&view))).collect();
        self.table.rows.entry(key.into_owned()).or_insert(values);
        if self.table.rows.len() as u64 > self.caps.max_join_rows {
            return Err(ImportError::TooLarge {
                file: self.input.label.clone(),
                what: "the number of rows of a joined file",
                cap: self.caps.max_join_rows,
                option: "max_join_rows",
            });
        }
        Ok(Flow::Continue)
    }
}

fn owned(cell: Cell<'_>) -> Cell<'static> {
    match cell {
        Cell::Null => Cell::Null,
        Cell::Text(t) => Cell::Text(t.into_owned().into()),
        Cell::Int(i) => Cell::Int(i),
        Cell::Float(f) => Cell::Float(f),
        Cell::Bool(b) => Cell::Bool(b),
        Cell::Time(t) => Cell::Time(t),
        Cell::List(values) => Cell::List(values.into_iter().map(owned).collect()),
    }
}
