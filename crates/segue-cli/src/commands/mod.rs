//! The subcommands, one file each. A new one is a file and a line in each list below.

mod demo;
mod dev;
mod doctor;
mod embeddings;
mod evaluate;
mod experiment;
mod import;
mod model;
mod ope;
mod prepare;
mod replay;
mod serve;
mod sim;
mod sql;
mod train;
mod tune;

use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Subcommand;
use segue_data::Snapshot;
use segue_types::TimestampMs;

use crate::Global;

/// What `segue` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Args),
    Import(import::Args),
    Prepare(prepare::Args),
    Train(train::Args),
    Model(model::Args),
    Tune(tune::Args),
    Evaluate(evaluate::Args),
    Experiment(experiment::Args),
    Serve(serve::Args),
    Sim(sim::Args),
    Sql(sql::Args),
    Replay(replay::Args),
    Ope(ope::Args),
    Doctor(doctor::Args),
    Dev(dev::Args),
}

pub(crate) fn run(command: Command, global: &Global) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args, global),
        Command::Import(args) => import::run(&args, global),
        Command::Prepare(args) => prepare::run(&args, global),
        Command::Train(args) => train::run(&args, global),
        Command::Model(args) => model::run(&args, global),
        Command::Tune(args) => tune::run(&args, global),
        Command::Evaluate(args) => evaluate::run(&args, global),
        Command::Experiment(args) => experiment::run(&args, global),
        Command::Serve(args) => serve::run(&args, global),
        Command::Sim(args) => sim::run(&args, global),
        Command::Sql(args) => sql::run(&args, global),
        Command::Replay(args) => replay::run(&args, global),
        Command::Ope(args) => ope::run(&args, global),
        Command::Doctor(args) => doctor::run(&args, global),
        Command::Dev(args) => dev::run(&args, global),
    }
}

/// The machine's time. Only the outermost layer reads it.
pub(crate) fn machine_now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The moment after the last event of the current snapshot, if there is a dated one.
pub(crate) fn data_end(home: &Path) -> Option<TimestampMs> {
    let (_, last) = Snapshot::open_current(home).ok()?.time_range()?;
    Some(last.plus_ms(1))
}

/// Writes a file so that a reader sees all of it or nothing.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!(".{name}.tmp"));
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| path.display().to_string())
}
