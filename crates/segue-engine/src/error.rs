//! What can go wrong in the engine, by what the caller can do about it.

use std::path::PathBuf;

/// An error of opening or running the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A setting is outside its range or names something unknown.
    #[error("segue.toml: `{setting}` is {value}; {rule}")]
    Config {
        /// Path of the setting.
        setting: String,
        /// What was given.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// The request cannot be answered as it stands.
    #[error("`{field}`: {message}")]
    Request {
        /// Field of the request.
        field: &'static str,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The write-ahead log cannot take events; nothing of the call was acknowledged.
    #[error("events were not stored: {0}. Send them again; ids make that safe")]
    NotDurable(String),
    /// A store holds what it should not.
    #[error("{path}: {message}")]
    Store {
        /// The store.
        path: PathBuf,
        /// What was found, and what to do.
        message: String,
    },
    /// The data layer failed.
    #[error(transparent)]
    Data(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl EngineError {
    /// Wraps an I/O error with the path it is about.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn store(path: impl Into<PathBuf>, message: impl std::fmt::Display) -> Self {
        Self::Store { path: path.into(), message: message.to_string() }
    }
}
