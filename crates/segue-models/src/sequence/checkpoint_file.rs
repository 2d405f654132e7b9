//! A checkpoint on disk: written beside the old one and renamed, checked in full when read.
//!
//! ```text
//! {"format":1,"of":{"seed":"3",…},"arrays":[{"name":"params","type":"F32","len":9216},…]}\n
//! the arrays, little-endian, one after the other
//! SHA-256 of all bytes before (32 bytes)
//! ```
//!
//! `of` says which training it belongs to: kind, settings, seed, size of the catalogue, and what the
//! caller adds. Arrays go to the file as they stand, so writing takes no second copy of the weights.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use segue_nn::Embedding;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::artifact::{hex, sync_dir};
use crate::sequence::step::TableAdam;
use crate::sequence::trainer::{Best, Checkpoint, Part};
use crate::tensors::Element;
use crate::{ModelError, RoundReport};

/// Layout of the file. A reader refuses others.
const FORMAT: u32 = 1;
/// A head larger than this is not one of ours.
const MAX_HEAD_BYTES: u64 = 1 << 20;
const DIGEST_BYTES: u64 = 32;

/// The checkpoint file of one training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Where it is.
    pub path: PathBuf,
    /// Which training it belongs to, by aspect.
    pub of: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: u32,
    of: BTreeMap<String, String>,
    arrays: Vec<Array>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Array {
    name: String,
    r#type: String,
    len: u64,
}

impl CheckpointFile {
    /// Writes it in one atomic step, and waits until the disk has it.
    ///
    /// # Errors
    /// [`ModelError::Io`]; the checkpoint before is then intact.
    pub fn write(&self, checkpoint: &Checkpoint) -> Result<(), ModelError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(at(folder))?;
        let temporary = self.path.with_extension("tmp");
        let written = File::create(&temporary).and_then(|file| {
            let file = self.write_to(checkpoint, file)?;
            file.sync_all()
        });
        written.map_err(at(&temporary))?;
        fs::rename(&temporary, &self.path).map_err(at(&self.path))?;
        sync_dir(folder)
    }

    fn write_to(&self, checkpoint: &Checkpoint, file: File) -> io::Result<File> {
        let arrays = Arrays::of(checkpoint);
        let head = Head { format: FORMAT, of: self.of.clone(), arrays: arrays.list() };
        let mut out = Hashing { to: BufWriter::with_capacity(1 << 20, file), hash: Sha256::new() };
        out.write_all(&serde_json::to_vec(&head)?)?;
        out.write_all(b"\n")?;
        arrays.write(&mut out)?;
        let digest = out.hash.finalize();
        out.to.write_all(&digest)?;
        out.to.into_inner().map_err(io::IntoInnerError::into_error)
    }

    /// Reads it; `None` if there is none. `fresh` is the same training before its first step.
    ///
    /// # Errors
    /// [`ModelError::Artifact`] says what was expected and what is there: bytes other than those that
    /// were written, another training, or arrays that do not fit.
    pub fn read(&self, fresh: &Checkpoint) -> Result<Option<Checkpoint>, ModelError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(at(&self.path)(e)),
        };
        let n_bytes = file.metadata().map_err(at(&self.path))?.len();
        self.check_digest(BufReader::with_capacity(1 << 20, file), n_bytes)?;
        let mut file = BufReader::with_capacity(1 << 20, File::open(&self.path).map_err(at(&self.path))?);
        let mut line = Vec::new();
        file.by_ref().take(MAX_HEAD_BYTES).read_until(b'\n', &mut line).map_err(at(&self.path))?;
        let head: Head =
            serde_json::from_slice(&line).map_err(|e| self.wrong("the head of a checkpoint", e))?;
        if head.format != FORMAT {
            return Err(self.wrong(format!("checkpoint format {FORMAT}"), head.format));
        }
        self.check_training(&head.of)?;
        let mut read = ReadArrays { file: self, from: file, left: head.arrays.into_iter() };
        read.checkpoint(fresh).map(Some)
    }

    /// Where the refit of the training with this checkpoint keeps its own.
    #[must_use]
    pub fn refit(path: &Path) -> PathBuf {
        path.with_extension("refit")
    }

    /// Removes it and its refit's, and what a crash may have left of an unfinished one.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    pub fn remove(path: &Path) -> Result<(), ModelError> {
        for path in [path.to_owned(), path.with_extension("tmp"), Self::refit(path)] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&path)(e)),
                _ => {}
            }
        }
        Ok(())
    }

    fn check_digest(&self, mut file: impl Read, n_bytes: u64) -> Result<(), ModelError> {
        let Some(n) = n_bytes.checked_sub(DIGEST_BYTES) else {
            return Err(self.wrong("a checkpoint", format!("{n_bytes} bytes")));
        };
        let mut hash = Sha256::new();
        io::copy(&mut file.by_ref().take(n), &mut hash).map_err(at(&self.path))?;
        let mut expected = Vec::new();
        file.read_to_end(&mut expected).map_err(at(&self.path))?;
        let (expected, got) = (hex(&expected), hex(&hash.finalize()));
        if expected == got { Ok(()) } else { Err(self.wrong(format!("SHA-256 {expected}"), got)) }
    }

    /// The first aspect in which the trainings differ is named.
    fn check_training(&self, of: &BTreeMap<String, String>) -> Result<(), ModelError> {
        let none = "none".to_owned();
        for name in self.of.keys().chain(of.keys()) {
            let (expected, got) = (self.of.get(name).unwrap_or(&none), of.get(name).unwrap_or(&none));
            if expected != got {
                return Err(self.wrong(format!("a training with {name} {expected}"), format!("{name} {got}")));
            }
        }
        Ok(())
    }

    fn wrong(&self, expected: impl ToString, got: impl ToString) -> ModelError {
        ModelError::Artifact { path: self.path.clone(), expected: expected.to_string(), got: got.to_string() }
    }
}

