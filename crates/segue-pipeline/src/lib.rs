//! Stage traits of a request and their runner.
//!
//! A request is a pipeline of small traits: [`Source`]s propose, [`Hydrator`]s fill in columns,
//! [`Filter`]s say who stays and why the others go, [`Scorer`]s score, a [`Selector`] composes each
//! shelf, [`SideEffect`]s run afterwards. The [`Runner`] owns concurrency, deadlines, checks,
//! traces and the failure policy; a stage owns only its idea.
//!
//! All stages are generic over `Q`, whatever the caller knows of a request. Candidates travel as
//! one columnar [`CandidateBatch`].
//!
//! ```
//! use segue_pipeline::{Pick, Pool, Selector, SlateRng, TopSelector};
//!
//! let pool = Pool { scores: &[0.9, 0.8, 0.7], groups: &[1, 1, 2] };
//! let picks = TopSelector { max_per_group: 1 }.select(&pool, 2, &mut SlateRng::new(7));
//! assert_eq!(picks, [Pick { index: 0, prefix_propensity: 1.0 }, Pick { index: 2, prefix_propensity: 1.0 }]);
//! ```

pub mod batch;
pub mod clock;
pub mod compose;
pub mod diversity;
pub mod explore;
pub mod pool;
pub mod rng;
pub mod runner;
pub mod stage;
pub mod top;

pub use batch::{CandidateBatch, Proposals};
pub use clock::{Clock, Deadline, ManualClock, MonotonicClock};
pub use compose::{ShelfPool, compose_shelves};
pub use explore::{ExploreConfig, ExploreSelector};
pub use pool::WorkerPool;
pub use rng::SlateRng;
pub use runner::{
    FailurePolicy, FilterStage, HydratorStage, Outcome, Plan, Runner, ScorerStage, SourceStage,
};
pub use stage::{
    Filter, Hydrator, Kept, Pick, Pool, Scorer, Scores, Selector, SideEffect, Source, StageError,
};
pub use top::TopSelector;
