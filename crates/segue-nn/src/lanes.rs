//! Sixteen numbers at a time, for kernels whose sums must stay in a register.
//!
//! Plain loops vectorise well under [`vectorised`](crate::simd::vectorised) until they carry an array
//! of partial sums: then it is often taken apart into single numbers. Such a kernel is written once as a
//! [`Kernel`] over any [`Lanes`], and [`dispatch`] picks AVX-512 registers or arrays, which AVX2 and NEON
//! hold in part. Both do the same operations in the same order, up to the last bits of [`Lanes::exp`]
//! and [`Lanes::recip`].

use crate::quantised::float_of;
use crate::random::mix32;
use crate::simd::{self, Isa, LANES};

/// [`LANES`] numbers and what kernels do with them.
pub(crate) trait Lanes: Copy {
    /// The same number in all lanes.
    fn splat(x: f32) -> Self;
    fn load(x: &[f32; LANES]) -> Self;
    /// Finite 16-bit floats.
    fn load_half(x: &[u16; LANES]) -> Self;
    fn store(self, to: &mut [f32; LANES]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self · by + to`, rounded once.
    fn fma(self, by: Self, to: Self) -> Self;
    /// `self` where it is greater, else `other`: not-a-number in `self` is passed over.
    fn max(self, other: Self) -> Self;
    /// As [`simd::exp`].
    fn exp(self) -> Self;
    /// `1 / self` of a number at least 1, to about 1 unit in the last place.
    fn recip(self) -> Self;
    /// The sum, halves first.
    fn sum(self) -> f32;

    /// The first `n` lanes, and `other` in those after them.
    fn first(self, n: usize, other: Self) -> Self;
    /// `x` where a half draw is at least `threshold`, else 0: for the low halves of
    /// `mix32(counter + lane)` and for the high ones.
    fn unless_below(counter: u32, threshold: u32, x: Self) -> [Self; 2];

    /// Fewer than [`LANES`] numbers, and `fill` beyond them.
    #[inline(always)]
    fn load_part(x: &[f32], fill: f32) -> Self {
        let mut all = [fill; LANES];
        for (to, from) in all.iter_mut().zip(x) {
            *to = *from;
        }
        Self::load(&all)
    }

    /// The first lanes, as many as `to` holds.
    #[inline(always)]
    fn store_part(self, to: &mut [f32]) {
        let mut all = [0.0; LANES];
        self.store(&mut all);
        for (to, from) in to.iter_mut().zip(all) {
            *to = from;
        }
    }

    /// `1 / (1 + e⁻ˣ)`, without overflow at any `x`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let one = Self::splat(1.0);
        Self::splat(0.0).sub(self).exp().add(one).recip()
    }
}

/// A loop over lanes of any kind. Mark `run` `#[inline(always)]`.
pub(crate) trait Kernel {
    type Out;
    fn run<V: Lanes>(self) -> Self::Out;
}

/// Runs a kernel on the widest lanes of this machine.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Out {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512<K: Kernel>(kernel: K) -> K::Out {
            kernel.run::<wide::Register>()
        }
        if Isa::here() == Isa::Avx512 {
            // SAFETY: `Isa::here` has found every feature that the function enables on this machine.
            return unsafe { avx512(kernel) };
        }
    }
    simd::vectorised(
        #[inline(always)]
        || kernel.run::<[f32; LANES]>(),
    )
}