/// Everything of a checkpoint as named arrays.
struct Arrays<'a> {
    numbers: Vec<(&'static str, Vec<u64>)>,
    values: Vec<(&'static str, &'a [f32])>,
    row_steps: Option<&'a [u32]>,
    history: Vec<u64>,
}

/// Numbers of a [`RoundReport`] in `history`: round, step, loss and validation as bits, tokens.
const HISTORY_WIDTH: usize = 5;
/// Stands for a round without validation: a NaN that no arithmetic gives.
const NO_VALIDATION: u64 = u64::MAX;

impl<'a> Arrays<'a> {
    fn of(c: &'a Checkpoint) -> Self {
        let s = &c.state;
        let mut numbers = vec![
            ("step", vec![s.step, s.adam.steps]),
            ("round", vec![u64::from(c.round), c.part.steps, c.part.loss.to_bits(), c.part.n_tokens]),
        ];
        let mut values = vec![
            ("params", &s.params[..]),
            ("table", &s.table.table[..]),
            ("adam.mean", &s.adam.mean[..]),
            ("adam.square", &s.adam.square[..]),
        ];
        let mut row_steps = None;
        match &s.table_adam {
            TableAdam::All(adam) => {
                numbers.push(("table.steps", vec![adam.steps]));
                values.extend([("table.mean", &adam.mean[..]), ("table.square", &adam.square[..])]);
            }
            TableAdam::Rows(adam) => {
                row_steps = Some(&adam.steps[..]);
                values.extend([("table.mean", &adam.mean[..]), ("table.square", &adam.square[..])]);
            }
        }
        if let Some(best) = &c.best {
            numbers.push(("best", vec![u64::from(best.round), best.ndcg.to_bits()]));
            values.extend([("best.params", &best.params[..]), ("best.table", &best.table.table[..])]);
        }
        let history = c
            .history
            .iter()
            .flat_map(|r| {
                let validation = r.validation_ndcg.map_or(NO_VALIDATION, f64::to_bits);
                [u64::from(r.round), r.step, r.loss.to_bits(), validation, r.n_tokens]
            })
            .collect();
        Self { numbers, values, row_steps, history }
    }

    fn list(&self) -> Vec<Array> {
        fn array<T: Element>(name: &str, values: &[T]) -> Array {
            Array { name: name.to_owned(), r#type: format!("{:?}", T::DTYPE), len: values.len() as u64 }
        }
        let numbers = self.numbers.iter().map(|(name, n)| array(name, n));
        let values = self.values.iter().map(|(name, v)| array(name, v));
        let steps = self.row_steps.map(|s| array("row.steps", s));
        numbers.chain([array("history", &self.history)]).chain(steps).chain(values).collect()
    }

    /// In the order of [`list`](Self::list).
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        fn put<T: Element>(values: &[T], out: &mut impl Write) -> io::Result<()> {
            let mut bytes = Vec::with_capacity(values.len().min(1 << 14) * T::SIZE);
            for part in values.chunks(1 << 14) {
                bytes.clear();
                part.iter().for_each(|v| v.write(&mut bytes));
                out.write_all(&bytes)?;
            }
            Ok(())
        }
        self.numbers.iter().try_for_each(|(_, n)| put(n, out))?;
        put(&self.history, out)?;
        self.row_steps.map_or(Ok(()), |s| put(s, out))?;
        self.values.iter().try_for_each(|(_, v)| put(v, out))
    }
}

