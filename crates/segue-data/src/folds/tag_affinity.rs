//! How much a listener plays the candidate's kind of music lately.

use segue_types::{Action, TimestampMs};

use super::decayed::Decayed;
use crate::codec::{Put, Take};
use crate::enrich::{Enriched, What};
use crate::fold::{Fold, ItemContext};

/// Half-life of the decayed plays in days.
pub const HALF_LIFE_DAYS: f64 = 14.0;
/// Tags remembered; beyond, the one with the least decayed plays is forgotten.
pub const MAX_TAGS: usize = 64;

/// State of [`TagAffinity`]: decayed plays by tag, tags ascending.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TagAffinityState {
    tags: Vec<(u64, Decayed)>,
}

/// Decayed plays of the candidate's first tag, and their share of all. Skipped plays do not count.
#[derive(Debug, Clone, Copy)]
pub struct TagAffinity;

impl Fold for TagAffinity {
    type State = TagAffinityState;

    const NAME: &'static str = "tag_affinity";
    const VERSION: u16 = 1;
    const MAX_BYTES: usize = 4 + MAX_TAGS * 24;
    const COLUMNS: &'static [&'static str] = &["user_tag.plays_decayed", "user_tag.share"];

    fn update(state: &mut Self::State, event: &Enriched) {
        let What::Play { action, .. } = event.what else { return };
        if event.tag == 0 || action == Action::Skipped {
            return;
        }
        let now = event.known_at;
        let i = match state.tags.binary_search_by_key(&event.tag, |(tag, _)| *tag) {
            Ok(i) => i,
            Err(i) => {
                state.tags.insert(i, (event.tag, Decayed::default()));
                i
            }
        };
        state.tags[i].1.add(1.0, now, HALF_LIFE_DAYS);
        if state.tags.len() > MAX_TAGS {
            let plays = |i: usize| state.tags[i].1.read(now, HALF_LIFE_DAYS);
            if let Some(least) = (0..state.tags.len()).min_by(|&a, &b| plays(a).total_cmp(&plays(b))) {
                state.tags.remove(least);
            }
        }
    }

    fn read(state: &Self::State, item: Option<&ItemContext>, as_of: TimestampMs, row: &mut [f32]) {
        row.fill(f32::NAN);
        let Some(item) = item.filter(|item| item.tag != 0) else { return };
        let plays = |(_, plays): &(u64, Decayed)| plays.read(as_of, HALF_LIFE_DAYS);
        let found = state.tags.binary_search_by_key(&item.tag, |(tag, _)| *tag);
        let of_tag = found.map_or(0.0, |i| plays(&state.tags[i]));
        // Tags ascend, so the sum has one order.
        let all: f64 = state.tags.iter().map(plays).sum();
        row[0] = of_tag as f32;
        if all > 0.0 {
            row[1] = (of_tag / all) as f32;
        }
    }

    fn encode(state: &Self::State, out: &mut Vec<u8>) {
        out.put_u32(state.tags.len() as u32);
        for (tag, plays) in &state.tags {
            out.put_u64(*tag);
            out.put_f64(plays.value);
            out.put_i64(plays.at);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self::State> {
        let mut t = Take(bytes);
        let n = t.u32()? as usize;
        if n > MAX_TAGS {
            return None;
        }
        let mut tags = Vec::with_capacity(n);
        for _ in 0..n {
            tags.push((t.u64()?, Decayed { value: t.f64()?, at: t.i64()? }));
        }
        t.end()?;
        let ascends = tags.windows(2).all(|w| w[0].0 < w[1].0);
        let counts = tags.iter().all(|(tag, plays)| *tag != 0 && plays.value.is_finite() && plays.value >= 0.0);
        (ascends && counts).then_some(TagAffinityState { tags })
    }
}
