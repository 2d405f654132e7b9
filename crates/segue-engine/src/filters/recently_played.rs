//! Discovery shelves leave out what the listener heard lately.

use segue_pipeline::{CandidateBatch, Filter, Kept, StageError};
use segue_types::{HOUR_MS, ItemKey};

use crate::query::Query;

/// Removes items played within the last `hours` hours.
#[derive(Debug)]
pub struct RecentlyPlayedFilter {
    /// Hours it looks back.
    pub hours: u32,
}

impl Filter<Query> for RecentlyPlayedFilter {
    fn keep(&self, query: &Query, batch: &CandidateBatch) -> Result<Kept, StageError> {
        let since = query.now.plus_ms(-(i64::from(self.hours) * HOUR_MS)).0;
        let interactions = query.state.interactions();
        let verdict = |&item: &ItemKey| {
            let played = interactions.item(item).is_some_and(|i| i.n_plays > 0 && i.last_played_at >= since);
            played.then_some("recently_played")
        };
        Ok(batch.items.iter().map(verdict).collect())
    }
}
