//! `segue evaluate`: models against each other on plays they have not seen.

mod examples;
pub(crate) mod measured;
mod page;
mod print;
mod ranker;
mod settings;
pub(crate) mod source;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use segue_eval::{
    Dataset, EvalError, EvaluationReport, FitAndRecommend, FoldIn, GlobalTime, Holdout, LastSessions,
    LeaveOneOut, Protocol, RecommendationFile, SplitSpec, evaluate, model,
};
use segue_models::registry;
use segue_types::DAY_MS;
use serde::Serialize;

use self::examples::Example;
use self::ranker::{HeadQuality, ranker};
use self::settings::Settings;
use self::source::Source;
use self::watch::Watch;
use crate::Global;
use crate::config::{Config, EvaluateSettings};
use crate::output::{self, Format};

pub(crate) use self::print::print;

/// Compare models on plays they have not seen.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue evaluate
  segue evaluate --models markov,rules --k 20 --slices history_length --report report.html
  segue evaluate --protocol leave-one-out --repeats
  segue evaluate --show-users 3 --report report.html
  segue evaluate --recommendations mine=recommendations.parquet
  segue evaluate --protocol p-s3 --data Beauty.txt.zst --models mc,seqrules,pctm --json
  segue evaluate --protocol fixed --train train.txt --test test.txt --models ease,item_knn

