//! A pre-norm transformer block, with the gates of LiGR if asked for.
//!
//! ```text
//! h = x + g₁ ⊙ dropout(attention(norm(x)))        g₁ = σ(W₁ x + b₁)    or 1
//! y = h + g₂ ⊙ dropout(mlp(norm(h)))              g₂ = σ(W₂ h + b₂)    or 1
//! ```
//!
//! Without gates it is the block of SASRec in its pre-norm form (Kang & McAuley 2018); with gates that
//! of LiGR (Borisyuk et al. 2024) as eSASRec uses it (Tikhonovich et al., RecSys 2025).

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::simd::{self, LANES, vectorised};
use crate::workspace::{Carve, CarveRef, Pass};
use crate::{Activation, CausalAttention, Dropout, Layout, Linear, Mlp, Norm, NormKind, Rope};

/// What a block looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// Size of a token's row.
    pub d: usize,
    /// Heads of the attention; divides `d`.
    pub n_heads: usize,
    /// Width of the feed-forward part.
    pub hidden: usize,
    /// Activation of the feed-forward part.
    pub activation: Activation,
    /// The norms.
    pub norm: NormKind,
    /// Whether the gates of LiGR are there.
    pub gated: bool,
    /// Dropout of what each half adds, and inside the feed-forward part.
    pub dropout: f32,
    /// Dropout of the attention weights.
    pub attention_dropout: f32,
}

/// The two halves and their parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    config: BlockConfig,
    norm_1: Norm,
    qkv: Linear,
    attention: CausalAttention,
    out: Linear,
    gate_1: Option<Linear>,
    norm_2: Norm,
    mlp: Mlp,
    gate_2: Option<Linear>,
    dropout: Dropout,
    site: u32,
}

/// Places for dropout that a block uses.
const SITES: u32 = 4;

/// The pieces of a block's saved buffer, in order.
struct Sizes {
    n_d: usize,
    qkv: usize,
    weights: usize,
    mlp: usize,
    gate: usize,
}

impl Block {
    /// Adds the groups `NAME.…` of block number `index` to the layout.
    pub fn new(layout: &mut Layout, name: &str, index: u32, config: BlockConfig) -> Self {
        let BlockConfig { d, n_heads, .. } = config;
        assert!(n_heads > 0 && d % n_heads == 0, "{n_heads} heads do not divide {d}");
        let site = 16 + index * SITES;
        let dropout = Dropout::new(config.dropout);
        let gate = |layout: &mut Layout, which: &str| {
            config.gated.then(|| Linear::new(layout, &format!("{name}.{which}"), d, d, true))
        };
        Self {
            config,
            norm_1: Norm::new(layout, &format!("{name}.norm_1"), d, config.norm),
            qkv: Linear::new(layout, &format!("{name}.qkv"), d, 3 * d, true),
            attention: CausalAttention {
                d,
                n_heads,
                dropout: Dropout::new(config.attention_dropout),
                site: site + 2,
            },
            out: Linear::new(layout, &format!("{name}.out"), d, d, true),
            gate_1: gate(layout, "gate_1"),
            norm_2: Norm::new(layout, &format!("{name}.norm_2"), d, config.norm),
            mlp: Mlp::new(
                layout,
                &format!("{name}.mlp"),
                d,
                config.hidden,
                config.activation,
                dropout,
                site + 3,
            ),
            gate_2: gate(layout, "gate_2"),
            dropout,
            site,
        }
    }

    fn sizes(&self, offsets: &[u32]) -> Sizes {
        let n = offsets.last().map_or(0, |&n| n as usize);
        let n_d = n * self.config.d;
        Sizes {
            n_d,
            qkv: 3 * n_d,
            weights: self.attention.saved_len(offsets),
            mlp: self.mlp.saved_len(n),
            gate: if self.config.gated { 2 * n_d } else { 0 },
        }
    }

    /// Numbers kept for the backward pass.
    #[must_use]
    pub fn saved_len(&self, offsets: &[u32]) -> usize {
        let s = self.sizes(offsets);
        4 * s.n_d + s.qkv + s.weights + s.mlp + 2 * s.gate
    }

    /// Numbers of scratch of either pass.
    #[must_use]
    pub fn scratch_len(&self, offsets: &[u32]) -> usize {
        let s = self.sizes(offsets);
        let n = s.n_d / self.config.d;
        2 * s.n_d + s.qkv + self.attention.scratch_len(offsets).max(self.mlp.scratch_len(n))
    }

