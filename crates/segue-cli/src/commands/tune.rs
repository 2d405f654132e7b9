//! `segue tune`: which settings of a model predict best, on a validation part of the train part.
//!
//! The test part of `segue evaluate` is split off first and never looked at: what is left is split once more,
//! the same way, and each trial is fitted on the earlier part and judged on the later one.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use segue_data::progress::Progress as _;
use segue_eval::{
    Dataset, EvalError, FitAndRecommend, GlobalTime, Holdout, LeaveOneOut, Observer, Plays, Protocol,
    SplitSpec, evaluate, model,
};
use segue_models::{SearchSpace, registry};
use segue_types::DAY_MS;
use serde::Serialize;

use crate::Global;
use crate::commands::evaluate::source::Source;
use crate::commands::train::is_about_the_data;
use crate::commands::write_whole;
use crate::config::Config;
use crate::output::{self, Format};
use crate::progress::Bar;

/// Try settings of models on a validation part of the train part, and print the best as TOML.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue tune knn
  segue tune knn,rp3_beta,bpr --trials 40 --metric ndcg
  segue tune pctm --data LastFM.txt --space my_space.toml --out best.toml

Every model has the same number of trials. The first trial is the model as it stands in segue.toml, the
others are drawn from its search space: one line per setting, `{ low = 20, high = 500, log = true }` or a
list to choose from. A name that segue.toml does not have may be a kind, which then begins with its
defaults. Every trial is kept as a line of tune/NAME.jsonl in the home.")]
pub(crate) struct Args {
    /// Models by their names in segue.toml, or kinds
    #[arg(value_name = "MODEL,…", value_delimiter = ',', required = true)]
    models: Vec<String>,
    /// Trials of each model
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    trials: u64,
    /// Seed of the trials and of the validation part
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What is to be greatest
    #[arg(long, default_value = "ndcg")]
    metric: String,
    /// Cut-off of the lists [default: `evaluate.k`]
    #[arg(long)]
    k: Option<usize>,
    /// How test and validation part are split off: by time where plays have dates, else a seeded holdout
    /// (`--data`: leave one out)
    #[arg(long, value_enum, default_value_t = Split::Auto)]
    split: Split,
    /// Recommend items of the history too: music is listened to again
    #[arg(long)]
    repeats: bool,
    /// TOML with a search space of your own: a `[NAME]` table per model
    #[arg(long, value_name = "FILE")]
    space: Option<PathBuf>,
    /// Tune on this file (`user item item …` per line, oldest first, plain or .zst) instead of the snapshot
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Write the best tables of all models here, for `segue evaluate --settings`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Split {
    Auto,
    Time,
    LeaveOneOut,
    Holdout,
}

/// One trial of one model: a line of `tune/NAME.jsonl`.
#[derive(Debug, Clone, Serialize)]
struct Trial {
    model: String,
    kind: String,
    /// 0 is the model as configured.
    trial: u64,
    settings: toml::Table,
    metric: String,
    k: usize,
    /// On the validation part; absent if these settings cannot be fitted.
    value: Option<f64>,
    fit_seconds: Option<f64>,
    error: Option<String>,
    data: String,
    seed: u64,
}

/// What tuning one model found.
#[derive(Debug, Serialize)]
struct Tuned {
    /// The trial of the greatest value; the first of equal ones.
    best: Option<Trial>,
    /// Best settings as a table for segue.toml.
    toml: Option<String>,
    /// Why there is none.
    left_out: Option<String>,
    trials: Vec<Trial>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let config = Config::load(&global.home)?;
    let data = match &args.data {
        Some(path) => Source::ordered(path)?,
        None => Source::of_home(&global.home, &[])?,
    };
    let dataset = data.dataset();
    let outer = protocol(args, &config, &data, &dataset)?;
    let held_out = outer.split.split(&dataset, outer.seed, outer.filter_seen)?;
    let train = held_out.train();
    let rest = train_part(&train);
    let inner = Protocol { seed: args.seed.wrapping_add(1), ..outer };

