//! eSASRec: SASRec with gated blocks, SwiGLU and sampled softmax.
//!
//! Tikhonovich et al., "eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion",
//! RecSys 2025: blocks as in LiGR (Borisyuk et al. 2024), SwiGLU feed-forward parts, and negatives shared
//! by all tokens of a step. Its cost per step does not depend on the catalogue. Ties: item row.

use segue_nn::Activation;
use serde::{Deserialize, Serialize};

use crate::FitInput;
use crate::retrieval::Targets;
use crate::sequence::completion::CompletionSettings;
use crate::sequence::event_features::EventFeatureSettings;
use crate::sequence::item_features::ItemFeatureSettings;
use crate::sequence::layer::LayerConfig;
use crate::sequence::network::NetworkConfig;
use crate::sequence::settings::{Loss, Negatives, Objective, Positions, Training};
use crate::sequence::trained::{Architecture, Trained};
use crate::sequence::user_features::UserFeatureSettings;

/// Settings of [`ESasRec`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ESasRecConfig {
    /// Size of item and listener vectors.
    pub d: usize,
    /// Transformer blocks.
    pub n_blocks: usize,
    /// Attention heads per block; divides `d`.
    pub n_heads: usize,
    /// Width of the feed-forward part.
    pub hidden: usize,
    /// Newest events that are looked at.
    pub max_history: usize,
    /// How an event knows its place.
    pub positions: Positions,
    /// Whether the action of each event (streamed, skipped, …) is an input, where the data has it.
    pub actions: bool,
    /// Side features of events that are summed into the input, where the data has dates.
    #[serde(skip_serializing_if = "EventFeatureSettings::are_off")]
    pub event_features: EventFeatureSettings,
    /// Features of items that are summed into their vectors, where the data has them.
    #[serde(skip_serializing_if = "ItemFeatureSettings::are_off")]
    pub item_features: ItemFeatureSettings,
    /// Features of the listener as a token before the first event, where the data has them.
    #[serde(skip_serializing_if = "UserFeatureSettings::are_off")]
    pub user_features: UserFeatureSettings,
    /// A second output: whether the next play will be completed, where the data has actions.
    #[serde(skip_serializing_if = "CompletionSettings::are_off")]
    pub completion: CompletionSettings,
    /// Dropout of the input and of what each half of a block adds.
    pub dropout: f32,
    /// Dropout of attention weights.
    pub attention_dropout: f32,
    /// Which plays are positives. All are inputs.
    pub targets: Targets,
    /// What is minimised.
    pub loss: Loss,
    /// Negatives of the sampled losses.
    pub negatives: Negatives,
    /// The training loop.
    pub training: Training,
}

impl Default for ESasRecConfig {
    fn default() -> Self {
        Self {
            d: 64,
            n_blocks: 2,
            n_heads: 2,
            hidden: 256,
            max_history: 200,
            positions: Positions::Learned,
            actions: true,
            event_features: EventFeatureSettings::default(),
            item_features: ItemFeatureSettings::default(),
            user_features: UserFeatureSettings::default(),
            completion: CompletionSettings::default(),
            dropout: 0.2,
            attention_dropout: 0.0,
            targets: Targets::Wanted,
            loss: Loss::SampledSoftmax,
            negatives: Negatives::default(),
            training: Training::default(),
        }
    }
}

/// A trained model.
pub type ESasRec = Trained<ESasRecConfig>;

impl Architecture for ESasRecConfig {
    const KIND: &'static str = "esasrec";
    const ABOUT: &'static str =
        "Gated self-attention over the history, trained on sampled softmax: for large catalogues.";
    const SEARCH: &'static str = r#"
d = [32, 64, 128]
n_blocks = [1, 2, 3]
max_history = [50, 100, 200]
dropout = { low = 0.1, high = 0.6 }
positions = ["learned", "rotary"]
"#;

    fn for_data(self, input: &FitInput<'_>) -> Self {
        Self {
            event_features: self.event_features.for_data(input),
            user_features: self.user_features.for_data(input),
            completion: self.completion.for_data(input),
            ..self
        }
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig {
            d: self.d,
            n_blocks: self.n_blocks,
            n_heads: self.n_heads,
            layer: LayerConfig::Transformer {
                hidden: self.hidden,
                activation: Activation::SwiGlu,
                gated: true,
                attention_dropout: self.attention_dropout,
            },
            max_history: self.max_history,
            positions: self.positions,
            actions: self.actions,
            event_features: self.event_features,
            user_features: self.user_features,
            completion: self.completion,
            dropout: self.dropout,
        }
    }

    fn objective(&self) -> Objective {
        Objective {
            model: Self::KIND,
            loss: self.loss,
            negatives: self.negatives,
            targets: self.targets,
            item_features: self.item_features,
            training: self.training,
        }
    }
}
