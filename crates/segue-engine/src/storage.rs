//! The few file operations durability rests on, behind a trait so that tests can pull the plug.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A folder of append-only files.
///
/// # Contract
/// What was appended survives a power cut only after [`AppendFile::sync`] returned; a created or
/// removed name only after [`sync_names`](Storage::sync_names).
pub trait Storage: Send + Sync + fmt::Debug {
    /// Names of all files, in no order.
    ///
    /// # Errors
    /// Of the system.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes an empty file, replacing one of the same name.
    ///
    /// # Errors
    /// Of the system.
    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>>;
    /// Opens a file to append to its end.
    ///
    /// # Errors
    /// Of the system.
    fn open(&self, name: &str) -> io::Result<Box<dyn AppendFile>>;
    /// All bytes of a file.
    ///
    /// # Errors
    /// Of the system.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// `len` bytes of a file from `at`.
    ///
    /// # Errors
    /// Of the system, or if the file is shorter.
    fn read_at(&self, name: &str, at: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Removes a file.
    ///
    /// # Errors
    /// Of the system.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals durable.
    ///
    /// # Errors
    /// Of the system.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file that grows at its end.
pub trait AppendFile: Send + fmt::Debug {
    /// Appends all of `bytes`, or fails having appended any part of them.
    ///
    /// # Errors
    /// Of the system.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Waits until the disk has everything appended.
    ///
    /// # Errors
    /// Of the system. After an error nothing may be assumed of unsynced bytes.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// Of the system.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug, Clone)]
pub struct FolderStorage {
    folder: PathBuf,
}

impl FolderStorage {
    /// The folder, made if it is not there.
    ///
    /// # Errors
    /// Of the system.
    pub fn new(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }
}

impl Storage for FolderStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(File::create(self.folder.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        let mut file = OpenOptions::new().write(true).open(self.folder.join(name))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(file))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.folder.join(name))
    }

    fn read_at(&self, name: &str, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.folder.join(name))?;
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl AppendFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(|_| ())
    }
}
