//! Tables of vectors in fewer bits, for scans over a whole catalogue: a scan is bound by memory.
//!
//! | table | bytes per number | error of a number |
//! |---|---:|---|
//! | [`HalfTable`] | 2 | at most 2⁻¹¹ of itself, or 2⁻²⁵ of the table's greatest |
//! | [`ByteTable`] | 1, and 4 per row | at most 1/254 of the row's greatest |
//!
//! Both give the products of one vector with a run of rows. The plain references stand in the tests.

use std::ops::Range;

use crate::row_products::{byte_products, half_products};

/// A table `[n_rows, d]` of 16-bit floats (IEEE 754 binary16) with one power of two as a common factor,
/// so that no number that matters is subnormal, whose arithmetic is slow.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfTable {
    /// `[n_rows, d]`.
    values: Vec<u16>,
    /// What the values are multiplied with.
    scale: f32,
    d: usize,
}

impl HalfTable {
    /// Rounds a table `[n_rows, d]` of finite numbers to the nearest.
    ///
    /// # Panics
    /// If `table` is no multiple of `d`.
    #[must_use]
    pub fn new(table: &[f32], d: usize) -> Self {
        assert!(d > 0 && table.len().is_multiple_of(d), "{} numbers in rows of {d}", table.len());
        let greatest = table.iter().fold(0.0_f32, |a, &x| a.max(x.abs()));
        // The greatest comes to 2¹⁴ … 2¹⁵, half of the range. A power of two loses no digit; its exponent
        // stays within what `f32` can divide by.
        let exponent =
            if greatest > 0.0 { (14 - greatest.log2().floor() as i32).clamp(-113, 126) } else { 0 };
        let up = 2.0_f32.powi(exponent);
        let values = table.iter().map(|&x| half_of(x * up)).collect();
        Self { values, scale: 1.0 / up, d }
    }

    /// Rows of the table.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.values.len() / self.d
    }

    /// Fills `out` `[rows.len()]` with the products of `user` `[d]` and the rows.
    ///
    /// # Panics
    /// If a row is not in the table, or a length differs.
    pub fn scores(&self, user: &[f32], rows: Range<usize>, out: &mut [f32]) {
        assert_eq!(user.len(), self.d, "numbers of the vector");
        assert_eq!(out.len(), rows.len(), "a score for each row");
        let values = &self.values[rows.start * self.d..rows.end * self.d];
        half_products(user, values, out);
        for out in out {
            *out *= self.scale;
        }
    }
}

/// The 16-bit float nearest to `x`, ties to even; infinite from 65,520 on.
pub(crate) fn half_of(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let abs = bits & 0x7FFF_FFFF;
    sign | match abs {
        0x7F80_0001.. => 0x7E00,
        0x477F_F000.. => 0x7C00,
        // At least 2⁻¹⁴: drop 13 digits of the fraction, and rebase the exponent from 127 to 15.
        0x3880_0000.. => ((abs + 0x0FFF + (abs >> 13 & 1) - 0x3800_0000) >> 13) as u16,
        // Subnormal: so many times 2⁻²⁴.
        _ => (f32::from_bits(abs) * 16_777_216.0).round_ties_even() as u16,
    }
}

