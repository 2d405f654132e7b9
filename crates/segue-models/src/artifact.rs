//! Artifacts: a trained model as a folder that is checked when loaded and never executed.
//!
//! ```text
//! artifacts/NAME/ARTIFACT_ID/config.json         kind and settings
//!                            model.safetensors   arrays, always
//!                            manifest.json       where it comes from, and hashes of the two above
//!                            README.md           the model card, written from the two JSON files
//! artifacts/NAME/current                         the id that serves, as text
//! ```
//!
//! This is the layout of a model repository on the Hugging Face hub. The card is for people: it is
//! not hashed, and nothing reads it.
//!
//! A folder is written under a temporary name, synced, and renamed, so a reader sees all of it or
//! nothing. The id is the SHA-256 of the manifest: the same model is the same artifact.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use segue_types::{ItemKey, TimestampMs};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model_card::model_card;
use crate::{
    KeyedRecommender, ModelError, ModelParts, RANKERS, Tensors, TrainingRecord, load_ranker, recommender_kind,
};

/// Layout of the folder. A reader refuses other versions.
pub const FORMAT_VERSION: u32 = 1;

/// Files of an artifact in the order in which a copy is written: who sees the last one has them all.
pub const FILES: [&str; 4] = [TENSORS, CONFIG, CARD, MANIFEST];

const CONFIG: &str = "config.json";
const TENSORS: &str = "model.safetensors";
const MANIFEST: &str = "manifest.json";
/// Name of the model card.
pub const CARD: &str = "README.md";
const CURRENT: &str = "current";
const ITEM_KEYS: &str = "item_keys";
/// A manifest or configuration larger than this is not one of ours.
const MAX_JSON_BYTES: u64 = 16 << 20;

/// Where a model comes from: what the caller of [`save`] knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactMeta {
    /// Snapshot it was fitted on.
    pub snapshot_id: Option<String>,
    /// It saw nothing known at or after this moment.
    pub until: Option<TimestampMs>,
    /// Seed of the fit.
    pub seed: u64,
    /// Version of the code that fitted it.
    pub code_version: String,
    /// Measured quality, by name. The ends of the interval of `NAME` are `NAME.low` and `NAME.high`;
    /// the note `protocol` says how it was measured.
    pub metrics: BTreeMap<String, f64>,
    /// What its training data permits.
    pub licence_note: String,
    /// Anything else worth keeping, such as what a ranker was trained on.
    pub notes: BTreeMap<String, String>,
    /// The course of the training, of models that are trained in rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingRecord>,
}

/// What `manifest.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// SHA-256 of this manifest with an empty id, in hexadecimal.
    pub artifact_id: String,
    /// Registered kind of the model.
    pub kind: String,
    /// Where it comes from.
    pub meta: ArtifactMeta,
    /// Rows of its item table; 0 if it has none.
    pub n_items: u64,
    /// SHA-256 of the little-endian item keys in row order.
    pub item_keys_sha256: String,
    /// The other files.
    pub files: BTreeMap<String, FileHash>,
}

/// Size and hash of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// Its length.
    pub n_bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    kind: String,
    settings: serde_json::Value,
}

/// A checked artifact in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedArtifact {
    /// Its manifest.
    pub manifest: Manifest,
    /// Kind, settings and arrays, for the registry.
    pub parts: ModelParts,
    /// Key of each item row; empty for models without an item table.
    pub item_keys: Vec<ItemKey>,
}

