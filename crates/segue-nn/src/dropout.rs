//! Dropout (Srivastava et al. 2014) whose mask is a function of its place: drawn again, never kept.

use crate::random::mix32;
use crate::simd::vectorised;

/// Sets a share of numbers to zero and scales the others up, so that the mean stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// A draw below this drops the number.
    threshold: u32,
    scale: f32,
}

impl Dropout {
    /// Drops a share `rate` of all numbers.
    ///
    /// # Panics
    /// If `rate` is outside `[0, 1)`.
    #[must_use]
    pub fn new(rate: f32) -> Self {
        assert!((0.0..1.0).contains(&rate), "dropout rate {rate}; it is in [0, 1)");
        Self { threshold: (f64::from(rate) * 4_294_967_296.0) as u32, scale: 1.0 / (1.0 - rate) }
    }

    /// Whether it drops anything.
    #[must_use]
    pub fn is_active(self) -> bool {
        self.threshold > 0
    }

    /// Multiplies `x` by the mask of `key`; number `i` has place `first + i`. The forward pass and
    /// the backward pass are the same product.
    pub fn apply(self, key: u32, first: u32, x: &mut [f32]) {
        if !self.is_active() {
            return;
        }
        vectorised(
            #[inline(always)]
            || {
                for (i, x) in x.iter_mut().enumerate() {
                    let draw = mix32((first.wrapping_add(i as u32)).wrapping_mul(0x9E37_79B9) ^ key);
                    *x *= if draw < self.threshold { 0.0 } else { self.scale };
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_can_be_drawn_again_in_pieces() {
        let dropout = Dropout::new(0.3);
        let mut whole = vec![1.0; 1000];
        dropout.apply(7, 0, &mut whole);
        let mut pieces = vec![1.0; 1000];
        let (a, b) = pieces.split_at_mut(333);
        dropout.apply(7, 333, b);
        dropout.apply(7, 0, a);
        assert_eq!(whole, pieces);
        let mut other = vec![1.0; 1000];
        dropout.apply(8, 0, &mut other);
        assert_ne!(whole, other);
    }

    #[test]
    fn the_share_dropped_is_the_rate_and_the_mean_stays() {
        for (key, rate) in [(1, 0.1_f32), (2, 0.5), (3, 0.9)] {
            let n = 100_000;
            let mut x = vec![1.0_f32; n];
            Dropout::new(rate).apply(key, 0, &mut x);
            let dropped = x.iter().filter(|&&v| v == 0.0).count() as f32 / n as f32;
            assert!((dropped - rate).abs() < 0.006, "{rate}: {dropped}");
            let mean = x.iter().sum::<f32>() / n as f32;
            assert!((mean - 1.0).abs() < 0.04, "{rate}: {mean}");
            // Neighbours are independent.
            let both = x.windows(2).filter(|w| w[0] == 0.0 && w[1] == 0.0).count() as f32 / n as f32;
            assert!((both - rate * rate).abs() < 0.01, "{rate}: {both}");
        }
    }
}
