//! Continuing an earlier snapshot: what a run leaves for the next one, and when it may be used.
//!
//! A snapshot keeps a checkpoint as of the end of day C, two days before the last day of log it
//! read: the events accepted and the counts up to then. By that time all training rows of
//! requests up to C are final, since impressions and outcomes count only if they became known
//! within 24 h. The next run takes plays and states up to C from the snapshot and reads only later
//! days: three of them, however long the log is.
//!
//! Tables that look at nothing but plays hold longer: through the last day up to which the log is
//! still what it was, usually the last day of the snapshot. Sums are taken from them and the new
//! day's plays added; a listener to whom nothing happened since is copied, training rows included,
//! without being folded. Files that no later event can change are shared by hard link: moments of
//! plays, item statistics, plays by market and fingerprints in blocks of days that are over
//! (`snapshot/blocks.rs`), events and states (`snapshot/states.rs`), training rows, and the
//! catalogue where it is the same.
//!
//! What still grows with the log: items, actions and contexts of all plays, which models read as
//! flat columns, are copied one after the other; co-listens of an item played on the new day are
//! counted over all its plays; plays by market are summed anew where a listener has moved; and the
//! earlier snapshot is hashed once.
//!
//! What cannot be continued is rebuilt: a change in the log up to C, in the facts of an item met
//! before, in versions or settings, or in what training rows are made from.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use segue_types::{Day, Item, ItemKey, User, UserKey};
use xxhash_rust::xxh3::xxh3_64;

use super::record::NONE;
use super::resolve::Resolved;
use super::scan::Rejects;
use super::write::{Files, folder, map, write_column};
use crate::codec::Put;
use crate::error::DataError;
use crate::examples::{Examples, ExamplesFrom};
use crate::log::PartInfo;
use crate::snapshot::by_key::{ByKey, ByKeyPart, ByKeyWriter, Cursor};
use crate::snapshot::column::Column;
use crate::snapshot::states::{self, Kept, StateCursor};
use crate::snapshot::tables::{Earlier, NO_ROW};
use crate::snapshot::times::{self, PlayTimes};
use crate::snapshot::{Snapshot, blocks, example_files, markets, stats};

/// Days between the checkpoint and the last day of the log.
pub(crate) const OPEN_DAYS: i32 = 2;

/// Fingerprints of accepted events, in names of files.
const SEEN: &str = "checkpoint/seen";

/// Whether all days of a block are final, the last of which is `last`.
fn is_block_over(block: i32, last: Day) -> bool {
    blocks::last_day(block) <= last
}

/// Counts through the checkpoint, and what the run was made with.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Meta {
    /// The checkpoint's day, C.
    pub(crate) day: Day,
    /// Hash of the parts up to C.
    pub(crate) parts_xxh3: String,
    /// Hash of the parts of tables without days.
    pub(crate) catalogue_xxh3: String,
    pub(crate) rejects: BTreeMap<segue_types::RejectReason, u64>,
    pub(crate) n_feedback: u64,
    pub(crate) n_impressions: u64,
    /// What is known of the plays.
    pub(crate) plays: PlayRange,
    /// Hash of the parts up to each later day that the run read.
    pub(crate) open_xxh3: BTreeMap<Day, String>,
    /// Rows of log up to C by table.
    pub(crate) rows: BTreeMap<String, u64>,
    pub(crate) examples_from: ExamplesFrom,
    /// The first received day with a slate, if it is C or before.
    pub(crate) slates_from: Option<Day>,
    pub(crate) sample_bits: u32,
    pub(crate) feature_names: Vec<String>,
    pub(crate) versions: BTreeMap<String, u16>,
}

/// What the manifest says of all plays, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct PlayRange {
    /// First and last moment a play began, UTC milliseconds.
    pub(crate) occurred_at: Option<(i64, i64)>,
    /// First and last moment a play became known, UTC milliseconds.
    pub(crate) known_at: Option<(i64, i64)>,
    /// Whether any play says how long it was heard.
    pub(crate) has_listened_ms: bool,
}

impl PlayRange {
    /// Takes in a play.
    pub(crate) fn add(&mut self, play: &PlayTimes) {
        let at = |at: i64| Some((at, at));
        let has_listened_ms = play.listened_ms != u32::MAX;
        self.merge(&Self { occurred_at: at(play.occurred_at), known_at: at(play.known_at), has_listened_ms });
    }

    /// Takes in other plays.
    pub(crate) fn merge(&mut self, other: &Self) {
        let wider = |a: Option<(i64, i64)>, b: Option<(i64, i64)>| match (a, b) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        self.occurred_at = wider(self.occurred_at, other.occurred_at);
        self.known_at = wider(self.known_at, other.known_at);
        self.has_listened_ms |= other.has_listened_ms;
    }
}

