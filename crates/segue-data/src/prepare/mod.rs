//! `prepare`: from the event log to an immutable snapshot.
//!
//! 1. **scan**: log rows become fixed-width records, spread over 256 files by user bucket;
//! 2. **resolve**: ids become rows in key order, facts become arrays;
//! 3. **fold**: each bucket is sorted by `(user, known_at, event)` and goes once through enrich,
//!    all folds and all labels; buckets share nothing and run on as many threads as there are;
//! 4. **aggregate**: sums over the packed plays, by item, market and pair;
//! 5. **write**: training rows get their item columns as of the day before, the manifest gets a
//!    hash of everything, the folder its name.
//!
//! A run continues the current snapshot where it can (`base.rs` says when and how); the bytes are
//! those of a full rebuild.
//!
//! Memory is bounded by the largest bucket times the threads, plus tables whose size is that of
//! the result (ids, plays by market); every other step has a fixed budget and makes more passes.
//! A listener's own events are held together while they are folded.

mod aggregate;
mod base;
mod bucket;
mod example_rows;
mod ids;
mod intern;
mod listener;
mod publish;
pub(crate) mod record;
mod resolve;
mod scan;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rayon::prelude::*;
use segue_types::{Day, TimestampMs};
use xxhash_rust::xxh3::Xxh3;

use self::base::{Base, CheckpointFiles, Meta, OPEN_DAYS, PlayRange};
use self::bucket::BucketPlan;
use self::publish::{Temporary, keep_files, snapshot_id};
use self::resolve::resolve;
use self::scan::{Rejects, Scan};
use self::write::{ExampleSpill, Files, PlayFiles, StateFiles};
use crate::aggregate::Aggregate;
use crate::aggregates::item_stats::ItemStatistics;
use crate::aggregates::market_plays::MarketPlays;
use crate::enrich::Enricher;
use crate::error::DataError;
use crate::examples::ExamplesFrom;
use crate::features::FeatureSchema;
use crate::folds::FoldStates;
use crate::log::{LogReader, N_BUCKETS, PartInfo, Table};
use crate::progress::Progress;
use crate::snapshot::{FORMAT, Manifest, example_files, states, table_file};

/// Settings of [`prepare`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrepareConfig {
    /// Take only events known strictly before this moment (for evaluation); UTC milliseconds.
    pub until: Option<TimestampMs>,
    /// Worker threads; 0 takes one per core. The result does not depend on it.
    pub n_threads: usize,
    /// Rebuild everything even where an earlier snapshot could be continued.
    pub full: bool,
    /// Most rows of ranker training data; above it whole requests are sampled by their hash.
    pub max_example_rows: u64,
    /// Training rows come from impressions once the log has this many, from plays before: the first
    /// few pages that a server shows teach less than the plays that were imported.
    pub min_impressions: u64,
    /// Names of the sources whose scores become columns of the training rows; empty takes those
    /// that the log's candidates name.
    pub sources: Vec<String>,
    /// Whether the finished snapshot becomes `snapshots/current`.
    pub publish: bool,
}

impl Default for PrepareConfig {
    fn default() -> Self {
        Self {
            until: None,
            n_threads: 0,
            full: false,
            max_example_rows: 2_000_000,
            min_impressions: 1_000,
            sources: Vec::new(),
            publish: true,
        }
    }
}

/// What [`prepare`] did.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct PrepareReport {
    /// Id of the snapshot, the name of its folder.
    pub snapshot_id: String,
    /// Rows by table in the snapshot.
    pub rows: BTreeMap<String, u64>,
    /// Events left out, by the name of the reason.
    pub rejects: BTreeMap<String, u64>,
    /// What the training rows are made from.
    pub examples_from: ExamplesFrom,
    /// Whether an earlier snapshot was continued.
    pub incremental: bool,
    /// Days of log that were read.
    pub n_days_read: u64,
    /// Seconds per phase, in order.
    pub seconds: Vec<(String, f64)>,
}

/// Tables whose rows are spread by user.
const SPREAD: [Table; 5] =
    [Table::Plays, Table::Feedback, Table::Impressions, Table::Slates, Table::Candidates];

/// Files that follow from the tables without days and the ids met.
const CATALOGUE: [&str; 5] =
    ["items.parquet", "users.parquet", "profiles.parquet", "items.key.u64", "users.key.u128"];