    let watch = Watch::new(global, args.trials * args.models.len() as u64);
    let mut tuned = Vec::new();
    for name in &args.models {
        tuned.push(tune(name, args, &config, &inner, &rest, &data.name, &watch)?);
        let lines: String = tuned[tuned.len() - 1]
            .trials
            .iter()
            .map(|trial| Ok(serde_json::to_string(trial)? + "\n"))
            .collect::<Result<_>>()?;
        write_whole(&global.home.join("tune").join(format!("{name}.jsonl")), lines.as_bytes())?;
    }
    watch.bar.end();
    if let Some(path) = &args.out {
        let tables: Vec<&str> = tuned.iter().filter_map(|t| t.toml.as_deref()).collect();
        write_whole(path, tables.join("\n").as_bytes())?;
    }
    match global.format() {
        Format::Json => output::json(&tuned),
        Format::People => {
            print(&tuned, global);
            Ok(())
        }
    }
}

/// All trials of one model.
fn tune(
    name: &str,
    args: &Args,
    config: &Config,
    protocol: &Protocol,
    data: &Dataset<'_>,
    data_name: &str,
    watch: &Watch,
) -> Result<Tuned> {
    let own = config.model.get(name);
    let (kind, configured) = match own {
        Some(table) => registry::split_kind(table)?,
        None => (name.to_owned(), toml::Table::new()),
    };
    let line = registry::recommender_kind(&kind)
        .with_context(|| format!("`{name}` is neither a model of segue.toml nor a kind"))?;
    let space = space(args, name, line.search)?;
    let n_trials = if space.is_empty() { 1 } else { args.trials };
    let mut trials: Vec<Trial> = Vec::new();
    let mut left_out = None;
    for number in 0..n_trials {
        let mut settings = configured.clone();
        if number > 0 {
            settings.extend(space.trial(args.seed, number));
        }
        line.settings(&settings).with_context(|| format!("the search space of `{name}`"))?;
        watch.next_trial();
        let fit = model(|train| line.fit(&settings, &train.fit_input(args.seed)));
        let outcome = evaluate(protocol, data, &[(name, &fit as &dyn FitAndRecommend)], watch);
        let mut trial = Trial {
            model: name.to_owned(),
            kind: kind.clone(),
            trial: number,
            settings: settings.clone(),
            metric: args.metric.clone(),
            k: protocol.k[0],
            value: None,
            fit_seconds: None,
            error: None,
            data: data_name.to_owned(),
            seed: args.seed,
        };
        match outcome {
            Ok(report) => {
                trial.value = report.get(name, &args.metric, protocol.k[0]).and_then(|m| m.value);
                trial.fit_seconds = report.models.first().and_then(|m| m.fit_seconds);
            }
            Err(EvalError::Fit { source, .. }) if is_about_the_data(&source) => {
                left_out = Some(source.to_string());
                break;
            }
            // These settings do not suit this data: the next may.
            Err(EvalError::Fit { source, .. }) => trial.error = Some(source.to_string()),
            Err(error) => return Err(error.into()),
        }
        trials.push(trial);
    }
    // Trials that a model without anything to vary, or without its data, does not need.
    watch.bar.advance(args.trials - trials.len() as u64);
    let best = best(&trials).cloned();
    let toml = best.as_ref().map(|best| table(name, &kind, &best.settings)).transpose()?;
    Ok(Tuned { best, toml, left_out, trials })
}

/// The first trial of the greatest value.
fn best(trials: &[Trial]) -> Option<&Trial> {
    trials.iter().filter(|t| t.value.is_some()).reduce(|best, t| if t.value > best.value { t } else { best })
}

/// A `[model.NAME]` table.
fn table(name: &str, kind: &str, settings: &toml::Table) -> Result<String> {
    let mut inner = toml::Table::from_iter([("kind".to_owned(), toml::Value::from(kind))]);
    inner.extend(settings.clone());
    let named = toml::Table::from_iter([(name.to_owned(), toml::Value::Table(inner))]);
    let all = toml::Table::from_iter([("model".to_owned(), toml::Value::Table(named))]);
    Ok(toml::to_string(&all)?)
}

/// The space of a model: the file's table of its name, else its documented one.
fn space(args: &Args, name: &str, documented: &str) -> Result<SearchSpace> {
    let table: toml::Table = match &args.space {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let all: toml::Table = text.parse().with_context(|| path.display().to_string())?;
            match all.get(name) {
                Some(toml::Value::Table(table)) => table.clone(),
                _ => bail!("{}: no table `[{name}]`; it holds the settings to try", path.display()),
            }
        }
        None => documented.parse()?,
    };
    Ok(SearchSpace::parse(&table)?)
}

