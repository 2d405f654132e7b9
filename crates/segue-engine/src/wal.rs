//! A log of framed records in segments: what is appended and synced is there after a power cut.
//!
//! ```text
//! segment `<prefix>-<first offset>.seg`:  "SEGUELOG" · version u32 · first offset u64 · frame*
//! frame:  payload length u32 · offset u64 · xxh3-64 of (offset, payload) u64 · payload
//! ```
//! All integers little-endian. Offsets count records from 1 without gaps. A torn tail of the last
//! segment is cut at recovery, with a note of what was found; a bad frame anywhere else is damage
//! that no power cut makes, and an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::storage::{AppendFile, Storage};

const MAGIC: &[u8; 8] = b"SEGUELOG";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 20;
const FRAME_BYTES: usize = 20;
/// Longest payload. A length above it is a torn or foreign frame.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// Why the log cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// Reading or writing failed.
    #[error("{name}: {source}")]
    Io {
        /// The segment.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A segment does not hold what it should.
    #[error("{name} at byte {at}: expected {expected}; the file is damaged, restore it or move it away")]
    Damaged {
        /// The segment.
        name: String,
        /// Where.
        at: u64,
        /// What should be there.
        expected: String,
    },
    /// An earlier write failed in a way that leaves the disk's content unknown.
    #[error("an earlier write failed and the disk's content is unknown; restart to recover")]
    Poisoned,
}

fn io(name: &str) -> impl FnOnce(std::io::Error) -> WalError {
    let name = name.to_owned();
    move |source| WalError::Io { name, source }
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// First offset of its segment.
    pub segment: u64,
    /// Byte of its payload in the segment.
    pub at: u64,
    /// Bytes of its payload.
    pub len: usize,
}

#[derive(Debug)]
struct Current {
    name: String,
    first: u64,
    file: Box<dyn AppendFile>,
    /// Bytes known good.
    len: u64,
}

/// The log. One owner; see the module page for the layout.
#[derive(Debug)]
pub struct Wal {
    storage: Arc<dyn Storage>,
    prefix: &'static str,
    segment_bytes: u64,
    current: Option<Current>,
    /// Closed segments: first offset → offset after the last.
    closed: BTreeMap<u64, u64>,
    next_offset: u64,
    poisoned: bool,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Segments.
    pub n_segments: usize,
    /// Whole records.
    pub n_records: u64,
    /// In words, what had to be repaired.
    pub notes: Vec<String>,
}

impl Wal {
    /// Opens the segments called `prefix-…` and hands every record to `record`, oldest first.
    ///
    /// `next_offset` is the first free offset as far as the caller knows (after a drain the
    /// segments that held the latest records may be gone).
    ///
    /// # Errors
    /// [`WalError`]; nothing but a torn tail is repaired.
    pub fn open(
        storage: Arc<dyn Storage>,
        prefix: &'static str,
        segment_bytes: u64,
        next_offset: u64,
        mut record: impl FnMut(u64, Place, &[u8]),
    ) -> Result<(Self, Found), WalError> {
        let mut firsts = Vec::new();
        for name in storage.list().map_err(io(prefix))? {
            let digits = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
            if let Some(first) = digits.and_then(|d| d.strip_suffix(".seg")).and_then(|d| d.parse().ok()) {
                firsts.push(first);
            }
        }
        firsts.sort_unstable();
        let mut found = Found { n_segments: firsts.len(), ..Found::default() };
        let mut wal = Self {
            storage,
            prefix,
            segment_bytes,
            current: None,
            closed: BTreeMap::new(),
            next_offset: next_offset.max(1),
            poisoned: false,
        };
        for (i, &first) in firsts.iter().enumerate() {
            let name = wal.name(first);
            let bytes = wal.storage.read(&name).map_err(io(&name))?;
            let is_last = i + 1 == firsts.len();
            let scan = scan(&bytes, first, |offset, at, payload| {
                let place = Place { segment: first, at: at as u64, len: payload.len() };
                record(offset, place, payload);
            });
            found.n_records += scan.next - first;
            if scan.good < bytes.len() {
                if !is_last {
                    let expected = format!("record {} with its checksum", scan.next);
                    return Err(WalError::Damaged { name, at: scan.good as u64, expected });
                }
                found.notes.push(format!(
                    "{name}: cut {} bytes of a write that did not finish, after record {}",
                    bytes.len() - scan.good,
                    scan.next - 1
                ));
            }
            if scan.good < HEADER_BYTES {
                // Not even the header was finished: no record can be in it.
                wal.storage.remove(&name).map_err(io(&name))?;
                wal.storage.sync_names().map_err(io(&name))?;
                continue;
            }
            if scan.good < bytes.len() {
                let mut file = wal.storage.open(&name).map_err(io(&name))?;
                file.truncate(scan.good as u64).map_err(io(&name))?;
                file.sync().map_err(io(&name))?;
            }
            wal.next_offset = wal.next_offset.max(scan.next);
            wal.closed.insert(first, scan.next);
        }
        Ok((wal, found))
    }

