//! `segue model embeddings`: vectors of listeners and items as Parquet files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use rayon::prelude::*;
use segue_data::progress::Progress;
use segue_data::snapshot::ProfileRow;
use segue_data::vectors_file::{IdVectors, VectorsWriter};
use segue_data::{Sequence, Snapshot};
use segue_models::{Drift, KeyedRecommender, Query, Rotation, Vectors};
use serde::Serialize;

use crate::Global;
use crate::output::{self, Format};
use crate::progress::Bar;

/// Listeners whose vectors are in memory at one time.
const LISTENERS_PER_PART: usize = 8192;

const ITEMS: (&str, &str) = ("items.parquet", "item_id");
const USERS: (&str, &str) = ("users.parquet", "user_id");

/// What to export.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  segue model embeddings next --out vectors
  segue model embeddings next --out items.parquet --only items
  segue model embeddings next --out vectors --align-to last-week/vectors

Columns: item_id or user_id, n_plays, vector (a fixed-size list of float32). The product of a
listener's and an item's vector is the model's score. Listeners are those of the current snapshot.
With --align-to all vectors are turned onto those of an earlier export, which changes no score.")]
pub(crate) struct Args {
    /// Name of the model, as in segue.toml
    pub(crate) name: String,
    /// Id of the artifact, or its first digits, instead of the one that serves
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Folder for items.parquet and users.parquet, or with --only a file
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
    /// One of the two
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Folder or items file of an earlier export to turn the vectors onto
    #[arg(long, value_name = "DIR|FILE")]
    align_to: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Items,
    Users,
}

/// What was exported.
#[derive(Debug, Serialize)]
struct Exported {
    name: String,
    artifact_id: String,
    kind: String,
    /// Numbers of a vector.
    d: usize,
    files: Vec<ExportedFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alignment: Option<Alignment>,
}

#[derive(Debug, Serialize)]
struct ExportedFile {
    path: PathBuf,
    /// Rows written.
    n_rows: u64,
    /// Listeners or items of the snapshot that the model has no vector for.
    n_without: u64,
}

/// How the vectors compare with the earlier export.
#[derive(Debug, Serialize)]
struct Alignment {
    /// The file they were turned onto.
    earlier: PathBuf,
    /// Items with a vector in both.
    n_items: usize,
    cosine_before: f64,
    cosine: f64,
    neighbours_within: f64,
    neighbours_across_before: f64,
    neighbours_across: f64,
    probe_earlier: f64,
    probe_before: f64,
    probe: f64,
}

/// Exports the artifact in `folder`.
pub(crate) fn run(args: &Args, folder: &Path, global: &Global) -> Result<()> {
    let paths = paths(args)?;
    let keyed = KeyedRecommender::load(folder)?;
    let kind = keyed.model().kind().to_owned();
    let Some(vectors) = keyed.model().vectors() else {
        bail!("model `{}` of kind `{kind}` has no vectors: its scores are no products of two", args.name);
    };
    let snapshot = Snapshot::open_current(&global.home)?;
    let bar = Bar::new(global.quiet);
    let artifact_id = keyed.manifest().map(|m| m.artifact_id.clone()).unwrap_or_default();
    let rows = Rows::new(&keyed, &snapshot);
    let mut items = rows.items(vectors, &snapshot);
    let (mut alignment, mut rotation) = (None, None);
    if let Some(earlier) = &args.align_to {
        let path = if earlier.is_dir() { earlier.join(ITEMS.0) } else { earlier.clone() };
        let (turn, told) = align(&mut items, vectors.size(), path)?;
        (alignment, rotation) = (Some(told), Some(turn));
    }
    let metadata = [
        ("segue.model", args.name.clone()),
        ("segue.artifact", artifact_id.clone()),
        ("segue.snapshot", snapshot.id().to_owned()),
        ("segue.aligned_to", args.align_to.as_ref().map_or(String::new(), |p| p.display().to_string())),
    ];
    let mut files = Vec::new();
    for (path, (_, id)) in paths {
        let mut writer = VectorsWriter::create(&path, id, vectors.size(), &metadata)?;
        let (n_rows, of) = if id == ITEMS.1 {
            writer.write(&items)?;
            (items.id.len() as u64, u64::from(snapshot.n_items()))
        } else {
            let n = rows.users(vectors, &snapshot, rotation.as_ref(), &bar, |part| writer.write(part))?;
            (n, u64::from(snapshot.n_users()))
        };
        writer.finish()?;
        files.push(ExportedFile { path, n_rows, n_without: of - n_rows });
    }
    let d = vectors.size();
    let exported = Exported { name: args.name.clone(), artifact_id, kind, d, files, alignment };
    tell(&exported, global)
}

