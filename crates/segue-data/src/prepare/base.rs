//! Continuing an earlier snapshot: what a run leaves for the next one, and when it may be used.
//!
//! A snapshot keeps a checkpoint as of the end of day C, two days before the last day of log it
//! read: every listener's state (unless it is still the same), the events seen and the counts up
//! to then. By that time all
//! training rows of requests up to C are final, since impressions and outcomes count only if they
//! became known within 24 h. The next run takes states and plays up to C from the snapshot and
//! reads only later days, so an increment folds three days of events, however long the log is.
//! Sums per day up to C are taken from its tables; listeners without later events are copied.
//!
//! What cannot be continued is rebuilt: a change in the log up to C, in the facts of an item met
//! before, in versions or settings, or in what training rows are made from.

use std::collections::BTreeMap;
use std::path::Path;

use segue_types::{Day, Item, ItemKey, User, UserKey};
use xxhash_rust::xxh3::xxh3_64;

use super::record::NONE;
use super::resolve::Resolved;
use super::scan::Rejects;
use super::write::{Files, folder, map, write_column};
use crate::codec::Put;
use crate::error::DataError;
use crate::examples::ExamplesFrom;
use crate::log::PartInfo;
use crate::snapshot::column::{Column, ColumnWriter};
use crate::snapshot::tables::{Earlier, NO_ROW};
use crate::snapshot::{Snapshot, csr};

/// Days between the checkpoint and the last day of the log.
pub(crate) const OPEN_DAYS: i32 = 2;

/// Counts through the checkpoint, and what the run was made with.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Meta {
    /// The checkpoint's day, C.
    pub(crate) day: Day,
    /// Hash of the parts up to C.
    pub(crate) parts_xxh3: String,
    pub(crate) rejects: BTreeMap<segue_types::RejectReason, u64>,
    pub(crate) n_feedback: u64,
    pub(crate) n_impressions: u64,
    /// Rows of log up to C by table.
    pub(crate) rows: BTreeMap<String, u64>,
    pub(crate) examples_from: ExamplesFrom,
    pub(crate) requests_from_slates: bool,
    pub(crate) sample_bits: u32,
    pub(crate) feature_names: Vec<String>,
    pub(crate) versions: BTreeMap<String, u16>,
}

/// An earlier snapshot and its checkpoint.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) snapshot: Snapshot,
    pub(crate) meta: Meta,
    state_offsets: Column<u64>,
    state_bytes: Column<u8>,
    seen_offsets: Column<u64>,
    seen: Column<u64>,
    facts: Column<u64>,
}

/// What a run keeps of one listener of the base.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BaseUser<'a> {
    /// Row in the base.
    pub(crate) row: u32,
    /// Encoded state at the checkpoint; empty if nothing was known then.
    pub(crate) state: &'a [u8],
    /// Fingerprints of the events accepted until then.
    pub(crate) seen: &'a [u64],
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
        let n_users = snapshot.n_users() as usize;
        let base = Self {
            state_offsets: map(dir, "checkpoint/state_offsets.u64").ok()?,
            state_bytes: map(dir, "checkpoint/states.u8").ok()?,
            seen_offsets: map(dir, "checkpoint/seen_offsets.u64").ok()?,
            seen: map(dir, "checkpoint/seen.u64").ok()?,
            facts: map(dir, "checkpoint/facts.u64").ok()?,
            snapshot,
            meta,
        };
        let fits = |offsets: &[u64], n: usize| {
            offsets.len() == n_users + 1 && offsets.is_sorted() && offsets[n_users] == n as u64
        };
        let whole = fits(&base.state_offsets, base.state_bytes.len())
            && fits(&base.seen_offsets, base.seen.len())
            && base.facts.len() == base.snapshot.n_items() as usize;
        whole.then_some(base)
    }

    /// Whether every item of the base still has the facts it had.
    pub(crate) fn has_same_facts(&self, resolved: &Resolved, facts: &[u64]) -> bool {
        self.snapshot
            .item_keys()
            .iter()
            .zip(self.facts.iter())
            .all(|(key, known)| resolved.item_keys.binary_search(key).is_ok_and(|row| facts[row] == *known))
    }

    /// A listener of the base by key.
    pub(crate) fn user(&self, key: UserKey) -> Option<BaseUser<'_>> {
        let row = self.snapshot.user_row(key)?;
        let u = row as usize;
        let range = |offsets: &[u64]| offsets[u] as usize..offsets[u + 1] as usize;
        let seen = &self.seen[range(&self.seen_offsets)];
        let mut state = &self.state_bytes[range(&self.state_offsets)];
        if state.is_empty() && !seen.is_empty() {
            // Nothing happened after the checkpoint: the state is the snapshot's own.
            let states = &self.snapshot.states;
            state = &states.bytes[csr(&states.offsets, row, &states.bytes)];
        }
        Some(BaseUser { row, state, seen })
    }

    /// User rows of this run → rows of the base, [`NO_ROW`] for new listeners.
    pub(crate) fn user_rows(&self, resolved: &Resolved) -> Vec<u32> {
        let row = |&key: &u128| self.snapshot.user_row(UserKey(key)).unwrap_or(NO_ROW);
        resolved.user_keys.iter().map(row).collect()
    }

    /// What holds through the checkpoint, in terms of this run.
    pub(crate) fn tables<'a>(
        &'a self,
        resolved: &Resolved,
        item_of: &'a [u32],
        user_before: &'a [u32],
    ) -> Earlier<'a> {
        let s = &self.snapshot;
        let has_moved = |(user, &row): (&User, &u32)| {
            row != NO_ROW
                && s.users()[row as usize].market.as_deref().unwrap_or("")
                    != user.market.as_deref().unwrap_or("")
        };
        let mut item_before = vec![NO_ROW; resolved.items.len()];
        for (row, &item) in (0..).zip(item_of) {
            item_before[item as usize] = row;
        }
        Earlier {
            plays: s.sequences(),
            interactions: &s.interactions,
            stats: &s.stats,
            markets: &s.markets,
            co_listens: &s.co_listens,
            has_moved_listeners: resolved.users.iter().zip(user_before).any(has_moved),
            item_of,
            item_before,
            user_before,
            through: self.meta.day,
        }
    }

    /// Item rows of the base → rows of this run.
    pub(crate) fn item_rows(&self, resolved: &Resolved) -> Vec<u32> {
        let row = |key: &u64| resolved.item_keys.binary_search(key).map_or(NONE, |row| row as u32);
        self.snapshot.item_keys().iter().map(row).collect()
    }
}

