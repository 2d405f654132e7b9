//! The inverse of a large symmetric positive definite matrix, in place, in half the memory.
//!
//! Only the lower triangle is kept, in square blocks. Blocks are swept one after the other: with `D` the pivot block,
//! `A_kk ← −D⁻¹`, `A_ik ← A_ik D⁻¹`, `A_ij ← A_ij − A_ik D⁻¹ A_kj`; after all sweeps the matrix is `−A⁻¹`.
//! That takes `n³` floating-point operations, as many as Cholesky with inversion, and all but a
//! small part of them are products of blocks. Pivot blocks are inverted the same way with smaller
//! blocks, the smallest in `f64`.
//!
//! Source: Goodnight, "A Tutorial on the SWEEP Operator", The American Statistician 33(3), 1979, by blocks.

use rayon::prelude::*;

use super::tile::{self, Factor, LANES, ROWS};

/// Rows of a block at most: a block of 1 MiB stays in a core's cache.
const MAX_BLOCK: usize = 512;
/// Rows of a matrix that is inverted in `f64` by itself, at most.
const MAX_PLAIN: usize = 64;

/// A symmetric matrix as the lower triangle of blocks.
pub(crate) struct Symmetric {
    n: usize,
    /// Rows of a block, a multiple of 32.
    block: usize,
    /// Block `(i, j ≤ i)` begins at `(i (i + 1) / 2 + j) · block²`, row-major. Diagonal blocks are
    /// whole. Rows from `n` on are those of the unit matrix.
    values: Vec<f32>,
}

impl Symmetric {
    /// The unit matrix of `n` rows.
    pub(crate) fn identity(n: usize) -> Self {
        Self::with_blocks(n, MAX_BLOCK)
    }

    fn with_blocks(n: usize, max_block: usize) -> Self {
        let block = n.div_ceil(n.div_ceil(max_block).max(1)).next_multiple_of(LANES).max(LANES);
        let n_blocks = n.div_ceil(block).max(1);
        let mut out = Self { n, block, values: vec![0.0; n_blocks * (n_blocks + 1) / 2 * block * block] };
        for i in 0..n_blocks * block {
            let at = out.at(i, i);
            out.values[at] = 1.0;
        }
        out
    }

    fn n_blocks(&self) -> usize {
        self.n.div_ceil(self.block).max(1)
    }

    /// Where the element of row `i` and column `j ≤ i` (or in a diagonal block) is.
    fn at(&self, i: usize, j: usize) -> usize {
        let (bi, bj) = (i / self.block, j / self.block);
        ((bi * (bi + 1) / 2 + bj) * self.block + i % self.block) * self.block + j % self.block
    }

    /// The element of row `i` and column `j`.
    pub(crate) fn get(&self, i: usize, j: usize) -> f32 {
        self.values[self.at(i.max(j), i.min(j))]
    }

    /// Copies row `i`, all `n` columns, into `row`.
    pub(crate) fn read_row(&self, i: usize, row: &mut [f32]) {
        assert_eq!(row.len(), self.n, "a row has as many values as the matrix has rows");
        for (bj, part) in row.chunks_mut(self.block).enumerate() {
            let j = bj * self.block;
            if bj <= i / self.block {
                let at = self.at(i, j);
                part.copy_from_slice(&self.values[at..at + part.len()]);
            } else {
                let column = &self.values[self.at(j, i)..];
                part.iter_mut().zip(column.iter().step_by(self.block)).for_each(|(v, &c)| *v = c);
            }
        }
    }

    /// Sets rows in parallel: `fill(i, row)` gets row `i` up to the end of its diagonal block,
    /// all zeros, and sets the columns up to and including `i` at least. Columns beyond `i` are ignored.
    pub(crate) fn fill(&mut self, fill: impl Fn(usize, &mut [f32]) + Sync + Send) {
        let (n, block) = (self.n, self.block);
        // A block row is contiguous: cut the values at its ends.
        let mut rest = self.values.as_mut_slice();
        let mut block_rows = Vec::new();
        for bi in 0..n.div_ceil(block).max(1) {
            let (head, tail) = rest.split_at_mut((bi + 1) * block * block);
            block_rows.push(head);
            rest = tail;
        }
        block_rows.into_par_iter().enumerate().for_each_init(Vec::new, |row, (bi, values)| {
            for i in bi * block..((bi + 1) * block).min(n) {
                row.clear();
                row.resize((bi + 1) * block, 0.0);
                fill(i, row);
                for (bj, part) in row.chunks_exact(block).enumerate() {
                    let within = i % block;
                    if bj < bi {
                        values[(bj * block + within) * block..][..block].copy_from_slice(part);
                    } else {
                        for (j, &value) in part[..=within].iter().enumerate() {
                            values[(bj * block + within) * block + j] = value;
                            values[(bj * block + j) * block + within] = value;
                        }
                    }
                }
            }
        });
    }

