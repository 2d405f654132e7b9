//! Inputs as streams of bytes: plain files, `.gz`, `.zst` and zip members, all under caps.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::ImportError;
use crate::progress::Progress;

/// Limits that hold whatever a file claims.
#[derive(Debug, Clone, PartialEq)]
pub struct Caps {
    /// Most bytes read from one file or zip member, after decompression.
    pub max_file_bytes: u64,
    /// Most decompressed bytes per compressed byte, beyond the first 16 MiB.
    pub max_ratio: u64,
    /// Most bytes of one record (a CSV row, a JSON object).
    pub max_record_bytes: u64,
    /// Most members of one archive.
    pub max_members: u64,
    /// Most rows of a joined file; they are held in memory.
    pub max_join_rows: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            max_file_bytes: 256 << 30,
            max_ratio: 250,
            max_record_bytes: 16 << 20,
            max_members: 100_000,
            max_join_rows: 5_000_000,
        }
    }
}

/// Decompressed bytes that are always allowed: small files compress well for honest reasons.
const RATIO_FREE_BYTES: u64 = 16 << 20;
/// Bytes looked at to tell what a file is.
pub(crate) const HEAD_BYTES: usize = 64 << 10;
/// Formats that need random access are read into memory when they come compressed.
const MAX_IN_MEMORY_BYTES: u64 = 1 << 30;

/// One file, or one member of a zip archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    /// Index in the archive, if it is a member.
    member: Option<usize>,
    /// As errors name it: the path, or `archive.zip:member`.
    pub(crate) label: String,
    /// What mappings match: the path below the folder or archive given, `/` between parts.
    pub(crate) name: String,
    /// Bytes on disk.
    pub(crate) n_bytes: u64,
}

/// How bytes are packed, by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// Lists what lies under the given paths, in name order.
pub(crate) fn list(paths: &[PathBuf], caps: &Caps) -> Result<Vec<Input>, ImportError> {
    let mut inputs = Vec::new();
    for path in paths {
        let meta = std::fs::metadata(path).map_err(|e| ImportError::io("open", path, e))?;
        if meta.is_dir() {
            walk(path, path, caps, &mut inputs, 0)?;
        } else {
            add_file(path, &file_name(path), meta.len(), caps, &mut inputs)?;
        }
    }
    Ok(inputs)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn walk(
    root: &Path,
    folder: &Path,
    caps: &Caps,
    inputs: &mut Vec<Input>,
    depth: usize,
) -> Result<(), ImportError> {
    if depth > 32 {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).map_err(|e| ImportError::io("list", folder, e))?;
    let mut found: Vec<_> = entries.filter_map(Result::ok).collect();
    found.sort_by_key(std::fs::DirEntry::file_name);
    for entry in found {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if file_name(&path).starts_with('.') || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            walk(root, &path, caps, inputs, depth + 1)?;
        } else if kind.is_file() {
            let n_bytes = entry.metadata().map_err(|e| ImportError::io("open", &path, e))?.len();
            let below = path.strip_prefix(root).unwrap_or(&path);
            let name = below.to_string_lossy().replace('\\', "/");
            add_file(&path, &name, n_bytes, caps, inputs)?;
        }
    }
    Ok(())
}

fn add_file(
    path: &Path,
    name: &str,
    n_bytes: u64,
    caps: &Caps,
    inputs: &mut Vec<Input>,
) -> Result<(), ImportError> {
    let label = path.display().to_string();
    let mut head = [0_u8; 4];
    let n = File::open(path)
        .and_then(|mut f| read_up_to(&mut f, &mut head))
        .map_err(|e| ImportError::io("read", path, e))?;
    let is_zip = head[..n].starts_with(b"PK\x03\x04") || head[..n].starts_with(b"PK\x05\x06");
    if !is_zip {
        if name.to_ascii_lowercase().ends_with(".zip") {
            return Err(ImportError::NotWhatItSays {
                file: label,
                name_says: "a zip archive".into(),
                found: "something else".into(),
            });
        }
        inputs.push(Input { path: path.to_owned(), member: None, label, name: name.to_owned(), n_bytes });
        return Ok(());
    }
    let mut archive = open_zip(path)?;
    if archive.len() as u64 > caps.max_members {
        return Err(ImportError::TooLarge {
            file: label,
            what: "the number of members",
            cap: caps.max_members,
            option: "max_members",
        });
    }
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(|e| zip_error(&label, &e))?;
        if member.is_dir() {
            continue;
        }
        let member_name = member.name().to_owned();
        if member.enclosed_name().is_none() || is_absolute(&member_name) || member.is_symlink() {
            return Err(ImportError::UnsafeMember { archive: label, member: member_name });
        }
        let base = member_name.rsplit('/').next().unwrap_or_default();
        // Finder and Explorer leave such members behind; they are no data.
        if base.starts_with('.') || member_name.starts_with("__MACOSX/") {
            continue;
        }
        members.push(Input {
            path: path.to_owned(),
            member: Some(index),
            label: format!("{label}:{member_name}"),
            name: member_name,
            n_bytes: member.compressed_size(),
        });
    }
    members.sort_by(|a, b| a.name.cmp(&b.name));
    inputs.extend(members);
    Ok(())
}

