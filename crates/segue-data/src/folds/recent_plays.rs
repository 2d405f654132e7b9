//! The last plays of a listener, in the order the system came to know them.

use std::collections::VecDeque;

use segue_types::{Action, ItemKey, TimestampMs};

use crate::codec::{Put, Take, unzigzag, zigzag};
use crate::enrich::{Enriched, What};
use crate::fold::{Fold, ItemContext};

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
}

/// The last [`MAX_PLAYS`] plays with action and time.
#[derive(Debug, Clone, Copy)]
pub struct RecentPlays;

impl Fold for RecentPlays {
    /// Oldest first.
    type State = VecDeque<RecentPlay>;

    const NAME: &'static str = "recent_plays";
    const VERSION: u16 = 1;
    const MAX_BYTES: usize = 4 + MAX_PLAYS * PLAY_BYTES;
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

    fn encode(state: &Self::State, out: &mut Vec<u8>) {
        out.put_u32(state.len() as u32);
        let mut before = 0;
        for p in state {
            out.put_u64(p.item.0);
            out.put_u64(p.artist);
            out.put_u64(p.tag);
            out.put_varint(zigzag(p.known_at.0.wrapping_sub(before)));
            out.put_varint(zigzag(p.known_at.0.wrapping_sub(p.occurred_at.0)));
            out.put_varint(u64::from(p.session));
            out.put_u8(p.action.code());
            before = p.known_at.0;
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self::State> {
        let mut t = Take(bytes);
        let n = t.count(MIN_PLAY_BYTES, MAX_PLAYS)?;
        let mut state = VecDeque::with_capacity(n);
        let mut before = 0_i64;
        for _ in 0..n {
            let (item, artist, tag) = (ItemKey(t.u64()?), t.u64()?, t.u64()?);
            let known_at = before.wrapping_add(unzigzag(t.varint()?));
            let occurred_at = TimestampMs(known_at.wrapping_sub(unzigzag(t.varint()?)));
            let (session, action) = (t.varint32()?, Action::from_code(t.u8()?)?);
            before = known_at;
            let known_at = TimestampMs(known_at);
            state.push_back(RecentPlay { item, artist, tag, occurred_at, known_at, session, action });
        }
        t.end()?;
        Some(state)
    }
}

/// Most bytes of one encoded [`RecentPlay`].
const PLAY_BYTES: usize = 3 * 8 + 10 + 10 + 5 + 1;
/// Fewest bytes of the same.
const MIN_PLAY_BYTES: usize = 3 * 8 + 3 + 1;