    /// Fills `y` `[n, d]` from `x` `[n, d]`.
    pub fn forward(
        &self,
        pass: &Pass<'_>,
        rope: Option<&Rope>,
        x: &[f32],
        saved: &mut [f32],
        scratch: &mut [f32],
        y: &mut [f32],
    ) {
        let s = self.sizes(pass.offsets);
        let mut saved = Carve::new(saved);
        let normed = saved.take(s.n_d);
        let qkv = saved.take(s.qkv);
        let weights = saved.take(s.weights);
        let attended = saved.take(s.n_d);
        let mut scratch = Carve::new(scratch);
        let added = scratch.take(s.n_d);

        self.norm_1.forward(pass.params, x, normed);
        self.qkv.forward(pass, normed, qkv);
        if let Some(rope) = rope {
            rope.rotate(pass, 3 * self.config.d, 2 * self.config.d, qkv, false);
        }
        let rest = scratch.take(self.attention.scratch_len(pass.offsets));
        self.attention.forward(pass, qkv, weights, rest, attended);
        self.after_attention(pass, x, attended, saved, added, y);
    }

    /// Numbers of space of [`last`](Self::last).
    #[must_use]
    pub fn last_len(&self, offsets: &[u32]) -> usize {
        let (d, n) = (self.config.d, offsets.last().map_or(0, |&n| n as usize));
        let n_last = offsets.len().saturating_sub(1);
        let wide = 3 * n * d + self.attention.scratch_len(offsets);
        wide + 5 * n_last * d + self.after_attention_len(n_last)
    }

    /// What [`forward`](Self::forward) without dropout gives for the last token of each sequence, bit for bit:
    /// fills `y` `[n_sequences, d]`. Of the other tokens only keys and values are computed. The row of an
    /// empty sequence means nothing.
    pub fn last(&self, pass: &Pass<'_>, rope: Option<&Rope>, x: &[f32], space: &mut [f32], y: &mut [f32]) {
        let d = self.config.d;
        let mut space = Carve::new(space);
        let normed = space.take(x.len());
        let kv = space.take(2 * x.len());
        let [x_last, normed_last, q, attended, added] = [(); 5].map(|()| space.take(y.len()));
        let rest = space.take(self.attention.scratch_len(pass.offsets));

        self.norm_1.forward(pass.params, x, normed);
        self.qkv.forward_part(pass, d..3 * d, normed, kv);
        pass.gather_last(d, x, x_last);
        pass.gather_last(d, normed, normed_last);
        self.qkv.forward_part(pass, 0..d, normed_last, q);
        if let Some(rope) = rope {
            rope.rotate(pass, 2 * d, d, kv, false);
            for (q, sequence) in q.chunks_exact_mut(d).zip(pass.sequences()) {
                rope.turn(sequence.len().saturating_sub(1), q, false);
            }
        }
        self.attention.last(pass, q, kv, rest, attended);
        self.after_attention(pass, x_last, attended, space, added, y);
    }

    /// Numbers that [`after_attention`](Self::after_attention) takes for `n` tokens.
    fn after_attention_len(&self, n: usize) -> usize {
        let gates = if self.config.gated { 4 } else { 0 };
        (2 + gates) * n * self.config.d + self.mlp.saved_len(n)
    }

    /// From what attention has found `[n, d]` to `y` `[n, d]`: the first half's end and the second half.
    fn after_attention(
        &self,
        pass: &Pass<'_>,
        x: &[f32],
        attended: &[f32],
        mut saved: Carve<'_>,
        added: &mut [f32],
        y: &mut [f32],
    ) {
        let n_d = x.len();
        let gate = if self.config.gated { 2 * n_d } else { 0 };
        let gate_1 = saved.take(gate);
        let middle = saved.take(n_d);
        let normed_2 = saved.take(n_d);
        let mlp = saved.take(self.mlp.saved_len(n_d / self.config.d));
        let gate_2 = saved.take(gate);
        self.out.forward(pass, attended, added);
        self.join(pass, 0, self.gate_1, x, added, gate_1, middle);

        self.norm_2.forward(pass.params, middle, normed_2);
        self.mlp.forward(pass, normed_2, mlp, added);
        self.join(pass, 1, self.gate_2, middle, added, gate_2, y);
    }

