//! Runs the stages of one request: concurrency, deadlines, checks, traces and failure policy.
//!
//! sources (concurrent) → merge → filters → hydrators → scorers. What was removed comes back
//! beside what was kept, with the reason. A stage that fails, panics, runs past its budget or
//! returns something malformed never fails the request: the runner notes it as degraded and goes
//! on without it, except that a filter marked [`FailurePolicy::FailClosed`] then removes everything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use segue_types::{Degraded, StageTrace};

use crate::batch::{CandidateBatch, Proposals};
use crate::clock::{Clock, Deadline};
use crate::pool::WorkerPool;
use crate::stage::{Filter, Hydrator, Kept, Scorer, Scores, Source, StageError};

/// What happens to the candidates when a filter itself fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Everything is removed: showing nothing is better than showing what should be hidden.
    FailClosed,
    /// Nothing is removed by it.
    Skip,
}

/// A source in a plan.
pub struct SourceStage<Q> {
    /// Name from the configuration.
    pub name: Arc<str>,
    /// The stage.
    pub stage: Arc<dyn Source<Q>>,
    /// Microseconds it may take, waiting for a thread included.
    pub budget_us: u64,
    /// Runs given up on that still hold a thread.
    overdue: Arc<AtomicIsize>,
}

impl<Q> SourceStage<Q> {
    /// A source with its budget.
    #[must_use]
    pub fn new(name: &str, stage: Arc<dyn Source<Q>>, budget_us: u64) -> Self {
        Self { name: name.into(), stage, budget_us, overdue: Arc::default() }
    }
}

/// A hydrator in a plan.
pub struct HydratorStage<Q> {
    /// Name.
    pub name: Arc<str>,
    /// The stage.
    pub stage: Arc<dyn Hydrator<Q>>,
    /// Microseconds it may take.
    pub budget_us: u64,
}

/// A filter in a plan.
pub struct FilterStage<Q> {
    /// Name.
    pub name: Arc<str>,
    /// The stage.
    pub stage: Arc<dyn Filter<Q>>,
    /// What happens if it fails.
    pub policy: FailurePolicy,
}

/// A scorer in a plan.
pub struct ScorerStage<Q> {
    /// Name.
    pub name: Arc<str>,
    /// The stage.
    pub stage: Arc<dyn Scorer<Q>>,
    /// Microseconds it may take.
    pub budget_us: u64,
}

/// The stages of a surface, assembled once per deployment.
pub struct Plan<Q> {
    /// Run concurrently; their order decides ties.
    pub sources: Vec<SourceStage<Q>>,
    /// Run in order; the first that removes a candidate is its reason.
    pub filters: Vec<FilterStage<Q>>,
    /// Run in order on what the filters kept.
    pub hydrators: Vec<HydratorStage<Q>>,
    /// Asked in order until one answers.
    pub scorers: Vec<ScorerStage<Q>>,
}

/// What a request's stages made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Every candidate, before filters; no features.
    pub batch: CandidateBatch,
    /// `[batch.len()]` `filter:rule` for those removed.
    pub removed: Vec<Option<String>>,
    /// Rows of `batch` that stayed, ascending.
    pub kept_rows: Vec<usize>,
    /// The rows that stayed, with features and heads.
    pub kept: CandidateBatch,
    /// `[kept.len()]` finite scores; all 0 if no scorer answered.
    pub scores: Vec<f32>,
    /// What each stage did.
    pub stages: Vec<StageTrace>,
    /// Stages that did not contribute.
    pub degraded: Vec<Degraded>,
}

/// Runs plans. One per engine.
pub struct Runner {
    clock: Arc<dyn Clock>,
    pool: Option<WorkerPool>,
}

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;
const ABANDONED: u8 = 3;

struct SourceRun {
    started_us: u64,
    ended_us: u64,
    result: Result<Proposals, StageError>,
}

impl Runner {
    /// A runner whose sources run beside each other on `pool`. The clock has to be the machine's.
    #[must_use]
    pub fn threaded(clock: Arc<dyn Clock>, pool: WorkerPool) -> Self {
        Self { clock, pool: Some(pool) }
    }

    /// A runner whose sources run one after another on the caller's thread.
    #[must_use]
    pub fn inline(clock: Arc<dyn Clock>) -> Self {
        Self { clock, pool: None }
    }

