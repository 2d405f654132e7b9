//! Items like the one that plays now, or like the one the listener enjoyed last.

use segue_pipeline::{Deadline, Proposals, Source, StageError};
use segue_types::{Action, ItemKey};

use crate::query::Query;

/// Neighbours of one anchor item, by the first model that knows any, else by the snapshot's
/// co-listens. The anchor explains every proposal: "because you listened to".
#[derive(Debug)]
pub struct SimilarSource;

/// The item whose neighbours are shown: what plays now, else the latest play that was enjoyed.
#[must_use]
pub fn anchor(query: &Query) -> Option<ItemKey> {
    query.current.or_else(|| {
        let enjoyed = |a: Action| matches!(a, Action::Completed | Action::Streamed | Action::Played);
        let plays = query.state.recent_plays();
        plays.iter().rev().find(|p| enjoyed(p.action) && query.item(p.item).is_some()).map(|p| p.item)
    })
}

impl Source<Query> for SimilarSource {
    fn candidates(&self, query: &Query, _deadline: &Deadline) -> Result<Proposals, StageError> {
        let Some(anchor) = anchor(query) else { return Ok(Proposals::default()) };
        let mut out = Proposals::default();
        if let Some((_, neighbours)) = query.deployment.similar(anchor, query.k) {
            for (item, score) in neighbours.into_iter().filter(|&(item, _)| item != anchor) {
                out.push(item, score);
                out.because.push(Some(anchor));
            }
        }
        Ok(out)
    }
}
