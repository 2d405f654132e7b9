//! A gated recurrent layer (Cho et al. 2014) over jagged batches, with backward through time.
//!
//! ```text
//! r = σ(W_r x + b_r + U_r h + c_r)                  h is the state after the event before
//! z = σ(W_z x + b_z + U_z h + c_z)
//! c = tanh(W_c x + b_c + r ⊙ (U_c h + c_c))
//! state = (1 - z) ⊙ c + z ⊙ h;   y = dropout(state)
//! ```
//!
//! The gates are PyTorch's, in its order. Inputs of all tokens go through `W` at once; states go through
//! `U` step by step, all sequences that are long enough together.

use crate::matmul::{matmul, matmul_from};
use crate::simd::{self, vectorised};
use crate::workspace::{Carve, CarveRef, Pass};
use crate::{Dropout, Layout, Linear, Mat};

/// The layer and its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gru {
    d: usize,
    /// `[3 d, d]`: `W` and `b`.
    input: Linear,
    /// `[3 d, d]`: `U` and `c`.
    state: Linear,
    dropout: Dropout,
    site: u32,
}

impl Gru {
    /// Adds the groups `NAME.…` of layer number `index` to the layout; input and state have `d` numbers.
    pub fn new(layout: &mut Layout, name: &str, index: u32, d: usize, dropout: f32) -> Self {
        Self {
            d,
            input: Linear::new(layout, &format!("{name}.input"), d, 3 * d, true),
            state: Linear::new(layout, &format!("{name}.state"), d, 3 * d, true),
            dropout: Dropout::new(dropout),
            site: 16 + index,
        }
    }

    /// Numbers kept for the backward pass.
    #[must_use]
    pub fn saved_len(&self, offsets: &[u32]) -> usize {
        5 * self.d * n_tokens(offsets)
    }

    /// Numbers of scratch of either pass.
    #[must_use]
    pub fn scratch_len(&self, offsets: &[u32]) -> usize {
        self.d * (7 * n_tokens(offsets) + 5 * offsets.len())
    }

