//! Matrix products: a safe door to the `gemm` crate's `f32` kernels.

use gemm_common::Parallelism;

/// A matrix view: entry `(i, j)` is `data[i * row_stride + j * col_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// `[rows, cols]`, row by row.
    #[must_use]
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// `[rows, cols]` with `stride` numbers from row to row.
    ///
    /// # Panics
    /// If the data is too short.
    #[must_use]
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        check_size(data.len(), rows, cols, stride);
        Self { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// The transpose, without moving anything.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

fn check_size(len: usize, rows: usize, cols: usize, stride: usize) {
    let needed = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * stride + cols };
    assert!(
        len >= needed && (rows < 2 || stride >= cols),
        "matrix [{rows}, {cols}] of row stride {stride} needs {needed} numbers, got {len}"
    );
}

/// `out = a b`, or `out += a b`; `out` is `[a.rows, b.cols]` with `stride` numbers from row to row.
///
/// Runs on the calling thread: the caller's shards are what runs side by side.
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul(out: &mut [f32], stride: usize, accumulate: bool, a: Mat<'_>, b: Mat<'_>) {
    assert_eq!(a.cols, b.rows, "inner sizes of a product");
    let (m, n, k) = (a.rows, b.cols, a.cols);
    check_size(out.len(), m, n, stride);
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            for row in 0..m {
                out[row * stride..row * stride + n].fill(0.0);
            }
        }
        return;
    }
    let s = |stride: usize| stride as isize;
    // The kernels prefer a column-major target: out = a b is outᵀ = bᵀ aᵀ.
    // SAFETY: `Mat::strided` and `check_size` have checked that every entry of `a` `[m, k]`, `b` `[k, n]`
    // and `out` `[m, n]` lies in its slice (a transpose names the same entries), `out` is borrowed
    // mutably and so overlaps neither, and rows of `out` do not overlap each other (`stride >= n`).
    unsafe {
        (gemm_f32::gemm::f32::get_gemm_fn())(
            n,
            m,
            k,
            out.as_mut_ptr(),
            s(stride),
            1,
            accumulate,
            b.data.as_ptr(),
            s(b.row_stride),
            s(b.col_stride),
            a.data.as_ptr(),
            s(a.row_stride),
            s(a.col_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::values;

    proptest! {
        #[test]
        fn a_product_is_that_of_three_loops(
            (m, k, n) in (0_usize..40, 0_usize..40, 0_usize..70), extra in 0_usize..3,
            transposed in any::<(bool, bool)>(), accumulate in any::<bool>(), seed in any::<u64>(),
        ) {
            let a = values(seed, m * k, 1.0);
            let b = values(seed ^ 1, k * n, 1.0);
            let stride = n + extra;
            let mut out = values(seed ^ 2, m * stride + 1, 1.0);
            let before = out.clone();
            let a_view = if transposed.0 { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
            let b_view = if transposed.1 { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
            matmul(&mut out, stride, accumulate, a_view, b_view);
            for i in 0..m {
                for j in 0..stride {
                    let at = i * stride + j;
                    let mut want = f64::from(before[at]);
                    if j < n {
                        want = if accumulate { want } else { 0.0 };
                        for l in 0..k {
                            let x = if transposed.0 { a[l * m + i] } else { a[i * k + l] };
                            let y = if transposed.1 { b[j * k + l] } else { b[l * n + j] };
                            want += f64::from(x) * f64::from(y);
                        }
                    }
                    prop_assert!((f64::from(out[at]) - want).abs() < 1e-4, "({i}, {j}): {} {want}", out[at]);
                }
            }
            prop_assert_eq!(out[m * stride], before[m * stride]);
        }
    }

    #[test]
    #[should_panic(expected = "needs 6 numbers, got 5")]
    fn a_view_beyond_its_data_is_refused() {
        let _ = Mat::new(&[0.0; 5], 2, 3);
    }
}
