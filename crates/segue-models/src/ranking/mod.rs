//! Ranking models: candidates with features in, calibrated heads out. One file per model, one line
//! per kind in [`RANKERS`].

pub mod rows;
pub mod trees_ranker;

pub use rows::{HeadLabels, TrainedOn, TrainingRows};
pub use trees_ranker::{DEFAULT_HEADS, HeadRecord, LackedHead, TreesRanker, TreesRecord};

use crate::{ModelError, ModelParts, Ranker};

/// One kind of ranking model.
pub struct RankerKind {
    /// Name of the kind.
    pub kind: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    load: fn(ModelParts) -> Result<Box<dyn Ranker>, ModelError>,
}

/// Every ranking model.
pub static RANKERS: &[RankerKind] = &[RankerKind {
    kind: trees_ranker::KIND,
    about: "gradient-boosted trees, one calibrated forest per head",
    load: |parts| Ok(Box::new(TreesRanker::load(parts)?)),
}];

/// Rebuilds a ranking model from the parts of its artifact.
///
/// # Errors
/// [`ModelError::UnknownKind`] lists the kinds there are; [`ModelError::Artifact`] if the parts do
/// not make a model.
pub fn load_ranker(parts: ModelParts) -> Result<Box<dyn Ranker>, ModelError> {
    let line =
        RANKERS.iter().find(|line| line.kind == parts.kind).ok_or_else(|| ModelError::UnknownKind {
            kind: parts.kind.clone(),
            known: RANKERS.iter().map(|line| line.kind).collect::<Vec<_>>().join(", "),
        })?;
    (line.load)(parts)
}
