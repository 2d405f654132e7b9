//! Writing the folder of a snapshot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::base::push_parts;
use super::bucket::{BucketOutput, ExampleRows};
use super::resolve::Resolved;
use crate::codec::{Put, Take};
use crate::error::DataError;
use crate::examples::Examples;
use crate::features::{FeatureSchema, aggregates_day};
use crate::snapshot::by_user::ByUserWriter;
use crate::snapshot::column::{Column, ColumnWriter, FileEntry, Pod};
use crate::snapshot::states;
use crate::snapshot::tables::{Interactions, StatSink};
use crate::snapshot::{CoListenColumns, MarketColumns, StatColumns, example_files};
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
    item: ColumnWriter<u32>,
    action: ColumnWriter<u8>,
    occurred_at: ColumnWriter<i64>,
    known_at: ColumnWriter<i64>,
    session: ColumnWriter<u32>,
    listened_ms: ColumnWriter<u32>,
    /// `[n_users + 1]`, filled up to the last user seen.
    offsets: Vec<u64>,
    /// First and last start, first and last moment known, of plays.
    pub(crate) range: Option<[i64; 4]>,
    pub(crate) has_listened_ms: bool,
}

impl PlayFiles {
    pub(crate) fn create(dir: &Path) -> Result<Self, DataError> {
        folder(&dir.join("plays"))?;
        Ok(Self {
            item: ColumnWriter::create(&dir.join("plays/item.u32"))?,
            action: ColumnWriter::create(&dir.join("plays/action.u8"))?,
            occurred_at: ColumnWriter::create(&dir.join("plays/occurred_at.i64"))?,
            known_at: ColumnWriter::create(&dir.join("plays/known_at.i64"))?,
            session: ColumnWriter::create(&dir.join("plays/session.u32"))?,
            listened_ms: ColumnWriter::create(&dir.join("plays/listened_ms.u32"))?,
            offsets: vec![0],
            range: None,
            has_listened_ms: false,
        })
    }

    pub(crate) fn push(&mut self, bucket: &BucketOutput) -> Result<(), DataError> {
        let plays = &bucket.plays;
        self.item.write(&plays.item)?;
        self.action.write(&plays.action)?;
        self.occurred_at.write(&plays.occurred_at)?;
        self.known_at.write(&plays.known_at)?;
        self.session.write(&plays.session)?;
        self.listened_ms.write(&plays.listened_ms)?;
        self.has_listened_ms |= plays.listened_ms.iter().any(|&ms| ms != u32::MAX);
        for (&occurred, &known) in plays.occurred_at.iter().zip(&plays.known_at) {
            let [a, b, c, d] = self.range.unwrap_or([occurred, occurred, known, known]);
            self.range = Some([a.min(occurred), b.max(occurred), c.min(known), d.max(known)]);
        }
        for &(user, n_plays) in &bucket.users {
            self.fill(user as usize);
            self.offsets.push(self.offsets[user as usize] + n_plays);
        }
        Ok(())
    }

    /// Users up to `user` without plays have empty ranges.
    fn fill(&mut self, user: usize) {
        let last = self.offsets[self.offsets.len() - 1];
        self.offsets.resize(user + 1, last);
    }

    pub(crate) fn finish(mut self, dir: &Path, n_users: usize, files: &mut Files) -> Result<u64, DataError> {
        self.fill(n_users);
        let n_plays = self.offsets[n_users];
        column(dir, "plays/offsets.u64", &self.offsets, files)?;
        for (name, entry) in [
            ("plays/item.u32", self.item.finish()?),
            ("plays/action.u8", self.action.finish()?),
            ("plays/occurred_at.i64", self.occurred_at.finish()?),
            ("plays/known_at.i64", self.known_at.finish()?),
            ("plays/session.u32", self.session.finish()?),
            ("plays/listened_ms.u32", self.listened_ms.finish()?),
        ] {
            files.insert(name.to_owned(), entry);
        }
        Ok(n_plays)
    }
}

/// Receives the buckets in order and writes states and the events since as they come.
pub(crate) struct StateFiles {
    dir: PathBuf,
    /// Classes whose states this run writes.
    classes: BTreeMap<u32, ByUserWriter>,
    days: BTreeMap<Day, ByUserWriter>,
}

