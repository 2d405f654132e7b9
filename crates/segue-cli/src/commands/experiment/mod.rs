//! `segue experiment`: design experiments, run them on the server, analyse and report them.

mod live;
mod offline;
mod page;
mod read;
mod text;

use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};

use crate::Global;

/// Design, start, ramp, stop, list, analyse and report experiments.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue experiment metrics                               the metric catalogue, to copy from
  segue experiment design quieter-home.toml --looks 14
  segue experiment start quieter-home.toml
  segue experiment ramp quieter-home 0.5
  segue experiment stop quieter-home
  segue experiment list
  segue experiment analyze quieter-home
  segue experiment report quieter-home")]
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
    Metrics(offline::MetricsArgs),
    Design(offline::DesignArgs),
    Analyze(offline::AnalyzeArgs),
    Report(offline::ReportArgs),
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    match &args.step {
        Step::Start(args) => live::start(args, global),
        Step::Ramp(args) => live::ramp(args, global),
        Step::Stop(args) => live::stop(args, global),
        Step::List(args) => live::list(args, global),
        Step::Metrics(args) => {
            offline::metrics(args);
            Ok(())
        }
        Step::Design(args) => offline::print_design(args, global),
        Step::Analyze(args) => offline::analyze_data(args, global),
        Step::Report(args) => offline::report(args, global),
    }
}
