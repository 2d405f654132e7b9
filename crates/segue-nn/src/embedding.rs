//! Embedding tables and their row-sparse gradients.

use rayon::prelude::*;

use crate::simd;

/// A table `[n_rows, d]` from which rows are looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// `[n_rows, d]`.
    pub table: Vec<f32>,
    /// Size of a row.
    pub d: usize,
}

impl Embedding {
    /// A table of normal numbers with standard deviation `sd`. Row `r` draws from its own places, so
    /// that rows appended later change none.
    #[must_use]
    pub fn new(n_rows: usize, d: usize, sd: f32, seed: u64) -> Self {
        let draws = crate::Counter::new(seed, 0x7AB1_E000);
        Self { table: (0..(n_rows * d) as u64).map(|i| sd * draws.normal(i)).collect(), d }
    }

    /// Rows of the table.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.table.len() / self.d
    }

    /// A row.
    ///
    /// # Panics
    /// If it is not in the table.
    #[must_use]
    pub fn row(&self, row: u32) -> &[f32] {
        &self.table[row as usize * self.d..(row as usize + 1) * self.d]
    }

    /// Fills `out` `[n, d]` with the rows `ids` `[n]`, times `scale`.
    pub fn gather(&self, ids: &[u32], scale: f32, out: &mut [f32]) {
        simd::vectorised(
            #[inline(always)]
            || {
                for (&id, out) in ids.iter().zip(out.chunks_exact_mut(self.d)) {
                    for (o, x) in out.iter_mut().zip(self.row(id)) {
                        *o = x * scale;
                    }
                }
            },
        );
    }
}

/// The gradient of the rows a batch used: each row once, ascending.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowGradient {
    /// `[n_used]`, ascending.
    pub rows: Vec<u32>,
    /// `[n_used, d]`.
    pub values: Vec<f32>,
    /// `row << 32 | place`, sorted.
    keys: Vec<u64>,
    /// `[n_used + 1]`: where a row's keys begin.
    starts: Vec<u32>,
}

impl RowGradient {
    /// Sums the rows of `parts`, each `(ids [n], gradients [n, d])`, by id.
    ///
    /// A row's terms are added in the order in which they stand in `parts`, whatever the threads.
    /// Memory is reused from call to call.
    ///
    /// # Panics
    /// If a part has other than `d` numbers per id.
    pub fn sum<'a>(
        &mut self,
        d: usize,
        parts: impl Iterator<Item = (&'a [u32], &'a [f32])> + Clone + Sync + Send,
    ) {
        self.keys.clear();
        self.rows.clear();
        self.starts.clear();
        let mut place = 0_u64;
        for (ids, values) in parts.clone() {
            assert_eq!(ids.len() * d, values.len(), "numbers of a part of {} rows of {d}", ids.len());
            for &id in ids {
                self.keys.push(u64::from(id) << 32 | place);
                place += 1;
            }
        }
        self.keys.sort_unstable();
        for (i, &key) in self.keys.iter().enumerate() {
            let row = (key >> 32) as u32;
            if self.rows.last() != Some(&row) {
                self.rows.push(row);
                self.starts.push(i as u32);
            }
        }
        self.starts.push(self.keys.len() as u32);
        self.values.clear();
        self.values.resize(self.rows.len() * d, 0.0);
        let (keys, starts) = (&self.keys, &self.starts);
        let find = |mut place: usize| {
            for (ids, values) in parts.clone() {
                if place < ids.len() {
                    return &values[place * d..(place + 1) * d];
                }
                place -= ids.len();
            }
            unreachable!("a key names a place in a part")
        };
        self.values.par_chunks_mut(d * 64).enumerate().for_each(|(chunk, values)| {
            for (i, out) in values.chunks_exact_mut(d).enumerate() {
                let row = chunk * 64 + i;
                for &key in &keys[starts[row] as usize..starts[row + 1] as usize] {
                    let term = find(key as u32 as usize);
                    simd::vectorised(
                        #[inline(always)]
                        || simd::axpy(1.0, term, out),
                    );
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_row_gradient_is_the_dense_one_without_its_zeros(
            ids in prop::collection::vec(prop::collection::vec(0_u32..9, 0..20), 0..4), d in 1_usize..20,
        ) {
            let parts: Vec<(Vec<u32>, Vec<f32>)> = ids.into_iter().enumerate()
                .map(|(i, ids)| { let g = values(i as u64, ids.len() * d, 1.0); (ids, g) }).collect();
            let mut dense = vec![0.0_f64; 9 * d];
            for (ids, g) in &parts {
                for (&id, g) in ids.iter().zip(g.chunks_exact(d)) {
                    for i in 0..d {
                        dense[id as usize * d + i] += f64::from(g[i]);
                    }
                }
            }
            let mut sparse = RowGradient::default();
            for _ in 0..2 {
                sparse.sum(d, parts.iter().map(|(i, g)| (&i[..], &g[..])));
            }
            prop_assert!(sparse.rows.is_sorted_by(|a, b| a < b));
            for row in 0..9_u32 {
                let want = &dense[row as usize * d..(row as usize + 1) * d];
                match sparse.rows.binary_search(&row) {
                    Ok(at) => close("row", &sparse.values[at * d..(at + 1) * d], want, 1e-5),
                    Err(_) => prop_assert!(want.iter().all(|&w| w == 0.0)),
                }
            }
        }
    }

    #[test]
    fn rows_are_looked_up_and_appended_rows_change_none() {
        let small = Embedding::new(3, 4, 0.1, 5);
        let large = Embedding::new(9, 4, 0.1, 5);
        assert_eq!(small.table, large.table[..12]);
        let mut out = [0.0; 8];
        small.gather(&[2, 0], 2.0, &mut out);
        assert_eq!(out[0], 2.0 * small.row(2)[0]);
        assert_eq!(out[7], 2.0 * small.row(0)[3]);
    }
}
