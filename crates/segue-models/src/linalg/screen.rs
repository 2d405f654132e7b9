//! Which of many products may reach a floor: 8 listeners × 32 items at a time, in bytes.
//!
//! A vector `x` is held as whole numbers `q` in ±127 and a factor, `x ≈ s q`. With `δ` what that leaves out,
//!
//! `|u · x − s_u s_x (q_u · q_x)| ≤ |δ_u| |x| + |s_u q_u| |δ_x|`
//!
//! by Cauchy-Schwarz. A product whose sum of both sides is below the floor cannot reach it and need not be computed;
//! what may is computed exactly by the caller, so nothing is lost to the rounding. A processor with AVX-512 VNNI
//! multiplies four times as many bytes as `f32` in an instruction; on others [`is_fast`] says no.

use super::tile::{LANES, ROWS};

/// Numbers that are multiplied and added in one step.
const STEP: usize = 4;

/// Whether this processor has instructions for it.
pub(crate) fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Items in panels of 32.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Items {
    width: usize,
    /// `[n_panels][width / 4][32][4]` the whole numbers `q`.
    values: Vec<i8>,
    columns: Vec<Columns>,
}

/// What else a panel's 32 items have.
#[derive(Debug, Clone, PartialEq)]
struct Columns {
    /// `−128 Σ q`: listeners' numbers are 128 more than they are.
    start: [i32; LANES],
    /// `s`
    scale: [f32; LANES],
    /// `|x|`
    length: [f32; LANES],
    /// `|δ|`
    error: [f32; LANES],
}

impl Items {
    /// No panel yet, for vectors of `width` numbers, a multiple of 4.
    pub(crate) fn new(width: usize) -> Self {
        assert!(width.is_multiple_of(STEP), "vectors of {width} numbers");
        Self { width, values: Vec::new(), columns: Vec::new() }
    }

    /// Appends a panel of at most 32 rows `[n][width]`; missing ones are zero.
    pub(crate) fn push(&mut self, rows: &[f32]) {
        let from = self.values.len();
        self.values.resize(from + self.width * LANES, 0);
        let mut columns =
            Columns { start: [0; LANES], scale: [0.0; LANES], length: [0.0; LANES], error: [0.0; LANES] };
        for (lane, row) in rows.chunks_exact(self.width).enumerate() {
            let short = Short::of(row);
            columns.scale[lane] = short.scale;
            columns.length[lane] = short.length;
            columns.error[lane] = short.error;
            for (at, &x) in row.iter().enumerate() {
                let q = short.round(x);
                columns.start[lane] -= 128 * i32::from(q);
                self.values[from + (at / STEP * LANES + lane) * STEP + at % STEP] = q;
            }
        }
        self.columns.push(columns);
    }
}

/// Up to 8 listeners.
#[derive(Debug, Clone)]
pub(crate) struct Listeners {
    /// `[width / 4][8][4]` the numbers `q + 128`.
    values: Vec<u8>,
    /// What a floor is multiplied with: `1 / s_u`.
    inverse_scale: [f32; ROWS],
    /// `(|δ_u| + r |u|) / s_u`, where `r` is more than all rounding of the exact product.
    own_error: [f32; ROWS],
    /// `|s_u q_u| / s_u`
    size: [f32; ROWS],
}

impl Listeners {
    /// From at most 8 rows `[n][width]`.
    pub(crate) fn new(rows: &[f32], width: usize) -> Self {
        assert!(width.is_multiple_of(STEP), "vectors of {width} numbers");
        let mut out = Self {
            values: vec![128; width * ROWS],
            inverse_scale: [1.0; ROWS],
            own_error: [0.0; ROWS],
            size: [0.0; ROWS],
        };
        // Twice the bound `n 2⁻²⁴` of a sum of `n` products, and what this file itself rounds.
        let rounding = (width + 64) as f32 * f32::EPSILON;
        for (r, row) in rows.chunks_exact(width).enumerate() {
            let short = Short::of(row);
            let mut squares = 0.0_f64;
            for (at, &x) in row.iter().enumerate() {
                let q = short.round(x);
                squares += f64::from(q).powi(2);
                out.values[(at / STEP * ROWS + r) * STEP + at % STEP] = (i16::from(q) + 128) as u8;
            }
            // A listener of zeros has products of zero: any factor will do.
            let scale = if short.scale == 0.0 { 1.0 } else { short.scale };
            out.inverse_scale[r] = 1.0 / scale;
            out.own_error[r] = (short.error + rounding * short.length) / scale;
            if scale < 1e-30 {
                out.own_error[r] = f32::INFINITY; // its inverse may be none: everything may reach
            }
            out.size[r] = (squares.sqrt() as f32).next_up();
        }
        out
    }
}

