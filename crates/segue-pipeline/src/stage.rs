//! The traits of the stages. Each does one verb.

use crate::batch::{CandidateBatch, Proposals};
use crate::clock::Deadline;
use crate::rng::SlateRng;

/// Why a stage did not contribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// It saw its deadline pass and stopped.
    #[error("stopped at its deadline")]
    Timeout,
    /// The model it asks is not there.
    #[error("{0}")]
    MissingModel(String),
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

/// Proposes items for one request. The order of proposals carries no meaning (scores do); sources
/// run concurrently, off the async threads.
pub trait Source<Q>: Send + Sync {
    /// Items with scores, and optionally the item that explains each.
    ///
    /// # Errors
    /// Any [`StageError`]; the slate is then composed without this source.
    fn candidates(&self, query: &Q, deadline: &Deadline) -> Result<Proposals, StageError>;
}

/// Fills in columns that later stages need. Adds no candidate, removes none.
pub trait Hydrator<Q>: Send + Sync {
    /// Fills columns of `batch`.
    ///
    /// # Errors
    /// Any [`StageError`]; the columns are then left as they were before the stage.
    fn hydrate(&self, query: &Q, batch: &mut CandidateBatch, deadline: &Deadline) -> Result<(), StageError>;
}

/// What a filter says of each candidate: `None` stays; a rule's name goes, for that reason.
pub type Kept = Vec<Option<&'static str>>;

/// Says which candidates stay, and why the others go. Reorders nothing, looks at no score.
pub trait Filter<Q>: Send + Sync {
    /// `[batch.len()]` verdicts, same order.
    ///
    /// # Errors
    /// Any [`StageError`]; the stage's failure policy decides what then happens.
    fn keep(&self, query: &Q, batch: &CandidateBatch) -> Result<Kept, StageError>;
}

/// What a scorer gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// `[n]` finite scores in `[0, 1]` for selectors that explore; higher is better.
    pub scores: Vec<f32>,
    /// Names of the heads behind the score, if any.
    pub heads: Vec<String>,
    /// `[n * heads.len()]` row-major probabilities.
    pub head_values: Vec<f32>,
}

/// One score per candidate, same order. A score does not depend on the other candidates.
pub trait Scorer<Q>: Send + Sync {
    /// Scores of `batch`.
    ///
    /// # Errors
    /// Any [`StageError`]; the next scorer of the plan is asked then.
    fn score(&self, query: &Q, batch: &CandidateBatch, deadline: &Deadline) -> Result<Scores, StageError>;
}

/// The candidates of one shelf as its selector sees them, best first.
#[derive(Debug, Clone, Copy)]
pub struct Pool<'a> {
    /// `[n]` finite scores, descending.
    pub scores: &'a [f32],
    /// `[n]` what the diversity cap counts, such as the main artist; 0 is never capped.
    pub groups: &'a [u64],
}

/// One choice of a selector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Index in the pool.
    pub index: usize,
    /// Probability of this choice given the choices above it, in `(0, 1]`.
    pub prefix_propensity: f64,
}

/// Composes one shelf, and states the propensity of what it chose. Pure: the same pool, limit and
/// random numbers give the same picks.
pub trait Selector: Send + Sync {
    /// At most `limit` picks, top to bottom, no index twice.
    fn select(&self, pool: &Pool<'_>, limit: usize, rng: &mut SlateRng) -> Vec<Pick>;
}

/// Runs when the slate is composed: slate records, counters. Cannot change the slate.
pub trait SideEffect<O>: Send + Sync {
    /// Looks at what was served.
    fn run(&self, outcome: &O);
}
