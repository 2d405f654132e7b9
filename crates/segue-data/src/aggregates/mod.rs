//! The aggregates, one per file.

pub mod co_listens;
pub mod item_stats;
pub mod market_plays;

pub use co_listens::{CO_LISTEN_GROWTH, CO_LISTEN_TOP, CO_LISTEN_WINDOW};
