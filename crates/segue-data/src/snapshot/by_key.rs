//! A file of bytes per listener or item, found by key: rows of one snapshot mean nothing to the
//! next, so what snapshots share by hard link is stored by key.
//!
//! ```text
//! bytes of the first key, of the second, …
//! n × u128   keys, ascending
//! n × u64    where each one's bytes end
//! u64        n
//! ```
//! All little-endian. Keys without bytes are not in it.

use std::path::Path;

use super::column::{Column, ColumnWriter, FileEntry};
use crate::error::DataError;

/// A file opened for reading.
#[derive(Debug, Default)]
pub(crate) struct ByKey {
    all: Column<u8>,
    n_keys: usize,
    /// Bytes of all keys; the keys themselves begin here.
    n_bytes: usize,
}

impl ByKey {
    /// Maps a file and checks its form.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        Self::new(Column::open(path)?, path)
    }

    /// The file that one part makes, in memory.
    pub(crate) fn of(part: &ByKeyPart) -> Result<Self, DataError> {
        let mut all = part.bytes.clone();
        all.extend(tail(&part.keys, &part.ends));
        Self::new(Column::Owned(all), Path::new("memory"))
    }

    fn new(all: Column<u8>, path: &Path) -> Result<Self, DataError> {
        let whole = || {
            let tail = all.len().checked_sub(8)?;
            let n_keys = usize::try_from(u64::from_le_bytes(all[tail..].try_into().ok()?)).ok()?;
            let n_bytes = tail.checked_sub(n_keys.checked_mul(24)?)?;
            Some((n_keys, n_bytes))
        };
        let Some((n_keys, n_bytes)) = whole() else {
            let got = format!("{} bytes with another tail", all.len());
            return Err(DataError::corrupt(path, "bytes, keys, ends and their number", got));
        };
        let file = Self { all, n_keys, n_bytes };
        for at in 0..n_keys {
            let fits = if at == 0 { file.end(0) > 0 } else { file.end(at - 1) < file.end(at) };
            if !fits || (at > 0 && file.key(at - 1) >= file.key(at)) {
                return Err(DataError::corrupt(path, "keys and ends that ascend", format!("others at {at}")));
            }
        }
        let last = n_keys.checked_sub(1).map_or(0, |at| file.end(at));
        if last != n_bytes as u64 {
            return Err(DataError::corrupt(path, format!("{n_bytes} bytes before the keys"), last));
        }
        Ok(file)
    }

    fn key(&self, at: usize) -> u128 {
        let from = self.n_bytes + 16 * at;
        u128::from_le_bytes(self.all[from..from + 16].try_into().unwrap_or_default())
    }

    fn end(&self, at: usize) -> u64 {
        let from = self.n_bytes + 16 * self.n_keys + 8 * at;
        u64::from_le_bytes(self.all[from..from + 8].try_into().unwrap_or_default())
    }

    fn bytes(&self, at: usize) -> &[u8] {
        let from = if at == 0 { 0 } else { self.end(at - 1) };
        &self.all[from as usize..self.end(at) as usize]
    }

    /// The first place whose key is `key` or above.
    fn place(&self, key: u128) -> usize {
        let (mut from, mut to) = (0, self.n_keys);
        while from < to {
            let middle = from + (to - from) / 2;
            if self.key(middle) < key {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }

    /// The bytes of a key, empty if it has none.
    pub(crate) fn get(&self, key: u128) -> &[u8] {
        self.from(key).get(key)
    }

    /// Bytes of all keys.
    pub(crate) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// All keys, ascending.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u128> + '_ {
        (0..self.n_keys).map(|at| self.key(at))
    }

    /// Reads keys in ascending order, from `key` on.
    pub(crate) fn from(&self, key: u128) -> Cursor<'_> {
        Cursor { file: self, at: self.place(key) }
    }
}

