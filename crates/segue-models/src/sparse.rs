//! A sparse matrix in rows: offsets, columns, values.

use rayon::prelude::*;

use crate::{ModelError, Tensors};

/// Compressed sparse rows. Columns ascend within a row; values are finite.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Csr {
    /// `[n_rows + 1]`.
    offsets: Vec<u64>,
    /// `[n_entries]`.
    col: Vec<u32>,
    /// `[n_entries]`.
    value: Vec<f32>,
}

impl Csr {
    /// Makes rows `0..n_rows` in parallel: `row(scratch, r, out)` appends the entries of row `r`.
    /// The result does not depend on the number of threads.
    pub(crate) fn build<S>(
        n_rows: u32,
        scratch: impl Fn() -> S + Sync + Send,
        row: impl Fn(&mut S, u32, &mut Vec<(u32, f32)>) + Sync + Send,
    ) -> Self {
        const ROWS_PER_PART: u32 = 512;
        let parts: Vec<Self> = (0..n_rows.div_ceil(ROWS_PER_PART))
            .into_par_iter()
            .map_init(
                || (scratch(), Vec::new()),
                |(scratch, entries), part| {
                    let mut out = Self::default();
                    let from = part * ROWS_PER_PART;
                    for r in from..(from + ROWS_PER_PART).min(n_rows) {
                        entries.clear();
                        row(scratch, r, entries);
                        out.col.extend(entries.iter().map(|e| e.0));
                        out.value.extend(entries.iter().map(|e| e.1));
                        out.offsets.push(out.col.len() as u64);
                    }
                    out
                },
            )
            .collect();
        let n_entries = parts.iter().map(|p| p.col.len()).sum();
        let mut out = Self {
            offsets: Vec::with_capacity(n_rows as usize + 1),
            col: Vec::with_capacity(n_entries),
            value: Vec::with_capacity(n_entries),
        };
        out.offsets.push(0);
        for part in parts {
            let base = out.col.len() as u64;
            out.offsets.extend(part.offsets.iter().map(|o| o + base));
            out.col.extend_from_slice(&part.col);
            out.value.extend_from_slice(&part.value);
        }
        out
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Number of stored entries.
    #[cfg(test)]
    pub(crate) fn n_entries(&self) -> usize {
        self.col.len()
    }

    /// Columns and values of a row; empty for a row that does not exist.
    #[inline]
    pub(crate) fn row(&self, r: u32) -> (&[u32], &[f32]) {
        let r = r as usize;
        match (self.offsets.get(r), self.offsets.get(r + 1)) {
            (Some(&from), Some(&to)) => {
                (&self.col[from as usize..to as usize], &self.value[from as usize..to as usize])
            }
            _ => (&[], &[]),
        }
    }

    /// The transpose of a square matrix.
    pub(crate) fn transposed(&self) -> Self {
        let mut offsets = vec![0_u64; self.n_rows() + 1];
        for &col in &self.col {
            offsets[col as usize + 1] += 1;
        }
        for i in 1..offsets.len() {
            offsets[i] += offsets[i - 1];
        }
        let mut next = offsets.clone();
        let mut out = Self { offsets, col: vec![0; self.col.len()], value: vec![0.0; self.col.len()] };
        for r in 0..self.n_rows() as u32 {
            let (cols, values) = self.row(r);
            for (&col, &value) in cols.iter().zip(values) {
                let slot = &mut next[col as usize];
                out.col[*slot as usize] = r;
                out.value[*slot as usize] = value;
                *slot += 1;
            }
        }
        out
    }

    /// One entry; 0 where none is stored.
    pub(crate) fn get(&self, r: u32, c: u32) -> f32 {
        let (col, value) = self.row(r);
        col.binary_search(&c).map_or(0.0, |at| value[at])
    }

    /// Three tensors: `NAME.offsets`, `NAME.col`, `NAME.value`.
    pub(crate) fn store(&self, name: &str, tensors: Tensors) -> Tensors {
        tensors
            .with(&format!("{name}.offsets"), &self.offsets)
            .with(&format!("{name}.col"), &self.col)
            .with(&format!("{name}.value"), &self.value)
    }

    /// Reads a square matrix whose size is that of its offsets; returns the size too.
    pub(crate) fn load_square(name: &str, tensors: &mut Tensors) -> Result<(u32, Self), ModelError> {
        let len = tensors.len_of(&format!("{name}.offsets"));
        let Some(n) = len.and_then(|l| l.checked_sub(1)).and_then(|n| u32::try_from(n).ok()) else {
            let got = len.map_or("none".to_owned(), |l| format!("{l} values"));
            return Err(tensors.wrong(format!("`{name}.offsets` of 1 to 2^32 values"), got));
        };
        Ok((n, Self::load(name, n as usize, n, tensors)?))
    }

    /// Reads what [`store`](Self::store) wrote and checks every invariant of the type.
    pub(crate) fn load(
        name: &str,
        n_rows: usize,
        n_cols: u32,
        tensors: &mut Tensors,
    ) -> Result<Self, ModelError> {
        let offsets: Vec<u64> = tensors.take_len(&format!("{name}.offsets"), n_rows + 1)?;
        let value: Vec<f32> = tensors.take(&format!("{name}.value"))?;
        let n = value.len();
        if offsets[0] != 0 || offsets[n_rows] != n as u64 || !offsets.is_sorted() {
            return Err(tensors.wrong(
                format!("`{name}.offsets` ascending from 0 to {n}"),
                format!("{} to {}", offsets[0], offsets[n_rows]),
            ));
        }
        if let Some(at) = value.iter().position(|v| !v.is_finite()) {
            return Err(
                tensors.wrong(format!("finite values in `{name}.value`"), format!("{} at {at}", value[at]))
            );
        }
        let col = tensors.take_below(&format!("{name}.col"), n, n_cols)?;
        let out = Self { offsets, col, value };
        for r in 0..n_rows as u32 {
            if !out.row(r).0.windows(2).all(|w| w[0] < w[1]) {
                return Err(tensors.wrong(
                    format!("columns of `{name}` ascending in a row"),
                    format!("row {r} out of order"),
                ));
            }
        }
        Ok(out)
    }
}