/// Receives the buckets' part of the checkpoint in order.
pub(crate) struct CheckpointFiles {
    states: ColumnWriter<u8>,
    seen: ColumnWriter<u64>,
    state_offsets: Vec<u64>,
    seen_offsets: Vec<u64>,
    pub(crate) rejects: Rejects,
    pub(crate) n_feedback: u64,
    pub(crate) n_impressions: u64,
}

/// One bucket's part of the checkpoint: per listener of the output, in the same order.
#[derive(Debug, Default)]
pub(crate) struct CheckpointPart {
    pub(crate) states: Vec<u8>,
    pub(crate) state_ends: Vec<u64>,
    pub(crate) seen: Vec<u64>,
    pub(crate) seen_ends: Vec<u64>,
    pub(crate) rejects: Rejects,
    pub(crate) n_feedback: u64,
    pub(crate) n_impressions: u64,
}

impl CheckpointPart {
    pub(crate) fn clear(&mut self) {
        self.states.clear();
        self.state_ends.clear();
        self.seen.clear();
        self.seen_ends.clear();
        self.rejects.clear();
        (self.n_feedback, self.n_impressions) = (0, 0);
    }
}

impl CheckpointFiles {
    pub(crate) fn create(dir: &Path) -> Result<Self, DataError> {
        folder(&dir.join("checkpoint"))?;
        Ok(Self {
            states: ColumnWriter::create(&dir.join("checkpoint/states.u8"))?,
            seen: ColumnWriter::create(&dir.join("checkpoint/seen.u64"))?,
            state_offsets: vec![0],
            seen_offsets: vec![0],
            rejects: Rejects::new(),
            n_feedback: 0,
            n_impressions: 0,
        })
    }

    /// `users` are the rows of the part's listeners.
    pub(crate) fn push(
        &mut self,
        part: &CheckpointPart,
        users: impl Iterator<Item = u32>,
    ) -> Result<(), DataError> {
        self.states.write(&part.states)?;
        self.seen.write(&part.seen)?;
        let state_base = self.state_offsets[self.state_offsets.len() - 1];
        let seen_base = self.seen_offsets[self.seen_offsets.len() - 1];
        for (i, user) in users.enumerate() {
            self.fill(user as usize);
            self.state_offsets.push(state_base + part.state_ends[i]);
            self.seen_offsets.push(seen_base + part.seen_ends[i]);
        }
        for (&reason, n) in &part.rejects {
            *self.rejects.entry(reason).or_default() += n;
        }
        self.n_feedback += part.n_feedback;
        self.n_impressions += part.n_impressions;
        Ok(())
    }

    fn fill(&mut self, user: usize) {
        for offsets in [&mut self.state_offsets, &mut self.seen_offsets] {
            let last = offsets[offsets.len() - 1];
            offsets.resize(user + 1, last);
        }
    }

    pub(crate) fn finish(
        mut self,
        dir: &Path,
        n_users: usize,
        meta: &Meta,
        facts: &[u64],
        files: &mut Files,
    ) -> Result<(), DataError> {
        self.fill(n_users);
        write_column(dir, "checkpoint/state_offsets.u64", &self.state_offsets, files)?;
        write_column(dir, "checkpoint/seen_offsets.u64", &self.seen_offsets, files)?;
        write_column(dir, "checkpoint/facts.u64", facts, files)?;
        files.insert("checkpoint/states.u8".to_owned(), self.states.finish()?);
        files.insert("checkpoint/seen.u64".to_owned(), self.seen.finish()?);
        let text = serde_json::to_vec_pretty(meta).map_err(|e| DataError::io(dir)(e.into()))?;
        write_column(dir, "checkpoint/meta.json", &text, files)
    }
}
