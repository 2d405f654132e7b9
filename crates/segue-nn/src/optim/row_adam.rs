//! Adam for embedding tables: a step touches only the rows that the batch used.
//!
//! Unlike Adam over the whole table, rows without a gradient do not move: their moments rest. Each row
//! counts its own steps for the bias correction, so that a rare row's first step is no larger than
//! a frequent one's.

use rayon::prelude::*;

use crate::optim::Adam;
use crate::simd::vectorised;
use crate::{Embedding, RowGradient};

/// Moments of every row and the steps it has taken.
#[derive(Debug, Clone, PartialEq)]
pub struct RowAdam {
    /// The constants.
    pub adam: Adam,
    /// `[n_rows]`.
    pub steps: Vec<u32>,
    /// `[n_rows, d]`.
    pub mean: Vec<f32>,
    /// `[n_rows, d]`.
    pub square: Vec<f32>,
}

impl RowAdam {
    /// No steps done yet.
    #[must_use]
    pub fn new(n_rows: usize, d: usize, adam: Adam) -> Self {
        Self { adam, steps: vec![0; n_rows], mean: vec![0.0; n_rows * d], square: vec![0.0; n_rows * d] }
    }

    /// One step of the rows of `gradient`; gradients are multiplied by `clip` first.
    pub fn step(&mut self, table: &mut Embedding, gradient: &RowGradient, lr: f32, clip: f32) {
        let d = table.d;
        let adam = self.adam;
        // Rows ascend, so the work splits into disjoint pieces of the table.
        let mut rows = &gradient.rows[..];
        let mut values = &gradient.values[..];
        const PIECE: usize = 4096;
        let pieces: Vec<(&[u32], &[f32])> = (0..table.n_rows().div_ceil(PIECE))
            .map(|piece| {
                let n = rows.partition_point(|&r| (r as usize) < (piece + 1) * PIECE);
                let (mine, rest) = rows.split_at(n);
                let (my_values, rest_values) = values.split_at(n * d);
                (rows, values) = (rest, rest_values);
                (mine, my_values)
            })
            .collect();
        table
            .table
            .par_chunks_mut(PIECE * d)
            .zip(self.mean.par_chunks_mut(PIECE * d))
            .zip(self.square.par_chunks_mut(PIECE * d))
            .zip(self.steps.par_chunks_mut(PIECE))
            .zip(pieces)
            .enumerate()
            .for_each(|(piece, ((((w, m), v), steps), (rows, values)))| {
                vectorised(
                    #[inline(always)]
                    || {
                        for (&row, g) in rows.iter().zip(values.chunks_exact(d)) {
                            let at = row as usize - piece * PIECE;
                            steps[at] += 1;
                            let range = at * d..(at + 1) * d;
                            adam.step(
                                adam.corrections(u64::from(steps[at])),
                                lr,
                                clip,
                                adam.weight_decay,
                                &mut w[range.clone()],
                                g,
                                &mut m[range.clone()],
                                &mut v[range],
                            );
                        }
                    },
                );
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::AdamW;
    use crate::testing::*;

    #[test]
    fn used_rows_take_adam_steps_and_the_others_rest() {
        let (n_rows, d) = (10_000, 3);
        let mut table = Embedding::new(n_rows, d, 1.0, 1);
        let before = table.clone();
        let mut optimiser = RowAdam::new(n_rows, d, Adam::default());
        let rows = [0_u32, 4095, 4096, 9999];
        let mut gradient = RowGradient::default();
        let mut dense: Vec<AdamW> = rows.iter().map(|_| AdamW::new(d, Adam::default())).collect();
        let mut want: Vec<Vec<f32>> = rows.iter().map(|&r| before.row(r).to_vec()).collect();
        for step in 0..3 {
            let values = values(step, rows.len() * d, 1.0);
            gradient.sum(d, [(&rows[..], &values[..])].into_iter());
            optimiser.step(&mut table, &gradient, 0.01, 1.0);
            for i in 0..rows.len() {
                dense[i].step_all(&mut want[i], &values[i * d..(i + 1) * d], 0.01, 1.0);
            }
        }
        for (i, &row) in rows.iter().enumerate() {
            assert_eq!(table.row(row), want[i], "row {row}");
        }
        for row in (0..n_rows as u32).filter(|r| !rows.contains(r)) {
            assert_eq!(table.row(row), before.row(row));
        }
    }
}