/// A vector in whole numbers.
struct Short {
    scale: f32,
    down: f64,
    /// `|x|` and `|δ|`, from above.
    length: f32,
    error: f32,
}

impl Short {
    fn of(row: &[f32]) -> Self {
        let greatest = row.iter().fold(0.0_f32, |a, &x| a.max(x.abs()));
        let scale = greatest / 127.0;
        let down = if scale > 0.0 { 1.0 / f64::from(scale) } else { 0.0 };
        let mut short = Self { scale, down, length: 0.0, error: 0.0 };
        let (mut length, mut error) = (0.0_f64, 0.0_f64);
        for &x in row {
            length += f64::from(x).powi(2);
            error += (f64::from(x) - f64::from(scale) * f64::from(short.round(x))).powi(2);
        }
        short.length = (length.sqrt() as f32).next_up();
        short.error = (error.sqrt() as f32).next_up();
        short
    }

    fn round(&self, x: f32) -> i8 {
        (f64::from(x) * self.down).round().clamp(-127.0, 127.0) as i8
    }
}

/// Of each listener the items of a panel whose product may be at or above the listener's floor: bit `c` for
/// item `c`. What is not a number may.
///
/// # Panics
/// If there is no such panel, or the widths differ.
#[inline]
pub(crate) fn may_reach(
    listeners: &Listeners,
    items: &Items,
    panel: usize,
    floor: &[f32; ROWS],
) -> [u32; ROWS] {
    let size = items.width * LANES;
    let values = &items.values[panel * size..(panel + 1) * size];
    let columns = &items.columns[panel];
    assert_eq!(listeners.values.len(), items.width * ROWS, "listeners and items of one width");
    let floor = std::array::from_fn(|r| floor[r] * listeners.inverse_scale[r]);
    #[cfg(target_arch = "x86_64")]
    if is_fast() {
        // SAFETY: the processor has the features; both factors hold `width` numbers per row, checked above.
        return unsafe { may_reach_vnni(items.width / STEP, listeners, values, columns, &floor) };
    }
    may_reach_plain(items.width / STEP, listeners, values, columns, &floor)
}

fn may_reach_plain(
    n_steps: usize,
    listeners: &Listeners,
    values: &[i8],
    columns: &Columns,
    floor: &[f32; ROWS],
) -> [u32; ROWS] {
    let mut mask = [0; ROWS];
    for r in 0..ROWS {
        for c in 0..LANES {
            let mut sum = columns.start[c];
            for step in 0..n_steps {
                for k in 0..STEP {
                    let own = listeners.values[(step * ROWS + r) * STEP + k];
                    sum += i32::from(own) * i32::from(values[(step * LANES + c) * STEP + k]);
                }
            }
            let most = listeners.size[r].mul_add(columns.error[c], sum as f32 * columns.scale[c]);
            let most = listeners.own_error[r].mul_add(columns.length[c], most);
            let may = most >= floor[r] || most.is_nan() || floor[r].is_nan();
            mask[r] |= u32::from(may) << c;
        }
    }
    mask
}

