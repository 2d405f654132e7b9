//! What can go wrong in the data plane, by what the caller can do about it.

use std::path::{Path, PathBuf};

/// An error of importing, preparing or reading data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Reading or writing a file failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should: truncated, damaged or of another version.
    #[error("{path}: expected {expected}, got {got}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The event log could not be read.
    #[error(transparent)]
    Log(#[from] crate::log::LogError),
    /// The job was asked to stop; nothing was published.
    #[error("stopped before the end; nothing was published")]
    Cancelled,
    /// Something that has to exist first does not.
    #[error("no {what} in {path}\nhint: {hint}")]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What to do next.
        hint: &'static str,
    },
    /// Two external ids share one key; nothing can tell them apart afterwards.
    #[error("{kind} ids `{first}` and `{second}` have the same key {key}; rename one of them in the source")]
    KeyCollision {
        /// `item` or `user`.
        kind: &'static str,
        /// The id met first.
        first: String,
        /// The id met second.
        second: String,
        /// The key, hexadecimal.
        key: String,
    },
    /// A setting is outside its range.
    #[error("`{setting}` is {value}; {rule}")]
    Config {
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// The data has more of something than the format can count.
    #[error("{what}: {got} is above the limit of {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        got: u64,
        /// How many are possible.
        limit: u64,
    },
}

impl DataError {
    /// Wraps an I/O error with the file it happened on: `.map_err(DataError::io(path))`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// A file that does not hold what it should.
    pub fn corrupt(
        path: impl AsRef<Path>,
        expected: impl std::fmt::Display,
        got: impl std::fmt::Display,
    ) -> Self {
        Self::Corrupt {
            path: path.as_ref().to_path_buf(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }
}
