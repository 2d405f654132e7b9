//! The kinds of layers that an encoder stacks.

use segue_nn::{
    Activation, Block, BlockConfig, Gru, HstuBlock, HstuConfig, Layout, NormKind, Pass, Rope, Times,
};

use crate::sequence::network::NetworkConfig;

/// What a layer of the encoder is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LayerConfig {
    /// A pre-norm transformer block.
    Transformer {
        /// Width of the feed-forward part.
        hidden: usize,
        /// Its activation.
        activation: Activation,
        /// Whether blocks have the gates of LiGR.
        gated: bool,
        /// Dropout of attention weights.
        attention_dropout: f32,
    },
    /// A block of HSTU.
    Hstu {
        /// Whether gaps of time are looked at, where the data has them.
        time_bias: bool,
    },
    /// A gated recurrent layer.
    Gru,
}

/// One layer and where its parameters stand.
#[allow(clippy::large_enum_variant)] // a network has a handful of them
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Layer {
    Transformer(Block),
    Hstu(HstuBlock),
    Gru(Gru),
}

/// What layers may look at besides their input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) rope: Option<&'a Rope>,
    pub(super) times: Option<Times<'a>>,
}

impl Layer {
    /// Adds layer number `index` to the layout.
    pub(super) fn new(layout: &mut Layout, index: u32, config: &NetworkConfig) -> Self {
        let NetworkConfig { d, n_heads, dropout, .. } = *config;
        match config.layer {
            LayerConfig::Transformer { hidden, activation, gated, attention_dropout } => {
                let norm = NormKind::Layer;
                let config =
                    BlockConfig { d, n_heads, hidden, activation, norm, gated, dropout, attention_dropout };
                Self::Transformer(Block::new(layout, &format!("block.{index}"), index, config))
            }
            LayerConfig::Hstu { time_bias } => {
                let config = HstuConfig { d, n_heads, max_len: config.max_tokens(), time_bias, dropout };
                Self::Hstu(HstuBlock::new(layout, &format!("block.{index}"), index, config))
            }
            LayerConfig::Gru => Self::Gru(Gru::new(layout, &format!("block.{index}"), index, d, dropout)),
        }
    }

    /// Numbers kept for the backward pass.
    pub(super) fn saved_len(&self, offsets: &[u32]) -> usize {
        match self {
            Self::Transformer(block) => block.saved_len(offsets),
            Self::Hstu(block) => block.saved_len(offsets),
            Self::Gru(layer) => layer.saved_len(offsets),
        }
    }

    /// Numbers of scratch of either pass.
    pub(super) fn scratch_len(&self, offsets: &[u32]) -> usize {
        match self {
            Self::Transformer(block) => block.scratch_len(offsets),
            Self::Hstu(block) => block.scratch_len(offsets),
            Self::Gru(layer) => layer.scratch_len(offsets),
        }
    }

    /// Fills `y` `[n, d]` from `x` `[n, d]`.
    pub(super) fn forward(
        &self,
        pass: &Pass<'_>,
        around: Around<'_>,
        x: &[f32],
        saved: &mut [f32],
        scratch: &mut [f32],
        y: &mut [f32],
    ) {
        match self {
            Self::Transformer(block) => block.forward(pass, around.rope, x, saved, scratch, y),
            Self::Hstu(block) => block.forward(pass, around.times, x, saved, scratch, y),
            Self::Gru(layer) => layer.forward(pass, x, saved, scratch, y),
        }
    }

    /// Numbers of space of [`last`](Self::last).
    pub(super) fn last_len(&self, offsets: &[u32]) -> usize {
        match self {
            Self::Transformer(block) => block.last_len(offsets),
            Self::Hstu(block) => block.last_len(offsets),
            Self::Gru(layer) => layer.last_len(offsets),
        }
    }

    /// Fills `y` `[n_sequences, d]` with what [`forward`](Self::forward) without dropout gives for the last
    /// token of each sequence. The row of an empty sequence means nothing.
    pub(super) fn last(
        &self,
        pass: &Pass<'_>,
        around: Around<'_>,
        x: &[f32],
        space: &mut [f32],
        y: &mut [f32],
    ) {
        match self {
            Self::Transformer(block) => block.last(pass, around.rope, x, space, y),
            Self::Hstu(block) => block.last(pass, around.times, x, space, y),
            Self::Gru(layer) => layer.last(pass, x, space, y),
        }
    }

    /// Turns `d` from the gradient of `y` into that of `x`, both `[n, d]`; adds to `grads`.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_>,
        around: Around<'_>,
        x: &[f32],
        saved: &[f32],
        d: &mut [f32],
        scratch: &mut [f32],
        grads: &mut [f32],
    ) {
        match self {
            Self::Transformer(block) => block.backward(pass, around.rope, x, saved, d, scratch, grads),
            Self::Hstu(block) => block.backward(pass, around.times, x, saved, d, scratch, grads),
            Self::Gru(layer) => layer.backward(pass, x, saved, d, scratch, grads),
        }
    }
}
