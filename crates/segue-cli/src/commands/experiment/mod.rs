//! `segue experiment`: run experiments on the server. One file per step.

mod live;

use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};

use crate::Global;

/// Start, ramp, stop and list experiments.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue experiment start quieter-home.toml
  segue experiment ramp quieter-home 0.5
  segue experiment stop quieter-home
  segue experiment list")]
pub(crate) struct Args {
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    Start(live::StartArgs),
    Ramp(live::RampArgs),
    Stop(live::StopArgs),
    List(live::ListArgs),
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    match &args.step {
        Step::Start(args) => live::start(args, global),
        Step::Ramp(args) => live::ramp(args, global),
        Step::Stop(args) => live::stop(args, global),
        Step::List(args) => live::list(args, global),
    }
}
