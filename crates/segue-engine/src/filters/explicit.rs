//! Keeps explicit items from listeners who do not want them. Protects: fails closed.

use segue_pipeline::{CandidateBatch, Filter, Kept, StageError};

use crate::query::Query;

/// Removes explicit items where the listener's facts say `allow_explicit = false`.
#[derive(Debug)]
pub struct ExplicitFilter;

impl Filter<Query> for ExplicitFilter {
    fn keep(&self, query: &Query, batch: &CandidateBatch) -> Result<Kept, StageError> {
        let is_explicit = |item: &_| query.item(*item).is_none_or(|item| item.explicit);
        let verdict = |item: &_| (!query.allow_explicit && is_explicit(item)).then_some("explicit");
        Ok(batch.items.iter().map(verdict).collect())
    }
}
