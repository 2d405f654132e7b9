//! The folder of a run: temporary until it is whole, then named by what it holds.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::base::Base;
use super::write::{self, Files};
use crate::error::DataError;
use crate::snapshot::{FORMAT, Manifest, Snapshot};

/// A folder that goes away unless it is kept.
pub(super) struct Temporary(pub(super) PathBuf);

impl Temporary {
    /// A new folder in `parent`. The process id keeps two runs apart.
    pub(super) fn new(parent: &Path, what: &str) -> Result<Self, DataError> {
        write::folder(parent)?;
        for n in 0.. {
            let path = parent.join(format!(".{what}-{}-{n}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(DataError::io(path)(e)),
            }
        }
        unreachable!("one of 2^31 names is free")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Best effort: names that start with a dot are never read.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Takes over files of the base; returns their names.
pub(super) fn keep_files(
    home: &Path,
    base: &Base,
    dir: &Path,
    is_kept: impl Fn(&str) -> bool,
    files: &mut Files,
) -> Result<Vec<String>, DataError> {
    let from = home.join("snapshots").join(base.snapshot.id());
    let mut names = Vec::new();
    for (name, entry) in base.snapshot.manifest().files.iter().filter(|(name, _)| is_kept(name)) {
        let to = dir.join(name);
        if let Some(parent) = to.parent() {
            write::folder(parent)?;
        }
        // Files of a snapshot never change, so two snapshots may share one. Not every file system
        // can; then it is copied.
        if std::fs::hard_link(from.join(name), &to).is_err() {
            std::fs::copy(from.join(name), &to).map_err(DataError::io(&to))?;
            std::fs::File::open(&to).and_then(|f| f.sync_all()).map_err(DataError::io(&to))?;
        }
        files.insert(name.clone(), entry.clone());
        names.push(name.clone());
    }
    Ok(names)
}

/// Gives the finished folder its name, and makes it current if asked to.
pub(super) fn publish(
    home: &Path,
    manifest: &Manifest,
    target: Temporary,
    timings: &serde_json::Value,
    becomes_current: bool,
) -> Result<(), DataError> {
    let dir = target.0.as_path();
    let id = &manifest.snapshot_id;
    let text = serde_json::to_vec_pretty(manifest).map_err(|e| DataError::io(dir)(e.into()))?;
    durable(&dir.join("manifest.json"), &text)?;
    durable(&dir.join("timings.json"), timings.to_string().as_bytes())?;
    for name in manifest.files.keys() {
        if let Some((folder, _)) = name.split_once('/') {
            write::sync_folder(&dir.join(folder))?;
        }
    }
    write::sync_folder(dir)?;
    let snapshots = home.join("snapshots");
    let final_dir = snapshots.join(id);
    // The same rows give the same id: an existing folder already holds them, unless it is damaged.
    if Snapshot::open(&final_dir).is_err() {
        if final_dir.exists() {
            std::fs::remove_dir_all(&final_dir).map_err(DataError::io(&final_dir))?;
        }
        std::fs::rename(dir, &final_dir).map_err(DataError::io(&final_dir))?;
        write::sync_folder(&snapshots)?;
    }
    if becomes_current {
        let path = snapshots.join(format!(".current-{}", std::process::id()));
        durable(&path, id.as_bytes())?;
        std::fs::rename(&path, snapshots.join("current")).map_err(DataError::io(&path))?;
        write::sync_folder(&snapshots)?;
    }
    Ok(())
}

/// Writes a small file and makes it durable.
fn durable(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    use std::io::Write;
    let mut file = std::fs::File::create(path).map_err(DataError::io(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(DataError::io(path))
}

/// Hash of the logical rows: of every file's path and content, and of what they were made with.
pub(super) fn snapshot_id(manifest: &Manifest) -> String {
    let mut text = format!("{FORMAT}\n{:?}\n{:?}\n", manifest.until, manifest.versions);
    for (name, entry) in &manifest.files {
        text.push_str(&format!("{name}\t{}\n", entry.xxh3));
    }
    format!("{:032x}", xxh3_128(text.as_bytes()))
}
