//! The queue does not begin with what plays now, nor repeat what just played.

use segue_pipeline::{CandidateBatch, Filter, Kept, StageError};
use segue_types::ItemKey;

use crate::query::Query;

/// Plays of the current session that are not repeated.
const LOOK_BACK: usize = 20;

/// Removes the current item (`playing_now`) and the last plays of the session still going on
/// (`just_played`), also as another release of the same recording.
#[derive(Debug)]
pub struct AlreadyPlayingFilter;

impl Filter<Query> for AlreadyPlayingFilter {
    fn keep(&self, query: &Query, batch: &CandidateBatch) -> Result<Kept, StageError> {
        let session = query.state.session(query.now);
        let just: Vec<ItemKey> = query
            .state
            .recent_plays()
            .iter()
            .rev()
            .take(LOOK_BACK)
            .filter(|play| session == Some(play.session))
            .map(|play| play.item)
            .collect();
        let recording = |key| query.catalogue.item(key, query.now).and_then(|i| i.recording_id.as_deref());
        let same = |a: ItemKey, b: ItemKey| a == b || recording(a).is_some_and(|r| recording(b) == Some(r));
        let verdict = |&item: &ItemKey| {
            if query.current.is_some_and(|current| same(item, current)) {
                Some("playing_now")
            } else {
                just.iter().any(|&played| same(item, played)).then_some("just_played")
            }
        };
        Ok(batch.items.iter().map(verdict).collect())
    }
}
