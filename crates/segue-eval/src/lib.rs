//! Splits, ranking metrics and offline evaluation.
//!
//! A [`Protocol`] says everything that decides what a number means: the split, the metrics and
//! cut-offs, whether seen items are filtered, how ties are broken, seed and draws. [`evaluate`]
//! fits each model on the train part alone, ranks the full catalogue for every test user, and
//! returns an [`EvaluationReport`] with paired-bootstrap intervals. [`probability`] judges
//! probabilities: log loss, AUC, calibration.
//!
//! ```
//! use segue_data::OwnedSequences;
//! use segue_eval::{Dataset, Protocol, NoObserver, evaluate, model};
//! use segue_models::{ItemFilter, ModelError, Query, Recommender, Scored};
//!
//! /// Recommends items by row number.
//! struct ByRow(u32);
//! impl Recommender for ByRow {
//!     fn kind(&self) -> &'static str { "by_row" }
//!     fn n_items(&self) -> u32 { self.0 }
//!     fn recommend(&self, _: &Query<'_>, k: usize, filter: &ItemFilter<'_>, out: &mut Vec<Scored>)
//!         -> Result<(), ModelError> {
//!         out.clear();
//!         let rows = (0..self.0).filter(|&item| filter.admits(item)).take(k);
//!         out.extend(rows.map(|item| Scored { item, score: -(item as f32) }));
//!         Ok(())
//!     }
//! }
//!
//! let data = OwnedSequences::from_items(3, [vec![0, 1], vec![1, 0], vec![0, 2, 1]]);
//! let by_row = model(|train| Ok(Box::new(ByRow(train.plays.n_items()))));
//! let report = evaluate(&Protocol::p_s3(), &Dataset::from(data.view()), &[("by row", &by_row)], &NoObserver)?;
//! assert_eq!(report.get("by row", "recall", 10).and_then(|m| m.value), Some(1.0));
//! # Ok::<(), segue_eval::EvalError>(())
//! ```

pub mod data;
pub mod error;
pub mod evaluate;
pub mod metric;
pub mod model;
pub mod probability;
pub mod protocol;
pub mod recommendation_file;
pub mod report;
pub mod split;

pub use data::{Dataset, OwnedPlays, OwnedProfiles, Plays, Profiles};
pub use error::EvalError;
pub use evaluate::{NoObserver, Observer, Progress, evaluate};
pub use metric::Metric;
pub use model::{FitAndRecommend, Fitted, FromRecommender, Train, model};
pub use probability::{Predictions, ProbabilityReport, judge};
pub use protocol::{Candidates, Protocol, TieRule};
pub use recommendation_file::RecommendationFile;
pub use report::{DifferenceReport, EvaluationReport, MetricReport, ModelReport, SplitReport};
pub use split::{Dropped, GlobalTime, Holdout, LeaveOneOut, Split, SplitSpec};