/// Takes arrays from a file whose digest was right, in the order in which they were written.
struct ReadArrays<'a, R> {
    file: &'a CheckpointFile,
    from: R,
    left: std::vec::IntoIter<Array>,
}

impl<R: Read> ReadArrays<'_, R> {
    fn checkpoint(&mut self, fresh: &Checkpoint) -> Result<Checkpoint, ModelError> {
        let mut c = fresh.clone();
        let [step, adam_steps] = self.numbers("step")?;
        c.state.step = step;
        c.state.adam.steps = adam_steps;
        let [round, steps, loss, n_tokens] = self.numbers("round")?;
        c.round = self.round(round)?;
        c.part = Part { steps, loss: f64::from_bits(loss), n_tokens };
        if let TableAdam::All(adam) = &mut c.state.table_adam {
            [adam.steps] = self.numbers("table.steps")?;
        }
        let best: Option<[u64; 2]> = if self.next_is("best") { Some(self.numbers("best")?) } else { None };
        let history: Vec<u64> = self.array("history", None)?;
        let (rounds, []) = history.as_chunks::<HISTORY_WIDTH>() else {
            return Err(self.file.wrong("a history of whole rounds", history.len()));
        };
        c.history = rounds
            .iter()
            .map(|&[round, step, loss, validation, n_tokens]| {
                Ok(RoundReport {
                    round: self.round(round)?,
                    step,
                    loss: f64::from_bits(loss),
                    validation_ndcg: (validation != NO_VALIDATION).then(|| f64::from_bits(validation)),
                    n_tokens,
                })
            })
            .collect::<Result<_, _>>()?;
        if let TableAdam::Rows(adam) = &mut c.state.table_adam {
            adam.steps = self.array("row.steps", Some(adam.steps.len()))?;
        }
        self.fill("params", &mut c.state.params)?;
        self.fill("table", &mut c.state.table.table)?;
        self.fill("adam.mean", &mut c.state.adam.mean)?;
        self.fill("adam.square", &mut c.state.adam.square)?;
        let (mean, square) = match &mut c.state.table_adam {
            TableAdam::All(adam) => (&mut adam.mean, &mut adam.square),
            TableAdam::Rows(adam) => (&mut adam.mean, &mut adam.square),
        };
        self.fill("table.mean", mean)?;
        self.fill("table.square", square)?;
        c.best = match best {
            None => None,
            Some([round, ndcg]) => {
                let params = self.array("best.params", Some(c.state.params.len()))?;
                let (table, d) =
                    (self.array("best.table", Some(c.state.table.table.len()))?, c.state.table.d);
                let round = self.round(round)?;
                Some(Best { round, ndcg: f64::from_bits(ndcg), params, table: Embedding { table, d } })
            }
        };
        match self.left.next() {
            None => Ok(c),
            Some(array) => Err(self.file.wrong("no other arrays", array.name)),
        }
    }

    fn next_is(&self, name: &str) -> bool {
        self.left.as_slice().first().is_some_and(|a| a.name == name)
    }

    fn round(&self, round: u64) -> Result<u32, ModelError> {
        u32::try_from(round).map_err(|_| self.file.wrong("a round below 2³²", round))
    }

    fn numbers<const N: usize>(&mut self, name: &str) -> Result<[u64; N], ModelError> {
        let values: Vec<u64> = self.array(name, Some(N))?;
        <[u64; N]>::try_from(values).map_err(|v| self.file.wrong(format!("{N} numbers in `{name}`"), v.len()))
    }

    fn fill(&mut self, name: &str, into: &mut Vec<f32>) -> Result<(), ModelError> {
        *into = self.array(name, Some(into.len()))?;
        Ok(())
    }

    fn array<T: Element>(&mut self, name: &str, len: Option<usize>) -> Result<Vec<T>, ModelError> {
        let expected = |len: u64| format!("`{name}` of {len} {:?}", T::DTYPE);
        let Some(array) = self.left.next() else {
            return Err(self.file.wrong(expected(len.unwrap_or(0) as u64), "no more arrays"));
        };
        let want = len.map_or(array.len, |n| n as u64);
        if array.name != name || array.r#type != format!("{:?}", T::DTYPE) || array.len != want {
            let got = format!("`{}` of {} {}", array.name, array.len, array.r#type);
            return Err(self.file.wrong(expected(want), got));
        }
        let (mut values, mut bytes) = (Vec::new(), vec![0; T::SIZE << 14]);
        let mut left = want;
        while left > 0 {
            let n = left.min(1 << 14) as usize;
            let bytes = &mut bytes[..n * T::SIZE];
            self.from.read_exact(bytes).map_err(at(&self.file.path))?;
            values.extend(bytes.chunks_exact(T::SIZE).map(T::read));
            left -= n as u64;
        }
        Ok(values)
    }
}