/// Builds a snapshot of the log in `home/log` into `home/snapshots/<id>`.
///
/// `now` is noted beside the snapshot, in `timings.json`; the snapshot does not depend on it.
///
/// # Errors
/// If the log is missing or damaged, two ids share one key, or the disk is full; nothing is
/// published then.
pub fn prepare(
    home: &Path,
    config: &PrepareConfig,
    now: TimestampMs,
    progress: &dyn Progress,
) -> Result<PrepareReport, DataError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(config.n_threads).build();
    let pool = pool.map_err(|e| DataError::Config {
        setting: "prepare.n_threads",
        value: format!("{} ({e})", config.n_threads),
        rule: "the system has to grant that many threads",
    })?;
    pool.install(|| Run::new(home, config, progress).run(now))
}

/// One run.
struct Run<'a> {
    home: &'a Path,
    config: &'a PrepareConfig,
    progress: &'a dyn Progress,
    seconds: Vec<(String, f64)>,
}

impl<'a> Run<'a> {
    fn new(home: &'a Path, config: &'a PrepareConfig, progress: &'a dyn Progress) -> Self {
        Self { home, config, progress, seconds: Vec::new() }
    }

    /// Runs one phase under its name.
    fn phase<T>(
        &mut self,
        name: &str,
        total: u64,
        work: impl FnOnce(&dyn Progress) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        if self.progress.is_cancelled() {
            return Err(DataError::Cancelled);
        }
        let start = Instant::now();
        self.progress.begin(name, Some(total), "steps");
        let out = work(self.progress);
        self.progress.end();
        self.seconds.push((name.to_owned(), start.elapsed().as_secs_f64()));
        out
    }

    fn run(&mut self, now: TimestampMs) -> Result<PrepareReport, DataError> {
        let (home, config) = (self.home, self.config);
        let log = LogReader::new(home);
        let days = config.until.map(|t| Day(i32::MIN)..=t.day());
        let mut parts: Vec<PartInfo> = Vec::new();
        for table in SPREAD {
            parts.extend(log.parts(table, days.clone())?);
        }
        let n_spread = parts.len();
        for table in [Table::Items, Table::Users, Table::Profiles] {
            parts.extend(log.parts(table, None)?);
        }
        if parts.is_empty() {
            let (path, hint) = (home.join("log"), "run `segue import` first");
            return Err(DataError::Missing { what: "event log", path, hint });
        }
        if !config.full && config.until.is_none() {
            let base = self.phase("open", 1, |_| Ok(self::current(home, &parts[..n_spread])))?;
            if let Some(base) = base
                && let Some(report) = self.build(now, &log, &parts, n_spread, Some(&base))?
            {
                return Ok(report);
            }
        }
        self.build(now, &log, &parts, n_spread, None)?.ok_or(DataError::Cancelled)
    }

