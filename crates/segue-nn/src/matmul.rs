//! Matrix products of `f32`, on the calling thread.
//!
//! One kernel computes up to `MAX_MR` rows by two registers of columns and keeps them in registers
//! while it walks along `k`. Entries of `a` are broadcast from where they stand, whatever its strides;
//! rows of `b` are read as registers where they stand, and a transposed `b` is turned around first,
//! a panel at a time, unless it is [`Packed`] already. AVX-512 masks the columns beyond the last; the other kernels pack the last panel.
//! The `gemm` crate was measured as fast, but takes memory in each product and switches on
//! features of `num-complex` that make arrow and DataFusion compile anew.

use std::cell::RefCell;
use std::ops::Range;

use crate::simd::Isa;
use crate::transpose::transpose;

/// Rows of the tallest kernel.
const MAX_MR: usize = 14;
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

/// A right operand `[rows, cols]` in the order in which the kernels of this machine read it, for many products:
/// panels of columns, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
}

impl<'a> Packed<'a> {
    /// Numbers it takes, on any machine.
    #[must_use]
    pub fn size(rows: usize, cols: usize) -> usize {
        rows * cols.next_multiple_of(MAX_NR)
    }

    /// Fills `to` from `b`.
    ///
    /// # Panics
    /// If `to` does not hold [`size`](Self::size) numbers.
    pub fn write(b: Mat<'_>, to: &mut [f32]) {
        assert_eq!(to.len(), Self::size(b.rows, b.cols), "numbers of a packed operand");
        match Isa::here() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => pack_all::<32>(b, to),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => pack_all::<16>(b, to),
            _ => pack_all::<8>(b, to),
        }
    }

    /// What [`write`](Self::write) has filled from a matrix `[rows, cols]`, on this machine.
    ///
    /// # Panics
    /// If the data has another size.
    #[must_use]
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), Self::size(rows, cols), "numbers of a packed operand");
        Self { data, rows, cols }
    }

    /// Some of its columns; `None` if they do not begin where a panel does.
    pub(crate) fn columns(self, columns: Range<usize>) -> Option<Self> {
        let (at, n) = (columns.start * self.rows, columns.len());
        let whole = columns.start.is_multiple_of(MAX_NR);
        whole.then(|| Self::new(&self.data[at..at + Self::size(self.rows, n)], self.rows, n))
    }
}

/// A right operand of a product.
#[derive(Debug, Clone, Copy)]
pub enum Right<'a> {
    /// As it stands.
    Plain(Mat<'a>),
    /// Packed before.
    Packed(Packed<'a>),
}

impl Right<'_> {
    /// Rows and columns.
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Plain(b) => (b.rows, b.cols),
            Self::Packed(b) => (b.rows, b.cols),
        }
    }
}

impl<'a> From<Mat<'a>> for Right<'a> {
    fn from(b: Mat<'a>) -> Self {
        Self::Plain(b)
    }
}

pub(crate) fn check_size(len: usize, rows: usize, cols: usize, stride: usize) {
    let needed = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * stride + cols };
    assert!(
        len >= needed && (rows < 2 || stride >= cols),
        "matrix [{rows}, {cols}] of row stride {stride} needs {needed} numbers, got {len}"
    );
}

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Nothing.
    Zero,
    /// What stands in the output.
    Out,
    /// This row `[n]`, in each row of the output: a bias.
    Row(&'a [f32]),
}

/// `out = a b`, or `out += a b`; `out` is `[a.rows, b.cols]` with `stride` numbers from row to row.
///
/// Runs on the calling thread: the caller's shards are what runs side by side.
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul(out: &mut [f32], stride: usize, accumulate: bool, a: Mat<'_>, b: Mat<'_>) {
    matmul_from(out, stride, if accumulate { Start::Out } else { Start::Zero }, a, b);
}

