//! Importers, the event log, folds, aggregates and snapshots.
//!
//! `import` turns files into the event log; `prepare` turns the log into a [`Snapshot`]; the
//! server builds its [`UserState`] from the same [`fold`]s.

pub mod aggregate;
pub mod aggregates;
pub mod catalogue;
mod codec;
pub mod enrich;
pub mod error;
pub mod examples;
pub mod features;
pub mod fold;
pub mod folds;
pub mod import;
pub mod label;
pub mod labels;
pub mod log;
pub mod play_context;
pub mod prepare;
pub mod progress;
pub mod sequences;
pub mod sequences_file;
pub mod snapshot;
pub mod user_state;
pub mod vectors_file;

pub use catalogue::{Catalogue, ItemCatalogue, ItemFacts};
pub use enrich::{Enriched, Enricher, NotApplied, RawEvent, What};
pub use error::DataError;
pub use examples::{Examples, ExamplesFrom};
pub use features::{FeatureInput, FeatureSchema, SourceColumn};
pub use fold::{Fold, ItemContext};
pub use play_context::PlayContext;
pub use prepare::{PrepareConfig, PrepareReport, prepare};
pub use sequences::{OwnedSequences, Sequence, Sequences};
pub use sequences_file::SequencesFile;
pub use snapshot::{Snapshot, SnapshotParts};
pub use user_state::UserState;