    /// The runner's clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Runs the stages of `plan` for one request.
    #[must_use]
    pub fn run<Q: Send + Sync + 'static>(&self, plan: &Plan<Q>, query: &Arc<Q>) -> Outcome {
        let mut trace = Trace { clock: &self.clock, zero_us: self.clock.now_us(), out: Outcome::default() };
        let runs = match &self.pool {
            Some(pool) => self.run_sources_threaded(pool, plan, query),
            None => self.run_sources_inline(plan, query),
        };
        let mut proposals = Vec::with_capacity(runs.len());
        for (stage, run) in plan.sources.iter().zip(runs) {
            proposals.push(trace.source(stage, run));
        }
        let names = plan.sources.iter().map(|s| Arc::clone(&s.name)).collect();
        trace.out.batch = CandidateBatch::merge(names, &proposals);
        let n = trace.out.batch.len();
        trace.out.removed = vec![None; n];
        for filter in &plan.filters {
            let verdicts = trace.filter(filter, query, n);
            for (slot, verdict) in trace.out.removed.iter_mut().zip(verdicts) {
                if let (None, Some(rule)) = (&slot, verdict) {
                    *slot = Some(format!("{}:{rule}", filter.name));
                }
            }
            let left = trace.out.removed.iter().filter(|r| r.is_none()).count();
            if let Some(last) = trace.out.stages.last_mut() {
                last.n_out = count(left);
            }
        }
        trace.out.kept_rows = (0..n).filter(|&row| trace.out.removed[row].is_none()).collect();
        trace.out.kept = trace.out.batch.take(&trace.out.kept_rows);
        for hydrator in &plan.hydrators {
            trace.hydrate(hydrator, query);
        }
        trace.out.scores = vec![0.0; trace.out.kept.len()];
        for scorer in &plan.scorers {
            if trace.score(scorer, query) {
                break;
            }
        }
        trace.out
    }

    /// Runs filters of one shelf over the rows of `batch`; used for shelves whose rules are
    /// narrower than the page's. Returns one verdict per row, and adds to `outcome`'s traces.
    #[must_use]
    pub fn run_filters<Q>(
        &self,
        filters: &[FilterStage<Q>],
        query: &Q,
        batch: &CandidateBatch,
        zero_us: u64,
        outcome: &mut Outcome,
    ) -> Vec<Option<String>> {
        let mut verdicts: Vec<Option<String>> = vec![None; batch.len()];
        for filter in filters {
            let mut trace = Trace {
                clock: &self.clock,
                zero_us,
                out: Outcome { batch: batch.clone(), ..Outcome::default() },
            };
            for (slot, rule) in verdicts.iter_mut().zip(trace.filter(filter, query, batch.len())) {
                if let (None, Some(rule)) = (&slot, rule) {
                    *slot = Some(format!("{}:{rule}", filter.name));
                }
            }
            if let Some(last) = trace.out.stages.last_mut() {
                last.n_out = count(verdicts.iter().filter(|v| v.is_none()).count());
            }
            outcome.stages.append(&mut trace.out.stages);
            outcome.degraded.append(&mut trace.out.degraded);
        }
        verdicts
    }

    fn run_sources_inline<Q>(&self, plan: &Plan<Q>, query: &Arc<Q>) -> Vec<SourceRun> {
        let run = |stage: &SourceStage<Q>| {
            let started_us = self.clock.now_us();
            let deadline = Deadline::after(Arc::clone(&self.clock), stage.budget_us);
            let result = guarded(|| stage.stage.candidates(query, &deadline));
            let result = if deadline.is_past() { Err(StageError::Timeout) } else { result };
            SourceRun { started_us, ended_us: self.clock.now_us(), result }
        };
        plan.sources.iter().map(run).collect()
    }

    fn run_sources_threaded<Q: Send + Sync + 'static>(
        &self,
        pool: &WorkerPool,
        plan: &Plan<Q>,
        query: &Arc<Q>,
    ) -> Vec<SourceRun> {
        let asked_us = self.clock.now_us();
        let (answers, inbox) = channel();
        let mut runs: Vec<Option<SourceRun>> = plan.sources.iter().map(|_| None).collect();
        let mut states = Vec::with_capacity(plan.sources.len());
        // A source that hangs may hold half of the threads, never all: after that its requests are
        // answered without it at once.
        let most_overdue = (pool.n_threads() / 2).max(1) as isize;
        for (i, stage) in plan.sources.iter().enumerate() {
            let state = Arc::new(AtomicU8::new(QUEUED));
            states.push(Arc::clone(&state));
            if stage.overdue.load(Ordering::SeqCst) >= most_overdue {
                runs[i] = Some(SourceRun {
                    started_us: asked_us,
                    ended_us: asked_us,
                    result: Err(StageError::Timeout),
                });
                continue;
            }
            let deadline = Deadline::after(Arc::clone(&self.clock), stage.budget_us);
            let (stage, overdue) = (Arc::clone(&stage.stage), Arc::clone(&stage.overdue));
            let (query, answers, clock) = (Arc::clone(query), answers.clone(), Arc::clone(&self.clock));
            pool.spawn(Box::new(move || {
                if state.compare_exchange(QUEUED, RUNNING, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                    return; // given up on before it began
                }
                let started_us = clock.now_us();
                let result = guarded(|| stage.candidates(&query, &deadline));
                let result = if deadline.is_past() { Err(StageError::Timeout) } else { result };
                if state.swap(DONE, Ordering::SeqCst) == ABANDONED {
                    overdue.fetch_sub(1, Ordering::SeqCst);
                }
                // The runner may have gone: then nobody needs the answer.
                let _ = answers.send((i, SourceRun { started_us, ended_us: clock.now_us(), result }));
            }));
        }
        drop(answers);
        loop {
            let now_us = self.clock.now_us();
            let mut earliest: Option<u64> = None;
            for (i, stage) in
                plan.sources.iter().enumerate().filter(|&(i, _)| runs[i].is_none()).collect::<Vec<_>>()
            {
                let at_us = asked_us.saturating_add(stage.budget_us);
                if now_us < at_us {
                    earliest = Some(earliest.map_or(at_us, |e| e.min(at_us)));
                    continue;
                }
                let give_up = |from| {
                    states[i].compare_exchange(from, ABANDONED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
                };
                if !give_up(QUEUED) && give_up(RUNNING) {
                    stage.overdue.fetch_add(1, Ordering::SeqCst);
                }
                runs[i] = Some(SourceRun {
                    started_us: asked_us,
                    ended_us: now_us,
                    result: Err(StageError::Timeout),
                });
            }
            let Some(earliest) = earliest else { break };
            match inbox.recv_timeout(Duration::from_micros(earliest.saturating_sub(now_us).max(1))) {
                Ok((i, run)) if runs[i].is_none() => runs[i] = Some(run),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                // Every job ended or was dropped: those without an answer are given up on when
                // their time comes, which needs no waiting.
                Err(RecvTimeoutError::Disconnected) => {
                    for run in runs.iter_mut().filter(|r| r.is_none()) {
                        *run = Some(SourceRun {
                            started_us: asked_us,
                            ended_us: self.clock.now_us(),
                            result: Err(StageError::Failed("its thread ended without an answer".to_owned())),
                        });
                    }
                }
            }
        }
        runs.into_iter().flatten().collect()
    }
}

