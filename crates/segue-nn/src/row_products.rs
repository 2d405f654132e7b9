//! Products of one vector with the rows of a table, in 32, 16 or 8 bits a number: what a scan over a
//! catalogue does for each request.
//!
//! Numbers are widened in registers, so that a narrower table costs fewer bytes from memory and hardly
//! more work: AVX-512 and F16C turn 16 or 8 half floats into whole ones in one instruction, and 16-bit
//! products of bytes are added in pairs. Sums are taken in [`LANES`] parts, halves first, on every machine.

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::quantised::float_of;
use crate::simd::{Isa, LANES, vectorised};

/// Fills `out` `[n]` with the products of `user` `[d]` and the rows of `table` `[n, d]`.
///
/// # Panics
/// If a length does not fit.
pub fn row_products(user: &[f32], table: &[f32], out: &mut [f32]) {
    check(user.len(), table.len(), out.len());
    dispatch(Products { user, table, out });
}

/// As [`row_products`], of a table of 16-bit floats.
pub(crate) fn half_products(user: &[f32], table: &[u16], out: &mut [f32]) {
    check(user.len(), table.len(), out.len());
    #[cfg(target_arch = "x86_64")]
    if Isa::here() == Isa::Avx2 && is_x86_feature_detected!("f16c") {
        // SAFETY: the machine has AVX2, FMA and F16C.
        return unsafe { avx2::half_products(user, table, out) };
    }
    dispatch(Products { user, table, out });
}

/// As [`row_products`], exact, of a vector of 16-bit and a table of 8-bit whole numbers; `sums` `[n]`. They
/// fit for up to [`ByteTable::MAX_D`](crate::ByteTable::MAX_D) numbers a row.
pub(crate) fn byte_products(user: &[i16], table: &[i8], sums: &mut [i32]) {
    check(user.len(), table.len(), sums.len());
    #[cfg(target_arch = "x86_64")]
    match Isa::here() {
        // SAFETY: the machine has AVX-512F and AVX-512BW.
        Isa::Avx512 => return unsafe { avx512::byte_products(user, table, sums) },
        // SAFETY: the machine has AVX2.
        Isa::Avx2 => return unsafe { avx2::byte_products(user, table, sums) },
        Isa::Plain => {}
    }
    vectorised(
        #[inline(always)]
        || {
            for (sum, row) in sums.iter_mut().zip(table.chunks_exact(user.len())) {
                *sum = plain_sum(user, row);
            }
        },
    );
}

fn check(d: usize, n_numbers: usize, n_rows: usize) {
    assert!(d > 0, "a vector without numbers");
    assert_eq!(n_numbers, n_rows * d, "numbers of {n_rows} rows of {d}");
}

/// A number of a table.
trait Number: Copy {
    fn load<V: Lanes>(x: &[Self; LANES]) -> V;
    /// Fewer than [`LANES`], and zeros.
    fn load_part<V: Lanes>(x: &[Self]) -> V;
}

impl Number for f32 {
    #[inline(always)]
    fn load<V: Lanes>(x: &[Self; LANES]) -> V {
        V::load(x)
    }

    #[inline(always)]
    fn load_part<V: Lanes>(x: &[Self]) -> V {
        V::load_part(x, 0.0)
    }
}

/// A 16-bit float.
impl Number for u16 {
    #[inline(always)]
    fn load<V: Lanes>(x: &[Self; LANES]) -> V {
        V::load_half(x)
    }

    #[inline(always)]
    fn load_part<V: Lanes>(x: &[Self]) -> V {
        let mut all = [0; LANES];
        for (to, from) in all.iter_mut().zip(x) {
            *to = *from;
        }
        V::load_half(&all)
    }
}

struct Products<'a, T> {
    user: &'a [f32],
    table: &'a [T],
    out: &'a mut [f32],
}

impl<T: Number> Kernel for Products<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        match self.user.len() {
            64 => self.whole::<V, 4>(),
            128 => self.whole::<V, 8>(),
            _ => self.any::<V>(),
        }
    }
}

