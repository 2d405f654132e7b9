//! One half of an iteration: every vector of one side, given those of the other.
//!
//! For a row with entries `(h_j, c_j)` the vector is the minimum of
//! `Σ_j c_j (1 − h_j·x)² + a · xᵀ(HᵀH)x + r · ‖x‖²`, that is the solution of
//! `(Σ c_j h_j h_jᵀ + a HᵀH + r I) x = Σ c_j h_j`.

use serde::{Deserialize, Serialize};

use crate::linalg::cholesky;
use crate::linalg::gram::add_gram;
use crate::linalg::tile::{self, Factor, LANES, ROWS};
use crate::linalg::vector::{add_outer_products, add_product, add_residuals, dot};

/// How a system is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// `cg` up to 128 factors, `block` above.
    #[default]
    Auto,
    /// Exactly.
    Cholesky,
    /// Some steps of conjugate gradients from the vector of the iteration before.
    Cg,
    /// Blocks of coordinates one after the other, each exactly, from the vector of the iteration before (iALS++).
    Block,
}

impl Solver {
    /// What `auto` stands for with this number of factors.
    pub(super) fn resolve(self, n_factors: usize) -> Self {
        match self {
            Self::Auto if n_factors <= 128 => Self::Cg,
            Self::Auto => Self::Block,
            other => other,
        }
    }
}

/// Rows that are gathered at a time, so that they stay in a core's cache.
const GATHER: usize = 256;

/// What the systems of one side have in common.
pub(super) struct System<'a> {
    /// `H`: `[n, width]`.
    pub(super) table: &'a [f32],
    /// `a · HᵀH`: `[width, width]`.
    pub(super) gram: &'a [f32],
    /// A multiple of 32.
    pub(super) width: usize,
}

/// The entries of one row and its regulariser.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// Rows of the table.
    pub(super) index: &'a [u32],
    /// Their weights.
    pub(super) weight: &'a [f32],
    /// `r`.
    pub(super) l2: f32,
}

/// Room for one thread's work.
#[derive(Default)]
pub(super) struct Scratch {
    matrix: Vec<f32>,
    rows: Vec<f32>,
    residual: Vec<f32>,
    direction: Vec<f32>,
    image: Vec<f32>,
    missing: Vec<f32>,
}

