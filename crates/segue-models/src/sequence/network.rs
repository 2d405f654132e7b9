//! The encoder: item vectors and positions in, one hidden vector per event out.
//!
//! ```text
//! x₀ = dropout(s · table[item] + position + action + features)        or the listener's token instead of s · table
//! xₗ = layerₗ(xₗ₋₁)                                   (segue_nn: Block, HstuBlock, Gru)
//! hidden = norm(x_L);   score of item j = hidden · table[j]
//! ```
//!
//! `s` is `√d` as in Kang & McAuley (2018). Input and output share the item table.

use segue_data::PlayContext;
use segue_nn::{Carve, Dropout, Embedding, Init, Layout, Norm, NormKind, Param, Pass, Rope, Times, simd};

use crate::ModelError;
use crate::sequence::completion::{CompletionHead, CompletionSettings};
use crate::sequence::event_features::{EventFeatureSettings, EventTables};
use crate::sequence::layer::{Around, Layer, LayerConfig};
use crate::sequence::settings::Positions;
use crate::sequence::user_features::{UserFeatureSettings, UserToken};

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
    /// Layers.
    pub n_blocks: usize,
    /// Heads per layer; divides `d`.
    pub n_heads: usize,
    /// What a layer is.
    pub layer: LayerConfig,
    /// Newest events that are looked at.
    pub max_history: usize,
    /// How an event knows its place.
    pub positions: Positions,
    /// Whether the action of each event (streamed, skipped, …) is an input.
    pub actions: bool,
    /// Side features of events that are inputs.
    pub event_features: EventFeatureSettings,
    /// Features of the listener that are a token before the first event.
    pub user_features: UserFeatureSettings,
    /// Whether completion is a second output.
    pub completion: CompletionSettings,
    /// Dropout of the input and of what each part of a layer adds.
    pub dropout: f32,
}

