//! Shelves that should please leave out what the listener skipped lately.

use std::collections::HashMap;

use segue_pipeline::{CandidateBatch, Filter, Kept, StageError};
use segue_types::{Action, HOUR_MS, ItemKey};

use crate::query::Query;

/// Removes items whose latest play, within the last `hours` hours, was skipped.
#[derive(Debug)]
pub struct RecentlySkippedFilter {
    /// Hours it looks back.
    pub hours: u32,
}

impl Filter<Query> for RecentlySkippedFilter {
    fn keep(&self, query: &Query, batch: &CandidateBatch) -> Result<Kept, StageError> {
        let since = query.now.plus_ms(-(i64::from(self.hours) * HOUR_MS));
        let mut latest: HashMap<ItemKey, Action> = HashMap::new();
        for play in query.state.recent_plays().iter().filter(|p| p.occurred_at >= since) {
            latest.insert(play.item, play.action);
        }
        let verdict = |item: &ItemKey| (latest.get(item) == Some(&Action::Skipped)).then_some("recently_skipped");
        Ok(batch.items.iter().map(verdict).collect())
    }
}
