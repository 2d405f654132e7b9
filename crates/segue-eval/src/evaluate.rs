//! The evaluator: fit each model on the train part, ask it for every test user, compare.
//!
//! Users are asked in parallel; each writes into its own place, exposure is counted in integers, and
//! the bootstrap is keyed by its draw, so a report (but for its timings) is the same with any number
//! of threads.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rayon::prelude::*;
use segue_models::{ItemFilter, Query, Scored};
use segue_stats::bootstrap::{bootstrap_means, percentile_interval};
use segue_stats::holm::holm;
use segue_stats::paired_t_test::paired_t_test;
use segue_stats::random::mix;
use segue_stats::summary::sum;
use sha2::{Digest, Sha256};

use crate::EvalError;
use crate::data::Dataset;
use crate::metric::{Catalogue, Compute, Metric, Ranking, Shown};
use crate::model::{FitAndRecommend, Fitted};
use crate::protocol::{Candidates, Protocol, TieRule};
use crate::report::{DifferenceReport, EvaluationReport, MetricReport, ModelReport, SplitReport};
use crate::split::Split;

/// Users one task asks before it reports progress.
const CHUNK: usize = 64;

/// Watches an evaluation: has a clock, draws progress. Libraries here read no clock themselves.
pub trait Observer: Sync {
    /// Time since any fixed moment; `None` leaves timings out of the report.
    fn clock(&self) -> Option<Duration> {
        None
    }

    /// Called when something begins or advances, possibly from several threads.
    fn progress(&self, progress: Progress<'_>) {
        let _ = progress;
    }
}

/// What an evaluation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Splitting the data.
    Splitting,
    /// Fitting a model.
    Fitting {
        /// Its name.
        model: &'a str,
    },
    /// Asking a model.
    Asking {
        /// Its name.
        model: &'a str,
        /// Users asked so far.
        n_done: usize,
        /// Users to ask.
        n_users: usize,
    },
    /// Resampling users.
    Bootstrapping,
}

/// An observer without clock or display.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// Compares models under a protocol. The first model is the baseline of all differences.
///
/// Each model is fitted on the train part alone and ranks the full catalogue for every test user.
/// What it returns is checked against the contract of [`Fitted`].
///
/// # Errors
/// If the protocol, the data or the split do not allow an evaluation, or if a model fails or breaks
/// its contract: the message names the model and the first such user in row order.
pub fn evaluate(
    protocol: &Protocol,
    data: &Dataset<'_>,
    models: &[(&str, &dyn FitAndRecommend)],
    observer: &dyn Observer,
) -> Result<EvaluationReport, EvalError> {
    let metrics = protocol.check()?;
    check_names(models)?;
    observer.progress(Progress::Splitting);
    let split = protocol.split.split(data, protocol.seed, protocol.filter_seen)?;
    let plan = Plan::new(protocol, data, &split, &metrics)?;

    let mut asked = Vec::with_capacity(models.len());
    for &(name, model) in models {
        observer.progress(Progress::Fitting { model: name });
        let began = observer.clock();
        let fitted = model
            .fit(&split.train())
            .map_err(|source| EvalError::Fit { model: name.to_owned(), source: Box::new(source) })?;
        let fit_seconds = since(observer, began).map(|d| d.as_secs_f64());
        asked.push((name, fit_seconds, plan.ask(name, fitted.as_ref(), observer)?));
    }
    observer.progress(Progress::Bootstrapping);
    Ok(EvaluationReport {
        protocol: protocol.clone(),
        split: describe(data, &split),
        models: compare(protocol, &plan, &asked)?,
    })
}

fn check_names(models: &[(&str, &dyn FitAndRecommend)]) -> Result<(), EvalError> {
    let fail = |value: String, rule: &str| {
        Err(EvalError::Protocol { setting: "models", value, rule: rule.to_owned() })
    };
    if models.is_empty() {
        return fail("empty".into(), "an evaluation needs at least one model");
    }
    for (i, (name, _)) in models.iter().enumerate() {
        if models[..i].iter().any(|(other, _)| other == name) {
            return fail(format!("`{name}` twice"), "each model has a name of its own");
        }
    }
    Ok(())
}

