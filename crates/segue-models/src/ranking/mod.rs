//! Ranking models: candidates with features in, calibrated heads out.

pub mod rows;

pub use rows::{HeadLabels, TrainedOn, TrainingRows};