impl<T: Number> Products<'_, T> {
    /// Rows of `N` registers: the vector stays in as many.
    #[inline(always)]
    fn whole<V: Lanes, const N: usize>(self) {
        let mut user = [V::splat(0.0); N];
        for (to, from) in user.iter_mut().zip(self.user.as_chunks::<LANES>().0) {
            *to = V::load(from);
        }
        let (parts, _) = self.table.as_chunks::<LANES>();
        for (out, row) in self.out.iter_mut().zip(parts.chunks_exact(N)) {
            let mut sum = V::splat(0.0);
            ask_ahead(row);
            for i in 0..N {
                sum = user[i].fma(T::load(&row[i]), sum);
            }
            *out = sum.sum();
        }
    }

    #[inline(always)]
    fn any<V: Lanes>(self) {
        let (user, user_rest) = self.user.as_chunks::<LANES>();
        for (out, row) in self.out.iter_mut().zip(self.table.chunks_exact(self.user.len())) {
            ask_ahead(row);
            let (row, row_rest) = row.as_chunks::<LANES>();
            let mut sum = V::splat(0.0);
            for (user, row) in user.iter().zip(row) {
                sum = V::load(user).fma(T::load(row), sum);
            }
            if !user_rest.is_empty() {
                sum = V::load_part(user_rest, 0.0).fma(T::load_part(row_rest), sum);
            }
            *out = sum.sum();
        }
    }
}

/// Asks memory for what stands a while after a row: it answers late, and the machine's own guess ends with
/// each page. A table in 8 bits is scanned in two thirds of the time by that.
#[inline(always)]
fn ask_ahead<T>(row: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const AHEAD: usize = 2048;
        const LINE: usize = 64;
        let from = row.as_ptr().cast::<i8>();
        for line in (0..size_of_val(row)).step_by(LINE) {
            // SAFETY: every x86-64 machine has the instruction. It is a hint that reads nothing and never
            // faults, so that an address outside of the table is no harm.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD + line)) };
        }
    }
}

