//! Loops that the compiler turns into the widest vectors of the machine it runs on.
//!
//! [`vectorised`] compiles its closure once per instruction set (AVX-512, AVX2 + FMA, NEON, plain)
//! and picks one at run time. The helpers here are `inline(always)` so that they take part.

/// Independent partial sums of a reduction: a full AVX-512 register of `f32`.
pub const LANES: usize = 16;

/// Instruction sets that code is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512: registers of 16 numbers, 32 of them.
    Avx512,
    /// AVX2 with fused multiply-add: registers of 8 numbers, 16 of them.
    Avx2,
    /// What the compilation target promises, such as NEON on AArch64.
    Plain,
}

impl Isa {
    /// The widest one of this machine.
    #[inline(always)]
    #[must_use]
    pub fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            // Each test is one load of a cached word.
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("fma")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Plain
    }
}

/// Runs `f` compiled for the widest instruction set of this machine.
///
/// Write the closure as `#[inline(always)] || …`: only code that is inlined is compiled anew, and a
/// large closure is not by itself. What it calls in a loop should be `inline(always)` too.
#[inline(always)]
pub fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        match Isa::here() {
            // SAFETY: `Isa::here` has found every feature that the function enables on this machine.
            Isa::Avx512 => return unsafe { avx512(f) },
            // SAFETY: as above.
            Isa::Avx2 => return unsafe { avx2(f) },
            Isa::Plain => {}
        }
    }
    f()
}

/// `Σ aᵢ bᵢ`, in [`LANES`] partial sums.
#[inline(always)]
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut sums = [0.0_f32; LANES];
    let (a_main, a_rest) = a.as_chunks::<LANES>();
    let (b_main, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_main.iter().zip(b_main) {
        for i in 0..LANES {
            sums[i] = x[i].mul_add(y[i], sums[i]);
        }
    }
    let mut sum = fold(sums);
    for (x, y) in a_rest.iter().zip(b_rest) {
        sum = x.mul_add(*y, sum);
    }
    sum
}

/// `Σ xᵢ`, in [`LANES`] partial sums.
#[inline(always)]
#[must_use]
pub fn sum(x: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (main, rest) = x.as_chunks::<LANES>();
    for x in main {
        for i in 0..LANES {
            sums[i] += x[i];
        }
    }
    fold(sums) + rest.iter().sum::<f32>()
}

/// The greatest number; `-∞` if there is none. Not-a-number is passed over.
#[inline(always)]
#[must_use]
pub fn max(x: &[f32]) -> f32 {
    let mut best = [f32::NEG_INFINITY; LANES];
    let (main, rest) = x.as_chunks::<LANES>();
    for x in main {
        for i in 0..LANES {
            best[i] = if x[i] > best[i] { x[i] } else { best[i] };
        }
    }
    rest.iter().fold(fold_max(best), |a, &b| if b > a { b } else { a })
}

/// `y += a x`.
#[inline(always)]
pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = x.mul_add(a, *y);
    }
}

/// `y += x`, vectorised.
pub fn add(x: &[f32], y: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (y, x) in y.iter_mut().zip(x) {
                *y += x;
            }
        },
    );
}

/// Whether every number is finite.
#[must_use]
pub fn all_finite(x: &[f32]) -> bool {
    // Zero times anything finite is zero; times anything else it is not a number.
    vectorised(
        #[inline(always)]
        || {
            let mut sums = [0.0_f32; LANES];
            let (main, rest) = x.as_chunks::<LANES>();
            for x in main {
                for i in 0..LANES {
                    sums[i] += x[i] * 0.0;
                }
            }
            fold(sums) == 0.0 && rest.iter().all(|x| x.is_finite())
        },
    )
}

/// `eˣ` to about 2 units in the last place; 0 below -87.3, the largest number above 88.3.
///
/// Range reduction to `|r| ≤ ½ ln 2` and a polynomial (Cephes `expf`, S. Moshier). It has no
/// branches, so that loops over it vectorise. Not-a-number stays so.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low bits.
    let under = x < -87.3;
    // Written with comparisons, since `clamp` and `max` would hide not-a-number.
    let x = if x > 88.3 { 88.3 } else { x };
    let x = if x < -87.3 { -87.3 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_2e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r + 1.0);
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let y = p * scale;
    if under { 0.0 } else { y }
}

/// `1 / (1 + e⁻ˣ)`, without overflow at any `x`.
#[inline(always)]
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `ln(1 + eˣ)`, without overflow and without losing small values: `max(x, 0) + ln(1 + e^-|x|)`.
#[inline(always)]
#[must_use]
pub fn softplus(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + exp(-x.abs()).ln_1p()
}

/// The greatest of all lanes.
#[inline(always)]
#[must_use]
pub fn fold_max(best: [f32; LANES]) -> f32 {
    let mut b = best;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            b[i] = if b[i + width] > b[i] { b[i + width] } else { b[i] };
        }
        width /= 2;
    }
    b[0]
}

/// The sum of all lanes, halves first.
#[inline(always)]
#[must_use]
pub fn fold(sums: [f32; LANES]) -> f32 {
    let mut s = sums;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            s[i] += s[i + width];
        }
        width /= 2;
    }
    s[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exp_is_that_of_the_standard_library(x in -87.0_f32..88.0) {
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            prop_assert!(((got - want) / want).abs() < 3e-7, "{x}: {got} {want}");
        }

        #[test]
        fn reductions_are_those_of_plain_loops(x in prop::collection::vec(-3.0_f32..3.0, 0..70)) {
            let f64s = x.iter().map(|&v| f64::from(v));
            prop_assert!((f64::from(sum(&x)) - f64s.clone().sum::<f64>()).abs() < 1e-4);
            prop_assert!((f64::from(dot(&x, &x)) - f64s.map(|v| v * v).sum::<f64>()).abs() < 1e-3);
            prop_assert_eq!(max(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }

    #[test]
    fn extremes_neither_overflow_nor_hide_what_is_not_a_number() {
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(1e30).is_finite());
        assert!(exp(f32::NAN).is_nan());
        assert!(sigmoid(f32::NAN).is_nan());
        assert_eq!(sigmoid(200.0), 1.0);
        assert!(sigmoid(-200.0) < 1e-37);
        assert_eq!(softplus(200.0), 200.0);
        assert_eq!(softplus(-200.0), 0.0);
        assert!((f64::from(softplus(-10.0)) - 4.539_889_921e-5).abs() < 1e-10);
        assert!(!all_finite(&[1.0, f32::NAN]));
        let mut many = vec![1.0; 100];
        assert!(all_finite(&many));
        many[40] = f32::INFINITY;
        assert!(!all_finite(&many));
    }
}
