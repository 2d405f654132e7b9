//! The state of one listener: the enricher's and every fold's, online exactly as offline.

use std::collections::VecDeque;

use segue_types::{Event, ItemKey, TimestampMs};

use crate::catalogue::{Catalogue, ItemFacts};
use crate::codec::{Put, Take};
use crate::enrich::{Enriched, Enricher, EnricherState, NotApplied, RawEvent};
use crate::folds::FoldStates;
use crate::folds::interactions::InteractionsState;
use crate::folds::recent_plays::RecentPlay;
use crate::folds::user_features::UserFeaturesState;

/// Everything the system knows of a listener in order.
///
/// ```
/// use segue_data::{ItemCatalogue, UserState};
/// use segue_types::{Event, Play, TimestampMs};
///
/// let mut state = UserState::default();
/// let play = Play::new("e1", "ada", "track-7", TimestampMs(1_700_000_000_000));
/// state.update(&Event::Play(play.clone()), &ItemCatalogue::default())?;
/// assert_eq!(state.n_plays(), 1);
/// assert!(state.update(&Event::Play(play), &ItemCatalogue::default()).is_err()); // a duplicate
/// let mut bytes = Vec::new();
/// state.encode(&mut bytes);
/// assert_eq!(UserState::decode(&bytes), Some(state));
/// # Ok::<(), segue_data::NotApplied>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserState {
    pub(crate) enricher: EnricherState,
    pub(crate) folds: FoldStates,
}

impl UserState {
    /// Version of the outer layout; each part carries its own besides.
    pub const VERSION: u16 = 1;
    /// Upper bound of an encoded state in bytes.
    pub const MAX_BYTES: usize = 8 + Enricher::MAX_BYTES + FoldStates::MAX_BYTES;

    /// Takes one event into account.
    ///
    /// The facts of its item are those the catalogue holds at the moment the event is known.
    /// Events come in the order `(known_at, event key)`: stamp receipt with
    /// [`next_known_at`](Self::next_known_at), or sort a batch before.
    ///
    /// # Errors
    /// Why it was not applied; the state is then unchanged.
    pub fn update(&mut self, event: &Event, catalogue: &dyn Catalogue) -> Result<Enriched, NotApplied> {
        let raw = RawEvent::from(event);
        let facts = catalogue.facts(raw.item, raw.known_at);
        self.update_raw(&raw, &facts)
    }

    /// [`update`](Self::update) with the item's facts at hand.
    ///
    /// # Errors
    /// Why it was not applied; the state is then unchanged.
    pub fn update_raw(&mut self, raw: &RawEvent, facts: &ItemFacts) -> Result<Enriched, NotApplied> {
        let event = Enricher.enrich(&mut self.enricher, raw, facts)?;
        self.folds.update(&event);
        Ok(event)
    }

    /// The first moment, `now` or later, after everything known. A server stamps it on the next
    /// event and composes requests as of it, so that "known strictly before the request" means
    /// the same offline.
    #[must_use]
    pub fn next_known_at(&self, now: TimestampMs) -> TimestampMs {
        self.enricher.next_known_at(now)
    }

    /// When the system knew of the latest event.
    #[must_use]
    pub fn last_known_at(&self) -> Option<TimestampMs> {
        self.enricher.last_known_at()
    }

    /// Number of the current session; `None` before the first play or when a play at `now` would
    /// start a new one.
    #[must_use]
    pub fn session(&self, now: TimestampMs) -> Option<u32> {
        if self.enricher.is_session_over(now) { None } else { self.enricher.session() }
    }

    /// Plays in all.
    #[must_use]
    pub fn n_plays(&self) -> u64 {
        self.folds.user_features.n_plays
    }

    /// The last plays in known-at order, oldest first.
    #[must_use]
    pub fn recent_plays(&self) -> &VecDeque<RecentPlay> {
        &self.folds.recent_plays
    }

    /// Counts, affinities and standing feedback by item and artist.
    #[must_use]
    pub fn interactions(&self) -> &InteractionsState {
        &self.folds.interactions
    }

    /// Activity and session numbers.
    #[must_use]
    pub fn user_features(&self) -> &UserFeaturesState {
        &self.folds.user_features
    }

    /// Whether the listener asked never to see `target` (an item or an artist).
    #[must_use]
    pub fn is_hidden(&self, target: ItemKey) -> bool {
        self.folds.interactions.standing(target).has(crate::folds::interactions::flag::HIDDEN)
    }

    /// The states of all folds.
    #[must_use]
    pub fn folds(&self) -> &FoldStates {
        &self.folds
    }

    /// Appends the canonical bytes of the state.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(Self::VERSION);
        out.put_u16(Enricher::VERSION);
        let length_at = out.len();
        out.put_u32(0);
        self.enricher.encode(out);
        let n = (out.len() - length_at - 4) as u32;
        out[length_at..length_at + 4].copy_from_slice(&n.to_le_bytes());
        self.folds.encode(out);
    }

    /// Reads what [`encode`](Self::encode) wrote. `None` for any other bytes or another version:
    /// rebuild the state from the log.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut t = Take(bytes);
        if t.u16()? != Self::VERSION || t.u16()? != Enricher::VERSION {
            return None;
        }
        let n = t.u32()? as usize;
        let enricher = EnricherState::decode(t.bytes(n)?)?;
        let folds = FoldStates::decode(&mut t)?;
        t.end()?;
        Some(Self { enricher, folds })
    }
}