impl Lanes for [f32; LANES] {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        [x; LANES]
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        *x
    }

    #[inline(always)]
    fn load_half(x: &[u16; LANES]) -> Self {
        let mut out = [0.0; LANES];
        for i in 0..LANES {
            out[i] = float_of(x[i]);
        }
        out
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self;
    }

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for i in 0..LANES {
            self[i] += other[i];
        }
        self
    }

    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for i in 0..LANES {
            self[i] -= other[i];
        }
        self
    }

    #[inline(always)]
    fn mul(mut self, other: Self) -> Self {
        for i in 0..LANES {
            self[i] *= other[i];
        }
        self
    }

    #[inline(always)]
    fn fma(mut self, by: Self, to: Self) -> Self {
        for i in 0..LANES {
            self[i] = self[i].mul_add(by[i], to[i]);
        }
        self
    }

    #[inline(always)]
    fn max(mut self, other: Self) -> Self {
        for i in 0..LANES {
            self[i] = if self[i] > other[i] { self[i] } else { other[i] };
        }
        self
    }

    #[inline(always)]
    fn exp(mut self) -> Self {
        for i in 0..LANES {
            self[i] = simd::exp(self[i]);
        }
        self
    }

    #[inline(always)]
    fn recip(mut self) -> Self {
        for i in 0..LANES {
            self[i] = 1.0 / self[i];
        }
        self
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        simd::fold(self)
    }

    #[inline(always)]
    fn first(mut self, n: usize, other: Self) -> Self {
        for i in 0..LANES {
            self[i] = if i < n { self[i] } else { other[i] };
        }
        self
    }

    #[inline(always)]
    fn unless_below(counter: u32, threshold: u32, x: Self) -> [Self; 2] {
        let mut out = [x; 2];
        for i in 0..LANES {
            let draw = mix32(counter.wrapping_add(i as u32));
            out[0][i] = if draw & 0xFFFF < threshold { 0.0 } else { x[i] };
            out[1][i] = if draw >> 16 < threshold { 0.0 } else { x[i] };
        }
        out
    }
}