/// A place in a [`ByKey`].
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    file: &'a ByKey,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The bytes of a key, empty if it has none. Keys ascend from call to call.
    pub(crate) fn get(&mut self, key: u128) -> &'a [u8] {
        while self.at < self.file.n_keys && self.file.key(self.at) < key {
            self.at += 1;
        }
        let is_here = self.at < self.file.n_keys && self.file.key(self.at) == key;
        if is_here { self.file.bytes(self.at) } else { &[] }
    }
}

/// Bytes of consecutive keys, on their way into a file.
#[derive(Debug, Default)]
pub(crate) struct ByKeyPart {
    keys: Vec<u128>,
    ends: Vec<u64>,
    bytes: Vec<u8>,
}

impl ByKeyPart {
    /// Adds to the bytes of a key. Keys ascend from call to call.
    pub(crate) fn add(&mut self, key: u128, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        if self.bytes.len() == before {
            return;
        }
        let end = self.bytes.len() as u64;
        match self.ends.last_mut().filter(|_| self.keys.last() == Some(&key)) {
            Some(last) => *last = end,
            None => {
                self.keys.push(key);
                self.ends.push(end);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.ends.clear();
        self.bytes.clear();
    }
}

/// Writes a file part by part.
pub(crate) struct ByKeyWriter {
    column: ColumnWriter<u8>,
    keys: Vec<u128>,
    ends: Vec<u64>,
}

impl ByKeyWriter {
    pub(crate) fn create(path: &Path) -> Result<Self, DataError> {
        Ok(Self { column: ColumnWriter::create(path)?, keys: Vec::new(), ends: Vec::new() })
    }

    /// Adds keys that come after all those before.
    pub(crate) fn push(&mut self, part: &ByKeyPart) -> Result<(), DataError> {
        let base = self.ends.last().copied().unwrap_or(0);
        self.keys.extend_from_slice(&part.keys);
        self.ends.extend(part.ends.iter().map(|end| base + end));
        self.column.write(&part.bytes)
    }

    /// Makes the file durable.
    pub(crate) fn finish(mut self) -> Result<FileEntry, DataError> {
        self.column.write(&tail(&self.keys, &self.ends))?;
        self.column.finish()
    }
}

/// What follows the bytes.
fn tail(keys: &[u128], ends: &[u64]) -> Vec<u8> {
    let tail = keys.iter().flat_map(|k| k.to_le_bytes());
    let tail = tail.chain(ends.iter().flat_map(|e| e.to_le_bytes()));
    tail.chain((keys.len() as u64).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Written in any number of parts, each listener's bytes come back, and nobody else's.
        #[test]
        fn bytes_are_found_by_key(
            users in prop::collection::btree_map(0_u128..200, prop::collection::vec(any::<u8>(), 0..9), 0..40),
            cut in 0_usize..40,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x");
            let mut writer = ByKeyWriter::create(&path).unwrap();
            let all: Vec<_> = users.iter().collect();
            for half in [&all[..cut.min(all.len())], &all[cut.min(all.len())..]] {
                let mut part = ByKeyPart::default();
                for (key, bytes) in half {
                    let (a, b) = bytes.split_at(bytes.len() / 2);
                    part.add(**key, |out| out.extend_from_slice(a));
                    part.add(**key, |out| out.extend_from_slice(b));
                }
                writer.push(&part).unwrap();
            }
            writer.finish().unwrap();
            let file = ByKey::open(&path).unwrap();
            let want: BTreeMap<u128, Vec<u8>> = users;
            let mut cursor = file.from(30);
            for key in 0..200_u128 {
                let bytes = want.get(&key).map_or(&[][..], Vec::as_slice);
                prop_assert_eq!(file.get(key), bytes);
                if key >= 30 {
                    prop_assert_eq!(cursor.get(key), bytes);
                }
            }
        }

        /// A file of any other form is refused.
        #[test]
        fn other_bytes_are_an_error_or_a_file_that_can_be_read(bytes in prop::collection::vec(0_u8..4, 0..120)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x");
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(file) = ByKey::open(&path) {
                for at in 0..file.n_keys {
                    prop_assert!(!file.bytes(at).is_empty());
                }
            }
        }
    }
}