/// Runs a stage; a panic becomes an error of that stage.
fn guarded<T>(stage: impl FnOnce() -> Result<T, StageError>) -> Result<T, StageError> {
    catch_unwind(AssertUnwindSafe(stage)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(StageError::Failed(format!("panicked: {message}")))
    })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

struct Trace<'a> {
    clock: &'a Arc<dyn Clock>,
    zero_us: u64,
    out: Outcome,
}

impl Trace<'_> {
    fn note(
        &mut self,
        name: &str,
        kind: &'static str,
        (n_in, n_out): (usize, usize),
        (started_us, ended_us): (u64, u64),
        budget_us: u64,
        problem: Option<(&'static str, String)>,
    ) {
        let status = problem.as_ref().map_or("ok", |(cause, _)| match *cause {
            "missing_model" => "error",
            cause => cause,
        });
        let took_us = ended_us.saturating_sub(started_us);
        tracing::debug!(target: "segue::stage", stage = name, kind, n_in, n_out, took_us, status);
        self.out.stages.push(StageTrace {
            stage: name.to_owned(),
            kind: kind.to_owned(),
            n_in: count(n_in),
            n_out: count(n_out),
            started_us: started_us.saturating_sub(self.zero_us),
            took_us,
            budget_us,
            status: status.to_owned(),
        });
        if let Some((cause, detail)) = problem {
            self.out.degraded.push(Degraded { stage: name.to_owned(), cause: cause.to_owned(), detail });
        }
    }

    fn source<Q>(&mut self, stage: &SourceStage<Q>, run: SourceRun) -> Option<Proposals> {
        let problem = match &run.result {
            Err(e) => Some(cause(e)),
            Ok(p) => p.defect().map(|defect| ("bad_output", format!("source `{}`: {defect}", stage.name))),
        };
        let proposals = run.result.ok().filter(|_| problem.is_none());
        let n_out = proposals.as_ref().map_or(0, Proposals::len);
        self.note(
            &stage.name,
            "source",
            (0, n_out),
            (run.started_us, run.ended_us),
            stage.budget_us,
            problem,
        );
        proposals
    }

    fn filter<Q>(&mut self, filter: &FilterStage<Q>, query: &Q, n: usize) -> Kept {
        let started_us = self.clock.now_us();
        let batch = &self.out.batch;
        let (verdicts, problem) = match guarded(|| filter.stage.keep(query, batch)) {
            Ok(kept) if kept.len() == n => (Some(kept), None),
            Ok(kept) => {
                let got = kept.len();
                let message =
                    format!("filter `{}` gave {got} verdicts for {n} candidates; one each", filter.name);
                (None, Some(("bad_output", message)))
            }
            Err(e) => (None, Some(cause(&e))),
        };
        let verdicts = verdicts.unwrap_or_else(|| match filter.policy {
            FailurePolicy::FailClosed => vec![Some("filter_failed"); n],
            FailurePolicy::Skip => vec![None; n],
        });
        self.note(&filter.name, "filter", (n, n), (started_us, self.clock.now_us()), 0, problem);
        verdicts
    }

    fn hydrate<Q>(&mut self, hydrator: &HydratorStage<Q>, query: &Q) {
        let started_us = self.clock.now_us();
        let deadline = Deadline::after(Arc::clone(self.clock), hydrator.budget_us);
        let before = self.out.kept.clone();
        let n = before.len();
        let kept = &mut self.out.kept;
        let problem = match guarded(|| hydrator.stage.hydrate(query, kept, &deadline)) {
            Err(e) => Some(cause(&e)),
            Ok(()) if self.out.kept.items != before.items => Some((
                "bad_output",
                format!("hydrator `{}` changed the candidates; it only fills columns", hydrator.name),
            )),
            Ok(()) if self.out.kept.features.len() != n * self.out.kept.feature_names.len() => Some((
                "bad_output",
                format!(
                    "hydrator `{}` left {} values for {n} candidates × {} features",
                    hydrator.name,
                    self.out.kept.features.len(),
                    self.out.kept.feature_names.len()
                ),
            )),
            Ok(()) => None,
        };
        if problem.is_some() {
            self.out.kept = before;
        }
        let span = (started_us, self.clock.now_us());
        self.note(&hydrator.name, "hydrator", (n, n), span, hydrator.budget_us, problem);
    }

    /// Whether the scorer answered.
    fn score<Q>(&mut self, scorer: &ScorerStage<Q>, query: &Q) -> bool {
        let started_us = self.clock.now_us();
        let deadline = Deadline::after(Arc::clone(self.clock), scorer.budget_us);
        let kept = &self.out.kept;
        let n = kept.len();
        let (scores, problem) = match guarded(|| scorer.stage.score(query, kept, &deadline)) {
            Err(e) => (None, Some(cause(&e))),
            Ok(s) => match defect_of(&s, n) {
                Some(defect) => (None, Some(("bad_output", format!("scorer `{}` {defect}", scorer.name)))),
                None => (Some(s), None),
            },
        };
        let answered = scores.is_some();
        if let Some(s) = scores {
            self.out.scores = s.scores;
            self.out.kept.heads = s.heads;
            self.out.kept.head_values = s.head_values;
        }
        let span = (started_us, self.clock.now_us());
        self.note(&scorer.name, "scorer", (n, n), span, scorer.budget_us, problem);
        answered
    }
}