fn protocol(args: &Args, config: &Config, data: &Source, dataset: &Dataset<'_>) -> Result<Protocol> {
    let settings = &config.evaluate;
    let split = match (args.split, data.snapshot()) {
        (Split::LeaveOneOut, _) | (Split::Auto, None) => SplitSpec::LeaveOneOut(LeaveOneOut {}),
        (Split::Auto | Split::Time, Some(snapshot)) if dataset.plays.is_dated() => {
            let (first, last) = snapshot.time_range().context("the snapshot has no dated plays")?;
            let span = last.ms_since(first) as f64 / DAY_MS as f64;
            let test_days = (span * settings.test_share).max(1.0 / 24.0);
            SplitSpec::GlobalTime(GlobalTime { test_days, ..GlobalTime::default() })
        }
        (Split::Time, _) => bail!(
            "a time split needs dated plays; this data has none\nhint: `--split leave-one-out` for ordered data, `--split holdout` for profiles"
        ),
        (Split::Holdout | Split::Auto, _) => SplitSpec::Holdout(Holdout::default()),
    };
    let protocol = Protocol {
        split,
        metrics: vec![args.metric.clone()],
        k: vec![args.k.unwrap_or(settings.k)],
        filter_seen: !args.repeats,
        seed: settings.seed,
        // Trials are compared by their means alone.
        draws: 100,
        ..Protocol::default()
    };
    protocol.check()?;
    Ok(protocol)
}

/// The train part as data of its own: nothing of the test part is in it.
fn train_part<'a>(train: &segue_eval::Train<'a>) -> Dataset<'a> {
    let mut rest = match train.plays {
        Plays::Sequences(sequences) => Dataset::from(sequences),
        Plays::Profiles(profiles) => Dataset::from(profiles),
    };
    (rest.user_ids, rest.item_ids) = (train.user_ids, train.item_ids);
    (rest.user_features, rest.item_features) = (train.user_features, train.item_features);
    rest
}

/// Draws progress over all trials and lends the evaluator a clock.
struct Watch {
    began: Instant,
    bar: Bar,
    shown: Mutex<bool>,
    n_trials: u64,
}

impl Watch {
    fn new(global: &Global, n_trials: u64) -> Self {
        Self { began: Instant::now(), bar: Bar::new(global.quiet), shown: Mutex::new(false), n_trials }
    }

    /// A trial begins: the one before is done.
    fn next_trial(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::mem::replace(&mut *shown, true) {
            self.bar.advance(1);
        } else {
            self.bar.begin("tuning", Some(self.n_trials), "trials");
        }
    }
}

impl Observer for Watch {
    fn clock(&self) -> Option<Duration> {
        Some(self.began.elapsed())
    }
}