    /// Turns the matrix into its inverse with the sign changed, `−A⁻¹`. False if it is not positive definite
    /// in `f32`; its values are then of no use.
    pub(crate) fn invert_negated(&mut self) -> bool {
        let block = self.block;
        if self.n_blocks() == 1 && block <= MAX_PLAIN {
            return negated_inverse_plainly(&mut self.values, block);
        }
        let area = block * block;
        // Of each block `A_ik`: as a panel factor, and times `D⁻¹` as a row factor.
        let (mut panels, mut rows) = (Vec::new(), Vec::new());
        panels.resize(self.n_blocks() * area, 0.0);
        rows.resize(self.n_blocks() * area, 0.0);
        for k in 0..self.n_blocks() {
            let pivot = (k * (k + 1) / 2 + k) * area;
            if !invert_block(&mut self.values[pivot..pivot + area], block) {
                return false;
            }
            // The pivot now holds −D⁻¹ and is symmetric, so it is a panel factor as it stands.
            let (values, negated_pivot) = (&self.values, &self.values[pivot..pivot + area]);
            panels.par_chunks_mut(area).zip(rows.par_chunks_mut(area)).enumerate().for_each_init(
                Vec::new,
                |source, (i, (panel, row))| {
                    if i == k {
                        return;
                    }
                    source.clear();
                    let at = |i: usize, j: usize| (i * (i + 1) / 2 + j) * area;
                    if i > k {
                        source.extend_from_slice(&values[at(i, k)..][..area]);
                    } else {
                        source.resize(area, 0.0);
                        transpose(&values[at(k, i)..][..area], block, source);
                    }
                    times_negated_pivot(source, negated_pivot, block, panel, row);
                },
            );
            self.values.par_chunks_mut(area).enumerate().for_each(|(at, values)| {
                let (i, j) = triangle(at);
                if i == k && j == k {
                    return;
                }
                if j == k {
                    unpack_rows(&rows[i * area..][..area], block, |r, c, v| values[r * block + c] = v);
                } else if i == k {
                    unpack_rows(&rows[j * area..][..area], block, |r, c, v| values[c * block + r] = v);
                } else {
                    subtract_product(&rows[i * area..][..area], &panels[j * area..][..area], block, values);
                }
            });
        }
        true
    }
}

/// Row and column of the block at `at` in the lower triangle.
fn triangle(at: usize) -> (usize, usize) {
    let mut i = (((8 * at + 1) as f64).sqrt() as usize).saturating_sub(1) / 2;
    while (i + 1) * (i + 2) / 2 <= at {
        i += 1;
    }
    while i * (i + 1) / 2 > at {
        i -= 1;
    }
    (i, at - i * (i + 1) / 2)
}

fn transpose(source: &[f32], block: usize, out: &mut [f32]) {
    for r0 in (0..block).step_by(LANES) {
        for c0 in (0..block).step_by(LANES) {
            for r in r0..r0 + LANES {
                for c in c0..c0 + LANES {
                    out[c * block + r] = source[r * block + c];
                }
            }
        }
    }
}

/// Packs `source` (`A_ik`) into `panel`, and `A_ik D⁻¹` into `row`.
fn times_negated_pivot(
    source: &[f32],
    negated_pivot: &[f32],
    block: usize,
    panel: &mut [f32],
    row: &mut [f32],
) {
    let mut packed = Vec::with_capacity(block * block);
    for rows in source.chunks_exact(LANES * block) {
        tile::pack_panel(rows, block, block, &mut packed);
    }
    panel.copy_from_slice(&packed);
    packed.clear();
    for rows in source.chunks_exact(ROWS * block) {
        tile::pack_rows(rows, block, block, &mut packed);
    }
    let mut out = [[0.0; LANES]; ROWS];
    for (group, row) in packed.chunks_exact(ROWS * block).zip(row.chunks_exact_mut(ROWS * block)) {
        for c0 in (0..block).step_by(LANES) {
            let pivot = Factor { values: &negated_pivot[c0..], stride: block };
            tile::product(block, Factor { values: group, stride: ROWS }, pivot, &mut out);
            for r in 0..ROWS {
                for l in 0..LANES {
                    row[(c0 + l) * ROWS + r] = -out[r][l];
                }
            }
        }
    }
}

/// Calls `set(row, column, value)` for each value of a row factor.
fn unpack_rows(rows: &[f32], block: usize, mut set: impl FnMut(usize, usize, f32)) {
    for (group, rows) in rows.chunks_exact(ROWS * block).enumerate() {
        for (c, values) in rows.chunks_exact(ROWS).enumerate() {
            for (r, &value) in values.iter().enumerate() {
                set(group * ROWS + r, c, value);
            }
        }
    }
}

