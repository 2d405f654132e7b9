//! Matrix products of `f32`, on the calling thread.
//!
//! One kernel computes [`MR`] rows by two registers of columns and keeps them in registers while it
//! walks along `k`. Entries of `a` are broadcast from where they stand, whatever its strides; rows of
//! `b` are read as registers where they stand, and only a transposed `b` or its last columns are
//! packed. The `gemm` crate was measured as fast, but takes memory in each product and switches on
//! features of `num-complex` that make arrow and DataFusion compile anew.

use std::cell::RefCell;

use crate::simd::Isa;

/// Rows of a kernel.
const MR: usize = 8;
/// Steps along `k` at one time, so that a panel of `b` stays in the cache.
const KC: usize = 512;
/// Columns of the widest kernel.
const MAX_NR: usize = 32;

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
    PACKED.with_borrow_mut(|packed| match Isa::here() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => drive::<32>(avx512::tile, packed, out, stride, accumulate, a, b),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => drive::<16>(avx2::tile, packed, out, stride, accumulate, a, b),
        _ => drive::<8>(plain_tile, packed, out, stride, accumulate, a, b),
    });
}

thread_local! {
    /// A packed panel of `b`, `[KC, NR]`; taken once per thread.
    static PACKED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// The operands of one tile: `rows` rows of `out`, `NR` columns, `k` steps.
struct Tile {
    rows: usize,
    k: usize,
    a: *const f32,
    a_row: usize,
    a_col: usize,
    b: *const f32,
    b_row: usize,
    out: *mut f32,
    out_row: usize,
    accumulate: bool,
}

/// Cuts the product into tiles of [`MR`] rows by `NR` columns.
fn drive<const NR: usize>(
    tile: unsafe fn(&Tile),
    packed: &mut Vec<f32>,
    out: &mut [f32],
    stride: usize,
    accumulate: bool,
    a: Mat<'_>,
    b: Mat<'_>,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    for k0 in (0..k).step_by(KC) {
        let kb = KC.min(k - k0);
        let accumulate = accumulate || k0 > 0;
        for j0 in (0..n).step_by(NR) {
            let nb = NR.min(n - j0);
            let whole = nb == NR;
            let panel = &b.data[k0 * b.row_stride + j0 * b.col_stride..];
            let (panel, b_row) = if whole && b.col_stride == 1 {
                (panel, b.row_stride)
            } else {
                pack::<NR>(packed, panel, kb, nb, b.row_stride, b.col_stride);
                (&packed[..], NR)
            };
            for i0 in (0..m).step_by(MR) {
                let rows = MR.min(m - i0);
                let mut edge = [0.0_f32; MR * MAX_NR];
                let (target, out_row) = if whole {
                    (out[i0 * stride + j0..].as_mut_ptr(), stride)
                } else {
                    (edge.as_mut_ptr(), NR)
                };
                // SAFETY: `Mat::strided` and `check_size` have checked that each entry of `a` `[m, k]`,
                // `b` `[k, n]` and `out` `[m, n]` lies in its slice. This tile reads rows
                // `i0..i0 + rows` and columns `k0..k0 + kb` of `a`, which lie in it. It reads `kb` rows
                // of `NR` numbers of the panel: in place they are columns `j0..j0 + NR` of `b`, all of
                // them there since the panel is whole; packed, they fill `kb * NR` numbers. It writes
                // `rows` rows of `NR` numbers: whole tiles lie in `out`, others in `edge`
                // (`MR * MAX_NR`, `NR <= MAX_NR`). `out` and `edge` are borrowed mutably and overlap
                // neither operand. The kernel was picked for the features of this machine.
                unsafe {
                    tile(&Tile {
                        rows,
                        k: kb,
                        a: a.data[i0 * a.row_stride + k0 * a.col_stride..].as_ptr(),
                        a_row: a.row_stride,
                        a_col: a.col_stride,
                        b: panel.as_ptr(),
                        b_row,
                        out: target,
                        out_row,
                        accumulate: accumulate && whole,
                    });
                }
                if !whole {
                    for (row, edge) in edge.chunks_exact(NR).take(rows).enumerate() {
                        let at = (i0 + row) * stride + j0;
                        for (o, e) in out[at..at + nb].iter_mut().zip(edge) {
                            *o = if accumulate { *o + e } else { *e };
                        }
                    }
                }
            }
        }
    }
}

/// Copies `kb` rows of `nb` columns to rows of `NR`, filled up with zeros.
fn pack<const NR: usize>(packed: &mut Vec<f32>, b: &[f32], kb: usize, nb: usize, row: usize, col: usize) {
    if packed.len() < KC * MAX_NR {
        packed.resize(KC * MAX_NR, 0.0);
    }
    if col == 1 {
        for (i, to) in packed.chunks_exact_mut(NR).take(kb).enumerate() {
            to[..nb].copy_from_slice(&b[i * row..i * row + nb]);
            to[nb..].fill(0.0);
        }
        return;
    }
    for j in 0..NR {
        if j < nb && row == 1 {
            for (to, from) in packed[j..].iter_mut().step_by(NR).zip(&b[j * col..j * col + kb]) {
                *to = *from;
            }
        } else {
            for i in 0..kb {
                packed[i * NR + j] = if j < nb { b[i * row + j * col] } else { 0.0 };
            }
        }
    }
}

