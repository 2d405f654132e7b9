//! The encoder: item vectors and positions in, one hidden vector per event out.
//!
//! ```text
//! x₀ = dropout(s · table[item] + position + action)
//! xₗ = blockₗ(xₗ₋₁)                                   (segue_nn::Block)
//! hidden = norm(x_L);   score of item j = hidden · table[j]
//! ```
//!
//! `s` is `√d` as in Kang & McAuley (2018). Input and output share the item table.

use segue_nn::{
    Activation, Block, BlockConfig, Dropout, Embedding, Init, Layout, Norm, NormKind, Param, Pass, Rope, simd,
};

use crate::ModelError;
use crate::sequence::settings::Positions;

/// Codes of [`Action`](segue_types::Action) and 0 for a play whose action is not known.
const N_ACTIONS: usize = 8;
/// Place of the input's dropout.
const INPUT_SITE: u32 = 1;
/// Standard deviation of new item vectors.
const TABLE_SD: f32 = 0.02;

/// What the encoder looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkConfig {
    /// Size of a vector.
    pub d: usize,
    /// Transformer blocks.
    pub n_blocks: usize,
    /// Heads per block; divides `d`.
    pub n_heads: usize,
    /// Width of the feed-forward part.
    pub hidden: usize,
    /// Its activation.
    pub activation: Activation,
    /// Whether blocks have the gates of LiGR.
    pub gated: bool,
    /// Newest events that are looked at.
    pub max_history: usize,
    /// How an event knows its place.
    pub positions: Positions,
    /// Whether the action of each event (streamed, skipped, …) is an input.
    pub actions: bool,
    /// Dropout of the input and of what each half of a block adds.
    pub dropout: f32,
    /// Dropout of attention weights.
    pub attention_dropout: f32,
}

impl NetworkConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the first setting outside its range.
    pub fn check(&self, model: &'static str) -> Result<(), ModelError> {
        let share = |x: f32| (0.0..1.0).contains(&x);
        let heads = self.n_heads > 0 && self.d.is_multiple_of(self.n_heads.max(1));
        let even = self.positions != Positions::Rotary || heads && (self.d / self.n_heads).is_multiple_of(2);
        let checks: [(&'static str, String, bool, &'static str); 8] = [
            ("d", self.d.to_string(), (1..=4096).contains(&self.d), "it is 1 to 4096"),
            ("n_blocks", self.n_blocks.to_string(), (1..=64).contains(&self.n_blocks), "it is 1 to 64"),
            ("n_heads", self.n_heads.to_string(), heads, "it divides `d`"),
            ("n_heads", self.n_heads.to_string(), even, "rotary positions need an even `d / n_heads`"),
            ("hidden", self.hidden.to_string(), (1..=1 << 16).contains(&self.hidden), "it is 1 to 65536"),
            (
                "max_history",
                self.max_history.to_string(),
                (1..=8192).contains(&self.max_history),
                "it is 1 to 8192",
            ),
            ("dropout", self.dropout.to_string(), share(self.dropout), "it is in [0, 1)"),
            (
                "attention_dropout",
                self.attention_dropout.to_string(),
                share(self.attention_dropout),
                "it is in [0, 1)",
            ),
        ];
        match checks.into_iter().find(|(_, _, good, _)| !good) {
            None => Ok(()),
            Some((setting, value, _, rule)) => Err(ModelError::Config { model, setting, value, rule }),
        }
    }
}

/// The events of a pass: packed, like everything.
#[derive(Debug, Clone, Copy)]
pub struct Events<'a> {
    /// `[n_tokens]` item rows.
    pub item: &'a [u32],
    /// `[n_tokens]` action codes; may be empty.
    pub action: &'a [u8],
}

/// The blocks and where their parameters stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// What it looks like.
    pub config: NetworkConfig,
    /// Its parameters, without the item table.
    pub layout: Layout,
    position: Option<Param>,
    action: Option<Param>,
    blocks: Vec<Block>,
    norm: Norm,
    rope: Option<Rope>,
    dropout: Dropout,
}

impl Network {
    /// Plans the parameters. The configuration has been checked.
    #[must_use]
    pub fn new(config: NetworkConfig) -> Self {
        let mut layout = Layout::default();
        let d = config.d;
        let table = |layout: &mut Layout, name: &str, rows: usize| {
            layout.matrix(name, rows, d, Init::Normal(TABLE_SD))
        };
        let position = (config.positions == Positions::Learned)
            .then(|| table(&mut layout, "position", config.max_history));
        let action = config.actions.then(|| table(&mut layout, "action", N_ACTIONS));
        let block = BlockConfig {
            d,
            n_heads: config.n_heads,
            hidden: config.hidden,
            activation: config.activation,
            norm: NormKind::Layer,
            gated: config.gated,
            dropout: config.dropout,
            attention_dropout: config.attention_dropout,
        };
        let blocks = (0..config.n_blocks as u32)
            .map(|i| Block::new(&mut layout, &format!("block.{i}"), i, block))
            .collect();
        let norm = Norm::new(&mut layout, "norm", d, NormKind::Layer);
        let rope = (config.positions == Positions::Rotary)
            .then(|| Rope::new(config.max_history, d / config.n_heads, 10_000.0));
        Self { config, layout, position, action, blocks, norm, rope, dropout: Dropout::new(config.dropout) }
    }

