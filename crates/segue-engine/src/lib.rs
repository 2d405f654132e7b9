//! Surfaces, online user state, write-ahead log and deployments; no HTTP.
//!
//! An [`Engine`] owns one home folder. It composes slates, makes events durable before it says so,
//! keeps every listener's state in step with the log, and can replay what it served.
//!
//! ```
//! use segue_engine::{Engine, EngineConfig};
//! use segue_types::api::SlateRequest;
//! use segue_types::{Item, TimestampMs};
//!
//! let home = tempfile::tempdir().unwrap();
//! let now = TimestampMs(1_700_000_000_000);
//! let engine = Engine::open(home.path(), EngineConfig::default(), now)?;
//! let empty = engine.home(&SlateRequest::default(), now)?.slate;
//! assert!(empty.empty_reason.is_some());
//! engine.put_items(vec![Item::new("track-7")], now)?;
//! let page = engine.home(&SlateRequest::default(), now)?.slate;
//! assert_eq!(page.shelves[0].cards[0].item_id, "track-7");
//! assert!(engine.replay(&page.slate_id, false)?.is_some_and(|replay| replay.is_identical));
//! # Ok::<(), segue_engine::EngineError>(())
//! ```
//!
//! Where to look: [`registry`] lists the stages, [`compose`] turns a request into a slate and its
//! record, [`journal`] is the one writer of state, [`wal`] the log below it, [`deployment`] what is
//! swapped when models change.

pub mod catalogue;
pub mod compose;
pub mod config;
pub mod counterfactual;
pub mod deployment;
mod drain;
pub mod engine;
pub mod error;
pub mod experiments;
#[cfg(test)]
mod fault;
pub mod filters;
pub mod journal;
pub mod live;
pub mod overlay;
pub mod popularity;
pub mod query;
pub mod registry;
pub mod replay;
pub mod scorers;
pub mod slates;
pub mod sources;
pub mod storage;
pub mod store;
pub mod wal;
pub mod words;

pub use config::EngineConfig;
pub use engine::Engine;
pub use error::EngineError;