    /// Fills `y` `[n, d]` from `x` `[n, d]`.
    pub fn forward(&self, pass: &Pass<'_>, x: &[f32], saved: &mut [f32], scratch: &mut [f32], y: &mut [f32]) {
        let d = self.d;
        let mut saved = Carve::new(saved);
        let state = saved.take(x.len());
        let kept = saved.take(4 * x.len());
        let mut scratch = Carve::new(scratch);
        let from_input = scratch.take(3 * x.len());
        let before = scratch.take(pass.offsets.len() * d);
        let from_state = scratch.take(pass.offsets.len() * 3 * d);
        let (state_map, state_bias) = (self.state.turned(pass), self.state.start(pass));

        self.input.forward(pass, x, from_input);
        for step in 0..longest(pass) {
            let mut n = 0;
            for token in tokens(pass, step) {
                let before = &mut before[n * d..(n + 1) * d];
                match step {
                    0 => before.fill(0.0),
                    _ => before.copy_from_slice(&state[(token - 1) * d..token * d]),
                }
                n += 1;
            }
            matmul_from(from_state, 3 * d, state_bias, Mat::new(before, n, d), state_map);
            for (row, token) in tokens(pass, step).enumerate() {
                cell(
                    &from_input[token * 3 * d..(token + 1) * 3 * d],
                    &from_state[row * 3 * d..(row + 1) * 3 * d],
                    &before[row * d..(row + 1) * d],
                    &mut kept[token * 4 * d..(token + 1) * 4 * d],
                    &mut state[token * d..(token + 1) * d],
                );
            }
        }
        y.copy_from_slice(state);
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(self.site), 0, y);
        }
    }

    /// Numbers of space of [`last`](Self::last).
    #[must_use]
    pub fn last_len(&self, offsets: &[u32]) -> usize {
        self.d * n_tokens(offsets) + self.saved_len(offsets) + self.scratch_len(offsets)
    }

    /// What [`forward`](Self::forward) without dropout gives for the last token of each sequence: fills `y`
    /// `[n_sequences, d]`, zeros for an empty sequence.
    pub fn last(&self, pass: &Pass<'_>, x: &[f32], space: &mut [f32], y: &mut [f32]) {
        let mut space = Carve::new(space);
        let all = space.take(x.len());
        let saved = space.take(self.saved_len(pass.offsets));
        let scratch = space.take(self.scratch_len(pass.offsets));
        self.forward(pass, x, saved, scratch, all);
        pass.gather_last(self.d, all, y);
    }

    /// Turns `d` from the gradient of `y` into that of `x`, both `[n, d]`, and adds the gradients of
    /// the parameters to `grads`.
    pub fn backward(
        &self,
        pass: &Pass<'_>,
        x: &[f32],
        saved: &[f32],
        d: &mut [f32],
        scratch: &mut [f32],
        grads: &mut [f32],
    ) {
        let (size, n_d) = (self.d, x.len());
        let mut saved = CarveRef::new(saved);
        let state = saved.take(n_d);
        let kept = saved.take(4 * n_d);
        let mut scratch = Carve::new(scratch);
        let before = scratch.take(n_d);
        let d_input = scratch.take(3 * n_d);
        let d_state = scratch.take(3 * n_d);
        // By sequence: what the state after this event is worth to later ones.
        let later = scratch.take(pass.offsets.len() * size);
        let packed = scratch.take(pass.offsets.len() * 3 * size);
        let through = scratch.take(pass.offsets.len() * size);

        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(self.site), 0, d);
        }
        for sequence in pass.sequences().filter(|s| !s.is_empty()) {
            let (first, rest) = before[sequence.start * size..sequence.end * size].split_at_mut(size);
            first.fill(0.0);
            rest.copy_from_slice(&state[sequence.start * size..(sequence.end - 1) * size]);
        }
        later.fill(0.0);
        let weight = Mat::new(self.state.weight.of(pass.params), 3 * size, size);
        for step in (0..longest(pass)).rev() {
            let mut n = 0;
            for (later, sequence) in later.chunks_exact_mut(size).zip(pass.sequences()) {
                if sequence.len() <= step {
                    continue;
                }
                let token = sequence.start + step;
                let (row, wide) =
                    (token * size..(token + 1) * size, token * 3 * size..(token + 1) * 3 * size);
                simd::add(&d[row.clone()], later);
                cell_backward(
                    &kept[token * 4 * size..(token + 1) * 4 * size],
                    &before[row],
                    later,
                    &mut d_input[wide.clone()],
                    &mut d_state[wide.clone()],
                );
                packed[n * 3 * size..(n + 1) * 3 * size].copy_from_slice(&d_state[wide]);
                n += 1;
            }
            matmul(through, size, false, Mat::new(packed, n, 3 * size), weight);
            let active = later.chunks_exact_mut(size).zip(pass.sequences()).filter(|(_, s)| s.len() > step);
            for ((later, _), through) in active.zip(through.chunks_exact(size)) {
                simd::add(through, later);
            }
        }
        self.state.parameters_backward(before, d_state, grads);
        self.input.backward(pass.params, x, d_input, d, false, grads);
    }
}

fn n_tokens(offsets: &[u32]) -> usize {
    offsets.last().map_or(0, |&n| n as usize)
}

fn longest(pass: &Pass<'_>) -> usize {
    pass.sequences().map(|s| s.len()).max().unwrap_or(0)
}

/// The token of each sequence that has one at `step`.
fn tokens<'a>(pass: &'a Pass<'a>, step: usize) -> impl Iterator<Item = usize> + 'a {
    pass.sequences().filter(move |s| s.len() > step).map(move |s| s.start + step)
}

/// One step of one sequence: from `W x + b` and `U h + c`, both `[3 d]`, and `h` `[d]` to the state `[d]`;
/// keeps `r`, `z`, the candidate and `U_c h + c_c`, `[4 d]`.
fn cell(from_input: &[f32], from_state: &[f32], before: &[f32], kept: &mut [f32], state: &mut [f32]) {
    let d = state.len();
    let (r, rest) = kept.split_at_mut(d);
    let (z, rest) = rest.split_at_mut(d);
    let (candidate, inner) = rest.split_at_mut(d);
    inner.copy_from_slice(&from_state[2 * d..]);
    vectorised(
        #[inline(always)]
        || {
            for i in 0..d {
                r[i] = simd::sigmoid(from_input[i] + from_state[i]);
                z[i] = simd::sigmoid(from_input[d + i] + from_state[d + i]);
                let x = r[i].mul_add(inner[i], from_input[2 * d + i]);
                // tanh
                candidate[i] = 2.0 * simd::sigmoid(2.0 * x) - 1.0;
                state[i] = z[i].mul_add(before[i] - candidate[i], candidate[i]);
            }
        },
    );
}