    fn name(&self, first: u64) -> String {
        format!("{}-{first:020}.seg", self.prefix)
    }

    /// The offset the next record gets.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Whether writing has stopped for good.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Appends records in one write and, with `sync`, one wait for the disk. Returns their places.
    ///
    /// # Errors
    /// Then none of the records counts as written: after a failed write the segment is cut back,
    /// and if that fails too, or the disk's answer to the sync was an error, the log is poisoned.
    pub fn append(&mut self, payloads: &[Vec<u8>], sync: bool) -> Result<Vec<Place>, WalError> {
        if self.poisoned {
            return Err(WalError::Poisoned);
        }
        if payloads.is_empty() {
            return Ok(Vec::new());
        }
        if self.current.as_ref().is_some_and(|c| c.len >= self.segment_bytes) {
            self.rotate()?;
        }
        if self.current.is_none() {
            self.start_segment()?;
        }
        let next_offset = self.next_offset;
        let Some(current) = &mut self.current else { return Err(WalError::Poisoned) };
        let mut buffer = Vec::new();
        let mut places = Vec::with_capacity(payloads.len());
        for (offset, payload) in (next_offset..).zip(payloads) {
            frame(offset, payload, &mut buffer);
            let at = current.len + (buffer.len() - payload.len()) as u64;
            places.push(Place { segment: current.first, at, len: payload.len() });
        }
        if let Err(source) = current.file.append(&buffer) {
            if current.file.truncate(current.len).is_err() {
                self.poisoned = true;
            }
            return Err(WalError::Io { name: current.name.clone(), source });
        }
        if sync && let Err(source) = current.file.sync() {
            // The kernel may have dropped the dirty pages: what is on disk is unknown from here on.
            self.poisoned = true;
            return Err(WalError::Io { name: current.name.clone(), source });
        }
        current.len += buffer.len() as u64;
        self.next_offset += payloads.len() as u64;
        Ok(places)
    }

    fn start_segment(&mut self) -> Result<(), WalError> {
        let first = self.next_offset;
        let name = self.name(first);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&first.to_le_bytes());
        let mut file = self.storage.create(&name).map_err(io(&name))?;
        file.append(&header).map_err(io(&name))?;
        file.sync().map_err(io(&name))?;
        self.storage.sync_names().map_err(io(&name))?;
        self.closed.remove(&first); // an empty closed segment of the same name was replaced
        self.current = Some(Current { name, first, file, len: HEADER_BYTES as u64 });
        Ok(())
    }

    /// Closes the current segment: what it holds can be drained.
    ///
    /// # Errors
    /// If it cannot be synced.
    pub fn rotate(&mut self) -> Result<(), WalError> {
        if self.poisoned {
            return Err(WalError::Poisoned);
        }
        let Some(mut current) = self.current.take() else { return Ok(()) };
        if let Err(source) = current.file.sync() {
            self.poisoned = true;
            return Err(WalError::Io { name: current.name, source });
        }
        self.closed.insert(current.first, self.next_offset);
        Ok(())
    }

    /// Closed segments: first offset and the offset after the last.
    #[must_use]
    pub fn closed(&self) -> Vec<(u64, u64)> {
        self.closed.iter().map(|(&first, &next)| (first, next)).collect()
    }

    /// The first offset that a segment may still hold: everything before has been removed.
    #[must_use]
    pub fn first_held(&self) -> u64 {
        let current = self.current.as_ref().map(|c| c.first);
        self.closed.keys().next().copied().into_iter().chain(current).min().unwrap_or(self.next_offset)
    }

    /// Removes a closed segment.
    ///
    /// # Errors
    /// Of the system.
    pub fn remove(&mut self, first: u64) -> Result<(), WalError> {
        let name = self.name(first);
        if self.closed.remove(&first).is_some() {
            self.storage.remove(&name).map_err(io(&name))?;
            self.storage.sync_names().map_err(io(&name))?;
        }
        Ok(())
    }
}

/// All records of a closed segment.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn read_segment(
    storage: &dyn Storage,
    prefix: &str,
    first: u64,
    mut record: impl FnMut(u64, &[u8]),
) -> Result<(), WalError> {
    let name = format!("{prefix}-{first:020}.seg");
    let bytes = storage.read(&name).map_err(io(&name))?;
    let scan = scan(&bytes, first, |offset, _, payload| record(offset, payload));
    if scan.good < bytes.len() {
        let expected = format!("record {} with its checksum", scan.next);
        return Err(WalError::Damaged { name, at: scan.good as u64, expected });
    }
    Ok(())
}

