//! Retrieval and ranking models, and their artifacts.
//!
//! A retrieval model is a [`Recommender`]; a ranking model is a [`Ranker`]. Each kind has one file
//! and one line in the registry.

pub mod alignment;
pub mod artifact;
pub mod deployed;
pub mod error;
pub mod input;
pub mod item_scan;
mod linalg;
mod model_card;
pub mod ranker;
pub mod ranking;
pub mod recommender;
pub mod registry;
pub mod retrieval;
pub mod search;
pub mod sequence;
pub mod snapshot_input;
mod sparse;
pub mod tensors;
mod top_k;
pub mod training;
pub mod trees;
pub mod vectors;

pub use alignment::{Drift, Rotation};
pub use artifact::{ArtifactMeta, LoadedArtifact, Manifest};
pub use deployed::{KeyedQuery, KeyedRecommender, KeyedScore};
pub use error::ModelError;
pub use input::{DailyPlays, FitInput, ItemFeatures, Profiles, UNKNOWN_FEATURE, UserFeatures};
pub use item_scan::ItemTable;
pub use model_card::{Measured, MeasuredMetric, measured_card};
pub use ranker::{FeatureContribution, FeatureMatrix, Ranker};
pub use ranking::{RANKERS, RankerKind, TrainedOn, TreesRanker, load_ranker};
pub use recommender::{Contribution, ItemFilter, Query, Recommender, Scored};
pub use registry::{Model, RecommenderKind, fit_recommender, recommender_kind};
pub use retrieval::RECOMMENDERS;
pub use search::{SearchError, SearchSpace};
pub use snapshot_input::{SnapshotFeatures, SnapshotInput};
pub use tensors::{ModelParts, Tensors};
pub use training::{Checkpoints, RoundReport, TrainingRecord, TrainingRun};
pub use vectors::Vectors;