fn subtract_product(rows: &[f32], panels: &[f32], block: usize, out: &mut [f32]) {
    let mut product = [[0.0; LANES]; ROWS];
    for (p, panel) in panels.chunks_exact(LANES * block).enumerate() {
        for (g, group) in rows.chunks_exact(ROWS * block).enumerate() {
            let panel = Factor { values: panel, stride: LANES };
            tile::product(block, Factor { values: group, stride: ROWS }, panel, &mut product);
            for (r, product) in product.iter().enumerate() {
                let out = &mut out[(g * ROWS + r) * block + p * LANES..][..LANES];
                out.iter_mut().zip(product).for_each(|(out, product)| *out -= product);
            }
        }
    }
}

/// `D → −D⁻¹` of one block, with smaller blocks.
fn invert_block(values: &mut [f32], block: usize) -> bool {
    if block <= MAX_PLAIN {
        return negated_inverse_plainly(values, block);
    }
    let mut inner = Symmetric::with_blocks(block, MAX_PLAIN);
    inner.fill(|i, row| row[..=i].copy_from_slice(&values[i * block..][..=i]));
    if !inner.invert_negated() {
        return false;
    }
    for i in 0..block {
        for j in 0..block {
            values[i * block + j] = inner.get(i, j);
        }
    }
    true
}

/// `A → −A⁻¹` of a small square matrix: one sweep per row, in `f64`. The plain reference.
fn negated_inverse_plainly(values: &mut [f32], n: usize) -> bool {
    let mut a: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    for k in 0..n {
        let pivot = a[k * n + k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        let row: Vec<f64> = a[k * n..(k + 1) * n].to_vec();
        for i in 0..n {
            if i != k {
                let factor = a[i * n + k] / pivot;
                for j in 0..n {
                    a[i * n + j] -= factor * row[j];
                }
                a[i * n + k] = factor;
            }
        }
        for j in 0..n {
            a[k * n + j] = row[j] / pivot;
        }
        a[k * n + k] = -1.0 / pivot;
    }
    values.iter_mut().zip(&a).for_each(|(v, &a)| *v = a as f32);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `M Mᵀ + l2 · I` of made-up numbers, `[n][n]`.
    fn gram(n: usize, seed: u32, l2: f64) -> Vec<f64> {
        let value = |i: usize| {
            let x = (i as u32 + 1).wrapping_mul(seed.wrapping_mul(2) + 2_654_435_761);
            f64::from(x >> 16 & 0xff) / 64.0 - 2.0
        };
        let m: Vec<f64> = (0..n * n).map(value).collect();
        let mut out = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                out[i * n + j] = (0..n).map(|k| m[i * n + k] * m[j * n + k]).sum::<f64>() / n as f64;
            }
            out[i * n + i] += l2;
        }
        out
    }

    fn check(n: usize, max_block: usize, seed: u32) {
        let a = gram(n, seed, 0.5);
        let mut inverse = Symmetric::with_blocks(n, max_block);
        inverse.fill(|i, row| {
            (0..=i).for_each(|j| row[j] = a[i * n + j] as f32);
            row[i + 1..].fill(f32::NAN); // ignored
        });
        assert!(inverse.invert_negated());
        for i in 0..n {
            for j in 0..n {
                let got: f64 = (0..n).map(|k| -a[i * n + k] * f64::from(inverse.get(k, j))).sum();
                let want = f64::from(u8::from(i == j));
                assert!((got - want).abs() < 2e-3, "n {n}, blocks {max_block}: {i} {j}: {got}");
            }
            let mut row = vec![f32::NAN; n];
            inverse.read_row(i, &mut row);
            // Within a diagonal block both halves are kept, and may differ by their rounding.
            assert!((0..n).all(|j| (row[j] - inverse.get(i, j)).abs() < 1e-4), "row {i}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_matrix_times_its_inverse_is_one(n in 1_usize..90, max_block in 1_usize..50, seed in any::<u32>()) {
            check(n, max_block, seed);
        }
    }

    #[test]
    fn blocks_within_blocks_come_out_right() {
        check(300, 128, 7);
        check(300, 512, 8);
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        for n in [2, 100] {
            let mut matrix = Symmetric::identity(n);
            matrix.fill(|_, row| row.fill(1.0));
            assert!(!matrix.invert_negated(), "{n}");
        }
    }

    #[test]
    fn places_in_the_triangle_are_found() {
        let mut at = 0;
        for i in 0..300 {
            for j in 0..=i {
                assert_eq!(triangle(at), (i, j));
                at += 1;
            }
        }
    }
}
