//! `segue experiment start | ramp | stop | list`: what the server runs, changed without a restart.
//!
//! The truth is the home's `experiments/NAME.toml`. Each step checks the change against the
//! configuration and the experiments that run, writes the file whole, and asks a running server to
//! read it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use segue_engine::experiments::{ExperimentFile, Experiments, FOLDER, RampStep, read_folder};
use segue_types::TimestampMs;
use segue_types::api::{ExperimentStatus, ExperimentsResponse};
use serde::Serialize;

use crate::Global;
use crate::commands::{machine_now, write_whole};
use crate::config::Config;
use crate::output::{self, Format};

/// Start an experiment on the server.
///
/// FILE has an `[experiment]` table (docs/experiments.md). It is checked against the configuration
/// and the experiments that run, and kept in the home's `experiments/`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: segue experiment start quieter-home.toml")]
pub(crate) struct StartArgs {
    /// TOML file of the experiment
    file: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// Admit more of the eligible listeners; those who are in stay in their arm.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: segue experiment ramp quieter-home 0.5")]
pub(crate) struct RampArgs {
    /// Name of the experiment
    name: String,
    /// Share admitted from now on, in [0, 1]; at least the share admitted today
    ramp: f64,
    #[command(flatten)]
    server: ServerArgs,
}

/// Stop an experiment: nobody is assigned any more, and everybody gets the server's own pages.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Example: segue experiment stop quieter-home

A stopped experiment keeps its room in its exclusion groups, so that the others there keep their
listeners, until its file is taken out of the home's experiments/.")]
pub(crate) struct StopArgs {
    /// Name of the experiment
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// List the experiments of a home: running, stopped and refused.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: segue experiment list --json")]
pub(crate) struct ListArgs {}

#[derive(Debug, ClapArgs)]
struct ServerArgs {
    /// Server to tell; `server.listen` of segue.toml where absent
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// What a step did.
#[derive(Debug, Serialize)]
struct Done {
    experiment: String,
    file: String,
    ramp: f64,
    /// Whether a running server took it.
    server_took_it: bool,
    /// What the server said, or why nobody was told.
    server: String,
}

pub(crate) fn start(args: &StartArgs, global: &Global) -> Result<()> {
    let text = std::fs::read_to_string(&args.file).with_context(|| args.file.display().to_string())?;
    let mut file = parse(&text, &args.file)?;
    if file.life.started_at.is_some() {
        bail!("{}: it has a `[life]` table: it was started before", args.file.display());
    }
    let target = path_of(&global.home, &file.experiment.name);
    if target.exists() {
        bail!(
            "experiment `{}` is there already: {}\nhint: `segue experiment ramp {0} SHARE` admits more listeners; a new trial needs a new name, which is its salt",
            file.experiment.name,
            target.display()
        );
    }
    let now = machine_now();
    file.life.started_at = Some(now);
    file.life.ramps = vec![RampStep { at: now, ramp: file.experiment.ramp }];
    keep(&file, &args.server, global, "running")
}

pub(crate) fn ramp(args: &RampArgs, global: &Global) -> Result<()> {
    change(&args.name, &args.server, global, "running", |file, now| file.set_ramp(args.ramp, now))
}

pub(crate) fn stop(args: &StopArgs, global: &Global) -> Result<()> {
    change(&args.name, &args.server, global, "stopped", ExperimentFile::stop)
}

pub(crate) fn list(_: &ListArgs, global: &Global) -> Result<()> {
    let config = Config::load(&global.home)?.engine();
    let (files, notes) = read_folder(&global.home);
    let listed = Experiments::solve(&config, &files).status(&global.home, |_| String::new());
    match global.format() {
        Format::Json => output::json(&ExperimentsResponse { experiments: listed })?,
        Format::People if listed.is_empty() => {
            output::line("no experiments\nhint: `segue experiment start FILE` begins one")
        }
        Format::People => {
            let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
            output::table(&["experiment", "status", "unit", "ramp", "arms", "surfaces", "detail"], &rows);
        }
    }
    if !global.quiet {
        notes.iter().for_each(|note| output::say(note));
    }
    Ok(())
}

fn row(e: &ExperimentStatus) -> Vec<String> {
    let arms: Vec<String> = e.arms.iter().map(|a| format!("{} {:.0} %", a.name, 100.0 * a.share)).collect();
    let surfaces: Vec<&str> = e.surfaces.iter().map(|s| s.as_str()).collect();
    vec![
        e.name.clone(),
        e.status.clone(),
        e.unit.clone(),
        format!("{:.1} %", 100.0 * e.ramp),
        arms.join(", "),
        surfaces.join(", "),
        e.detail.clone().unwrap_or_default(),
    ]
}

fn parse(text: &str, path: &Path) -> Result<ExperimentFile> {
    ExperimentFile::parse(text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}

fn path_of(home: &Path, name: &str) -> PathBuf {
    home.join(FOLDER).join(format!("{name}.toml"))
}

fn change(
    name: &str,
    server: &ServerArgs,
    global: &Global,
    status: &str,
    change: impl FnOnce(&mut ExperimentFile, TimestampMs) -> Result<(), String>,
) -> Result<()> {
    let (files, _) = read_folder(&global.home);
    let Some(mut file) = files.iter().find(|file| file.experiment.name == name).cloned() else {
        let known: Vec<&str> = files.iter().map(|file| file.experiment.name.as_str()).collect();
        bail!(
            "no experiment `{name}` in {}; there are: {}\nhint: one of segue.toml is changed there",
            global.home.join(FOLDER).display(),
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        );
    };
    change(&mut file, machine_now()).map_err(anyhow::Error::msg)?;
    keep(&file, server, global, status)
}

/// Checks the file among the others, writes it, and tells the server.
fn keep(file: &ExperimentFile, server: &ServerArgs, global: &Global, status: &str) -> Result<()> {
    let config = Config::load(&global.home)?;
    let name = &file.experiment.name;
    let (mut files, _) = read_folder(&global.home);
    files.retain(|other| other.experiment.name != *name);
    files.push(file.clone());
    files.sort_by_key(|f| (f.life.started_at, f.experiment.name.clone()));
    let solved = Experiments::solve(&config.engine(), &files).status(&global.home, |_| String::new());
    if let Some(detail) = solved.iter().find(|e| e.name == *name).and_then(|e| e.detail.as_ref()) {
        bail!("experiment `{name}` cannot run: {detail}");
    }
    let path = path_of(&global.home, name);
    let text = toml::to_string(file).context("the experiment as TOML")?;
    write_whole(&path, text.as_bytes())?;
    let url = server.server.clone().unwrap_or_else(|| format!("http://{}", config.server.listen));
    let (server_took_it, said) = match tell(&url, name, status, file.experiment.ramp) {
        Ok(()) => (true, format!("{url}: {status}")),
        Err(why) => (false, why),
    };
    let done = Done {
        experiment: name.clone(),
        file: path.display().to_string(),
        ramp: file.experiment.ramp,
        server_took_it,
        server: said,
    };
    match global.format() {
        Format::Json => output::json(&done)?,
        Format::People => {
            output::line(&format!("experiment `{name}`: {status}, ramp {:.1} %", 100.0 * done.ramp));
            output::line(&format!("file    {}", done.file));
            output::line(&format!("server  {}", done.server));
        }
    }
    if server.server.is_some() && !server_took_it {
        bail!("the server was named and did not take it: {}", done.server);
    }
    Ok(())
}

/// Asks a server to read its folder again, and looks whether it runs what was written.
fn tell(url: &str, name: &str, status: &str, ramp: f64) -> Result<(), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(std::time::Duration::from_secs(30)))
        .tls_config(crate::store::tls().map_err(|e| format!("{e:#}"))?)
        .build()
        .into();
    let url = url.trim_end_matches('/');
    agent
        .post(format!("{url}/v1/reload"))
        .send_empty()
        .map_err(|e| format!("no server took it at {url} ({e}); it holds from the next start"))?;
    let listed: ExperimentsResponse = agent
        .get(format!("{url}/v1/experiments"))
        .call()
        .and_then(|mut answer| answer.body_mut().read_json())
        .map_err(|e| format!("{url}/v1/experiments: {e}"))?;
    match listed.experiments.iter().find(|e| e.name == name) {
        Some(e) if e.status == status && e.ramp == ramp => Ok(()),
        Some(e) => Err(format!(
            "{url} says: {}, ramp {}{}",
            e.status,
            e.ramp,
            e.detail.as_ref().map_or_else(String::new, |d| format!(" ({d})"))
        )),
        None => Err(format!("the server at {url} knows no experiment `{name}`: it serves another home")),
    }
}
