//! GRU4Rec: a recurrent state that each event moves on.
//!
//! Hidasi, Karatzoglou, Baltrunas & Tikk, "Session-based Recommendations with Recurrent Neural Networks",
//! ICLR 2016, in the form that later work found strong (Hidasi & Karatzoglou, "Recurrent Neural Networks with
//! Top-k Gains", CIKM 2018; Hidasi & Czapp, "The Effect of Third Party Implementations on Reproducibility",
//! RecSys 2023): one table of item vectors for input and output, cross-entropy over shared negatives.
//! The recurrent baseline beside the transformers: same windows, losses and loop. Ties: item row.
//!
//! Unlike the paper's code a state begins at zero with each window instead of following a listener through
//! the batches, and gradients go back to the beginning of the window.

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

/// Settings of [`Gru4Rec`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gru4RecConfig {
    /// Size of item vectors and of the state.
    pub d: usize,
    /// Recurrent layers.
    pub n_blocks: usize,
    /// Newest events that are looked at.
    pub max_history: usize,
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
    /// Dropout of the input and of what each layer gives.
    pub dropout: f32,
    /// Which plays are positives. All are inputs.
    pub targets: Targets,
    /// What is minimised.
    pub loss: Loss,
    /// Negatives of the sampled losses.
    pub negatives: Negatives,
    /// The training loop.
    pub training: Training,
}

impl Default for Gru4RecConfig {
    fn default() -> Self {
        Self {
            d: 64,
            n_blocks: 1,
            max_history: 200,
            actions: true,
            event_features: EventFeatureSettings::default(),
            item_features: ItemFeatureSettings::default(),
            user_features: UserFeatureSettings::default(),
            completion: CompletionSettings::default(),
            dropout: 0.2,
            targets: Targets::Wanted,
            loss: Loss::SampledSoftmax,
            negatives: Negatives::default(),
            training: Training::default(),
        }
    }
}

/// A trained model.
pub type Gru4Rec = Trained<Gru4RecConfig>;

impl Architecture for Gru4RecConfig {
    const KIND: &'static str = "gru4rec";
    const ABOUT: &'static str = "A recurrent state over the history, trained on sampled softmax.";
    const SEARCH: &'static str = r#"
d = [32, 64, 128]
n_blocks = [1, 2]
max_history = [50, 100, 200]
dropout = { low = 0.0, high = 0.6 }
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
            n_heads: 1,
            layer: LayerConfig::Gru,
            max_history: self.max_history,
            positions: Positions::None,
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