impl System<'_> {
    /// The exact solution. False if the matrix is not positive definite in `f32`.
    pub(super) fn solve(&self, index: &[u32], weight: &[f32], l2: f32, x: &mut [f32], s: &mut Scratch) -> bool {
        self.set_matrix(index, weight, l2, s);
        // The right side is the gradient at zero.
        x.fill(0.0);
        s.image.clear();
        s.image.resize(self.width, 0.0);
        add_residuals(self.table, index, weight, x, &mut s.image);
        x.copy_from_slice(&s.image);
        cholesky::solve(&mut s.matrix, self.width, x)
    }

    /// `A⁻¹ x` with the matrix of a row. False as for [`solve`](Self::solve).
    pub(super) fn apply_inverse(
        &self,
        index: &[u32],
        weight: &[f32],
        l2: f32,
        x: &mut [f32],
        s: &mut Scratch,
    ) -> bool {
        self.set_matrix(index, weight, l2, s);
        cholesky::solve(&mut s.matrix, self.width, x)
    }

    fn set_matrix(&self, index: &[u32], weight: &[f32], l2: f32, s: &mut Scratch) {
        s.matrix.clear();
        s.matrix.extend_from_slice(self.gram);
        (0..self.width).for_each(|i| s.matrix[i * self.width + i] += l2);
        for (index, weight) in index.chunks(GATHER).zip(weight.chunks(GATHER)) {
            self.gather(index, weight, 0, self.width, &mut s.rows);
            add_gram(&s.rows, self.width, &mut s.matrix);
        }
    }

    /// `n_steps` of conjugate gradients for up to [`ROWS`] rows at once, each from its vector in `x`, `[rows, width]`.
    ///
    /// The rows have nothing to do with each other but the products with `a HᵀH`, which are one product of matrices
    /// here: as many operations as one by one, without reading that matrix once per row.
    pub(super) fn descend(&self, rows: &[Row<'_>], n_steps: usize, x: &mut [f32], s: &mut Scratch) {
        let width = self.width;
        assert!(rows.len() <= ROWS && x.len() == rows.len() * width, "a vector for each of at most 8 rows");
        for vector in [&mut s.residual, &mut s.image] {
            vector.clear();
            vector.resize(x.len(), 0.0);
        }
        // residual = b − A x
        self.add_gram_products(x, &mut s.image, &mut s.rows);
        let mut square = [0.0_f32; ROWS];
        for (r, row) in rows.iter().enumerate() {
            let of_row = r * width..(r + 1) * width;
            let (x, residual) = (&x[of_row.clone()], &mut s.residual[of_row.clone()]);
            add_residuals(self.table, row.index, row.weight, x, residual);
            residual.iter_mut().zip(&s.image[of_row]).zip(x).for_each(|((r, i), x)| *r -= i + row.l2 * x);
            square[r] = dot(residual, residual);
        }
        s.direction.clone_from(&s.residual);
        for _ in 0..n_steps {
            for (r, row) in rows.iter().enumerate() {
                let of_row = r * width..(r + 1) * width;
                let direction = &s.direction[of_row.clone()];
                s.image[of_row].iter_mut().zip(direction).for_each(|(i, d)| *i = row.l2 * d);
            }
            self.add_gram_products(&s.direction, &mut s.image, &mut s.rows);
            for (r, row) in rows.iter().enumerate() {
                // Below this the vector moves by less than its rounding.
                if square[r] < 1e-20 {
                    continue;
                }
                let of_row = r * width..(r + 1) * width;
                let (direction, image) = (&mut s.direction[of_row.clone()], &mut s.image[of_row.clone()]);
                let (x, residual) = (&mut x[of_row.clone()], &mut s.residual[of_row]);
                add_outer_products(self.table, row.index, row.weight, direction, image);
                let step = square[r] / dot(direction, image);
                x.iter_mut().zip(&*direction).for_each(|(x, d)| *x += step * d);
                residual.iter_mut().zip(&*image).for_each(|(r, i)| *r -= step * i);
                let next = dot(residual, residual);
                let keep = next / square[r];
                direction.iter_mut().zip(&*residual).for_each(|(d, r)| *d = r + keep * *d);
                square[r] = next;
            }
        }
    }

    /// `image += x · (a HᵀH)` for up to 8 rows; `packed` is room.
    fn add_gram_products(&self, x: &[f32], image: &mut [f32], packed: &mut Vec<f32>) {
        let width = self.width;
        packed.clear();
        tile::pack_rows(x, width, width, packed);
        let mut product = [[0.0; LANES]; ROWS];
        for c0 in (0..width).step_by(LANES) {
            let panel = Factor { values: &self.gram[c0..], stride: width };
            tile::product(width, Factor { values: packed, stride: ROWS }, panel, &mut product);
            for (image, product) in image.chunks_exact_mut(width).zip(&product) {
                image[c0..c0 + LANES].iter_mut().zip(product).for_each(|(image, product)| *image += product);
            }
        }
    }

    /// One pass over the blocks of `block` coordinates (a multiple of 32), each solved exactly. False if the matrix of
    /// a block is not positive definite in `f32`.
    pub(super) fn solve_blocks(
        &self,
        index: &[u32],
        weight: &[f32],
        l2: f32,
        block: usize,
        x: &mut [f32],
        s: &mut Scratch,
    ) -> bool {
        let width = self.width;
        s.missing.clear();
        s.missing.extend(index.iter().map(|&j| 1.0 - dot(self.row(j), x)));
        for from in (0..width).step_by(block) {
            let size = block.min(width - from);
            s.matrix.clear();
            for i in from..from + size {
                s.matrix.extend_from_slice(&self.gram[i * width + from..][..size]);
            }
            (0..size).for_each(|i| s.matrix[i * size + i] += l2);
            // The gradient in these coordinates, with the sign changed.
            s.residual.clear();
            for i in from..from + size {
                s.residual.push(-dot(&self.gram[i * width..][..width], x) - l2 * x[i]);
            }
            for (at, (index, weight)) in index.chunks(GATHER).zip(weight.chunks(GATHER)).enumerate() {
                self.gather(index, weight, from, size, &mut s.rows);
                add_gram(&s.rows, size, &mut s.matrix);
                // Gathered rows carry the root of the weight: so does what they miss.
                s.image.clear();
                s.image.extend(s.missing[at * GATHER..].iter().zip(weight).map(|(m, w)| m * w.sqrt()));
                add_product(&s.rows, &s.image, &mut s.residual);
            }
            if !cholesky::solve(&mut s.matrix, size, &mut s.residual) {
                return false;
            }
            x[from..from + size].iter_mut().zip(&s.residual).for_each(|(x, step)| *x += step);
            for (missing, &j) in s.missing.iter_mut().zip(index) {
                *missing -= dot(&self.row(j)[from..from + size], &s.residual);
            }
        }
        true
    }

    fn row(&self, j: u32) -> &[f32] {
        &self.table[j as usize * self.width..][..self.width]
    }

    /// `size` columns from `from` of the rows named by `index`, times the roots of their weights.
    fn gather(&self, index: &[u32], weight: &[f32], from: usize, size: usize, rows: &mut Vec<f32>) {
        rows.clear();
        for (&j, &weight) in index.iter().zip(weight) {
            let row = &self.row(j)[from..from + size];
            if weight == 1.0 {
                rows.extend_from_slice(row);
            } else {
                let root = weight.sqrt();
                rows.extend(row.iter().map(|v| v * root));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linalg::gram::gram;

    const WIDTH: usize = 64;

    /// Gauss-Jordan elimination in `f64` on the system as it is written down.
    fn plainly(table: &[f32], index: &[u32], weight: &[f32], a: f64, l2: f64) -> Vec<f64> {
        let h = |j: usize, k: usize| f64::from(table[j * WIDTH + k]);
        let mut m = vec![vec![0.0_f64; WIDTH + 1]; WIDTH];
        for i in 0..WIDTH {
            for k in 0..WIDTH {
                m[i][k] = a * (0..table.len() / WIDTH).map(|j| h(j, i) * h(j, k)).sum::<f64>();
                for (&j, &w) in index.iter().zip(weight) {
                    m[i][k] += f64::from(w) * h(j as usize, i) * h(j as usize, k);
                }
            }
            m[i][i] += l2;
            m[i][WIDTH] = index.iter().zip(weight).map(|(&j, &w)| f64::from(w) * h(j as usize, i)).sum();
        }
        for k in 0..WIDTH {
            let pivot = m[k][k];
            m[k].iter_mut().for_each(|v| *v /= pivot);
            let row = m[k].clone();
            for i in (0..WIDTH).filter(|&i| i != k) {
                let factor = m[i][k];
                m[i].iter_mut().zip(&row).for_each(|(v, r)| *v -= factor * r);
            }
        }
        m.iter().map(|row| row[WIDTH]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Rows without entries and with the same entry twice among them.
        #[test]
        fn all_solvers_reach_the_solution_of_the_system(
            values in prop::collection::vec(-1.0_f32..1.0, 300),
            index in prop::collection::vec(0_u32..20, 0..12),
            weights in prop::collection::vec(prop_oneof![Just(1.0_f32), 0.1_f32..3.0], 12),
            a in 0.05_f32..1.0,
            l2 in 0.3_f32..2.0,
        ) {
            let table: Vec<f32> = (0..20 * WIDTH).map(|i| values[i * 7 % 300] * values[i % 299]).collect();
            let scaled: Vec<f32> = gram(&table, WIDTH).iter().map(|g| a * g).collect();
            let system = System { table: &table, gram: &scaled, width: WIDTH };
            let weight = &weights[..index.len()];
            let want = plainly(&table, &index, weight, a.into(), l2.into());
            let near = |x: &[f32]| x.iter().zip(&want).all(|(x, w)| (f64::from(*x) - w).abs() < 1e-3);
            let start = || values[..WIDTH].to_vec();
            let mut s = Scratch::default();

            let mut x = start();
            prop_assert!(system.solve(&index, weight, l2, &mut x, &mut s));
            prop_assert!(near(&x), "cholesky {x:?} {want:?}");
            let mut x = start();
            let row = Row { index: &index, weight, l2 };
            (0..4).for_each(|_| system.descend(&[row], 32, &mut x, &mut s));
            prop_assert!(near(&x), "cg {x:?} {want:?}");
            // The same, bit by bit, among others.
            let others = Row { index: &index[..index.len() / 2], weight: &weight[..index.len() / 2], l2: 2.0 * l2 };
            let mut many: Vec<f32> = [start(), vec![0.0; WIDTH], start()].concat();
            (0..4).for_each(|_| system.descend(&[others, others, row], 32, &mut many, &mut s));
            prop_assert_eq!(&x[..], &many[2 * WIDTH..]);
            let mut x = start();
            (0..500).for_each(|_| assert!(system.solve_blocks(&index, weight, l2, 32, &mut x, &mut s)));
            prop_assert!(near(&x), "block {x:?} {want:?}");
            let mut x = start();
            assert!(system.solve_blocks(&index, weight, l2, 64, &mut x, &mut s));
            prop_assert!(near(&x), "one block {x:?} {want:?}");
        }
    }
}
