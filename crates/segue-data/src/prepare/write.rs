//! Writing the folder of a snapshot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::base::{PlayRange, push_parts};
use super::bucket::BucketOutput;
use super::example_rows::ExampleRows;
use super::resolve::Resolved;
use crate::codec::{Put, Take};
use crate::error::DataError;
use crate::examples::Examples;
use crate::features::{FeatureSchema, aggregates_day};
use crate::sequences::Sequences;
use crate::snapshot::by_key::{ByKeyPart, ByKeyWriter};
use crate::snapshot::column::{Column, ColumnWriter, FileEntry, Pod};
use crate::snapshot::markets::{self, MarketBlocks};
use crate::snapshot::stats::{self, StatBlocks};
use crate::snapshot::tables::StatSink;
use crate::snapshot::{CoListenColumns, blocks, example_files, states, times};
use segue_types::{Day, TimestampMs};

/// Files written so far, by path within the folder.
pub(crate) type Files = BTreeMap<String, FileEntry>;

/// Creates a folder and those above it.
pub(crate) fn folder(path: &Path) -> Result<(), DataError> {
    std::fs::create_dir_all(path).map_err(DataError::io(path))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), DataError> {
    std::fs::File::open(path).and_then(|f| f.sync_all()).map_err(DataError::io(path))
}

fn column<T: Pod>(dir: &Path, name: &str, values: &[T], files: &mut Files) -> Result<(), DataError> {
    let mut writer = ColumnWriter::create(&dir.join(name))?;
    writer.write(values)?;
    files.insert(name.to_owned(), writer.finish()?);
    Ok(())
}

/// Writes whole columns.
pub(crate) fn write_column<T: Pod>(
    dir: &Path,
    name: &str,
    values: &[T],
    files: &mut Files,
) -> Result<(), DataError> {
    column(dir, name, values, files)
}

/// Receives the buckets in order and writes plays as they come.
pub(crate) struct PlayFiles {
    dir: PathBuf,
    item: ColumnWriter<u32>,
    action: ColumnWriter<u8>,
    context: ColumnWriter<u8>,
    times: BTreeMap<i32, ByKeyWriter>,
    /// `[n_users + 1]`, filled up to the last user seen.
    offsets: Vec<u64>,
    new: NewFiles,
    /// Of plays known after the base's checkpoint.
    pub(crate) range: PlayRange,
}

/// What sums need of new plays and the snapshot does not keep, in the folder of the run.
struct NewFiles {
    /// Not where all plays are new.
    item_and_action: Option<(ColumnWriter<u32>, ColumnWriter<u8>)>,
    known_at: ColumnWriter<i64>,
    listened_ms: ColumnWriter<u32>,
    /// `[n_users + 1]`, as above.
    offsets: Vec<u64>,
}

/// The plays of the snapshot, and those that are new, as they were written.
pub(crate) struct PlayTables {
    pub(crate) offsets: Vec<u64>,
    pub(crate) item: Column<u32>,
    pub(crate) action: Column<u8>,
    pub(crate) context: Column<u8>,
    pub(crate) listened_ms: Column<u32>,
    known_at: Column<i64>,
    new_offsets: Vec<u64>,
    /// Not where all plays are new.
    new_item_and_action: Option<(Column<u32>, Column<u8>)>,
    n_items: u32,
}

impl PlayTables {
    /// All plays, without moments and numbers of sessions.
    pub(crate) fn all(&self) -> Sequences<'_> {
        Sequences {
            offsets: &self.offsets,
            item: &self.item,
            action: &self.action,
            occurred_at: &[],
            known_at: &[],
            session: &[],
            context: &self.context,
            n_items: self.n_items,
        }
    }

    /// New plays and when they became known.
    pub(crate) fn new_plays(&self) -> Sequences<'_> {
        let (item, action): (&[u32], &[u8]) = match &self.new_item_and_action {
            Some((item, action)) => (item, action),
            None => (&self.item, &self.action),
        };
        let (offsets, known_at) = (&self.new_offsets[..], &self.known_at[..]);
        Sequences { offsets, item, action, known_at, context: &[], ..self.all() }
    }
}