/// As [`matmul`], with `start` to begin from.
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul_from<'b>(
    out: &mut [f32],
    stride: usize,
    start: Start<'_>,
    a: Mat<'_>,
    b: impl Into<Right<'b>>,
) {
    let b = b.into();
    let (b_rows, n) = b.shape();
    let (m, k) = (a.rows, a.cols);
    assert_eq!(k, b_rows, "inner sizes of a product");
    check_size(out.len(), m, n, stride);
    if m == 0 || n == 0 {
        return;
    }
    if let Start::Row(row) = start {
        assert_eq!(row.len(), n, "numbers of the row that a product begins from");
    }
    if k == 0 {
        for row in 0..m {
            let out = &mut out[row * stride..row * stride + n];
            match start {
                Start::Zero => out.fill(0.0),
                Start::Out => {}
                Start::Row(row) => out.copy_from_slice(row),
            }
        }
        return;
    }
    PACKED.with_borrow_mut(|packed| match Isa::here() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => drive::<32, 14, true>(avx512::tile, packed, out, stride, start, a, b),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => drive::<16, 12, false>(avx2::tile, packed, out, stride, start, a, b),
        _ => drive::<8, 8, false>(plain_tile, packed, out, stride, start, a, b),
    });
}

thread_local! {
    /// A packed panel of `b`, `[KC, NR]`; taken once per thread.
    static PACKED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// The operands of one tile: `rows` rows of `out`, `cols` columns, `k` steps.
struct Tile {
    rows: usize,
    /// `NR`, or fewer for a kernel that masks.
    cols: usize,
    k: usize,
    a: *const f32,
    a_row: usize,
    a_col: usize,
    b: *const f32,
    b_row: usize,
    out: *mut f32,
    out_row: usize,
    /// What sums begin from, `from_row` numbers from row to row; null for zeros.
    from: *const f32,
    from_row: usize,
}

/// Cuts the product into tiles of up to `MR` rows by `NR` columns. A kernel with `MASKED` reads and
/// writes only the columns that are there; another one gets its last columns packed, and writes
/// whole rows of `NR` to the side.
fn drive<const NR: usize, const MR: usize, const MASKED: bool>(
    tile: unsafe fn(&Tile),
    packed: &mut Vec<f32>,
    out: &mut [f32],
    stride: usize,
    start: Start<'_>,
    a: Mat<'_>,
    b: Right<'_>,
) {
    const { assert!(NR <= MAX_NR && MR <= MAX_MR) };
    let (m, n, k) = (a.rows, b.shape().1, a.cols);
    // Tiles of nearly equal height: a last one of a row or two would wait for its own sums.
    let n_tiles = m.div_ceil(MR);
    for k0 in (0..k).step_by(KC) {
        let kb = KC.min(k - k0);
        let start = if k0 > 0 { Start::Out } else { start };
        for j0 in (0..n).step_by(NR) {
            let nb = NR.min(n - j0);
            let direct = MASKED || nb == NR;
            let (panel, b_row) = match b {
                Right::Packed(b) => (&b.data[j0 * k + k0 * NR..], NR),
                Right::Plain(b) => {
                    let panel = &b.data[k0 * b.row_stride + j0 * b.col_stride..];
                    if direct && b.col_stride == 1 {
                        (panel, b.row_stride)
                    } else {
                        if packed.len() < KC * MAX_NR {
                            packed.resize(KC * MAX_NR, 0.0);
                        }
                        pack::<NR>(packed, panel, kb, nb, b.row_stride, b.col_stride);
                        (&packed[..], NR)
                    }
                }
            };
            for tile_index in 0..n_tiles {
                let (i0, i1) = (tile_index * m / n_tiles, (tile_index + 1) * m / n_tiles);
                let rows = i1 - i0;
                let mut edge = [0.0_f32; MAX_MR * MAX_NR];
                let (target, out_row) = if direct {
                    (out[i0 * stride + j0..].as_mut_ptr(), stride)
                } else {
                    (edge.as_mut_ptr(), NR)
                };
                let (from, from_row) = match start {
                    Start::Row(row) if direct => (row[j0..].as_ptr(), 0),
                    Start::Out if direct => (target.cast_const(), out_row),
                    _ => (std::ptr::null(), 0),
                };
                // SAFETY: `Mat::strided` and `check_size` have checked that each entry of `a` `[m, k]`,
                // `b` `[k, n]` and `out` `[m, n]` lies in its slice. This tile reads rows
                // `i0..i0 + rows` and columns `k0..k0 + kb` of `a`, which lie in it. It reads `kb` rows
                // of the panel: in place `cols` numbers each, columns `j0..j0 + nb` of `b`; packed, they
                // fill `kb * NR` numbers, which lie in what `Packed::new` has checked: panels up to this one
                // take `(j0 + NR) * k` of them, and `j0 + NR` is at most `n` rounded up to `MAX_NR`. It writes `rows` rows of `cols` numbers: direct ones lie in
                // columns `j0..j0 + nb` of `out`, others in `edge` (`MAX_MR * MAX_NR`, and
                // `rows <= MR <= MAX_MR`). It begins from those same numbers, from `cols` numbers of a row of `n`,
                // or from nothing. `out` and `edge` are borrowed mutably and overlap neither
                // operand. The kernel was picked for the features of this machine.
                unsafe {
                    tile(&Tile {
                        rows,
                        cols: if direct { nb } else { NR },
                        k: kb,
                        a: a.data[i0 * a.row_stride + k0 * a.col_stride..].as_ptr(),
                        a_row: a.row_stride,
                        a_col: a.col_stride,
                        b: panel.as_ptr(),
                        b_row,
                        out: target,
                        out_row,
                        from,
                        from_row,
                    });
                }
                if !direct {
                    for (row, edge) in edge.chunks_exact(NR).take(rows).enumerate() {
                        let at = (i0 + row) * stride + j0;
                        if let Start::Row(row) = start {
                            out[at..at + nb].copy_from_slice(&row[j0..j0 + nb]);
                        }
                        for (o, e) in out[at..at + nb].iter_mut().zip(edge) {
                            *o = if !matches!(start, Start::Zero) { *o + e } else { *e };
                        }
                    }
                }
            }
        }
    }
}

/// Packs every panel of `b`: that of columns `j..j + NR` begins at number `j · rows`.
fn pack_all<const NR: usize>(b: Mat<'_>, to: &mut [f32]) {
    if b.rows == 0 {
        return;
    }
    for (j, to) in (0..b.cols).step_by(NR).zip(to.chunks_exact_mut(b.rows * NR)) {
        let panel = &b.data[j * b.col_stride..];
        pack::<NR>(to, panel, b.rows, NR.min(b.cols - j), b.row_stride, b.col_stride);
    }
}

/// Copies `kb` rows of `nb` columns to rows of `NR`, filled up with zeros.
fn pack<const NR: usize>(packed: &mut [f32], b: &[f32], kb: usize, nb: usize, row: usize, col: usize) {
    if col == 1 {
        for (i, to) in packed.chunks_exact_mut(NR).take(kb).enumerate() {
            to[..nb].copy_from_slice(&b[i * row..i * row + nb]);
            to[nb..].fill(0.0);
        }
    } else if row == 1 {
        transpose(b, col, nb, kb, packed, NR);
        if nb < NR {
            packed.chunks_exact_mut(NR).take(kb).for_each(|to| to[nb..].fill(0.0));
        }
    } else {
        for (i, to) in packed.chunks_exact_mut(NR).take(kb).enumerate() {
            for (j, to) in to.iter_mut().enumerate() {
                *to = if j < nb { b[i * row + j * col] } else { 0.0 };
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
    let mut sums = [[0.0_f32; NR]; 8];
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
            // SAFETY: as above, of what the sums begin from.
            *out = if t.from.is_null() { *sum } else { sum + unsafe { *t.from.add(i * t.from_row + j) } };
        }
    }
}

/// Calls `rows::<R, …>` with `R` the number of rows at hand, at most `at_once`.
#[cfg(target_arch = "x86_64")]
macro_rules! by_rows {
    ($t:ident, [$($r:literal)*], $at_once:literal) => {{
        let mut first = 0;
        while first < $t.rows {
            let count = ($t.rows - first).min($at_once);
            // SAFETY: `first + count` is at most `rows`.
            unsafe {
                match count {
                    $($r => rows::<$r>($t, first),)*
                    _ => unreachable!("{count} rows at once"),
                }
            }
            first += count;
        }
    }};
}

/// AVX-512: up to 14 rows of two registers, which with two of `b` and one broadcast are 31 of 32.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        _mm512_add_ps, _mm512_fmadd_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps,
        _mm512_setzero_ps,
    };

    use super::Tile;

    /// Computes a tile.
    ///
    /// # Safety
    /// The machine has the features, and all operands of the tile lie in their slices.
    pub(super) unsafe fn tile(t: &Tile) {
        if t.cols > 16 {
            by_rows!(t, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], 14);
        } else {
            /// One register of columns.
            unsafe fn rows<const R: usize>(t: &Tile, first: usize) {
                // SAFETY: passed on to the caller.
                unsafe { block::<R, 1>(t, first) }
            }
            by_rows!(t, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], 14);
        }
    }

    /// Two registers of columns.
    ///
    /// # Safety
    /// As [`block`].
    unsafe fn rows<const R: usize>(t: &Tile, first: usize) {
        // SAFETY: passed on to the caller.
        unsafe { block::<R, 2>(t, first) }
    }

    /// Rows `first..first + R` of a tile of at most `16 C` and more than `16 (C - 1)` columns.
    ///
    /// # Safety
    /// As [`tile`], and `first + R` is at most its rows.
    #[target_feature(enable = "avx512f")]
    unsafe fn block<const R: usize, const C: usize>(t: &Tile, first: usize) {
        let mut sums = [[_mm512_setzero_ps(); C]; R];
        let mut masks = [0xFFFF_u16; C];
        masks[C - 1] >>= 16 * C - t.cols;
        // SAFETY: entries `(first..first + R, 0..k)` of `a` and `k` rows of `cols` numbers of the panel are
        // read; `R` rows of `cols` numbers of the target are read and written. The caller has proved
        // all of them in bounds; what the masks leave out is not touched, and loads are unaligned ones.
        unsafe {
            let (mut a, mut b) = (t.a.add(first * t.a_row), t.b);
            for _ in 0..t.k {
                let mut columns = [_mm512_setzero_ps(); C];
                for c in 0..C {
                    columns[c] = _mm512_maskz_loadu_ps(masks[c], b.add(16 * c));
                }
                for i in 0..R {
                    let x = _mm512_set1_ps(*a.add(i * t.a_row));
                    for c in 0..C {
                        sums[i][c] = _mm512_fmadd_ps(x, columns[c], sums[i][c]);
                    }
                }
                // `wrapping_add`: after the last step the pointers may lie beyond their slices.
                a = a.wrapping_add(t.a_col);
                b = b.wrapping_add(t.b_row);
            }
            for i in 0..R {
                let out = t.out.add((first + i) * t.out_row);
                for c in 0..C {
                    let at = out.add(16 * c);
                    let mut sum = sums[i][c];
                    if !t.from.is_null() {
                        let from = t.from.add((first + i) * t.from_row + 16 * c);
                        sum = _mm512_add_ps(_mm512_maskz_loadu_ps(masks[c], from), sum);
                    }
                    _mm512_mask_storeu_ps(at, masks[c], sum);
                }
            }
        }
    }
}