fn cause(error: &StageError) -> (&'static str, String) {
    let cause = match error {
        StageError::Timeout => "timeout",
        StageError::MissingModel(_) => "missing_model",
        StageError::Failed(_) => "error",
    };
    (cause, error.to_string())
}

fn defect_of(scores: &Scores, n: usize) -> Option<String> {
    if scores.scores.len() != n {
        return Some(format!(
            "gave {} scores for {n} candidates; a scorer gives one score per candidate",
            scores.scores.len()
        ));
    }
    if scores.head_values.len() != n * scores.heads.len() {
        return Some(format!(
            "gave {} head values for {n} candidates × {} heads",
            scores.head_values.len(),
            scores.heads.len()
        ));
    }
    let bad = scores.scores.iter().position(|s| !s.is_finite())?;
    Some(format!("gave {} for candidate {bad}; scores are finite", scores.scores[bad]))
}

#[cfg(test)]
mod tests {
    use segue_types::ItemKey;

    use super::*;
    use crate::clock::{ManualClock, MonotonicClock};

    struct Fixed(Vec<(u64, f32)>);
    impl Source<()> for Fixed {
        fn candidates(&self, _: &(), _: &Deadline) -> Result<Proposals, StageError> {
            let mut p = Proposals::default();
            self.0.iter().for_each(|&(item, score)| p.push(ItemKey(item), score));
            Ok(p)
        }
    }
    struct Slow(Arc<ManualClock>, u64);
    impl Source<()> for Slow {
        fn candidates(&self, _: &(), deadline: &Deadline) -> Result<Proposals, StageError> {
            self.0.advance_us(self.1);
            if deadline.is_past() { Err(StageError::Timeout) } else { Ok(Proposals::default()) }
        }
    }
    struct Panics;
    impl Source<()> for Panics {
        fn candidates(&self, _: &(), _: &Deadline) -> Result<Proposals, StageError> {
            panic!("a bug")
        }
    }
    impl Filter<()> for Panics {
        fn keep(&self, _: &(), _: &CandidateBatch) -> Result<Kept, StageError> {
            panic!("a bug")
        }
    }
    struct Hangs;
    impl Source<()> for Hangs {
        fn candidates(&self, _: &(), _: &Deadline) -> Result<Proposals, StageError> {
            std::thread::sleep(Duration::from_millis(300));
            Ok(Proposals::default())
        }
    }
    struct OddOnly;
    impl Filter<()> for OddOnly {
        fn keep(&self, _: &(), batch: &CandidateBatch) -> Result<Kept, StageError> {
            Ok(batch.items.iter().map(|i| (i.0 % 2 == 0).then_some("even")).collect())
        }
    }
    struct Scored(f32, usize);
    impl Scorer<()> for Scored {
        fn score(&self, _: &(), batch: &CandidateBatch, _: &Deadline) -> Result<Scores, StageError> {
            Ok(Scores { scores: vec![self.0; batch.len() + self.1], ..Scores::default() })
        }
    }

