//! Fills the ranker's feature columns with the code that fills them for training.

use segue_data::features::aggregates_day;
use segue_data::{Catalogue, FeatureInput, SourceColumn};
use segue_pipeline::{CandidateBatch, Deadline, Hydrator, StageError};

use crate::query::Query;

/// One row per candidate, as of the request's moment: folds of the listener's state, statistics of
/// the day before, facts, and what each source said.
#[derive(Debug)]
pub struct FeatureHydrator;

impl Hydrator<Query> for FeatureHydrator {
    fn hydrate(
        &self,
        query: &Query,
        batch: &mut CandidateBatch,
        deadline: &Deadline,
    ) -> Result<(), StageError> {
        let schema = &query.deployment.features;
        let width = schema.len();
        let columns: Vec<Option<usize>> = batch.sources.iter().map(|s| schema.source_idx(s)).collect();
        let day = aggregates_day(query.now);
        let mut values = vec![f32::NAN; batch.len() * width];
        let mut said = Vec::new();
        for (row, out) in values.chunks_exact_mut(width).enumerate() {
            if row % 64 == 0 && deadline.is_past() {
                return Err(StageError::Timeout);
            }
            let item = batch.items[row];
            said.clear();
            for (s, &source_idx) in columns.iter().enumerate() {
                let (rank, score) = (batch.ranks(row)[s], batch.scores(row)[s]);
                if let (Some(source_idx), true) = (source_idx, rank > 0) {
                    said.push(SourceColumn { source_idx, score, rank });
                }
            }
            let snapshot = query.deployment.snapshot.as_deref();
            let stats = snapshot.and_then(|s| s.item_stats(s.item_row(item)?, day));
            let input = FeatureInput {
                state: &query.state,
                item,
                facts: query.catalogue.facts(item, query.now),
                stats,
                as_of: query.now,
                sources: &said,
            };
            schema.fill(&input, out);
        }
        batch.feature_names = schema.names().to_vec();
        batch.features = values;
        Ok(())
    }
}
