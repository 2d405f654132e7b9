//! Row-wise Adagrad for very large tables: one number of state per row (as in DLRM, Naumov et al. 2019).

use crate::simd::{self, vectorised};
use crate::{Embedding, RowGradient};

/// The running sum of each row's mean squared gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct RowAdagrad {
    /// Added to the root.
    pub epsilon: f32,
    /// `[n_rows]`.
    pub square: Vec<f32>,
}

impl RowAdagrad {
    /// No steps done yet.
    #[must_use]
    pub fn new(n_rows: usize) -> Self {
        Self { epsilon: 1e-8, square: vec![0.0; n_rows] }
    }

    /// One step of the rows of `gradient`: `G += mean(g²)`, `w -= lr g / (√G + ε)`.
    pub fn step(&mut self, table: &mut Embedding, gradient: &RowGradient, lr: f32, clip: f32) {
        let d = table.d;
        vectorised(
            #[inline(always)]
            || {
                for (&row, g) in gradient.rows.iter().zip(gradient.values.chunks_exact(d)) {
                    let row = row as usize;
                    self.square[row] += clip * clip * simd::dot(g, g) / d as f32;
                    let rate = lr * clip / (self.square[row].sqrt() + self.epsilon);
                    simd::axpy(-rate, g, &mut table.table[row * d..(row + 1) * d]);
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_the_formula() {
        let mut table = Embedding { table: vec![1.0, 1.0, 1.0, 1.0], d: 2 };
        let mut gradient = RowGradient::default();
        gradient.sum(2, [(&[1_u32][..], &[3.0_f32, -1.0][..])].into_iter());
        let mut optimiser = RowAdagrad::new(2);
        optimiser.step(&mut table, &gradient, 0.1, 1.0);
        let root = 5.0_f32.sqrt();
        assert_eq!(table.row(0), [1.0, 1.0]);
        assert!((table.row(1)[0] - (1.0 - 0.3 / root)).abs() < 1e-6);
        assert!((table.row(1)[1] - (1.0 + 0.1 / root)).abs() < 1e-6);
        assert_eq!(optimiser.square, [0.0, 5.0]);
    }
}