impl PlayFiles {
    /// `work` is the folder of the run; `are_all_new` unless an earlier snapshot is continued.
    pub(crate) fn create(dir: &Path, work: &Path, are_all_new: bool) -> Result<Self, DataError> {
        folder(&dir.join("plays"))?;
        let item_and_action = match are_all_new {
            true => None,
            false => Some((
                ColumnWriter::create(&work.join("new-item"))?,
                ColumnWriter::create(&work.join("new-action"))?,
            )),
        };
        Ok(Self {
            dir: dir.to_path_buf(),
            item: ColumnWriter::create(&dir.join("plays/item.u32"))?,
            action: ColumnWriter::create(&dir.join("plays/action.u8"))?,
            context: ColumnWriter::create(&dir.join("plays/context.u8"))?,
            times: BTreeMap::new(),
            offsets: vec![0],
            new: NewFiles {
                item_and_action,
                known_at: ColumnWriter::create(&work.join("new-known-at"))?,
                listened_ms: ColumnWriter::create(&work.join("new-listened"))?,
                offsets: vec![0],
            },
            range: PlayRange::default(),
        })
    }

    pub(crate) fn push(&mut self, bucket: &BucketOutput) -> Result<(), DataError> {
        let plays = &bucket.plays;
        self.item.write(&plays.item)?;
        self.action.write(&plays.action)?;
        self.context.write(&plays.context)?;
        push_parts(&mut self.times, &bucket.times, |block| self.dir.join(blocks::name(times::TABLE, block)))?;
        if let Some((item, action)) = &mut self.new.item_and_action {
            item.write(&plays.new.item)?;
            action.write(&plays.new.action)?;
        }
        self.new.known_at.write(&plays.new.known_at)?;
        self.new.listened_ms.write(&plays.new.listened_ms)?;
        self.range.merge(&bucket.range);
        for of in &bucket.users {
            self.fill(of.user as usize);
            self.offsets.push(self.offsets[of.user as usize] + of.n_plays);
            self.new.offsets.push(self.new.offsets[of.user as usize] + of.n_new);
        }
        Ok(())
    }

    /// Users up to `user` without plays have empty ranges.
    fn fill(&mut self, user: usize) {
        for offsets in [&mut self.offsets, &mut self.new.offsets] {
            let last = offsets[offsets.len() - 1];
            offsets.resize(user + 1, last);
        }
    }

    pub(crate) fn finish(mut self, resolved: &Resolved, files: &mut Files) -> Result<PlayTables, DataError> {
        self.fill(resolved.users.len());
        let dir = self.dir.as_path();
        column(dir, "plays/offsets.u64", &self.offsets, files)?;
        for (name, entry) in [
            ("plays/item.u32", self.item.finish()?),
            ("plays/action.u8", self.action.finish()?),
            ("plays/context.u8", self.context.finish()?),
        ] {
            files.insert(name.to_owned(), entry);
        }
        for (block, file) in self.times {
            files.insert(blocks::name(times::TABLE, block), file.finish()?);
        }
        let new_item_and_action = match self.new.item_and_action {
            Some((item, action)) => Some((item.map()?, action.map()?)),
            None => None,
        };
        Ok(PlayTables {
            offsets: self.offsets,
            item: map(dir, "plays/item.u32")?,
            action: map(dir, "plays/action.u8")?,
            context: map(dir, "plays/context.u8")?,
            listened_ms: self.new.listened_ms.map()?,
            known_at: self.new.known_at.map()?,
            new_offsets: self.new.offsets,
            new_item_and_action,
            n_items: resolved.items.len() as u32,
        })
    }
}

/// Receives the buckets in order and writes states and the events since as they come.
pub(crate) struct StateFiles {
    dir: PathBuf,
    /// Classes whose states this run writes.
    classes: BTreeMap<u32, ByKeyWriter>,
    days: BTreeMap<Day, ByKeyWriter>,
}

impl StateFiles {
    /// `classes` are those that no earlier snapshot has.
    pub(crate) fn create(dir: &Path, classes: impl Iterator<Item = u32>) -> Result<Self, DataError> {
        folder(&dir.join("states"))?;
        let create = |class| Ok((class, ByKeyWriter::create(&dir.join(states::class_name(class)))?));
        let classes = classes.map(create).collect::<Result<_, DataError>>()?;
        Ok(Self { dir: dir.to_path_buf(), classes, days: BTreeMap::new() })
    }

    pub(crate) fn push(&mut self, bucket: &BucketOutput) -> Result<(), DataError> {
        if let Some(file) = self.classes.get_mut(&bucket.class) {
            file.push(&bucket.states)?;
        }
        push_parts(&mut self.days, &bucket.events, |day| self.dir.join(states::day_name(day)))
    }

    pub(crate) fn finish(self, files: &mut Files) -> Result<(), DataError> {
        for (class, file) in self.classes {
            files.insert(states::class_name(class), file.finish()?);
        }
        for (day, file) in self.days {
            files.insert(states::day_name(day), file.finish()?);
        }
        Ok(())
    }
}