/// An earlier snapshot and its checkpoint.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) snapshot: Snapshot,
    pub(crate) meta: Meta,
    /// The last day, C or later, up to which this log is still the one the base was made from.
    /// Tables hold through it; states and training rows only through C.
    pub(crate) same_through: Day,
    /// Fingerprints of the events accepted through the checkpoint, by block of days.
    seen: BTreeMap<i32, ByKey>,
    facts: Column<u64>,
}

/// What a run keeps of one listener of the base.
#[derive(Debug)]
pub(crate) struct BaseUser<'a> {
    /// Row in the base.
    pub(crate) row: u32,
    /// The state and the events since.
    pub(crate) kept: Kept<'a>,
    /// Fingerprints of the events accepted until then, 8 bytes each.
    pub(crate) seen: Vec<&'a [u8]>,
    /// Those of them in blocks that are not over.
    pub(crate) open_seen: Vec<(i32, &'a [u8])>,
    /// Moments of plays in blocks that this run writes or that reach beyond the checkpoint.
    pub(crate) times: Vec<(i32, &'a [u8])>,
}

/// Training rows of listeners to whom nothing happened since.
#[derive(Debug)]
pub(crate) struct Carried {
    /// The first moment after the base's last day.
    pub(crate) until: i64,
    /// Rows that are not final, by day; ascending by user, in rows of this run.
    pub(crate) days: Vec<Examples>,
}

/// Per item a hash of everything folds may know of it: its validity rows in order.
pub(crate) struct FactHashes {
    /// Key and hash, keys ascending.
    hashes: Vec<(u64, u64)>,
}

impl FactHashes {
    pub(crate) fn new(rows: &[Item]) -> Self {
        let from = |row: &Item| row.valid_from.map_or(i64::MIN, |t| t.0);
        let mut order: Vec<(u64, i64, usize)> =
            rows.iter().enumerate().map(|(i, row)| (ItemKey::of(&row.item_id).0, from(row), i)).collect();
        order.sort_unstable();
        let mut bytes = Vec::new();
        let hashes = order.chunk_by(|a, b| a.0 == b.0).map(|same| {
            bytes.clear();
            for &(_, from, i) in same {
                let facts = crate::catalogue::ItemFacts::of(&rows[i]);
                bytes.put_i64(from);
                bytes.put_u64(facts.artist);
                bytes.put_u64(facts.tag);
                for v in [facts.duration_ms, facts.release_day.map(|d| i64::from(d.0))] {
                    bytes.put_u8(u8::from(v.is_some()));
                    bytes.put_i64(v.unwrap_or(0));
                }
            }
            (same[0].0, xxh3_64(&bytes))
        });
        Self { hashes: hashes.collect() }
    }

    /// The hash of each item row's facts, 0 where nothing is known. `item_keys` ascend.
    pub(crate) fn of(&self, item_keys: &[u64]) -> Vec<u64> {
        let mut known = self.hashes.iter().peekable();
        item_keys
            .iter()
            .map(|key| {
                while known.next_if(|(k, _)| k < key).is_some() {}
                known.next_if(|(k, _)| k == key).map_or(0, |&(_, hash)| hash)
            })
            .collect()
    }
}

/// Hash of the parts received up to a day.
pub(crate) fn parts_hash(parts: &[PartInfo], through: Day) -> String {
    let frozen: Vec<PartInfo> =
        parts.iter().filter(|p| p.day.is_some_and(|d| d <= through)).cloned().collect();
    super::input_hash(&frozen)
}

impl Base {
    /// The snapshot in `dir`, if it is whole, has a checkpoint and reaches a day of these parts.
    /// Anything else means a rebuild, not an error: the snapshot may be of an older version.
    pub(crate) fn open(dir: &Path, parts: &[PartInfo]) -> Option<Self> {
        let snapshot = Snapshot::open(dir).ok()?;
        let meta: Meta =
            serde_json::from_slice(&std::fs::read(dir.join("checkpoint/meta.json")).ok()?).ok()?;
        let usable = snapshot.manifest().until.is_none()
            && meta.versions == super::versions()
            && meta.parts_xxh3 == parts_hash(parts, meta.day)
            && parts.iter().any(|p| p.day.is_some_and(|d| d <= meta.day));
        if !usable {
            return None;
        }
        let is_same = |day: &&Day| meta.open_xxh3.get(*day) == Some(&parts_hash(parts, **day));
        let same_through = meta.open_xxh3.keys().take_while(is_same).last().copied().unwrap_or(meta.day);
        let base = Self {
            seen: blocks::open(dir, SEEN, snapshot.manifest().files.keys()).ok()?,
            facts: map(dir, "checkpoint/facts.u64").ok()?,
            snapshot,
            meta,
            same_through,
        };
        (base.facts.len() == base.snapshot.n_items() as usize).then_some(base)
    }

    /// Whether this run has the items and users of the base and no others.
    pub(crate) fn has_same_rows(&self, resolved: &Resolved) -> bool {
        *resolved.item_keys == *self.snapshot.item_keys() && *resolved.user_keys == *self.snapshot.user_keys
    }

    /// Whether a file holds training rows that are final.
    pub(crate) fn has_final_examples(&self, name: &str) -> bool {
        let day = name.strip_prefix("examples/day=").and_then(|n| n.strip_suffix(".parquet"));
        day.and_then(Day::from_iso).is_some_and(|day| day <= self.meta.day)
    }

    /// What holds for listeners without events after the base's last day. `None` if that day is no
    /// longer what it was.
    pub(crate) fn carried(&self, home: &Path, resolved: &Resolved) -> Result<Option<Carried>, DataError> {
        let last = self.meta.open_xxh3.keys().next_back().copied();
        let Some(last) = last.filter(|&day| day == self.same_through) else { return Ok(None) };
        let dir = home.join("snapshots").join(self.snapshot.id());
        let manifest = self.snapshot.manifest();
        let open = manifest
            .files
            .keys()
            .filter(|name| name.starts_with("examples/") && !self.has_final_examples(name));
        let days = open.map(|name| {
            let (users, items) = (&resolved.user_keys, &resolved.item_keys);
            example_files::load(&dir, [name].into_iter(), &manifest.feature_names, users, items)
        });
        let until = Day(last.0.saturating_add(1)).start().0;
        Ok(Some(Carried { until, days: days.collect::<Result<_, _>>()? }))
    }

    /// Whether nothing is added to a file of the base: it holds for this run, too.
    pub(crate) fn keeps(&self, name: &str, closed: Day, has_moved_listeners: bool) -> bool {
        let before = self.meta.day;
        if let Some(block) = blocks::block_of_name(SEEN, name) {
            return is_block_over(block, before);
        }
        let days = [times::TABLE, stats::TABLE];
        if let Some(block) = days.iter().find_map(|table| blocks::block_of_name(table, name)) {
            return is_block_over(block, self.same_through);
        }
        if let Some(block) = blocks::block_of_name(markets::TABLE, name) {
            return !has_moved_listeners && is_block_over(block, self.same_through);
        }
        if let Some(day) = states::day_of_name(name) {
            return day <= self.same_through && day >= states::first_kept_day(closed);
        }
        let is_class = |&class: &u32| name == states::class_name(class);
        (0..states::N_CLASSES)
            .find(is_class)
            .is_some_and(|class| states::class_day(class, before) == states::class_day(class, closed))
    }

    /// Whether every item of the base still has the facts it had.
    pub(crate) fn has_same_facts(&self, resolved: &Resolved, facts: &[u64]) -> bool {
        self.snapshot
            .item_keys()
            .iter()
            .zip(self.facts.iter())
            .all(|(key, known)| resolved.item_keys.binary_search(key).is_ok_and(|row| facts[row] == *known))
    }

    /// Whether moments of plays known on a day of this block are in a file that is kept.
    pub(crate) fn keeps_times(&self, block: i32) -> bool {
        is_block_over(block, self.same_through)
    }

    /// Reads listeners of a bucket in ascending order of keys, from `first` on.
    pub(crate) fn from(&self, bucket: u32, first: UserKey) -> BaseCursor<'_> {
        let of = |(&block, file)| (block, ByKey::from(file, first.0));
        let open = blocks::block_of(Day(self.meta.day.0.saturating_add(1)));
        BaseCursor {
            base: self,
            states: self.snapshot.states.from(bucket, first, Day(i32::MAX)),
            seen: self.seen.iter().map(of).collect(),
            times: self.snapshot.plays.times.blocks.range(open..).map(of).collect(),
        }
    }

    /// Whether a listener it knows has another market by now.
    pub(crate) fn has_moved_listeners(&self, resolved: &Resolved) -> bool {
        fn market(user: &User) -> &str {
            user.market.as_deref().unwrap_or("")
        }
        let has_moved = |(&key, user): (&u128, &User)| {
            let before = self.snapshot.user_row(UserKey(key)).map(|row| &self.snapshot.users()[row as usize]);
            before.is_some_and(|before| market(before) != market(user))
        };
        resolved.user_keys.iter().zip(&resolved.users).any(has_moved)
    }

    /// What holds through [`same_through`](Self::same_through), in terms of this run.
    pub(crate) fn tables<'a>(
        &'a self,
        resolved: &Resolved,
        item_of: &'a [u32],
        has_moved_listeners: bool,
    ) -> Earlier<'a> {
        let s = &self.snapshot;
        let mut item_before = vec![NO_ROW; resolved.items.len()];
        for (row, &item) in (0..).zip(item_of) {
            item_before[item as usize] = row;
        }
        Earlier {
            stats: &s.stats,
            markets: &s.markets,
            co_listens: &s.co_listens,
            has_moved_listeners,
            item_of,
            item_before,
            through: self.same_through,
        }
    }

    /// Item rows of the base → rows of this run.
    pub(crate) fn item_rows(&self, resolved: &Resolved) -> Vec<u32> {
        let row = |key: &u64| resolved.item_keys.binary_search(key).map_or(NONE, |row| row as u32);
        self.snapshot.item_keys().iter().map(row).collect()
    }
}