/// Writes a model to `artifacts/NAME/ID` without serving it; returns the id.
///
/// `artifacts` is the home's artifact folder. Saving an equal model again changes nothing.
///
/// # Errors
/// If a file cannot be written, or a tensor is called `item_keys`.
pub fn save(
    artifacts: &Path,
    name: &str,
    parts: &ModelParts,
    item_keys: &[ItemKey],
    meta: &ArtifactMeta,
) -> Result<String, ModelError> {
    let folder = artifacts.join(check_name(artifacts, name)?);
    fs::create_dir_all(&folder).map_err(io(&folder))?;
    let keys: Vec<u64> = item_keys.iter().map(|k| k.0).collect();
    if parts.tensors.names().any(|n| n == ITEM_KEYS) {
        return Err(wrong(&folder, "model tensors other than `item_keys`", "one of that name"));
    }
    let tensors = parts.tensors.clone().with(ITEM_KEYS, &keys).to_safetensors()?;
    let config = Config { kind: parts.kind.clone(), settings: parts.config.clone() };
    let config = json(&folder, &config)?;
    let hash = |bytes: &[u8]| FileHash { n_bytes: bytes.len() as u64, sha256: sha256(bytes) };
    let mut manifest = Manifest {
        format_version: FORMAT_VERSION,
        artifact_id: String::new(),
        kind: parts.kind.clone(),
        meta: meta.clone(),
        n_items: item_keys.len() as u64,
        item_keys_sha256: hash_keys(item_keys),
        files: [(CONFIG.to_owned(), hash(&config)), (TENSORS.to_owned(), hash(&tensors))].into(),
    };
    manifest.artifact_id = manifest_id(&folder, &manifest)?;
    let target = folder.join(&manifest.artifact_id);
    if target.is_dir() {
        // Equal id, equal bytes, unless the disk lied: then the old folder is not worth keeping.
        if load(&target).is_ok() {
            return Ok(manifest.artifact_id);
        }
        fs::remove_dir_all(&target).map_err(io(&target))?;
    }
    let temporary = folder.join(format!(".{}.tmp", manifest.artifact_id));
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(io(&temporary))?;
    }
    fs::create_dir(&temporary).map_err(io(&temporary))?;
    let manifest_bytes = json(&folder, &manifest)?;
    let card = model_card(&manifest, &parts.config).into_bytes();
    let files = [(CONFIG, &config), (TENSORS, &tensors), (CARD, &card), (MANIFEST, &manifest_bytes)];
    for (file, bytes) in files {
        write_synced(&temporary.join(file), bytes)?;
    }
    sync_dir(&temporary)?;
    fs::rename(&temporary, &target).map_err(io(&target))?;
    sync_dir(&folder)?;
    Ok(manifest.artifact_id)
}

/// Takes in the files of an artifact from elsewhere: checks them in full and writes `artifacts/NAME/ID`
/// without serving it.
///
/// With a `manifest.json` the files are kept byte by byte, and the id is the one they had. Without (weights
/// written by PyTorch) a manifest is made from `meta`. A missing model card is written.
///
/// # Errors
/// [`ModelError::Artifact`] names the file, what it should hold and what it holds; nothing is left behind.
pub fn receive(
    artifacts: &Path,
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
    meta: &ArtifactMeta,
) -> Result<String, ModelError> {
    let folder = artifacts.join(check_name(artifacts, name)?);
    let temporary = folder.join(".received.tmp");
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(io(&temporary))?;
    }
    fs::create_dir_all(&temporary).map_err(io(&temporary))?;
    let outcome = receive_into(&folder, &temporary, artifacts, name, files, meta);
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(io(&temporary))?;
    }
    outcome
}

fn receive_into(
    folder: &Path,
    temporary: &Path,
    artifacts: &Path,
    name: &str,
    files: &BTreeMap<String, Vec<u8>>,
    meta: &ArtifactMeta,
) -> Result<String, ModelError> {
    for file in FILES {
        if let Some(bytes) = files.get(file) {
            write_synced(&temporary.join(file), bytes)?;
        }
    }
    if !files.contains_key(MANIFEST) {
        let (parts, item_keys) = load_bare(temporary)?;
        check(parts.clone(), item_keys.clone())?;
        return save(artifacts, name, &parts, &item_keys, meta);
    }
    let loaded = load(temporary)?;
    let id = loaded.manifest.artifact_id.clone();
    if !files.contains_key(CARD) {
        let card = model_card(&loaded.manifest, &loaded.parts.config);
        write_synced(&temporary.join(CARD), card.as_bytes())?;
    }
    check(loaded.parts, loaded.item_keys)?;
    let target = folder.join(check_id(&temporary.join(MANIFEST), &id)?);
    if target.is_dir() {
        if load(&target).is_ok() {
            return Ok(id);
        }
        fs::remove_dir_all(&target).map_err(io(&target))?;
    }
    sync_dir(temporary)?;
    fs::rename(temporary, &target).map_err(io(&target))?;
    sync_dir(folder)?;
    Ok(id)
}

