//! Small models whose lists are known, and a helper that runs one protocol.

use segue_eval::{
    Dataset, EvalError, EvaluationReport, FitAndRecommend, Fitted, LeaveOneOut, NoObserver, Protocol,
    SplitSpec, TieRule, Train, evaluate,
};
use segue_models::{ItemFilter, ModelError, Query, Scored};

/// A model that scores item rows by a fixed function of user row and item row, from the whole
/// catalogue, ties by descending row: the opposite of the evaluator's default.
pub(crate) struct ByScore<F>(pub(crate) F);

impl<F: Fn(usize, u32) -> f32 + Send + Sync> FitAndRecommend for ByScore<F> {
    fn fit<'a>(&'a self, train: &Train<'_>) -> Result<Box<dyn Fitted + 'a>, ModelError> {
        Ok(Box::new(FittedByScore { score: &self.0, n_items: train.plays.n_items() }))
    }
}

struct FittedByScore<'a, F> {
    score: &'a F,
    n_items: u32,
}

impl<F: Fn(usize, u32) -> f32 + Send + Sync> Fitted for FittedByScore<'_, F> {
    fn recommend(
        &self,
        user: usize,
        _query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        out.extend(
            (0..self.n_items)
                .rev()
                .filter(|&item| filter.admits(item))
                .map(|item| Scored { item, score: (self.score)(user, item) }),
        );
        out.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(std::cmp::Ordering::Equal));
        out.truncate(k);
        Ok(())
    }
}

/// A model that returns one list, whatever it is asked.
pub(crate) struct Always(pub(crate) Vec<Scored>);

impl FitAndRecommend for Always {
    fn fit<'a>(&'a self, _train: &Train<'_>) -> Result<Box<dyn Fitted + 'a>, ModelError> {
        Ok(Box::new(FittedAlways(&self.0)))
    }
}

struct FittedAlways<'a>(&'a [Scored]);

impl Fitted for FittedAlways<'_> {
    fn recommend(
        &self,
        _user: usize,
        _query: &Query<'_>,
        _k: usize,
        _filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        out.extend_from_slice(self.0);
        Ok(())
    }
}

/// Leave-one-out with ties by item row and few draws.
pub(crate) fn protocol(metrics: &[&str], k: &[usize]) -> Protocol {
    Protocol {
        split: SplitSpec::LeaveOneOut(LeaveOneOut {}),
        metrics: metrics.iter().map(|m| (*m).to_owned()).collect(),
        k: k.to_vec(),
        ties: TieRule::ItemRow,
        draws: 200,
        ..Protocol::default()
    }
}

pub(crate) fn run<'a>(
    protocol: &Protocol,
    data: impl Into<Dataset<'a>>,
    model: &dyn FitAndRecommend,
) -> Result<EvaluationReport, EvalError> {
    evaluate(protocol, &data.into(), &[("m", model)], &NoObserver)
}

pub(crate) fn value(report: &EvaluationReport, metric: &str, k: usize) -> f64 {
    report.get("m", metric, k).and_then(|m| m.value).unwrap_or(f64::NAN)
}