fn since(observer: &dyn Observer, began: Option<Duration>) -> Option<Duration> {
    Some(observer.clock()?.saturating_sub(began?))
}

fn describe(data: &Dataset<'_>, split: &Split<'_>) -> SplitReport {
    let train = split.train.view();
    SplitReport {
        kind: split.name.to_owned(),
        train_until: split.until.map(|t| t.0),
        asked_at: split.now.map(|t| t.0),
        n_users: data.plays.n_users(),
        n_items: data.plays.n_items() as usize,
        n_train_users: (0..train.n_users()).filter(|&u| !train.user(u).is_empty()).count(),
        n_train_items: split.n_train_items(),
        n_train_plays: train.n_rows(),
        n_test_users: split.n_cases(),
        n_targets: (0..split.n_cases()).map(|c| split.targets(c).len()).sum(),
        dropped: split.dropped,
    }
}

/// What every model is asked: the cases, the filter and the columns to fill.
struct Plan<'a> {
    protocol: &'a Protocol,
    data: &'a Dataset<'a>,
    split: &'a Split<'a>,
    catalogue: Catalogue<'a>,
    /// Candidate bitmap; absent if every item is a candidate.
    allow: Option<Vec<u64>>,
    /// `[n_items]` place of an item among equals; absent if the model decides.
    tie_rank: Option<Vec<u32>>,
    k_max: usize,
    /// Columns in report order: all cut-offs of a metric, then the next metric.
    columns: Vec<(&'static Metric, usize)>,
}

/// What one model answered.
struct Answers {
    /// `[columns][n_cases]` for per-user metrics, `[columns][1]` for the others.
    values: Vec<Vec<f64>>,
    n_unanswered: usize,
    recommend_us: Option<f64>,
}

/// Answers of one chunk of cases: per case, one value per per-user column.
struct Chunk {
    values: Vec<f64>,
    n_unanswered: usize,
    spent: Duration,
}

