//! Counts, last play, affinity and standing feedback, per user×item and user×artist.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use segue_types::{Action, FeedbackKind, ItemKey, TimestampMs};

use super::decayed::{Decayed, hours_since};
use crate::codec::{Put, Take, unzigzag, zigzag};
use crate::enrich::{Enriched, What};
use crate::fold::{Fold, ItemContext};

/// Items (and artists) remembered per listener; beyond it the least recently met quarter goes.
pub const MAX_ENTRIES: usize = 1_024;
/// Targets whose feedback is remembered; beyond it the oldest goes.
pub const MAX_STANDING: usize = 1_024;
/// Half-life of affinity in days.
pub const AFFINITY_HALF_LIFE_DAYS: f64 = 30.0;

/// Keys are hashes already; hashing them again is work for nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(b);
        }
    }
    fn write_u64(&mut self, v: u64) {
        self.0 = v;
    }
}

/// A map from item or artist keys.
pub type KeyMap<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

/// What a listener did with one item, or with all items of one artist.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Interaction {
    /// Plays.
    pub n_plays: u32,
    /// Plays of 30 s or more.
    pub n_streams: u32,
    /// Plays of 90 % or more.
    pub n_completions: u32,
    /// Plays the listener ended before completion.
    pub n_skips: u32,
    /// Impressions since the last play.
    pub n_unplayed_impressions: u32,
    /// Latest start of a play, UTC milliseconds; `i64::MIN` before the first.
    pub last_played_at: i64,
    /// When the system last learned of a play or impression, UTC milliseconds.
    pub last_known_at: i64,
    /// Decayed sum with a half-life of [`AFFINITY_HALF_LIFE_DAYS`]: 1.5 for a completion, .5 for a
    /// skip or a play under 30 s, 1 for any other play.
    pub affinity: Decayed,
}

impl Interaction {
    fn new() -> Self {
        Self { last_played_at: i64::MIN, ..Self::default() }
    }

    fn meet(&mut self, event: &Enriched, action: Action, listened_ms: Option<i64>) {
        self.n_plays = self.n_plays.saturating_add(1);
        let add = |n: &mut u32, yes: bool| *n = n.saturating_add(u32::from(yes));
        add(&mut self.n_streams, listened_ms.is_some_and(|ms| ms >= segue_types::label::STREAM_MS));
        add(&mut self.n_completions, action == Action::Completed);
        add(&mut self.n_skips, action == Action::Skipped);
        self.n_unplayed_impressions = 0;
        self.last_played_at = self.last_played_at.max(event.occurred_at.0);
        self.last_known_at = event.known_at.0;
        let amount = match action {
            Action::Completed => 1.5,
            Action::Skipped | Action::Sampled => 0.5,
            _ => 1.0,
        };
        self.affinity.add(amount, event.known_at, AFFINITY_HALF_LIFE_DAYS);
    }
}

/// Feedback in force on one target. Bits of [`Standing::flags`].
pub mod flag {
    /// Saved or added to a playlist.
    pub const SAVED: u8 = 1;
    /// Thumb up.
    pub const LIKED: u8 = 2;
    /// Thumb down.
    pub const DISLIKED: u8 = 4;
    /// Never to be shown.
    pub const HIDDEN: u8 = 8;
    /// Followed.
    pub const FOLLOWED: u8 = 16;
}

/// The feedback in force on one item, artist or playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Bits of [`flag`].
    pub flags: u8,
    /// When the latest act on it happened, UTC milliseconds.
    pub occurred_at: i64,
}

impl Standing {
    /// Whether all bits of `flag` are set.
    #[must_use]
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag == flag
    }
}

/// State of [`Interactions`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InteractionsState {
    /// Per item key.
    pub items: KeyMap<Interaction>,
    /// Per artist key; events without a known artist do not count here.
    pub artists: KeyMap<Interaction>,
    /// Per target key.
    pub standing: BTreeMap<u64, Standing>,
}

