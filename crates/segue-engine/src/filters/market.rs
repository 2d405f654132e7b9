//! Keeps what may be played in the request's market at its moment. Protects: fails closed.

use segue_pipeline::{CandidateBatch, Filter, Kept, StageError};

use crate::query::Query;

/// Removes items the catalogue does not hold as playable now (`not_available`) and those outside
/// the market (`other_market`). A request without a market sees only unrestricted items.
#[derive(Debug)]
pub struct MarketFilter;

impl Filter<Query> for MarketFilter {
    fn keep(&self, query: &Query, batch: &CandidateBatch) -> Result<Kept, StageError> {
        let market = query.market.as_deref();
        let verdict = |item: &_| match query.item(*item) {
            None => Some("not_available"),
            Some(item) if !item.is_in_market(market) => Some("other_market"),
            Some(_) => None,
        };
        Ok(batch.items.iter().map(verdict).collect())
    }
}
