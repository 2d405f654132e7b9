//! `segue ope`: what another policy would have earned, from the log of the one that ran.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args as ClapArgs;
use segue_eval::off_policy::{Judgement, judge_table};

use crate::Global;
use crate::ope::{log_source, page, settings::OpeFile};
use crate::output::{self, Format};

/// What another policy would have earned, from the log of the one that ran.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue ope less_exploration.toml
  segue ope less_exploration.toml --json --html report.html

The file names a log and the target policies (docs/off-policy.md has all settings):

  [log]                       the home's own slates and plays; or [table] with a Parquet or CSV file
  surface = \"home\"
  reward = \"stream\"

  [[target]]
  name = \"less exploration\"
  [target.shelf.made_for_you]
  epsilon = 0.02

No number is printed that did not pass the gate: otherwise `not estimable`, why, and how much data would do.")]
pub(crate) struct Args {
    /// The settings, in TOML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write a page that opens offline
    #[arg(long, value_name = "PATH")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let file = OpeFile::load(&args.file)?;
    let folder = args.file.parent().unwrap_or(Path::new("."));
    if let Some(spec) = &file.log {
        let judged = log_source::judge(&global.home, spec, &file)?;
        let judgements: Vec<&Judgement> = judged.iter().map(|j| &j.judgement).collect();
        for j in judged.iter().filter(|j| j.n_not_sampled + j.n_not_ranked > 0) {
            global.say(&format!(
                "{}: left out {} slates whose candidates were not kept and {} composed without the ranker",
                j.judgement.target, j.n_not_sampled, j.n_not_ranked
            ));
        }
        let data = format!("{}, surface {}", global.home.join("log").display(), spec.surface);
        return answer(&judgements, serde_json::to_value(&judged)?, &data, &file, args, global);
    }
    let Some(spec) = &file.table else { anyhow::bail!("neither `[table]` nor `[log]`") };
    let mut judged = Vec::new();
    for target in &file.target {
        judged.push(judge_table(spec, &target.name, &target.table_policy(folder)?, &file.judge_config())?);
    }
    let judgements: Vec<&Judgement> = judged.iter().collect();
    let data = spec.path.display().to_string();
    answer(&judgements, serde_json::to_value(&judged)?, &data, &file, args, global)
}

fn answer(
    judgements: &[&Judgement],
    json: serde_json::Value,
    data: &str,
    file: &OpeFile,
    args: &Args,
    global: &Global,
) -> Result<()> {
    if let Some(path) = &args.html {
        let command = format!("segue ope {}", args.file.display());
        super::write_whole(path, page::html(judgements, data, &command)?.as_bytes())?;
    }
    match global.format() {
        Format::Json => output::json(&serde_json::json!({ "targets": json, "settings": file }))?,
        Format::People => {
            if let Some(first) = judgements.first() {
                output::line(&format!(
                    "{} rounds or slates; the logging policy earned {:.5} ± {:.5}",
                    first.n_rounds, first.logged_mean, first.logged_standard_error
                ));
            }
            let rows: Vec<Vec<String>> = judgements.iter().flat_map(|j| page::rows(j)).collect();
            output::table(&page::HEADER, &rows);
            judgements.iter().flat_map(|j| page::refusals(j)).for_each(|line| output::line(&line));
        }
    }
    Ok(())
}
