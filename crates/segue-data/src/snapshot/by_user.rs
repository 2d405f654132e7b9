//! A file of bytes per listener, found by key: rows of one snapshot mean nothing to the next, so
//! what snapshots share by hard link is stored by key.
//!
//! ```text
//! bytes of the first listener, of the second, …
//! n × u128   keys, ascending
//! n × u64    where each one's bytes end
//! u64        n
//! ```
//! All little-endian. Listeners without bytes are not in it.

use std::path::Path;

use segue_types::UserKey;

use super::column::{Column, ColumnWriter, FileEntry};
use crate::error::DataError;

/// A file opened for reading.
#[derive(Debug, Default)]
pub(crate) struct ByUser {
    all: Column<u8>,
    n_users: usize,
    /// Bytes of listeners; keys begin here.
    n_bytes: usize,
}

impl ByUser {
    /// Maps a file and checks its form.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let all: Column<u8> = Column::open(path)?;
        let whole = || {
            let tail = all.len().checked_sub(8)?;
            let n_users = usize::try_from(u64::from_le_bytes(all[tail..].try_into().ok()?)).ok()?;
            let n_bytes = tail.checked_sub(n_users.checked_mul(24)?)?;
            Some((n_users, n_bytes))
        };
        let Some((n_users, n_bytes)) = whole() else {
            let got = format!("{} bytes with another tail", all.len());
            return Err(DataError::corrupt(path, "bytes, keys, ends and their number", got));
        };
        let file = Self { all, n_users, n_bytes };
        for at in 0..n_users {
            let fits = if at == 0 { file.end(0) > 0 } else { file.end(at - 1) < file.end(at) };
            if !fits || (at > 0 && file.key(at - 1) >= file.key(at)) {
                return Err(DataError::corrupt(path, "keys and ends that ascend", format!("others at {at}")));
            }
        }
        let last = n_users.checked_sub(1).map_or(0, |at| file.end(at));
        if last != n_bytes as u64 {
            return Err(DataError::corrupt(path, format!("{n_bytes} bytes of listeners"), last));
        }
        Ok(file)
    }

    fn key(&self, at: usize) -> u128 {
        let from = self.n_bytes + 16 * at;
        u128::from_le_bytes(self.all[from..from + 16].try_into().unwrap_or_default())
    }

    fn end(&self, at: usize) -> u64 {
        let from = self.n_bytes + 16 * self.n_users + 8 * at;
        u64::from_le_bytes(self.all[from..from + 8].try_into().unwrap_or_default())
    }

    fn bytes(&self, at: usize) -> &[u8] {
        let from = if at == 0 { 0 } else { self.end(at - 1) };
        &self.all[from as usize..self.end(at) as usize]
    }

    /// The first place whose key is `key` or above.
    fn place(&self, key: u128) -> usize {
        let (mut from, mut to) = (0, self.n_users);
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

    /// Reads listeners in ascending order of keys, from `key` on.
    pub(crate) fn from(&self, key: UserKey) -> Cursor<'_> {
        Cursor { file: self, at: self.place(key.0) }
    }
}

/// A place in a [`ByUser`].
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    file: &'a ByUser,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The bytes of a listener, empty if it has none. Keys ascend from call to call.
    pub(crate) fn get(&mut self, key: UserKey) -> &'a [u8] {
        while self.at < self.file.n_users && self.file.key(self.at) < key.0 {
            self.at += 1;
        }
        let is_here = self.at < self.file.n_users && self.file.key(self.at) == key.0;
        if is_here { self.file.bytes(self.at) } else { &[] }
    }
}

/// Bytes of consecutive listeners, on their way into a file.
#[derive(Debug, Default)]
pub(crate) struct ByUserPart {
    keys: Vec<u128>,
    ends: Vec<u64>,
    bytes: Vec<u8>,
}

impl ByUserPart {
    /// Adds to the bytes of a listener. Keys ascend from call to call.
    pub(crate) fn add(&mut self, key: UserKey, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        if self.bytes.len() == before {
            return;
        }
        let end = self.bytes.len() as u64;
        match self.ends.last_mut().filter(|_| self.keys.last() == Some(&key.0)) {
            Some(last) => *last = end,
            None => {
                self.keys.push(key.0);
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
pub(crate) struct ByUserWriter {
    column: ColumnWriter<u8>,
    keys: Vec<u128>,
    ends: Vec<u64>,
}

impl ByUserWriter {
    pub(crate) fn create(path: &Path) -> Result<Self, DataError> {
        Ok(Self { column: ColumnWriter::create(path)?, keys: Vec::new(), ends: Vec::new() })
    }

    /// Adds listeners that come after all those before.
    pub(crate) fn push(&mut self, part: &ByUserPart) -> Result<(), DataError> {
        let base = self.ends.last().copied().unwrap_or(0);
        self.keys.extend_from_slice(&part.keys);
        self.ends.extend(part.ends.iter().map(|end| base + end));
        self.column.write(&part.bytes)
    }

    /// Makes the file durable.
    pub(crate) fn finish(mut self) -> Result<FileEntry, DataError> {
        let tail = self.keys.iter().flat_map(|k| k.to_le_bytes());
        let tail = tail.chain(self.ends.iter().flat_map(|e| e.to_le_bytes()));
        let tail: Vec<u8> = tail.chain((self.keys.len() as u64).to_le_bytes()).collect();
        self.column.write(&tail)?;
        self.column.finish()
    }
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
            let mut writer = ByUserWriter::create(&path).unwrap();
            let all: Vec<_> = users.iter().collect();
            for half in [&all[..cut.min(all.len())], &all[cut.min(all.len())..]] {
                let mut part = ByUserPart::default();
                for (key, bytes) in half {
                    let (a, b) = bytes.split_at(bytes.len() / 2);
                    part.add(UserKey(**key), |out| out.extend_from_slice(a));
                    part.add(UserKey(**key), |out| out.extend_from_slice(b));
                }
                writer.push(&part).unwrap();
            }
            writer.finish().unwrap();
            let file = ByUser::open(&path).unwrap();
            let want: BTreeMap<u128, Vec<u8>> = users;
            let mut cursor = file.from(UserKey(30));
            for key in 0..200_u128 {
                let bytes = want.get(&key).map_or(&[][..], Vec::as_slice);
                prop_assert_eq!(file.from(UserKey(key)).get(UserKey(key)), bytes);
                if key >= 30 {
                    prop_assert_eq!(cursor.get(UserKey(key)), bytes);
                }
            }
        }

        /// A file of any other form is refused.
        #[test]
        fn other_bytes_are_an_error_or_a_file_that_can_be_read(bytes in prop::collection::vec(0_u8..4, 0..120)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x");
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(file) = ByUser::open(&path) {
                for at in 0..file.n_users {
                    prop_assert!(!file.bytes(at).is_empty());
                }
            }
        }
    }
}