impl NetworkConfig {
    /// Tokens of the longest sequence: the events, and the listener before them.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.max_history + usize::from(!self.user_features.are_off())
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the first setting outside its range.
    pub fn check(&self, model: &'static str) -> Result<(), ModelError> {
        let share = |x: f32| (0.0..1.0).contains(&x);
        let heads = self.n_heads > 0 && self.d.is_multiple_of(self.n_heads.max(1));
        let even = self.positions != Positions::Rotary || heads && (self.d / self.n_heads).is_multiple_of(2);
        let (hidden, attention_dropout, rotary) = match self.layer {
            LayerConfig::Transformer { hidden, attention_dropout, .. } => (hidden, attention_dropout, true),
            LayerConfig::Hstu { .. } | LayerConfig::Gru => (1, 0.0, false),
        };
        let turns = rotary || self.positions != Positions::Rotary;
        let CompletionSettings { weight, in_score } = self.completion;
        let checks: [(&'static str, String, bool, &'static str); 11] = [
            ("completion.weight", weight.to_string(), (0.0..=1000.0).contains(&weight), "it is in [0, 1000]"),
            (
                "completion.in_score",
                in_score.to_string(),
                weight > 0.0 || !in_score,
                "it needs `completion.weight` above 0",
            ),
            ("positions", "rotary".to_owned(), turns, "this model knows `learned` and `none`"),
            ("d", self.d.to_string(), (1..=4096).contains(&self.d), "it is 1 to 4096"),
            ("n_blocks", self.n_blocks.to_string(), (1..=64).contains(&self.n_blocks), "it is 1 to 64"),
            ("n_heads", self.n_heads.to_string(), heads, "it divides `d`"),
            ("n_heads", self.n_heads.to_string(), even, "rotary positions need an even `d / n_heads`"),
            ("hidden", hidden.to_string(), (1..=1 << 16).contains(&hidden), "it is 1 to 65536"),
            (
                "max_history",
                self.max_history.to_string(),
                (1..=8192).contains(&self.max_history),
                "it is 1 to 8192",
            ),
            ("dropout", self.dropout.to_string(), share(self.dropout), "it is in [0, 1)"),
            ("attention_dropout", attention_dropout.to_string(), share(attention_dropout), "it is in [0, 1)"),
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
    /// `[n_tokens]` bytes of [`PlayContext`](segue_data::PlayContext); may be empty.
    pub context: &'a [u8],
    /// Moments, where the data has them.
    pub times: Option<Times<'a>>,
    /// `[n_tokens]` codes of tokens that are listeners, and [`NO_USER`](super::user_features::NO_USER) for
    /// events; may be empty. The item of a listener's token means nothing.
    pub user: &'a [u32],
}

impl Events<'_> {
    /// Surface and completion of a token; unknown ones where the data has none.
    pub(super) fn context_of(&self, token: usize) -> PlayContext {
        PlayContext::from_byte(self.context.get(token).copied().unwrap_or(0))
    }
}

/// The layers and where their parameters stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// What it looks like.
    pub config: NetworkConfig,
    /// Its parameters, without the item table.
    pub layout: Layout,
    position: Option<Param>,
    action: Option<Param>,
    event: EventTables,
    user: Option<UserToken>,
    layers: Vec<Layer>,
    norm: Norm,
    rope: Option<Rope>,
    completion: Option<CompletionHead>,
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
            .then(|| table(&mut layout, "position", config.max_tokens()));
        let action = config.actions.then(|| table(&mut layout, "action", N_ACTIONS));
        let event = EventTables::new(&mut layout, config.event_features, d, Init::Normal(TABLE_SD));
        let layers = (0..config.n_blocks as u32).map(|i| Layer::new(&mut layout, i, &config)).collect();
        let norm = Norm::new(&mut layout, "norm", d, NormKind::Layer);
        let user = UserToken::new(&mut layout, config.user_features, d, Init::Normal(TABLE_SD));
        let completion = (!config.completion.are_off()).then(|| CompletionHead::new(&mut layout, d));
        let rope = (config.positions == Positions::Rotary)
            .then(|| Rope::new(config.max_tokens(), d / config.n_heads, 10_000.0));
        Self {
            config,
            layout,
            position,
            action,
            event,
            user,
            layers,
            norm,
            rope,
            completion,
            dropout: Dropout::new(config.dropout),
        }
    }

    /// The second output, if there is one.
    #[must_use]
    pub fn completion(&self) -> Option<&CompletionHead> {
        self.completion.as_ref()
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
        (self.layers.len() + 2) * nd + self.layers.iter().map(|b| b.saved_len(offsets)).sum::<usize>()
    }

    /// Numbers of scratch of either pass.
    #[must_use]
    pub fn scratch_len(&self, offsets: &[u32]) -> usize {
        self.layers.iter().map(|b| b.scratch_len(offsets)).max().unwrap_or(0)
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
        let nd = pass.n_tokens() * self.config.d;
        let (hidden, rest) = saved.split_at_mut(nd);
        let (mut state, mut rest) = rest.split_at_mut(nd);
        self.embed(pass, events, table, state);
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(INPUT_SITE), 0, state);
        }
        let around = Around { rope: self.rope.as_ref(), times: events.times };
        for layer in &self.layers {
            let (saved, after) = rest.split_at_mut(layer.saved_len(pass.offsets));
            let (next, after) = after.split_at_mut(nd);
            layer.forward(pass, around, state, saved, scratch, next);
            (state, rest) = (next, after);
        }
        self.norm.forward(pass.params, state, hidden);
    }

    /// Numbers of space of [`forward_last`](Self::forward_last).
    #[must_use]
    pub fn last_len(&self, offsets: &[u32]) -> usize {
        let nd = offsets.last().map_or(0, |&n| n as usize) * self.config.d;
        let Some((last, before)) = self.layers.split_last() else { return 0 };
        let inner = before.iter().map(|layer| layer.saved_len(offsets) + layer.scratch_len(offsets));
        let rows = (offsets.len() - 1) * self.config.d;
        2 * nd + inner.max().unwrap_or(0).max(last.last_len(offsets) + rows)
    }

    /// Fills `out` `[n_sequences, d]` with the hidden vector of each sequence's last event, bit for bit that of
    /// [`forward`](Self::forward) without dropout, and zeros for an empty sequence. The last layer computes
    /// of other events only what the last ones look at, and layers share `space`, whatever it holds.
    ///
    /// # Panics
    /// If `space` is shorter than [`last_len`](Self::last_len).
    pub fn forward_last(
        &self,
        pass: &Pass<'_>,
        events: Events<'_>,
        table: &Embedding,
        space: &mut [f32],
        out: &mut [f32],
    ) {
        let nd = pass.n_tokens() * self.config.d;
        let Some((last, before)) = self.layers.split_last() else { return out.fill(0.0) };
        let mut carve = Carve::new(space);
        let (mut state, mut next) = (carve.take(nd), carve.take(nd));
        let space = carve.rest();
        self.embed(pass, events, table, state);
        let around = Around { rope: self.rope.as_ref(), times: events.times };
        for layer in before {
            let mut carve = Carve::new(space);
            let saved = carve.take(layer.saved_len(pass.offsets));
            let scratch = carve.take(layer.scratch_len(pass.offsets));
            layer.forward(pass, around, state, saved, scratch, next);
            (state, next) = (next, state);
        }
        let (rows, space) = space.split_at_mut(out.len());
        last.last(pass, around, state, space, rows);
        self.norm.forward(pass.params, rows, out);
        for (out, sequence) in out.chunks_exact_mut(self.config.d).zip(pass.sequences()) {
            if sequence.is_empty() {
                out.fill(0.0);
            }
        }
    }

    /// Fills `x` `[n_tokens, d]` with what is known of each event.
    fn embed(&self, pass: &Pass<'_>, events: Events<'_>, table: &Embedding, x: &mut [f32]) {
        table.gather(events.item, (self.config.d as f32).sqrt(), x);
        if let Some(user) = self.user {
            user.forward(pass.params, events.user, x);
        }
        self.add_places(pass, events, x);
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
        // Where each layer's input and saved numbers begin.
        let mut end = nd + nd + self.layers.iter().map(|b| b.saved_len(pass.offsets) + nd).sum::<usize>();
        d_input.fill(0.0);
        self.norm.backward(pass.params, &saved[end - nd..end], d_hidden, d_input, grads);
        let around = Around { rope: self.rope.as_ref(), times: events.times };
        for layer in self.layers.iter().rev() {
            let kept = end - nd - layer.saved_len(pass.offsets);
            let (x, saved) = (&saved[kept - nd..kept], &saved[kept..end - nd]);
            layer.backward(pass, around, x, saved, d_input, scratch, grads);
            end = kept;
        }
        if let Some(noise) = pass.noise {
            self.dropout.apply(noise.site(INPUT_SITE), 0, d_input);
        }
        self.places_backward(pass, events, d_input, grads);
        if let Some(user) = self.user {
            user.backward(events.user, d_input, grads);
        }
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
        self.event.forward(pass.params, events, x);
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
        self.event.backward(events, dx, grads);
    }
}