/// Exact for all finite 16-bit floats; branch-free, so that it is computed in lanes.
#[inline(always)]
pub(crate) fn float_of(half: u16) -> f32 {
    // The fraction and exponent where `f32` has them; then the exponent's base from 15 to 127.
    let abs = f32::from_bits((u32::from(half) & 0x7FFF) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(abs.to_bits() | (u32::from(half) & 0x8000) << 16)
}

/// A table `[n_rows, d]` of whole numbers in ±127, with a factor per row.
#[derive(Debug, Clone, PartialEq)]
pub struct ByteTable {
    /// `[n_rows, d]`.
    values: Vec<i8>,
    /// `[n_rows]` what the row is multiplied with.
    scale: Vec<f32>,
    d: usize,
}

impl ByteTable {
    /// Products of this many numbers fit a 32-bit sum: 512 · 127 · 32,767 < 2³¹.
    pub const MAX_D: usize = 512;

    /// Rounds a table `[n_rows, d]` of finite numbers to the nearest, each row by its own greatest.
    ///
    /// # Panics
    /// If `table` is no multiple of `d`, or `d` is above [`MAX_D`](Self::MAX_D).
    #[must_use]
    pub fn new(table: &[f32], d: usize) -> Self {
        assert!(d > 0 && table.len().is_multiple_of(d), "{} numbers in rows of {d}", table.len());
        assert!(d <= Self::MAX_D, "rows of {d} numbers; sums of products fit for {}", Self::MAX_D);
        let (mut values, mut scale) = (Vec::with_capacity(table.len()), Vec::with_capacity(table.len() / d));
        for row in table.chunks_exact(d) {
            let greatest = row.iter().fold(0.0_f32, |a, &x| a.max(x.abs()));
            let down = if greatest > 0.0 { 127.0 / f64::from(greatest) } else { 0.0 };
            values.extend(row.iter().map(|&x| (f64::from(x) * down).round() as i8));
            scale.push(greatest / 127.0);
        }
        Self { values, scale, d }
    }

    /// Rows of the table.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.scale.len()
    }

    /// Fills `out` `[rows.len()]` with the products of a vector and the rows.
    ///
    /// # Panics
    /// If a row is not in the table, or a length differs.
    pub fn scores(&self, user: &ShortVector, rows: Range<usize>, out: &mut [f32]) {
        assert_eq!(user.values.len(), self.d, "numbers of the vector");
        assert_eq!(out.len(), rows.len(), "a score for each row");
        let values = &self.values[rows.start * self.d..rows.end * self.d];
        let mut sums = [0; 256];
        let chunks = out.chunks_mut(sums.len()).zip(self.scale[rows].chunks(sums.len()));
        for ((out, scales), values) in chunks.zip(values.chunks(sums.len() * self.d)) {
            let sums = &mut sums[..out.len()];
            byte_products(&user.values, values, sums);
            for ((out, &sum), scale) in out.iter_mut().zip(&*sums).zip(scales) {
                *out = sum as f32 * (scale * user.scale);
            }
        }
    }
}

/// A vector of whole numbers in ±32,767 with one factor: what a [`ByteTable`] is multiplied with. Its own
/// error is 1/258 of that of the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ShortVector {
    values: Vec<i16>,
    scale: f32,
}

