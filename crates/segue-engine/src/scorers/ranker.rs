//! The one adapter from a ranking model to a scorer.

use segue_models::FeatureMatrix;
use segue_pipeline::{CandidateBatch, Deadline, Scorer, Scores, StageError};

use crate::config::HeadWeight;
use crate::query::Query;

/// Scores candidates by the deployment's ranker: the weighted mean of its heads' probabilities.
#[derive(Debug)]
pub struct RankerScorer {
    /// What each head is worth.
    pub heads: Vec<HeadWeight>,
}

impl Scorer<Query> for RankerScorer {
    fn score(&self, query: &Query, batch: &CandidateBatch, _: &Deadline) -> Result<Scores, StageError> {
        let ranker = query.deployment.ranker().map_err(StageError::MissingModel)?;
        if batch.feature_names.is_empty() && !batch.is_empty() {
            return Err(StageError::Failed("the candidates have no features".to_owned()));
        }
        let heads = ranker.heads().to_vec();
        let weight_of = |head: &String| self.heads.iter().find(|h| h.head == *head).map_or(0.0, |h| h.weight);
        let weights: Vec<f64> = heads.iter().map(weight_of).collect();
        let total: f64 = weights.iter().sum();
        if total <= 0.0 {
            return Err(StageError::Failed(format!(
                "no head of the ranker ({}) has a weight in `ranker.heads`",
                heads.join(", ")
            )));
        }
        let mut values = Vec::new();
        if !batch.is_empty() {
            let matrix = FeatureMatrix { values: &batch.features, names: &batch.feature_names };
            ranker.score(&matrix, &mut values).map_err(|e| StageError::Failed(e.to_string()))?;
        }
        if values.len() != batch.len() * heads.len() {
            return Err(StageError::Failed(format!(
                "the ranker gave {} values for {} candidates × {} heads",
                values.len(),
                batch.len(),
                heads.len()
            )));
        }
        let mean = |row: &[f32]| {
            (row.iter().zip(&weights).map(|(&p, w)| f64::from(p) * w).sum::<f64>() / total) as f32
        };
        let scores = values.chunks_exact(heads.len()).map(mean).collect();
        Ok(Scores { scores, heads, head_values: values })
    }
}