/// The kernel for machines without AVX2: eight columns in arrays, which NEON or SSE hold.
///
/// # Safety
/// As [`Tile`]'s maker proves: all operands lie in their slices.
unsafe fn plain_tile(t: &Tile) {
    const NR: usize = 8;
    let mut sums = [[0.0_f32; NR]; MR];
    for l in 0..t.k {
        // SAFETY: row `l` of the panel has `NR` numbers.
        let b: [f32; NR] = unsafe { t.b.add(l * t.b_row).cast::<[f32; NR]>().read() };
        for (i, sums) in sums.iter_mut().enumerate().take(t.rows) {
            // SAFETY: entry `(i, l)` of `a`, `i < rows`.
            let a = unsafe { *t.a.add(i * t.a_row + l * t.a_col) };
            for j in 0..NR {
                sums[j] += a * b[j];
            }
        }
    }
    for (i, sums) in sums.iter().enumerate().take(t.rows) {
        for (j, sum) in sums.iter().enumerate() {
            // SAFETY: entry `(i, j)` of the target, `i < rows`, `j < NR`.
            let out = unsafe { &mut *t.out.add(i * t.out_row + j) };
            *out = if t.accumulate { *out + sum } else { *sum };
        }
    }
}

/// Declares a kernel module of two registers of columns.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($name:ident, $feature:literal, $lanes:literal, $at_once:literal, $zero:ident, $load:ident, $store:ident, $all:ident, $fma:ident, $add:ident) => {
        mod $name {
            use std::arch::x86_64::{$add, $all, $fma, $load, $store, $zero};

            use super::Tile;

            /// Computes a tile of up to eight rows.
            ///
            /// # Safety
            /// The machine has the features, and all operands of the tile lie in their slices.
            pub(super) unsafe fn tile(t: &Tile) {
                let mut first = 0;
                while first < t.rows {
                    // SAFETY: `first` stays below `rows`, and so do the rows of each call.
                    unsafe {
                        let rest = t.rows - first;
                        match rest {
                            1 => rows::<1>(t, first),
                            2 => rows::<2>(t, first),
                            3 => rows::<3>(t, first),
                            4 => rows::<4>(t, first),
                            5 if $at_once >= 5 => rows::<5>(t, first),
                            6 if $at_once >= 6 => rows::<6>(t, first),
                            7 if $at_once >= 7 => rows::<7>(t, first),
                            _ => rows::<$at_once>(t, first),
                        }
                        first += rest.min($at_once);
                    }
                }
            }

            /// Rows `first..first + R` of a tile.
            ///
            /// # Safety
            /// As [`tile`], and `first + R` is at most its rows.
            #[target_feature(enable = $feature)]
            unsafe fn rows<const R: usize>(t: &Tile, first: usize) {
                let mut sums = [[$zero(); 2]; R];
                // SAFETY: entries `(first..first + R, 0..k)` of `a` and `k` rows of `2 * LANES` numbers of
                // the panel are read; `R` rows of `2 * LANES` numbers of the target are read and
                // written. The caller has proved all of them in bounds; loads are unaligned ones.
                unsafe {
                    let (mut a, mut b) = (t.a.add(first * t.a_row), t.b);
                    for _ in 0..t.k {
                        let (left, right) = ($load(b), $load(b.add($lanes)));
                        for i in 0..R {
                            let x = $all(*a.add(i * t.a_row));
                            sums[i][0] = $fma(x, left, sums[i][0]);
                            sums[i][1] = $fma(x, right, sums[i][1]);
                        }
                        // `wrapping_add`: after the last step the pointers may lie beyond their slices.
                        a = a.wrapping_add(t.a_col);
                        b = b.wrapping_add(t.b_row);
                    }
                    for i in 0..R {
                        let out = t.out.add((first + i) * t.out_row);
                        for side in 0..2 {
                            let at = out.add(side * $lanes);
                            let sum = sums[i][side];
                            $store(at, if t.accumulate { $add($load(at), sum) } else { sum });
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel!(
    avx512,
    "avx512f",
    16,
    8,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps
);
// Sixteen registers: four rows of two, two of `b` and one broadcast leave room to run ahead.
#[cfg(target_arch = "x86_64")]
kernel!(
    avx2,
    "avx2,fma",
    8,
    4,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps
);

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
    fn every_kernel_of_this_machine_gives_the_same_product() {
        let (m, k, n) = (13, 600, 45);
        let (a, b) = (values(1, m * k, 0.1), values(2, n * k, 0.1));
        let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, n, k).t());
        let mut want = vec![0.0; m * n];
        matmul(&mut want, n, false, a, b);
        let mut kernels: Vec<Drive> = vec![|p, out, a, b| drive::<8>(plain_tile, p, out, 45, false, a, b)];
        #[cfg(target_arch = "x86_64")]
        {
            if Isa::here() != Isa::Plain {
                kernels.push(|p, out, a, b| drive::<16>(avx2::tile, p, out, 45, false, a, b));
            }
            if Isa::here() == Isa::Avx512 {
                kernels.push(|p, out, a, b| drive::<32>(avx512::tile, p, out, 45, false, a, b));
            }
        }
        for kernel in kernels {
            let mut out = vec![f32::NAN; m * n];
            kernel(&mut Vec::new(), &mut out, a, b);
            assert!(out.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-4), "{out:?}");
        }
    }

    type Drive = fn(&mut Vec<f32>, &mut [f32], Mat<'_>, Mat<'_>);

    #[test]
    #[should_panic(expected = "needs 6 numbers, got 5")]
    fn a_view_beyond_its_data_is_refused() {
        let _ = Mat::new(&[0.0; 5], 2, 3);
    }
}