/// The best trials of each model, and the tables for segue.toml.
fn print(tuned: &[Tuned], global: &Global) {
    const SHOWN: usize = 5;
    let mut rows = Vec::new();
    for found in tuned {
        let mut trials: Vec<&Trial> = found.trials.iter().collect();
        // Stable: equal values in the order of their trials, failed ones last.
        trials.sort_by(|a, b| b.value.unwrap_or(f64::MIN).total_cmp(&a.value.unwrap_or(f64::MIN)));
        let n_best = trials.len().min(SHOWN);
        let configured = trials[n_best..].iter().copied().filter(|t| t.trial == 0);
        for trial in trials[..n_best].iter().copied().chain(configured) {
            let settings = match trial.trial {
                0 => "as configured".to_owned(),
                _ => trial.settings.iter().map(|(k, v)| format!("{k} = {v}")).collect::<Vec<_>>().join(", "),
            };
            rows.push(vec![
                trial.model.clone(),
                trial.trial.to_string(),
                trial.value.map_or_else(|| "–".to_owned(), |v| format!("{v:.4}")),
                trial.fit_seconds.map_or_else(String::new, |s| format!("{s:.2}")),
                trial.error.clone().unwrap_or(settings),
            ]);
        }
    }
    if let Some(trial) = tuned.iter().flat_map(|t| &t.trials).next() {
        let metric = format!("{}@{}", trial.metric, trial.k);
        output::table(&["model", "trial", &metric, "fit s", "settings"], &rows);
    }
    for found in tuned {
        if let Some(why) = &found.left_out {
            output::line(why);
        }
        if let Some(toml) = &found.toml {
            output::line(toml);
        }
    }
    global.say(&format!("all trials: {}", global.home.join("tune").display()));
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::*;

    fn trial(number: u64, value: Option<f64>) -> Trial {
        Trial {
            model: "m".into(),
            kind: "markov".into(),
            trial: number,
            settings: toml::Table::new(),
            metric: "ndcg".into(),
            k: 10,
            value,
            fit_seconds: None,
            error: None,
            data: String::new(),
            seed: 0,
        }
    }

    #[test]
    fn the_first_of_equal_trials_wins_and_failed_ones_never_do() {
        let trials = [trial(0, None), trial(1, Some(0.2)), trial(2, Some(0.3)), trial(3, Some(0.3))];
        assert_eq!(best(&trials).map(|t| t.trial), Some(2));
        assert!(best(&trials[..1]).is_none());
    }

    #[test]
    fn a_tuned_table_is_one_that_segue_toml_takes() {
        let settings: toml::Table = "similarity = 'bm25'\nneighbours = 40".parse().unwrap();
        let text = table("knn", "item_knn", &settings).unwrap();
        let config: Config = toml::from_str(&text).unwrap();
        assert_eq!(config.model["knn"]["neighbours"].as_integer(), Some(40));
    }

    #[test]
    fn what_is_in_the_test_part_changes_no_trial() {
        let value = |last: [u32; 3]| {
            let users = (0..60_u32).map(|u| {
                let mut plays: Vec<u32> = (0..8).map(|n| (u * 3 + n * (1 + u % 2)) % 20).collect();
                plays.push(last[(u % 3) as usize]); // leave-one-out tests on this play
                plays
            });
            let plays = OwnedSequences::from_items(20, users);
            let data = Dataset::from(plays.view());
            let outer = Protocol {
                split: SplitSpec::LeaveOneOut(LeaveOneOut {}),
                metrics: vec!["ndcg".into()],
                draws: 100,
                filter_seen: false,
                ..Protocol::default()
            };
            let held_out = outer.split.split(&data, 0, false).unwrap();
            let train = held_out.train();
            let rest = train_part(&train);
            let markov = model(|train| {
                registry::recommender_kind("markov")?.fit(&toml::Table::new(), &train.fit_input(0))
            });
            let report =
                evaluate(&outer, &rest, &[("m", &markov as &dyn FitAndRecommend)], &segue_eval::NoObserver);
            report.unwrap().get("m", "ndcg", 10).unwrap().value
        };
        let one = value([0, 1, 2]);
        assert!(one.is_some() && one == value([7, 7, 19]));
    }
}
