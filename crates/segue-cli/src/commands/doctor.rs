//! `segue doctor`: checks a home and says what to do.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use segue_data::Snapshot;
use segue_data::log::{LogReader, Table};
use segue_models::{artifact, registry};
use serde::Serialize;

use crate::Global;
use crate::config::{self, Config};
use crate::measure::{bytes_for_people, count_for_people};
use crate::output::{self, Format};

/// Check the home folder and say what to do next.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example: segue doctor --home segue-home\n\nExits 1 if something is broken; what is merely not there yet is no failure."
)]
pub(crate) struct Args {}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Works.
    Good,
    /// Not there yet.
    Missing,
    /// Cannot work as it is.
    Broken,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    next_step: Option<String>,
}

fn good(check: &'static str, found: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Good, found: found.into(), next_step: None }
}

fn missing(check: &'static str, found: impl Into<String>, next_step: &str) -> Finding {
    Finding { check, verdict: Verdict::Missing, found: found.into(), next_step: Some(next_step.to_owned()) }
}

fn broken(check: &'static str, found: impl Into<String>, next_step: &str) -> Finding {
    Finding { check, verdict: Verdict::Broken, found: found.into(), next_step: Some(next_step.to_owned()) }
}

pub(crate) fn run(_args: &Args, global: &Global) -> Result<()> {
    let home = &global.home;
    let mut findings = vec![folder(home), settings(home), log(home), snapshot(home)];
    if let Ok(config) = Config::load(home) {
        findings.extend(models(home, &config));
    }
    findings.push(machine());
    match global.format() {
        Format::Json => output::json(&findings)?,
        Format::People => {
            let rows: Vec<Vec<String>> = findings
                .iter()
                .map(|f| {
                    let verdict = match f.verdict {
                        Verdict::Good => "good",
                        Verdict::Missing => "not yet",
                        Verdict::Broken => "BROKEN",
                    };
                    vec![
                        f.check.to_owned(),
                        verdict.to_owned(),
                        f.found.clone(),
                        f.next_step.clone().unwrap_or_default(),
                    ]
                })
                .collect();
            output::table(&["check", "", "found", "next step"], &rows);
        }
    }
    let n_broken = findings.iter().filter(|f| f.verdict == Verdict::Broken).count();
    if n_broken > 0 {
        bail!("{n_broken} checks found something broken");
    }
    Ok(())
}

fn folder(home: &Path) -> Finding {
    if !home.is_dir() {
        return missing(
            "home",
            format!("{} is not there", home.display()),
            "segue demo, or segue import FILE",
        );
    }
    let probe = home.join(".doctor");
    match std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => good("home", home.display().to_string()),
        Err(e) => broken("home", format!("{}: {e}", home.display()), "make the folder writable"),
    }
}

fn settings(home: &Path) -> Finding {
    match Config::load(home) {
        Ok(_) if home.join(config::FILE).exists() => good("segue.toml", "every setting is valid"),
        Ok(_) => good("segue.toml", "none: defaults"),
        Err(e) => {
            broken("segue.toml", format!("{e:#}"), "correct the setting; docs/configuration.md lists all")
        }
    }
}

fn log(home: &Path) -> Finding {
    let reader = LogReader::new(home);
    let count = |table| reader.n_rows(table, None).unwrap_or(0);
    let (plays, profiles) = (count(Table::Plays), count(Table::Profiles));
    if plays + profiles == 0 {
        return missing("log", "no plays and no profiles", "segue import FILE");
    }
    good(
        "log",
        format!(
            "{} plays, {} profile rows, {} items",
            count_for_people(plays),
            count_for_people(profiles),
            count_for_people(count(Table::Items))
        ),
    )
}

fn snapshot(home: &Path) -> Finding {
    if !home.join("snapshots/current").exists() {
        return missing("snapshot", "none", "segue prepare");
    }
    match Snapshot::open_current(home) {
        Ok(s) => good(
            "snapshot",
            format!(
                "{}: {} users, {} items",
                s.id(),
                count_for_people(u64::from(s.n_users())),
                count_for_people(u64::from(s.n_items()))
            ),
        ),
        Err(e) => broken("snapshot", e.to_string(), "segue prepare --full"),
    }
}

fn models(home: &Path, config: &Config) -> Vec<Finding> {
    let artifacts = home.join("artifacts");
    let names = config.model.keys().chain([&config.ranker.artifact]).filter(|n| !n.is_empty());
    names
        .map(|name| match artifact::current(&artifacts, name) {
            Ok(None) => missing("model", format!("`{name}` is not trained"), "segue train"),
            Ok(Some(folder)) => match artifact::load(&folder) {
                Ok(loaded) => {
                    let kind = &loaded.manifest.kind;
                    let is_known =
                        registry::recommender_kind(kind).is_ok() || *name == config.ranker.artifact;
                    if is_known {
                        good(
                            "model",
                            format!("`{name}` ({kind}), {} items", count_for_people(loaded.manifest.n_items)),
                        )
                    } else {
                        broken("model", format!("`{name}` is of the unknown kind `{kind}`"), "segue train")
                    }
                }
                Err(e) => broken("model", e.to_string(), "segue train"),
            },
            Err(e) => broken("model", e.to_string(), "segue train"),
        })
        .collect()
}

fn machine() -> Finding {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:").map(str::to_owned))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let memory =
        memory.map_or_else(String::new, |kib| format!(", {} of memory free", bytes_for_people(kib * 1024)));
    good("machine", format!("{threads} threads{memory}"))
}