    /// Builds and publishes; `None` if the base turns out not to fit.
    fn build(
        &mut self,
        now: TimestampMs,
        log: &LogReader,
        parts: &[PartInfo],
        n_spread: usize,
        base: Option<&Base>,
    ) -> Result<Option<PrepareReport>, DataError> {
        let (home, config) = (self.home, self.config);
        let input_xxh3 = input_hash(parts);
        let snapshots = home.join("snapshots");
        let work = Temporary::new(&snapshots, "work")?;
        let target = Temporary::new(&snapshots, "new")?;
        let dir = target.0.as_path();
        let base_day = base.map_or(Day(i32::MIN), |b| b.meta.day);
        let last_day = parts[..n_spread].iter().filter_map(|p| p.day).max();
        let checkpoint = Day(last_day.map_or(i32::MIN, |d| d.0.saturating_sub(OPEN_DAYS)));
        // Slates of the base's last day may still be asked for by impressions of the next.
        let open: Vec<PartInfo> = parts[..n_spread]
            .iter()
            .filter(|p| {
                let slack = i32::from(p.table == Table::Slates);
                p.day.is_none_or(|d| d.0.saturating_add(slack) > base_day.0)
            })
            .cloned()
            .collect();

        let scan = Scan::new(&work.0, config.until);
        if let Some(base) = base {
            for item in base.snapshot.items() {
                scan.item(&item.item_id, true)?;
            }
            for user in base.snapshot.users() {
                scan.user(&user.user_id)?;
            }
        }
        let scanned = self.phase("scan", open.len() as u64, |p| scan.run(&open, p))?;
        let (resolved, profiles, facts) = self.phase("resolve", 1, |_| resolve(log, &scan, config.until))?;

        let n_of = |table: Table, through: Day| {
            let frozen = base.and_then(|b| b.meta.rows.get(table.as_str())).copied().unwrap_or(0);
            let days =
                scanned.rows.iter().filter(|((t, day), _)| *t == table && *day > base_day && *day <= through);
            frozen + days.map(|(_, n)| n).sum::<u64>()
        };
        let all = Day(i32::MAX);
        let (examples_from, n_requests) = match (n_of(Table::Impressions, all), n_of(Table::Plays, all)) {
            (0, 0) => (ExamplesFrom::Nothing, 0),
            (n, plays) if n > 0 && (n >= config.min_impressions || plays == 0) => {
                (ExamplesFrom::Impressions, n)
            }
            (_, n) => (ExamplesFrom::Plays, n),
        };
        let slates_of_base = base.and_then(|b| b.meta.slates_from);
        let slates_from = slates_of_base.or_else(|| first_day(&scanned.rows, Table::Slates, base_day));
        let sample_bits = (0..63).find(|bits| n_requests >> bits <= config.max_example_rows).unwrap_or(63);
        let (schema, source_of) = sources(&scan, &config.sources, base);
        let meta = Meta {
            day: checkpoint,
            parts_xxh3: base::parts_hash(&parts[..n_spread], checkpoint),
            open_xxh3: parts[..n_spread]
                .iter()
                .filter_map(|p| p.day.filter(|&day| day > checkpoint))
                .map(|day| (day, base::parts_hash(&parts[..n_spread], day)))
                .collect(),
            catalogue_xxh3: input_hash(&parts[n_spread..]),
            rejects: BTreeMap::new(),
            n_feedback: 0,
            n_impressions: 0,
            plays: PlayRange::default(),
            rows: SPREAD.iter().map(|&table| (table.as_str().to_owned(), n_of(table, checkpoint))).collect(),
            examples_from,
            slates_from: slates_from.filter(|&day| day <= checkpoint),
            sample_bits,
            feature_names: schema.names().to_vec(),
            versions: versions(),
        };
        if let Some(base) = base {
            let b = &base.meta;
            let same = b.examples_from == examples_from
                && b.sample_bits == sample_bits
                && b.feature_names == meta.feature_names
                && base_day <= checkpoint
                && base.has_same_facts(&resolved, &facts);
            if !same {
                return Ok(None);
            }
        }
        let carried = match base {
            Some(base) => base.carried(home, &resolved)?,
            None => None,
        };
        let base_items = base.map(|b| b.item_rows(&resolved)).unwrap_or_default();
        let plan = BucketPlan {
            resolved: &resolved,
            schema: &schema,
            source_of: &source_of,
            examples_from,
            sample_bits,
            slates_from,
            base,
            base_items: &base_items,
            base_day,
            carried: carried.as_ref(),
            events_through: base.map_or(Day(i32::MIN), |b| b.same_through),
            closed: checkpoint,
        };
        let mut files = Files::new();
        let mut plays = PlayFiles::create(dir, &work.0, base.is_none())?;
        let mut left = CheckpointFiles::create(dir)?;
        let written = (0..states::N_CLASSES).filter(|&c| plan.writes_states(c).is_some());
        let mut state_files = StateFiles::create(dir, written)?;
        let mut examples = ExampleSpill::new(&work.0, schema.len());
        let mut rejects = scanned.rejects;
        let (mut n_feedback, mut n_impressions) = (0, 0);
        if let Some(base) = base {
            let b = &base.meta;
            for (&reason, n) in &b.rejects {
                *rejects.entry(reason).or_default() += n;
                *left.rejects.entry(reason).or_default() += n;
            }
            (n_feedback, n_impressions) = (b.n_feedback, b.n_impressions);
            (left.n_feedback, left.n_impressions) = (b.n_feedback, b.n_impressions);
            left.plays = b.plays;
            plays.range = b.plays;
        }
        self.phase("fold", u64::from(N_BUCKETS), |progress| {
            // Memory of earlier buckets: fresh pages would have to be cleared first.
            let (inputs, outputs) = (Mutex::<Vec<_>>::default(), Mutex::<Vec<_>>::default());
            let at_once = 2 * rayon::current_num_threads() as u32;
            let buckets: Vec<u32> = (0..N_BUCKETS).collect();
            for chunk in buckets.chunks(at_once as usize) {
                let done: Vec<_> = chunk
                    .par_iter()
                    .map(|&b| {
                        let mut input = scan::lock(&inputs).pop().unwrap_or_default();
                        let mut out = scan::lock(&outputs).pop().unwrap_or_default();
                        scan.load(b, &mut input)?;
                        bucket::run(&plan, b, &mut input, &mut out)?;
                        scan::lock(&inputs).push(input);
                        Ok::<_, DataError>(out)
                    })
                    .collect();
                for bucket in done {
                    let bucket = bucket?;
                    plays.push(&bucket)?;
                    state_files.push(&bucket)?;
                    left.push(&bucket.checkpoint)?;
                    examples.push(&bucket.examples)?;
                    for (&reason, n) in &bucket.rejects {
                        *rejects.entry(reason).or_default() += n;
                    }
                    n_feedback += bucket.n_feedback;
                    n_impressions += bucket.n_impressions;
                    scan::lock(&outputs).push(bucket);
                    progress.advance(1);
                }
            }
            Ok(())
        })?;
        let range = plays.range;
        let has_listened_ms = range.has_listened_ms;
        if base.is_some_and(|base| base.snapshot.manifest().has_listened_ms != has_listened_ms) {
            return Ok(None);
        }
        let n_users = resolved.users.len();
        let plays = plays.finish(&resolved, &mut files)?;
        let n_plays = plays.all().n_plays() as u64;
        let meta = Meta {
            rejects: left.rejects.clone(),
            n_feedback: left.n_feedback,
            n_impressions: left.n_impressions,
            plays: left.plays,
            ..meta
        };
        left.finish(&meta, &facts, &mut files)?;
        state_files.finish(&mut files)?;
        let has_moved = base.is_some_and(|base| base.has_moved_listeners(&resolved));
        if let Some(base) = base {
            let kept = |name: &str| base.keeps(name, checkpoint, has_moved);
            keep_files(home, base, dir, kept, &mut files)?;
        }

        let earlier = base.map(|base| base.tables(&resolved, &base_items, has_moved));
        let (stats, markets) = self.phase("aggregate", 2, |p| {
            let earlier = earlier.as_ref();
            aggregate::write(dir, &work.0, &resolved, &plays, has_listened_ms, earlier, p, &mut files)
        })?;
        let n_examples = self.phase("write", 1, |_| {
            let n = examples.finish(dir, &resolved, &stats, &schema, &mut files)?;
            let n = n + match base {
                Some(base) => {
                    let kept = keep_files(home, base, dir, |name| base.has_final_examples(name), &mut files)?;
                    kept.iter().map(|name| example_files::n_rows(&dir.join(name))).sum::<Result<u64, _>>()?
                }
                None => 0,
            };
            let same =
                base.filter(|b| b.meta.catalogue_xxh3 == meta.catalogue_xxh3 && b.has_same_rows(&resolved));
            if let Some(base) = same {
                keep_files(home, base, dir, |name| CATALOGUE.contains(&name), &mut files)?;
                return Ok(n);
            }
            let [items, users, profile_rows, item_keys, user_keys] = CATALOGUE;
            write::write_column(dir, item_keys, &resolved.item_keys, &mut files)?;
            write::write_column(dir, user_keys, &resolved.user_keys, &mut files)?;
            files.insert(items.into(), table_file::write(&dir.join(items), &resolved.items)?);
            files.insert(users.into(), table_file::write(&dir.join(users), &resolved.users)?);
            files.insert(profile_rows.into(), table_file::write(&dir.join(profile_rows), &profiles)?);
            Ok(n)
        })?;

        let rows = BTreeMap::from([
            ("examples".to_owned(), n_examples),
            ("feedback".to_owned(), n_feedback),
            ("impressions".to_owned(), n_impressions),
            ("items".to_owned(), resolved.items.len() as u64),
            ("plays".to_owned(), n_plays),
            ("profiles".to_owned(), profiles.len() as u64),
            ("users".to_owned(), n_users as u64),
        ]);
        let moments = |(from, to)| (TimestampMs(from), TimestampMs(to));
        let mut manifest = Manifest {
            format: FORMAT,
            snapshot_id: String::new(),
            until: config.until,
            n_items: resolved.items.len() as u64,
            n_users: n_users as u64,
            rows: rows.clone(),
            rejects: names(&rejects),
            time_range: range.occurred_at.map(moments),
            known_range: range.known_at.map(moments),
            has_listened_ms,
            examples_from: if n_examples == 0 { ExamplesFrom::Nothing } else { examples_from },
            example_sample_bits: sample_bits,
            feature_names: schema.names().to_vec(),
            versions: versions(),
            closed: checkpoint,
            markets,
            input_xxh3,
            n_input_parts: parts.len() as u64,
            files,
        };
        manifest.snapshot_id = snapshot_id(&manifest);
        let id = manifest.snapshot_id.clone();
        let timings = serde_json::json!({ "prepared_at": now.0, "seconds": self.seconds });
        publish::publish(home, &manifest, target, &timings, config.publish)?;
        Ok(Some(PrepareReport {
            snapshot_id: id,
            rows,
            rejects: manifest.rejects,
            examples_from: manifest.examples_from,
            incremental: base.is_some(),
            n_days_read: days_of(&open),
            seconds: std::mem::take(&mut self.seconds),
        }))
    }
}

