//! What the stages may know of one request. Made once, shared by all of them.

use std::sync::Arc;

use segue_data::UserState;
use segue_models::KeyedQuery;
use segue_types::{Item, ItemKey, Surface, TimestampMs, UserKey};

use crate::catalogue::{CatalogueView, is_playable};
use crate::deployment::Deployment;
use crate::popularity::PopularLists;

/// One request with everything its stages read: nothing here changes while it is composed.
pub struct Query {
    /// Which surface is asked for.
    pub surface: Surface,
    /// The moment it is composed for, after every event in `state`.
    pub now: TimestampMs,
    /// Key of the listener; absent for a stranger.
    pub user: Option<UserKey>,
    /// Market of the request, else of the listener.
    pub market: Option<String>,
    /// Plan of the listener; absent without consent.
    pub plan: Option<String>,
    /// First year of the five in which the listener was born; absent without consent.
    pub birth_year: Option<i32>,
    /// False keeps explicit items out.
    pub allow_explicit: bool,
    /// False means: nothing personal. `state` and `history` are empty then, except for hides.
    pub consent: bool,
    /// The item that plays now.
    pub current: Option<ItemKey>,
    /// Candidates asked of each source.
    pub k: usize,
    /// The listener's state; empty without consent.
    pub state: Arc<UserState>,
    /// Items and artists the listener hid; kept without consent, since it protects.
    pub hidden: Vec<ItemKey>,
    /// The state's last plays as columns.
    pub history: History,
    /// Items of this moment.
    pub catalogue: Arc<CatalogueView>,
    /// What serves this request: its experiment arms included.
    pub deployment: Arc<Deployment>,
    /// Arms that could have changed the slate, `experiment=arm`.
    pub arms: Vec<String>,
    /// What is popular.
    pub popular: Arc<PopularLists>,
}

/// Plays as parallel columns, oldest first, as models read them.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// `[n]` items.
    pub item: Vec<ItemKey>,
    /// `[n]` codes of [`Action`](segue_types::Action).
    pub action: Vec<u8>,
    /// `[n]` UTC milliseconds when playback began.
    pub occurred_at: Vec<i64>,
    /// `[n]` UTC milliseconds when the system knew.
    pub known_at: Vec<i64>,
    /// `[n]` session numbers.
    pub session: Vec<u32>,
    /// `[n]` bytes of [`PlayContext`](segue_data::PlayContext).
    pub context: Vec<u8>,
}

impl History {
    /// The columns of a state's recent plays.
    #[must_use]
    pub fn of(state: &UserState) -> Self {
        let mut h = Self::default();
        for play in state.recent_plays() {
            h.item.push(play.item);
            h.action.push(play.action.code());
            h.occurred_at.push(play.occurred_at.0);
            h.known_at.push(play.known_at.0);
            h.session.push(play.session);
            h.context.push(play.context.byte());
        }
        h
    }

    /// The question a model is asked for `query`.
    #[must_use]
    pub fn keyed<'a>(&'a self, query: &'a Query) -> KeyedQuery<'a> {
        KeyedQuery {
            item: &self.item,
            action: &self.action,
            occurred_at: &self.occurred_at,
            known_at: &self.known_at,
            session: &self.session,
            context: &self.context,
            now: Some(query.now),
            market: query.market.as_deref(),
            plan: query.plan.as_deref(),
            birth_year: query.birth_year,
            current: query.current,
        }
    }
}

impl Query {
    /// Facts of an item that the surface may show at the request's moment: a queue takes only what
    /// can be played by itself.
    #[must_use]
    pub fn item(&self, key: ItemKey) -> Option<&Arc<Item>> {
        let is_queue = self.surface == Surface::NowPlaying;
        self.catalogue.available(key, self.now).filter(|item| !is_queue || is_playable(item.kind))
    }
}
