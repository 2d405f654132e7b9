//! Without consent, nothing personal is shown. Protects: fails closed.

use segue_pipeline::{CandidateBatch, Filter, Kept, StageError};

use crate::query::Query;

/// For listeners whose facts say `consent = false`: removes every candidate that no impersonal
/// source proposed. Their history is not read in the first place; this is the second lock.
#[derive(Debug)]
pub struct ConsentFilter;

impl Filter<Query> for ConsentFilter {
    fn keep(&self, query: &Query, batch: &CandidateBatch) -> Result<Kept, StageError> {
        let impersonal: Vec<bool> =
            batch.sources.iter().map(|name| crate::registry::is_impersonal(name)).collect();
        let verdict = |row| {
            let stays = query.consent || batch.best_source(row, |s| impersonal[s]).is_some();
            (!stays).then_some("no_consent")
        };
        Ok((0..batch.len()).map(verdict).collect())
    }
}
