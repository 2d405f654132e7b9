//! `segue evaluate`: models against each other on the part of the log they have not seen.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use segue_data::progress::Progress as _;
use segue_data::{Examples, Snapshot};
use segue_eval::{
    Dataset, EvalError, EvaluationReport, FitAndRecommend, GlobalTime, Holdout, LeaveOneOut, Observer, Plays,
    Predictions, ProbabilityReport, Progress, Protocol, SplitSpec, evaluate, judge, model,
};
use segue_models::{FeatureMatrix, Ranker, registry};
use segue_types::DAY_MS;
use serde::Serialize;

use crate::Global;
use crate::commands::train::{fit_ranker, is_about_the_data};
use crate::config::Config;
use crate::output::{self, Format};
use crate::progress::Bar;

/// Compare the models of segue.toml on plays they have not seen.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue evaluate
  segue evaluate --models markov,rules --k 20
  segue evaluate --split leave-one-out --repeats

Every model is fitted anew on the train part, ranks the full catalogue, and is asked about the same
listeners. Brackets hold the 95 % bootstrap interval over listeners.")]
pub(crate) struct Args {
    /// Only these models, by their names in segue.toml; the first is the baseline
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    models: Vec<String>,
    /// How to split: by time where plays have dates, else a seeded holdout
    #[arg(long, value_enum, default_value_t = Split::Auto)]
    split: Split,
    /// Cut-off of the lists [default: `evaluate.k`]
    #[arg(long)]
    k: Option<usize>,
    /// Recommend items of the history too: music is listened to again
    #[arg(long)]
    repeats: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Split {
    Auto,
    Time,
    LeaveOneOut,
    Holdout,
}

/// What an evaluation found.
#[derive(Debug, Serialize)]
pub(crate) struct Evaluation {
    /// The models.
    pub(crate) retrieval: EvaluationReport,
    /// Models that cannot learn from this data, and why.
    pub(crate) left_out: Vec<(String, String)>,
    /// The ranker, fitted before the split and asked after it.
    pub(crate) ranker: Vec<HeadQuality>,
    /// Why there is no ranker, if there is none.
    pub(crate) no_ranker: Option<String>,
}

/// How good one head of the ranker is on requests after the split.
#[derive(Debug, Serialize)]
pub(crate) struct HeadQuality {
    /// Name of the head.
    pub(crate) head: String,
    /// Its quality.
    pub(crate) quality: ProbabilityReport,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let config = Config::load(&global.home)?;
    let found = evaluation(&config, args, global)?;
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
    let args = Args { models: Vec::new(), split: Split::Auto, k: None, repeats: false };
    evaluation(config, &args, global)
}

fn evaluation(config: &Config, args: &Args, global: &Global) -> Result<Evaluation> {
    let snapshot = Snapshot::open_current(&global.home)?;
    let data = Data::of(&snapshot);
    let dataset = data.dataset();
    let mut protocol = protocol(config, args, &snapshot, &dataset)?;

    let names: Vec<&String> =
        if args.models.is_empty() { config.model.keys().collect() } else { args.models.iter().collect() };
    let mut fits: Vec<(&str, Box<dyn FitAndRecommend>)> = Vec::new();
    for name in names {
        let Some(table) = config.model.get(name) else {
            bail!(
                "no model `{name}` in segue.toml; it names {}",
                config.model.keys().cloned().collect::<Vec<_>>().join(", ")
            );
        };
        let seed = config.evaluate.seed;
        fits.push((
            name,
            Box::new(model(move |train| registry::fit_recommender(table, &train.fit_input(seed)))),
        ));
    }
    // The plainest model is the baseline.
    fits.sort_by_key(|(name, _)| *name != "popularity");
    let mut left_out = Vec::new();
    let retrieval = loop {
        let models: Vec<(&str, &dyn FitAndRecommend)> = fits.iter().map(|(n, m)| (*n, m.as_ref())).collect();
        match evaluate(&protocol, &dataset, &models, &Watch::new(global)) {
            Ok(report) => break report,
            // One listener who hears the same music again leaves nothing new to predict: ask for repeats too.
            Err(EvalError::EmptySplit { .. }) if protocol.filter_seen => protocol.filter_seen = false,
            // A model that needs what this data lacks is left out, and the others are asked again.
            Err(EvalError::Fit { model, source }) if is_about_the_data(&source) && fits.len() > 1 => {
                fits.retain(|(name, _)| *name != model);
                left_out.push((model, source.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    };
    let (ranker, no_ranker) = match ranker(&snapshot, &retrieval, config)? {
        Ok(heads) => (heads, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    Ok(Evaluation { retrieval, left_out, ranker, no_ranker })
}

fn protocol(config: &Config, args: &Args, snapshot: &Snapshot, data: &Dataset<'_>) -> Result<Protocol> {
    let settings = &config.evaluate;
    let split = match (args.split, data.plays.is_dated()) {
        (Split::Holdout, _) | (Split::Auto, false) => SplitSpec::Holdout(Holdout::default()),
        (Split::LeaveOneOut, _) => SplitSpec::LeaveOneOut(LeaveOneOut {}),
        (Split::Time, false) => bail!(
            "a time split needs dated plays; this snapshot has undated profiles\nhint: `--split holdout`"
        ),
        (Split::Auto | Split::Time, true) => {
            let (first, last) = snapshot.time_range().context("the snapshot has no dated plays")?;
            let span = last.ms_since(first) as f64 / DAY_MS as f64;
            SplitSpec::GlobalTime(GlobalTime {
                test_days: (span * settings.test_share).max(1.0 / 24.0),
                ..GlobalTime::default()
            })
        }
    };
    Ok(Protocol {
        split,
        k: vec![args.k.unwrap_or(settings.k)],
        filter_seen: !args.repeats,
        seed: settings.seed,
        draws: settings.draws,
        ..Protocol::default()
    })
}

/// The columns an evaluation borrows.
struct Data<'a> {
    snapshot: &'a Snapshot,
    profiles: segue_eval::OwnedProfiles,
    user_ids: Vec<String>,
    item_ids: Vec<String>,
}

impl<'a> Data<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut users = vec![Vec::new(); snapshot.n_users() as usize];
        for row in snapshot.profiles() {
            users[row.user as usize].push((row.item, row.n_plays));
        }
        Self {
            snapshot,
            profiles: segue_eval::OwnedProfiles::from_counts(snapshot.n_items(), users),
            user_ids: snapshot.users().iter().map(|u| u.user_id.clone()).collect(),
            item_ids: snapshot.items().iter().map(|i| i.item_id.clone()).collect(),
        }
    }

    /// Dated plays where the snapshot has any, else its profiles.
    fn dataset(&self) -> Dataset<'_> {
        let sequences = self.snapshot.sequences();
        let plays = if sequences.n_plays() > 0 || self.profiles.item.is_empty() {
            Plays::Sequences(sequences)
        } else {
            Plays::Profiles(self.profiles.view())
        };
        Dataset { plays, user_ids: Some(&self.user_ids), item_ids: Some(&self.item_ids) }
    }
}

/// Equal-count bins of the calibration table.
const CALIBRATION_BINS: usize = 10;

/// The ranker fitted on requests before the split's moment and judged on those after it.
fn ranker(
    snapshot: &Snapshot,
    report: &EvaluationReport,
    config: &Config,
) -> Result<Result<Vec<HeadQuality>, String>> {
    let Some(until) = report.split.train_until else {
        return Ok(Err("a ranker is evaluated on dated data".to_owned()));
    };
    let settings = &config.evaluate;
    let all = snapshot.examples()?;
    let (before, after) = (part(&all, |at| at < until), part(&all, |at| at >= until));
    if after.is_empty() {
        return Ok(Err("no requests after the split".to_owned()));
    }
    let ranker = match fit_ranker(&before, snapshot.examples_from(), settings.seed)? {
        Ok(ranker) => ranker,
        Err(why) => return Ok(Err(why)),
    };
    let mut scores = Vec::new();
    ranker.score(&FeatureMatrix { values: &after.values, names: &after.feature_names }, &mut scores)?;
    let n_heads = ranker.heads().len();
    let mut out = Vec::new();
    for (h, head) in ranker.heads().iter().enumerate() {
        let Some(column) = segue_data::examples::HEADS.iter().position(|name| name == head) else { continue };
        let rows: Vec<usize> = (0..after.len()).filter(|&i| !after.labels[column][i].is_nan()).collect();
        if rows.is_empty() {
            continue;
        }
        let probability: Vec<f32> = rows.iter().map(|&i| scores[i * n_heads + h]).collect();
        let label: Vec<bool> = rows.iter().map(|&i| after.labels[column][i] > 0.5).collect();
        let request: Vec<u64> = rows.iter().map(|&i| after.group[i]).collect();
        let predictions = Predictions { probability: &probability, label: &label, request: &request };
        let quality = judge(&predictions, CALIBRATION_BINS, settings.draws, settings.seed, 0.95)?;
        out.push(HeadQuality { head: head.clone(), quality });
    }
    Ok(Ok(out))
}

/// The training rows whose request lies in a time range.
fn part(all: &Examples, is_wanted: impl Fn(i64) -> bool) -> Examples {
    let rows: Vec<usize> = (0..all.len()).filter(|&i| is_wanted(all.requested_at[i])).collect();
    fn pick<T: Copy>(column: &[T], rows: &[usize]) -> Vec<T> {
        rows.iter().map(|&i| column[i]).collect()
    }
    Examples {
        feature_names: all.feature_names.clone(),
        values: rows.iter().flat_map(|&i| all.features(i)).copied().collect(),
        group: pick(&all.group, &rows),
        requested_at: pick(&all.requested_at, &rows),
        user: pick(&all.user, &rows),
        item: pick(&all.item, &rows),
        position: pick(&all.position, &rows),
        prefix_propensity: pick(&all.prefix_propensity, &rows),
        labels: std::array::from_fn(|h| pick(&all.labels[h], &rows)),
    }
}

/// Draws progress and lends the evaluator a clock.
struct Watch {
    began: Instant,
    bar: Bar,
    shown: Mutex<(String, usize)>,
}

impl Watch {
    fn new(global: &Global) -> Self {
        Self { began: Instant::now(), bar: Bar::new(global.quiet), shown: Mutex::default() }
    }
}

impl Observer for Watch {
    fn clock(&self) -> Option<Duration> {
        Some(self.began.elapsed())
    }

    fn progress(&self, progress: Progress<'_>) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (stage, n_done, n_all) = match progress {
            Progress::Splitting => ("splitting".to_owned(), 0, None),
            Progress::Fitting { model } => (format!("fitting {model}"), 0, None),
            Progress::Asking { model, n_done, n_users } => {
                (format!("asking {model}"), n_done, Some(n_users as u64))
            }
            Progress::Bootstrapping => ("resampling listeners".to_owned(), 0, None),
        };
        if shown.0 != stage {
            self.bar.begin(&stage, n_all, "listeners");
            *shown = (stage, 0);
        }
        self.bar.advance(n_done.saturating_sub(shown.1) as u64);
        shown.1 = shown.1.max(n_done);
    }
}

/// The tables for people.
pub(crate) fn print(found: &Evaluation) {
    let report = &found.retrieval;
    let split = &report.split;
    output::line(&format!(
        "split {}: {} train plays, {} listeners asked, {} items; seen items {}",
        split.kind,
        split.n_train_plays,
        split.n_test_users,
        split.n_train_items,
        if report.protocol.filter_seen { "left out" } else { "allowed" },
    ));
    let dropped = split.dropped.to_string();
    if !dropped.is_empty() {
        output::line(&format!("not asked or not predictable: {dropped}"));
    }
    let mut header = vec!["model".to_owned()];
    if let Some(first) = report.models.first() {
        header.extend(first.metrics.iter().map(|m| format!("{}@{}", m.metric, m.k)));
    }
    header.extend(["fit s".to_owned(), "µs/listener".to_owned()]);
    let rows: Vec<Vec<String>> = report
        .models
        .iter()
        .map(|m| {
            let mut row = vec![m.name.clone()];
            row.extend(m.metrics.iter().map(|v| match (v.value, v.interval) {
                (Some(value), Some([low, high])) => format!("{value:.4} [{low:.4}, {high:.4}]"),
                (Some(value), None) => format!("{value:.4}"),
                (None, _) => "–".to_owned(),
            }));
            row.push(m.fit_seconds.map_or_else(String::new, |s| format!("{s:.2}")));
            row.push(m.recommend_us_per_user.map_or_else(String::new, |us| format!("{us:.0}")));
            row
        })
        .collect();
    output::table(&header.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
    for (name, why) in &found.left_out {
        output::line(&format!("{name} left out: {why}"));
    }
    if !found.ranker.is_empty() {
        let rows: Vec<Vec<String>> = found
            .ranker
            .iter()
            .map(|h| {
                let number = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.4}"));
                let q = &h.quality;
                vec![
                    h.head.clone(),
                    q.n_rows.to_string(),
                    format!("{:.4}", q.log_loss),
                    format!("{:.4}", q.base_log_loss),
                    number(q.auc),
                    number(q.auc_within_requests.as_ref().map(|w| w.mean)),
                    format!("{:.4}", q.calibration_error),
                ]
            })
            .collect();
        output::table(
            &[
                "ranker head",
                "rows",
                "log loss",
                "of the base rate",
                "AUC",
                "AUC within request",
                "calibration error",
            ],
            &rows,
        );
    }
    if let Some(why) = &found.no_ranker {
        output::line(&format!("no ranker: {why}"));
    }
}
