//! Why an import stopped. Every message names the file, the place and what was expected.

use std::path::{Path, PathBuf};

use super::rejects::Sample;
use crate::log::LogError;

/// An import that failed; nothing of it is in the log.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file system said no.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The content is not what the name says.
    #[error("`{file}`: its name says {name_says}, its content is {found}; rename it or make it again")]
    NotWhatItSays {
        /// The file, or `archive.zip:member`.
        file: String,
        /// Format by name.
        name_says: String,
        /// Format by content.
        found: String,
    },
    /// The content breaks off or is damaged.
    #[error("`{file}` is damaged at byte {offset}: {detail}; expected {expected}")]
    Corrupt {
        /// The file, or `archive.zip:member`.
        file: String,
        /// Bytes read before it, after decompression.
        offset: u64,
        /// What the reader said.
        detail: String,
        /// What should be there.
        expected: String,
    },
    /// Bytes that are not text of the stated encoding.
    #[error(
        "`{file}`: the bytes from {offset} on are not {encoding}\nhint: state the encoding in the mapping, such as `encoding = \"iso-8859-1\"`"
    )]
    Encoding {
        /// The file, or `archive.zip:member`.
        file: String,
        /// Offset of the record that holds them, after decompression.
        offset: u64,
        /// The encoding the mapping states; UTF-8 if it states none.
        encoding: String,
    },
    /// More data than the caps allow; perhaps a decompression bomb.
    #[error("`{file}`: {what} is above the cap of {cap}\nhint: raise `{option}` if the file is trusted")]
    TooLarge {
        /// The file, or `archive.zip:member`.
        file: String,
        /// What was measured.
        what: &'static str,
        /// The cap.
        cap: u64,
        /// The field of `Caps`.
        option: &'static str,
    },
    /// A zip member whose name would leave its folder.
    #[error("`{archive}`: the member `{member}` has a name that leads out of the archive; refused")]
    UnsafeMember {
        /// The archive.
        archive: String,
        /// The member.
        member: String,
    },
    /// The mapping cannot be read or does not fit the files.
    #[error("mapping{}: {detail}", .file.as_ref().map(|f| format!(" for `{f}`")).unwrap_or_default())]
    Mapping {
        /// The file it was applied to, if any.
        file: Option<String>,
        /// What is wrong and what to do.
        detail: String,
    },
    /// No known export and no inferable table among the inputs.
    #[error("nothing to import in {looked_at}: {detail}\nhint: write a mapping, see `examples/`")]
    NothingFound {
        /// The inputs.
        looked_at: String,
        /// What was seen.
        detail: String,
    },
    /// Too many rows break the rules.
    #[error(
        "table `{table}`: {n_rejected} of {n_read} rows rejected, above the allowed share of {max_share}{}",
        describe(.reasons, .samples)
    )]
    TooManyRejects {
        /// The table.
        table: &'static str,
        /// Rows rejected.
        n_rejected: u64,
        /// Rows read.
        n_read: u64,
        /// The allowed share.
        max_share: f64,
        /// Reasons with their counts, most frequent first.
        reasons: Vec<(String, u64)>,
        /// A few of the rows.
        samples: Vec<Sample>,
    },
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The caller asked to stop.
    #[error("import stopped; nothing was written")]
    Cancelled,
}

fn describe(reasons: &[(String, u64)], samples: &[Sample]) -> String {
    use std::fmt::Write;
    let mut text = String::from("\nreasons:");
    for (reason, n) in reasons.iter().take(5) {
        let _ = write!(text, "\n  {n:>8}  {reason}");
    }
    text.push_str("\nsample rows:");
    for s in samples {
        let _ = write!(text, "\n  {} row {}: {} ({})", s.file, s.row, s.message, s.raw);
    }
    text
}

impl ImportError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn mapping(file: Option<&str>, detail: impl Into<String>) -> Self {
        Self::Mapping { file: file.map(str::to_owned), detail: detail.into() }
    }
}