#[inline(always)]
fn plain_sum(user: &[i16], row: &[i8]) -> i32 {
    user.iter().zip(row).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum()
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        _mm256_loadu_si256, _mm512_add_epi32, _mm512_cvtepi8_epi16, _mm512_loadu_si512, _mm512_madd_epi16,
        _mm512_reduce_add_epi32, _mm512_setzero_si512,
    };

    use super::{ask_ahead, plain_sum};

    /// 32 products at a time.
    ///
    /// # Safety
    /// The machine has AVX-512F and AVX-512BW.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) unsafe fn byte_products(user: &[i16], table: &[i8], sums: &mut [i32]) {
        let (user_main, user_rest) = user.as_chunks::<32>();
        let d = user.len();
        for (index, sum) in sums.iter_mut().enumerate() {
            let row = &table[index * d..(index + 1) * d];
            let (row_main, row_rest) = row.as_chunks::<32>();
            ask_ahead(row);
            let mut parts = _mm512_setzero_si512();
            for i in 0..user_main.len() {
                // SAFETY: both point to 32 numbers; loads are unaligned ones.
                let (x, y) = unsafe {
                    (
                        _mm512_loadu_si512(user_main[i].as_ptr().cast()),
                        _mm256_loadu_si256(row_main[i].as_ptr().cast()),
                    )
                };
                parts = _mm512_add_epi32(parts, _mm512_madd_epi16(x, _mm512_cvtepi8_epi16(y)));
            }
            *sum = _mm512_reduce_add_epi32(parts);
            if !user_rest.is_empty() {
                *sum += plain_sum(user_rest, row_rest);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_cvtph_ps, _mm256_fmadd_ps,
        _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_setzero_ps, _mm256_setzero_si256,
        _mm256_storeu_ps, _mm256_storeu_si256,
    };

    use super::{LANES, ask_ahead, float_of, plain_sum};
    use crate::simd::fold;

    /// 16 products at a time.
    ///
    /// # Safety
    /// The machine has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn byte_products(user: &[i16], table: &[i8], sums: &mut [i32]) {
        let (user_main, user_rest) = user.as_chunks::<16>();
        for (sum, row) in sums.iter_mut().zip(table.chunks_exact(user.len())) {
            ask_ahead(row);
            let (row_main, row_rest) = row.as_chunks::<16>();
            let mut parts = _mm256_setzero_si256();
            for (x, y) in user_main.iter().zip(row_main) {
                // SAFETY: both point to 16 numbers; loads are unaligned ones.
                let (x, y) =
                    unsafe { (_mm256_loadu_si256(x.as_ptr().cast()), _mm_loadu_si128(y.as_ptr().cast())) };
                parts = _mm256_add_epi32(parts, _mm256_madd_epi16(x, _mm256_cvtepi8_epi16(y)));
            }
            let mut eight = [0_i32; 8];
            // SAFETY: there is room for 8 numbers.
            unsafe { _mm256_storeu_si256(eight.as_mut_ptr().cast(), parts) };
            *sum = eight.iter().sum::<i32>();
            if !user_rest.is_empty() {
                *sum += plain_sum(user_rest, row_rest);
            }
        }
    }

    /// The sums of the plain kernel, which holds 16 numbers in two registers.
    ///
    /// # Safety
    /// The machine has AVX2, FMA and F16C.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn half_products(user: &[f32], table: &[u16], out: &mut [f32]) {
        let (user_main, user_rest) = user.as_chunks::<LANES>();
        for (out, row) in out.iter_mut().zip(table.chunks_exact(user.len())) {
            ask_ahead(row);
            let (row_main, row_rest) = row.as_chunks::<LANES>();
            let mut parts = [_mm256_setzero_ps(); 2];
            for (x, y) in user_main.iter().zip(row_main) {
                for (half, part) in parts.iter_mut().enumerate() {
                    // SAFETY: `x` and `y` are 16 numbers, of which 8 from `8 half` on are read.
                    let (x, y) = unsafe {
                        let y = _mm_loadu_si128(y.as_ptr().add(8 * half).cast());
                        (_mm256_loadu_ps(x.as_ptr().add(8 * half)), _mm256_cvtph_ps(y))
                    };
                    *part = _mm256_fmadd_ps(x, y, *part);
                }
            }
            let mut sums = [0.0; LANES];
            // SAFETY: there is room for 8 numbers twice.
            unsafe {
                _mm256_storeu_ps(sums.as_mut_ptr(), parts[0]);
                _mm256_storeu_ps(sums.as_mut_ptr().add(8), parts[1]);
            }
            for ((x, &y), sum) in user_rest.iter().zip(row_rest).zip(&mut sums) {
                *sum = x.mul_add(float_of(y), *sum);
            }
            *out = fold(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantised::half_of;
    use crate::testing::values;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn products_are_those_of_plain_sums_and_of_the_other_machines(
            seed in any::<u64>(), n in 0_usize..20,
            d in prop_oneof![Just(64_usize), Just(128), 1_usize..150],
        ) {
            let (user, table) = (values(seed, d, 1.0), values(seed ^ 1, n * d, 1.0));
            let halves: Vec<u16> = table.iter().map(|&x| half_of(x)).collect();
            let widened: Vec<f32> = halves.iter().map(|&x| float_of(x)).collect();
            for (what, table, is_half) in [("f32", &table, false), ("f16", &widened, true)] {
                let (mut out, mut plain) = (vec![f32::NAN; n], vec![f32::NAN; n]);
                if is_half {
                    half_products(&user, &halves, &mut out);
                    Products { user: &user, table: &halves, out: &mut plain }.run::<[f32; LANES]>();
                } else {
                    row_products(&user, table, &mut out);
                    Products { user: &user, table: table.as_slice(), out: &mut plain }.run::<[f32; LANES]>();
                }
                for ((row, &got), plain) in table.chunks_exact(d).zip(&out).zip(plain) {
                    let terms = user.iter().zip(row).map(|(&x, &y)| f64::from(x) * f64::from(y));
                    let (want, size) = terms.fold((0.0, 0.0), |(a, b), t| (a + t, b + t.abs()));
                    prop_assert!((f64::from(got) - want).abs() <= 1e-5 * size, "{what}: {got} {want}");
                    prop_assert_eq!(got, plain, "{}", what);
                }
                #[cfg(target_arch = "x86_64")]
                if is_half && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
                {
                    let mut narrow = vec![f32::NAN; n];
                    // SAFETY: the machine has AVX2, FMA and F16C.
                    unsafe { avx2::half_products(&user, &halves, &mut narrow) };
                    prop_assert_eq!(&narrow, &out);
                }
            }
        }

        #[test]
        fn whole_numbers_are_multiplied_exactly_on_every_machine(
            seed in any::<u64>(), n in 0_usize..10, d in 1_usize..200,
        ) {
            let whole = |seed: u64, n: usize, most: f32| -> Vec<f32> {
                values(seed, n, 0.6 * most).iter().map(|x| x.clamp(-most, most)).collect()
            };
            let user: Vec<i16> = whole(seed, d, 32_767.0).iter().map(|&x| x as i16).collect();
            let table: Vec<i8> = whole(seed ^ 1, n * d, 127.0).iter().map(|&x| x as i8).collect();
            let want: Vec<i32> = table.chunks_exact(d).map(|row| plain_sum(&user, row)).collect();
            let mut sums = vec![0; n];
            byte_products(&user, &table, &mut sums);
            prop_assert_eq!(&sums, &want);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                sums.fill(0);
                // SAFETY: the machine has AVX2.
                unsafe { avx2::byte_products(&user, &table, &mut sums) };
                prop_assert_eq!(&sums, &want);
            }
        }
    }
}
