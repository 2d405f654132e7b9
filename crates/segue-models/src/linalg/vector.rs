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
    // With the length known, `x` and `out` stay in registers from row to row.
    match x.len() / LANES {
        1 => accumulate_rows::<1>(table, index, weight, x, out, coefficient, mul_add),
        2 => accumulate_rows::<2>(table, index, weight, x, out, coefficient, mul_add),
        3 => accumulate_rows::<3>(table, index, weight, x, out, coefficient, mul_add),
        4 => accumulate_rows::<4>(table, index, weight, x, out, coefficient, mul_add),
        _ => accumulate_long_rows(table, index, weight, x, out, coefficient, mul_add),
    }
}

/// [`accumulate_by`] for rows of `N` blocks.
///
/// Iterator adapters are avoided here and below: they are functions of the standard library, compiled for any
/// processor, and some are then called rather than inlined into a kernel for one.
#[inline(always)]
#[expect(clippy::manual_memcpy, reason = "see above: no functions of the standard library")]
fn accumulate_rows<const N: usize>(
    table: &[f32],
    index: &[u32],
    weight: &[f32],
    x: &[f32],
    out: &mut [f32],
    coefficient: impl Fn(f32, f32) -> f32,
    mul_add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    let (table, x, out) = (blocks(table), blocks(x), blocks_mut(out));
    let (mut own, mut sum) = ([[0.0_f32; LANES]; N], [[0.0_f32; LANES]; N]);
    for c in 0..N {
        own[c] = x[c];
        sum[c] = out[c];
    }
    for at in 0..index.len().min(weight.len()) {
        let from = index[at] as usize * N;
        let mut lanes = [0.0_f32; LANES];
        for c in 0..N {
            let h = &table[from + c];
            for l in 0..LANES {
                lanes[l] = mul_add(h[l], own[c][l], lanes[l]);
            }
        }
        let a = coefficient(weight[at], sum_lanes(lanes));
        for c in 0..N {
            let h = &table[from + c];
            for l in 0..LANES {
                sum[c][l] = mul_add(a, h[l], sum[c][l]);
            }
        }
    }
    for c in 0..N {
        out[c] = sum[c];
    }
}

/// [`accumulate_by`] for rows of any number of blocks.
#[inline(always)]
fn accumulate_long_rows(
    table: &[f32],
    index: &[u32],
    weight: &[f32],
    x: &[f32],
    out: &mut [f32],
    coefficient: impl Fn(f32, f32) -> f32,
    mul_add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    let width = x.len();
    let (blocks_of_table, x_blocks, out) = (blocks(table), blocks(x), blocks_mut(out));
    let n = width / LANES;
    for at in 0..index.len().min(weight.len()) {
        let from = index[at] as usize * n;
        let mut lanes = [0.0_f32; LANES];
        for c in 0..n {
            let (h, x) = (&blocks_of_table[from + c], &x_blocks[c]);
            for l in 0..LANES {
                lanes[l] = mul_add(h[l], x[l], lanes[l]);
            }
        }
        let a = coefficient(weight[at], sum_lanes(lanes));
        for c in 0..n {
            let (h, out) = (&blocks_of_table[from + c], &mut out[c]);
            for l in 0..LANES {
                out[l] = mul_add(a, h[l], out[l]);
            }
        }
    }
}

/// `out += matrixᵀ x`, `matrix` of `x.len()` rows as long as `out`.
#[inline(always)]
fn add_product_by(matrix: &[f32], x: &[f32], out: &mut [f32], mul_add: impl Fn(f32, f32, f32) -> f32 + Copy) {
    let width = out.len() / LANES;
    let (matrix, out) = (blocks(matrix), blocks_mut(out));
    let mut from = 0;
    // As many sums at once as hide the latency of an addition; which does not change their values.
    while from + 4 <= width {
        add_product_of_blocks::<4>(matrix, x, out, from, mul_add);
        from += 4;
    }
    while from + 2 <= width {
        add_product_of_blocks::<2>(matrix, x, out, from, mul_add);
        from += 2;
    }
    if from < width {
        add_product_of_blocks::<1>(matrix, x, out, from, mul_add);
    }
}

/// [`add_product_by`] for `N` blocks of columns from block `from` on.
#[inline(always)]
#[expect(clippy::manual_memcpy, reason = "as in `accumulate_rows`")]
fn add_product_of_blocks<const N: usize>(
    matrix: &[[f32; LANES]],
    x: &[f32],
    out: &mut [[f32; LANES]],
    from: usize,
    mul_add: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    let width = out.len();
    let mut sum = [[0.0_f32; LANES]; N];
    for c in 0..N {
        sum[c] = out[from + c];
    }
    for k in 0..x.len() {
        let x = x[k];
        for c in 0..N {
            let row = &matrix[k * width + from + c];
            for l in 0..LANES {
                sum[c][l] = mul_add(x, row[l], sum[c][l]);
            }
        }
    }
    for c in 0..N {
        out[from + c] = sum[c];
    }
}

/// `a · b` over 32 lanes.
#[inline(always)]
fn dot_by(a: &[f32], b: &[f32], mul_add: impl Fn(f32, f32, f32) -> f32 + Copy) -> f32 {
    let (a, b) = (blocks(a), blocks(b));
    let mut lanes = [0.0_f32; LANES];
    for c in 0..a.len().min(b.len()) {
        let (a, b) = (&a[c], &b[c]);
        for l in 0..LANES {
            lanes[l] = mul_add(a[l], b[l], lanes[l]);
        }
    }
    sum_lanes(lanes)
}

/// The sum of 32 lanes: halves are added until one is left.
#[inline(always)]
pub(super) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let (mut a, mut b, mut c, mut d) = ([0.0_f32; 16], [0.0_f32; 8], [0.0_f32; 4], [0.0_f32; 2]);
    for l in 0..16 {
        a[l] = lanes[l] + lanes[l + 16];
    }
    for l in 0..8 {
        b[l] = a[l] + a[l + 8];
    }
    for l in 0..4 {
        c[l] = b[l] + b[l + 4];
    }
    for l in 0..2 {
        d[l] = c[l] + c[l + 2];
    }
    d[0] + d[1]
}

/// Whole blocks of 32 values.
#[inline(always)]
pub(super) fn blocks(values: &[f32]) -> &[[f32; LANES]] {
    values.as_chunks().0
}

/// Whole blocks of 32 values.
#[inline(always)]
pub(super) fn blocks_mut(values: &mut [f32]) -> &mut [[f32; LANES]] {
    values.as_chunks_mut().0
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