/// Receives item statistics as they are summed.
pub(crate) struct StatFiles {
    dir: PathBuf,
    blocks: BTreeMap<i32, ByKeyWriter>,
}

impl StatSink for StatFiles {
    fn push(&mut self, parts: &BTreeMap<i32, ByKeyPart>) -> Result<(), DataError> {
        push_parts(&mut self.blocks, parts, |block| self.dir.join(blocks::name(stats::TABLE, block)))
    }
}

impl StatFiles {
    pub(crate) fn create(dir: &Path) -> Result<Self, DataError> {
        folder(&dir.join("item_stats"))?;
        Ok(Self { dir: dir.to_path_buf(), blocks: BTreeMap::new() })
    }

    /// Maps what was written and what is kept of an earlier snapshot.
    pub(crate) fn finish(self, files: &mut Files) -> Result<StatBlocks, DataError> {
        for (block, file) in self.blocks {
            files.insert(blocks::name(stats::TABLE, block), file.finish()?);
        }
        StatBlocks::open(&self.dir, files.keys())
    }
}

/// Writes blocks of plays by market and maps them with those kept of an earlier snapshot.
pub(crate) fn markets(
    dir: &Path,
    parts: &BTreeMap<i32, ByKeyPart>,
    files: &mut Files,
) -> Result<MarketBlocks, DataError> {
    folder(&dir.join("market_plays"))?;
    let mut blocks = BTreeMap::new();
    push_parts(&mut blocks, parts, |block| dir.join(blocks::name(markets::TABLE, block)))?;
    for (block, file) in blocks {
        files.insert(blocks::name(markets::TABLE, block), file.finish()?);
    }
    MarketBlocks::open(dir, files.keys())
}

pub(crate) fn co_listens(dir: &Path, t: &CoListenColumns, files: &mut Files) -> Result<(), DataError> {
    folder(&dir.join("co_listens"))?;
    column(dir, "co_listens/offsets.u64", &t.offsets, files)?;
    column(dir, "co_listens/item.u32", &t.item, files)?;
    column(dir, "co_listens/count.u32", &t.count, files)?;
    column(dir, "co_listens/day.i32", &t.day, files)
}

/// Maps a column just written.
pub(crate) fn map<T: Pod>(dir: &Path, name: &str) -> Result<Column<T>, DataError> {
    Column::open(&dir.join(name))
}

/// Appends floats most of which are 0 or missing: per 32 of them two masks, then the others.
fn put_sparse(values: &[f32], out: &mut Vec<u8>) {
    for chunk in values.chunks(32) {
        let is =
            |bits: u32| chunk.iter().rev().fold(0_u32, |mask, v| mask << 1 | u32::from(v.to_bits() == bits));
        let (zero, missing) = (is(0), is(f32::NAN.to_bits()));
        out.put_u32(zero);
        out.put_u32(missing);
        for (i, v) in chunk.iter().enumerate() {
            if (zero | missing) >> i & 1 == 0 {
                out.put_u32(v.to_bits());
            }
        }
    }
}

/// Reads what [`put_sparse`] wrote.
fn take_sparse(t: &mut Take<'_>, values: &mut [f32]) -> Option<()> {
    for chunk in values.chunks_mut(32) {
        let (zero, missing) = (t.u32()?, t.u32()?);
        for (i, v) in chunk.iter_mut().enumerate() {
            *v = match (zero >> i & 1, missing >> i & 1) {
                (0, 0) => f32::from_bits(t.u32()?),
                (1, 0) => 0.0,
                _ => f32::NAN,
            };
        }
    }
    Some(())
}

/// Training rows waiting by day, spilled to files.
pub(crate) struct ExampleSpill {
    folder: PathBuf,
    n_features: usize,
    waiting: BTreeMap<i32, Vec<u8>>,
    n_bytes: usize,
    days: std::collections::BTreeSet<i32>,
}

/// Bytes of waiting rows before they go to disk.
const SPILL_BYTES: usize = 32 << 20;

impl ExampleSpill {
    pub(crate) fn new(folder: &Path, n_features: usize) -> Self {
        Self {
            folder: folder.to_path_buf(),
            n_features,
            waiting: BTreeMap::new(),
            n_bytes: 0,
            days: std::collections::BTreeSet::new(),
        }
    }

    fn path(&self, day: i32) -> PathBuf {
        self.folder.join(format!("examples-{day}"))
    }

