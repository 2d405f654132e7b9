//! `segue import`: files into the event log.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use segue_data::import::{ImportReport, ImportRequest, Mapping, import};

use crate::Global;
use crate::config::Config;
use crate::measure::count_for_people;
use crate::output::{self, Format};
use crate::progress::Bar;

/// Read files into the event log.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue import my_spotify_data.zip                       your Spotify extended streaming history
  segue import listenbrainz_ada.zip                      a ListenBrainz export
  segue import plays.parquet items.csv.gz --dry-run      what would happen
  segue import ratings/ --mapping examples/ml-100k       with a column mapping

Every table of docs/tables.md can be imported: plays, feedback, slates, candidates, impressions,
items, users, profiles.")]
pub(crate) struct Args {
    /// Files, folders or zip archives
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Column mapping in TOML, or a folder with a mapping.toml; inferred where absent
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Show the mapping, ten parsed rows and the rejects; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Id of the listener, for exports that name none
    #[arg(long, value_name = "ID", default_value = "me")]
    listener: String,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let report = read(&args.paths, args.mapping.as_deref(), &args.listener, args.dry_run, global)?;
    match global.format() {
        Format::Json => output::json(&report),
        Format::People => {
            print(&report);
            Ok(())
        }
    }
}

/// Imports with progress bars; a first import makes the home.
pub(crate) fn read(
    paths: &[PathBuf],
    mapping: Option<&Path>,
    listener: &str,
    dry_run: bool,
    global: &Global,
) -> Result<ImportReport> {
    let config = Config::load(&global.home)?;
    let request = ImportRequest {
        mapping: mapping.map(load_mapping).transpose()?,
        listener: listener.to_owned(),
        max_reject_share: config.import.max_reject_share,
        dry_run,
        ..ImportRequest::new(paths.to_vec(), &global.home, super::machine_now())
    };
    if !dry_run {
        Config::write_first(&global.home)?;
    }
    Ok(import(&request, &Bar::new(global.quiet))?)
}

fn load_mapping(path: &Path) -> Result<Mapping> {
    let file = if path.is_dir() { path.join("mapping.toml") } else { path.to_owned() };
    if !file.is_file() {
        bail!(
            "no mapping {}\nhint: `segue import … --dry-run` prints an inferred one to start from",
            file.display()
        );
    }
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Mapping::parse(&text).with_context(|| file.display().to_string())
}

/// What came of it, for people.
pub(crate) fn print(report: &ImportReport) {
    if report.dry_run {
        let origin = if report.is_inferred { "inferred" } else { "given" };
        output::line(&format!("# mapping ({origin})\n{}", report.mapping));
        for row in &report.parsed {
            output::line(&format!("{} {}", row.table.as_str(), row.row));
        }
    }
    let rows: Vec<Vec<String>> = report
        .tables
        .iter()
        .map(|(table, t)| {
            let count = |n: u64| if n == 0 { String::new() } else { count_for_people(n) };
            vec![
                table.as_str().to_owned(),
                count_for_people(t.n_accepted),
                count(t.n_rejected),
                count(t.n_repeated),
                count(t.n_left_out),
            ]
        })
        .collect();
    output::table(&["table", "rows taken", "rejected", "repeated", "left out"], &rows);
    for (reason, n) in &report.rejects_by_reason {
        output::line(&format!("rejected: {} ({reason})", count_for_people(*n)));
    }
    for sample in &report.reject_samples {
        output::line(&format!("  {} row {}: {}", sample.file, sample.row, sample.message));
    }
    if let Some(file) = &report.rejects_file {
        output::line(&format!("all rejected rows are in {}", file.display()));
    }
    if report.dry_run {
        output::line("nothing was written");
    }
}