    /// `y = x + gate(x) ⊙ dropout(added)`; keeps the gate and what was added, both `[n, d]`.
    fn join(
        &self,
        pass: &Pass<'_>,
        half: u32,
        gate: Option<Linear>,
        x: &[f32],
        added: &mut [f32],
        saved: &mut [f32],
        y: &mut [f32],
    ) {
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(self.site + half), 0, added);
        }
        let Some(gate) = gate else {
            y.copy_from_slice(x);
            return simd::add(added, y);
        };
        let (open, kept) = saved.split_at_mut(x.len());
        gate.forward(pass, x, open);
        kept.copy_from_slice(added);
        dispatch(Gate { x, added, open, y });
    }

    /// Turns `d` from the gradient of `y` into that of `x`, both `[n, d]`, and adds the gradients of
    /// the parameters to `grads`.
    pub fn backward(
        &self,
        pass: &Pass<'_>,
        rope: Option<&Rope>,
        x: &[f32],
        saved: &[f32],
        d: &mut [f32],
        scratch: &mut [f32],
        grads: &mut [f32],
    ) {
        let s = self.sizes(pass.offsets);
        let mut saved = CarveRef::new(saved);
        let normed = saved.take(s.n_d);
        let qkv = saved.take(s.qkv);
        let weights = saved.take(s.weights);
        let attended = saved.take(s.n_d);
        let gate_1 = saved.take(s.gate);
        let middle = saved.take(s.n_d);
        let normed_2 = saved.take(s.n_d);
        let mlp = saved.take(s.mlp);
        let gate_2 = saved.take(s.gate);
        let mut scratch = Carve::new(scratch);
        let added = scratch.take(s.n_d);
        let inner = scratch.take(s.n_d);
        let d_qkv = scratch.take(s.qkv);
        let rest = scratch
            .take(self.attention.scratch_len(pass.offsets).max(self.mlp.scratch_len(s.n_d / self.config.d)));

        self.part(pass, 1, self.gate_2, middle, gate_2, d, added, inner, grads);
        self.mlp.backward(pass, normed_2, mlp, added, inner, rest, grads);
        self.norm_2.backward(pass.params, middle, inner, d, grads);

        self.part(pass, 0, self.gate_1, x, gate_1, d, added, inner, grads);
        self.out.backward(pass.params, attended, added, inner, false, grads);
        self.attention.backward(pass, qkv, weights, inner, rest, d_qkv);
        if let Some(rope) = rope {
            rope.rotate(pass, 3 * self.config.d, 2 * self.config.d, d_qkv, true);
        }
        self.qkv.backward(pass.params, normed, d_qkv, inner, false, grads);
        self.norm_1.backward(pass.params, x, inner, d, grads);
    }

    /// The backward pass of [`join`](Self::join): `d` stays the gradient of the residual path and gains
    /// that through the gate; `added` becomes the gradient of what was added.
    fn part(
        &self,
        pass: &Pass<'_>,
        half: u32,
        gate: Option<Linear>,
        x: &[f32],
        saved: &[f32],
        d: &mut [f32],
        added: &mut [f32],
        inner: &mut [f32],
        grads: &mut [f32],
    ) {
        if let Some(gate) = gate {
            let (open, kept) = saved.split_at(x.len());
            vectorised(
                #[inline(always)]
                || {
                    for i in 0..x.len() {
                        added[i] = d[i] * open[i];
                        inner[i] = d[i] * kept[i] * open[i] * (1.0 - open[i]);
                    }
                },
            );
            gate.backward(pass.params, x, inner, d, true, grads);
        } else {
            added.copy_from_slice(d);
        }
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(self.site + half), 0, added);
        }
    }
}

/// Turns `open` into its logistic function and fills `y = x + open ⊙ added`, all of one length.
struct Gate<'a> {
    x: &'a [f32],
    added: &'a [f32],
    open: &'a mut [f32],
    y: &'a mut [f32],
}

