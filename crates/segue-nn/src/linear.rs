//! `y = x Wᵀ + b`, row by row.

use std::ops::Range;

use crate::matmul::{Start, matmul_from};
use crate::{Init, Layout, Mat, Param, matmul, simd};

/// A linear map. The weight is stored `[n_out, n_in]`, as PyTorch stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    /// `[n_out, n_in]`.
    pub weight: Param,
    /// `[n_out]`.
    pub bias: Option<Param>,
}

impl Linear {
    /// Adds the groups `NAME.weight` and, if asked for, `NAME.bias` to the layout.
    pub fn new(layout: &mut Layout, name: &str, n_in: usize, n_out: usize, bias: bool) -> Self {
        Self {
            weight: layout.matrix(format!("{name}.weight"), n_out, n_in, Init::Glorot),
            bias: bias.then(|| layout.vector(format!("{name}.bias"), n_out, Init::Zeros)),
        }
    }

    /// Size of an input row.
    #[must_use]
    pub fn n_in(&self) -> usize {
        self.weight.cols
    }

    /// Size of an output row.
    #[must_use]
    pub fn n_out(&self) -> usize {
        self.weight.rows
    }

    /// Fills `y` `[n, n_out]` from `x` `[n, n_in]`.
    pub fn forward(&self, params: &[f32], x: &[f32], y: &mut [f32]) {
        let (n_in, n_out) = (self.n_in(), self.n_out());
        let n = x.len() / n_in;
        let start = self.bias.map_or(Start::Zero, |bias| Start::Row(bias.of(params)));
        let weight = Mat::new(self.weight.of(params), n_out, n_in);
        matmul_from(y, n_out, start, Mat::new(x, n, n_in), weight.t());
    }

    /// As [`forward`](Self::forward) for some of the outputs: fills `y` `[n, outputs.len()]`, bit for bit.
    pub fn forward_part(&self, params: &[f32], outputs: Range<usize>, x: &[f32], y: &mut [f32]) {
        let (n_in, n_out) = (self.n_in(), outputs.len());
        let n = x.len() / n_in;
        let bias = self.bias.map(|bias| &bias.of(params)[outputs.clone()]);
        let start = bias.map_or(Start::Zero, Start::Row);
        let weight = &self.weight.of(params)[outputs.start * n_in..outputs.end * n_in];
        matmul_from(y, n_out, start, Mat::new(x, n, n_in), Mat::new(weight, n_out, n_in).t());
    }

    /// Adds the gradients of weight and bias to `grads`; fills `dx` `[n, n_in]`, or adds to it.
    pub fn backward(
        &self,
        params: &[f32],
        x: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        accumulate: bool,
        grads: &mut [f32],
    ) {
        self.parameters_backward(x, dy, grads);
        let (n_in, n_out) = (self.n_in(), self.n_out());
        let weight = Mat::new(self.weight.of(params), n_out, n_in);
        matmul(dx, n_in, accumulate, Mat::new(dy, x.len() / n_in, n_out), weight);
    }

    /// Adds the gradients of weight and bias to `grads`, and leaves that of the input to others.
    pub fn parameters_backward(&self, x: &[f32], dy: &[f32], grads: &mut [f32]) {
        let (n_in, n_out) = (self.n_in(), self.n_out());
        let n = x.len() / n_in;
        matmul(self.weight.of_mut(grads), n_in, true, Mat::new(dy, n, n_out).t(), Mat::new(x, n, n_in));
        if let Some(bias) = self.bias {
            let db = bias.of_mut(grads);
            simd::vectorised(
                #[inline(always)]
                || {
                    for row in dy.chunks_exact(n_out) {
                        simd::axpy(1.0, row, db);
                    }
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::*;

    fn reference(x: &[f64], w: &[f64], b: &[f64], n_in: usize, n_out: usize) -> Vec<f64> {
        x.chunks_exact(n_in)
            .flat_map(|x| {
                (0..n_out).map(move |o| b[o] + x.iter().zip(&w[o * n_in..]).map(|(x, w)| x * w).sum::<f64>())
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            n in 0_usize..20, n_in in 1_usize..20, n_out in 1_usize..20, seed in any::<u64>(),
        ) {
            let mut layout = Layout::default();
            let linear = Linear::new(&mut layout, "l", n_in, n_out, true);
            let params = values(seed, layout.len(), 0.5);
            let (x, dy) = (values(seed ^ 1, n * n_in, 1.0), values(seed ^ 2, n * n_out, 1.0));
            let mut y = vec![f32::NAN; n * n_out];
            linear.forward(&params, &x, &mut y);
            let (w, b) = (linear.weight.of(&params), linear.bias.unwrap().of(&params));
            close("y", &y, &reference(&f64s(&x), &f64s(w), &f64s(b), n_in, n_out), 1e-5);

            let (mut dx, mut grads) = (vec![f32::NAN; x.len()], vec![0.0; params.len()]);
            linear.backward(&params, &x, &dy, &mut dx, false, &mut grads);
            gradient("x", &x, &dx, |x| weighted(&reference(x, &f64s(w), &f64s(b), n_in, n_out), &dy));
            gradient("w", w, linear.weight.of(&grads), |w| {
                weighted(&reference(&f64s(&x), w, &f64s(b), n_in, n_out), &dy)
            });
            gradient("b", b, linear.bias.unwrap().of(&grads), |b| {
                weighted(&reference(&f64s(&x), &f64s(w), b, n_in, n_out), &dy)
            });
            let once = dx.clone();
            linear.backward(&params, &x, &dy, &mut dx, true, &mut grads);
            close("dx twice", &dx, &once.iter().map(|&v| 2.0 * f64::from(v)).collect::<Vec<_>>(), 1e-5);
        }
    }
}
