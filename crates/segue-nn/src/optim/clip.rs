//! Clipping by the norm of the whole gradient (Pascanu, Mikolov & Bengio 2013).

use rayon::prelude::*;

use crate::simd;

/// `Σ xᵢ²` in fixed pieces, added in order, so that it does not depend on the threads.
#[must_use]
pub fn square_sum(x: &[f32]) -> f64 {
    let pieces: Vec<f64> = x
        .par_chunks(1 << 14)
        .map(|x| {
            f64::from(simd::vectorised(
                #[inline(always)]
                || simd::dot(x, x),
            ))
        })
        .collect();
    pieces.iter().sum()
}

/// What to multiply a gradient by so that its norm, the root of `squares`, is at most `max_norm`.
/// A `max_norm` of 0 does not clip.
#[must_use]
pub fn clip_factor(squares: f64, max_norm: f32) -> f32 {
    let norm = squares.sqrt() as f32;
    if max_norm > 0.0 && norm > max_norm { max_norm / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_gradients_are_shortened_and_short_ones_stay() {
        let squares = square_sum(&[3.0; 100]) + square_sum(&[0.0]);
        assert_eq!(squares, 900.0);
        assert_eq!(clip_factor(squares, 15.0), 0.5);
        assert_eq!(clip_factor(squares, 31.0), 1.0);
        assert_eq!(clip_factor(squares, 0.0), 1.0);
    }
}
