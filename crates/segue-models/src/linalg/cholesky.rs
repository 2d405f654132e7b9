//! Solving one small symmetric positive definite system.

use super::tile::{self, Factor, LANES, ROWS};
use super::vector::{blocks, blocks_mut, kernels, sum_lanes};

/// Solves `A x = b` in place: `b` becomes `x`, the upper triangle of `A` becomes `R` with `A = RᵀR`.
/// `a` is `[width, width]` row-major, of which the upper triangle (in tiles of 8 × 32) is read; `width` is a
/// multiple of 32. False if `A` is not positive definite in `f32`; then nothing is said of `b`.
pub(crate) fn solve(a: &mut [f32], width: usize, b: &mut [f32]) -> bool {
    for k0 in (0..width).step_by(LANES) {
        if !factor_rows(a, width, k0) {
            return false;
        }
        // What the 32 rows take away from the rows below.
        let mut product = [[0.0; LANES]; ROWS];
        let (done, below) = a.split_at_mut((k0 + LANES) * width);
        let done = &done[k0 * width..];
        for r0 in (k0 + LANES..width).step_by(ROWS) {
            for c0 in (r0 / LANES * LANES..width).step_by(LANES) {
                let rows = Factor { values: &done[r0..], stride: width };
                let panel = Factor { values: &done[c0..], stride: width };
                tile::product(LANES, rows, panel, &mut product);
                for (r, product) in product.iter().enumerate() {
                    let out = &mut below[(r0 - k0 - LANES + r) * width + c0..][..LANES];
                    out.iter_mut().zip(product).for_each(|(out, product)| *out -= product);
                }
            }
        }
    }
    substitute(a, width, b);
    true
}

kernels! {
    /// Turns rows `k0..k0 + 32` into rows of `R`; the rows above have been taken away from them.
    fn factor_rows(a: &mut [f32], width: usize, k0: usize) -> bool = factor_rows_by
}

#[inline(always)]
fn factor_rows_by(
    a: &mut [f32],
    width: usize,
    k0: usize,
    mul_add: impl Fn(f32, f32, f32) -> f32 + Copy,
) -> bool {
    let (n, first) = (width / LANES, k0 / LANES);
    let rows = blocks_mut(a);
    for k in 0..LANES {
        let (head, below) = rows.split_at_mut((k0 + k + 1) * n);
        let row = &mut head[(k0 + k) * n..];
        let pivot = row[first][k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        let scale = 1.0 / pivot.sqrt();
        // Columns left of the diagonal are never read: whole blocks are simplest.
        for c in first..n {
            for l in 0..LANES {
                row[c][l] *= scale;
            }
        }
        for i in k + 1..LANES {
            let factor = -row[first][i];
            for c in first..n {
                let (target, row) = (&mut below[(i - k - 1) * n + c], &row[c]);
                for l in 0..LANES {
                    target[l] = mul_add(factor, row[l], target[l]);
                }
            }
        }
    }
    true
}

kernels! {
    /// `b ← R⁻¹ R⁻ᵀ b`.
    fn substitute(r: &[f32], width: usize, b: &mut [f32]) = substitute_by
}

#[inline(always)]
fn substitute_by(r: &[f32], width: usize, b: &mut [f32], mul_add: impl Fn(f32, f32, f32) -> f32 + Copy) {
    let n = width / LANES;
    let (r, b) = (blocks(r), blocks_mut(b));
    for k in 0..width {
        let (row, block, lane) = (k * n, k / LANES, k % LANES);
        let x = b[block][lane] / r[row + block][lane];
        b[block][lane] = x;
        for l in 0..LANES {
            let taken = mul_add(-x, r[row + block][l], b[block][l]);
            b[block][l] = if l > lane { taken } else { b[block][l] };
        }
        for c in block + 1..n {
            for l in 0..LANES {
                b[c][l] = mul_add(-x, r[row + c][l], b[c][l]);
            }
        }
    }
    for k in (0..width).rev() {
        let (row, block, lane) = (k * n, k / LANES, k % LANES);
        let mut sum = [0.0_f32; LANES];
        for l in 0..LANES {
            let product = b[block][l] * r[row + block][l];
            sum[l] = if l > lane { product } else { 0.0 };
        }
        for c in block + 1..n {
            for l in 0..LANES {
                sum[l] = mul_add(b[c][l], r[row + c][l], sum[l]);
            }
        }
        b[block][lane] = (b[block][lane] - sum_lanes(sum)) / r[row + block][lane];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::gram::add_gram;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_solution_satisfies_the_equations(
            width in (1_usize..6).prop_map(|n| n * LANES),
            values in prop::collection::vec(-1.0_f32..1.0, 200),
            n in 0_usize..30,
        ) {
            let rows: Vec<f32> = (0..n * width).map(|i| values[i * 7 % 200] + values[i * i % 199]).collect();
            let mut a = vec![0.0; width * width];
            (0..width).for_each(|i| a[i * width + i] = 0.5 + i as f32 / 100.0);
            add_gram(&rows, width, &mut a);
            let want: Vec<f32> = (0..width).map(|i| values[i * 3 % 200]).collect();
            let (mut factor, mut x) = (a.clone(), want.clone());
            for i in 0..width {
                for j in 0..i / LANES * LANES {
                    factor[i * width + j] = f32::NAN; // not read
                }
            }
            prop_assert!(solve(&mut factor, width, &mut x));
            for i in 0..width {
                let got: f64 = (0..width).map(|j| f64::from(a[i * width + j]) * f64::from(x[j])).sum();
                prop_assert!((got - f64::from(want[i])).abs() < 2e-3, "{i}: {got} is not {}", want[i]);
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        let mut a = vec![1.0; 32 * 32];
        assert!(!solve(&mut a, 32, &mut [1.0; 32]));
    }
}
