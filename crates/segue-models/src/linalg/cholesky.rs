//! Solving one small symmetric positive definite system.

use super::tile::{self, Factor, LANES, ROWS};
use super::vector::kernels;

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
    for k in k0..k0 + LANES {
        let (head, below) = a.split_at_mut((k + 1) * width);
        let row = &mut head[k * width..];
        let pivot = row[k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        let scale = 1.0 / pivot.sqrt();
        row[k..].iter_mut().for_each(|v| *v *= scale);
        // Columns left of the diagonal block's begin are never read: whole lanes are simplest.
        for i in k + 1..k0 + LANES {
            let factor = -row[i];
            let target = &mut below[(i - k - 1) * width..][..width];
            for (target, row) in target[k0..].iter_mut().zip(&row[k0..]) {
                *target = mul_add(factor, *row, *target);
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
    for k in 0..width {
        let row = &r[k * width..][..width];
        let x = b[k] / row[k];
        b[k] = x;
        for (b, r) in b[k + 1..].iter_mut().zip(&row[k + 1..]) {
            *b = mul_add(-x, *r, *b);
        }
    }
    for k in (0..width).rev() {
        let row = &r[k * width..][..width];
        let (head, tail) = b.split_at_mut(k + 1);
        // Eight lanes, then their sum: a plain sum would be one long chain.
        let mut sum = [0.0_f32; 8];
        for (b, r) in tail.chunks(8).zip(row[k + 1..].chunks(8)) {
            for (sum, (b, r)) in sum.iter_mut().zip(b.iter().zip(r)) {
                *sum = mul_add(*b, *r, *sum);
            }
        }
        head[k] = (head[k] - sum.iter().sum::<f32>()) / row[k];
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
