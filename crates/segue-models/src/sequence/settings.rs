//! Settings that sequence models share.

use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::retrieval::Targets;
use crate::sequence::item_features::ItemFeatureSettings;

/// What training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross-entropy over the whole catalogue.
    Softmax,
    /// Cross-entropy over the target and shared negatives.
    SampledSoftmax,
    /// Calibrated binary cross-entropy over the target and shared negatives.
    Gbce,
    /// Binary cross-entropy over the target and shared negatives.
    Bce,
}

/// How a token knows its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// A learned vector per place, counted from the newest event of the window.
    Learned,
    /// Queries and keys turn by their place (RoPE).
    Rotary,
    /// Not at all, beyond what causality tells.
    None,
}

/// Negatives of the sampled losses, shared by all tokens of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Negatives {
    /// How many.
    pub count: usize,
    /// Share drawn in proportion to plays.
    pub popular: f32,
    /// Share drawn from the targets of the batch.
    pub in_batch: f32,
    /// Whether sampled softmax corrects for the probability of a draw.
    pub log_q: bool,
    /// Calibration of gBCE, in `[0, 1]`.
    pub calibration: f32,
}

impl Default for Negatives {
    fn default() -> Self {
        Self { count: 256, popular: 0.0, in_batch: 0.0, log_q: true, calibration: 0.75 }
    }
}

/// Settings of the training loop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Rounds at most. A round is one pass over the windows, or several on small data: at least
    /// `round_steps` steps. Validation follows each round.
    pub rounds: u32,
    /// Fewest steps of a round.
    pub round_steps: u64,
    /// Rounds without a better validation after which training ends.
    pub patience: u32,
    /// Windows per step.
    pub batch: usize,
    /// Gradient shards of a step. Results depend on it, and never on the number of threads.
    pub shards: usize,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Steps of the linear rise.
    pub warmup_steps: u64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f32,
    /// Decoupled weight decay of the item table.
    pub table_decay: f32,
    /// Longest norm of a step's gradient; 0 does not clip.
    pub clip: f32,
    /// Share of listeners whose last wanted play is held out of training to validate on.
    pub validation_share: f32,
    /// Listeners to validate on at most.
    pub validation_listeners: usize,
    /// Whether the model is then trained anew on all plays, the held-out ones too, for as many rounds as they
    /// found best. At most twice the time; something has to be held out.
    pub refit: bool,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            rounds: 100,
            round_steps: 100,
            patience: 5,
            batch: 128,
            shards: 4,
            learning_rate: 1e-3,
            warmup_steps: 50,
            weight_decay: 0.0,
            table_decay: 0.0,
            clip: 5.0,
            validation_share: 0.1,
            validation_listeners: 4000,
            refit: false,
        }
    }
}

/// All that the trainer needs to know besides the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// Kind of the model, for messages.
    pub model: &'static str,
    /// What is minimised.
    pub loss: Loss,
    /// Negatives of the sampled losses.
    pub negatives: Negatives,
    /// Which plays are positives. All are inputs.
    pub targets: Targets,
    /// Features of items that are summed into their vectors.
    pub item_features: ItemFeatureSettings,
    /// The loop.
    pub training: Training,
}

impl Objective {
    /// Checks every range.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the first setting outside its range.
    pub fn check(&self) -> Result<(), ModelError> {
        let t = &self.training;
        let n = &self.negatives;
        let checks: [(&'static str, String, bool, &'static str); 11] = [
            ("training.rounds", t.rounds.to_string(), t.rounds > 0, "it is at least 1"),
            ("training.batch", t.batch.to_string(), t.batch > 0, "it is at least 1"),
            ("training.shards", t.shards.to_string(), (1..=64).contains(&t.shards), "it is 1 to 64"),
            (
                "training.learning_rate",
                t.learning_rate.to_string(),
                t.learning_rate > 0.0 && t.learning_rate.is_finite(),
                "it is above 0",
            ),
            (
                "training.weight_decay",
                t.weight_decay.to_string(),
                (0.0..=10.0).contains(&t.weight_decay),
                "it is in [0, 10]",
            ),
            ("training.clip", t.clip.to_string(), t.clip >= 0.0, "it is at least 0"),
            (
                "training.validation_share",
                t.validation_share.to_string(),
                (0.0..=1.0).contains(&t.validation_share),
                "it is in [0, 1]",
            ),
            (
                "training.refit",
                t.refit.to_string(),
                !t.refit || t.validation_share > 0.0,
                "it needs a `validation_share` above 0 to find the rounds",
            ),
            ("negatives.count", n.count.to_string(), (1..=1 << 20).contains(&n.count), "it is 1 to 1048576"),
            (
                "negatives.popular",
                n.popular.to_string(),
                n.popular >= 0.0 && n.in_batch >= 0.0 && n.popular + n.in_batch <= 1.0,
                "with `in_batch` it is in [0, 1]",
            ),
            (
                "negatives.calibration",
                n.calibration.to_string(),
                (0.0..=1.0).contains(&n.calibration),
                "it is in [0, 1]",
            ),
        ];
        match checks.into_iter().find(|(_, _, good, _)| !good) {
            None => Ok(()),
            Some((setting, value, _, rule)) => {
                Err(ModelError::Config { model: self.model, setting, value, rule })
            }
        }
    }
}