/// A place in the base's files.
#[derive(Debug)]
pub(crate) struct BaseCursor<'a> {
    base: &'a Base,
    states: StateCursor<'a>,
    seen: Vec<(i32, Cursor<'a>)>,
    times: Vec<(i32, Cursor<'a>)>,
}

impl<'a> BaseCursor<'a> {
    /// A listener of the base by key. Keys ascend from call to call.
    pub(crate) fn user(&mut self, key: UserKey) -> Option<BaseUser<'a>> {
        let row = self.base.snapshot.user_row(key)?;
        let (mut seen, mut open_seen) = (Vec::new(), Vec::new());
        for (block, file) in &mut self.seen {
            let events = file.get(key.0);
            seen.push(events);
            if !is_block_over(*block, self.base.meta.day) {
                open_seen.push((*block, events));
            }
        }
        let times = self.times.iter_mut().map(|(block, file)| (*block, file.get(key.0))).collect();
        Some(BaseUser { row, kept: self.states.get(key), seen, open_seen, times })
    }
}

/// Receives the buckets' part of the checkpoint in order.
pub(crate) struct CheckpointFiles {
    dir: PathBuf,
    seen: BTreeMap<i32, ByKeyWriter>,
    pub(crate) rejects: Rejects,
    pub(crate) n_feedback: u64,
    pub(crate) n_impressions: u64,
    pub(crate) plays: PlayRange,
}