/// The backward pass of [`cell`]: fills the gradients of `W x + b` and of `U h + c`, both `[3 d]`, and turns
/// `later` from the gradient of the state into that of `h` beside `U`.
fn cell_backward(kept: &[f32], before: &[f32], later: &mut [f32], d_input: &mut [f32], d_state: &mut [f32]) {
    let d = later.len();
    let (r, rest) = kept.split_at(d);
    let (z, rest) = rest.split_at(d);
    let (candidate, inner) = rest.split_at(d);
    vectorised(
        #[inline(always)]
        || {
            for i in 0..d {
                let d_candidate = later[i] * (1.0 - z[i]) * (1.0 - candidate[i] * candidate[i]);
                let d_r = d_candidate * inner[i] * r[i] * (1.0 - r[i]);
                let d_z = later[i] * (before[i] - candidate[i]) * z[i] * (1.0 - z[i]);
                (d_input[i], d_state[i]) = (d_r, d_r);
                (d_input[d + i], d_state[d + i]) = (d_z, d_z);
                (d_input[2 * d + i], d_state[2 * d + i]) = (d_candidate, d_candidate * r[i]);
                later[i] *= z[i];
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Noise;
    use crate::testing::*;

    fn linear(l: &Linear, params: &[f64], x: &[f64]) -> Vec<f64> {
        let (w, b) = (&params[l.weight.range()], &params[l.bias.unwrap().range()]);
        (0..l.n_out())
            .map(|o| b[o] + (0..l.n_in()).map(|i| w[o * l.n_in() + i] * x[i]).sum::<f64>())
            .collect()
    }

    /// A plain layer in `f64`; `mask` multiplies its output.
    fn reference(gru: &Gru, offsets: &[u32], params: &[f64], x: &[f64], mask: &[f64]) -> Vec<f64> {
        let d = gru.d;
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut y = Vec::new();
        for w in offsets.windows(2) {
            let mut h = vec![0.0; d];
            for token in w[0] as usize..w[1] as usize {
                let a = linear(&gru.input, params, &x[token * d..(token + 1) * d]);
                let b = linear(&gru.state, params, &h);
                h = (0..d)
                    .map(|i| {
                        let (r, z) = (sigmoid(a[i] + b[i]), sigmoid(a[d + i] + b[d + i]));
                        (1.0 - z) * (a[2 * d + i] + r * b[2 * d + i]).tanh() + z * h[i]
                    })
                    .collect();
                y.extend(h.iter().zip(&mask[token * d..]).map(|(h, m)| h * m));
            }
        }
        y
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            offsets in ragged(), d in 1_usize..20, scale in prop_oneof![Just(0.5_f32), Just(20.0)],
            rate in prop_oneof![Just(0.0_f32), Just(0.3)], seed in any::<u64>(),
        ) {
            let mut layout = Layout::default();
            let gru = Gru::new(&mut layout, "g", 0, d, rate);
            let n = offsets[offsets.len() - 1] as usize;
            let params = values(seed, layout.len(), scale);
            let (x, dy) = (values(seed ^ 1, n * d, 1.0), values(seed ^ 2, n * d, 1.0));
            let noise = Noise::new(seed, 1, 2);
            let pass = Pass { params: &params, packed: &[], offsets: &offsets, noise: Some(noise) };
            let mut mask = vec![1.0; n * d];
            gru.dropout.apply(noise.site(gru.site), 0, &mut mask);
            let (p, mask) = (f64s(&params), f64s(&mask));
            let mut saved = vec![f32::NAN; gru.saved_len(&offsets)];
            let mut scratch = vec![f32::NAN; gru.scratch_len(&offsets)];
            let mut y = vec![f32::NAN; n * d];
            gru.forward(&pass, &x, &mut saved, &mut scratch, &mut y);
            let (mut dx, mut grads) = (dy.clone(), vec![0.0; params.len()]);
            scratch.fill(f32::NAN);
            gru.backward(&pass, &x, &saved, &mut dx, &mut scratch, &mut grads);
            if scale < 1.0 {
                close("y", &y, &reference(&gru, &offsets, &p, &f64s(&x), &mask), 1e-4);
                gradient("x", &x, &dx, |x| weighted(&reference(&gru, &offsets, &p, x, &mask), &dy));
                gradient("params", &params, &grads, |p| {
                    weighted(&reference(&gru, &offsets, p, &f64s(&x), &mask), &dy)
                });
            } else {
                // Gates that are wide open or shut.
                prop_assert!(y.iter().chain(&dx).chain(&grads).all(|v| v.is_finite()));
            }
        }
    }
}
