//! Products of table rows with a vector, for tables whose rows are a multiple of 32 long.
//!
//! Sums run over 32 lanes that are then added in a fixed tree, so every kernel gives the same value.

use super::tile::LANES;

/// For each row `h` of `table` named by `index` and its `weight` `w`:
/// `out += coefficient(w, h · x) · h`. Rows have the length of `x` and `out`.
#[inline(always)]
fn accumulate_by(
    table: &[f32],
    index: &[u32],
    weight: &[f32],
    x: &[f32],
    out: &mut [f32],
    coefficient: impl Fn(f32, f32) -> f32,
    mul_add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    for (&row, &weight) in index.iter().zip(weight) {
        let h = &table[row as usize * x.len()..][..x.len()];
        let a = coefficient(weight, dot_by(h, x, mul_add));
        for (out, h) in out.iter_mut().zip(h) {
            *out = mul_add(a, *h, *out);
        }
    }
}

/// `out += matrixᵀ x`, `matrix` of `x.len()` rows as long as `out`.
#[inline(always)]
fn add_product_by(matrix: &[f32], x: &[f32], out: &mut [f32], mul_add: impl Fn(f32, f32, f32) -> f32 + Copy) {
    // As many sums at once as hide the latency of an addition; which does not change their values.
    match out.len() % (4 * LANES) {
        0 => add_product_in_parts::<{ 4 * LANES }>(matrix, x, out, mul_add),
        r if r % (2 * LANES) == 0 => add_product_in_parts::<{ 2 * LANES }>(matrix, x, out, mul_add),
        _ => add_product_in_parts::<LANES>(matrix, x, out, mul_add),
    }
}

#[inline(always)]
fn add_product_in_parts<const N: usize>(
    matrix: &[f32],
    x: &[f32],
    out: &mut [f32],
    mul_add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    let width = out.len();
    for (part, out) in out.chunks_exact_mut(N).enumerate() {
        let mut sum = [0.0_f32; N];
        sum.copy_from_slice(out);
        for (row, &x) in matrix.chunks_exact(width).zip(x) {
            let row = &row[part * N..][..N];
            for l in 0..N {
                sum[l] = mul_add(x, row[l], sum[l]);
            }
        }
        out.copy_from_slice(&sum);
    }
}

/// `a · b` over 32 lanes.
#[inline(always)]
fn dot_by(a: &[f32], b: &[f32], mul_add: impl Fn(f32, f32, f32) -> f32 + Copy) -> f32 {
    let mut sum = [0.0_f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for l in 0..LANES {
            sum[l] = mul_add(a[l], b[l], sum[l]);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            sum[l] += sum[l + half];
        }
        half /= 2;
    }
    sum[0]
}

/// Declares a function with the kernels of each processor.
macro_rules! kernels {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) $(-> $out:ty)? = $body:expr) => {
        $(#[$doc])*
        #[inline]
        $vis fn $name($($arg: $ty),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512($($arg: $ty),*) $(-> $out)? {
                    $body($($arg,)* f32::mul_add)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $out)? {
                    $body($($arg,)* f32::mul_add)
                }
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has the feature.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has the features.
                    return unsafe { avx2($($arg),*) };
                }
                $body($($arg,)* |a: f32, b: f32, c: f32| a * b + c)
            }
            #[cfg(not(target_arch = "x86_64"))]
            $body($($arg,)* f32::mul_add)
        }
    };
}
pub(crate) use kernels;

kernels! {
    /// `out += Σ w (h · x) h` over the rows `h` of `table` named by `index`, with their `weight`.
    pub(crate) fn add_outer_products(table: &[f32], index: &[u32], weight: &[f32], x: &[f32], out: &mut [f32])
        = |table, index, weight, x, out, mul_add| accumulate_by(table, index, weight, x, out, |w, t| w * t, mul_add)
}

kernels! {
    /// `out += Σ w (1 − h · x) h` over the rows `h` of `table` named by `index`, with their `weight`.
    pub(crate) fn add_residuals(table: &[f32], index: &[u32], weight: &[f32], x: &[f32], out: &mut [f32])
        = |table, index, weight, x, out, mul_add| accumulate_by(table, index, weight, x, out, |w, t| w * (1.0 - t), mul_add)
}

kernels! {
    /// `out += matrixᵀ x`, `matrix` of `x.len()` rows as long as `out`.
    pub(crate) fn add_product(matrix: &[f32], x: &[f32], out: &mut [f32]) = add_product_by
}

kernels! {
    /// `a · b`; lengths are equal and a multiple of 32.
    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 = dot_by
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_over_rows_equal_those_in_f64(
            width in (1_usize..4).prop_map(|n| n * LANES),
            table in prop::collection::vec(-2.0_f32..2.0, 96 * 5),
            index in prop::collection::vec(0_u32..5, 0..9),
            weights in prop::collection::vec(0.0_f32..3.0, 9),
            x in prop::collection::vec(-1.0_f32..1.0, 96),
        ) {
            let x = &x[..width];
            let row = |r: u32| &table[r as usize * width..][..width];
            let exact = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
            let weight = &weights[..index.len()];
            let (mut products, mut residuals) = (vec![1.0; width], vec![1.0; width]);
            add_outer_products(&table, &index, weight, x, &mut products);
            add_residuals(&table, &index, weight, x, &mut residuals);
            for c in 0..width {
                let sum = |with: &dyn Fn(f64) -> f64| 1.0 + index.iter().zip(weight)
                    .map(|(&r, &w)| f64::from(w) * with(exact(row(r), x)) * f64::from(row(r)[c])).sum::<f64>();
                prop_assert!((f64::from(products[c]) - sum(&|t| t)).abs() < 1e-2);
                prop_assert!((f64::from(residuals[c]) - sum(&|t| 1.0 - t)).abs() < 1e-2);
            }
            prop_assert!((f64::from(dot(row(0), x)) - exact(row(0), x)).abs() < 1e-3);
            let mut product = vec![0.0; width];
            add_product(&table[..5 * width], &x[..5], &mut product);
            for c in 0..width {
                let want: f64 = (0..5).map(|r| f64::from(x[r]) * f64::from(row(r as u32)[c])).sum();
                prop_assert!((f64::from(product[c]) - want).abs() < 1e-3);
            }
        }
    }
}
