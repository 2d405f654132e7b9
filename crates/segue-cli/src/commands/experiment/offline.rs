//! The offline half: design an experiment, analyse it and write its report.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use segue_engine::experiments::{ExperimentFile, FOLDER, report_path};
use segue_experiment::ArmSpec;
use segue_experiment::analysis::{Analysis, AnalysisSpec, analyze};
use segue_experiment::design::design;
use segue_experiment::metric::catalogue_text;

use super::{page, read, text};
use crate::Global;
use crate::output::{self, Format, table};

/// Print the metric catalogue as TOML.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: segue experiment metrics > metrics.toml")]
pub(super) struct MetricsArgs {}

/// Say how many units it needs.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: segue experiment design quieter-home.toml --looks 14")]
pub(super) struct DesignArgs {
    /// File of the experiment or of its analysis; metrics give `baseline_mean` and `mde` or `margin`
    spec: PathBuf,
    /// Looks that are planned
    #[arg(long, value_name = "N", default_value_t = 14)]
    looks: usize,
}

/// Say what the data say, as tables.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: segue experiment analyze quieter-home --json")]
pub(super) struct AnalyzeArgs {
    /// Name of an experiment of the home, its file, or a file with an analysis alone
    spec: PathBuf,
}

/// Say what the data say, as one HTML page.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: segue experiment report quieter-home")]
pub(super) struct ReportArgs {
    /// Name of an experiment of the home, its file, or a file with an analysis alone
    spec: PathBuf,
    /// The page to write; where absent, experiments/NAME.html of the home, where the console shows it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn metrics(_: &MetricsArgs) {
    output::line(catalogue_text().trim_end());
}

pub(super) fn analyze_data(args: &AnalyzeArgs, global: &Global) -> Result<()> {
    let (_, analysis) = analysis(&args.spec, global)?;
    match global.format() {
        Format::Json => output::json(&analysis)?,
        Format::People => text::print(&analysis),
    }
    Ok(())
}

pub(super) fn report(args: &ReportArgs, global: &Global) -> Result<()> {
    let (spec, analysis) = analysis(&args.spec, global)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => report_path(&global.home, &spec.name)
            .with_context(|| format!("`{}` cannot be the name of a file; give `--out`", spec.name))?,
    };
    let command = format!("segue experiment report {} --out {}", args.spec.display(), out.display());
    page::page(&spec, &analysis, &command).write(&out)?;
    match global.format() {
        Format::Json => output::json(&serde_json::json!({ "report": out, "analysis": analysis }))?,
        Format::People => {
            text::print(&analysis);
            global.say(&format!("report: {}", out.display()));
        }
    }
    Ok(())
}

/// Reads an analysis and says which file it came from: a file of its own, or the `[analysis]` of an
/// experiment's file, whose name, unit and arms it takes. The bare name of an experiment stands for
/// its file in the home.
fn read_spec(given: &Path, home: &Path) -> Result<(AnalysisSpec, PathBuf)> {
    let started = home.join(FOLDER).join(given).with_extension("toml");
    let path = match given.exists() {
        false if started.is_file() => started,
        false => bail!(
            "there is no file `{}`, and no experiment of that name in {}\nhint: `segue experiment list` names those that were started",
            given.display(),
            home.join(FOLDER).display()
        ),
        true => given.to_owned(),
    };
    let at = || path.display().to_string();
    let text = std::fs::read_to_string(&path).with_context(at)?;
    let table: toml::Table = text.parse().with_context(at)?;
    if !table.contains_key("experiment") {
        return Ok((AnalysisSpec::from_toml(&text).with_context(at)?, path));
    }
    let mut file = ExperimentFile::parse(&text).map_err(anyhow::Error::msg).with_context(at)?;
    let Some(toml::Value::Table(mut analysis)) = file.rest.remove("analysis") else {
        bail!(
            "{}: it has no `[analysis]` table, so nobody said what success is\nhint: docs/experiments.md shows one; `segue experiment metrics` lists metrics",
            path.display()
        );
    };
    let experiment = file.experiment;
    let arm = |arm: &ArmSpec| {
        toml::Table::from_iter([
            ("name".to_owned(), toml::Value::from(arm.name.clone())),
            ("weight".to_owned(), toml::Value::from(arm.weight)),
        ])
    };
    let arms: Vec<toml::Value> = experiment.arms.iter().map(|a| toml::Value::Table(arm(a))).collect();
    for (key, value) in [
        ("name", toml::Value::from(experiment.name)),
        ("unit", toml::Value::from(experiment.unit.name())),
        ("arms", toml::Value::Array(arms)),
    ] {
        if analysis.insert(key.to_owned(), value).is_some() {
            bail!("{}: `analysis.{key}` is that of `[experiment]`; leave it out", path.display());
        }
    }
    let spec = AnalysisSpec::from_toml(&toml::to_string(&analysis)?).with_context(at)?;
    Ok((spec, path))
}

fn analysis(given: &Path, global: &Global) -> Result<(AnalysisSpec, Analysis)> {
    let (spec, path) = read_spec(given, &global.home)?;
    let data = read::read(&spec, path.parent().unwrap_or(Path::new(".")), global)?;
    let analysis = analyze(&spec, &data.exposures, &data.columns, data.end_ms)?;
    Ok((spec, analysis))
}

pub(super) fn print_design(args: &DesignArgs, global: &Global) -> Result<()> {
    let looks = args.looks;
    let (spec, _) = read_spec(&args.spec, &global.home)?;
    let d = design(&spec, looks)?;
    if global.format() == Format::Json {
        return output::json(&d);
    }
    let rows: Vec<Vec<String>> = d
        .metrics
        .iter()
        .map(|m| {
            let role = serde_json::to_value(m.role).ok().and_then(|v| v.as_str().map(str::to_owned));
            vec![
                m.name.clone(),
                role.unwrap_or_default(),
                format!("{:.2} %", 100.0 * m.effect),
                m.n_fixed.to_string(),
                m.n_units.to_string(),
            ]
        })
        .collect();
    table(&["metric", "role", "effect or margin", "units, one look", "units"], &rows);
    output::line(&format!(
        "alpha {:.4} and power {:.3} per test; {} looks cost a factor of {:.4}",
        d.alpha_per_test,
        d.power_per_test,
        looks.max(1),
        d.inflation
    ));
    output::line(&format!(
        "planned_units = {}   # one comparison; {} units over all arms",
        d.planned_units, d.total_units
    ));
    for name in &d.without_baseline {
        global
            .say(&format!("`{name}` has no `baseline_mean` with `mde` or `margin`: it is not part of this"));
    }
    Ok(())
}
