//! `segue prepare`: from the event log to a snapshot.

use std::path::Path;

use anyhow::Result;
use clap::Args as ClapArgs;
use segue_data::{PrepareConfig, PrepareReport, prepare};
use segue_engine::Engine;
use segue_types::Day;

use crate::Global;
use crate::config::Config;
use crate::measure::count_for_people;
use crate::output::{self, Format};
use crate::progress::Bar;

/// Build a snapshot from the event log.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue prepare
  segue prepare --until 2024-06-01    only what was known before that day (UTC)
  segue prepare --full                rebuild instead of continuing yesterday's snapshot")]
pub(crate) struct Args {
    /// Take only events known before this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    until: Option<Day>,
    /// Rebuild everything
    #[arg(long)]
    full: bool,
    /// Keep `snapshots/current` as it is
    #[arg(long)]
    no_publish: bool,
}

pub(crate) fn parse_day(text: &str) -> Result<Day, String> {
    Day::from_iso(text).ok_or_else(|| format!("`{text}` is not a date; write YYYY-MM-DD"))
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let settings = Config::load(&global.home)?;
    drain(&settings, global)?;
    let config = PrepareConfig {
        until: args.until.map(Day::start),
        full: args.full,
        publish: !args.no_publish,
        ..configured(&settings, global)
    };
    let report = build(&global.home, &config, global)?;
    match global.format() {
        Format::Json => output::json(&report),
        Format::People => {
            print(&report);
            Ok(())
        }
    }
}

/// The settings of `prepare` that follow from `segue.toml` and the command line.
pub(crate) fn configured(settings: &Config, global: &Global) -> PrepareConfig {
    PrepareConfig { n_threads: global.threads, sources: settings.source_names(), ..PrepareConfig::default() }
}

/// Moves what a stopped server holds into the log. A running one does so itself, now and then.
fn drain(settings: &Config, global: &Global) -> Result<()> {
    if !global.home.join("state").is_dir() {
        return Ok(());
    }
    match Engine::open(&global.home, settings.engine(), super::machine_now()) {
        Ok(engine) => {
            let (n_events, n_slates) = engine.drain()?;
            engine.shutdown()?;
            if n_events + n_slates > 0 {
                global.say(&format!(
                    "moved {n_events} events and {n_slates} slates of the server into the log"
                ));
            }
        }
        Err(error) => global.say(&format!("what the server holds is left where it is: {error}")),
    }
    Ok(())
}

/// Prepares with progress bars.
pub(crate) fn build(home: &Path, config: &PrepareConfig, global: &Global) -> Result<PrepareReport> {
    Ok(prepare(home, config, super::machine_now(), &Bar::new(global.quiet))?)
}

/// What came of it, for people.
pub(crate) fn print(report: &PrepareReport) {
    let rows: Vec<Vec<String>> =
        report.rows.iter().map(|(table, n)| vec![table.clone(), count_for_people(*n)]).collect();
    output::table(&["table", "rows"], &rows);
    for (reason, n) in report.rejects.iter().filter(|(_, n)| **n > 0) {
        output::line(&format!("left out: {} ({reason})", count_for_people(*n)));
    }
    let how = if report.incremental { "continued from an earlier snapshot" } else { "built in full" };
    output::line(&format!("snapshot {} ({how}, {} days read)", report.snapshot_id, report.n_days_read));
}
