//! The feed-forward part of a block: up, activation, dropout, down.

use crate::workspace::{Carve, CarveRef, Pass};
use crate::{Dropout, Layout, Linear, gelu, swiglu};

/// What stands between the two linear maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// [`gelu`].
    Gelu,
    /// [`swiglu`]; the map upward is twice as wide.
    SwiGlu,
}

/// `down(dropout(activation(up(x))))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mlp {
    up: Linear,
    down: Linear,
    activation: Activation,
    dropout: Dropout,
    site: u32,
}

impl Mlp {
    /// Adds `NAME.up` and `NAME.down` to the layout; `hidden` numbers reach the map downward.
    /// `site` is its place for dropout.
    pub fn new(
        layout: &mut Layout,
        name: &str,
        d: usize,
        hidden: usize,
        activation: Activation,
        dropout: Dropout,
        site: u32,
    ) -> Self {
        let bias = activation == Activation::Gelu;
        let width = if activation == Activation::SwiGlu { 2 * hidden } else { hidden };
        Self {
            up: Linear::new(layout, &format!("{name}.up"), d, width, bias),
            down: Linear::new(layout, &format!("{name}.down"), hidden, d, bias),
            activation,
            dropout,
            site,
        }
    }

    /// The maps upward and downward.
    #[must_use]
    pub fn linears(&self) -> [Linear; 2] {
        [self.up, self.down]
    }

    /// Numbers kept for the backward pass of `n` tokens.
    #[must_use]
    pub fn saved_len(&self, n: usize) -> usize {
        n * (self.up.n_out() + self.down.n_in())
    }

    /// Numbers of scratch of the backward pass of `n` tokens.
    #[must_use]
    pub fn scratch_len(&self, n: usize) -> usize {
        n * (self.up.n_out() + self.down.n_in())
    }

    /// Fills `y` `[n, d]` from `x` `[n, d]`.
    pub fn forward(&self, pass: &Pass<'_>, x: &[f32], saved: &mut [f32], y: &mut [f32]) {
        let n = x.len() / self.up.n_in();
        let mut saved = Carve::new(saved);
        let wide = saved.take(n * self.up.n_out());
        let hidden = saved.take(n * self.down.n_in());
        self.up.forward(pass, x, wide);
        match self.activation {
            Activation::Gelu => gelu::forward(wide, hidden),
            Activation::SwiGlu => swiglu::forward(wide, self.down.n_in(), hidden),
        }
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(self.site), 0, hidden);
        }
        self.down.forward(pass, hidden, y);
    }

    /// Adds the gradients of the parameters to `grads`; fills `dx` `[n, d]`.
    pub fn backward(
        &self,
        pass: &Pass<'_>,
        x: &[f32],
        saved: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        scratch: &mut [f32],
        grads: &mut [f32],
    ) {
        let n = x.len() / self.up.n_in();
        let f = self.down.n_in();
        let mut saved = CarveRef::new(saved);
        let wide = saved.take(n * self.up.n_out());
        let hidden = saved.take(n * f);
        let mut scratch = Carve::new(scratch);
        let d_hidden = scratch.take(n * f);
        self.down.backward(pass.params, hidden, dy, d_hidden, false, grads);
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(self.site), 0, d_hidden);
        }
        match self.activation {
            Activation::Gelu => {
                gelu::backward(wide, d_hidden);
                self.up.backward(pass.params, x, d_hidden, dx, false, grads);
            }
            Activation::SwiGlu => {
                let d_wide = scratch.take(n * 2 * f);
                swiglu::backward(wide, f, d_hidden, d_wide);
                self.up.backward(pass.params, x, d_wide, dx, false, grads);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Noise;
    use crate::testing::*;

    fn reference(mlp: &Mlp, params: &[f64], x: &[f64], mask: &[f64]) -> Vec<f64> {
        let (d, f) = (mlp.up.n_in(), mlp.down.n_in());
        let at = |linear: &Linear, o: usize, x: &[f64]| {
            let row = &params[linear.weight.range()][o * x.len()..(o + 1) * x.len()];
            linear.bias.map_or(0.0, |b| params[b.range()][o])
                + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()
        };
        x.chunks_exact(d)
            .enumerate()
            .flat_map(|(t, x)| {
                let hidden: Vec<f64> = (0..f)
                    .map(|i| {
                        let a = at(&mlp.up, i, x);
                        mask[t * f + i]
                            * match mlp.activation {
                                Activation::Gelu => {
                                    let inner =
                                        (2.0 / std::f64::consts::PI).sqrt() * (a + 0.044_715 * a.powi(3));
                                    0.5 * a * (1.0 + inner.tanh())
                                }
                                Activation::SwiGlu => a / (1.0 + (-a).exp()) * at(&mlp.up, f + i, x),
                            }
                    })
                    .collect();
                (0..d).map(|o| at(&mlp.down, o, &hidden)).collect::<Vec<_>>()
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            n in 0_usize..6, d in 1_usize..9, hidden in 1_usize..20, gated in any::<bool>(), seed in any::<u64>(),
        ) {
            let activation = if gated { Activation::SwiGlu } else { Activation::Gelu };
            let mut layout = Layout::default();
            let mlp = Mlp::new(&mut layout, "m", d, hidden, activation, Dropout::new(0.4), 3);
            let params = values(seed, layout.len(), 0.7);
            let (x, dy) = (values(seed ^ 1, n * d, 1.0), values(seed ^ 2, n * d, 1.0));
            let noise = Noise::new(seed, 1, 2);
            let pass = Pass { params: &params, packed: &[], offsets: &[], noise: Some(noise) };
            let mut mask = vec![1.0; n * hidden];
            mlp.dropout.apply(noise.site(3), 0, &mut mask);
            let mask = f64s(&mask);
            let mut saved = vec![f32::NAN; mlp.saved_len(n)];
            let mut y = vec![f32::NAN; n * d];
            mlp.forward(&pass, &x, &mut saved, &mut y);
            close("y", &y, &reference(&mlp, &f64s(&params), &f64s(&x), &mask), 1e-4);
            let (mut dx, mut grads) = (vec![f32::NAN; n * d], vec![0.0; params.len()]);
            let mut scratch = vec![f32::NAN; mlp.scratch_len(n)];
            mlp.backward(&pass, &x, &saved, &dy, &mut dx, &mut scratch, &mut grads);
            gradient("x", &x, &dx, |x| weighted(&reference(&mlp, &f64s(&params), x, &mask), &dy));
            gradient("params", &params, &grads, |p| weighted(&reference(&mlp, p, &f64s(&x), &mask), &dy));
        }
    }
}