/// Roots and drive letters: some readers drop them quietly, we refuse them.
fn is_absolute(name: &str) -> bool {
    name.starts_with(['/', '\\']) || name.as_bytes().get(1) == Some(&b':')
}

fn open_zip(path: &Path) -> Result<zip::ZipArchive<File>, ImportError> {
    let file = File::open(path).map_err(|e| ImportError::io("open", path, e))?;
    zip::ZipArchive::new(file).map_err(|e| zip_error(&path.display().to_string(), &e))
}

fn zip_error(label: &str, e: &zip::result::ZipError) -> ImportError {
    ImportError::Corrupt {
        file: label.to_owned(),
        offset: 0,
        detail: e.to_string(),
        expected: "a whole, unencrypted zip archive".into(),
    }
}

/// Counters shared between a stream and whoever parses it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    /// Decompressed bytes handed out.
    total: Rc<Cell<u64>>,
    /// `total` when the current record began.
    record: Rc<Cell<u64>>,
    /// Which cap was hit, if any: an `io::Error` cannot carry it through every parser.
    hit: Rc<Cell<Option<Hit>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hit {
    File,
    Ratio,
    Record,
}

impl Meter {
    /// Tells that a record ended, so the next may be as long again.
    pub(crate) fn record_done(&self) {
        self.record.set(self.total.get());
    }

    /// Decompressed bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.total.get()
    }

    /// The error of a cap that was hit.
    fn error(&self, input: &Input, caps: &Caps) -> Option<ImportError> {
        let (what, cap, option) = match self.hit.get()? {
            Hit::File => ("the size after decompression, in bytes,", caps.max_file_bytes, "max_file_bytes"),
            Hit::Ratio => ("the compression ratio", caps.max_ratio, "max_ratio"),
            Hit::Record => ("the size of one record, in bytes,", caps.max_record_bytes, "max_record_bytes"),
        };
        Some(ImportError::TooLarge { file: input.label.clone(), what, cap, option })
    }

    /// A read error as an import error.
    pub(crate) fn failed(
        &self,
        input: &Input,
        caps: &Caps,
        expected: &str,
        e: &dyn std::fmt::Display,
    ) -> ImportError {
        self.error(input, caps).unwrap_or_else(|| ImportError::Corrupt {
            file: input.label.clone(),
            offset: self.offset(),
            detail: e.to_string(),
            expected: expected.to_owned(),
        })
    }
}

/// Stops a stream that grows beyond the caps.
struct Capped<'a> {
    inner: Box<dyn Read + 'a>,
    meter: Meter,
    caps: Caps,
    /// Most bytes by ratio.
    ratio_bytes: u64,
}

impl Read for Capped<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        let total = self.meter.total.get() + n as u64;
        self.meter.total.set(total);
        let hit = if total > self.caps.max_file_bytes {
            Hit::File
        } else if total > self.ratio_bytes {
            Hit::Ratio
        } else if total - self.meter.record.get() > self.caps.max_record_bytes {
            Hit::Record
        } else {
            return Ok(n);
        };
        self.meter.hit.set(Some(hit));
        Err(io::Error::other("a cap was hit"))
    }
}

/// Reports raw bytes to the progress.
struct Counted<'a, R> {
    inner: R,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.progress.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        let n = self.inner.read(buf)?;
        self.progress.advance(n as u64);
        Ok(n)
    }
}

/// An open input: its first bytes, and the whole of it as a reader.
pub(crate) struct Opened<'a> {
    /// Up to 64 KiB from the start, decompressed.
    pub(crate) head: Vec<u8>,
    /// Everything, the head included.
    pub(crate) reader: Box<dyn Read + 'a>,
    /// Counts what the reader hands out.
    pub(crate) meter: Meter,
}

