//! What the tests of the blocks share: random values, jagged offsets, finite differences.

use proptest::prelude::*;

use crate::Counter;

/// `n` normal values times `scale`.
pub(crate) fn values(seed: u64, n: usize, scale: f32) -> Vec<f32> {
    let draws = Counter::new(seed, 9);
    (0..n as u64).map(|i| scale * draws.normal(i)).collect()
}

pub(crate) fn f64s(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

/// Lengths of sequences as offsets; 0 and 1 are among them often.
pub(crate) fn ragged() -> impl Strategy<Value = Vec<u32>> {
    let length = prop_oneof![Just(0_u32), Just(1), 2_u32..6, Just(35)];
    prop::collection::vec(length, 0..4).prop_map(|lengths| {
        let mut offsets = vec![0];
        for length in lengths {
            offsets.push(offsets[offsets.len() - 1] + length);
        }
        offsets
    })
}

/// Checks values against a reference.
pub(crate) fn close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(g) - w).abs() <= tolerance * (1.0 + w.abs()), "{what}[{i}]: {g}, reference {w}");
    }
}

/// Checks `got` against central differences of `f` at `x`; looks at up to 40 places.
pub(crate) fn gradient(what: &str, x: &[f32], got: &[f32], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), got.len(), "{what}");
    let at = f64s(x);
    let step = x.len().div_ceil(40).max(1);
    for i in (0..x.len()).step_by(step) {
        let h = 1e-5;
        let mut moved = at.clone();
        moved[i] += h;
        let up = f(&moved);
        moved[i] -= 2.0 * h;
        let want = (up - f(&moved)) / (2.0 * h);
        let error = (f64::from(got[i]) - want).abs();
        assert!(
            error <= 2e-3 * (1.0 + want.abs()),
            "gradient of {what}[{i}]: {}, differences {want}",
            got[i]
        );
    }
}

/// `Σ aᵢ bᵢ`: turns an output into one number whose gradient is `b`.
pub(crate) fn weighted(a: &[f64], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum()
}