/// Checks that the registry makes a model of these arrays: shapes, bounds, finite numbers, and one
/// key per item, each different.
///
/// # Errors
/// [`ModelError::Artifact`], [`ModelError::Shape`] or [`ModelError::UnknownKind`] says what is wrong.
pub fn check(parts: ModelParts, item_keys: Vec<ItemKey>) -> Result<(), ModelError> {
    if RANKERS.iter().any(|line| line.kind == parts.kind) {
        let what = || format!("item keys of ranker `{}`", parts.kind);
        if !item_keys.is_empty() {
            return Err(ModelError::Shape { what: what(), expected: 0, got: item_keys.len() });
        }
        return load_ranker(parts).map(drop);
    }
    let model = recommender_kind(&parts.kind)?.load(parts)?;
    KeyedRecommender::new(model.into(), item_keys).map(drop)
}

/// Reads `config.json` and `model.safetensors` of a folder without a manifest, as PyTorch writes it.
///
/// # Errors
/// [`ModelError::Artifact`] if they are not kind, settings and arrays.
pub fn load_bare(folder: &Path) -> Result<(ModelParts, Vec<ItemKey>), ModelError> {
    let config = read_config(folder, &read_capped(&folder.join(CONFIG), MAX_JSON_BYTES)?)?;
    let path = folder.join(TENSORS);
    let mut tensors = Tensors::from_safetensors(&path, &read_capped(&path, u64::MAX - 1)?)?;
    let keys: Vec<u64> = tensors.take(ITEM_KEYS)?;
    let parts = ModelParts { kind: config.kind, config: config.settings, tensors };
    Ok((parts, keys.into_iter().map(ItemKey).collect()))
}

/// Makes `id` the artifact that serves under `name`, in one atomic step, after checking it.
///
/// # Errors
/// If the artifact does not load or the pointer cannot be written.
pub fn publish(artifacts: &Path, name: &str, id: &str) -> Result<(), ModelError> {
    let folder = artifacts.join(check_name(artifacts, name)?);
    load(&folder.join(check_id(&folder, id)?))?;
    let temporary = folder.join(".current.tmp");
    write_synced(&temporary, id.as_bytes())?;
    let target = folder.join(CURRENT);
    fs::rename(&temporary, &target).map_err(io(&target))?;
    sync_dir(&folder)
}

/// The folder of the artifact that serves under `name`; `None` if none was published.
///
/// # Errors
/// If the pointer cannot be read or is not an id.
pub fn current(artifacts: &Path, name: &str) -> Result<Option<PathBuf>, ModelError> {
    let folder = artifacts.join(check_name(artifacts, name)?);
    let pointer = folder.join(CURRENT);
    let id = match read_capped(&pointer, 1024) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(ModelError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    Ok(Some(folder.join(check_id(&pointer, &id)?)))
}

/// Reads and checks an artifact folder: version, hashes, sizes, item table.
///
/// Shapes, bounds and finiteness of the model's own arrays are checked by its loader
/// ([`RecommenderKind::load`](crate::RecommenderKind::load)).
///
/// # Errors
/// [`ModelError::Artifact`] names the file, what it should hold and what it holds.
pub fn load(folder: &Path) -> Result<LoadedArtifact, ModelError> {
    let path = folder.join(MANIFEST);
    let bytes = read_capped(&path, MAX_JSON_BYTES)?;
    // The version comes first: a newer manifest may hold fields that this reader does not know.
    let version = serde_json::from_slice::<serde_json::Value>(&bytes)
        .map_err(|e| wrong(&path, "a JSON manifest", &e.to_string()))?
        .get("format_version")
        .and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(FORMAT_VERSION)) {
        let got = version.map_or("none".to_owned(), |v| v.to_string());
        return Err(wrong(&path, &format!("format version {FORMAT_VERSION}"), &got));
    }
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|e| wrong(&path, "a manifest", &e.to_string()))?;
    let id = id_of_manifest(&bytes, &manifest.artifact_id);
    if id != manifest.artifact_id {
        return Err(wrong(&path, &format!("the manifest of {}", manifest.artifact_id), &id));
    }
    let checked = |file: &str| -> Result<Vec<u8>, ModelError> {
        let path = folder.join(file);
        let Some(hash) = manifest.files.get(file) else {
            return Err(wrong(&folder.join(MANIFEST), &format!("a hash of {file}"), "none"));
        };
        let bytes = read_capped(&path, hash.n_bytes)?;
        if bytes.len() as u64 != hash.n_bytes {
            return Err(wrong(&path, &format!("{} bytes", hash.n_bytes), &bytes.len().to_string()));
        }
        let got = sha256(&bytes);
        if got == hash.sha256 {
            Ok(bytes)
        } else {
            Err(wrong(&path, &format!("SHA-256 {}", hash.sha256), &got))
        }
    };
    let config_bytes = checked(CONFIG)?;
    let config = read_config(folder, &config_bytes)?;
    if config.kind != manifest.kind {
        return Err(wrong(&folder.join(CONFIG), &format!("kind `{}`", manifest.kind), &config.kind));
    }
    let path = folder.join(TENSORS);
    let mut tensors = Tensors::from_safetensors(&path, &checked(TENSORS)?)?;
    let keys: Vec<u64> =
        tensors.take_len(ITEM_KEYS, usize::try_from(manifest.n_items).unwrap_or(usize::MAX))?;
    let item_keys: Vec<ItemKey> = keys.into_iter().map(ItemKey).collect();
    let got = hash_keys(&item_keys);
    if got != manifest.item_keys_sha256 {
        return Err(wrong(&path, &format!("item keys of SHA-256 {}", manifest.item_keys_sha256), &got));
    }
    Ok(LoadedArtifact {
        manifest,
        parts: ModelParts { kind: config.kind, config: config.settings, tensors },
        item_keys,
    })
}