impl InteractionsState {
    /// What the listener did with `item`, if remembered.
    #[must_use]
    pub fn item(&self, item: ItemKey) -> Option<&Interaction> {
        self.items.get(&item.0)
    }

    /// The feedback in force on `target`.
    #[must_use]
    pub fn standing(&self, target: ItemKey) -> Standing {
        self.standing.get(&target.0).copied().unwrap_or_default()
    }

    /// Artists by affinity as of `as_of`, highest first, ties by key; at most `k`.
    #[must_use]
    pub fn top_artists(&self, as_of: TimestampMs, k: usize) -> Vec<(u64, f64)> {
        let mut out: Vec<_> = self
            .artists
            .iter()
            .filter(|(_, a)| a.n_plays > 0)
            .map(|(&key, a)| (key, a.affinity.read(as_of, AFFINITY_HALF_LIFE_DAYS)))
            .collect();
        out.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        out.truncate(k);
        out
    }
}

/// Drops the least recently met quarter once a map is full; ties by key, so order is defined.
fn make_room(map: &mut KeyMap<Interaction>) {
    if map.len() <= MAX_ENTRIES {
        return;
    }
    let mut by_age: Vec<(i64, u64)> = map.iter().map(|(&key, e)| (e.last_known_at, key)).collect();
    by_age.sort_unstable();
    for (_, key) in &by_age[..by_age.len() - MAX_ENTRIES * 3 / 4] {
        map.remove(key);
    }
}

/// Per user×item and user×artist counts, last play, decayed affinity, skips, standing feedback.
#[derive(Debug, Clone, Copy)]
pub struct Interactions;

impl Fold for Interactions {
    type State = InteractionsState;