impl<'a> Plan<'a> {
    fn new(
        protocol: &'a Protocol,
        data: &'a Dataset<'a>,
        split: &'a Split<'a>,
        metrics: &[&'static Metric],
    ) -> Result<Self, EvalError> {
        let n_items = data.plays.n_items();
        let train = split.train.view();
        let n_users = (0..train.n_users()).filter(|&u| !train.user(u).is_empty()).count() as u32;
        let n_train_items = split.n_train_items() as u32;
        let only_train = protocol.candidates == Candidates::Train && n_train_items < n_items;
        let allow = only_train.then(|| {
            let mut bits = vec![0_u64; (n_items as usize).div_ceil(64)];
            for (item, _) in split.n_train_plays.iter().enumerate().filter(|(_, n)| **n > 0) {
                bits[item / 64] |= 1 << (item % 64);
            }
            bits
        });
        let tie_rank = match protocol.ties {
            TieRule::Model => None,
            TieRule::ItemRow => Some((0..n_items).collect()),
            TieRule::Sha256 => Some(sha256_ranks(data)?),
        };
        Ok(Self {
            protocol,
            data,
            split,
            catalogue: Catalogue {
                n_train_users: &split.n_train_users,
                n_users,
                n_candidates: if only_train { n_train_items } else { n_items },
            },
            allow,
            tie_rank,
            k_max: protocol.k.iter().copied().max().unwrap_or(1),
            columns: metrics.iter().flat_map(|&m| protocol.k.iter().map(move |&k| (m, k))).collect(),
        })
    }

    fn ask(&self, name: &str, fitted: &dyn Fitted, observer: &dyn Observer) -> Result<Answers, EvalError> {
        let n_cases = self.split.n_cases();
        let n_items = self.data.plays.n_items() as usize;
        let counts_exposure = self.columns.iter().any(|(m, _)| matches!(m.compute, Compute::Overall(_)));
        let shown: Vec<Vec<AtomicU32>> = self
            .protocol
            .k
            .iter()
            .map(|_| (0..if counts_exposure { n_items } else { 0 }).map(|_| AtomicU32::new(0)).collect())
            .collect();
        let done = AtomicUsize::new(0);
        observer.progress(Progress::Asking { model: name, n_done: 0, n_users: n_cases });
        let chunks: Vec<Result<Chunk, EvalError>> = (0..n_cases.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let cases = chunk * CHUNK..((chunk + 1) * CHUNK).min(n_cases);
                let n = cases.len();
                let answers = self.ask_chunk(name, fitted, observer, cases, &shown);
                let n_done = done.fetch_add(n, Ordering::Relaxed) + n;
                observer.progress(Progress::Asking { model: name, n_done, n_users: n_cases });
                answers
            })
            .collect();

        let mut values: Vec<Vec<f64>> = vec![Vec::with_capacity(n_cases); self.columns.len()];
        let per_user: Vec<usize> = self.per_user_columns();
        let (mut n_unanswered, mut spent) = (0, Duration::ZERO);
        for chunk in chunks {
            // In row order, so that the first failing user is named whatever the threads did.
            let chunk = chunk?;
            for row in chunk.values.chunks(per_user.len().max(1)) {
                for (&column, &value) in per_user.iter().zip(row) {
                    values[column].push(value);
                }
            }
            n_unanswered += chunk.n_unanswered;
            spent += chunk.spent;
        }
        let shown: Vec<Vec<u32>> =
            shown.into_iter().map(|counts| counts.into_iter().map(AtomicU32::into_inner).collect()).collect();
        for (column, (metric, k)) in self.columns.iter().enumerate() {
            if let Compute::Overall(compute) = metric.compute {
                let at = self.protocol.k.iter().position(|x| x == k).unwrap_or(0);
                let shown = Shown { n_shown: &shown[at], k: *k, catalogue: &self.catalogue };
                values[column] = vec![compute(&shown)];
            }
        }
        Ok(Answers {
            values,
            n_unanswered,
            recommend_us: observer.clock().map(|_| spent.as_secs_f64() * 1e6 / n_cases as f64),
        })
    }

    fn per_user_columns(&self) -> Vec<usize> {
        (0..self.columns.len())
            .filter(|&c| matches!(self.columns[c].0.compute, Compute::PerUser(_)))
            .collect()
    }

