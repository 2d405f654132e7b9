//! Keeps away what the listener never wants to see. Protects: fails closed.

use segue_pipeline::{CandidateBatch, Filter, Kept, StageError};
use segue_types::ItemKey;

use crate::query::Query;

/// Removes hidden items (`hidden_item`) and items with a hidden artist (`hidden_artist`).
#[derive(Debug)]
pub struct HiddenFilter;

impl Filter<Query> for HiddenFilter {
    fn keep(&self, query: &Query, batch: &CandidateBatch) -> Result<Kept, StageError> {
        let is_hidden = |key: ItemKey| query.hidden.binary_search(&key).is_ok();
        let verdict = |&key: &ItemKey| {
            if is_hidden(key) {
                return Some("hidden_item");
            }
            let item = query.catalogue.item(key, query.now)?;
            item.artist_ids.iter().any(|artist| is_hidden(ItemKey::of(artist))).then_some("hidden_artist")
        };
        Ok(batch.items.iter().map(verdict).collect())
    }
}
