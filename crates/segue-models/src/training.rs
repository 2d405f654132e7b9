//! What a long training is given besides settings and data, and what it leaves for the record.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use segue_data::progress::{NoProgress, Progress};
use segue_types::TimestampMs;
use serde::{Deserialize, Serialize};

use crate::LoadedArtifact;

/// The surroundings of one training. The default keeps nothing, starts from nothing and tells nobody.
///
/// Models that are fitted in one go pass over it.
pub struct TrainingRun<'a> {
    /// Where checkpoints are kept; `None` keeps none.
    pub checkpoints: Option<Checkpoints<'a>>,
    /// An earlier artifact to start from.
    pub earlier: Option<&'a LoadedArtifact>,
    /// Told of each round and each token.
    pub progress: &'a dyn Progress,
    /// What the artifact should keep of the training; `None` for models that are not trained in rounds.
    pub record: Option<TrainingRecord>,
    /// Sentences for people: what it resumed from, or why it did not. They depend on faults, so no
    /// artifact holds them.
    pub messages: Vec<String>,
}

/// Where and when a training writes checkpoints.
#[derive(Clone)]
pub struct Checkpoints<'a> {
    /// The file. A training with equal settings, data and seed goes on from it; the caller removes it
    /// once the model is safe elsewhere.
    pub path: PathBuf,
    /// What tells trainings apart besides settings, seed and catalogue size, such as the snapshot's id.
    pub of: BTreeMap<String, String>,
    /// Whether it is time for another; asked after each step. Libraries have no clock.
    pub is_due: &'a dyn Fn() -> bool,
}

impl Default for TrainingRun<'_> {
    fn default() -> Self {
        Self { checkpoints: None, earlier: None, progress: &NoProgress, record: None, messages: Vec::new() }
    }
}

impl fmt::Debug for TrainingRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingRun")
            .field("checkpoints", &self.checkpoints.as_ref().map(|c| &c.path))
            .field("earlier", &self.earlier.map(|e| &e.manifest.artifact_id))
            .field("record", &self.record)
            .field("messages", &self.messages)
            .finish_non_exhaustive()
    }
}

/// The course of a training: part of the artifact's manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRecord {
    /// Id of the artifact whose weights or counts it started from.
    pub warm_start: Option<String>,
    /// When the system knew the newest play it saw, held-out ones included.
    pub newest_play: Option<TimestampMs>,
    /// The round that validated best; 0 are the weights it started from. Absent if nothing was held out. Its
    /// weights were kept, unless the model was refitted.
    pub best_round: Option<u32>,
    /// Whether the weights are those of a second training, on all plays, for `best_round` rounds.
    #[serde(default)]
    pub refitted: bool,
    /// The loss curve.
    pub rounds: Vec<RoundReport>,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundReport {
    /// From 1.
    pub round: u32,
    /// Steps done in all.
    pub step: u64,
    /// Mean training loss per target.
    pub loss: f64,
    /// NDCG@10 of the held-out plays.
    pub validation_ndcg: Option<f64>,
    /// Input tokens of the round.
    pub n_tokens: u64,
}