/// The first received day after `after` on which a table has a row.
fn first_day(rows: &BTreeMap<(Table, Day), u64>, table: Table, after: Day) -> Option<Day> {
    rows.iter().find(|((t, day), n)| *t == table && *day > after && **n > 0).map(|((_, day), _)| *day)
}

/// Received days among the parts.
fn days_of(parts: &[PartInfo]) -> u64 {
    parts.iter().filter_map(|p| p.day).collect::<BTreeSet<_>>().len() as u64
}

/// The current snapshot, if this log continues it.
fn current(home: &Path, spread: &[PartInfo]) -> Option<Base> {
    let snapshots = home.join("snapshots");
    let id = std::fs::read_to_string(snapshots.join("current")).ok()?;
    let is_id = |b: u8| b.is_ascii_alphanumeric();
    if !id.trim().bytes().all(is_id) {
        return None;
    }
    Base::open(&snapshots.join(id.trim()), spread)
}

/// Hash of what was read: parts never change, so their names and sizes are enough.
fn input_hash(parts: &[PartInfo]) -> String {
    let mut hash = Xxh3::new();
    for part in parts {
        let day = part.day.map_or("-".to_owned(), Day::to_iso);
        hash.update(format!("{}\t{day}\t{}\t{}\n", part.table, part.name, part.n_bytes).as_bytes());
    }
    format!("{:032x}", hash.digest128())
}

