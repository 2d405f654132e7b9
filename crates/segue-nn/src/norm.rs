//! LayerNorm (Ba, Kiros & Hinton 2016) and RMSNorm (Zhang & Sennrich 2019), row by row.

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::simd::{self, LANES, vectorised};
use crate::{Init, Layout, Param};

/// Added to the mean square, so that a row of equal numbers has a norm.
const EPSILON: f32 = 1e-6;

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// `(x - mean) / √(variance + ε) · gain + bias`.
    Layer,
    /// `x / √(mean of squares + ε) · gain`.
    Rms,
}

/// A norm with its gain and, for LayerNorm, its bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Norm {
    /// `[d]`.
    pub gain: Param,
    /// `[d]`, of a LayerNorm.
    pub bias: Option<Param>,
}

impl Norm {
    /// Adds `NAME.weight` and, for LayerNorm, `NAME.bias` to the layout.
    pub fn new(layout: &mut Layout, name: &str, d: usize, kind: NormKind) -> Self {
        Self {
            gain: layout.vector(format!("{name}.weight"), d, Init::Ones),
            bias: (kind == NormKind::Layer).then(|| layout.vector(format!("{name}.bias"), d, Init::Zeros)),
        }
    }

    /// Fills `y` `[n, d]` from `x` `[n, d]`.
    pub fn forward(&self, params: &[f32], x: &[f32], y: &mut [f32]) {
        dispatch(Forward { gain: self.gain.of(params), bias: self.bias.map(|b| b.of(params)), x, y });
    }

    /// Adds the gradients of gain and bias to `grads` and that of the input to `dx` `[n, d]`.
    ///
    /// With `x̂` the normalised row and `g = dy · gain`:
    /// `dx = (g - mean(g) - x̂ mean(g x̂)) / σ`; RMSNorm lacks the `mean(g)`.
    pub fn backward(&self, params: &[f32], x: &[f32], dy: &[f32], dx: &mut [f32], grads: &mut [f32]) {
        let gain = self.gain.of(params);
        let d = gain.len();
        if let Some(bias) = self.bias {
            let db = bias.of_mut(grads);
            vectorised(
                #[inline(always)]
                || {
                    for dy in dy.chunks_exact(d) {
                        simd::axpy(1.0, dy, db);
                    }
                },
            );
        }
        let centred = self.bias.is_some();
        dispatch(Backward { gain, centred, x, dy, dx, d_gain: self.gain.of_mut(grads) });
    }
}

struct Forward<'a> {
    gain: &'a [f32],
    bias: Option<&'a [f32]>,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        match self.gain.len() {
            64 => self.rows::<V, 4>(),
            128 => self.rows::<V, 8>(),
            _ => self.rows::<V, 0>(),
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn rows<V: Lanes, const N: usize>(self) {
        let d = size::<N>(self.gain.len());
        let bias = self.bias.unwrap_or_default();
        for (x, y) in self.x.chunks_exact(d).zip(self.y.chunks_exact_mut(d)) {
            let (mean, inverse) = moments::<V, N>(x, self.bias.is_some());
            for at in 0..registers::<N>(d) {
                let at = at * LANES;
                let unit = part::<V, N>(x, at, mean).sub(V::splat(mean)).mul(V::splat(inverse));
                let offset = if bias.is_empty() { V::splat(0.0) } else { part::<V, N>(bias, at, 0.0) };
                keep::<V, N>(unit.fma(part::<V, N>(self.gain, at, 0.0), offset), y, at);
            }
        }
    }
}

struct Backward<'a> {
    gain: &'a [f32],
    centred: bool,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    d_gain: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        match self.gain.len() {
            64 => self.rows::<V, 4>(),
            128 => self.rows::<V, 8>(),
            _ => self.rows::<V, 0>(),
        }
    }
}

impl Backward<'_> {
    #[inline(always)]
    fn rows<V: Lanes, const N: usize>(self) {
        let d = size::<N>(self.gain.len());
        let n = d as f32;
        let rows = self.x.chunks_exact(d).zip(self.dy.chunks_exact(d)).zip(self.dx.chunks_exact_mut(d));
        for ((x, dy), dx) in rows {
            let (mean, inverse) = moments::<V, N>(x, self.centred);
            let (mean, scale) = (V::splat(mean), V::splat(inverse));
            let (mut along, mut total) = (V::splat(0.0), V::splat(0.0));
            for at in 0..registers::<N>(d) {
                let at = at * LANES;
                let unit = part::<V, N>(x, at, 0.0).sub(mean).mul(scale);
                let dy = part::<V, N>(dy, at, 0.0);
                let g = dy.mul(part::<V, N>(self.gain, at, 0.0));
                keep::<V, N>(dy.fma(unit, part::<V, N>(self.d_gain, at, 0.0)), self.d_gain, at);
                along = g.fma(unit, along);
                total = total.add(g);
            }
            let along = V::splat(along.sum() / n);
            let total = V::splat(if self.centred { total.sum() / n } else { 0.0 });
            for at in 0..registers::<N>(d) {
                let at = at * LANES;
                let unit = part::<V, N>(x, at, 0.0).sub(mean).mul(scale);
                let g = part::<V, N>(dy, at, 0.0)
                    .mul(part::<V, N>(self.gain, at, 0.0))
                    .sub(total)
                    .sub(unit.mul(along));
                keep::<V, N>(g.fma(scale, part::<V, N>(dx, at, 0.0)), dx, at);
            }
        }
    }
}