    fn ask_chunk(
        &self,
        name: &str,
        fitted: &dyn Fitted,
        observer: &dyn Observer,
        cases: std::ops::Range<usize>,
        shown: &[Vec<AtomicU32>],
    ) -> Result<Chunk, EvalError> {
        let mut chunk = Chunk { values: Vec::new(), n_unanswered: 0, spent: Duration::ZERO };
        let (mut seen, mut list) = (Vec::new(), Vec::new());
        for case in cases {
            let history = self.split.history(case);
            seen.clear();
            seen.extend_from_slice(history.item);
            seen.sort_unstable();
            seen.dedup();
            let query = Query { history, now: self.split.now, market: None, current: None };
            let filter = ItemFilter {
                exclude: if self.protocol.filter_seen { &seen } else { &[] },
                allow: self.allow.as_deref(),
            };
            chunk.spent += self.top_list(name, fitted, observer, case, &query, &filter, &mut list)?;
            if list.is_empty() {
                chunk.n_unanswered += 1;
            }
            let top: Vec<u32> = list.iter().map(|s| s.item).collect();
            for &(metric, k) in &self.columns {
                if let Compute::PerUser(compute) = metric.compute {
                    chunk.values.push(compute(&Ranking {
                        top: &top[..k.min(top.len())],
                        k,
                        targets: self.split.targets(case),
                        history: &seen,
                        catalogue: &self.catalogue,
                    }));
                }
            }
            for (counts, &k) in shown.iter().zip(&self.protocol.k) {
                if !counts.is_empty() {
                    for &item in &top[..k.min(top.len())] {
                        counts[item as usize].fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        Ok(chunk)
    }

    /// The best `k_max` items under the protocol's tie rule, and the time of the first call.
    fn top_list(
        &self,
        name: &str,
        fitted: &dyn Fitted,
        observer: &dyn Observer,
        case: usize,
        query: &Query<'_>,
        filter: &ItemFilter<'_>,
        list: &mut Vec<Scored>,
    ) -> Result<Duration, EvalError> {
        let reorders = self.tie_rank.is_some() && fitted.can_extend();
        // One more than needed shows whether the last place is tied with what comes after it.
        let mut n = if reorders { self.k_max.saturating_add(1) } else { self.k_max };
        let mut first_call = None;
        loop {
            list.clear();
            let began = observer.clock();
            fitted.recommend(self.split.user(case), query, n, filter, list).map_err(|source| {
                EvalError::Recommend {
                    model: name.to_owned(),
                    user: self.user_name(case),
                    source: Box::new(source),
                }
            })?;
            first_call = first_call.or(since(observer, began));
            self.check_list(name, case, n, filter, list)?;
            let tied = reorders
                && list.len() == n
                && n < self.catalogue.n_candidates as usize
                && list[n - 1].score == list[self.k_max - 1].score;
            if !tied {
                break;
            }
            n = n.saturating_mul(2).min(self.catalogue.n_candidates as usize);
        }
        if let (true, Some(rank)) = (reorders, &self.tie_rank) {
            list.sort_by(|a, b| {
                // Scores were checked to be finite, and 0 equals -0 here.
                b.score
                    .partial_cmp(&a.score)
                    .unwrap_or(std::cmp::Ordering::Equal)
                    .then(rank[a.item as usize].cmp(&rank[b.item as usize]))
            });
        }
        list.truncate(self.k_max);
        Ok(first_call.unwrap_or_default())
    }

    fn check_list(
        &self,
        name: &str,
        case: usize,
        n: usize,
        filter: &ItemFilter<'_>,
        list: &[Scored],
    ) -> Result<(), EvalError> {
        let breach = |what: String, rule| {
            Err(EvalError::Contract { model: name.to_owned(), user: self.user_name(case), what, rule })
        };
        if list.len() > n {
            return breach(format!("{} items for k = {n}", list.len()), "at most k are asked for");
        }
        for (i, scored) in list.iter().enumerate() {
            if scored.item >= self.data.plays.n_items() {
                return breach(
                    format!("item row {}", scored.item),
                    "rows are below the size of the catalogue",
                );
            }
            if !scored.score.is_finite() {
                return Err(EvalError::NotFinite {
                    model: name.to_owned(),
                    user: self.user_name(case),
                    item: self.data.item_name(scored.item),
                    score: scored.score,
                });
            }
            if !filter.admits(scored.item) {
                let item = self.data.item_name(scored.item);
                return breach(format!("item {item}"), "the filter does not admit it");
            }
            if i > 0 && list[i - 1].score < scored.score {
                return breach(
                    format!("score {} after {}", scored.score, list[i - 1].score),
                    "the best item comes first",
                );
            }
        }
        let mut items: Vec<u32> = list.iter().map(|s| s.item).collect();
        items.sort_unstable();
        if let Some(w) = items.windows(2).find(|w| w[0] == w[1]) {
            return breach(format!("item {} twice", self.data.item_name(w[0])), "an item appears once");
        }
        Ok(())
    }

    fn user_name(&self, case: usize) -> String {
        self.data.user_name(self.split.user(case))
    }
}

/// Place of each item when items are ordered by the SHA-256 of their external id.
fn sha256_ranks(data: &Dataset<'_>) -> Result<Vec<u32>, EvalError> {
    let ids = data.item_ids.ok_or_else(|| EvalError::Protocol {
        setting: "ties",
        value: "`sha256`".into(),
        rule: "it hashes external item ids, and this data has none; use `item_row`".into(),
    })?;
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_by_cached_key(|&i| <[u8; 32]>::from(Sha256::digest(ids[i as usize].as_bytes())));
    let mut rank = vec![0; ids.len()];
    for (place, item) in order.into_iter().enumerate() {
        rank[item as usize] = place as u32;
    }
    Ok(rank)
}

/// Means, intervals and differences of all models from one set of draws.
fn compare(
    protocol: &Protocol,
    plan: &Plan<'_>,
    asked: &[(&str, Option<f64>, Answers)],
) -> Result<Vec<ModelReport>, EvalError> {
    let per_user = plan.per_user_columns();
    let baseline = &asked[0].2;
    let differences: Vec<Vec<Vec<f64>>> = asked[1..]
        .iter()
        .map(|(_, _, answers)| {
            per_user
                .iter()
                .map(|&c| answers.values[c].iter().zip(&baseline.values[c]).map(|(a, b)| a - b).collect())
                .collect()
        })
        .collect();
    let columns: Vec<&[f64]> = asked
        .iter()
        .flat_map(|(_, _, a)| per_user.iter().map(|&c| a.values[c].as_slice()))
        .chain(differences.iter().flatten().map(Vec::as_slice))
        .collect();
    let draws = bootstrap_means(&columns, protocol.draws as usize, mix(protocol.seed ^ 0xB007))?;
    let interval = |column: usize| percentile_interval(&draws[column], protocol.confidence).ok();

    let mut p_values = Vec::new();
    let mut models = Vec::with_capacity(asked.len());
    for (m, (name, fit_seconds, answers)) in asked.iter().enumerate() {
        let mut metrics = Vec::with_capacity(plan.columns.len());
        for (c, (metric, k)) in plan.columns.iter().enumerate() {
            let at = per_user.iter().position(|&p| p == c);
            let difference = match at {
                Some(at) if m > 0 => {
                    let values: Vec<f64> =
                        differences[m - 1][at].iter().copied().filter(|d| !d.is_nan()).collect();
                    let column = (asked.len() + m - 1) * per_user.len() + at;
                    mean(&values).zip(interval(column)).map(|(value, interval)| DifferenceReport {
                        baseline: asked[0].0.to_owned(),
                        value,
                        interval,
                        p_value: paired_t_test(&values, protocol.confidence).ok().map(|t| t.p_value),
                        p_value_holm: None,
                    })
                }
                _ => None,
            };
            p_values.push(difference.as_ref().and_then(|d| d.p_value).unwrap_or(f64::NAN));
            let defined: Vec<f64> = answers.values[c].iter().copied().filter(|v| !v.is_nan()).collect();
            metrics.push(MetricReport {
                metric: metric.name.to_owned(),
                k: *k,
                n_users: if at.is_some() { defined.len() } else { plan.split.n_cases() },
                value: mean(&defined),
                interval: at.and_then(|at| interval(m * per_user.len() + at)),
                difference,
            });
        }
        models.push(ModelReport {
            name: (*name).to_owned(),
            fit_seconds: *fit_seconds,
            recommend_us_per_user: answers.recommend_us,
            n_users_unanswered: answers.n_unanswered,
            metrics,
        });
    }
    let adjusted = holm(&p_values);
    let reports = models.iter_mut().flat_map(|m| &mut m.metrics);
    for (report, adjusted) in reports.zip(adjusted) {
        if let Some(difference) = &mut report.difference {
            difference.p_value_holm = Some(adjusted).filter(|p| !p.is_nan());
        }
    }
    Ok(models)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| sum(values) / values.len() as f64)
}