    fn source(name: &str, stage: impl Source<()> + 'static) -> SourceStage<()> {
        SourceStage::new(name, Arc::new(stage), 20_000)
    }
    fn filter(name: &str, stage: impl Filter<()> + 'static, policy: FailurePolicy) -> FilterStage<()> {
        FilterStage { name: name.into(), stage: Arc::new(stage), policy }
    }
    fn plan(sources: Vec<SourceStage<()>>) -> Plan<()> {
        Plan { sources, filters: vec![], hydrators: vec![], scorers: vec![] }
    }
    fn inline() -> Runner {
        Runner::inline(Arc::new(ManualClock::default()))
    }

    #[test]
    fn kept_and_removed_both_come_back_with_the_reason() {
        let mut p = plan(vec![source("a", Fixed(vec![(1, 0.9), (2, 0.5), (3, 0.1)]))]);
        p.filters.push(filter("odd", OddOnly, FailurePolicy::Skip));
        let out = inline().run(&p, &Arc::new(()));
        assert_eq!(out.removed, [None, Some("odd:even".to_owned()), None]);
        assert_eq!(out.kept.items, [ItemKey(1), ItemKey(3)]);
        assert_eq!((out.stages[1].n_in, out.stages[1].n_out), (3, 2));
        assert!(out.degraded.is_empty());
    }

