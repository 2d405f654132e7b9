//! What the listener saved: their own collection, long unheard first.

use segue_data::folds::interactions::flag;
use segue_pipeline::{Deadline, Proposals, Source, StageError};
use segue_types::{HOUR_MS, ItemKey};

use crate::query::Query;

/// Saved items, those not heard for longest first. Score: days since the last play, as a share of a
/// year; a save never played scores 1. Ties by item key.
#[derive(Debug)]
pub struct SavedSource;

impl Source<Query> for SavedSource {
    fn candidates(&self, query: &Query, _deadline: &Deadline) -> Result<Proposals, StageError> {
        let interactions = query.state.interactions();
        let mut saved: Vec<_> = interactions
            .standing
            .iter()
            .filter(|(_, standing)| standing.has(flag::SAVED))
            .map(|(&key, _)| ItemKey(key))
            .filter(|&key| query.item(key).is_some())
            .map(|key| {
                let since = interactions.item(key).filter(|i| i.n_plays > 0).map(|i| i.last_played_at);
                let hours = since.map(|at| query.now.0.saturating_sub(at).max(0) as f64 / HOUR_MS as f64);
                let score = hours.map_or(1.0, |h| (h / (365.0 * 24.0)).min(1.0));
                (key, score as f32)
            })
            .collect();
        saved.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut out = Proposals::default();
        saved.into_iter().take(query.k).for_each(|(key, score)| out.push(key, score));
        Ok(out)
    }
}
