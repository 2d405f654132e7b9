//! Importers, the event log, folds, aggregates and snapshots.
//!
//! `import` turns files into the event log; `prepare` turns the log into a snapshot; the server
//! builds its user state from the same [`fold`]s.

pub mod enrich;
pub mod fold;
pub mod log;
pub mod progress;
pub mod sequences;

pub use enrich::{Enriched, What};
pub use fold::{Fold, ItemContext};
pub use sequences::{OwnedSequences, Sequence, Sequences};
