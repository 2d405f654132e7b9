//! A plain world of plays and a stopwatch for `prepare`, used by `benches/prepare_vs_duckdb`.
//!
//! ```text
//! prepare_bench generate HOME N_USERS N_ITEMS N_DAYS   # about 6.7 plays per user and day
//! prepare_bench prepare HOME N_THREADS                 # prints the report as JSON
//! prepare_bench read HOME                              # opens the snapshot and reads all plays
//! prepare_bench dump HOME OUT                          # the snapshot's tables as Parquet, for comparison
//! ```
//!
//! Everything follows from a fixed seed. Of the plays 1 % are sent twice, .5 % arrive a day late
//! and .1 % are longer than a day, which no rule allows.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use parquet::arrow::ArrowWriter;
use segue_data::log::{LogWriter, WriterOptions};
use segue_data::progress::NoProgress;
use segue_data::{PrepareConfig, Sequence, Snapshot, prepare};
use segue_types::{DAY_MS, Day, EndReason, Item, Play, StartReason, TimestampMs, User};

type Error = Box<dyn std::error::Error>;

/// 2023-11-14T00:00:00Z.
const START: i64 = 1_699_920_000_000;

/// splitmix64 (Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|a| a.parse::<u64>().ok()).ok_or("a number is missing");
    let home = Path::new(args.get(1).ok_or("usage: prepare_bench generate|prepare|read|dump HOME …")?);
    match args[0].as_str() {
        "generate" => generate(home, number(2)?, number(3)?, number(4)?),
        "prepare" => {
            let config = PrepareConfig { n_threads: number(2)? as usize, ..PrepareConfig::default() };
            let now = TimestampMs(START + 400 * DAY_MS);
            let report = prepare(home, &config, now, &NoProgress)?;
            serde_json::to_writer(std::io::stdout().lock(), &report)?;
            Ok(())
        }
        "read" => read(home),
        "dump" => dump(home, Path::new(args.get(2).ok_or("OUT is missing")?)),
        other => Err(format!("`{other}` is not one of generate, prepare, read, dump").into()),
    }
}

fn generate(home: &Path, n_users: u64, n_items: u64, n_days: u64) -> Result<(), Error> {
    let duration = |item: u64| 120_000 + (Random(item).below(180_000) as i64);
    let mut random = Random(7);
    for day in 0..n_days {
        let mut writer = LogWriter::new(home, "bench", WriterOptions::default())?;
        if day == 0 {
            for i in 0..n_items {
                writer.write_one(&Item {
                    artist_ids: vec![format!("artist{}", i % (n_items / 10).max(1))],
                    tags: vec![format!("tag{}", i % 40)],
                    duration_ms: Some(duration(i)),
                    ..Item::new(&format!("item{i}"))
                })?;
            }
            for u in 0..n_users {
                let market = Some(["SE", "DE", "US", "BR"][(u % 4) as usize].to_owned());
                writer.write_one(&User { user_id: format!("user{u}"), market, ..User::default() })?;
            }
        }
        for user in 0..n_users {
            if random.below(100) >= 37 {
                continue;
            }
            let mut at = START + day as i64 * DAY_MS + random.below(80_000_000) as i64;
            for n in 0..18 {
                let item = if random.below(2) == 0 {
                    Random(user * 64 + random.below(50)).below(n_items)
                } else {
                    (random.unit().powi(3) * n_items as f64) as u64
                };
                let full = duration(item);
                let listened = if random.below(3) == 0 { random.below(30_000) as i64 } else { full };
                let late = if random.below(200) == 0 { DAY_MS } else { 0 };
                let end = if listened < full { EndReason::Next } else { EndReason::TrackDone };
                let play = Play {
                    ended_at: Some(TimestampMs(at + listened)),
                    received_at: Some(TimestampMs(at + listened + 500 + late)),
                    listened_ms: Some(if random.below(1_000) == 0 { 2 * DAY_MS } else { listened }),
                    duration_ms: Some(full),
                    start_reason: Some(if n == 0 { StartReason::Click } else { StartReason::TrackDone }),
                    end_reason: Some(end),
                    ..Play::new(
                        &format!("e{day}-{user}-{n}"),
                        &format!("user{user}"),
                        &format!("item{item}"),
                        TimestampMs(at),
                    )
                };
                writer.write_one(&play)?;
                if random.below(100) == 0 {
                    let received_at = play.received_at.map(|t| t.plus_ms(60_000));
                    writer.write_one(&Play { received_at, ..play })?;
                }
                at += listened + 1_000;
                // Now and then the session breaks.
                if random.below(25) == 0 {
                    at += 45 * 60_000;
                }
            }
        }
        writer.finish(TimestampMs(START + day as i64 * DAY_MS), &format!("day{day}"), false)?;
    }
    Ok(())
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) -> Result<(), Error> {
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// What a model does before it learns: seconds to open the snapshot, to gather when plays were
/// known and began, and to look at every play.
fn read(home: &Path) -> Result<(), Error> {
    let start = Instant::now();
    let snapshot = Snapshot::open_current(home)?;
    let opened = start.elapsed();
    let plays = snapshot.sequences();
    let gathered = start.elapsed();
    let sum = |s: Sequence<'_>| -> i64 {
        let moments = s.known_at.iter().zip(s.occurred_at).map(|(known, occurred)| known - occurred);
        s.item.iter().zip(moments).map(|(&item, late)| i64::from(item) + late).sum()
    };
    let sum: i64 = plays.iter().map(sum).fold(0, i64::wrapping_add);
    let read = start.elapsed();
    let seconds = [opened, gathered - opened, read - gathered].map(|d| d.as_secs_f64());
    let out = serde_json::json!({ "plays": plays.n_plays(), "sum": sum, "seconds": seconds });
    serde_json::to_writer(std::io::stdout().lock(), &out)?;
    Ok(())
}

