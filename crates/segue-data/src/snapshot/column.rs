//! Columns of a snapshot: flat little-endian files, memory-mapped on reading.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use memmap2::Mmap;
use rayon::prelude::*;
use xxhash_rust::xxh3::Xxh3;

use crate::error::DataError;

/// Plain numbers whose bytes in memory are their bytes on disk.
///
/// # Safety
/// Every bit pattern of `size_of::<Self>()` bytes must be a value, without padding.
pub(crate) unsafe trait Pod: Copy + Send + Sync + 'static {}

macro_rules! pod {
    ($($t:ty),+) => {$(
        // SAFETY: integers, floats and arrays of them have no padding and no invalid bit pattern.
        unsafe impl Pod for $t {}
    )+};
}
pod!(u8, u32, i32, f32, u64, i64, u128, [u32; 4], [u32; 6]);

/// The bytes of a slice of plain numbers, as they are in memory.
pub(crate) fn bytes_of<T: Pod>(values: &[T]) -> &[u8] {
    // SAFETY: `Pod` has no padding, so every byte is initialised; `u8` has no alignment; the
    // length is the slice's size in bytes and the borrow keeps it alive.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// A column: memory-mapped from its file, or owned.
#[derive(Debug)]
pub(crate) enum Column<T> {
    /// In memory.
    Owned(Vec<T>),
    /// On disk; the length is a multiple of the width and the start is page-aligned.
    Mapped(Mmap),
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}

impl<T: Pod> Deref for Column<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped(map) => {
                // SAFETY: `open` checked that the length is a multiple of the width and the start
                // aligned; `Pod` takes any bytes; the map lives as long as `self`. Files of a
                // snapshot are never changed after their rename, which is what a map relies on.
                unsafe { std::slice::from_raw_parts(map.as_ptr().cast(), map.len() / size_of::<T>()) }
            }
        }
    }
}

impl<T: Pod> Column<T> {
    /// Maps the column in `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let n_bytes = file.metadata().map_err(DataError::io(path))?.len();
        if n_bytes == 0 {
            return Ok(Self::default());
        }
        let width = size_of::<T>() as u64;
        if n_bytes % width != 0 {
            let expected = format!("a multiple of {width} bytes");
            return Err(DataError::corrupt(path, expected, format!("{n_bytes} bytes")));
        }
        // SAFETY: see `deref`: snapshot files are written under a temporary name and immutable.
        let map = unsafe { Mmap::map(&file) }.map_err(DataError::io(path))?;
        if !(map.as_ptr() as usize).is_multiple_of(align_of::<T>()) {
            return Err(DataError::corrupt(path, "a page-aligned map", "an unaligned one"));
        }
        Ok(Self::Mapped(map))
    }
}

/// Bytes from which on a column is gathered into a file.
const LARGE: usize = 64 << 20;

impl<T: Pod + Default> Column<T> {
    /// A column of parts that lie side by side from 0 on: `fill` writes part `n`, which owns `parts[n]`.
    ///
    /// A large one goes into a file without a name in `near`, so that its pages are the system's to drop and to read
    /// again when memory is short; into memory where such a file cannot be written.
    pub(crate) fn gathered(
        parts: &[Range<usize>],
        near: Option<&Path>,
        fill: impl Fn(usize, &mut [T]) + Sync,
    ) -> Self {
        let len = parts.last().map_or(0, |part| part.end);
        if let Some(near) = near.filter(|_| len * size_of::<T>() >= LARGE) {
            match Self::gathered_in_file(parts, near, &fill) {
                Ok(column) => return column,
                Err(error) => {
                    tracing::warn!(%error, folder = %near.display(), "a column is gathered in memory");
                }
            }
        }
        let mut all = vec![T::default(); len];
        let mut rest = all.as_mut_slice();
        let mut tasks = Vec::with_capacity(parts.len());
        for part in parts {
            let (mine, others) = rest.split_at_mut(part.len());
            rest = others;
            tasks.push(mine);
        }
        tasks.into_par_iter().enumerate().for_each(|(n, out)| fill(n, out));
        Self::Owned(all)
    }

