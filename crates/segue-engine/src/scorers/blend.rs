//! The score when there is no ranker: ranks of the sources, blended.

use segue_pipeline::{CandidateBatch, Deadline, Scorer, Scores, StageError};

use crate::query::Query;

/// Reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009), scaled into `(0, 1]`:
/// `1 − Π_s (1 − 1 / (1 + (rank_s − 1) / 10))` over the sources that proposed the item, so a first
/// place scores 1, an eleventh .5, and agreement of sources raises a score.
///
/// The original sums `1 / (60 + rank)`. Its values lie within 2 % of each other, which would make
/// the temperature of an exploring selector meaningless; the form here spreads them over `(0, 1]`.
#[derive(Debug)]
pub struct BlendScorer;

impl Scorer<Query> for BlendScorer {
    fn score(&self, _: &Query, batch: &CandidateBatch, _: &Deadline) -> Result<Scores, StageError> {
        let blend = |row| {
            let missed: f64 = batch
                .ranks(row)
                .iter()
                .filter(|&&rank| rank > 0)
                .map(|&rank| 1.0 - 1.0 / (1.0 + (f64::from(rank) - 1.0) / 10.0))
                .product();
            (1.0 - missed) as f32
        };
        Ok(Scores { scores: (0..batch.len()).map(blend).collect(), ..Scores::default() })
    }
}