impl StateFiles {
    /// `classes` are those that no earlier snapshot has.
    pub(crate) fn create(dir: &Path, classes: impl Iterator<Item = u32>) -> Result<Self, DataError> {
        folder(&dir.join("states"))?;
        let create = |class| Ok((class, ByUserWriter::create(&dir.join(states::class_name(class)))?));
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

/// Receives interactions of consecutive users.
pub(crate) struct InteractionFiles {
    offsets: Vec<u64>,
    item: ColumnWriter<u32>,
    counts: ColumnWriter<[u32; 4]>,
    last_played_at: ColumnWriter<i64>,
}

impl InteractionFiles {
    pub(crate) fn create(dir: &Path) -> Result<Self, DataError> {
        folder(&dir.join("interactions"))?;
        Ok(Self {
            offsets: vec![0],
            item: ColumnWriter::create(&dir.join("interactions/item.u32"))?,
            counts: ColumnWriter::create(&dir.join("interactions/counts.u32x4"))?,
            last_played_at: ColumnWriter::create(&dir.join("interactions/last_played_at.i64"))?,
        })
    }

    pub(crate) fn push(&mut self, t: &Interactions) -> Result<(), DataError> {
        let base = self.offsets[self.offsets.len() - 1];
        self.offsets.extend(t.ends.iter().map(|end| base + end));
        self.item.write(&t.item)?;
        self.counts.write(&t.counts)?;
        self.last_played_at.write(&t.last_played_at)
    }

    pub(crate) fn finish(self, dir: &Path, files: &mut Files) -> Result<(), DataError> {
        column(dir, "interactions/offsets.u64", &self.offsets, files)?;
        for (name, entry) in [
            ("interactions/item.u32", self.item.finish()?),
            ("interactions/counts.u32x4", self.counts.finish()?),
            ("interactions/last_played_at.i64", self.last_played_at.finish()?),
        ] {
            files.insert(name.to_owned(), entry);
        }
        Ok(())
    }
}

/// Receives item statistics as they are summed.
pub(crate) struct StatFiles {
    day: ColumnWriter<i32>,
    counts: ColumnWriter<[u32; 6]>,
    decayed: ColumnWriter<f32>,
}

impl StatSink for StatFiles {
    fn push(&mut self, day: &[i32], counts: &[[u32; 6]], decayed: &[f32]) -> Result<(), DataError> {
        self.day.write(day)?;
        self.counts.write(counts)?;
        self.decayed.write(decayed)
    }
}

impl StatFiles {
    pub(crate) fn create(dir: &Path) -> Result<Self, DataError> {
        folder(&dir.join("item_stats"))?;
        Ok(Self {
            day: ColumnWriter::create(&dir.join("item_stats/day.i32"))?,
            counts: ColumnWriter::create(&dir.join("item_stats/counts.u32x6"))?,
            decayed: ColumnWriter::create(&dir.join("item_stats/plays_decayed.f32"))?,
        })
    }

    /// Writes the offsets and maps what was written.
    pub(crate) fn finish(
        self,
        dir: &Path,
        offsets: Column<u64>,
        files: &mut Files,
    ) -> Result<StatColumns, DataError> {
        column(dir, "item_stats/offsets.u64", &offsets, files)?;
        for (name, entry) in [
            ("item_stats/day.i32", self.day.finish()?),
            ("item_stats/counts.u32x6", self.counts.finish()?),
            ("item_stats/plays_decayed.f32", self.decayed.finish()?),
        ] {
            files.insert(name.to_owned(), entry);
        }
        Ok(StatColumns {
            offsets,
            day: map(dir, "item_stats/day.i32")?,
            counts: map(dir, "item_stats/counts.u32x6")?,
            decayed: map(dir, "item_stats/plays_decayed.f32")?,
        })
    }
}

pub(crate) fn markets(dir: &Path, t: &MarketColumns, files: &mut Files) -> Result<(), DataError> {
    folder(&dir.join("market_plays"))?;
    column(dir, "market_plays/day_offsets.u64", &t.day_offsets, files)?;
    column(dir, "market_plays/day.i32", &t.day, files)?;
    column(dir, "market_plays/item_offsets.u64", &t.item_offsets, files)?;
    column(dir, "market_plays/item.u32", &t.item, files)?;
    column(dir, "market_plays/plays.u32", &t.plays, files)
}

pub(crate) fn co_listens(dir: &Path, t: &CoListenColumns, files: &mut Files) -> Result<(), DataError> {
    folder(&dir.join("co_listens"))?;
    column(dir, "co_listens/offsets.u64", &t.offsets, files)?;
    column(dir, "co_listens/item.u32", &t.item, files)?;
    column(dir, "co_listens/count.u32", &t.count, files)
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
        stats: &StatColumns,
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

fn fill(mut rows: Examples, resolved: &Resolved, stats: &StatColumns, schema: &FeatureSchema) -> Examples {
    for row in 0..rows.len() {
        let (item, as_of) = (rows.item[row], TimestampMs(rows.requested_at[row]));
        let known = stats.through(item, aggregates_day(as_of));
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