/// AVX2: four rows of two registers; two of `b` and one broadcast leave room to run ahead.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };

    use super::Tile;

    /// Computes a tile of 16 columns.
    ///
    /// # Safety
    /// The machine has the features, and all operands of the tile lie in their slices.
    pub(super) unsafe fn tile(t: &Tile) {
        by_rows!(t, [1 2 3 4], 4);
    }

    /// Rows `first..first + R` of a tile.
    ///
    /// # Safety
    /// As [`tile`], and `first + R` is at most its rows.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn rows<const R: usize>(t: &Tile, first: usize) {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        // SAFETY: entries `(first..first + R, 0..k)` of `a` and `k` rows of 16 numbers of the panel are
        // read; `R` rows of 16 numbers of the target are read and written. The caller has proved all
        // of them in bounds; loads are unaligned ones.
        unsafe {
            let (mut a, mut b) = (t.a.add(first * t.a_row), t.b);
            for _ in 0..t.k {
                let (left, right) = (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8)));
                for i in 0..R {
                    let x = _mm256_set1_ps(*a.add(i * t.a_row));
                    sums[i][0] = _mm256_fmadd_ps(x, left, sums[i][0]);
                    sums[i][1] = _mm256_fmadd_ps(x, right, sums[i][1]);
                }
                // `wrapping_add`: after the last step the pointers may lie beyond their slices.
                a = a.wrapping_add(t.a_col);
                b = b.wrapping_add(t.b_row);
            }
            for i in 0..R {
                let out = t.out.add((first + i) * t.out_row);
                for side in 0..2 {
                    let at = out.add(side * 8);
                    let mut sum = sums[i][side];
                    if !t.from.is_null() {
                        let from = t.from.add((first + i) * t.from_row + side * 8);
                        sum = _mm256_add_ps(_mm256_loadu_ps(from), sum);
                    }
                    _mm256_storeu_ps(at, sum);
                }
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
        fn a_product_is_that_of_three_loops(
            (m, k, n) in (0_usize..40, 0_usize..40, 0_usize..70), extra in 0_usize..3,
            transposed in any::<(bool, bool)>(), start in 0_usize..3, seed in any::<u64>(),
        ) {
            let a = values(seed, m * k, 1.0);
            let b = values(seed ^ 1, k * n, 1.0);
            let stride = n + extra;
            let mut out = values(seed ^ 2, m * stride + 1, 1.0);
            let before = out.clone();
            let a_view = if transposed.0 { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
            let b_view = if transposed.1 { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
            let row = values(seed ^ 3, n, 1.0);
            let start = [Start::Zero, Start::Out, Start::Row(&row)][start];
            matmul_from(&mut out, stride, start, a_view, b_view);
            for i in 0..m {
                for j in 0..stride {
                    let at = i * stride + j;
                    let mut want = f64::from(before[at]);
                    if j < n {
                        want = match start {
                            Start::Zero => 0.0,
                            Start::Out => want,
                            Start::Row(row) => f64::from(row[j]),
                        };
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
        let mut kernels: Vec<(Drive, Pack)> = vec![(
            |p, out, a, b| drive::<8, 8, false>(plain_tile, p, out, 45, Start::Zero, a, b),
            pack_all::<8>,
        )];
        #[cfg(target_arch = "x86_64")]
        {
            if Isa::here() != Isa::Plain {
                kernels.push((
                    |p, out, a, b| drive::<16, 12, false>(avx2::tile, p, out, 45, Start::Zero, a, b),
                    pack_all::<16>,
                ));
            }
            if Isa::here() == Isa::Avx512 {
                kernels.push((
                    |p, out, a, b| drive::<32, 14, true>(avx512::tile, p, out, 45, Start::Zero, a, b),
                    pack_all::<32>,
                ));
            }
        }
        for (kernel, pack) in kernels {
            let mut out = vec![f32::NAN; m * n];
            kernel(&mut Vec::new(), &mut out, a, Right::Plain(b));
            assert!(out.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-4), "{out:?}");
            let mut packed = vec![f32::NAN; Packed::size(k, n)];
            pack(b, &mut packed);
            let mut again = vec![f32::NAN; m * n];
            kernel(&mut Vec::new(), &mut again, a, Right::Packed(Packed::new(&packed, k, n)));
            assert_eq!(out, again);
        }
    }

    type Drive = fn(&mut Vec<f32>, &mut [f32], Mat<'_>, Right<'_>);
    type Pack = fn(Mat<'_>, &mut [f32]);

    #[test]
    #[should_panic(expected = "needs 6 numbers, got 5")]
    fn a_view_beyond_its_data_is_refused() {
        let _ = Mat::new(&[0.0; 5], 2, 3);
    }
}
