//! `segue dev`: what the repository needs of its own program.

use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};

use crate::config::Config;
use crate::{output, reference};

/// For developers of Segue: generated pages.
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
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match args.what {
        What::Reference => {
            let defaults = serde_json::to_value(Config::default())?;
            output::line(reference::page::<Config>(INTRO, &defaults).trim_end());
        }
        What::Openapi => output::line(&segue_serve::openapi_json()),
    }
    Ok(())
}

const INTRO: &str = "\
# Configuration

`segue.toml` in the home folder. Every field has a default; unknown fields are refused.
This page is generated from the types: `cargo xtask generate`.
";