    /// A new item table of `n_items` rows.
    #[must_use]
    pub fn new_table(&self, n_items: usize, seed: u64) -> Embedding {
        Embedding::new(n_items, self.config.d, TABLE_SD, seed)
    }

    /// Numbers that [`forward`](Self::forward) keeps.
    #[must_use]
    pub fn saved_len(&self, offsets: &[u32]) -> usize {
        let nd = offsets.last().map_or(0, |&n| n as usize) * self.config.d;
        (self.blocks.len() + 2) * nd + self.blocks.iter().map(|b| b.saved_len(offsets)).sum::<usize>()
    }

    /// Numbers of scratch of either pass.
    #[must_use]
    pub fn scratch_len(&self, offsets: &[u32]) -> usize {
        self.blocks.iter().map(|b| b.scratch_len(offsets)).max().unwrap_or(0)
    }

    /// The hidden vectors `[n_tokens, d]` within what [`forward`](Self::forward) kept.
    #[must_use]
    pub fn hidden<'a>(&self, saved: &'a [f32], n_tokens: usize) -> &'a [f32] {
        &saved[..n_tokens * self.config.d]
    }

    /// Encodes the events of a pass.
    pub fn forward(
        &self,
        pass: &Pass<'_>,
        events: Events<'_>,
        table: &Embedding,
        saved: &mut [f32],
        scratch: &mut [f32],
    ) {
        let d = self.config.d;
        let nd = pass.n_tokens() * d;
        let (hidden, rest) = saved.split_at_mut(nd);
        let (mut state, mut rest) = rest.split_at_mut(nd);
        table.gather(events.item, (d as f32).sqrt(), state);
        self.add_places(pass, events, state);
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(INPUT_SITE), 0, state);
        }
        for block in &self.blocks {
            let (saved, after) = rest.split_at_mut(block.saved_len(pass.offsets));
            let (next, after) = after.split_at_mut(nd);
            block.forward(pass, self.rope.as_ref(), state, saved, scratch, next);
            (state, rest) = (next, after);
        }
        self.norm.forward(pass.params, state, hidden);
    }

    /// From the gradient of the hidden vectors `[n_tokens, d]` to that of each token's row of the item
    /// table, which fills `d_input` `[n_tokens, d]`; adds to `grads`.
    pub fn backward(
        &self,
        pass: &Pass<'_>,
        events: Events<'_>,
        saved: &[f32],
        d_hidden: &[f32],
        d_input: &mut [f32],
        scratch: &mut [f32],
        grads: &mut [f32],
    ) {
        let d = self.config.d;
        let nd = pass.n_tokens() * d;
        // Where each block's input and saved numbers begin.
        let mut end = nd + nd + self.blocks.iter().map(|b| b.saved_len(pass.offsets) + nd).sum::<usize>();
        d_input.fill(0.0);
        self.norm.backward(pass.params, &saved[end - nd..end], d_hidden, d_input, grads);
        for block in self.blocks.iter().rev() {
            let kept = end - nd - block.saved_len(pass.offsets);
            let (x, saved) = (&saved[kept - nd..kept], &saved[kept..end - nd]);
            block.backward(pass, self.rope.as_ref(), x, saved, d_input, scratch, grads);
            end = kept;
        }
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(INPUT_SITE), 0, d_input);
        }
        self.places_backward(pass, events, d_input, grads);
        let scale = (d as f32).sqrt();
        simd::vectorised(
            #[inline(always)]
            || {
                for g in d_input.iter_mut() {
                    *g *= scale;
                }
            },
        );
    }

    fn add_places(&self, pass: &Pass<'_>, events: Events<'_>, x: &mut [f32]) {
        let d = self.config.d;
        if let Some(position) = self.position {
            let vectors = position.of(pass.params);
            for sequence in pass.sequences() {
                let last = sequence.end;
                for token in sequence {
                    let place = last - 1 - token;
                    simd::add(&vectors[place * d..(place + 1) * d], &mut x[token * d..(token + 1) * d]);
                }
            }
        }
        if let Some(action) = self.action {
            let vectors = action.of(pass.params);
            for (token, x) in x.chunks_exact_mut(d).enumerate() {
                let code = action_code(events, token);
                simd::add(&vectors[code * d..(code + 1) * d], x);
            }
        }
    }

    fn places_backward(&self, pass: &Pass<'_>, events: Events<'_>, dx: &[f32], grads: &mut [f32]) {
        let d = self.config.d;
        if let Some(position) = self.position {
            let grads = position.of_mut(grads);
            for sequence in pass.sequences() {
                let last = sequence.end;
                for token in sequence {
                    let place = last - 1 - token;
                    simd::add(&dx[token * d..(token + 1) * d], &mut grads[place * d..(place + 1) * d]);
                }
            }
        }
        if let Some(action) = self.action {
            let grads = action.of_mut(grads);
            for (token, dx) in dx.chunks_exact(d).enumerate() {
                let code = action_code(events, token);
                simd::add(dx, &mut grads[code * d..(code + 1) * d]);
            }
        }
    }
}

/// The row of the action table; codes that this version does not know are unknown actions.
fn action_code(events: Events<'_>, token: usize) -> usize {
    events.action.get(token).map_or(0, |&c| c as usize).min(N_ACTIONS) % N_ACTIONS
}