/// The mean (0 for RMSNorm) and one over the standard deviation of a row.
#[inline(always)]
fn moments<V: Lanes, const N: usize>(x: &[f32], centred: bool) -> (f32, f32) {
    let n = x.len() as f32;
    let mut mean = 0.0;
    if centred {
        let mut sums = V::splat(0.0);
        for at in 0..registers::<N>(x.len()) {
            let at = at * LANES;
            sums = sums.add(part::<V, N>(x, at, 0.0));
        }
        mean = sums.sum() / n;
    }
    let mut squares = V::splat(0.0);
    for at in 0..registers::<N>(x.len()) {
        let at = at * LANES;
        // What is filled up differs from the mean by nothing.
        let off = part::<V, N>(x, at, mean).sub(V::splat(mean));
        squares = off.fma(off, squares);
    }
    (mean, 1.0 / (squares.sum() / n + EPSILON).sqrt())
}

/// `d`, which is `N` whole registers, if `N` is given: then loops over a row are unrolled.
#[inline(always)]
fn size<const N: usize>(d: usize) -> usize {
    if N > 0 { N * LANES } else { d }
}

/// Registers of a row, the last one perhaps in part.
#[inline(always)]
fn registers<const N: usize>(d: usize) -> usize {
    if N > 0 { N } else { d.div_ceil(LANES) }
}

/// Numbers from `at` on, `fill` after the last.
#[inline(always)]
fn part<V: Lanes, const N: usize>(x: &[f32], at: usize, fill: f32) -> V {
    let x = &x[at..];
    match x.first_chunk::<LANES>() {
        Some(whole) => V::load(whole),
        None if N > 0 => unreachable!("a row of whole registers"),
        None => V::load_part(x, fill),
    }
}

/// Stores numbers from `at` on, as many as there are.
#[inline(always)]
fn keep<V: Lanes, const N: usize>(lanes: V, x: &mut [f32], at: usize) {
    let x = &mut x[at..];
    match x.first_chunk_mut::<LANES>() {
        Some(whole) => lanes.store(whole),
        None if N > 0 => unreachable!("a row of whole registers"),
        None => lanes.store_part(x),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::*;

    fn reference(x: &[f64], gain: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
        let d = gain.len();
        x.chunks_exact(d)
            .flat_map(|x| {
                let mean = if bias.is_some() { x.iter().sum::<f64>() / d as f64 } else { 0.0 };
                let square = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / d as f64;
                let sd = (square + f64::from(EPSILON)).sqrt();
                (0..d).map(|i| (x[i] - mean) / sd * gain[i] + bias.map_or(0.0, |b| b[i])).collect::<Vec<_>>()
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            n in 0_usize..5, d in 1_usize..40, layer in any::<bool>(), seed in any::<u64>(),
        ) {
            let kind = if layer { NormKind::Layer } else { NormKind::Rms };
            let mut layout = Layout::default();
            let norm = Norm::new(&mut layout, "n", d, kind);
            let params = values(seed, layout.len(), 1.0);
            let (x, dy) = (values(seed ^ 1, n * d, 2.0), values(seed ^ 2, n * d, 1.0));
            // A row of one number, or of nearly equal numbers, has a gradient too steep for differences.
            prop_assume!(d >= 4 || kind == NormKind::Rms && x.iter().all(|x| x.abs() > 0.3));
            let gain = f64s(norm.gain.of(&params));
            let bias = norm.bias.map(|b| f64s(b.of(&params)));
            let mut y = vec![f32::NAN; n * d];
            norm.forward(&params, &x, &mut y);
            close("y", &y, &reference(&f64s(&x), &gain, bias.as_deref()), 1e-4);
            let (mut dx, mut grads) = (vec![0.0; x.len()], vec![0.0; params.len()]);
            norm.backward(&params, &x, &dy, &mut dx, &mut grads);
            gradient("x", &x, &dx, |x| weighted(&reference(x, &gain, bias.as_deref()), &dy));
            gradient("gain", norm.gain.of(&params), norm.gain.of(&grads), |gain| {
                weighted(&reference(&f64s(&x), gain, bias.as_deref()), &dy)
            });
            if let Some(b) = norm.bias {
                gradient("bias", b.of(&params), b.of(&grads), |bias| {
                    weighted(&reference(&f64s(&x), &gain, Some(bias)), &dy)
                });
            }
        }
    }

    #[test]
    fn a_row_of_equal_numbers_is_finite() {
        let mut layout = Layout::default();
        let norm = Norm::new(&mut layout, "n", 3, NormKind::Layer);
        let params = layout.init(0);
        let (mut y, mut dx, mut grads) = ([f32::NAN; 3], [0.0; 3], vec![0.0; 6]);
        norm.forward(&params, &[5.0; 3], &mut y);
        assert_eq!(y, [0.0; 3]);
        norm.backward(&params, &[5.0; 3], &[1.0, 2.0, 3.0], &mut dx, &mut grads);
        assert!(dx.iter().all(|v| v.is_finite()));
    }
}
