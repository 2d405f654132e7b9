//! `y = x Wᵀ + b`, row by row.

use std::ops::Range;

use crate::matmul::{Packed, Right, Start, matmul_from};
use crate::{Init, Layout, Mat, Param, Pass, matmul, simd};

/// A linear map. The weight is stored `[n_out, n_in]`, as PyTorch stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    /// `[n_out, n_in]`.
    pub weight: Param,
    /// `[n_out]`.
    pub bias: Option<Param>,
    /// Where the weight stands among packed ones.
    packed: usize,
}

impl Linear {
    /// Adds the groups `NAME.weight` and, if asked for, `NAME.bias` to the layout.
    pub fn new(layout: &mut Layout, name: &str, n_in: usize, n_out: usize, bias: bool) -> Self {
        let (weight, packed) = layout.weight(format!("{name}.weight"), n_out, n_in);
        let bias = bias.then(|| layout.vector(format!("{name}.bias"), n_out, Init::Zeros));
        Self { weight, bias, packed }
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
    pub fn forward(&self, pass: &Pass<'_>, x: &[f32], y: &mut [f32]) {
        let (n_in, n_out) = (self.n_in(), self.n_out());
        let n = x.len() / n_in;
        matmul_from(y, n_out, self.start(pass), Mat::new(x, n, n_in), self.turned(pass));
    }

    /// As [`forward`](Self::forward) for some of the outputs: fills `y` `[n, outputs.len()]`, bit for bit.
    pub fn forward_part(&self, pass: &Pass<'_>, outputs: Range<usize>, x: &[f32], y: &mut [f32]) {
        let n_in = self.n_in();
        let bias = self.bias.map(|bias| &bias.of(pass.params)[outputs.clone()]);
        let start = bias.map_or(Start::Zero, Start::Row);
        let n_out = outputs.len();
        let part = match self.turned(pass) {
            Right::Packed(weight) => weight.columns(outputs.clone()).map(Right::Packed),
            Right::Plain(_) => None,
        };
        let part = part.unwrap_or_else(|| {
            let weight = &self.weight.of(pass.params)[outputs.start * n_in..outputs.end * n_in];
            Right::Plain(Mat::new(weight, n_out, n_in).t())
        });
        matmul_from(y, n_out, start, Mat::new(x, x.len() / n_in, n_in), part);
    }

    /// What sums begin from: the bias, if there is one.
    pub(crate) fn start<'a>(&self, pass: &Pass<'a>) -> Start<'a> {
        self.bias.map_or(Start::Zero, |bias| Start::Row(bias.of(pass.params)))
    }

    /// The weight `[n_in, n_out]`, packed if the pass has it so.
    pub(crate) fn turned<'a>(&self, pass: &Pass<'a>) -> Right<'a> {
        let (n_in, n_out) = (self.n_in(), self.n_out());
        if pass.packed.is_empty() {
            return Right::Plain(Mat::new(self.weight.of(pass.params), n_out, n_in).t());
        }
        let packed = &pass.packed[self.packed..self.packed + Packed::size(n_in, n_out)];
        Right::Packed(Packed::new(packed, n_in, n_out))
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
            let pass = Pass::of(&params);
            let (x, dy) = (values(seed ^ 1, n * n_in, 1.0), values(seed ^ 2, n * n_out, 1.0));
            let mut y = vec![f32::NAN; n * n_out];
            linear.forward(&pass, &x, &mut y);
            let mut packed = Vec::new();
            layout.pack(&params, &mut packed);
            let mut again = vec![f32::NAN; n * n_out];
            linear.forward(&Pass { packed: &packed, ..pass }, &x, &mut again);
            prop_assert_eq!(&y, &again);
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

        #[test]
        fn some_of_the_outputs_are_those_of_all_packed_or_not(
            n in 1_usize..20, n_in in 1_usize..70, first in prop_oneof![Just(0_usize), Just(32), Just(64), 0_usize..80],
            len in 1_usize..70, after in 0_usize..40, seed in any::<u64>(),
        ) {
            let n_out = first + len + after;
            let mut layout = Layout::default();
            layout.weight("other", 3, 5);
            let linear = Linear::new(&mut layout, "l", n_in, n_out, true);
            let params = values(seed, layout.len(), 0.5);
            let x = values(seed ^ 1, n * n_in, 1.0);
            let mut packed = Vec::new();
            layout.pack(&params, &mut packed);
            let plain = Pass::of(&params);
            let mut all = vec![f32::NAN; n * n_out];
            linear.forward(&plain, &x, &mut all);
            let want: Vec<f32> = all.chunks_exact(n_out).flat_map(|y| &y[first..first + len]).copied().collect();
            for pass in [plain, Pass { packed: &packed, ..plain }] {
                let mut part = vec![f32::NAN; n * len];
                linear.forward_part(&pass, first..first + len, &x, &mut part);
                prop_assert_eq!(&part, &want);
            }
        }
    }
}
