//! `segue model`: the artifacts of a home, and their way to other places and back.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, Subcommand};
use segue_models::{
    ArtifactMeta, LoadedArtifact, Manifest, Measured, MeasuredMetric, RoundReport, TrainingRecord, artifact,
    measured_card,
};
use serde::Serialize;

use crate::Global;
use crate::commands::embeddings;
use crate::commands::evaluate::measured;
use crate::measure::{bytes_for_people, count_for_people};
use crate::output::{self, Format};
use crate::store::Store;

/// List and show trained models, and copy them to and from folders and object stores.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue model list
  segue model show next
  segue model embeddings next --out vectors
  segue model push next s3://models/next
  segue model pull runs/esasrec --name next --publish

A place is a folder, file://, https://, http://, s3://BUCKET/PREFIX (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION or AWS_ENDPOINT_URL) or gs://BUCKET/PREFIX (GOOGLE_OAUTH_ACCESS_TOKEN, or the
service account of the machine); its files have the layout of a model repository on the Hugging Face hub.
SSL_CERT_FILE names a PEM file of certificate authorities instead of the machine's own.")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The artifacts of this home
    List,
    /// One artifact: where it comes from, its settings and its arrays
    #[command(after_help = "Example:\n  segue model show next --json")]
    Show(Named),
    /// Write the vectors of listeners and items as Parquet files
    Embeddings(embeddings::Args),
    /// Copy an artifact to a folder or an object store
    #[command(after_help = "Example:\n  segue model push next /mnt/models/next")]
    Push {
        #[command(flatten)]
        named: Named,
        /// Where to: a folder, file://, https://, http://, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX
        place: String,
    },
    /// Check a model from a folder or an object store in full, and take it into this home
    #[command(after_help = "Example:\n  segue model pull runs/esasrec --name next --publish")]
    Pull {
        /// Where from: a folder, file://, https://, http://, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX
        place: String,
        /// Its name here, as in segue.toml
        #[arg(long)]
        name: String,
        /// Let it serve; a running server takes it with POST /v1/reload
        #[arg(long)]
        publish: bool,
    },
}

#[derive(Debug, ClapArgs)]
struct Named {
    /// Name of the model, as in segue.toml
    name: String,
    /// Id of the artifact, or its first digits, instead of the one that serves
    #[arg(long)]
    id: Option<String>,
}

/// One artifact of the home.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    artifact_id: String,
    /// Whether it is the one that serves.
    serves: bool,
    kind: Option<String>,
    n_items: Option<u64>,
    n_bytes: Option<u64>,
    snapshot_id: Option<String>,
    /// Why it cannot be loaded.
    error: Option<String>,
}