impl Input {
    /// Opens the input, decompresses it and hands it to `f`.
    pub(crate) fn open<T>(
        &self,
        caps: &Caps,
        progress: &dyn Progress,
        f: impl FnOnce(Opened<'_>) -> Result<T, ImportError>,
    ) -> Result<T, ImportError> {
        match self.member {
            None => {
                let file = File::open(&self.path).map_err(|e| ImportError::io("open", &self.path, e))?;
                f(self.unpack(Box::new(Counted { inner: file, progress }), caps)?)
            }
            Some(index) => {
                let mut archive = open_zip(&self.path)?;
                let member = archive.by_index(index).map_err(|e| zip_error(&self.label, &e))?;
                f(self.unpack(Box::new(Counted { inner: member, progress }), caps)?)
            }
        }
    }

    fn unpack<'a>(&self, mut raw: Box<dyn Read + 'a>, caps: &Caps) -> Result<Opened<'a>, ImportError> {
        let meter = Meter::default();
        let mut magic = [0_u8; 4];
        let n =
            read_up_to(&mut raw, &mut magic).map_err(|e| meter.failed(self, caps, "readable bytes", &e))?;
        let packing = match &magic[..n] {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Packing::Zstd,
            _ => Packing::Plain,
        };
        self.check_packing(packing)?;
        let raw: Box<dyn Read + 'a> = Box::new(Cursor::new(magic[..n].to_vec()).chain(raw));
        let unpacked: Box<dyn Read + 'a> = match packing {
            Packing::Plain => raw,
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(raw)),
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(raw)
                    .map_err(|e| meter.failed(self, caps, "a zstd stream", &e))?;
                // 128 MiB: what `zstd --long=27` needs; a larger window is a memory bomb.
                decoder.window_log_max(27).map_err(|e| meter.failed(self, caps, "a zstd stream", &e))?;
                Box::new(decoder)
            }
        };
        let is_packed = packing != Packing::Plain || self.member.is_some();
        let ratio_bytes = if is_packed {
            RATIO_FREE_BYTES.saturating_add(self.n_bytes.saturating_mul(caps.max_ratio))
        } else {
            u64::MAX
        };
        let mut capped = Capped { inner: unpacked, meter: meter.clone(), caps: caps.clone(), ratio_bytes };
        let mut head = vec![0; HEAD_BYTES];
        let n = read_up_to(&mut capped, &mut head)
            .map_err(|e| meter.failed(self, caps, "a whole compressed stream", &e))?;
        head.truncate(n);
        let reader = Box::new(Cursor::new(head.clone()).chain(capped));
        Ok(Opened { head, reader, meter })
    }

    fn check_packing(&self, packing: Packing) -> Result<(), ImportError> {
        let lower = self.name.to_ascii_lowercase();
        let by_name = if lower.ends_with(".gz") {
            Packing::Gzip
        } else if lower.ends_with(".zst") || lower.ends_with(".zstd") {
            Packing::Zstd
        } else {
            Packing::Plain
        };
        // An empty file is nothing of any packing; a packed file without the suffix is fine.
        if by_name == Packing::Plain || by_name == packing {
            return Ok(());
        }
        let words = |p| match p {
            Packing::Plain => "not compressed",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        };
        Err(ImportError::NotWhatItSays {
            file: self.label.clone(),
            name_says: words(by_name).into(),
            found: words(packing).into(),
        })
    }

    /// The name without `.gz`, `.zst` and letter case.
    pub(crate) fn plain_name(&self) -> String {
        let lower = self.name.to_ascii_lowercase();
        let plain = [".gz", ".zst", ".zstd"].iter().find_map(|s| lower.strip_suffix(s)).map(str::to_owned);
        plain.unwrap_or(lower)
    }

    /// The plain file to read at random, if the input is one.
    pub(crate) fn as_plain_file(&self, head: &[u8]) -> Option<File> {
        let mut first = vec![0; 4.min(head.len())];
        let mut file = self.member.is_none().then(|| File::open(&self.path).ok()).flatten()?;
        read_up_to(&mut file, &mut first).ok()?;
        head.starts_with(&first).then_some(file)
    }
}

/// Reads the rest of a stream into memory.
pub(crate) fn read_all(input: &Input, opened: Opened<'_>, caps: &Caps) -> Result<Vec<u8>, ImportError> {
    let mut bytes = Vec::new();
    let meter = opened.meter.clone();
    let mut reader = opened.reader;
    let mut buf = vec![0; 1 << 16];
    loop {
        let n = reader.read(&mut buf).map_err(|e| meter.failed(input, caps, "a whole file", &e))?;
        // Nothing here is one record: the cap on records is for streams.
        meter.record_done();
        if n == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&buf[..n]);
        if bytes.len() as u64 > MAX_IN_MEMORY_BYTES {
            return Err(ImportError::TooLarge {
                file: input.label.clone(),
                what: "a compressed Parquet file, in bytes,",
                cap: MAX_IN_MEMORY_BYTES,
                option: "nothing: unpack it first",
            });
        }
    }
}

/// Fills `buf` as far as the stream goes.
pub(crate) fn read_up_to(reader: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match reader.read(&mut buf[n..]) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}