/// # Safety
/// `listeners` holds 8 × 4 and `values` 32 × 4 numbers at each of `n_steps` steps.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn may_reach_vnni(
    n_steps: usize,
    listeners: &Listeners,
    values: &[i8],
    columns: &Columns,
    floor: &[f32; ROWS],
) -> [u32; ROWS] {
    use std::arch::x86_64::{
        _CMP_NLT_UQ, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    };
    // SAFETY: rows of `Columns` have 32 values.
    let start = unsafe {
        let at = columns.start.as_ptr();
        [_mm512_loadu_si512(at.cast()), _mm512_loadu_si512(at.add(16).cast())]
    };
    let mut sum = [start; ROWS];
    let (mut x, mut p) = (listeners.values.as_ptr(), values.as_ptr());
    for _ in 0..n_steps {
        // SAFETY: step `k` of both factors is in bounds by the contract above; the pointers move on by one step,
        // and after the last they are not read (`wrapping_add`).
        unsafe {
            let (p0, p1) = (_mm512_loadu_si512(p.cast()), _mm512_loadu_si512(p.add(64).cast()));
            for (r, sum) in sum.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(x.add(r * STEP).cast::<i32>().read_unaligned());
                sum[0] = _mm512_dpbusd_epi32(sum[0], x, p0);
                sum[1] = _mm512_dpbusd_epi32(sum[1], x, p1);
            }
        }
        x = x.wrapping_add(ROWS * STEP);
        p = p.wrapping_add(LANES * STEP);
    }
    let mut mask = [0; ROWS];
    for half in 0..2 {
        // SAFETY: as above.
        let (scale, length, error) = unsafe {
            (
                _mm512_loadu_ps(columns.scale.as_ptr().add(half * 16)),
                _mm512_loadu_ps(columns.length.as_ptr().add(half * 16)),
                _mm512_loadu_ps(columns.error.as_ptr().add(half * 16)),
            )
        };
        for r in 0..ROWS {
            let most = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[r][half]), scale);
            let most = _mm512_fmadd_ps(_mm512_set1_ps(listeners.size[r]), error, most);
            let most = _mm512_fmadd_ps(_mm512_set1_ps(listeners.own_error[r]), length, most);
            let bits = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(most, _mm512_set1_ps(floor[r]));
            mask[r] |= u32::from(bits) << (16 * half);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linalg::vector::dot;

    proptest! {
        #[test]
        fn no_product_that_reaches_the_floor_is_screened_out_and_few_others_stay(
            width in (1_usize..5).prop_map(|n| n * LANES),
            n_rows in 1_usize..=ROWS,
            n_items in 1_usize..=LANES,
            seed in prop::collection::vec(-1.0_f32..1.0, 331),
            sizes in prop::collection::vec(-30_i32..30, ROWS + LANES),
            quantile in 0.0_f64..1.0,
        ) {
            let vector = |v: usize| -> Vec<f32> {
                (0..width).map(|i| seed[(v * 97 + i * 3) % 331] * 2.0_f32.powi(sizes[v])).collect()
            };
            let users: Vec<Vec<f32>> = (0..n_rows).map(vector).collect();
            let rows: Vec<Vec<f32>> = (0..n_items).map(|i| vector(ROWS + i)).collect();
            let mut items = Items::new(width);
            items.push(&vec![0.5; width]);
            items.push(&rows.concat());
            let listeners = Listeners::new(&users.concat(), width);
            let mut floor = [f32::INFINITY; ROWS];
            for (floor, user) in floor.iter_mut().zip(&users) {
                let mut all: Vec<f32> = rows.iter().map(|row| dot(user, row)).collect();
                all.sort_unstable_by(f32::total_cmp);
                *floor = all[(quantile * n_items as f64) as usize];
            }
            let mask = may_reach(&listeners, &items, 1, &floor);
            let scaled = std::array::from_fn(|r| floor[r] * listeners.inverse_scale[r]);
            let size = width * LANES;
            let plain = may_reach_plain(width / STEP, &listeners, &items.values[size..], &items.columns[1], &scaled);
            // Sums of whole numbers are equal; what follows is the same operations.
            prop_assert_eq!(mask, plain);
            let length = |x: &[f32]| x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            for r in 0..n_rows {
                for c in 0..n_items {
                    let score = dot(&users[r], &rows[c]);
                    let stays = mask[r] >> c & 1 == 1;
                    prop_assert!(stays || score < floor[r], "{score} reaches {}", floor[r]);
                    // Each number is rounded by at most 1/254 of the greatest.
                    let lost = length(&users[r]) * length(&rows[c]) * (width as f64).sqrt() / 254.0;
                    prop_assert!(!stays || f64::from(score) + 4.2 * lost >= f64::from(floor[r]));
                }
            }
            prop_assert!(mask[n_rows..].iter().all(|&m| m == 0), "listeners that do not exist");
        }
    }

    #[test]
    fn zeros_and_what_is_not_a_number_stay() {
        let mut items = Items::new(32);
        let mut rows = vec![0.0; 64];
        rows[40] = f32::NAN;
        items.push(&rows);
        let users = [0.0, f32::NAN, f32::INFINITY, 1e-40].map(|x| vec![x; 32]);
        let mask = may_reach(&Listeners::new(&users.concat(), 32), &items, 0, &[0.0; ROWS]);
        for user in 0..users.len() {
            assert_eq!(mask[user] & 0b11, 0b11, "listener {user}");
        }
    }
}