/// The files to write, with the name of each one's id column.
fn paths(args: &Args) -> Result<Vec<(PathBuf, (&'static str, &'static str))>> {
    let chosen = match args.only {
        None => vec![ITEMS, USERS],
        Some(Only::Items) => vec![ITEMS],
        Some(Only::Users) => vec![USERS],
    };
    if args.out.extension().is_some_and(|e| e == "parquet") {
        if chosen.len() > 1 {
            bail!(
                "{} is one file; say `--only items` or `--only users`, or name a folder",
                args.out.display()
            );
        }
        if let Some(folder) = args.out.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        return Ok(vec![(args.out.clone(), chosen[0])]);
    }
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    Ok(chosen.into_iter().map(|file| (args.out.join(file.0), file)).collect())
}

/// The snapshot's plays in rows of the model.
struct Rows {
    /// `[n_plays]`; items that the model does not know have a row that no model has.
    item: Vec<u32>,
    /// `[n_items]` row in the model of each item of the snapshot.
    of_item: Vec<Option<u32>>,
}

impl Rows {
    fn new(keyed: &KeyedRecommender, snapshot: &Snapshot) -> Self {
        let of_item: Vec<Option<u32>> =
            (0..snapshot.n_items()).map(|row| keyed.row(snapshot.item_key(row))).collect();
        let plays = snapshot.sequences().item;
        let item = plays.par_iter().map(|&row| of_item[row as usize].unwrap_or(u32::MAX)).collect();
        Self { item, of_item }
    }

    /// In the order of the snapshot.
    fn items(&self, vectors: &dyn Vectors, snapshot: &Snapshot) -> IdVectors {
        let mut n_plays = vec![0; self.of_item.len()];
        snapshot.sequences().item.iter().for_each(|&row| n_plays[row as usize] += 1);
        snapshot.profiles().iter().for_each(|entry| n_plays[entry.item as usize] += entry.n_plays);
        let mut out = IdVectors::default();
        for ((row, item), n_plays) in self.of_item.iter().zip(snapshot.items()).zip(n_plays) {
            if row.is_some_and(|row| vectors.item_vector(row, &mut out.vector)) {
                out.id.push(item.item_id.clone());
                out.n_plays.push(n_plays);
            }
        }
        out
    }

    /// Plays and items of a profile, the least played first: a profile has no order, and the most played stand where
    /// models look first, as when the server asks them.
    fn undated(&self, profile: &[ProfileRow]) -> (u64, Vec<u32>) {
        let mut played: Vec<(u64, u32)> = profile.iter().map(|entry| (entry.n_plays, entry.item)).collect();
        played.sort_unstable();
        let rows = played.iter().map(|&(_, row)| self.of_item[row as usize].unwrap_or(u32::MAX)).collect();
        (played.iter().map(|p| p.0).sum(), rows)
    }

    /// In the order of the snapshot, a part at a time; how many there were.
    fn users(
        &self,
        vectors: &dyn Vectors,
        snapshot: &Snapshot,
        rotation: Option<&Rotation>,
        bar: &Bar,
        mut write: impl FnMut(&IdVectors) -> Result<(), segue_data::DataError>,
    ) -> Result<u64> {
        let plays = snapshot.sequences();
        let now = plays.known_at.iter().max().map(|&t| segue_types::TimestampMs(t));
        let users = snapshot.users();
        bar.begin("vectors of listeners", Some(users.len() as u64), "listeners");
        let mut n = 0;
        for from in (0..users.len()).step_by(LISTENERS_PER_PART) {
            let part: Vec<usize> = (from..users.len().min(from + LISTENERS_PER_PART)).collect();
            let found: Vec<Option<(u64, Vec<f32>)>> = part
                .par_iter()
                .map(|&user| {
                    let (first, last) = (plays.offsets[user] as usize, plays.offsets[user + 1] as usize);
                    let mut history = Sequence { item: &self.item[first..last], ..plays.user(user) };
                    let mut n_plays = (last - first) as u64;
                    let undated;
                    if history.item.is_empty() {
                        (n_plays, undated) = self.undated(snapshot.profile(user as u32));
                        history = Sequence { item: &undated, ..Sequence::default() };
                    }
                    let mut vector = Vec::new();
                    let user = &users[user];
                    let holds = user.valid_from.is_none_or(|from| now.is_none_or(|now| from <= now));
                    let query = Query {
                        history,
                        now,
                        market: user.market.as_deref(),
                        plan: user.plan.as_deref().filter(|_| holds),
                        birth_year: user.birth_year_bucket.filter(|_| holds),
                        ..Query::default()
                    };
                    vectors.user_vector(&query, &mut vector).then_some((n_plays, vector))
                })
                .collect();
            let mut rows = IdVectors::default();
            for (&user, (n_plays, vector)) in
                part.iter().zip(&found).filter_map(|(u, f)| Some((u, f.as_ref()?)))
            {
                rows.id.push(users[user].user_id.clone());
                rows.n_plays.push(*n_plays);
                rows.vector.extend_from_slice(vector);
            }
            if let Some(rotation) = rotation {
                rotation.apply(&mut rows.vector);
            }
            write(&rows)?;
            n += rows.id.len() as u64;
            bar.advance(part.len() as u64);
        }
        bar.end();
        Ok(n)
    }
}

