//! The evaluator: fit each model on the train part, ask it for every test user, compare.
//!
//! Users are asked in parallel; each writes into its own place, exposure is counted in integers, and
//! the bootstrap is keyed by its draw, so a report (but for its costs) is the same with any number
//! of threads.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rayon::prelude::*;
use segue_models::{ItemFilter, Query, Scored};
use sha2::{Digest, Sha256};

use crate::EvalError;
use crate::compare::{self, Asked};
use crate::data::Dataset;
use crate::metric::{Catalogue, Compute, Metric, Ranking, Shown};
use crate::model::{FitAndRecommend, Fitted, Train};
use crate::observer::{Answer, Observer, Progress};
use crate::protocol::{Candidates, Protocol, TieRule};
use crate::report::{EvaluationReport, LeftOut, SplitReport};
use crate::slices::{self, Groups, Slicing};
use crate::split::Split;

/// Users one task asks before it reports progress.
const CHUNK: usize = 64;

/// Compares models under a protocol. The first model is the baseline of the differences in a model's
/// own entry; the report holds those between any two beside them.
///
/// Each model is fitted on the train part alone, once per seed, and ranks the full catalogue for every
/// test user. What it returns is checked against the contract of [`Fitted`]. Values of several seeds
/// are averaged user by user before anything is compared.
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
    let slicings = slices::resolve(&protocol.slices, data, &split)?;
    let plan = Plan::new(protocol, data, &split, &metrics, &slicings)?;

    let mut asked = Vec::with_capacity(models.len());
    let mut left_out = Vec::new();
    for (i, &(name, model)) in models.iter().enumerate() {
        match plan.fit_and_ask(name, model, observer) {
            Ok(answers) => asked.push(answers),
            Err(EvalError::Fit { model, source }) => {
                let is_last_hope = asked.is_empty() && i + 1 == models.len();
                if is_last_hope || !observer.leaves_out(&model, &source) {
                    return Err(EvalError::Fit { model, source });
                }
                left_out.push(LeftOut { model, why: source.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    observer.progress(Progress::Bootstrapping);
    let (models, differences) = compare::models(protocol, &plan.columns, split.n_cases(), &asked)?;
    Ok(EvaluationReport {
        protocol: protocol.clone(),
        split: describe(data, &split),
        models,
        differences,
        slices: slices::report(protocol, &plan.columns, &slicings, &asked)?,
        left_out,
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
    columns: Vec<Column>,
    slicings: &'a [Slicing],
}

/// A metric at a cut-off.
pub(crate) type Column = (&'static Metric, usize);

/// Whether a column has a value per user.
pub(crate) fn is_per_user(column: &Column) -> bool {
    matches!(column.0.compute, Compute::PerUser(_))
}

/// What one model answered to one fit.
struct Answers {
    /// `[columns][n_cases]` for per-user metrics, `[columns][1]` for the others.
    values: Vec<Vec<f64>>,
    /// Values of users for a part of their targets, in order of cases.
    parts: Vec<Part>,
    n_unanswered: usize,
    recommend_us: Option<f64>,
}

/// One user's values for the targets of one group of items.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Which slicing.
    pub(crate) slicing: usize,
    /// Which of its groups.
    pub(crate) group: u16,
    /// `[per-user columns]` values.
    pub(crate) values: Vec<f64>,
}

/// Answers of one chunk of cases: per case, one value per per-user column.
struct Chunk {
    values: Vec<f64>,
    parts: Vec<Part>,
    n_unanswered: usize,
    spent: Duration,
}

impl<'a> Plan<'a> {
    fn new(
        protocol: &'a Protocol,
        data: &'a Dataset<'a>,
        split: &'a Split<'a>,
        metrics: &[&'static Metric],
        slicings: &'a [Slicing],
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
                tags: data.item_tags,
                train: Some(split.train.view()),
                ..Catalogue::new(
                    &split.n_train_users,
                    n_users,
                    if only_train { n_train_items } else { n_items },
                )
            },
            allow,
            tie_rank,
            k_max: protocol.k.iter().copied().max().unwrap_or(1),
            columns: metrics.iter().flat_map(|&m| protocol.k.iter().map(move |&k| (m, k))).collect(),
            slicings,
        })
    }

    /// Fits a model with each seed, asks every fit, and averages.
    fn fit_and_ask(
        &self,
        name: &str,
        model: &dyn FitAndRecommend,
        observer: &dyn Observer,
    ) -> Result<Asked, EvalError> {
        let seeds = self.protocol.fit_seeds();
        observer.begin_memory();
        let (mut runs, mut fit_seconds) = (Vec::with_capacity(seeds.len()), Vec::new());
        for &seed in &seeds {
            observer.progress(Progress::Fitting { model: name });
            let began = observer.clock();
            let fitted = model
                .fit(&Train { seed, ..self.split.train() })
                .map_err(|source| EvalError::Fit { model: name.to_owned(), source: Box::new(source) })?;
            fit_seconds.extend(since(observer, began).map(|d| d.as_secs_f64()));
            runs.push(self.ask(name, fitted.as_ref(), observer)?);
        }
        let peak_memory_bytes = observer.peak_memory_bytes();
        let n = runs.len() as f64;
        let mean_of = |all: Vec<f64>| (!all.is_empty()).then(|| all.iter().sum::<f64>() / n);
        let seed_means =
            runs.iter().map(|run| run.values.iter().map(|v| compare::mean(v)).collect()).collect();
        let recommend_us = mean_of(runs.iter().filter_map(|run| run.recommend_us).collect());
        let n_unanswered = runs.iter().map(|run| run.n_unanswered).max().unwrap_or(0);
        let mut runs = runs.into_iter();
        let Some(Answers { mut values, mut parts, .. }) = runs.next() else {
            return Err(EvalError::Protocol {
                setting: "seeds",
                value: "empty".into(),
                rule: "a model is fitted with at least one seed".into(),
            });
        };
        // Sums in the order of the seeds; one seed stays as it is.
        for run in runs {
            let theirs = run.values.iter().chain(run.parts.iter().map(|p| &p.values));
            let ours = values.iter_mut().chain(parts.iter_mut().map(|p| &mut p.values));
            for (own, other) in ours.zip(theirs) {
                own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
            }
        }
        if seeds.len() > 1 {
            for column in values.iter_mut().chain(parts.iter_mut().map(|p| &mut p.values)) {
                column.iter_mut().for_each(|v| *v /= n);
            }
        }
        Ok(Asked {
            name: name.to_owned(),
            fit_seconds: mean_of(fit_seconds),
            recommend_us,
            peak_memory_bytes,
            n_unanswered,
            seeds,
            seed_means,
            values,
            parts,
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
        let per_user: Vec<usize> =
            (0..self.columns.len()).filter(|&c| is_per_user(&self.columns[c])).collect();
        let mut parts = Vec::new();
        let (mut n_unanswered, mut spent) = (0, Duration::ZERO);
        for chunk in chunks {
            // In row order, so that the first failing user is named whatever the threads did.
            let chunk = chunk?;
            for row in chunk.values.chunks(per_user.len().max(1)) {
                for (&column, &value) in per_user.iter().zip(row) {
                    values[column].push(value);
                }
            }
            parts.extend(chunk.parts);
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
            parts,
            n_unanswered,
            recommend_us: observer.clock().map(|_| spent.as_secs_f64() * 1e6 / n_cases as f64),
        })
    }

    fn ask_chunk(
        &self,
        name: &str,
        fitted: &dyn Fitted,
        observer: &dyn Observer,
        cases: std::ops::Range<usize>,
        shown: &[Vec<AtomicU32>],
    ) -> Result<Chunk, EvalError> {
        let mut chunk =
            Chunk { values: Vec::new(), parts: Vec::new(), n_unanswered: 0, spent: Duration::ZERO };
        let (mut seen, mut list) = (Vec::new(), Vec::new());
        for case in cases {
            let query = self.split.query(case);
            let history = query.history;
            seen.clear();
            seen.extend_from_slice(history.item);
            seen.sort_unstable();
            seen.dedup();
            let filter = ItemFilter {
                exclude: if self.protocol.filter_seen { &seen } else { &[] },
                allow: self.allow.as_deref(),
            };
            chunk.spent += self.top_list(name, fitted, observer, case, &query, &filter, &mut list)?;
            if list.is_empty() {
                chunk.n_unanswered += 1;
            }
            let (user, targets) = (self.split.user(case), self.split.targets(case));
            observer.answered(&Answer { model: name, user, history, targets, list: &list });
            let top: Vec<u32> = list.iter().map(|s| s.item).collect();
            self.judge(&top, targets, &seen, filter.exclude, &mut chunk.values);
            for (slicing, groups) in self.slicings.iter().enumerate() {
                let Groups::Items(group_of) = &groups.groups else { continue };
                let mut by_group: Vec<(u16, u32)> =
                    targets.iter().map(|&t| (group_of[t as usize], t)).collect();
                by_group.sort_unstable();
                for same in by_group.chunk_by(|a, b| a.0 == b.0) {
                    let part: Vec<u32> = same.iter().map(|t| t.1).collect();
                    let mut values = Vec::new();
                    self.judge(&top, &part, &seen, filter.exclude, &mut values);
                    chunk.parts.push(Part { slicing, group: same[0].0, values });
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

    /// Pushes the value of every per-user column for one list.
    fn judge(&self, top: &[u32], targets: &[u32], history: &[u32], excluded: &[u32], out: &mut Vec<f64>) {
        for &(metric, k) in &self.columns {
            if let Compute::PerUser(compute) = metric.compute {
                let top = &top[..k.min(top.len())];
                let catalogue = &self.catalogue;
                let value = compute(&Ranking { top, k, targets, history, excluded, catalogue });
                // The sum of no hits is −0 in Rust; a reader should meet 0.
                out.push(value + 0.0);
            }
        }
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
