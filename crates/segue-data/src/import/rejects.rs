//! Rows that break a rule: counted, kept with their reason, never silently dropped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use segue_types::RejectReason;

use super::ImportError;
use crate::log::Table;

/// Rows kept in the rejects file; beyond, they are only counted.
pub const MAX_ROWS_KEPT: u64 = 100_000;
/// Characters kept of a rejected row.
const MAX_RAW_CHARS: usize = 400;
/// Sample rows per reason in reports and errors.
const SAMPLES_PER_REASON: usize = 3;

/// A rejected row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sample {
    /// The file, or `archive.zip:member`.
    pub file: String,
    /// 1-based number of the record in it, a header not counted.
    pub row: u64,
    /// The table it was for.
    pub table: Table,
    /// Which rule, see [`RejectReason`].
    pub reason: RejectReason,
    /// The column, the value and the rule in words.
    pub message: String,
    /// The row as read, cut to 400 characters.
    pub raw: String,
}

/// Why one row cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) reason: RejectReason,
    pub(crate) message: String,
}

impl Reject {
    pub(crate) fn new(reason: RejectReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Collects rejects into `rejects/<now>-<id>.jsonl`.
pub(crate) struct Rejects {
    folder: PathBuf,
    out: Option<(PathBuf, BufWriter<File>)>,
    n_kept: u64,
    pub(crate) by_reason: BTreeMap<(Table, RejectReason), u64>,
    pub(crate) samples: Vec<Sample>,
    token: String,
    to_disk: bool,
    /// Folders made for it, innermost first.
    made: Vec<PathBuf>,
}

impl Rejects {
    pub(crate) fn new(home: &Path, token: &str, to_disk: bool) -> Self {
        Self {
            folder: home.join("rejects"),
            out: None,
            n_kept: 0,
            by_reason: BTreeMap::new(),
            samples: Vec::new(),
            token: token.to_owned(),
            to_disk,
            made: Vec::new(),
        }
    }

    pub(crate) fn add(
        &mut self,
        file: &str,
        row: u64,
        table: Table,
        reject: Reject,
        raw: &str,
    ) -> Result<(), ImportError> {
        let n = self.by_reason.entry((table, reject.reason)).or_insert(0);
        *n += 1;
        let is_sample = *n <= SAMPLES_PER_REASON as u64;
        if !is_sample && (!self.to_disk || self.n_kept >= MAX_ROWS_KEPT) {
            return Ok(());
        }
        let sample = Sample {
            file: file.to_owned(),
            row,
            table,
            reason: reject.reason,
            message: cut(&reject.message),
            raw: cut(raw),
        };
        if self.to_disk && self.n_kept < MAX_ROWS_KEPT {
            self.n_kept += 1;
            if let Ok(line) = serde_json::to_string(&sample) {
                let (path, out) = self.file()?;
                let path = path.clone();
                writeln!(out, "{line}").map_err(|e| ImportError::io("write", &path, e))?;
            }
        }
        if is_sample {
            self.samples.push(sample);
        }
        Ok(())
    }

    fn file(&mut self) -> Result<&mut (PathBuf, BufWriter<File>), ImportError> {
        if self.out.is_none() {
            let missing: Vec<PathBuf> = self
                .folder
                .ancestors()
                .take_while(|f| !f.as_os_str().is_empty() && !f.exists())
                .map(Path::to_owned)
                .collect();
            std::fs::create_dir_all(&self.folder).map_err(|e| ImportError::io("create", &self.folder, e))?;
            self.made = missing;
            let path = self.folder.join(format!(".{}.tmp", self.token));
            let file = File::create(&path).map_err(|e| ImportError::io("create", &path, e))?;
            self.out = Some((path, BufWriter::new(file)));
        }
        match &mut self.out {
            Some(out) => Ok(out),
            None => unreachable!("opened above"),
        }
    }

    /// Makes the file durable and visible; `None` if nothing was rejected.
    pub(crate) fn publish(&mut self, name: &str) -> Result<Option<PathBuf>, ImportError> {
        let Some((path, mut out)) = self.out.take() else { return Ok(None) };
        let io = |e| ImportError::io("write", &path, e);
        out.flush().map_err(io)?;
        out.get_ref().sync_all().map_err(io)?;
        let target = self.folder.join(format!("{name}.jsonl"));
        std::fs::rename(&path, &target).map_err(|e| ImportError::io("rename", &path, e))?;
        File::open(&self.folder)
            .and_then(|f| f.sync_all())
            .map_err(|e| ImportError::io("fsync", &self.folder, e))?;
        Ok(Some(target))
    }

    pub(crate) fn n_of(&self, table: Table, reason: RejectReason) -> u64 {
        self.by_reason.get(&(table, reason)).copied().unwrap_or(0)
    }

    pub(crate) fn n_in(&self, table: Table) -> u64 {
        self.by_reason.iter().filter(|((t, _), _)| *t == table).map(|(_, n)| n).sum()
    }
}

impl Drop for Rejects {
    fn drop(&mut self) {
        if let Some((path, _)) = self.out.take() {
            let _ = std::fs::remove_file(path);
            for folder in &self.made {
                let _ = std::fs::remove_dir(folder);
            }
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_RAW_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
