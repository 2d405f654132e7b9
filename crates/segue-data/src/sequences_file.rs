//! The benchmark text format: one user per line, `user item item …`, oldest first; plain or `.zst`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::error::DataError;
use crate::sequences::OwnedSequences;

/// More text than this is taken for a decompression bomb.
const MAX_BYTES: u64 = 8 << 30;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Undated item sequences with the external ids of their rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SequencesFile {
    /// Users in the order of the file. Item rows ascend with their ids (as numbers if all ids are
    /// whole numbers, else as text).
    pub sequences: OwnedSequences,
    /// `[n_users]` external ids.
    pub user_ids: Vec<String>,
    /// `[n_items]` external ids.
    pub item_ids: Vec<String>,
}

impl SequencesFile {
    /// Reads a file of `user item item …` lines. Blank lines are passed over; a user without items
    /// has an empty sequence. Compression is told by the first bytes, not by the name.
    ///
    /// # Errors
    /// [`DataError::Io`], or [`DataError::Corrupt`] with the line if a user occurs twice, the text is not
    /// UTF-8 or there is far too much of it.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let mut file = BufReader::new(file);
        let zipped = file.fill_buf().map_err(DataError::io(path))?.starts_with(&ZSTD_MAGIC);
        let text: Box<dyn Read> = if zipped {
            Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(DataError::io(path))?)
        } else {
            Box::new(file)
        };
        Self::parse(path, BufReader::new(text.take(MAX_BYTES + 1)))
    }

    fn parse(path: &Path, mut text: impl BufRead) -> Result<Self, DataError> {
        let mut out = Self::default();
        let mut offsets = vec![0_u64];
        let mut rows = std::collections::HashMap::<String, u32>::new();
        let mut users = HashSet::new();
        let mut line = String::new();
        let mut n_bytes = 0;
        for number in 1_u64.. {
            line.clear();
            let read = match text.read_line(&mut line) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(DataError::corrupt(path, format!("UTF-8 on line {number}"), "other bytes"));
                }
                Err(e) => return Err(DataError::io(path)(e)),
            };
            n_bytes += read as u64;
            if n_bytes > MAX_BYTES {
                return Err(DataError::corrupt(path, format!("at most {MAX_BYTES} bytes of text"), "more"));
            }
            let mut words = line.split_ascii_whitespace();
            let Some(user) = words.next() else { continue };
            if !users.insert(user.to_owned()) {
                let got = format!("user `{user}` again on line {number}");
                return Err(DataError::corrupt(path, "each user on one line", got));
            }
            out.user_ids.push(user.to_owned());
            for item in words {
                let row = match rows.get(item) {
                    Some(&row) => row,
                    None => {
                        let row = u32::try_from(out.item_ids.len()).map_err(|_| DataError::TooMany {
                            what: "different items",
                            got: out.item_ids.len() as u64,
                            limit: u64::from(u32::MAX),
                        })?;
                        rows.insert(item.to_owned(), row);
                        out.item_ids.push(item.to_owned());
                        row
                    }
                };
                out.sequences.item.push(row);
            }
            offsets.push(out.sequences.item.len() as u64);
        }
        out.sequences.offsets = offsets;
        out.sequences.n_items = out.item_ids.len() as u32;
        out.order_rows_by_id();
        Ok(out)
    }

    /// Renumbers item rows from order of appearance to order of ids.
    fn order_rows_by_id(&mut self) {
        let numbers: Option<Vec<u64>> = self.item_ids.iter().map(|id| id.parse().ok()).collect();
        let mut order: Vec<u32> = (0..self.item_ids.len() as u32).collect();
        order.sort_by_key(|&i| (numbers.as_ref().map_or(0, |n| n[i as usize]), &self.item_ids[i as usize]));
        let mut row_of = vec![0_u32; order.len()];
        for (row, &old) in (0..).zip(&order) {
            row_of[old as usize] = row;
        }
        for item in &mut self.sequences.item {
            *item = row_of[*item as usize];
        }
        self.item_ids = order.iter().map(|&old| std::mem::take(&mut self.item_ids[old as usize])).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<SequencesFile, DataError> {
        SequencesFile::parse(Path::new("x.txt"), text)
    }

    #[test]
    fn rows_follow_ids_as_numbers_and_users_follow_the_file() {
        let file = parse(b"7 10 2 10\n\n3\n1 9").unwrap();
        assert_eq!(file.item_ids, ["2", "9", "10"]);
        assert_eq!(file.user_ids, ["7", "3", "1"]);
        let s = file.sequences.view();
        assert_eq!([s.user(0).item, s.user(1).item, s.user(2).item], [&[2, 0, 2][..], &[], &[1]]);
    }

    #[test]
    fn ids_that_are_not_all_numbers_are_ordered_as_text() {
        assert_eq!(parse(b"u b 10 9").unwrap().item_ids, ["10", "9", "b"]);
    }

    #[test]
    fn a_user_on_two_lines_or_broken_text_is_refused_with_the_line() {
        let twice = parse(b"1 2\n1 3").unwrap_err().to_string();
        assert!(twice.contains("user `1` again on line 2"), "{twice}");
        let broken = parse(b"1 2\n2 \xff").unwrap_err().to_string();
        assert!(broken.contains("line 2"), "{broken}");
        assert_eq!(parse(b"").unwrap().sequences.view().n_users(), 0);
    }

    #[test]
    fn zstd_is_told_by_its_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequences.txt");
        std::fs::write(&path, zstd::encode_all(&b"1 2 3\n"[..], 0).unwrap()).unwrap();
        assert_eq!(SequencesFile::read(&path).unwrap().item_ids, ["2", "3"]);
        // A truncated file is an error, not a shorter data set.
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert!(SequencesFile::read(&path).is_err());
    }
}
