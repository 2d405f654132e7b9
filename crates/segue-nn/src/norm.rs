//! LayerNorm (Ba, Kiros & Hinton 2016) and RMSNorm (Zhang & Sennrich 2019), row by row.

use crate::simd::{self, vectorised};
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
        let gain = self.gain.of(params);
        let d = gain.len();
        let bias = self.bias.map(|b| b.of(params));
        vectorised(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
                    let (mean, inverse) = moments(x, bias.is_some());
                    match bias {
                        Some(bias) => {
                            for i in 0..d {
                                y[i] = ((x[i] - mean) * inverse).mul_add(gain[i], bias[i]);
                            }
                        }
                        None => {
                            for i in 0..d {
                                y[i] = x[i] * inverse * gain[i];
                            }
                        }
                    }
                }
            },
        );
    }

    /// Adds the gradients of gain and bias to `grads` and that of the input to `dx` `[n, d]`.
    ///
    /// With `x̂` the normalised row and `g = dy · gain`:
    /// `dx = (g - mean(g) - x̂ mean(g x̂)) / σ`; RMSNorm lacks the `mean(g)`.
    pub fn backward(&self, params: &[f32], x: &[f32], dy: &[f32], dx: &mut [f32], grads: &mut [f32]) {
        let gain = self.gain.of(params);
        let d = gain.len();
        let centred = self.bias.is_some();
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
        let d_gain = self.gain.of_mut(grads);
        vectorised(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d));
                for ((x, dy), dx) in rows {
                    let (mean, inverse) = moments(x, centred);
                    let (mut along, mut total) = ([0.0_f32; simd::LANES], [0.0_f32; simd::LANES]);
                    for i in 0..d {
                        let (unit, g) = ((x[i] - mean) * inverse, dy[i] * gain[i]);
                        d_gain[i] = dy[i].mul_add(unit, d_gain[i]);
                        along[i % simd::LANES] += g * unit;
                        total[i % simd::LANES] += g;
                    }
                    let along = simd::sum(&along) / d as f32;
                    let total = if centred { simd::sum(&total) / d as f32 } else { 0.0 };
                    for i in 0..d {
                        let unit = (x[i] - mean) * inverse;
                        dx[i] += (dy[i] * gain[i] - total - unit * along) * inverse;
                    }
                }
            },
        );
    }
}

/// The mean (0 for RMSNorm) and one over the standard deviation of a row.
#[inline(always)]
fn moments(x: &[f32], centred: bool) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = if centred { simd::sum(x) / n } else { 0.0 };
    let mut squares = [0.0_f32; simd::LANES];
    let (main, rest) = x.as_chunks::<{ simd::LANES }>();
    for x in main {
        for i in 0..simd::LANES {
            squares[i] = (x[i] - mean).mul_add(x[i] - mean, squares[i]);
        }
    }
    let rest: f32 = rest.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, 1.0 / ((simd::sum(&squares) + rest) / n + EPSILON).sqrt())
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
