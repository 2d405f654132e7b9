//! Import: files of others into the event log.
//!
//! One call reads a Spotify *Extended streaming history* or a ListenBrainz export as it comes
//! (zip or folder), or delimited text, JSON and Parquet of any table through a [`Mapping`] in
//! TOML, compressed or not. Without a mapping one is inferred. Rows that break a rule go to
//! `rejects/` with their reason; above a share of them the import fails, and an import that fails
//! leaves nothing.
//!
//! Importing the same files with the same mapping again replaces what the first import wrote.
//! Events without an id of their own get one hashed from what identifies them, so rows that come
//! again in a later export are duplicates that `prepare` drops.

mod build;
pub mod error;
mod infer;
mod input;
pub mod mapping;
mod read;
pub mod rejects;
mod run;
mod value;

pub use error::ImportError;
pub use input::Caps;
pub use mapping::Mapping;
pub use read::Format;
pub use rejects::Sample;
pub use run::{ImportReport, ImportRequest, ParsedRow, SourceReport, TableReport, import};