/// The row of the action table; codes that this version does not know are unknown actions.
fn action_code(events: Events<'_>, token: usize) -> usize {
    events.action.get(token).map_or(0, |&c| c as usize).min(N_ACTIONS) % N_ACTIONS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_data::Sequence;
    use segue_nn::{Activation, Counter};

    use super::*;
    use crate::sequence::windows::Batch;

    const N_ITEMS: u32 = 30;

    fn layer() -> impl Strategy<Value = LayerConfig> {
        let transformer = |(activation, gated)| LayerConfig::Transformer {
            hidden: 12,
            activation,
            gated,
            attention_dropout: 0.0,
        };
        prop_oneof![
            Just(transformer((Activation::Gelu, false))),
            Just(transformer((Activation::SwiGlu, true))),
            any::<bool>().prop_map(|time_bias| LayerConfig::Hstu { time_bias }),
            Just(LayerConfig::Gru),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn the_vector_of_the_last_event_is_that_of_the_whole_pass_bit_for_bit(
            layer in layer(), n_blocks in 1_usize..4, d in prop_oneof![Just(8_usize), Just(48), Just(64)],
            rotary in any::<bool>(), dated in any::<bool>(), listeners in any::<bool>(), heard in any::<bool>(), seed in any::<u64>(),
            lengths in prop::collection::vec(prop_oneof![Just(0_usize), 1_usize..6, 30_usize..70], 0..4),
        ) {
            let turns = rotary && matches!(layer, LayerConfig::Transformer { .. });
            let config = NetworkConfig {
                d, n_blocks, n_heads: 2, layer, max_history: 70,
                positions: if turns { Positions::Rotary } else { Positions::Learned },
                actions: true, event_features: EventFeatureSettings { hour: dated, gap: dated, surface: heard, completion: heard },
                user_features: UserFeatureSettings { market: listeners, plan: listeners, birth_year: heard },
                completion: CompletionSettings::default(), dropout: 0.3,
            };
            let network = Network::new(config);
            let draws = Counter::new(seed, 1);
            let params: Vec<f32> = (0..network.layout.len() as u64).map(|i| 0.3 * draws.normal(i)).collect();
            let table = network.new_table(N_ITEMS as usize, seed);
            let mut batch = Batch::default();
            for (row, &n) in (2_u64..).zip(&lengths) {
                let draws = draws.fork(row);
                let item: Vec<u32> = (0..n as u64).map(|i| draws.bits(i) as u32 % N_ITEMS).collect();
                let action: Vec<u8> = item.iter().map(|&i| i as u8 % 7).collect();
                let at: Vec<i64> = (0..=n as i64).map(|i| i * i * 1_700_000).collect();
                let context: Vec<u8> = item.iter().map(|&i| (i * 37) as u8).collect();
                let context = if heard { &context[..] } else { &[] };
                let events = Sequence { item: &item, action: &action, context, ..Sequence::default() };
                let at = if dated { &at[..] } else { &[] };
                if (listeners || heard) && n > 0 {
                    batch.begin((row as u32) | 3 << 20, events, at);
                }
                batch.push(events, at);
            }
            let pass = Pass { params: &params, packed: &[], offsets: &batch.offsets, noise: None };
            let (n, events) = (batch.item.len(), batch.events(0..batch.item.len()));
            let mut saved = vec![f32::NAN; network.saved_len(&batch.offsets)];
            let mut scratch = vec![f32::NAN; network.scratch_len(&batch.offsets)];
            network.forward(&pass, events, &table, &mut saved, &mut scratch);
            let hidden = network.hidden(&saved, n);
            let mut want = vec![0.0; lengths.len() * d];
            pass.gather_last(d, hidden, &mut want);
            let mut space = vec![f32::NAN; network.last_len(&batch.offsets)];
            let mut got = vec![f32::NAN; lengths.len() * d];
            network.forward_last(&pass, events, &table, &mut space, &mut got);
            prop_assert_eq!(got, want);
        }
    }
}
