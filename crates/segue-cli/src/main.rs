//! The `segue` command: one file per subcommand in `commands/`, one `segue.toml`, one home folder.
//!
//! Data goes to stdout (a table, or one JSON document with `--json`), everything else to stderr.
//! Exit codes: 0 done, 1 failed, 2 misused.

mod commands;
mod config;
mod measure;
mod ope;
mod output;
mod progress;
mod reference;
mod store;
mod vectors;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};

use crate::output::Format;

/// Home and Now Playing from a play log, on one machine.
#[derive(Debug, Parser)]
#[command(
    name = "segue",
    version,
    after_help = "\
Examples:
  segue demo                                  a made-up listening world, from log to page
  segue import my_spotify_data.zip            your own history
  segue prepare && segue train && segue serve

Every command explains itself: segue COMMAND --help"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: commands::Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
struct Global {
    /// Folder that holds everything: log, snapshots, artifacts, state, slates, segue.toml
    #[arg(long, global = true, value_name = "DIR", default_value = "segue-home")]
    home: PathBuf,
    /// Answer with one JSON document on stdout
    #[arg(long, global = true)]
    json: bool,
    /// No progress bars and no remarks on stderr
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Threads to use; 0 takes every core
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    threads: usize,
}

/// An error with its causes, each said once: many messages quote their cause already.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !message.contains(&cause) {
            if !message.is_empty() {
                message.push_str(": ");
            }
            message.push_str(&cause);
        }
    }
    message
}

/// A failure of a command that has printed its answer: with `--json` there is one document, not two.
#[derive(Debug)]
struct AlreadyAnswered(String);

impl std::fmt::Display for AlreadyAnswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AlreadyAnswered {}

impl Global {
    fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::People }
    }

    /// Threads after resolving 0.
    fn n_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n => n,
        }
    }

    /// A remark for people, unless they asked for quiet.
    fn say(&self, text: &str) {
        if !self.quiet {
            output::say(text);
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEGUE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr)
        .init();
    if cli.global.threads > 0 {
        // Fails only if the pool exists already, which nothing before this line starts.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(cli.global.threads).build_global();
    }
    match commands::run(cli.command, &cli.global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = message(&error);
            if cli.global.json && !error.is::<AlreadyAnswered>() {
                // The value is a map with text keys: it serialises.
                let _ = output::json(&serde_json::json!({ "error": message }));
            }
            output::say(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}