fn read_config(folder: &Path, bytes: &[u8]) -> Result<Config, ModelError> {
    serde_json::from_slice(bytes)
        .map_err(|e| wrong(&folder.join(CONFIG), "kind and settings", &e.to_string()))
}

/// Writes `bytes` and waits until the disk has them.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let mut file = File::create(path).map_err(io(path))?;
    file.write_all(bytes).map_err(io(path))?;
    file.sync_all().map_err(io(path))
}

/// Makes renames in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), ModelError> {
    // Windows has no handle of a folder to sync; renames are durable there by themselves.
    if cfg!(unix) { File::open(path).and_then(|f| f.sync_all()).map_err(io(path)) } else { Ok(()) }
}

/// Reads at most one byte more than `cap`, so that a wrong length is seen and memory is bounded.
fn read_capped(path: &Path, cap: u64) -> Result<Vec<u8>, ModelError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io(path))?;
    file.take(cap.saturating_add(1)).read_to_end(&mut bytes).map_err(io(path))?;
    Ok(bytes)
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ModelError + '_ {
    move |source| ModelError::Io { path: path.to_owned(), source }
}

fn wrong(path: &Path, expected: &str, got: &str) -> ModelError {
    ModelError::Artifact { path: path.to_owned(), expected: expected.to_owned(), got: got.to_owned() }
}

fn json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, ModelError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| wrong(path, "settings that JSON can hold", &e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn manifest_id(path: &Path, manifest: &Manifest) -> Result<String, ModelError> {
    let unnamed = Manifest { artifact_id: String::new(), ..manifest.clone() };
    Ok(sha256(&json(path, &unnamed)?))
}

/// The id that the bytes of a manifest have. The bytes are hashed as they stand: numbers written anew
/// after parsing may differ in their last digit.
fn id_of_manifest(bytes: &[u8], written_id: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let written = format!("\"artifact_id\": \"{written_id}\"");
    sha256(text.replacen(&written, "\"artifact_id\": \"\"", 1).as_bytes())
}

fn hash_keys(keys: &[ItemKey]) -> String {
    let mut hash = Sha256::new();
    for key in keys {
        hash.update(key.0.to_le_bytes());
    }
    hex(&hash.finalize())
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A model name becomes a folder name: letters, digits, `_` and `-` only.
fn check_name<'a>(path: &Path, name: &'a str) -> Result<&'a str, ModelError> {
    let good = !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if good { Ok(name) } else { Err(wrong(path, "a model name of letters, digits, `_` and `-`", name)) }
}

fn check_id<'a>(path: &Path, id: &'a str) -> Result<&'a str, ModelError> {
    let good = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    if good { Ok(id) } else { Err(wrong(path, "an artifact id of 64 hexadecimal digits", id)) }
}