/// Hashes what passes.
struct Hashing<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ModelError + '_ {
    move |source| ModelError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use segue_nn::optim::{Adam, AdamW, RowAdam};

    use super::*;
    use crate::sequence::step::State;

    fn checkpoint(table_adam: TableAdam, has_best: bool) -> Checkpoint {
        let table = Embedding { table: vec![0.5, -1.0, 2.0, 4.0], d: 2 };
        let adam =
            AdamW { steps: 7, mean: vec![1.0; 3], square: vec![2.0; 3], ..AdamW::new(3, Adam::default()) };
        let report = RoundReport { round: 1, step: 20, loss: 0.1 + 0.2, validation_ndcg: None, n_tokens: 9 };
        let best = Best { round: 2, ndcg: 1.0 / 3.0, params: vec![3.0; 3], table: table.clone() };
        Checkpoint {
            state: State { step: 41, params: vec![-0.0, 1e-40, 3.0], table, adam, table_adam },
            round: 2,
            best: has_best.then_some(best),
            history: vec![report, RoundReport { round: 2, validation_ndcg: Some(1.0 / 3.0), ..report }],
            part: Part { steps: 1, loss: 1e300, n_tokens: 5 },
        }
    }

    fn all() -> Checkpoint {
        checkpoint(TableAdam::All(AdamW { steps: 41, ..AdamW::new(4, Adam::default()) }), true)
    }

    fn before(c: &Checkpoint) -> Checkpoint {
        let mut fresh = c.clone();
        (fresh.round, fresh.best, fresh.state.step) = (0, None, 0);
        fresh.history.clear();
        fresh.state.params.fill(9.0);
        fresh
    }

    fn file(folder: &Path) -> CheckpointFile {
        let of = [("seed", "3"), ("snapshot", "abc")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        CheckpointFile { path: folder.join("model/checkpoint"), of: of.into() }
    }

    #[test]
    fn a_checkpoint_comes_back_bit_for_bit() {
        let rows = || TableAdam::Rows(RowAdam { steps: vec![5, 0], ..RowAdam::new(2, 2, Adam::default()) });
        for c in [all(), checkpoint(rows(), true), checkpoint(rows(), false)] {
            let folder = tempfile::tempdir().unwrap();
            let file = file(folder.path());
            assert_eq!(file.read(&before(&c)).unwrap(), None);
            for _ in 0..2 {
                file.write(&c).unwrap();
                assert_eq!(file.read(&before(&c)).unwrap(), Some(c.clone()));
            }
            CheckpointFile::remove(&file.path).unwrap();
            assert_eq!(file.read(&before(&c)).unwrap(), None);
            assert_eq!(fs::read_dir(folder.path().join("model")).unwrap().count(), 0);
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        let c = all();
        file.write(&c).unwrap();
        let bytes = fs::read(&file.path).unwrap();
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1;
            fs::write(&file.path, &damaged).unwrap();
            assert!(matches!(file.read(&before(&c)), Err(ModelError::Artifact { .. })), "byte {i}");
            fs::write(&file.path, &bytes[..i]).unwrap();
            assert!(matches!(file.read(&before(&c)), Err(ModelError::Artifact { .. })), "cut at {i}");
        }
    }

    #[test]
    fn another_training_or_another_network_is_named_with_expected_and_got() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        let c = all();
        file.write(&c).unwrap();
        let mut other = file.clone();
        other.of.insert("seed".to_owned(), "4".to_owned());
        let message = other.read(&before(&c)).unwrap_err().to_string();
        assert!(message.contains("expected a training with seed 4, got seed 3"), "{message}");
        let mut wider = before(&c);
        wider.state.params.push(0.0);
        let message = file.read(&wider).unwrap_err().to_string();
        assert!(message.contains("expected `params` of 4 F32, got `params` of 3 F32"), "{message}");
    }
}
