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
//! use segue_eval::{Dataset, NoObserver, Protocol, evaluate, model};
//! use segue_models::recommender_kind;
//!
//! let data = OwnedSequences::from_items(2, [vec![0, 1], vec![0, 1, 0]]);
//! let markov = model(|train| recommender_kind("markov")?.fit(&Default::default(), &train.fit_input(0)));
//! let models = [("markov", &markov as _)];
//! let report = evaluate(&Protocol::p_s3(), &Dataset::from(data.view()), &models, &NoObserver)?;
//! // The other listener went from item 0 to item 1. Their own last play is a repeat: not asked.
//! let recall = report.get("markov", "recall", 10).and_then(|m| m.value);
//! assert_eq!(recall, Some(1.0));
//! # Ok::<(), segue_eval::EvalError>(())
//! ```

mod compare;
pub mod data;
pub mod dataset_file;
pub mod error;
pub mod evaluate;
pub mod metric;
pub mod model;
pub mod observer;
pub mod off_policy;
pub mod probability;
pub mod protocol;
pub mod recommendation_file;
pub mod report;
pub mod slices;
pub mod split;

pub use data::{Column, Dataset, ItemTags, OwnedPlays, OwnedProfiles, Plays, Profiles};
pub use dataset_file::DatasetFile;
pub use error::EvalError;
pub use evaluate::evaluate;
pub use metric::Metric;
pub use model::{FitAndRecommend, Fitted, FromRecommender, Train, model};
pub use observer::{Answer, NoObserver, Observer, Progress};
pub use probability::{Predictions, ProbabilityReport, judge};
pub use protocol::{Candidates, Protocol, TieRule};
pub use recommendation_file::RecommendationFile;
pub use report::{
    DifferenceReport, EvaluationReport, LeftOut, MetricReport, ModelReport, PairReport, SeedsReport,
    SliceNumber, SliceReport, SlicingReport, SplitReport,
};
pub use split::{Dropped, Fixed, FoldIn, GlobalTime, Holdout, LastSessions, LeaveOneOut, Split, SplitSpec};
