//! Set-up, checks and generated files of the repository: `cargo xtask help`.
//!
//! `cargo xtask test` is the README's test command and all that CI runs. Every check also runs
//! alone: `cargo xtask lint`.
#![allow(clippy::print_stdout, reason = "a command that reports to the terminal")]

mod checks;
mod shell;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Name, what it shows, and the function that does it.
type Check = (&'static str, &'static str, fn() -> Result<()>);

/// The checks in order. Adding one is a function and a line here.
const CHECKS: &[Check] = &[
    ("format", "rustfmt leaves nothing to change", checks::format),
    ("lint", "clippy with warnings as errors, all targets", checks::lint),
    ("deny", "licences, duplicate heavy crates and sources of dependencies", checks::deny),
    (
        "unit",
        "unit, fold-text, property, snapshot, HTTP and documentation tests of every crate",
        checks::unit,
    ),
    ("generated", "generated pages are those in the tree", checks::generated),
    ("smoke", "`segue demo --smoke` on a small world, and on the real sets that are present", checks::smoke),
    ("browser", "one journey through the console in headless Chromium", checks::browser),
    ("torch", "the PyTorch twins compute what the Rust side computes, on one process and two", checks::torch),
];

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    match run(&names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(names: &[String]) -> Result<()> {
    match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            println!(
                "usage: cargo xtask COMMAND\n\n  test        every check below, in this order; what CI runs"
            );
            for (name, what, _) in CHECKS {
                println!("  {name:<10}  {what}");
            }
            println!("  generate    writes the generated pages anew");
            println!("\nexample: cargo xtask lint");
            println!(
                "\nSEGUE_DATA names the folder of public datasets (default ../shared/data); checks that need it skip without it."
            );
            println!(
                "SEGUE_TORCH_VENV names the environment of `torch` (default: in the target folder, 6 GB); SEGUE_WITHOUT_TORCH=1 skips it."
            );
            Ok(())
        }
        ["test"] => run_checks(&CHECKS.iter().collect::<Vec<_>>()),
        ["generate"] => checks::generate(),
        names => {
            let mut chosen = Vec::new();
            for name in names {
                match CHECKS.iter().find(|(n, ..)| n == name) {
                    Some(check) => chosen.push(check),
                    None => bail!("no command `{name}`; `cargo xtask help` lists them"),
                }
            }
            run_checks(&chosen)
        }
    }
}

/// Runs checks in order, goes on after a failure, and ends with the seconds of each, slowest first.
fn run_checks(chosen: &[&Check]) -> Result<()> {
    let mut results: Vec<(&str, Duration, Option<String>)> = Vec::new();
    for (name, what, check) in chosen {
        println!("\n== {name}: {what}");
        let began = Instant::now();
        let outcome = check();
        if let Err(error) = &outcome {
            println!("{name} failed: {error:#}");
        }
        results.push((name, began.elapsed(), outcome.err().map(|e| format!("{e:#}"))));
    }
    results.sort_by_key(|(_, took, _)| std::cmp::Reverse(*took));
    println!("\n== checks, slowest first");
    for (name, took, error) in &results {
        let verdict = error.as_deref().map_or_else(|| "ok".to_owned(), |e| format!("FAILED: {e}"));
        println!("{name:<10} {:>7.1} s  {verdict}", took.as_secs_f64());
    }
    let n_failed = results.iter().filter(|(_, _, e)| e.is_some()).count();
    println!("{} passed, {n_failed} failed", results.len() - n_failed);
    if n_failed > 0 {
        bail!("{n_failed} of {} checks failed", results.len());
    }
    Ok(())
}
