//! A listening world whose truth is known.
//!
//! A [`World`] has a catalogue, listeners and their log: plays, explicit acts and impressions that look
//! like those of a real service (held against published figures). Unlike a real
//! service it knows what each listener wants ([`utility::true_utility`]), so it can say what a policy is
//! worth: [`client::run_sessions`] lets listeners use a recommender and returns the true utility of their
//! sessions. Luck is keyed, not carried ([`rng`]): the same listener meets the same luck under two policies.
//!
//! ```
//! use segue_sim::{EventBatch, World, WorldConfig, WorldSink};
//!
//! #[derive(Default)]
//! struct Count(usize);
//! impl WorldSink for Count {
//!     type Error = std::convert::Infallible;
//!     fn items(&mut self, _: Vec<segue_types::Item>) -> Result<(), Self::Error> { Ok(()) }
//!     fn users(&mut self, _: Vec<segue_types::User>) -> Result<(), Self::Error> { Ok(()) }
//!     fn events(&mut self, batch: EventBatch) -> Result<(), Self::Error> {
//!         self.0 += batch.plays.len();
//!         Ok(())
//!     }
//! }
//! let world = World::new(WorldConfig { n_users: 20, n_items: 300, n_days: 5, ..WorldConfig::smoke(1) })?;
//! let mut count = Count::default();
//! let summary = world.generate(&mut count)?;
//! assert_eq!(summary.n_plays, count.0 as u64);
//! # Ok::<(), segue_sim::SimError>(())
//! ```

pub mod attention;
pub mod catalogue;
pub mod choice;
pub mod client;
pub mod config;
pub mod ending;
mod error;
pub mod examination;
pub mod listener;
pub mod marginals;
pub mod market;
pub mod memory;
pub mod mood;
mod names;
pub mod page;
pub mod playback;
pub mod policy;
pub mod report;
pub mod rhythm;
pub mod rng;
pub mod service;
pub mod session;
pub mod sweep;
pub mod tally;
pub mod tape;
pub mod utility;
pub mod world;

pub use client::{SessionsConfig, run_sessions, run_sessions_with};
pub use config::{Behaviour, WorldConfig};
pub use error::SimError;
pub use report::LoopReport;
pub use service::{HttpService, SlateService};
pub use world::{EventBatch, World, WorldSink, WorldSummary};
