//! The one adapter from a retrieval model to a source: an artifact's name in a shelf is enough.

use segue_pipeline::{Deadline, Proposals, Source, StageError};
use segue_types::ItemKey;

use crate::query::Query;

/// Asks the model that the deployment holds under `name`.
#[derive(Debug)]
pub struct ModelSource {
    /// Name of the artifact.
    pub name: String,
}

impl Source<Query> for ModelSource {
    fn candidates(&self, query: &Query, deadline: &Deadline) -> Result<Proposals, StageError> {
        let model = query.deployment.model(&self.name).map_err(StageError::MissingModel)?;
        let h = &query.history;
        let asked = h.keyed(query);
        let exclude: Vec<ItemKey> = query.current.into_iter().collect();
        let scored = model
            .recommend(&asked, query.k, &exclude, None)
            .map_err(|e| StageError::Failed(e.to_string()))?;
        let mut out = Proposals::default();
        for s in &scored {
            out.push(s.item, s.score);
        }
        // What each proposal rests on, where the model can tell: the play that contributed most.
        for item in &out.items {
            if deadline.is_past() {
                break;
            }
            let best = model
                .explain(&asked, *item)
                .into_iter()
                .max_by(|a, b| a.amount.total_cmp(&b.amount).then(a.history_idx.cmp(&b.history_idx)));
            let because = best.filter(|c| c.amount > 0.0).and_then(|c| match h.item.get(c.history_idx) {
                Some(&item) => Some(item),
                None => query.current, // models say `history.len()` for what plays now
            });
            out.because.push(because);
        }
        out.because.resize(out.items.len(), None);
        Ok(out)
    }
}