/// AVX-512 registers.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m512, _CMP_LT_OQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm256_loadu_si256,
        _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_cmp_ps_mask, _mm512_cmpge_epu32_mask,
        _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_mask_blend_ps,
        _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_mullo_epi32, _mm512_rcp14_ps,
        _mm512_reduce_add_ps, _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set_epi32, _mm512_set1_epi32,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_srli_epi32, _mm512_storeu_ps, _mm512_sub_ps,
        _mm512_xor_si512,
    };

    use super::{LANES, Lanes};

    /// One register. Only [`dispatch`](super::dispatch) names it, after it has found the features.
    #[derive(Clone, Copy)]
    pub(super) struct Register(__m512);

    // SAFETY of every block below: the type is private to this module and its parent, which names it only
    // where AVX-512F was found; pointers come from references to 16 numbers.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Register {
        #[inline(always)]
        fn splat(x: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(x) })
        }

        #[inline(always)]
        fn load(x: &[f32; LANES]) -> Self {
            Self(unsafe { _mm512_loadu_ps(x.as_ptr()) })
        }

        #[inline(always)]
        fn load_half(x: &[u16; LANES]) -> Self {
            Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) })
        }

        #[inline(always)]
        fn store(self, to: &mut [f32; LANES]) {
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm512_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn fma(self, by: Self, to: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, by.0, to.0) })
        }

        #[inline(always)]
        fn max(self, other: Self) -> Self {
            // The instruction gives its second operand if either is not a number.
            Self(unsafe { _mm512_max_ps(self.0, other.0) })
        }

        /// The steps of [`simd::exp`](crate::simd::exp), with the instruction for `· 2ⁿ`.
        #[inline(always)]
        fn exp(self) -> Self {
            unsafe {
                let c = |x: f32| _mm512_set1_ps(x);
                let under = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, c(-87.3));
                // Bounds come first: the second operand wins if it is not a number.
                let x = _mm512_max_ps(c(-87.3), _mm512_min_ps(c(88.3), self.0));
                let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(
                    _mm512_mul_ps(x, c(std::f32::consts::LOG2_E)),
                );
                let r = _mm512_fmadd_ps(n, c(-0.693_359_4), x);
                let r = _mm512_fmadd_ps(n, c(2.121_944_4e-4), r);
                let mut p = c(1.987_569_1e-4);
                p = _mm512_fmadd_ps(p, r, c(1.398_2e-3));
                p = _mm512_fmadd_ps(p, r, c(8.333_452e-3));
                p = _mm512_fmadd_ps(p, r, c(4.166_579_6e-2));
                p = _mm512_fmadd_ps(p, r, c(1.666_666_5e-1));
                p = _mm512_fmadd_ps(p, r, c(0.5));
                let p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, c(1.0)));
                Self(_mm512_mask_blend_ps(under, _mm512_scalef_ps(p, n), _mm512_setzero_ps()))
            }
        }

        #[inline(always)]
        fn recip(self) -> Self {
            unsafe {
                // 14 bits, then one step of Newton's method.
                let y = _mm512_rcp14_ps(self.0);
                let error = _mm512_fnmadd_ps(self.0, y, _mm512_set1_ps(1.0));
                Self(_mm512_fmadd_ps(y, error, y))
            }
        }

        #[inline(always)]
        fn sum(self) -> f32 {
            unsafe { _mm512_reduce_add_ps(self.0) }
        }

        #[inline(always)]
        fn first(self, n: usize, other: Self) -> Self {
            let mask = (1_u32 << n.min(LANES)).wrapping_sub(1) as u16;
            Self(unsafe { _mm512_mask_blend_ps(mask, other.0, self.0) })
        }

        /// The steps of [`mix32`](crate::random::mix32).
        #[inline(always)]
        fn unless_below(counter: u32, threshold: u32, x: Self) -> [Self; 2] {
            unsafe {
                let c = |x: u32| _mm512_set1_epi32(x as i32);
                let lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
                let mut z = _mm512_add_epi32(c(counter), lane);
                z = _mm512_xor_si512(z, _mm512_srli_epi32::<16>(z));
                z = _mm512_mullo_epi32(z, c(0x7FEB_352D));
                z = _mm512_xor_si512(z, _mm512_srli_epi32::<15>(z));
                z = _mm512_mullo_epi32(z, c(0x846C_A68B));
                let high = _mm512_srli_epi32::<16>(z);
                let low = _mm512_and_si512(_mm512_xor_si512(z, high), c(0xFFFF));
                let least = c(threshold);
                let (low, high) = (_mm512_cmpge_epu32_mask(low, least), _mm512_cmpge_epu32_mask(high, least));
                let none = _mm512_setzero_ps();
                [Self(_mm512_mask_blend_ps(low, none, x.0)), Self(_mm512_mask_blend_ps(high, none, x.0))]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    struct Check<'a>(&'a [f32; LANES], &'a [f32; LANES]);

    impl Kernel for Check<'_> {
        type Out = Vec<[f32; LANES]>;

        #[inline(always)]
        fn run<V: Lanes>(self) -> Self::Out {
            let (a, b) = (V::load(self.0), V::load(self.1));
            let at_least_1 = a.mul(a).add(V::splat(1.0));
            let results = [
                a.add(b),
                a.sub(b),
                a.mul(b),
                a.fma(b, a),
                a.max(b),
                a.exp(),
                at_least_1.recip(),
                a.sigmoid(),
                V::splat(a.sum()),
                V::load_part(&self.0[..5], 3.0),
                a.first(0, b),
                a.first(7, b),
                a.first(LANES, b),
                V::unless_below(self.0[0].to_bits(), 30_000, b)[0],
                V::unless_below(self.0[0].to_bits(), 30_000, b)[1],
            ];
            let mut out = vec![[0.0; LANES]; results.len() + 1];
            for (result, out) in results.iter().zip(&mut out) {
                result.store(out);
            }
            a.store_part(&mut out[results.len()][..3]);
            out
        }
    }

    fn check(a: &[f32; LANES], b: &[f32; LANES]) {
        let (fast, plain) = (dispatch(Check(a, b)), Check(a, b).run::<[f32; LANES]>());
        for (operation, (fast, plain)) in fast.iter().zip(&plain).enumerate() {
            for (f, p) in fast.iter().zip(plain) {
                let close = (f - p).abs() <= 4e-7 * p.abs() + 1e-37;
                assert!(close || f == p || f.is_nan() && p.is_nan(), "{operation}: {f} {p} of {a:?}");
            }
        }
    }

    #[test]
    fn registers_do_what_arrays_do() {
        for seed in 0..200 {
            let scale = [0.1, 1.0, 10.0, 40.0][seed as usize % 4];
            let (a, b) = (values(seed, LANES, scale), values(seed + 1000, LANES, 1.0));
            check(a.as_slice().try_into().unwrap(), b.as_slice().try_into().unwrap());
        }
    }

    #[test]
    fn extremes_are_those_of_the_plain_functions() {
        let mut a = [0.0; LANES];
        a[..8].copy_from_slice(&[1e30, -1e30, f32::NEG_INFINITY, 88.3, -87.3, -87.4, 200.0, -200.0]);
        let exp = |a: &[f32; LANES]| dispatch(Check(a, &[0.0; LANES]))[5];
        for (x, y) in a.iter().zip(exp(&a)) {
            assert!((y - simd::exp(*x)).abs() <= 4e-7 * y, "{x}: {y}");
        }
        a[3] = f32::NAN;
        assert!(exp(&a)[3].is_nan());
        // Not a number is passed over by the greater one.
        assert_eq!(dispatch(Check(&a, &[2.0; LANES]))[4][3], 2.0);
    }
}