    const NAME: &'static str = "interactions";
    const VERSION: u16 = 2;
    const MAX_BYTES: usize = 20 + 2 * MAX_ENTRIES * ENTRY_BYTES + MAX_STANDING * 17;
    const COLUMNS: &'static [&'static str] = &[
        "user_item.plays",
        "user_item.completions",
        "user_item.skips",
        "user_item.affinity",
        "user_item.hours_since_play",
        "user_item.unplayed_impressions",
        "user_item.saved",
        "user_item.liked",
        "user_artist.plays",
        "user_artist.skips",
        "user_artist.affinity",
        "user_artist.hours_since_play",
        "user_artist.followed",
        "user.remembered_items",
        "user.remembered_artists",
    ];

    fn update(state: &mut Self::State, event: &Enriched) {
        match event.what {
            What::Play { action, listened_ms, .. } => {
                state.items.entry(event.item.0).or_insert_with(Interaction::new).meet(
                    event,
                    action,
                    listened_ms,
                );
                make_room(&mut state.items);
                if event.artist != 0 {
                    state.artists.entry(event.artist).or_insert_with(Interaction::new).meet(
                        event,
                        action,
                        listened_ms,
                    );
                    make_room(&mut state.artists);
                }
            }
            What::Impression => {
                let entry = state.items.entry(event.item.0).or_insert_with(Interaction::new);
                entry.n_unplayed_impressions = entry.n_unplayed_impressions.saturating_add(1);
                entry.last_known_at = event.known_at.0;
                make_room(&mut state.items);
            }
            What::Feedback(kind) => {
                let entry = state.standing.entry(event.item.0).or_default();
                entry.occurred_at = event.occurred_at.0;
                match kind {
                    FeedbackKind::Save | FeedbackKind::PlaylistAdd => entry.flags |= flag::SAVED,
                    FeedbackKind::Unsave => entry.flags &= !flag::SAVED,
                    FeedbackKind::Like => {
                        entry.flags = entry.flags & !flag::DISLIKED | flag::LIKED;
                    }
                    FeedbackKind::Dislike => {
                        entry.flags = entry.flags & !flag::LIKED | flag::DISLIKED;
                    }
                    FeedbackKind::Hide => entry.flags |= flag::HIDDEN,
                    FeedbackKind::Unhide => entry.flags &= !flag::HIDDEN,
                    FeedbackKind::Follow => entry.flags |= flag::FOLLOWED,
                    FeedbackKind::Unfollow => entry.flags &= !flag::FOLLOWED,
                    FeedbackKind::Share => {}
                }
                if entry.flags == 0 {
                    state.standing.remove(&event.item.0);
                }
                if state.standing.len() > MAX_STANDING {
                    // A hide protects the listener: it goes only when nothing else is left.
                    let oldest = state
                        .standing
                        .iter()
                        .map(|(&key, s)| (s.has(flag::HIDDEN), s.occurred_at, key))
                        .min()
                        .map(|(_, _, key)| key);
                    if let Some(key) = oldest {
                        state.standing.remove(&key);
                    }
                }
            }
        }
    }

    fn read(state: &Self::State, item: Option<&ItemContext>, as_of: TimestampMs, row: &mut [f32]) {
        row.fill(f32::NAN);
        row[13] = state.items.len() as f32;
        row[14] = state.artists.len() as f32;
        let Some(item) = item else { return };
        let hours = |e: &Interaction| {
            if e.n_plays == 0 { f32::NAN } else { hours_since(e.last_played_at, as_of) }
        };
        let none = Interaction::new();
        let own = state.items.get(&item.item.0).unwrap_or(&none);
        row[0] = own.n_plays as f32;
        row[1] = own.n_completions as f32;
        row[2] = own.n_skips as f32;
        row[3] = own.affinity.read(as_of, AFFINITY_HALF_LIFE_DAYS) as f32;
        row[4] = hours(own);
        row[5] = own.n_unplayed_impressions as f32;
        let standing = state.standing(item.item);
        row[6] = f32::from(u8::from(standing.has(flag::SAVED)));
        row[7] = f32::from(i8::from(standing.has(flag::LIKED)) - i8::from(standing.has(flag::DISLIKED)));
        if item.artist != 0 {
            let artist = state.artists.get(&item.artist).unwrap_or(&none);
            row[8] = artist.n_plays as f32;
            row[9] = artist.n_skips as f32;
            row[10] = artist.affinity.read(as_of, AFFINITY_HALF_LIFE_DAYS) as f32;
            row[11] = hours(artist);
            row[12] = f32::from(u8::from(state.standing(ItemKey(item.artist)).has(flag::FOLLOWED)));
        }
    }

    fn encode(state: &Self::State, out: &mut Vec<u8>) {
        // Moments lie close to each other, so their distances are short.
        let all = state.items.values().chain(state.artists.values());
        let latest = all.map(|e| e.last_known_at).max().unwrap_or(0);
        out.put_i64(latest);
        for map in [&state.items, &state.artists] {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| **key);
            out.put_u32(entries.len() as u32);
            for (&key, e) in entries {
                out.put_u64(key);
                put_entry(e, latest, out);
            }
        }
        out.put_u32(state.standing.len() as u32);
        for (&key, s) in &state.standing {
            out.put_u64(key);
            out.put_u8(s.flags);
            out.put_i64(s.occurred_at);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self::State> {
        let mut t = Take(bytes);
        let latest = t.i64()?;
        let mut newest = None;
        let mut map = || {
            let n = t.count(MIN_ENTRY_BYTES, MAX_ENTRIES)?;
            let mut map = KeyMap::with_capacity_and_hasher(n, BuildHasherDefault::default());
            let mut previous = None;
            for _ in 0..n {
                let key = t.u64()?;
                if previous.is_some_and(|p| p >= key) {
                    return None;
                }
                previous = Some(key);
                let entry = take_entry(&mut t, latest)?;
                newest = newest.max(Some(entry.last_known_at));
                map.insert(key, entry);
            }
            Some(map)
        };
        let (items, artists) = (map()?, map()?);
        if newest.unwrap_or(0) != latest {
            return None;
        }
        let n = t.count(17, MAX_STANDING)?;
        let mut standing = BTreeMap::new();
        for _ in 0..n {
            let key = t.u64()?;
            let entry = Standing { flags: t.u8()?, occurred_at: t.i64()? };
            if entry.flags == 0 || standing.last_key_value().is_some_and(|(&p, _)| p >= key) {
                return None;
            }
            standing.insert(key, entry);
        }
        t.end()?;
        Some(InteractionsState { items, artists, standing })
    }
}

