//! An exponential moving average of weights (Polyak & Juditsky 1992): smoother than the last step.

use crate::simd::vectorised;

/// The average.
#[derive(Debug, Clone, PartialEq)]
pub struct Ema {
    /// Memory per step, in `[0, 1)`.
    pub memory: f32,
    /// Steps averaged.
    pub steps: u64,
    /// The average, `[len]`.
    pub average: Vec<f32>,
}

impl Ema {
    /// Begins at `weights`.
    #[must_use]
    pub fn new(weights: &[f32], memory: f32) -> Self {
        Self { memory, steps: 0, average: weights.to_vec() }
    }

    /// Moves towards `weights`; early steps weigh more (`memory` is at most `(1 + t) / (10 + t)`).
    pub fn step(&mut self, weights: &[f32]) {
        self.steps += 1;
        let t = self.steps as f32;
        let gain = 1.0 - self.memory.min((1.0 + t) / (10.0 + t));
        vectorised(
            #[inline(always)]
            || {
                for (a, w) in self.average.iter_mut().zip(weights) {
                    *a = (w - *a).mul_add(gain, *a);
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_of_a_constant_is_that_constant_and_it_lags_behind_change() {
        let mut ema = Ema::new(&[1.0], 0.9);
        for _ in 0..100 {
            ema.step(&[1.0]);
        }
        assert_eq!(ema.average, [1.0]);
        ema.step(&[2.0]);
        assert!((ema.average[0] - 1.1).abs() < 1e-5);
    }
}