impl Kernel for Gate<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let ((x, x_rest), (added, added_rest)) =
            (self.x.as_chunks::<LANES>(), self.added.as_chunks::<LANES>());
        let (open, open_rest) = self.open.as_chunks_mut::<LANES>();
        let (y, y_rest) = self.y.as_chunks_mut::<LANES>();
        for (((x, added), open), y) in x.iter().zip(added).zip(open).zip(y) {
            let share = V::load(open).sigmoid();
            share.store(open);
            share.fma(V::load(added), V::load(x)).store(y);
        }
        if !x_rest.is_empty() {
            let share = V::load_part(open_rest, 0.0).sigmoid();
            share.store_part(open_rest);
            share.fma(V::load_part(added_rest, 0.0), V::load_part(x_rest, 0.0)).store_part(y_rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::*;

    /// A plain block in `f64`, without dropout.
    struct Reference<'a> {
        block: &'a Block,
        params: &'a [f64],
        rope: bool,
    }

    impl Reference<'_> {
        fn linear(&self, l: &Linear, x: &[f64]) -> Vec<f64> {
            let w = &self.params[l.weight.range()];
            (0..l.n_out())
                .map(|o| {
                    let bias = l.bias.map_or(0.0, |b| self.params[b.range()][o]);
                    bias + (0..l.n_in()).map(|i| w[o * l.n_in() + i] * x[i]).sum::<f64>()
                })
                .collect()
        }

        fn norm(&self, norm: &Norm, x: &[f64]) -> Vec<f64> {
            let n = x.len() as f64;
            let mean = if norm.bias.is_some() { x.iter().sum::<f64>() / n } else { 0.0 };
            let sd = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + 1e-6).sqrt();
            let gain = &self.params[norm.gain.range()];
            (0..x.len())
                .map(|i| (x[i] - mean) / sd * gain[i] + norm.bias.map_or(0.0, |b| self.params[b.range()][i]))
                .collect()
        }

        fn turn(&self, position: usize, x: &[f64]) -> Vec<f64> {
            if !self.rope {
                return x.to_vec();
            }
            let half = x.len() / 2;
            let angle = |i: usize| position as f64 * 10_000_f64.powf(-2.0 * i as f64 / x.len() as f64);
            (0..x.len())
                .map(|i| {
                    let a = angle(i % half);
                    if i < half {
                        x[i] * a.cos() - x[i + half] * a.sin()
                    } else {
                        x[i - half] * a.sin() + x[i] * a.cos()
                    }
                })
                .collect()
        }

        fn gated(&self, gate: Option<Linear>, x: &[f64], added: &[f64]) -> Vec<f64> {
            let open = gate.map(|g| self.linear(&g, x));
            (0..x.len())
                .map(|i| x[i] + added[i] * open.as_ref().map_or(1.0, |g| 1.0 / (1.0 + (-g[i]).exp())))
                .collect()
        }

        fn mlp(&self, x: &[f64]) -> Vec<f64> {
            // The feed-forward part has its own test; here it only has to be the same function.
            let b = self.block;
            let [up, down] = b.mlp.linears();
            let wide = self.linear(&up, x);
            let f = down.n_in();
            let hidden: Vec<f64> = (0..f)
                .map(|i| match b.config.activation {
                    Activation::Gelu => {
                        let a = wide[i];
                        0.5 * a
                            * (1.0
                                + ((2.0 / std::f64::consts::PI).sqrt() * (a + 0.044_715 * a.powi(3))).tanh())
                    }
                    Activation::SwiGlu => wide[i] / (1.0 + (-wide[i]).exp()) * wide[f + i],
                })
                .collect();
            self.linear(&down, &hidden)
        }

        fn forward(&self, offsets: &[u32], x: &[f64]) -> Vec<f64> {
            let b = self.block;
            let (d, heads) = (b.config.d, b.config.n_heads);
            let size = d / heads;
            let mut y = Vec::new();
            for w in offsets.windows(2) {
                let rows: Vec<&[f64]> = x[w[0] as usize * d..w[1] as usize * d].chunks_exact(d).collect();
                let qkv: Vec<Vec<f64>> =
                    rows.iter().map(|x| self.linear(&b.qkv, &self.norm(&b.norm_1, x))).collect();
                for i in 0..rows.len() {
                    let mut attended = vec![0.0; d];
                    for h in 0..heads {
                        let part = |t: usize, p: usize| &qkv[t][p * d + h * size..p * d + (h + 1) * size];
                        let q = self.turn(i, part(i, 0));
                        let scores: Vec<f64> = (0..=i)
                            .map(|j| {
                                let k = self.turn(j, part(j, 1));
                                q.iter().zip(&k).map(|(a, b)| a * b).sum::<f64>() / (size as f64).sqrt()
                            })
                            .collect();
                        let total: f64 = scores.iter().map(|s| s.exp()).sum();
                        for j in 0..=i {
                            for c in 0..size {
                                attended[h * size + c] += scores[j].exp() / total * part(j, 2)[c];
                            }
                        }
                    }
                    let middle = self.gated(b.gate_1, rows[i], &self.linear(&b.out, &attended));
                    let added = self.mlp(&self.norm(&b.norm_2, &middle));
                    y.extend(self.gated(b.gate_2, &middle, &added));
                }
            }
            y
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10))]
        #[test]
        fn values_and_gradients_are_those_of_the_reference(
            lengths in prop::collection::vec(0_u32..5, 0..3), gated in any::<bool>(), rotary in any::<bool>(),
            layer in any::<bool>(), seed in any::<u64>(),
        ) {
            let mut offsets = vec![0];
            for length in lengths { offsets.push(offsets[offsets.len() - 1] + length); }
            let config = BlockConfig {
                d: 8, n_heads: 2, hidden: 5,
                activation: if gated { Activation::SwiGlu } else { Activation::Gelu },
                norm: if layer { NormKind::Layer } else { NormKind::Rms },
                gated, dropout: 0.0, attention_dropout: 0.0,
            };
            let mut layout = Layout::default();
            let block = Block::new(&mut layout, "b", 0, config);
            let params = values(seed, layout.len(), 0.5);
            let rope = rotary.then(|| Rope::new(8, 4, 10_000.0));
            let n = offsets[offsets.len() - 1] as usize;
            let (x, dy) = (values(seed ^ 1, n * 8, 1.0), values(seed ^ 2, n * 8, 1.0));
            let pass = Pass { params: &params, packed: &[], offsets: &offsets, noise: None };
            let mut saved = vec![f32::NAN; block.saved_len(&offsets)];
            let mut scratch = vec![f32::NAN; block.scratch_len(&offsets)];
            let mut y = vec![f32::NAN; n * 8];
            block.forward(&pass, rope.as_ref(), &x, &mut saved, &mut scratch, &mut y);
            let p = f64s(&params);
            let reference = Reference { block: &block, params: &p, rope: rotary };
            close("y", &y, &reference.forward(&offsets, &f64s(&x)), 2e-4);
            let (mut dx, mut grads) = (dy.clone(), vec![0.0; params.len()]);
            scratch.fill(f32::NAN);
            block.backward(&pass, rope.as_ref(), &x, &saved, &mut dx, &mut scratch, &mut grads);
            gradient("x", &x, &dx, |x| weighted(&reference.forward(&offsets, x), &dy));
            gradient("params", &params, &grads, |p| {
                weighted(&Reference { block: &block, params: p, rope: rotary }.forward(&offsets, &f64s(&x)), &dy)
            });
        }
    }

    #[test]
    fn dropout_is_the_same_mask_in_both_passes() {
        // With dropout the block is a fixed function of its input: differences of the fast forward
        // pass itself tell whether the backward pass used the same masks.
        let config = BlockConfig {
            d: 8,
            n_heads: 2,
            hidden: 6,
            activation: Activation::Gelu,
            norm: NormKind::Layer,
            gated: true,
            dropout: 0.4,
            attention_dropout: 0.4,
        };
        let mut layout = Layout::default();
        let block = Block::new(&mut layout, "b", 1, config);
        let params = values(3, layout.len(), 0.4);
        let offsets = [0, 3, 9];
        let pass =
            Pass { params: &params, packed: &[], offsets: &offsets, noise: Some(crate::Noise::new(1, 2, 3)) };
        let (x, dy) = (values(4, 72, 1.0), values(5, 72, 1.0));
        let forward = |x: &[f32]| {
            let mut saved = vec![0.0; block.saved_len(&offsets)];
            let mut scratch = vec![0.0; block.scratch_len(&offsets)];
            let mut y = vec![0.0; 72];
            block.forward(&pass, None, x, &mut saved, &mut scratch, &mut y);
            (y, saved)
        };
        let (_, saved) = forward(&x);
        let (mut dx, mut grads) = (dy.clone(), vec![0.0; params.len()]);
        let mut scratch = vec![0.0; block.scratch_len(&offsets)];
        block.backward(&pass, None, &x, &saved, &mut dx, &mut scratch, &mut grads);
        for i in 0..72 {
            let value = |h: f32| {
                let mut moved = x.clone();
                moved[i] += h;
                weighted(&f64s(&forward(&moved).0), &dy)
            };
            let want = (value(1e-2) - value(-1e-2)) / 2e-2;
            assert!((f64::from(dx[i]) - want).abs() < 0.03 * (1.0 + want.abs()), "{i}: {} {want}", dx[i]);
        }
    }
}