fn versions() -> BTreeMap<String, u16> {
    let mut out: BTreeMap<String, u16> =
        FoldStates::versions().into_iter().map(|(name, v)| (name.to_owned(), v)).collect();
    out.insert("enrich".to_owned(), Enricher::VERSION);
    out.insert(ItemStatistics::NAME.to_owned(), ItemStatistics::VERSION);
    out.insert(MarketPlays::NAME.to_owned(), MarketPlays::VERSION);
    out
}

fn names(rejects: &Rejects) -> BTreeMap<String, u64> {
    rejects.iter().map(|(reason, &n)| (reason.as_str().to_owned(), n)).collect()
}

/// The schema of the training rows, and for each source's number its index there.
fn sources(scan: &Scan, configured: &[String], base: Option<&Base>) -> (FeatureSchema, Vec<u32>) {
    let met = scan.sources.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found: Vec<String> = (0..met.len() as u32).map(|n| met.text(n).to_owned()).collect();
    let known = base.map(|b| b.meta.feature_names.as_slice()).unwrap_or_default();
    found.extend(
        known
            .iter()
            .filter_map(|name| Some(name.strip_prefix("source.")?.strip_suffix(".score")?.to_owned())),
    );
    found.sort_unstable();
    found.dedup();
    let schema = FeatureSchema::new(if configured.is_empty() { &found } else { configured });
    let source_of = (0..met.len() as u32)
        .map(|n| schema.source_idx(met.text(n)).map_or(record::NONE, |i| i as u32))
        .collect();
    (schema, source_of)
}
