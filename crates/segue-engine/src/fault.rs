//! A disk in memory that can fail: drops unsynced writes, tears the last one, fills up.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::storage::{AppendFile, Storage};

#[derive(Debug, Default, Clone)]
struct FaultFile {
    /// What a reader sees.
    now: Vec<u8>,
    /// What a power cut leaves, before the torn tail.
    durable: Vec<u8>,
    /// Writes since the last sync, for random-access files: position and bytes.
    unsynced: Vec<(u64, Vec<u8>)>,
}

#[derive(Debug)]
struct Disk {
    files: BTreeMap<String, FaultFile>,
    durable_names: Vec<String>,
    rng: u64,
    /// Operations until the power goes; `None` is never.
    fuse: Option<u64>,
    is_dark: bool,
    is_full: bool,
    fail_sync: bool,
}

/// Writes `bytes` at `at`, growing with zeros.
fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

/// The disk; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct FaultDisk(Arc<Mutex<Disk>>);

impl Disk {
    fn random(&mut self) -> u64 {
        self.rng = self.rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.rng >> 33
    }

    /// One operation that changes the disk. The fuse may burn down on it: then a write is torn by
    /// what the power cut leaves of it.
    fn step(&mut self) -> io::Result<()> {
        if self.is_dark {
            return Err(io::Error::other("no power"));
        }
        if let Some(left) = &mut self.fuse {
            if *left == 0 {
                self.is_dark = true;
                return Err(io::Error::other("no power"));
            }
            *left -= 1;
        }
        Ok(())
    }
}

impl FaultDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            files: BTreeMap::new(),
            durable_names: Vec::new(),
            rng: seed,
            fuse: None,
            is_dark: false,
            is_full: false,
            fail_sync: false,
        })))
    }

    fn disk(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    pub(crate) fn cut_power_after(&self, n_operations: u64) {
        self.disk().fuse = Some(n_operations);
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        self.disk().is_full = is_full;
    }

    pub(crate) fn fail_next_sync(&self) {
        self.disk().fail_sync = true;
    }

    pub(crate) fn append_raw(&self, name: &str, bytes: &[u8]) {
        let mut disk = self.disk();
        let file = disk.files.get_mut(name).unwrap();
        file.now.extend_from_slice(bytes);
        file.durable = file.now.clone();
    }

    pub(crate) fn flip_byte(&self, name: &str, at: usize) {
        let mut disk = self.disk();
        let file = disk.files.get_mut(name).unwrap();
        file.now[at] ^= 0xff;
        file.durable = file.now.clone();
    }

    /// The power comes back: unsynced writes are gone, but for a random part of the last ones.
    pub(crate) fn restart(&self) -> Self {
        let mut disk = self.disk();
        let names = disk.durable_names.clone();
        let mut files = disk.files.clone();
        files.retain(|name, _| names.contains(name));
        for file in files.values_mut() {
            // Each unsynced write got to the disk whole, torn, or not at all. Appends keep their
            // order up to the first that did not arrive; that is what a journalling system leaves.
            let mut after = file.durable.clone();
            for (at, bytes) in &file.unsynced {
                let keep = match disk.random() % 3 {
                    0 => 0,
                    1 => bytes.len(),
                    _ => (disk.random() as usize) % (bytes.len() + 1),
                };
                if keep == 0 {
                    break;
                }
                put(&mut after, *at as usize, &bytes[..keep]);
                if keep < bytes.len() {
                    break;
                }
            }
            *file = FaultFile { now: after.clone(), durable: after, unsynced: Vec::new() };
        }
        let rng = disk.random();
        let next = Self::new(rng);
        {
            let mut d = next.disk();
            d.files = files;
            d.durable_names = names;
        }
        next
    }
}

impl Storage for FaultDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        let mut disk = self.disk();
        disk.step()?;
        disk.files.insert(name.to_owned(), FaultFile::default());
        Ok(Box::new(FaultHandle { disk: self.clone(), name: name.to_owned() }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(FaultHandle { disk: self.clone(), name: name.to_owned() }))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let disk = self.disk();
        disk.files.get(name).map(|f| f.now.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, name: &str, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let disk = self.disk();
        let bytes = &disk.files.get(name).ok_or(io::ErrorKind::NotFound)?.now;
        let at = at as usize;
        bytes.get(at..at + len).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.files.remove(name);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.durable_names = disk.files.keys().cloned().collect();
        Ok(())
    }
}

#[derive(Debug)]
struct FaultHandle {
    disk: FaultDisk,
    name: String,
}

impl FaultHandle {
    fn write_at(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.disk();
        let alive = disk.step();
        let is_full = disk.is_full;
        let torn = disk.random() as usize % (bytes.len() + 1);
        let file = disk.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let at = at.unwrap_or(file.now.len() as u64);
        // A write that dies or meets a full disk may have got part of its bytes out.
        let bytes = if alive.is_err() || is_full { &bytes[..torn] } else { bytes };
        put(&mut file.now, at as usize, bytes);
        file.unsynced.push((at, bytes.to_vec()));
        alive?;
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl AppendFile for FaultHandle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_at(None, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.disk.disk();
        disk.step()?;
        if std::mem::take(&mut disk.fail_sync) {
            return Err(io::Error::other("the disk did not take it"));
        }
        let file = disk.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        for (at, bytes) in file.unsynced.drain(..) {
            put(&mut file.durable, at as usize, &bytes);
        }
        file.durable.resize(file.now.len(), 0);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.disk();
        disk.step()?;
        let file = disk.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        file.now.truncate(len as usize);
        // Cut writes are forgotten; a power cut before the sync may bring their bytes back, which
        // the torn-tail rule has to cope with, so they stay in `unsynced` half of the time.
        if disk.rng & 1 == 0 {
            let file = disk.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
            file.unsynced.retain(|(at, bytes)| at + bytes.len() as u64 <= len);
        }
        Ok(())
    }
}

/// The same disk as a random-access file, for the embedded store.
#[derive(Debug)]
pub(crate) struct FaultBackend {
    disk: FaultDisk,
    name: String,
}

impl FaultBackend {
    pub(crate) fn new(disk: &FaultDisk, name: &str) -> Self {
        {
            let mut d = disk.disk();
            d.files.entry(name.to_owned()).or_default();
            if !d.durable_names.iter().any(|n| n == name) {
                d.durable_names.push(name.to_owned());
            }
        }
        Self { disk: disk.clone(), name: name.to_owned() }
    }

    fn handle(&self) -> FaultHandle {
        FaultHandle { disk: self.disk.clone(), name: self.name.clone() }
    }
}

impl redb::StorageBackend for FaultBackend {
    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.disk();
        Ok(disk.files.get(&self.name).map_or(0, |file| file.now.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.disk.read_at(&self.name, offset, out.len())?;
        out.copy_from_slice(&bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.disk();
        disk.step()?;
        let file = disk.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        file.now.resize(len as usize, 0);
        // The length of a random-access file is kept as if synced: its content is not.
        file.durable.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.handle().sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.handle().write_at(Some(offset), data)
    }
}