    #[test]
    fn a_source_past_its_budget_is_left_out_and_reported() {
        let clock = Arc::new(ManualClock::default());
        let p =
            plan(vec![source("slow", Slow(Arc::clone(&clock), 25_000)), source("a", Fixed(vec![(1, 1.0)]))]);
        let out = Runner::inline(clock).run(&p, &Arc::new(()));
        assert_eq!(out.kept.items, [ItemKey(1)]);
        assert_eq!(out.stages[0].status, "timeout");
        assert_eq!(out.stages[0].took_us, 25_000);
        assert_eq!((out.degraded[0].stage.as_str(), out.degraded[0].cause.as_str()), ("slow", "timeout"));
    }

    #[test]
    fn a_source_that_hangs_does_not_hold_the_request_nor_all_threads() {
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::default());
        let runner = Runner::threaded(Arc::clone(&clock), WorkerPool::new(4).unwrap());
        let p = plan(vec![source("hangs", Hangs), source("a", Fixed(vec![(1, 1.0)]))]);
        let started = clock.now_us();
        for _ in 0..6 {
            let out = runner.run(&p, &Arc::new(()));
            assert_eq!(out.kept.items, [ItemKey(1)], "the other source still has threads");
            assert_eq!(out.stages[0].status, "timeout");
        }
        assert!(clock.now_us() - started < 300_000, "six requests took longer than one hang");
    }

    #[test]
    fn threads_and_inline_give_the_same_batch() {
        let make =
            || plan(vec![source("a", Fixed(vec![(1, 0.9), (2, 0.5)])), source("b", Fixed(vec![(2, 7.0)]))]);
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::default());
        let threaded = Runner::threaded(clock, WorkerPool::new(2).unwrap());
        let expected = inline().run(&make(), &Arc::new(())).batch;
        for _ in 0..50 {
            assert_eq!(threaded.run(&make(), &Arc::new(())).batch, expected);
        }
    }

    #[test]
    fn panics_and_malformed_output_degrade_and_never_fail_the_request() {
        let p = Plan {
            sources: vec![
                source("panics", Panics),
                source("nan", Fixed(vec![(9, f32::NAN)])),
                source("a", Fixed(vec![(1, 1.0)])),
            ],
            filters: vec![filter("odd", Panics, FailurePolicy::Skip)],
            hydrators: vec![],
            scorers: vec![
                ScorerStage { name: "long".into(), stage: Arc::new(Scored(0.5, 1)), budget_us: 1 },
                ScorerStage { name: "inf".into(), stage: Arc::new(Scored(f32::INFINITY, 0)), budget_us: 1 },
                ScorerStage { name: "good".into(), stage: Arc::new(Scored(0.25, 0)), budget_us: 1 },
                ScorerStage { name: "unasked".into(), stage: Arc::new(Scored(0.75, 0)), budget_us: 1 },
            ],
        };
        let out = inline().run(&p, &Arc::new(()));
        assert_eq!((out.kept.items, out.scores), (vec![ItemKey(1)], vec![0.25]));
        let causes: Vec<_> = out.degraded.iter().map(|d| (d.stage.as_str(), d.cause.as_str())).collect();
        assert_eq!(
            causes,
            [
                ("panics", "error"),
                ("nan", "bad_output"),
                ("odd", "error"),
                ("long", "bad_output"),
                ("inf", "bad_output")
            ]
        );
        assert!(!out.stages.iter().any(|s| s.stage == "unasked"));
    }

    #[test]
    fn a_protecting_filter_that_fails_removes_everything() {
        let mut p = plan(vec![source("a", Fixed(vec![(1, 1.0), (2, 0.5)]))]);
        p.filters.push(filter("explicit", Panics, FailurePolicy::FailClosed));
        let out = inline().run(&p, &Arc::new(()));
        assert!(out.kept.is_empty());
        assert_eq!(out.removed[0].as_deref(), Some("explicit:filter_failed"));
        assert_eq!(out.degraded[0].stage, "explicit");
    }
}