/// Affinities of a single play, which most entries have: they are written as their number, from 1.
const SINGLE: [f64; 3] = [1.0, 1.5, 0.5];

/// The number of such an affinity, 0 for any other.
fn single_of(value: f64) -> u8 {
    SINGLE.iter().position(|v| v.to_bits() == value.to_bits()).map_or(0, |i| i as u8 + 1)
}

/// Appends an entry. Most counts are below 3: two bits each, and what is left of larger ones after them.
fn put_entry(e: &Interaction, latest: i64, out: &mut Vec<u8>) {
    let counts = [e.n_plays, e.n_streams, e.n_completions, e.n_skips];
    let small = |n: u32| n.min(3) as u8;
    out.put_u8(counts.iter().rev().fold(0, |bits, &n| bits << 2 | small(n)));
    let is_plain = e.affinity.at == e.last_known_at;
    let single = single_of(e.affinity.value);
    out.put_u8(small(e.n_unplayed_impressions) | single << 2 | u8::from(is_plain) << 4);
    for n in counts.into_iter().chain([e.n_unplayed_impressions]).filter(|&n| n >= 3) {
        out.put_varint(u64::from(n - 3));
    }
    out.put_varint(latest.wrapping_sub(e.last_known_at) as u64);
    out.put_varint(zigzag(e.last_known_at.wrapping_sub(e.last_played_at)));
    if !is_plain {
        out.put_varint(zigzag(e.last_known_at.wrapping_sub(e.affinity.at)));
    }
    if single == 0 {
        out.put_f64(e.affinity.value);
    }
}

/// The entry that [`put_entry`] wrote.
fn take_entry(t: &mut Take<'_>, latest: i64) -> Option<Interaction> {
    let (small, more) = (t.u8()?, t.u8()?);
    let mut count = |bits: u8| match bits & 3 {
        3 => t.varint32()?.checked_add(3),
        n => Some(u32::from(n)),
    };
    let (n_plays, n_streams) = (count(small)?, count(small >> 2)?);
    let (n_completions, n_skips) = (count(small >> 4)?, count(small >> 6)?);
    let n_unplayed_impressions = count(more)?;
    let last_known_at = latest.wrapping_sub(t.varint()? as i64);
    let last_played_at = last_known_at.wrapping_sub(unzigzag(t.varint()?));
    let is_plain = more & 16 != 0;
    let at = if is_plain { last_known_at } else { last_known_at.wrapping_sub(unzigzag(t.varint()?)) };
    let single = more >> 2 & 3;
    let value = if single == 0 { t.f64()? } else { SINGLE[usize::from(single) - 1] };
    let affinity = Decayed { value, at };
    let e = Interaction {
        n_plays,
        n_streams,
        n_completions,
        n_skips,
        n_unplayed_impressions,
        last_played_at,
        last_known_at,
        affinity,
    };
    // One entry has one encoding.
    let is_short = is_plain == (at == last_known_at) && single == single_of(value);
    (is_short && last_known_at <= latest && more >> 5 == 0).then_some(e)
}

/// Most bytes of one encoded [`Interaction`] with its key.
const ENTRY_BYTES: usize = 8 + 2 + 5 * 5 + 3 * 10 + 8;
/// Fewest bytes of the same.
const MIN_ENTRY_BYTES: usize = 8 + 2 + 2;
