//! What the listener played lately: "jump back in".

use std::collections::HashMap;

use segue_pipeline::{Deadline, Proposals, Source, StageError};
use segue_types::{Action, HOUR_MS, ItemKey};

use crate::query::Query;

/// Recent plays that were not skipped, latest first, each item once. Score `1 / (1 + hours since)`,
/// doubled for each time it was heard to the end (at most eightfold).
#[derive(Debug)]
pub struct RecentSource;

impl Source<Query> for RecentSource {
    fn candidates(&self, query: &Query, _deadline: &Deadline) -> Result<Proposals, StageError> {
        let mut seen: HashMap<ItemKey, (i64, i32)> = HashMap::new();
        let mut order = Vec::new();
        for play in query.state.recent_plays().iter().rev() {
            if matches!(play.action, Action::Skipped | Action::Sampled) {
                continue;
            }
            let entry = seen.entry(play.item).or_insert_with(|| {
                order.push(play.item);
                (play.occurred_at.0, 0)
            });
            entry.1 += i32::from(play.action == Action::Completed);
        }
        let mut out = Proposals::default();
        for item in order.into_iter().take(query.k) {
            let (at, completions) = seen[&item];
            let hours = query.now.0.saturating_sub(at).max(0) as f64 / HOUR_MS as f64;
            out.push(item, (f64::from(1 << completions.clamp(0, 3)) / (1.0 + hours)) as f32);
        }
        Ok(out)
    }
}