/// Turns `items` onto the vectors of an earlier export.
fn align(items: &mut IdVectors, d: usize, earlier: PathBuf) -> Result<(Rotation, Alignment)> {
    let before = IdVectors::read(&earlier, ITEMS.1)?;
    if before.d() != d {
        bail!("{}: expected vectors of {d} numbers as in the model, got {}", earlier.display(), before.d());
    }
    let row: HashMap<&str, usize> = before.id.iter().zip(0..).map(|(id, row)| (id.as_str(), row)).collect();
    let (mut old, mut common, mut n_plays) = (Vec::new(), Vec::new(), Vec::new());
    for (at, id) in items.id.iter().enumerate() {
        if let Some(&row) = row.get(id.as_str()) {
            old.extend_from_slice(&before.vector[row * d..(row + 1) * d]);
            common.push(at);
            n_plays.push(items.n_plays[at]);
        }
    }
    if common.is_empty() {
        bail!("{}: expected items of the model, got none of its {}", earlier.display(), items.id.len());
    }
    let new_of = |items: &IdVectors| -> Vec<f32> {
        common.iter().flat_map(|&at| items.vector[at * d..(at + 1) * d].iter().copied()).collect()
    };
    let new = new_of(items);
    let unaligned = Drift::between(&old, &new, d, &n_plays);
    let rotation = Rotation::onto(&new, &old, d);
    rotation.apply(&mut items.vector);
    let aligned = Drift::between(&old, &new_of(items), d, &n_plays);
    let told = Alignment {
        earlier,
        n_items: aligned.n_items,
        cosine_before: unaligned.cosine,
        cosine: aligned.cosine,
        neighbours_within: aligned.neighbours_within,
        neighbours_across_before: unaligned.neighbours_across,
        neighbours_across: aligned.neighbours_across,
        probe_earlier: aligned.probe_before,
        probe_before: unaligned.probe_after,
        probe: aligned.probe_after,
    };
    Ok((rotation, told))
}

fn tell(exported: &Exported, global: &Global) -> Result<()> {
    if global.format() == Format::Json {
        return output::json(exported);
    }
    for file in &exported.files {
        let ExportedFile { path, n_rows, n_without } = file;
        let d = exported.d;
        output::line(&format!(
            "{}: {n_rows} vectors of {d} numbers, {n_without} without one",
            path.display()
        ));
    }
    if let Some(a) = &exported.alignment {
        output::line(&format!("\n{} items also in {}:", a.n_items, a.earlier.display()));
        let row = |name: &str, before: f64, after: f64| {
            vec![name.to_owned(), format!("{before:.3}"), format!("{after:.3}")]
        };
        output::table(
            &["", "as trained", "turned"],
            &[
                row("cosine with the earlier vector", a.cosine_before, a.cosine),
                row("10 nearest kept, among the new vectors", a.neighbours_within, a.neighbours_within),
                row("10 nearest kept, from earlier to new", a.neighbours_across_before, a.neighbours_across),
                row("frozen probe of plays, R²", a.probe_before, a.probe),
            ],
        );
        output::line(&format!("the probe on the earlier vectors: R² {:.3}", a.probe_earlier));
    }
    Ok(())
}