    pub(crate) fn push(&mut self, rows: &ExampleRows) -> Result<(), DataError> {
        for row in 0..rows.group.len() {
            let day = TimestampMs(rows.requested_at[row]).day().0;
            let out = self.waiting.entry(day).or_default();
            let before = out.len();
            out.put_u64(rows.group[row]);
            out.put_i64(rows.requested_at[row]);
            out.put_u32(rows.user[row]);
            out.put_u32(rows.item[row]);
            out.put_u32(rows.position[row]);
            out.put_u64(rows.prefix_propensity[row].to_bits());
            let values = &rows.values[row * self.n_features..(row + 1) * self.n_features];
            put_sparse(&rows.labels[row], out);
            put_sparse(values, out);
            self.n_bytes += out.len() - before;
        }
        if self.n_bytes >= SPILL_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), DataError> {
        use std::io::Write;
        for (day, bytes) in std::mem::take(&mut self.waiting) {
            let path = self.path(day);
            let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
            file.and_then(|mut f| f.write_all(&bytes)).map_err(DataError::io(&path))?;
            self.days.insert(day);
        }
        self.n_bytes = 0;
        Ok(())
    }

    /// Fills the item columns as of the day before each request and writes a file per day.
    pub(crate) fn finish(
        mut self,
        dir: &Path,
        resolved: &Resolved,
        stats: &StatBlocks,
        schema: &FeatureSchema,
        files: &mut Files,
    ) -> Result<u64, DataError> {
        self.flush()?;
        if !self.days.is_empty() {
            folder(&dir.join("examples"))?;
        }
        let days: Vec<(String, FileEntry, u64)> = self
            .days
            .par_iter()
            .map(|&day| {
                let path = self.path(day);
                let bytes = std::fs::read(&path).map_err(DataError::io(&path))?;
                let rows = self
                    .decode(&bytes, schema)
                    .ok_or_else(|| DataError::corrupt(&path, "whole rows", "a torn one"))?;
                let rows = fill(rows, resolved, stats, schema);
                let name = format!("examples/day={}.parquet", Day(day).to_iso());
                let (users, items) = (&resolved.user_keys, &resolved.item_keys);
                let entry = example_files::write(&dir.join(&name), &rows, users, items)?;
                Ok((name, entry, rows.len() as u64))
            })
            .collect::<Result<_, DataError>>()?;
        let n_rows = days.iter().map(|d| d.2).sum();
        files.extend(days.into_iter().map(|(name, entry, _)| (name, entry)));
        Ok(n_rows)
    }

    fn decode(&self, bytes: &[u8], schema: &FeatureSchema) -> Option<Examples> {
        let mut out = Examples { feature_names: schema.names().to_vec(), ..Examples::default() };
        let mut t = Take(bytes);
        while t.end().is_none() {
            out.group.push(t.u64()?);
            out.requested_at.push(t.i64()?);
            out.user.push(t.u32()?);
            out.item.push(t.u32()?);
            out.position.push(t.u32()?);
            out.prefix_propensity.push(f64::from_bits(t.u64()?));
            let mut labels = [0.0; 3];
            take_sparse(&mut t, &mut labels)?;
            out.labels.iter_mut().zip(labels).for_each(|(column, label)| column.push(label));
            let from = out.values.len();
            out.values.resize(from + self.n_features, 0.0);
            take_sparse(&mut t, &mut out.values[from..])?;
        }
        Some(out)
    }
}

fn fill(mut rows: Examples, resolved: &Resolved, stats: &StatBlocks, schema: &FeatureSchema) -> Examples {
    for row in 0..rows.len() {
        let (item, as_of) = (rows.item[row], TimestampMs(rows.requested_at[row]));
        let known = stats.through(resolved.item_keys[item as usize], aggregates_day(as_of));
        let n = schema.len();
        let values = &mut rows.values[row * n..(row + 1) * n];
        schema.fill_item(known, &resolved.facts(item, as_of), as_of, values);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sparse_floats_come_back_bit_for_bit(
            values in prop::collection::vec(prop_oneof![Just(0_u32), Just(f32::NAN.to_bits()), any::<u32>()], 0..80),
        ) {
            let values: Vec<f32> = values.into_iter().map(f32::from_bits).collect();
            let mut bytes = Vec::new();
            put_sparse(&values, &mut bytes);
            let mut back = vec![1.0; values.len()];
            let mut t = Take(&bytes);
            prop_assert_eq!(take_sparse(&mut t, &mut back), Some(()));
            prop_assert_eq!(t.end(), Some(()));
            let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&values));
        }
    }
}