/// The payload of one record.
///
/// # Errors
/// If the segment is gone or shorter than it was.
pub fn read_record(storage: &dyn Storage, prefix: &str, place: Place) -> Result<Vec<u8>, WalError> {
    let name = format!("{prefix}-{:020}.seg", place.segment);
    storage.read_at(&name, place.at, place.len).map_err(io(&name))
}

fn frame(offset: u64, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&xxh3_64_with_seed(payload, offset).to_le_bytes());
    out.extend_from_slice(payload);
}

struct Scan {
    /// Bytes up to the end of the last whole record; 0 without a whole header.
    good: usize,
    /// Offset after the last whole record.
    next: u64,
}

fn scan(bytes: &[u8], first: u64, mut record: impl FnMut(u64, usize, &[u8])) -> Scan {
    let u32_at = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let u64_at = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let header_ok = bytes.get(..8) == Some(MAGIC) && u32_at(8) == Some(VERSION) && u64_at(12) == Some(first);
    if !header_ok {
        return Scan { good: 0, next: first };
    }
    let mut scan = Scan { good: HEADER_BYTES, next: first };
    while let (Some(len), Some(offset), Some(hash)) =
        (u32_at(scan.good), u64_at(scan.good + 4), u64_at(scan.good + 12))
    {
        let at = scan.good + FRAME_BYTES;
        let len = len as usize;
        if len > MAX_PAYLOAD_BYTES || offset != scan.next {
            break;
        }
        let Some(payload) = bytes.get(at..at + len) else { break };
        if xxh3_64_with_seed(payload, offset) != hash {
            break;
        }
        record(offset, at, payload);
        scan = Scan { good: at + len, next: offset + 1 };
    }
    scan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultDisk;

    fn open(disk: &FaultDisk) -> (Wal, Found, Vec<(u64, Vec<u8>)>) {
        let mut records = Vec::new();
        let storage = Arc::new(disk.clone());
        let (wal, found) =
            Wal::open(storage, "wal", 64, 1, |offset, _, p| records.push((offset, p.to_vec()))).unwrap();
        (wal, found, records)
    }

    fn payload(i: u64) -> Vec<u8> {
        format!("record {i}").into_bytes()
    }

    #[test]
    fn records_come_back_in_order_over_segments() {
        let disk = FaultDisk::new(1);
        let (mut wal, _, _) = open(&disk);
        for i in 1..=20 {
            wal.append(&[payload(i)], true).unwrap();
        }
        let (wal, found, records) = open(&disk);
        assert_eq!(records, (1..=20).map(|i| (i, payload(i))).collect::<Vec<_>>());
        assert!(found.n_segments > 3 && found.notes.is_empty());
        assert_eq!(wal.next_offset(), 21);
    }

    #[test]
    fn a_torn_tail_is_cut_with_a_note_and_the_log_goes_on() {
        let disk = FaultDisk::new(1);
        let (mut wal, _, _) = open(&disk);
        wal.append(&[payload(1)], true).unwrap();
        disk.append_raw("wal-00000000000000000001.seg", &[7, 0, 0, 0, 2, 0]);
        let (mut wal, found, records) = open(&disk);
        assert_eq!(records.len(), 1);
        assert!(found.notes[0].contains("cut 6 bytes") && found.notes[0].contains("after record 1"));
        wal.append(&[payload(2)], true).unwrap();
        assert_eq!(open(&disk).2.len(), 2);
    }

    #[test]
    fn damage_that_is_no_torn_tail_is_an_error_that_names_the_place() {
        let disk = FaultDisk::new(1);
        let (mut wal, _, _) = open(&disk);
        for i in 1..=10 {
            wal.append(&[payload(i)], true).unwrap();
        }
        disk.flip_byte("wal-00000000000000000001.seg", 45);
        let storage = Arc::new(disk);
        let e = Wal::open(storage, "wal", 64, 1, |_, _, _| ()).unwrap_err().to_string();
        assert!(e.contains("wal-00000000000000000001.seg at byte 20"), "{e}");
    }

    #[test]
    fn a_full_disk_refuses_the_batch_and_takes_the_next_when_there_is_room() {
        let disk = FaultDisk::new(1);
        let (mut wal, _, _) = open(&disk);
        wal.append(&[payload(1)], true).unwrap();
        disk.set_full(true);
        assert!(wal.append(&[payload(2), payload(3)], true).is_err());
        assert!(!wal.is_poisoned());
        disk.set_full(false);
        wal.append(&[payload(2)], true).unwrap();
        assert_eq!(open(&disk).2, [(1, payload(1)), (2, payload(2))]);
    }

    #[test]
    fn a_failed_sync_stops_the_log_for_good() {
        let disk = FaultDisk::new(1);
        let (mut wal, _, _) = open(&disk);
        wal.append(&[payload(1)], true).unwrap();
        disk.fail_next_sync();
        assert!(wal.append(&[payload(2)], true).is_err());
        assert!(matches!(wal.append(&[payload(3)], true), Err(WalError::Poisoned)));
    }
}
