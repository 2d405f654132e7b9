//! AdamW (Loshchilov & Hutter 2019) over the parameter arena, or over a whole table.

use rayon::prelude::*;

use crate::Layout;
use crate::simd::vectorised;

/// The constants of Adam (Kingma & Ba 2015).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Memory of the mean.
    pub beta_1: f32,
    /// Memory of the mean square.
    pub beta_2: f32,
    /// Added to the root.
    pub epsilon: f32,
    /// Share of a weight lost per unit of learning rate.
    pub weight_decay: f32,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.98, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

impl Adam {
    /// `(1 - β₁ᵗ, √(1 - β₂ᵗ))` of step `t`, from 1.
    pub(crate) fn corrections(&self, t: u64) -> (f32, f32) {
        let t = t.min(1 << 30) as i32;
        let c = |beta: f32| 1.0 - f64::from(beta).powi(t);
        (c(self.beta_1) as f32, c(self.beta_2).sqrt() as f32)
    }

    /// One step of a run of numbers, gradients times `clip`.
    #[inline(always)]
    pub(crate) fn step(
        &self,
        corrections: (f32, f32),
        lr: f32,
        clip: f32,
        decay: f32,
        w: &mut [f32],
        g: &[f32],
        m: &mut [f32],
        v: &mut [f32],
    ) {
        let (rate, root) = (lr / corrections.0, 1.0 / corrections.1);
        let keep = 1.0 - lr * decay;
        let n = w.len();
        let (g, m, v) = (&g[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            let g = g[i] * clip;
            m[i] = self.beta_1.mul_add(m[i] - g, g);
            v[i] = self.beta_2.mul_add(v[i] - g * g, g * g);
            w[i] = keep * w[i] - rate * m[i] / (v[i].sqrt() * root + self.epsilon);
        }
    }
}

/// First and second moments of every number, and the count of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// The constants.
    pub adam: Adam,
    /// Steps done.
    pub steps: u64,
    /// Mean of gradients `[len]`.
    pub mean: Vec<f32>,
    /// Mean of squares `[len]`.
    pub square: Vec<f32>,
}

impl AdamW {
    /// No steps done yet.
    #[must_use]
    pub fn new(len: usize, adam: Adam) -> Self {
        Self { adam, steps: 0, mean: vec![0.0; len], square: vec![0.0; len] }
    }

    /// One step of the arena; gradients are multiplied by `clip` first. Weight decay applies to the
    /// groups that say so.
    pub fn step(&mut self, layout: &Layout, params: &mut [f32], grads: &[f32], lr: f32, clip: f32) {
        self.steps += 1;
        let corrections = self.adam.corrections(self.steps);
        for group in layout.groups() {
            let range = group.param.range();
            let decay = if group.decays { self.adam.weight_decay } else { 0.0 };
            let (w, g) = (&mut params[range.clone()], &grads[range.clone()]);
            let (m, v) = (&mut self.mean[range.clone()], &mut self.square[range]);
            vectorised(
                #[inline(always)]
                || self.adam.step(corrections, lr, clip, decay, w, g, m, v),
            );
        }
    }

    /// One step of a table whose every row has a gradient.
    pub fn step_all(&mut self, weights: &mut [f32], grads: &[f32], lr: f32, clip: f32) {
        const CHUNK: usize = 1 << 14;
        self.steps += 1;
        let corrections = self.adam.corrections(self.steps);
        let adam = self.adam;
        weights
            .par_chunks_mut(CHUNK)
            .zip(grads.par_chunks(CHUNK))
            .zip(self.mean.par_chunks_mut(CHUNK))
            .zip(self.square.par_chunks_mut(CHUNK))
            .for_each(|(((w, g), m), v)| {
                vectorised(
                    #[inline(always)]
                    || adam.step(corrections, lr, clip, adam.weight_decay, w, g, m, v),
                );
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Init;
    use crate::testing::*;

    #[test]
    fn steps_are_those_of_the_plain_formula_and_only_matrices_decay() {
        let mut layout = Layout::default();
        let matrix = layout.matrix("m", 3, 7, Init::Zeros);
        layout.vector("v", 5, Init::Zeros);
        let adam = Adam { weight_decay: 0.1, ..Adam::default() };
        let mut optimiser = AdamW::new(layout.len(), adam);
        let mut w = values(1, layout.len(), 1.0);
        let mut want = f64s(&w);
        let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        for t in 1..6 {
            let g = values(10 + t, w.len(), 1.0);
            optimiser.step(&layout, &mut w, &g, 0.01, 0.5);
            for i in 0..w.len() {
                let g = 0.5 * f64::from(g[i]);
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.98 * v[i] + 0.02 * g * g;
                let (mh, vh) =
                    (m[i] / (1.0 - 0.9_f64.powi(t as i32)), v[i] / (1.0 - 0.98_f64.powi(t as i32)));
                let decay = if matrix.range().contains(&i) { 0.1 } else { 0.0 };
                want[i] -= 0.01 * (mh / (vh.sqrt() + 1e-8) + decay * want[i]);
            }
        }
        close("weights", &w, &want, 1e-4);
    }

    #[test]
    fn a_whole_table_takes_the_same_steps() {
        let mut layout = Layout::default();
        layout.matrix("m", 300, 100, Init::Zeros);
        let adam = Adam { weight_decay: 0.1, ..Adam::default() };
        let (mut a, mut b) = (AdamW::new(30_000, adam), AdamW::new(30_000, adam));
        let mut x = values(1, 30_000, 1.0);
        let mut y = x.clone();
        let g = values(2, 30_000, 1.0);
        a.step(&layout, &mut x, &g, 0.01, 1.0);
        b.step_all(&mut y, &g, 0.01, 1.0);
        assert_eq!(x, y);
    }
}
