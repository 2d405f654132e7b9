//! The last plays of a listener, in the order the system came to know them.

use std::collections::VecDeque;

use segue_types::{Action, ItemKey, TimestampMs};

use crate::codec::{Put, Take, unzigzag, zigzag};
use crate::enrich::{Enriched, What};
use crate::fold::{Fold, ItemContext};
use crate::play_context::PlayContext;

/// Plays kept per listener.
pub const MAX_PLAYS: usize = 256;
/// Plays that `recent.*` columns look back over.
const LOOK_BACK: usize = 20;

/// One of the last plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentPlay {
    /// What was played.
    pub item: ItemKey,
    /// Its main artist, 0 if unknown.
    pub artist: u64,
    /// Its first tag, 0 if unknown.
    pub tag: u64,
    /// When it began.
    pub occurred_at: TimestampMs,
    /// When the system knew.
    pub known_at: TimestampMs,
    /// Session number.
    pub session: u32,
    /// What became of it.
    pub action: Action,
    /// Where it was started and how much of it was heard.
    pub context: PlayContext,
}

/// The last [`MAX_PLAYS`] plays with action and time.
#[derive(Debug, Clone, Copy)]
pub struct RecentPlays;

impl Fold for RecentPlays {
    /// Oldest first.
    type State = VecDeque<RecentPlay>;

    const NAME: &'static str = "recent_plays";
    const VERSION: u16 = 2;
    const MAX_BYTES: usize = 4 + 5 + 2 + MAX_PLAYS * PLAY_BYTES;
    const COLUMNS: &'static [&'static str] = &[
        "recent.plays_since_item",
        "recent.same_artist_share",
        "recent.same_tag_share",
        "recent.skip_streak",
    ];

    fn update(state: &mut Self::State, event: &Enriched) {
        let What::Play { action, .. } = event.what else { return };
        if state.len() == MAX_PLAYS {
            state.pop_front();
        }
        state.push_back(RecentPlay {
            item: event.item,
            artist: event.artist,
            tag: event.tag,
            occurred_at: event.occurred_at,
            known_at: event.known_at,
            session: event.session,
            action,
            context: event.what.context(),
        });
    }

    fn read(state: &Self::State, item: Option<&ItemContext>, _as_of: TimestampMs, row: &mut [f32]) {
        row.fill(f32::NAN);
        row[3] = state.iter().rev().take_while(|p| p.action == Action::Skipped).count() as f32;
        let Some(item) = item else { return };
        if let Some(ago) = state.iter().rev().position(|p| p.item == item.item) {
            row[0] = ago as f32;
        }
        let n = state.len().min(LOOK_BACK);
        if n == 0 {
            return;
        }
        let share = |same: &dyn Fn(&RecentPlay) -> bool| {
            state.iter().rev().take(n).filter(|p| same(p)).count() as f32 / n as f32
        };
        if item.artist != 0 {
            row[1] = share(&|p| p.artist == item.artist);
        }
        if item.tag != 0 {
            row[2] = share(&|p| p.tag == item.tag);
        }
    }

    /// Keys of items, artists and tags come back within a listener's plays: each is written once, ascending, and
    /// plays name their places. A session is the last play's or the one after it.
    fn encode(state: &Self::State, out: &mut Vec<u8>) {
        out.put_u32(state.len() as u32);
        let Some(first) = state.front() else { return };
        out.put_varint(u64::from(first.session));
        let mut keys: Vec<u64> = state.iter().flat_map(|p| [p.item.0, p.artist, p.tag]).collect();
        keys.sort_unstable();
        keys.dedup();
        out.put_varint(keys.len() as u64);
        keys.iter().for_each(|&key| out.put_u64(key));
        let (mut before, mut session) = (0, first.session);
        for p in state {
            for key in [p.item.0, p.artist, p.tag] {
                out.put_varint(keys.partition_point(|&k| k < key) as u64);
            }
            out.put_varint(zigzag(p.known_at.0.wrapping_sub(before)));
            out.put_varint(zigzag(p.known_at.0.wrapping_sub(p.occurred_at.0)));
            out.put_u8(p.action.code());
            out.put_u8(p.context.with_start(p.session != session).byte());
            (before, session) = (p.known_at.0, p.session);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self::State> {
        let mut t = Take(bytes);
        let n = t.count(MIN_PLAY_BYTES, MAX_PLAYS)?;
        let mut state = VecDeque::with_capacity(n);
        if n == 0 {
            return t.end().map(|()| state);
        }
        let mut session = t.varint32()?;
        let n_keys = usize::try_from(t.varint()?).ok().filter(|&n_keys| n_keys <= 3 * n)?;
        let keys: Vec<u64> = (0..n_keys).map(|_| t.u64()).collect::<Option<_>>()?;
        let mut is_used = vec![false; n_keys];
        let mut before = 0_i64;
        for _ in 0..n {
            let mut key = || {
                let place = usize::try_from(t.varint()?).ok()?;
                *is_used.get_mut(place)? = true;
                keys.get(place).copied()
            };
            let (item, artist, tag) = (ItemKey(key()?), key()?, key()?);
            let known_at = before.wrapping_add(unzigzag(t.varint()?));
            let occurred_at = TimestampMs(known_at.wrapping_sub(unzigzag(t.varint()?)));
            let (action, context) = (Action::from_code(t.u8()?)?, PlayContext::from_byte(t.u8()?));
            if context.starts_session() && state.is_empty() {
                return None;
            }
            session = session.wrapping_add(u32::from(context.starts_session()));
            before = known_at;
            let (known_at, context) = (TimestampMs(known_at), context.with_start(false));
            state.push_back(RecentPlay { item, artist, tag, occurred_at, known_at, session, action, context });
        }
        t.end()?;
        // One state has one encoding.
        (keys.is_sorted_by(|a, b| a < b) && is_used.iter().all(|&used| used)).then_some(state)
    }
}

/// Most bytes of one encoded [`RecentPlay`], its keys included.
const PLAY_BYTES: usize = 3 * (2 + 8) + 10 + 10 + 2;
/// Fewest bytes of the same.
const MIN_PLAY_BYTES: usize = 3 + 2 + 2;
