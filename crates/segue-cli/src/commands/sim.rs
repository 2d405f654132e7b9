//! `segue sim`: a listening world into the log, or its listeners against a server.

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use segue_data::log::{LogError, LogWriter, WriterOptions};
use segue_data::progress::Progress;
use segue_sim::client::{SessionsConfig, run_sessions};
use segue_sim::{EventBatch, World, WorldConfig, WorldSink, WorldSummary};
use segue_types::{Day, Item, TimestampMs, User};

use crate::Global;
use crate::config::Config;
use crate::measure::count_for_people;
use crate::output::{self, Format};
use crate::progress::Bar;

/// Make a listening world whose truth is known, or let its listeners use a server.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue sim --users 50000 --items 100000 --days 60       a world into the log
  segue sim --marginals                                  how real it is, beside published figures
  segue sim --server http://127.0.0.1:8000 --listeners 500 --for-days 7 --json

The world is the same for the same seed and size. With --server, the server must run with
--client-clock, and the sizes must be those its log was made with.")]
pub(crate) struct Args {
    /// Listeners of the world
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    users: u32,
    /// Tracks of the world
    #[arg(long, value_name = "N", default_value_t = 8_000)]
    items: u32,
    /// Days of its log
    #[arg(long, value_name = "N", default_value_t = 45)]
    days: u32,
    /// Seed of everything
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Let listeners use this server instead of writing a log
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// With --server: how many listeners
    #[arg(long, value_name = "N", default_value_t = 200)]
    listeners: u32,
    /// With --server: first day; the day after the log where absent
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = super::prepare::parse_day)]
    from: Option<Day>,
    /// With --server: days to live
    #[arg(long, value_name = "N", default_value_t = 7)]
    for_days: u32,
    /// With --server: seed of plans and luck
    #[arg(long, default_value_t = 1)]
    luck: u64,
    /// Print the reference world's figures beside published ones (docs/world.md)
    #[arg(long, conflicts_with = "server")]
    marginals: bool,
    /// With --server: name of this run, part of request and event ids
    #[arg(long, default_value = "r1")]
    run: String,
}

impl Args {
    fn world(&self) -> WorldConfig {
        WorldConfig {
            seed: self.seed,
            n_users: self.users,
            n_items: self.items,
            n_days: self.days,
            ..WorldConfig::default()
        }
    }
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    if args.marginals {
        return marginals(args.seed, global);
    }
    let world = World::new(args.world())?;
    let Some(url) = &args.server else {
        Config::write_first(&global.home)?;
        let summary = write_world(&world, global)?;
        return match global.format() {
            Format::Json => output::json(&summary),
            Format::People => {
                print(&summary);
                Ok(())
            }
        };
    };
    if crate::store::is_https(url) {
        bail!("--server is `{url}`; simulated listeners speak plain HTTP, as in http://127.0.0.1:8080");
    }
    let config = SessionsConfig {
        n_users: args.listeners,
        from: args.from.unwrap_or_else(|| world.config().end_day()),
        n_days: args.for_days,
        seed: args.luck,
        run: args.run.clone(),
        n_threads: global.n_threads(),
        ..SessionsConfig::default()
    };
    let report = run_sessions(&world, url, &config).with_context(|| format!("listeners of {url}"))?;
    match global.format() {
        Format::Json => output::json(&report),
        Format::People => {
            let counts = serde_json::to_value(report.counts)?;
            let rows: Vec<Vec<String>> = counts
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, n)| vec![name.replace('_', " "), count_for_people(n.as_u64().unwrap_or(0))])
                .collect();
            output::table(&["count", ""], &rows);
            if let Some(utility) = report.utility_per_session() {
                let n = count_for_people(report.sessions.len() as u64);
                output::line(&format!("true utility per session: {utility:.3} minutes over {n} sessions"));
            }
            Ok(())
        }
    }
}

/// Generates the world into the log of the home folder.
pub(crate) fn write_world(world: &World, global: &Global) -> Result<WorldSummary> {
    let bar = Bar::new(global.quiet);
    bar.begin("making a world", Some(u64::from(world.config().n_users)), "listeners");
    let id = format!(
        "sim-{}-{}-{}-{}",
        world.config().seed,
        world.config().n_users,
        world.config().n_items,
        world.config().n_days
    );
    let writer = LogWriter::new(&global.home, "sim", WriterOptions::default())?;
    let mut sink = LogSink { writer, bar: &bar, n_done: 0 };
    let summary = world.generate(&mut sink)?;
    // A world made twice replaces itself: same id, same rows.
    sink.writer.finish(end_of(world), &id, true)?;
    bar.end();
    Ok(summary)
}

/// The first moment after the world's log.
pub(crate) fn end_of(world: &World) -> TimestampMs {
    world.config().end_day().start()
}

pub(crate) fn print(summary: &WorldSummary) {
    output::line(&format!(
        "{} listeners, {} tracks, {} plays, {} explicit acts, {} impressions",
        count_for_people(summary.n_users),
        count_for_people(summary.n_items),
        count_for_people(summary.n_plays),
        count_for_people(summary.n_feedback),
        count_for_people(summary.n_impressions),
    ));
}

struct LogSink<'a> {
    writer: LogWriter,
    bar: &'a Bar,
    n_done: u32,
}

impl WorldSink for LogSink<'_> {
    type Error = LogError;

    fn items(&mut self, items: Vec<Item>) -> Result<(), LogError> {
        self.writer.write(&items)
    }

    fn users(&mut self, users: Vec<User>) -> Result<(), LogError> {
        self.writer.write(&users)
    }

    fn events(&mut self, batch: EventBatch) -> Result<(), LogError> {
        self.writer.write(&batch.plays)?;
        self.writer.write(&batch.feedback)?;
        self.writer.write(&batch.impressions)
    }

    fn progress(&mut self, n_done: u32, _n_users: u32) {
        self.bar.advance(u64::from(n_done.saturating_sub(self.n_done)));
        self.n_done = n_done;
    }
}

/// The page `docs/world.md`.
fn marginals(seed: u64, global: &Global) -> Result<()> {
    let reference = WorldConfig::reference(seed);
    match global.format() {
        Format::Json => output::json(&segue_sim::marginals::marginals(&World::new(reference)?)),
        Format::People => {
            let page = segue_sim::page::page("segue sim --marginals", &reference, &WorldConfig::demo(seed))?;
            output::line(page.trim_end());
            Ok(())
        }
    }
}