/// One bucket's part of the checkpoint.
#[derive(Debug, Default)]
pub(crate) struct CheckpointPart {
    /// Fingerprints of accepted events by block of days.
    seen: BTreeMap<i32, ByKeyPart>,
    pub(crate) rejects: Rejects,
    pub(crate) n_feedback: u64,
    pub(crate) n_impressions: u64,
    pub(crate) plays: PlayRange,
}

impl CheckpointPart {
    pub(crate) fn clear(&mut self) {
        self.seen.values_mut().for_each(ByKeyPart::clear);
        self.rejects.clear();
        (self.n_feedback, self.n_impressions) = (0, 0);
        self.plays = PlayRange::default();
    }

    /// The fingerprints of a block.
    pub(crate) fn seen(&mut self, block: i32) -> &mut ByKeyPart {
        self.seen.entry(block).or_default()
    }
}

/// Appends a bucket's parts to the files they belong to; a file is there once something is in it.
pub(crate) fn push_parts<K: Ord + Copy>(
    files: &mut BTreeMap<K, ByKeyWriter>,
    parts: &BTreeMap<K, ByKeyPart>,
    path: impl Fn(K) -> PathBuf,
) -> Result<(), DataError> {
    for (&key, part) in parts.iter().filter(|(_, part)| !part.is_empty()) {
        match files.entry(key) {
            Entry::Occupied(mut file) => file.get_mut().push(part)?,
            Entry::Vacant(none) => none.insert(ByKeyWriter::create(&path(key))?).push(part)?,
        }
    }
    Ok(())
}

impl CheckpointFiles {
    pub(crate) fn create(dir: &Path) -> Result<Self, DataError> {
        folder(&dir.join("checkpoint"))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            seen: BTreeMap::new(),
            rejects: Rejects::new(),
            n_feedback: 0,
            n_impressions: 0,
            plays: PlayRange::default(),
        })
    }

    pub(crate) fn push(&mut self, part: &CheckpointPart) -> Result<(), DataError> {
        push_parts(&mut self.seen, &part.seen, |block| self.dir.join(blocks::name(SEEN, block)))?;
        for (&reason, n) in &part.rejects {
            *self.rejects.entry(reason).or_default() += n;
        }
        self.n_feedback += part.n_feedback;
        self.n_impressions += part.n_impressions;
        self.plays.merge(&part.plays);
        Ok(())
    }

    pub(crate) fn finish(self, meta: &Meta, facts: &[u64], files: &mut Files) -> Result<(), DataError> {
        let dir = self.dir.as_path();
        write_column(dir, "checkpoint/facts.u64", facts, files)?;
        for (block, file) in self.seen {
            files.insert(blocks::name(SEEN, block), file.finish()?);
        }
        let text = serde_json::to_vec_pretty(meta).map_err(|e| DataError::io(dir)(e.into()))?;
        write_column(dir, "checkpoint/meta.json", &text, files)
    }
}
