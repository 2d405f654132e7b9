//! Surfaces, online user state, write-ahead log and deployments; no HTTP.
//!
//! An [`Engine`] owns one home folder. It composes slates, makes events durable before it says so,
//! keeps every listener's state in step with the log, and can replay what it served.

pub mod config;
pub mod engine;
pub mod error;
pub mod registry;

pub use config::EngineConfig;
pub use engine::Engine;
pub use error::EngineError;
