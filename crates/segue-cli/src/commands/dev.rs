//! `segue dev`: what the repository needs of its own program.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};

use crate::config::Config;
use crate::output::Format;
use crate::{AlreadyAnswered, Global, output, reference, vectors};

/// For developers of Segue: generated pages, published test vectors.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: segue dev reference > docs/configuration.md")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print docs/configuration.md
    Reference,
    /// Print the OpenAPI description
    Openapi,
    /// Run every case of every JSON file of a folder of test vectors
    #[command(after_help = "\
Example: segue dev vectors ../shared/data/experiment-vectors

One line per method, the last line `N passed, N failed`; the exit code is 1 if one failed.")]
    Vectors {
        /// Folder with one JSON file per method
        dir: PathBuf,
    },
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    match &args.what {
        What::Reference => {
            let defaults = serde_json::to_value(Config::default())?;
            output::line(reference::page::<Config>(INTRO, &defaults).trim_end());
        }
        What::Openapi => output::line(&segue_serve::openapi_json()),
        What::Vectors { dir } => return run_vectors(dir, global),
    }
    Ok(())
}

fn run_vectors(dir: &Path, global: &Global) -> Result<()> {
    let results = vectors::run(dir)?;
    let n_passed: usize = results.iter().map(|r| r.n_passed).sum();
    let n_failed: usize = results.iter().map(|r| r.failures.len()).sum();
    if global.format() == Format::Json {
        output::json(&serde_json::json!({ "methods": results, "n_passed": n_passed, "n_failed": n_failed }))?;
    } else {
        for result in &results {
            output::line(&format!(
                "{}: {} passed, {} failed",
                result.method,
                result.n_passed,
                result.failures.len()
            ));
            for failure in &result.failures {
                output::say(failure);
            }
        }
        output::line(&format!("{n_passed} passed, {n_failed} failed"));
    }
    if n_failed > 0 {
        return Err(AlreadyAnswered(format!("{n_failed} cases do not match")).into());
    }
    Ok(())
}

const INTRO: &str = "\
# Configuration

`segue.toml` in the home folder. Every field has a default; unknown fields are refused.
This page is generated from the types: `cargo xtask generate`.
";