/// External ids instead of rows, so that another engine's result can be joined.
fn dump(home: &Path, out: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(out)?;
    let snapshot = Snapshot::open_current(home)?;
    let ids: Vec<&str> = snapshot.items().iter().map(|i| i.item_id.as_str()).collect();
    let text = |rows: &[u32]| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|&r| ids[r as usize])))
    };
    let sequences = snapshot.sequences();
    let mut users: Vec<&str> = Vec::with_capacity(sequences.n_plays());
    let mut places: Vec<u32> = Vec::with_capacity(sequences.n_plays());
    for (row, s) in sequences.iter().enumerate() {
        users.extend(std::iter::repeat_n(snapshot.users()[row].user_id.as_str(), s.len()));
        places.extend(1..=s.len() as u32);
    }
    write(
        &out.join("plays.parquet"),
        vec![
            ("user_id", Arc::new(StringArray::from_iter_values(users))),
            ("n", Arc::new(UInt32Array::from(places))),
            ("item_id", text(sequences.item)),
            ("known_at", Arc::new(Int64Array::from(sequences.known_at.to_vec()))),
            ("occurred_at", Arc::new(Int64Array::from(sequences.occurred_at.to_vec()))),
            ("session", Arc::new(UInt32Array::from(sequences.session.to_vec()))),
        ],
    )?;
    let (mut a, mut b, mut n) = (Vec::new(), Vec::new(), Vec::new());
    for item in 0..snapshot.n_items() {
        for c in snapshot.co_listens(item) {
            a.push(item);
            b.push(c.item);
            n.push(c.count);
        }
    }
    write(
        &out.join("co_listens.parquet"),
        vec![("a", text(&a)), ("b", text(&b)), ("n", Arc::new(UInt32Array::from(n)))],
    )?;
    let through = (0..snapshot.n_items()).map(|item| (item, snapshot.co_listens_through(item)));
    let (item, day): (Vec<u32>, Vec<i64>) =
        through.filter_map(|(item, day)| Some((item, i64::from(day?.0)))).unzip();
    write(
        &out.join("co_listens_through.parquet"),
        vec![("item_id", text(&item)), ("day", Arc::new(Int64Array::from(day)))],
    )?;
    let (mut user, mut item, mut n) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..snapshot.n_users() {
        for i in snapshot.interactions(row) {
            user.push(snapshot.users()[row as usize].user_id.as_str());
            item.push(i.item);
            n.push(i.n_plays);
        }
    }
    write(
        &out.join("interactions.parquet"),
        vec![
            ("user_id", Arc::new(StringArray::from_iter_values(user))),
            ("item_id", text(&item)),
            ("plays", Arc::new(UInt32Array::from(n))),
        ],
    )?;
    item_stats(&snapshot, &ids, &out.join("item_stats.parquet"))?;
    requests(&snapshot, &ids, &out.join("requests.parquet"))
}

/// The counts of each item on each day with plays.
fn item_stats(snapshot: &Snapshot, ids: &[&str], path: &Path) -> Result<(), Error> {
    let names = ["plays", "timed", "streams", "completions", "skips", "listeners"];
    let (mut item, mut days, mut counts) = (Vec::new(), Vec::new(), vec![Vec::new(); names.len()]);
    let (first, last) = snapshot.manifest().known_range.ok_or("there are no plays")?;
    for row in 0..snapshot.n_items() {
        let mut before = [0_i64; 6];
        for day in (first.day().0..=last.day().0).map(Day) {
            let Some(s) = snapshot.item_stats(row, day).filter(|s| s.day == day) else { continue };
            let sums = [s.plays, s.timed_plays, s.streams, s.completions, s.skips, s.listener_days];
            let sums = sums.map(i64::from);
            for (i, column) in counts.iter_mut().enumerate() {
                column.push(sums[i] - before[i]);
            }
            before = sums;
            item.push(ids[row as usize]);
            days.push(i64::from(day.0));
        }
    }
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("item_id", Arc::new(StringArray::from_iter_values(item))),
        ("day", Arc::new(Int64Array::from(days))),
    ];
    for (name, column) in names.into_iter().zip(counts) {
        columns.push((name, Arc::new(Int64Array::from(column))));
    }
    write(path, columns)
}

/// The training rows: who was asked about what and when, and those of their features that are
/// plain counts.
fn requests(snapshot: &Snapshot, ids: &[&str], path: &Path) -> Result<(), Error> {
    let rows = snapshot.examples()?;
    let users = rows.user.iter().map(|&u| snapshot.users()[u as usize].user_id.as_str());
    let items = rows.item.iter().map(|&i| ids[i as usize]);
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", Arc::new(StringArray::from_iter_values(users))),
        ("item_id", Arc::new(StringArray::from_iter_values(items))),
        ("requested_at", Arc::new(Int64Array::from(rows.requested_at.clone()))),
    ];
    for name in [
        "user.plays",
        "user_item.plays",
        "user_item.completions",
        "user_item.skips",
        "item.plays",
        "item.listener_days",
    ] {
        let at = rows.feature_names.iter().position(|n| n == name).ok_or("a feature is missing")?;
        let values = (0..rows.len()).map(|row| rows.features(row)[at] as i64);
        columns.push((name, Arc::new(Int64Array::from_iter_values(values))));
    }
    write(path, columns)
}
