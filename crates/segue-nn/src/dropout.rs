//! Dropout (Srivastava et al. 2014) whose mask is a function of its place: drawn again, never kept.

//!
//! Places come in groups of 32: 16 draws of 32 bits serve a group, the low half of draw `i` place `i` and
//! the high half place `16 + i`. Rates are multiples of 2⁻¹⁶.

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::random::mix32;
use crate::simd::LANES;

/// Places that share their draws.
const GROUP: usize = 2 * LANES;

/// Sets a share of numbers to zero and scales the others up, so that the mean stays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// A half draw below this drops the number.
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
        let threshold = (rate * 65_536.0).round().min(65_535.0);
        Self { threshold: threshold as u32, scale: 65_536.0 / (65_536.0 - threshold) }
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
        let place = first as usize;
        let (head, x) = x.split_at_mut(x.len().min(place.next_multiple_of(GROUP) - place));
        let (groups, tail) = x.as_chunks_mut::<GROUP>();
        let after_head = place + head.len();
        self.one_by_one(key, place, head);
        self.one_by_one(key, after_head + groups.len() * GROUP, tail);
        dispatch(Groups { dropout: self, key, group: after_head / GROUP, x: groups });
    }

    fn one_by_one(self, key: u32, first: usize, x: &mut [f32]) {
        for (place, x) in (first..).zip(x) {
            let draw = mix32(draw_of(key, place / GROUP).wrapping_add((place % LANES) as u32));
            let half = if place % GROUP < LANES { draw & 0xFFFF } else { draw >> 16 };
            *x *= if half < self.threshold { 0.0 } else { self.scale };
        }
    }
}

/// The counter of a group's first draw.
#[inline(always)]
fn draw_of(key: u32, group: usize) -> u32 {
    key.wrapping_add((group * LANES) as u32)
}

struct Groups<'a> {
    dropout: Dropout,
    key: u32,
    group: usize,
    x: &'a mut [[f32; GROUP]],
}

impl Kernel for Groups<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let scale = V::splat(self.dropout.scale);
        for (x, group) in self.x.iter_mut().zip(self.group..) {
            let (x, _) = x.as_chunks_mut::<LANES>();
            let factors = V::unless_below(draw_of(self.key, group), self.dropout.threshold, scale);
            for (x, factor) in x.iter_mut().zip(factors) {
                V::load(x).mul(factor).store(x);
            }
        }
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
        let (a, c) = a.split_at_mut(48);
        dropout.apply(7, 48, &mut c[..3]);
        dropout.apply(7, 51, &mut c[3..]);
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