Every model is fitted anew on the train part, ranks the full catalogue, and is asked about the same
listeners. Brackets hold the 95 % bootstrap interval over listeners. docs/evaluation.md says what
each protocol, metric and slice means. What a home's trained models are worth is kept beside their
artifacts: `segue model push` writes it into the model card.")]
pub(crate) struct Args {
    /// auto, time, leave-one-out, holdout, fold-in, sessions, p-s3, fixed, or a TOML file with a
    /// protocol of your own; auto splits by time where plays have dates, else holds out a seeded share
    #[arg(long, alias = "split", value_name = "NAME", default_value = "auto")]
    protocol: String,
    /// Models by name, the first is the baseline; a kind works too [default: all of the settings]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    models: Vec<String>,
    /// A model that speaks from a file `user_id,item_id,rank` (CSV, TSV, Parquet); may be repeated
    #[arg(long, value_name = "NAME=FILE")]
    recommendations: Vec<String>,
    /// Evaluate on this file (`user item item …` per line, oldest first, plain or .zst); needs no home
    #[arg(long, value_name = "FILE", conflicts_with_all = ["train", "test"])]
    data: Option<PathBuf>,
    /// Train part for `--protocol fixed`, in the same format, unordered
    #[arg(long, value_name = "FILE", requires = "test")]
    train: Option<PathBuf>,
    /// Test part for `--protocol fixed`
    #[arg(long, value_name = "FILE", requires = "train")]
    test: Option<PathBuf>,
    /// `[model.NAME]` tables [default: segue.toml; for --data those of the set's name, else untuned ones]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Metrics by name, the first is the main one [default: those of the protocol]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    metrics: Vec<String>,
    /// Cut-offs of the lists [default: that of the protocol, else `evaluate.k`]
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    k: Vec<usize>,
    /// Fit every model once with each of these seeds and average [default: `evaluate.seed`]
    #[arg(long, value_name = "SEED,…", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Numbers apart for groups: history_length, item_popularity, user_age, user:COLUMN, item:COLUMN
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    slices: Vec<String>,
    /// Recommend items of the history too: music is listened to again
    #[arg(long)]
    repeats: bool,
    /// Show what this many listeners play and what each model would show them
    #[arg(long, value_name = "N", default_value_t = 0)]
    show_users: usize,
    /// Write an HTML page with plots
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What an evaluation found.
#[derive(Debug, Serialize)]
pub(crate) struct Evaluation {
    /// What it was made on.
    pub(crate) data: String,
    /// Where the models' settings come from.
    pub(crate) settings: String,
    /// The command that makes it again.
    pub(crate) command: String,
    /// The models.
    pub(crate) retrieval: EvaluationReport,
    /// A few listeners with the lists of all models.
    pub(crate) examples: Vec<Example>,
    /// The ranker, fitted before the split and asked after it.
    pub(crate) ranker: Vec<HeadQuality>,
    /// Why there is no ranker, if there is none.
    pub(crate) no_ranker: Option<String>,
    /// Kind and settings of the models that were fitted here; other people's lists are not among them.
    #[serde(skip)]
    pub(crate) fitted: BTreeMap<String, (String, serde_json::Value)>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let found = evaluation(args, global)?;
    if let Some(path) = &args.report {
        page::page(&found).write(path)?;
        global.say(&format!("report: {}", path.display()));
    }
    match global.format() {
        Format::Json => output::json(&found),
        Format::People => {
            print(&found);
            Ok(())
        }
    }
}

/// The evaluation a demo runs: everything as configured.
pub(crate) fn as_configured(config: &Config, global: &Global) -> Result<Evaluation> {
    let args = Args {
        protocol: "auto".to_owned(),
        models: Vec::new(),
        recommendations: Vec::new(),
        data: None,
        train: None,
        test: None,
        settings: None,
        metrics: Vec::new(),
        k: Vec::new(),
        seeds: Vec::new(),
        slices: Vec::new(),
        repeats: false,
        show_users: 0,
        report: None,
    };
    of_home(config, &args, global)
}

fn evaluation(args: &Args, global: &Global) -> Result<Evaluation> {
    let source = match (&args.data, &args.train, &args.test) {
        (Some(data), ..) => Source::ordered(data)?,
        (None, Some(train), Some(test)) => Source::parts(train, test)?,
        _ => return of_home(&Config::load(&global.home)?, args, global),
    };
    let settings = match (&args.settings, args.data.as_ref().or(args.train.as_ref())) {
        (Some(path), _) => Settings::read(path)?,
        (None, Some(data)) => Settings::for_data(data)?,
        (None, None) => bail!("`--data` or `--train` names the file to evaluate on"),
    };
    compare(args, &source, &settings, &EvaluateSettings::default(), global)
}

fn of_home(config: &Config, args: &Args, global: &Global) -> Result<Evaluation> {
    if args.protocol == "p-s3" || args.protocol == "fixed" {
        bail!(
            "protocol `{}` runs on benchmark files\nhint: {}",
            args.protocol,
            if args.protocol == "fixed" { "`--train FILE --test FILE`" } else { "`--data FILE`" }
        );
    }
    let source = Source::of_home(&global.home, &args.slices)?;
    let settings = match &args.settings {
        Some(path) => Settings::read(path)?,
        None => Settings { model: config.model.clone(), origin: crate::config::FILE.to_owned() },
    };
    let mut found = compare(args, &source, &settings, &config.evaluate, global)?;
    if let Some(snapshot) = source.snapshot() {
        // What was measured is worth showing wherever it can be kept.
        if let Err(error) = measured::keep(&global.home.join("artifacts"), snapshot, &found) {
            global.say(&format!("model cards go without this evaluation: {error:#}"));
        }
        match ranker(snapshot, &found.retrieval, config)? {
            Ok(heads) => found.ranker = heads,
            Err(why) => found.no_ranker = Some(why),
        }
    }
    Ok(found)
}

fn compare(
    args: &Args,
    source: &Source,
    settings: &Settings,
    defaults: &EvaluateSettings,
    global: &Global,
) -> Result<Evaluation> {
    let dataset = source.dataset();
    let mut protocol = protocol(args, defaults, source, &dataset)?;
    let fitted = Mutex::new(BTreeMap::new());
    let mut fits: Vec<(String, Box<dyn FitAndRecommend + '_>)> = Vec::new();
    // Recommendations alone are a comparison too: then no model of ours is fitted unless asked for.
    if args.recommendations.is_empty() || !args.models.is_empty() {
        for (name, table) in settings.choose(&args.models)? {
            let (kind, of_kind) = registry::split_kind(&table)?;
            let (own, fitted) = (name.clone(), &fitted);
            let fit = model(move |train| {
                let input = train.fit_input(train.seed);
                let line = registry::recommender_kind(&kind)?;
                let settings = line.settings_for(&of_kind, &input)?;
                let model = line.fit(&of_kind, &input)?;
                fitted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(own.clone(), (kind.clone(), settings));
                Ok(model)
            });
            fits.push((name, Box::new(fit)));
        }
    }
    if args.models.is_empty() {
        // The plainest model is the baseline.
        fits.sort_by_key(|(name, _)| name != "popularity");
    }
    for given in &args.recommendations {
        let Some((name, path)) = given.split_once('=') else {
            bail!("`--recommendations {given}` has no name; it is NAME=FILE");
        };
        let file = RecommendationFile::open(Path::new(path), &dataset).with_context(|| path.to_owned())?;
        fits.push((name.to_owned(), Box::new(file)));
    }
    let models: Vec<(&str, &dyn FitAndRecommend)> =
        fits.iter().map(|(name, fit)| (name.as_str(), fit.as_ref())).collect();
    let (retrieval, examples) = loop {
        let watch = Watch::new(global, source, args.show_users, protocol.seed);
        match evaluate(&protocol, &dataset, &models, &watch) {
            Ok(report) => break (report, watch.into_examples()),
            // One listener who hears the same music again leaves nothing new to predict: ask for repeats too.
            Err(EvalError::EmptySplit { .. }) if protocol.filter_seen && args.protocol == "auto" => {
                protocol.filter_seen = false;
            }
            Err(error) => return Err(error.into()),
        }
    };
    drop(models);
    drop(fits);
    Ok(Evaluation {
        data: source.name.clone(),
        settings: settings.origin.clone(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        retrieval,
        examples,
        ranker: Vec::new(),
        no_ranker: None,
        fitted: fitted.into_inner().unwrap_or_else(PoisonError::into_inner),
    })
}

/// Metrics that tell repeats and discoveries apart; they are added where repeats may be shown.
const REPEAT_METRICS: [&str; 5] =
    ["repeat_share", "repeat_recall", "repeat_ndcg", "discovery_recall", "discovery_ndcg"];

fn protocol(
    args: &Args,
    defaults: &EvaluateSettings,
    source: &Source,
    data: &Dataset<'_>,
) -> Result<Protocol> {
    let name = args.protocol.replace('_', "-");
    let configured = |split: SplitSpec| Protocol { split, k: vec![defaults.k], ..Protocol::default() };
    let by_time = || -> Result<Protocol> {
        let snapshot = source.snapshot().filter(|_| data.plays.is_dated()).context(
            "a time split needs dated plays; this data has none\nhint: `--protocol leave-one-out` for ordered data, `--protocol holdout` for profiles",
        )?;
        let (first, last) = snapshot.time_range().context("the snapshot has no dated plays")?;
        let span = last.ms_since(first) as f64 / DAY_MS as f64;
        let test_days = (span * defaults.test_share).max(1.0 / 24.0);
        Ok(configured(SplitSpec::GlobalTime(GlobalTime { test_days, ..GlobalTime::default() })))
    };
    let mut protocol = match name.as_str() {
        "auto" if data.test.is_some() => Protocol::fixed(),
        "auto" if source.snapshot().is_none() => Protocol::p_s3(),
        "auto" if data.plays.is_dated() => by_time()?,
        "auto" | "holdout" => configured(SplitSpec::Holdout(Holdout::default())),
        "time" => by_time()?,
        "leave-one-out" => configured(SplitSpec::LeaveOneOut(LeaveOneOut {})),
        "fold-in" => configured(SplitSpec::FoldIn(FoldIn::default())),
        "sessions" => configured(SplitSpec::LastSessions(LastSessions::default())),
        "p-s3" => Protocol::p_s3(),
        "fixed" => Protocol::fixed(),
        path if path.ends_with(".toml") => {
            let text = std::fs::read_to_string(&args.protocol).with_context(|| args.protocol.clone())?;
            toml::from_str(&text).with_context(|| args.protocol.clone())?
        }
        _ => bail!(
            "no protocol `{}`; there are auto, time, leave-one-out, holdout, fold-in, sessions, p-s3 and fixed\nhint: a name that ends in .toml is read as a file with a protocol of your own",
            args.protocol
        ),
    };
    if !name.ends_with(".toml") {
        protocol.seed = defaults.seed;
        protocol.draws = defaults.draws;
        protocol.filter_seen = !args.repeats;
        if args.repeats {
            protocol.metrics.extend(REPEAT_METRICS.map(str::to_owned));
        }
    }
    for (own, given) in [(&mut protocol.metrics, &args.metrics), (&mut protocol.slices, &args.slices)] {
        if !given.is_empty() {
            own.clone_from(given);
        }
    }
    if !args.k.is_empty() {
        protocol.k.clone_from(&args.k);
    }
    if !args.seeds.is_empty() {
        protocol.seeds.clone_from(&args.seeds);
    }
    Ok(protocol)
}
