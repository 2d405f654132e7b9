//! New items of artists the listener loves.

use segue_data::folds::interactions::flag;
use segue_pipeline::{Deadline, Proposals, Source, StageError};
use segue_types::ItemKey;

use crate::query::Query;

/// Artists whose releases are looked at: those with the highest affinity, and those followed.
const ARTISTS: usize = 50;

/// Items released within the last `days` days by loved artists that the listener has not played.
/// Score: the artist's affinity, decayed by a half per `days` of age.
#[derive(Debug)]
pub struct NewReleasesSource {
    /// Days after its release that an item counts as new.
    pub days: u32,
}

impl Source<Query> for NewReleasesSource {
    fn candidates(&self, query: &Query, deadline: &Deadline) -> Result<Proposals, StageError> {
        let interactions = query.state.interactions();
        let mut artists = interactions.top_artists(query.now, ARTISTS);
        for (&key, standing) in interactions.standing.iter().filter(|(_, s)| s.has(flag::FOLLOWED)) {
            match artists.iter_mut().find(|(artist, _)| *artist == key) {
                Some((_, affinity)) => *affinity += 1.0,
                None => artists.push((key, 1.0)),
            }
            let _ = standing;
        }
        let today = query.now.day();
        let mut out: Vec<(ItemKey, f32)> = Vec::new();
        for (artist, affinity) in artists {
            if deadline.is_past() {
                return Err(StageError::Timeout);
            }
            for key in query.catalogue.by_artist(artist) {
                let Some(released) = query.item(key).and_then(|item| item.release_day) else { continue };
                let age = today.0.saturating_sub(released.0);
                if !(0..=self.days as i32).contains(&age)
                    || interactions.item(key).is_some_and(|i| i.n_plays > 0)
                {
                    continue;
                }
                let decay = (-f64::from(age) / f64::from(self.days.max(1))).exp2();
                out.push((key, (affinity * decay) as f32));
            }
        }
        out.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut proposals = Proposals::default();
        out.into_iter().take(query.k).for_each(|(key, score)| proposals.push(key, score));
        Ok(proposals)
    }
}
