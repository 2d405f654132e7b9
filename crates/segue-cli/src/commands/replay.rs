//! `segue replay`: recompose a slate from its record.

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use segue_engine::Engine;

use crate::Global;
use crate::config::Config;
use crate::output::{self, Format};

/// Recompose a slate from its record and compare it with what was served.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue replay 0b7c5f2e-…
  segue replay 0b7c5f2e-… --recompute     run the stages again and print what differs

The server that owns the home folder must be stopped; a running one replays through
POST /v1/slates/{id}/replay.")]
pub(crate) struct Args {
    /// Id of the request, which is the id of its slate
    request_id: String,
    /// Run the stages again instead of recomposing from the record
    #[arg(long)]
    recompute: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let config = Config::load(&global.home)?;
    let engine = Engine::open(&global.home, config.engine(), super::machine_now())?;
    let answer = engine.replay(&args.request_id, args.recompute)?;
    engine.shutdown()?;
    let Some(answer) = answer else {
        bail!(
            "no slate `{}` in {}\nhint: `segue sql 'SELECT slate_id FROM slates LIMIT 10'` lists some",
            args.request_id,
            global.home.display()
        );
    };
    match global.format() {
        Format::Json => output::json(&answer)?,
        Format::People if answer.is_identical => {
            output::line(&format!("slate {}: identical", answer.slate_id))
        }
        Format::People => answer.differences.iter().for_each(|d| output::line(d)),
    }
    if !answer.is_identical && !args.recompute {
        bail!("slate `{}` does not recompose to what was served", answer.slate_id);
    }
    Ok(())
}