impl ShortVector {
    /// Rounds a vector of finite numbers to the nearest.
    #[must_use]
    pub fn new(vector: &[f32]) -> Self {
        let greatest = vector.iter().fold(0.0_f32, |a, &x| a.max(x.abs()));
        let down = if greatest > 0.0 { 32_767.0 / f64::from(greatest) } else { 0.0 };
        let values = vector.iter().map(|&x| (f64::from(x) * down).round() as i16).collect();
        Self { values, scale: greatest / 32_767.0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::values;

    #[test]
    fn every_16_bit_float_survives_and_rounding_goes_to_the_nearest() {
        for half in (0..=u16::MAX).filter(|h| h & 0x7C00 != 0x7C00) {
            assert_eq!(half_of(float_of(half)), half, "{half:#x}");
            // The plain definition.
            let (exponent, fraction) = (i32::from(half >> 10 & 31), f64::from(half & 0x3FF));
            let abs = if exponent == 0 {
                fraction * 2.0_f64.powi(-24)
            } else {
                (1024.0 + fraction) * 2.0_f64.powi(exponent - 25)
            };
            let want = if half & 0x8000 == 0 { abs } else { -abs };
            assert_eq!(f64::from(float_of(half)), want, "{half:#x}");
        }
        // Between two neighbours the nearer one, and the even one of two equally near.
        for low in 0..0x7BFF_u16 {
            let (a, b) = (float_of(low), float_of(low + 1));
            let middle = (a + b) / 2.0;
            assert_eq!(half_of(middle), low + (low & 1), "{low:#x}");
            assert_eq!(half_of(f32::from_bits(middle.to_bits() - 1)), low);
            assert_eq!(half_of(-f32::from_bits(middle.to_bits() + 1)), 0x8000 | (low + 1));
        }
        assert_eq!((half_of(65_519.0), half_of(65_520.0), half_of(f32::INFINITY)), (0x7BFF, 0x7C00, 0x7C00));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn products_are_those_of_the_plain_definition(
            seed in 0_u64..1000, n in 0_usize..20, d in 1_usize..150, power in -20_i32..20, from in 0_usize..20,
        ) {
            let size = 2.0_f32.powi(power);
            let (table, user) = (values(seed, n * d, size), values(seed + 1, d, 1.0));
            let (half, byte, short) = (HalfTable::new(&table, d), ByteTable::new(&table, d), ShortVector::new(&user));
            prop_assert_eq!((half.n_rows(), byte.n_rows()), (n, n));
            let rows = from.min(n)..n;
            let (mut halves, mut bytes) = (vec![f32::NAN; rows.len()], vec![f32::NAN; rows.len()]);
            half.scores(&user, rows.clone(), &mut halves);
            byte.scores(&short, rows.clone(), &mut bytes);
            for (i, row) in rows.enumerate() {
                let exact = &table[row * d..(row + 1) * d];
                let sum = |f: &dyn Fn(usize) -> f64| (0..d).map(f).sum::<f64>();
                // What the stored numbers say, in f64.
                let stored = sum(&|j| f64::from(user[j]) * f64::from(float_of(half.values[row * d + j])) * f64::from(half.scale));
                let size = sum(&|j| f64::from(user[j] * exact[j]).abs());
                prop_assert!((f64::from(halves[i]) - stored).abs() <= 1e-5 * size);
                let whole: i64 = (0..d).map(|j| i64::from(short.values[j]) * i64::from(byte.values[row * d + j])).sum();
                let stored = whole as f64 * f64::from(byte.scale[row]) * f64::from(short.scale);
                prop_assert!((f64::from(bytes[i]) - stored).abs() <= 1e-6 * stored.abs());
                // What the exact numbers say, within the promised errors.
                let want = sum(&|j| f64::from(user[j]) * f64::from(exact[j]));
                let greatest = exact.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
                let total: f64 = user.iter().map(|u| f64::from(u.abs())).sum();
                let of_table = table.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
                prop_assert!((f64::from(halves[i]) - want).abs() <= size * 2.0_f64.powi(-11) + total * f64::from(of_table) * 2.0_f64.powi(-24) + 1e-5 * size);
                prop_assert!((f64::from(bytes[i]) - want).abs() <= total * f64::from(greatest) / 254.0 * 1.01 + 1e-5 * size);
            }
        }
    }

    #[test]
    fn the_greatest_numbers_do_not_overflow() {
        let d = ByteTable::MAX_D;
        let (table, user) = (vec![3e30_f32; d], vec![-2.0_f32; d]);
        let mut out = [0.0];
        ByteTable::new(&table, d).scores(&ShortVector::new(&user), 0..1, &mut out);
        assert!((f64::from(out[0]) / (-6e30 * d as f64) - 1.0).abs() < 1e-6, "{out:?}");
        HalfTable::new(&[0.0; 4], 2).scores(&[1.0, 1.0], 0..2, &mut [0.0; 2]);
        let far_apart = [f32::MIN_POSITIVE, f32::MAX / 2.0];
        HalfTable::new(&far_apart, 1).scores(&[1.0], 1..2, &mut out);
        assert!((out[0] / (f32::MAX / 2.0) - 1.0).abs() < 1e-3, "{out:?}");
    }
}
