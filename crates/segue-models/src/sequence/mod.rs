//! Sequence models: encoders over a listener's history, trained and asked on the CPU.
//!
//! One model, one file: its settings with their defaults, and its network in terms of the shared
//! parts. The parts: [`network`] (the encoder over `segue-nn`), [`windows`] (training windows and
//! batches), [`trainer`] (steps, validation, early stopping, exact resume), [`checkpoint_file`] (a
//! checkpoint on disk), [`model`] (a trained network), [`trained`] (any of them as a registered [`Recommender`](crate::Recommender)).

pub mod checkpoint_file;
pub mod completion;
pub mod esasrec;
pub mod event_features;
pub mod gru4rec;
pub mod hstu;
pub mod item_features;
pub mod layer;
pub mod model;
pub mod network;
mod run;
pub mod sasrec;
pub mod settings;
pub mod step;
pub mod trained;
pub mod trainer;
pub mod user_features;
pub mod validation;
pub mod windows;

pub use checkpoint_file::CheckpointFile;
pub use completion::CompletionSettings;
pub use esasrec::ESasRec;
pub use event_features::EventFeatureSettings;
pub use gru4rec::Gru4Rec;
pub use hstu::Hstu;
pub use item_features::ItemFeatureSettings;
pub use layer::LayerConfig;
pub use model::SequenceModel;
pub use network::{Network, NetworkConfig};
pub use sasrec::SasRec;
pub use settings::{Loss, Negatives, Positions, Training};
pub use trained::{Architecture, Trained};
pub use trainer::{Checkpoint, Trainer};
pub use user_features::UserFeatureSettings;