    fn gathered_in_file(
        parts: &[Range<usize>],
        near: &Path,
        fill: &(impl Fn(usize, &mut [T]) + Sync),
    ) -> io::Result<Self> {
        let file = Mutex::new(tempfile::tempfile_in(near)?);
        parts.par_iter().enumerate().try_for_each(|(n, part)| {
            let mut values = vec![T::default(); part.len()];
            fill(n, &mut values);
            let mut file = file.lock().expect("nothing panics while it writes");
            file.seek(SeekFrom::Start((part.start * size_of::<T>()) as u64))?;
            file.write_all(bytes_of(&values))
        })?;
        let file = file.into_inner().expect("nothing panics while it writes");
        if file.metadata()?.len() == 0 {
            return Ok(Self::default());
        }
        // SAFETY: the file has no name and this is its only handle, so nobody changes it; whole values of `T` were
        // written from 0 on, and a map begins at a page.
        Ok(Self::Mapped(unsafe { Mmap::map(&file) }?))
    }
}

/// What the manifest keeps of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileEntry {
    /// Size.
    pub n_bytes: u64,
    /// xxh3 of the content, hexadecimal.
    pub xxh3: String,
}

impl FileEntry {
    /// Size and hash of a file.
    pub(crate) fn of(path: &Path) -> Result<Self, DataError> {
        let column: Column<u8> = Column::open(path)?;
        Ok(Self {
            n_bytes: column.len() as u64,
            xxh3: format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&column)),
        })
    }
}

/// Writes one column, hashing as it goes. The file is open while something is written to it: a long
/// log has more files of days than a process may hold open.
pub(crate) struct ColumnWriter<T> {
    path: PathBuf,
    buffer: Vec<u8>,
    hash: Xxh3,
    n_bytes: u64,
    of: std::marker::PhantomData<T>,
}

impl<T: Pod> ColumnWriter<T> {
    pub(crate) fn create(path: &Path) -> Result<Self, DataError> {
        File::create(path).map_err(DataError::io(path))?;
        Ok(Self {
            path: path.to_path_buf(),
            buffer: Vec::new(),
            hash: Xxh3::new(),
            n_bytes: 0,
            of: std::marker::PhantomData,
        })
    }

    pub(crate) fn write(&mut self, values: &[T]) -> Result<(), DataError> {
        let bytes = bytes_of(values);
        self.hash.update(bytes);
        self.n_bytes += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > 1 << 20 {
            let mut file = self.append()?;
            file.write_all(&self.buffer).map_err(DataError::io(&self.path))?;
            self.buffer.clear();
            if bytes.len() > 1 << 18 {
                return file.write_all(bytes).map_err(DataError::io(&self.path));
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn append(&self) -> Result<File, DataError> {
        File::options().append(true).open(&self.path).map_err(DataError::io(&self.path))
    }

    /// Maps the file, which need not outlive the run.
    pub(crate) fn map(self) -> Result<Column<T>, DataError> {
        self.append()?.write_all(&self.buffer).map_err(DataError::io(&self.path))?;
        Column::open(&self.path)
    }

    /// Makes the file durable.
    pub(crate) fn finish(self) -> Result<FileEntry, DataError> {
        let mut file = self.append()?;
        file.write_all(&self.buffer).map_err(DataError::io(&self.path))?;
        file.sync_all().map_err(DataError::io(&self.path))?;
        Ok(FileEntry { n_bytes: self.n_bytes, xxh3: format!("{:032x}", self.hash.digest128()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_gathered_in_a_file_is_the_one_gathered_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let parts = [0..3, 3..3, 3..1_000, 1_000..1_007];
        let fill = |n: usize, out: &mut [i64]| {
            out.iter_mut().zip(0..).for_each(|(out, at): (_, i64)| *out = (n as i64) << 40 | at);
        };
        let memory = Column::gathered(&parts, Some(folder.path()), fill);
        let file = Column::gathered_in_file(&parts, folder.path(), &fill).unwrap();
        assert!(matches!((&memory, &file), (Column::Owned(_), Column::Mapped(_))));
        assert_eq!((&*memory, memory.len()), (&*file, 1_007));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
        assert!(Column::gathered_in_file(&[], folder.path(), &fill).unwrap().is_empty());
        assert!(Column::gathered_in_file(&parts, &folder.path().join("absent"), &fill).is_err());
    }
}
