//! Rotary position embedding (Su et al. 2021): queries and keys turn by an angle per position.

use crate::workspace::Pass;

/// Cosines and sines of every position and pair of dimensions of a head.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    half: usize,
    /// `[max_len, half]` each.
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// Angles `position · base^(-2i / head_dim)` for positions below `max_len`.
    ///
    /// # Panics
    /// If `head_dim` is odd.
    #[must_use]
    pub fn new(max_len: usize, head_dim: usize, base: f32) -> Self {
        assert_eq!(head_dim % 2, 0, "head dimension {head_dim}; rotation needs an even one");
        let half = head_dim / 2;
        let angle = |p: usize, i: usize| p as f64 * f64::from(base).powf(-2.0 * i as f64 / head_dim as f64);
        let places = || (0..max_len).flat_map(|p| (0..half).map(move |i| (p, i)));
        Self {
            half,
            cos: places().map(|(p, i)| angle(p, i).cos() as f32).collect(),
            sin: places().map(|(p, i)| angle(p, i).sin() as f32).collect(),
        }
    }

    /// Turns the first `width` numbers of each row of `x` `[n_tokens, stride]` in place: all heads of
    /// queries, of keys, or of both; `inverse` turns gradients back.
    ///
    /// Dimension `i` of a head is paired with dimension `i + head_dim / 2`.
    ///
    /// # Panics
    /// If a sequence is longer than `max_len`.
    pub fn rotate(&self, pass: &Pass<'_>, stride: usize, width: usize, x: &mut [f32], inverse: bool) {
        crate::simd::vectorised(
            #[inline(always)]
            || {
                for sequence in pass.sequences() {
                    for (position, token) in sequence.enumerate() {
                        self.turn(position, &mut x[token * stride..token * stride + width], inverse);
                    }
                }
            },
        );
    }

    /// Turns all heads of one token at a position.
    #[inline(always)]
    pub(crate) fn turn(&self, position: usize, heads: &mut [f32], inverse: bool) {
        let half = self.half;
        let sign = if inverse { -1.0 } else { 1.0 };
        let cos = &self.cos[position * half..(position + 1) * half];
        let sin = &self.sin[position * half..(position + 1) * half];
        for head in heads.chunks_exact_mut(2 * half) {
            let (a, b) = head.split_at_mut(half);
            for i in 0..half {
                let (x, y, s) = (a[i], b[i], sign * sin[i]);
                a[i] = x * cos[i] - y * s;
                b[i] = x * s + y * cos[i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    #[test]
    fn products_depend_on_the_distance_alone_and_values_stay() {
        let (d, n) = (6, 9);
        let rope = Rope::new(n, d, 10_000.0);
        let row = values(4, 3 * d, 1.0);
        let mut qkv: Vec<f32> = row.iter().copied().cycle().take(n * 3 * d).collect();
        let offsets = [0, n as u32];
        let pass = Pass { params: &[], packed: &[], offsets: &offsets, noise: None };
        rope.rotate(&pass, 3 * d, 2 * d, &mut qkv, false);
        let product = |i: usize, j: usize| {
            crate::simd::dot(&qkv[i * 3 * d..i * 3 * d + d], &qkv[j * 3 * d + d..j * 3 * d + 2 * d])
        };
        assert!((product(3, 1) - product(8, 6)).abs() < 1e-5);
        assert!((product(3, 1) - product(8, 1)).abs() > 1e-3);
        assert_eq!(qkv[n * 3 * d - d..], row[2 * d..]);
        rope.rotate(&pass, 3 * d, 2 * d, &mut qkv, true);
        for (i, v) in qkv.iter().enumerate() {
            assert!((v - row[i % (3 * d)]).abs() < 1e-5);
        }
    }
}