/// What was copied.
#[derive(Debug, Serialize)]
struct Copied {
    name: String,
    artifact_id: String,
    kind: String,
    n_items: u64,
    n_bytes: u64,
    place: String,
    /// Whether it serves here now; absent for a copy to elsewhere.
    published: Option<bool>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<()> {
    let artifacts = global.home.join("artifacts");
    match &args.what {
        What::List => list(&artifacts, global),
        What::Show(named) => show(&artifacts, named, global),
        What::Embeddings(args) => {
            let named = Named { name: args.name.clone(), id: args.id.clone() };
            embeddings::run(args, &folder_of(&artifacts, &named)?, global)
        }
        What::Push { named, place } => push(&artifacts, named, place, global),
        What::Pull { place, name, publish } => pull(&artifacts, place, name, *publish, global),
    }
}

fn list(artifacts: &Path, global: &Global) -> Result<()> {
    let mut listed = Vec::new();
    for name in names_in(artifacts)? {
        let serves = artifact::current(artifacts, &name).ok().flatten();
        for id in ids_of(artifacts, &name)? {
            let folder = artifacts.join(&name).join(&id);
            let serves = serves.as_deref() == Some(&*folder);
            let mut line = Listed {
                name: name.clone(),
                artifact_id: id,
                serves,
                kind: None,
                n_items: None,
                n_bytes: None,
                snapshot_id: None,
                error: None,
            };
            match artifact::load(&folder) {
                Ok(LoadedArtifact { manifest, .. }) => {
                    line.n_bytes = Some(manifest.files.values().map(|f| f.n_bytes).sum());
                    line.n_items = Some(manifest.n_items);
                    line.kind = Some(manifest.kind);
                    line.snapshot_id = manifest.meta.snapshot_id;
                }
                Err(e) => line.error = Some(e.to_string()),
            }
            listed.push(line);
        }
    }
    if global.format() == Format::Json {
        return output::json(&listed);
    }
    if listed.is_empty() {
        global.say("no artifacts; `segue train` makes them, `segue model pull` takes them in");
    }
    let rows: Vec<Vec<String>> = listed
        .into_iter()
        .map(|l| {
            vec![
                l.name,
                short(&l.artifact_id),
                if l.serves { "serves".to_owned() } else { "–".to_owned() },
                l.kind.unwrap_or_else(|| "–".to_owned()),
                l.n_items.map_or_else(|| "–".to_owned(), count_for_people),
                l.n_bytes.map_or_else(|| "–".to_owned(), bytes_for_people),
                l.error.or(l.snapshot_id.as_deref().map(short)).unwrap_or_else(|| "–".to_owned()),
            ]
        })
        .collect();
    output::table(&["model", "artifact", "now", "kind", "items", "size", "snapshot"], &rows);
    Ok(())
}

fn show(artifacts: &Path, named: &Named, global: &Global) -> Result<()> {
    let loaded = loaded(artifacts, named)?;
    let measured = known_measured(artifacts, &named.name, global)
        .filter(|m| m.differs_from(&loaded.manifest, &loaded.parts.config).is_none());
    let tensors: Vec<(String, String, Vec<usize>)> = loaded
        .parts
        .tensors
        .shapes()
        .map(|(name, kind, shape)| (name.to_owned(), kind, shape.to_vec()))
        .collect();
    if global.format() == Format::Json {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(name, kind, shape)| serde_json::json!({ "name": name, "type": kind, "shape": shape }))
            .collect();
        return output::json(&serde_json::json!({
            "name": named.name,
            "manifest": loaded.manifest,
            "measured": measured,
            "settings": loaded.parts.config,
            "tensors": tensors,
        }));
    }
    let meta = &loaded.manifest.meta;
    let snapshot = meta.snapshot_id.as_deref().unwrap_or("–");
    output::line(&format!("{} {}", named.name, loaded.manifest.artifact_id));
    output::line(&format!("kind {}, {} items", loaded.manifest.kind, loaded.manifest.n_items));
    output::line(&format!("snapshot {snapshot}, seed {}", meta.seed));
    for (name, value) in &meta.metrics {
        output::line(&format!("{name} {value}"));
    }
    for (name, note) in &meta.notes {
        output::line(&format!("{name}: {note}"));
    }
    if let Some(measured) = measured {
        output::line(&format!("evaluated: {}, {} listeners", measured.protocol, measured.n_users));
        for MeasuredMetric { name, value, interval, .. } in &measured.metrics {
            let value = value.map_or("–".to_owned(), |v| format!("{v:.4}"));
            let interval = interval.map_or(String::new(), |[low, high]| format!(" [{low:.4}, {high:.4}]"));
            output::line(&format!("{name} {value}{interval}"));
        }
    }
    output::line(&format!("settings {}", loaded.parts.config));
    if let Some(training) = &meta.training {
        if let Some(id) = &training.warm_start {
            output::line(&format!("started from the weights of {id}"));
        }
        if training.refitted {
            output::line("refitted: trained anew on all plays for the best number of rounds");
        }
        output::table(&["round", "steps", "loss", "NDCG@10", ""], &curve(training));
    }
    let rows: Vec<Vec<String>> =
        tensors.into_iter().map(|(name, kind, shape)| vec![name, kind, format!("{shape:?}")]).collect();
    output::table(&["array", "type", "shape"], &rows);
    Ok(())
}

/// The loss curve; the round that decided is marked.
fn curve(training: &TrainingRecord) -> Vec<Vec<String>> {
    let mark = if training.refitted { "best" } else { "kept" };
    let row = |r: &RoundReport| {
        vec![
            r.round.to_string(),
            r.step.to_string(),
            format!("{:.4}", r.loss),
            r.validation_ndcg.map_or("–".to_owned(), |ndcg| format!("{ndcg:.4}")),
            if training.best_round == Some(r.round) { mark.to_owned() } else { String::new() },
        ]
    };
    training.rounds.iter().map(row).collect()
}

fn push(artifacts: &Path, named: &Named, place: &str, global: &Global) -> Result<()> {
    let folder = folder_of(artifacts, named)?;
    let LoadedArtifact { manifest, parts, item_keys } = artifact::load(&folder)?;
    let card = card(artifacts, &named.name, &manifest, &parts.config, global);
    artifact::check(parts, item_keys)?;
    let store = Store::open(place)?;
    let mut n_bytes = 0;
    for file in artifact::FILES {
        let bytes = match &card {
            Some(card) if file == artifact::CARD => Some(card.clone().into_bytes()),
            // An artifact may have lost its card, which nothing reads.
            _ => Store::Folder(folder.clone()).get(file)?,
        };
        if let Some(bytes) = bytes {
            n_bytes += bytes.len() as u64;
            store.put(file, &bytes)?;
        }
    }
    tell(
        Copied {
            name: named.name.clone(),
            artifact_id: manifest.artifact_id,
            kind: manifest.kind,
            n_items: manifest.n_items,
            n_bytes,
            place: place.to_owned(),
            published: None,
        },
        global,
    )
}

