//! Retrieval and ranking models, and their artifacts.
//!
//! A retrieval model is a [`Recommender`]; a ranking model is a [`Ranker`]. Each kind has one file
//! and one line in the registry.

pub mod error;
pub mod ranker;
pub mod ranking;
pub mod recommender;
pub mod trees;

pub use error::ModelError;
pub use ranker::{FeatureMatrix, Ranker};
pub use recommender::{Contribution, ItemFilter, Query, Recommender, Scored};
