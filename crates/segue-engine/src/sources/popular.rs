//! What the market plays most; everywhere where the market has no plays. The source that is always
//! there, for strangers and for listeners without consent too.

use segue_pipeline::{Deadline, Proposals, Source, StageError};
use segue_types::ItemKey;

use crate::query::Query;

/// Decayed plays in the market, then in all markets, then the catalogue's newest releases.
#[derive(Debug)]
pub struct PopularSource;

/// Items looked at for a catalogue without any play.
const COLD_LOOK: usize = 10_000;

impl Source<Query> for PopularSource {
    fn candidates(&self, query: &Query, deadline: &Deadline) -> Result<Proposals, StageError> {
        let mut out = Proposals::default();
        let market = query.market.as_deref();
        let may_play = |key: ItemKey| query.item(key).is_some_and(|item| item.is_in_market(market));
        let lists = [query.popular.list(market.unwrap_or("")), query.popular.list("")];
        // Each further list begins below the last, so that the market's own plays come first.
        for (scale, list) in [1.0, 1e-3].into_iter().zip(lists) {
            for &(key, score) in list {
                if out.len() == query.k {
                    return Ok(out);
                }
                if may_play(key) && !out.items.contains(&key) {
                    out.push(key, score * scale);
                }
            }
        }
        if out.is_empty() {
            // A catalogue nobody has played yet: newest first, then by key.
            let mut cold: Vec<(i32, ItemKey)> = Vec::new();
            let mut keys: Vec<ItemKey> = query.catalogue.keys().collect();
            keys.sort_unstable();
            for key in keys {
                if cold.len() >= COLD_LOOK || deadline.is_past() {
                    break;
                }
                if may_play(key) {
                    let released = query.item(key).and_then(|i| i.release_day).map_or(i32::MIN, |d| d.0);
                    cold.push((released, key));
                }
            }
            cold.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
            for (i, &(_, key)) in cold.iter().take(query.k).enumerate() {
                out.push(key, 1e-6 / (1.0 + i as f32));
            }
        }
        Ok(out)
    }
}