/// The card with what `segue evaluate` measured of such a model; `None` where there is nothing of the kind.
fn card(
    artifacts: &Path,
    name: &str,
    manifest: &Manifest,
    settings: &serde_json::Value,
    global: &Global,
) -> Option<String> {
    let measured = known_measured(artifacts, name, global)?;
    match measured_card(manifest, settings, &measured) {
        Ok(card) => Some(card),
        Err(why) => {
            global.say(&format!(
                "the card of {name} goes without its evaluation: {why}; `segue evaluate` measures it"
            ));
            None
        }
    }
}

/// What was measured last; a file that cannot be read is said and passed over, for the model is sound without.
fn known_measured(artifacts: &Path, name: &str, global: &Global) -> Option<Measured> {
    measured::of(artifacts, name).unwrap_or_else(|error| {
        global.say(&format!("{error:#}"));
        None
    })
}

fn pull(artifacts: &Path, place: &str, name: &str, publish: bool, global: &Global) -> Result<()> {
    let store = Store::open(place)?;
    let mut files = BTreeMap::new();
    for file in artifact::FILES {
        if let Some(bytes) = store.get(file)? {
            files.insert(file.to_owned(), bytes);
        }
    }
    for needed in ["config.json", "model.safetensors"] {
        if !files.contains_key(needed) {
            bail!("{place} holds no {needed}; a model is config.json and model.safetensors");
        }
    }
    let n_bytes = files.values().map(|bytes| bytes.len() as u64).sum();
    let meta = ArtifactMeta {
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        notes: [("origin".to_owned(), place.to_owned())].into(),
        ..ArtifactMeta::default()
    };
    let id = artifact::receive(artifacts, name, &files, &meta).with_context(|| format!("pulling {place}"))?;
    if publish {
        artifact::publish(artifacts, name, &id)?;
    }
    let manifest = artifact::load(&artifacts.join(name).join(&id))?.manifest;
    tell(
        Copied {
            name: name.to_owned(),
            artifact_id: id,
            kind: manifest.kind,
            n_items: manifest.n_items,
            n_bytes,
            place: place.to_owned(),
            published: Some(publish),
        },
        global,
    )
}

fn tell(copied: Copied, global: &Global) -> Result<()> {
    if global.format() == Format::Json {
        return output::json(&copied);
    }
    let Copied { name, artifact_id, kind, n_items, n_bytes, place, published } = copied;
    let what =
        format!("{name} {} ({kind}, {n_items} items, {})", short(&artifact_id), bytes_for_people(n_bytes));
    output::line(&match published {
        None => format!("{what} is in {place}"),
        Some(true) => format!("{what} from {place} is checked and serves"),
        Some(false) => format!("{what} from {place} is checked; `--publish` lets it serve"),
    });
    Ok(())
}

fn loaded(artifacts: &Path, named: &Named) -> Result<LoadedArtifact> {
    Ok(artifact::load(&folder_of(artifacts, named)?)?)
}

/// The folder that `--id` names, else the one that serves.
fn folder_of(artifacts: &Path, named: &Named) -> Result<std::path::PathBuf> {
    let Named { name, id } = named;
    let Some(start) = id else {
        return artifact::current(artifacts, name)?.with_context(|| {
            format!("no artifact of `{name}` serves; `segue model list` shows what there is")
        });
    };
    // Refuses names that are no folder name.
    artifact::current(artifacts, name)?;
    let ids = ids_of(artifacts, name)?;
    let mut found = ids.iter().filter(|id| id.starts_with(start.as_str()));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(artifacts.join(name).join(id)),
        (None, _) => bail!("no artifact of `{name}` begins with `{start}`; there are {}", ids.join(", ")),
        (Some(_), Some(_)) => {
            bail!("more than one artifact of `{name}` begins with `{start}`; give more digits")
        }
    }
}

fn names_in(artifacts: &Path) -> Result<Vec<String>> {
    folders(artifacts, |_| true)
}

fn ids_of(artifacts: &Path, name: &str) -> Result<Vec<String>> {
    folders(&artifacts.join(name), |id| id.len() == 64)
}

/// Names of the folders within a folder, sorted; none if it is absent.
fn folders(folder: &Path, is_one: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.with_context(|| folder.display().to_string())?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.path().is_dir() && !name.starts_with('.') && is_one(&name) {
                    names.push(name);
                }
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(|| folder.display().to_string()),
    }
    names.sort_unstable();
    Ok(names)
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
