//! Transposes of row-by-row matrices, in blocks of 16 x 16 where registers hold 16 numbers.

use crate::matmul::check_size;
use crate::simd::Isa;

/// Writes the transpose of `x` `[rows, cols]` to `y` `[cols, rows]`; both have their own number of
/// numbers from row to row.
///
/// # Panics
/// If either slice is too short.
pub fn transpose(x: &[f32], x_stride: usize, rows: usize, cols: usize, y: &mut [f32], y_stride: usize) {
    check_size(x.len(), rows, cols, x_stride);
    check_size(y.len(), cols, rows, y_stride);
    #[cfg(target_arch = "x86_64")]
    if Isa::here() == Isa::Avx512 {
        for i in (0..rows).step_by(16) {
            for j in (0..cols).step_by(16) {
                let (block_rows, block_cols) = (16.min(rows - i), 16.min(cols - j));
                // SAFETY: the machine has AVX-512F. Rows `i..i + block_rows` and columns
                // `j..j + block_cols` lie within `[rows, cols]`, so both blocks lie in their slices, as
                // checked above.
                unsafe {
                    let from = x.as_ptr().add(i * x_stride + j);
                    let to = y.as_mut_ptr().add(j * y_stride + i);
                    avx512_transpose_block(from, x_stride, block_rows, block_cols, to, y_stride);
                }
            }
        }
        return;
    }
    for i in 0..rows {
        for j in 0..cols {
            y[j * y_stride + i] = x[i * x_stride + j];
        }
    }
}

/// Transposes a block of at most 16 rows of at most 16 numbers: pairs, quads, then quarters of registers
/// change places.
///
/// # Safety
/// The machine has AVX-512F; `rows` rows of `cols` numbers can be read from `x`, and `cols` rows of
/// `rows` numbers written to `y`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512_transpose_block(
    x: *const f32,
    x_stride: usize,
    rows: usize,
    cols: usize,
    y: *mut f32,
    y_stride: usize,
) {
    use std::arch::x86_64::{
        __m512, _mm512_castpd_ps, _mm512_castps_pd, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
        _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd,
        _mm512_unpacklo_ps,
    };
    let mut r: [__m512; 16] = [_mm512_setzero_ps(); 16];
    let (row_mask, column_mask) = (0xFFFF_u16 >> (16 - rows), 0xFFFF_u16 >> (16 - cols));
    // Plain loops: a closure would not be inlined into code that has more features than its caller.
    for i in 0..16 {
        if i < rows {
            // SAFETY: row `i` of the block.
            r[i] = unsafe { _mm512_maskz_loadu_ps(column_mask, x.add(i * x_stride)) };
        }
    }
    // After this, register `4 i + j` holds, in quarter `q`, column `4 q + j` of rows `4 i..4 i + 4`.
    for quad in 0..4 {
        let i = 4 * quad;
        let (a, b) = (_mm512_unpacklo_ps(r[i], r[i + 1]), _mm512_unpackhi_ps(r[i], r[i + 1]));
        let (c, d) = (_mm512_unpacklo_ps(r[i + 2], r[i + 3]), _mm512_unpackhi_ps(r[i + 2], r[i + 3]));
        let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
        let (c, d) = (_mm512_castps_pd(c), _mm512_castps_pd(d));
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    for j in 0..4 {
        // Quarters 0 and 2 of two registers, then quarters 1 and 3.
        let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(r[j], r[4 + j]);
        let odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(r[j], r[4 + j]);
        let even_2 = _mm512_shuffle_f32x4::<0b10_00_10_00>(r[8 + j], r[12 + j]);
        let odd_2 = _mm512_shuffle_f32x4::<0b11_01_11_01>(r[8 + j], r[12 + j]);
        let columns = [
            _mm512_shuffle_f32x4::<0b10_00_10_00>(even, even_2),
            _mm512_shuffle_f32x4::<0b10_00_10_00>(odd, odd_2),
            _mm512_shuffle_f32x4::<0b11_01_11_01>(even, even_2),
            _mm512_shuffle_f32x4::<0b11_01_11_01>(odd, odd_2),
        ];
        for q in 0..4 {
            if 4 * q + j < cols {
                // SAFETY: row `4 q + j` of the target.
                unsafe { _mm512_mask_storeu_ps(y.add((4 * q + j) * y_stride), row_mask, columns[q]) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::values;

    proptest! {
        #[test]
        fn a_transpose_swaps_places_and_touches_nothing_else(
            rows in 0_usize..40, cols in 0_usize..40, extra in 0_usize..3, seed in any::<u64>(),
        ) {
            let (from, to) = (cols + extra, rows + extra);
            let x = values(seed, rows * from, 1.0);
            let mut y = vec![7.0; cols * to];
            transpose(&x, from, rows, cols, &mut y, to);
            for j in 0..cols {
                for i in 0..to {
                    prop_assert_eq!(y[j * to + i], if i < rows { x[i * from + j] } else { 7.0 });
                }
            }
        }
    }
}
