//! Policies of known worth: a floor, a middle and a ceiling for any recommender in the loop.
//!
//! They answer like a service but run in process, and they may look at the truth.

use segue_types::api::{EventsResponse, SlateRequest};
use segue_types::slate::ItemDisplay;
use segue_types::{Card, Day, Event, ItemKey, Shelf, Slate, Surface, TimestampMs};

use crate::SimError;
use crate::catalogue::Catalogue;
use crate::rng::{Luck, Stream};
use crate::service::SlateService;
use crate::utility::lasting_appeal;
use crate::world::World;

/// Cards of a shelf, and tracks of a queue.
const SHELF_LEN: usize = 12;
/// Shelves of Home.
const N_SHELVES: usize = 4;
/// Tracks a listener's list holds.
const LIST_LEN: usize = 200;

/// What a policy knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// The chart, the same for everybody.
    Chart,
    /// The genres of the listener's tastes: the most popular tracks of those.
    Genres,
    /// What the listener truly likes ([`lasting_appeal`]), but not what they have heard or want just now.
    Truth,
}

/// A policy of fixed knowledge: each slate is a seeded draw, by request id, from the listener's list.
#[derive(Debug)]
pub struct ReferencePolicy {
    lists: Vec<Vec<u32>>,
}

impl ReferencePolicy {
    /// Makes the lists of listeners `0..n_users` with what is released on `day`.
    #[must_use]
    pub fn new(world: &World, knowledge: Knowledge, n_users: u32, day: Day) -> Self {
        let catalogue = world.catalogue();
        let released: Vec<u32> =
            (0..catalogue.n_items() as u32).filter(|&i| catalogue.is_released(i, day)).collect();
        let attention = |i: u32| f64::from(catalogue.attention[i as usize]);
        let lists = (0..n_users)
            .map(|user| {
                let listener = world.listener(user);
                let value = |i: u32| match knowledge {
                    Knowledge::Truth => lasting_appeal(&listener, catalogue, i),
                    Knowledge::Genres if listener.tastes.iter().any(|t| t.genre == catalogue.genre(i)) => {
                        attention(i)
                    }
                    Knowledge::Genres => 0.0,
                    Knowledge::Chart => attention(i),
                };
                let mut items: Vec<(f64, u32)> = released.iter().map(|&i| (value(i), i)).collect();
                let order = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
                let keep = if knowledge == Knowledge::Chart { 50 } else { LIST_LEN };
                if items.len() > keep {
                    items.select_nth_unstable_by(keep, order);
                    items.truncate(keep);
                }
                items.sort_by(order);
                items.into_iter().map(|x| x.1).collect()
            })
            .collect();
        Self { lists }
    }

    fn compose(&self, request: &SlateRequest, surface: Surface, n_shelves: usize) -> Slate {
        let user = request.user_id.as_deref().and_then(|id| id.strip_prefix('u')?.parse::<usize>().ok());
        let list = user.and_then(|u| self.lists.get(u)).map_or(&[][..], Vec::as_slice);
        let request_id = request.request_id.clone().unwrap_or_default();
        // The first part of a seeded permutation of the list.
        let mut items = list.to_vec();
        let mut luck = Luck::new(ItemKey::of(&request_id).0, 0, 0, 0, Stream::Choice);
        let n = items.len().min(n_shelves * SHELF_LEN);
        for i in 0..n {
            let j = i + luck.below(items.len() - i);
            items.swap(i, j);
        }
        items.truncate(n);
        let shelves = items
            .chunks(SHELF_LEN)
            .enumerate()
            .map(|(s, row)| Shelf {
                shelf_id: format!("shelf_{s}"),
                title: String::new(),
                why: String::new(),
                cards: row
                    .iter()
                    .enumerate()
                    .map(|(c, &item)| card(item, (s * SHELF_LEN + c) as u32))
                    .collect(),
            })
            .collect();
        Slate {
            slate_id: request_id,
            surface,
            user_id: request.user_id.clone(),
            composed_at: request.now.unwrap_or_default(),
            shelves,
            degraded: Vec::new(),
            empty_reason: None,
            slate_propensity: 1.0,
        }
    }
}

fn card(item: u32, position: u32) -> Card {
    let item_id = Catalogue::item_id(item);
    Card {
        item_key: ItemKey::of(&item_id),
        item_id,
        position,
        source: "reference_policy".to_owned(),
        reason: None,
        score: 0.0,
        prefix_propensity: 1.0,
        display: ItemDisplay::default(),
    }
}

impl SlateService for ReferencePolicy {
    fn home(&self, request: &SlateRequest) -> Result<Slate, SimError> {
        Ok(self.compose(request, Surface::Home, N_SHELVES))
    }

    fn now_playing(&self, request: &SlateRequest) -> Result<Slate, SimError> {
        Ok(self.compose(request, Surface::NowPlaying, 1))
    }

    fn report(&self, events: Vec<Event>, _now: TimestampMs) -> Result<EventsResponse, SimError> {
        Ok(EventsResponse { n_accepted: events.len() as u32, n_duplicates: 0, rejected: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WorldConfig;
    use crate::listener::Listener;

    #[test]
    fn a_slate_is_the_same_for_the_same_request_and_has_no_track_twice() {
        let world = World::new(WorldConfig::smoke(1)).unwrap();
        let policy = ReferencePolicy::new(&world, Knowledge::Truth, 5, world.config().end_day());
        let request = SlateRequest {
            request_id: Some("a".to_owned()),
            user_id: Some(Listener::user_id(3)),
            ..SlateRequest::default()
        };
        let slate = policy.home(&request).unwrap();
        assert_eq!(slate, policy.home(&request).unwrap());
        let mut ids: Vec<&str> =
            slate.shelves.iter().flat_map(|s| &s.cards).map(|c| c.item_id.as_str()).collect();
        assert_eq!(ids.len(), 48);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 48);
        let stranger = SlateRequest { user_id: Some("nobody".to_owned()), ..request };
        assert!(policy.home(&stranger).unwrap().shelves.is_empty());
    }
}
