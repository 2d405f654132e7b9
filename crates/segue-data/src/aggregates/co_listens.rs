//! Co-listens: which items are played near each other within a session.
//!
//! A day of plays touches nearly every item, and whether a pair gets into a list of [`CO_LISTEN_TOP`]
//! depends on its exact count, so lists as of the last day would be counted over all plays each day.
//! An item's list is therefore as of the end of the day on which its plays last reached a round
//! number ([`round`]), each about an eighth above the one before: exact as of that day, which is the
//! last one for items with few plays, and missing less than an eighth of the others' plays. What a
//! day costs then follows its plays, not the history. That day follows from the plays alone: a
//! rebuild finds the same lists.

use rayon::prelude::*;
use segue_types::Day;

use crate::play_context::PlayContext;
use crate::sequences::Sequences;
use crate::snapshot::column::Column;
use crate::snapshot::stats::StatBlocks;
use crate::snapshot::tables::{Earlier, NO_ROW};
use crate::snapshot::{CoListenColumns, csr};

/// Two plays of one session are listened to together if at most this many plays apart.
pub const CO_LISTEN_WINDOW: usize = 10;
/// Neighbours kept per item: count descending, then item row.
pub const CO_LISTEN_TOP: usize = 50;
/// The neighbours of an item are counted anew once its plays have grown by one in this many.
pub const CO_LISTEN_GROWTH: u32 = 8;

/// Plays held by item at once; more plays mean more passes over the items, not more memory.
const PLAYS_PER_PASS: u64 = 16 << 20;
/// Items counted by one task.
const ITEMS_PER_TASK: usize = 64;
/// Places whose surroundings are fetched together, so that their cache misses overlap.
const PLACES_AT_ONCE: usize = 16;
/// Most plays in reach of a place, its own included.
const WINDOW_PLAYS: usize = 2 * CO_LISTEN_WINDOW + 1;
/// Candidates for a list before it is cut to [`CO_LISTEN_TOP`] again.
const CANDIDATES: usize = 1_024;

const _: () = assert!(CO_LISTEN_WINDOW < 16, "a reach is stored in four bits");

/// A play as its item sees it: where it stands, and how many plays of its session are in reach
/// before and after it.
#[derive(Debug, Clone, Copy, Default)]
struct Place(u64);

impl Place {
    fn new(at: usize, before: usize, after: usize) -> Self {
        Self((at as u64) << 8 | (before as u64) << 4 | after as u64)
    }

    /// Positions of the plays in reach; its own is among them.
    fn window(self) -> std::ops::Range<usize> {
        let at = (self.0 >> 8) as usize;
        at - (self.0 >> 4 & 15) as usize..at + (self.0 & 15) as usize + 1
    }
}

/// The largest round number up to `n`. They are 0, 1, and after each the one that is an eighth of it
/// larger, rounded down, but at least by 1: all up to 16, then 18, 20, 22, 24, 27, …
pub(crate) fn round(n: u32) -> u32 {
    let next = |&at: &u32| at.checked_add((at / CO_LISTEN_GROWTH).max(1));
    std::iter::successors(Some(0), next).take_while(|&at| at <= n).last().unwrap_or(0)
}

/// The days through which the neighbours of items are counted, by item row: when their plays reached
/// the largest round number. [`Day`]`(i32::MIN)` without plays.
pub(crate) fn days(stats: &StatBlocks, item_keys: &[u64]) -> Vec<Day> {
    stats.first_days(item_keys, round)
}

/// When listeners' last plays became known; nobody asks for moments before them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// `[n_users + 1]` ranges of `at`.
    pub(crate) offsets: &'a [u64],
    /// UTC milliseconds, ascending within a listener.
    pub(crate) at: &'a [i64],
}

impl<'a> Known<'a> {
    /// The moments of a listener.
    fn of(&self, user: usize) -> &'a [i64] {
        &self.at[self.offsets[user] as usize..self.offsets[user + 1] as usize]
    }
}

/// Through when items are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Through<'a> {
    /// `[n_items]` last days.
    pub(crate) day: &'a [Day],
    pub(crate) known: Known<'a>,
}

/// The items whose neighbours have to be counted: all, or those that an earlier snapshot did not
/// count through the same day, or through a day that is not final.
pub(crate) fn counted(days: &[Day], earlier: Option<&Earlier<'_>>) -> Vec<bool> {
    let Some(earlier) = earlier else { return vec![true; days.len()] };
    let is_same = |(&day, &before): (&Day, &u32)| {
        let known = earlier.co_listens.day.get(before as usize);
        before != NO_ROW && day <= earlier.through && known == Some(&day.0)
    };
    days.iter().zip(&earlier.item_before).map(|of_item| !is_same(of_item)).collect()
}

/// The nearest neighbours of every item by number of co-listens; as of the last play without
/// `through`.
///
/// Lists where each item was played, then counts what stands around these places, item by item, in
/// one dense array per thread: no pair is ever stored. As many items are listed at a time as fit
/// the budget, so memory depends on it and on the number of items, not on the log. Integer counts:
/// the result is the same for any number of threads. Plays of a session stand together, as
/// enrichment numbers them.
///
/// Lists that need not be [`counted`] are taken over from the earlier snapshot.
pub(crate) fn top(
    plays: Sequences<'_>,
    through: Option<Through<'_>>,
    earlier: Option<&Earlier<'_>>,
) -> CoListenColumns {
    top_within(plays, through, earlier, PLAYS_PER_PASS)
}

fn top_within(
    plays: Sequences<'_>,
    through: Option<Through<'_>>,
    earlier: Option<&Earlier<'_>>,
    plays_per_pass: u64,
) -> CoListenColumns {
    let n_items = plays.n_items as usize;
    let is_counted = through.map_or_else(|| vec![true; n_items], |t| counted(t.day, earlier));
    let mut n_plays = vec![0_u64; n_items];
    if !plays.context.is_empty() {
        plays.item.iter().for_each(|&item| n_plays[item as usize] += u64::from(is_counted[item as usize]));
    }
    let (mut offsets, mut item, mut count) = (vec![0_u64], Vec::new(), Vec::new());
    // One list for all passes: fresh pages would have to be cleared first.
    let mut listed: Vec<Place> = Vec::new();
    let mut from = 0;
    while from < n_items {
        let (mut to, mut n) = (from, 0_u64);
        let mut starts = vec![0_usize];
        while to < n_items && (to == from || n + n_plays[to] <= plays_per_pass) {
            n += n_plays[to];
            starts.push(n as usize);
            to += 1;
        }
        let ends = list(&plays, through, from..to, &is_counted, &starts, &mut listed);
        let places = &listed;
        let tasks: Vec<(Vec<u32>, Vec<u64>)> = (0..(to - from).div_ceil(ITEMS_PER_TASK))
            .into_par_iter()
            .map_init(
                || Counter { counts: vec![0; n_items], met: vec![0; n_items + 1], best: Vec::new() },
                |counter, task| {
                    let (mut lengths, mut found) = (Vec::new(), Vec::new());
                    for i in task * ITEMS_PER_TASK..((task + 1) * ITEMS_PER_TASK).min(to - from) {
                        let list = match earlier.filter(|_| !is_counted[from + i]) {
                            Some(earlier) => counter.copy(earlier, from + i),
                            None => counter.top(plays.item, (from + i) as u32, &places[starts[i]..ends[i]]),
                        };
                        lengths.push(list.len() as u32);
                        found.extend_from_slice(list);
                    }
                    (lengths, found)
                },
            )
            .collect();
        for (lengths, found) in tasks {
            for length in lengths {
                offsets.push(offsets[offsets.len() - 1] + u64::from(length));
            }
            item.extend(found.iter().map(|&rank| !(rank as u32)));
            count.extend(found.iter().map(|&rank| (rank >> 32) as u32));
        }
        from = to;
    }
    CoListenColumns {
        offsets: Column::Owned(offsets),
        item: Column::Owned(item),
        count: Column::Owned(count),
        day: Column::Owned(through.map_or_else(Vec::new, |t| t.day.iter().map(|day| day.0).collect())),
    }
}

/// Lists the places of the items of a range, item after item, each in the order of the plays. Returns
/// where each item's places end.
fn list(
    plays: &Sequences<'_>,
    through: Option<Through<'_>>,
    items: std::ops::Range<usize>,
    is_counted: &[bool],
    starts: &[usize],
    places: &mut Vec<Place>,
) -> Vec<usize> {
    // Every place that is read is written below.
    places.resize(starts[starts.len() - 1], Place::default());
    let mut next = starts.to_vec();
    let until = |day: &Day| day.0.checked_add(1).map_or(i64::MAX, |day| Day(day).start().0);
    let until: Vec<i64> = through.map_or_else(Vec::new, |t| t.day.iter().map(until).collect());
    for user in 0..plays.n_users() {
        let s = plays.user(user);
        let first = plays.offsets[user] as usize;
        let known = through.map_or(&[][..], |t| t.known.of(user));
        let n_before = s.len() - known.len();
        // Earlier plays are known to be in time.
        let is_before = |at: usize, until: i64| at < n_before || known[at - n_before] < until;
        let mut from = 0;
        for session in s.context.chunk_by(|_, &next| !PlayContext::from_byte(next).starts_session()) {
            for i in 0..session.len() {
                let item = s.item[from + i] as usize;
                if !items.contains(&item) || !is_counted[item] {
                    continue;
                }
                let mut after = (session.len() - 1 - i).min(CO_LISTEN_WINDOW);
                if let Some(&until) = until.get(item) {
                    if !is_before(from + i, until) {
                        continue;
                    }
                    while !is_before(from + i + after, until) {
                        after -= 1;
                    }
                }
                let next = &mut next[item - items.start];
                places[*next] = Place::new(first + from + i, i.min(CO_LISTEN_WINDOW), after);
                *next += 1;
            }
            from += session.len();
        }
    }
    next
}

/// Counts the neighbours of one item after the other.
struct Counter {
    /// `[n_items]`, all zero between items.
    counts: Vec<u32>,
    /// `[n_items + 1]` items met, the first of them valid.
    met: Vec<u32>,
    /// Count and complement of the item: the larger, the nearer.
    best: Vec<u64>,
}

impl Counter {
    /// The list of an item as the earlier snapshot has it.
    fn copy(&mut self, earlier: &Earlier<'_>, item: usize) -> &[u64] {
        let t = earlier.co_listens;
        self.best.clear();
        for i in csr(&t.offsets, earlier.item_before[item], &t.item) {
            let other = earlier.item_of[t.item[i] as usize];
            self.best.push(u64::from(t.count[i]) << 32 | u64::from(!other));
        }
        &self.best
    }

    /// The nearest neighbours of `item`, nearest first: `count << 32 | !neighbour`.
    fn top(&mut self, items: &[u32], item: u32, places: &[Place]) -> &[u64] {
        let mut n_met = 0;
        let mut near = [[0; WINDOW_PLAYS]; PLACES_AT_ONCE];
        for places in places.chunks(PLACES_AT_ONCE) {
            for (near, place) in near.iter_mut().zip(places) {
                let window = place.window();
                // A copy of fixed length needs no branch; what is beyond the window is not read.
                match items.get(window.start..window.start + WINDOW_PLAYS) {
                    Some(plays) => near.copy_from_slice(plays),
                    None => near[..window.len()].copy_from_slice(&items[window]),
                }
            }
            for (near, place) in near.iter().zip(places) {
                for &other in &near[..place.window().len()] {
                    let n = &mut self.counts[other as usize];
                    // A slot is written each time and taken only by what is new: no branch to miss.
                    self.met[n_met] = other;
                    n_met += usize::from(*n == 0);
                    *n = n.saturating_add(1);
                }
            }
        }
        self.best.clear();
        let mut least = 0;
        for &other in &self.met[..n_met] {
            let n = std::mem::take(&mut self.counts[other as usize]);
            let rank = u64::from(n) << 32 | u64::from(!other);
            if rank > least && other != item {
                self.best.push(rank);
                if self.best.len() == CANDIDATES {
                    least = cut(&mut self.best);
                }
            }
        }
        cut(&mut self.best);
        self.best.sort_unstable_by(|a, b| b.cmp(a));
        &self.best
    }
}

/// Keeps the nearest [`CO_LISTEN_TOP`]; returns the last of them, 0 if there are fewer.
fn cut(best: &mut Vec<u64>) -> u64 {
    if best.len() <= CO_LISTEN_TOP {
        return 0;
    }
    let (_, last, _) = best.select_nth_unstable_by(CO_LISTEN_TOP - 1, |a, b| b.cmp(a));
    let last = *last;
    best.truncate(CO_LISTEN_TOP);
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequences::{OwnedSequences, Sequence};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn round_numbers_grow_by_an_eighth() {
        let rounds: Vec<u32> = (0..40).filter(|&n| round(n) == n).collect();
        assert_eq!(rounds[..17], (0..17).collect::<Vec<_>>()[..]);
        assert_eq!(rounds[17..], [18, 20, 22, 24, 27, 30, 33, 37]);
        for n in [100, 12_345, u32::MAX] {
            assert!(round(n) <= n && u64::from(n) < u64::from(round(n)) * 9 / 8 + 1);
        }
    }

    proptest! {
        /// The counted lists equal a plain count over all pairs that were known by the end of the
        /// day on which the item's plays were a round number last.
        #[test]
        fn neighbours_are_the_most_frequent_pairs_of_a_session(
            users in prop::collection::vec(prop::collection::vec((0_u32..12, 0_u32..3), 0..60), 0..6),
            plays_per_day in 1..9_usize,
            is_dated in any::<bool>(),
            n_known in 0..60_usize,
        ) {
            let mut owned = OwnedSequences { n_items: 12, ..OwnedSequences::default() };
            for user in &users {
                let mut plays = user.clone();
                plays.sort_by_key(|p| p.1);
                let item: Vec<u32> = plays.iter().map(|p| p.0).collect();
                let session: Vec<u32> = plays.iter().map(|p| p.1).collect();
                let known_at: Vec<i64> = (0..plays.len()).map(|n| Day((n / plays_per_day) as i32).start().0).collect();
                let known_at = if is_dated { &known_at[..] } else { &[] };
                let mut context = vec![0; session.len()];
                crate::play_context::mark_sessions(&mut context, &session);
                let context = &context[..];
                owned.push(Sequence { item: &item, session: &session, context, known_at, ..Sequence::default() });
            }
            // Through which day each item is counted.
            let day_of = |n: usize| Day((n / plays_per_day) as i32);
            let days: Vec<Day> = (0..12).map(|item| {
                let mut of_day: Vec<Day> = owned.view().iter().flat_map(|s| {
                    let mine = (0..s.len()).filter(move |&n| s.item[n] == item);
                    mine.map(day_of).collect::<Vec<_>>()
                }).collect();
                of_day.sort_unstable();
                let n = round(of_day.len() as u32) as usize;
                n.checked_sub(1).map_or(Day(i32::MIN), |at| of_day[at])
            }).collect();
            // Of each listener only the last moments are given, if they are asked for no others.
            let least = days.iter().min().copied().unwrap_or_default();
            let (mut known_offsets, mut known_at) = (vec![0], Vec::new());
            for s in owned.view().iter() {
                let n_asked = s.len() - (0..s.len()).take_while(|&n| day_of(n) <= least).count();
                let n = n_known.clamp(n_asked, s.len());
                known_at.extend((s.len() - n..s.len()).map(|n| day_of(n).start().0));
                known_offsets.push(known_at.len() as u64);
            }
            let known = Known { offsets: &known_offsets, at: &known_at };
            let through = is_dated.then_some(Through { day: &days, known });
            let mut plain: BTreeMap<(u32, u32), u32> = BTreeMap::new();
            for s in owned.view().iter() {
                for i in 0..s.len() {
                    for j in 0..s.len() {
                        let near = i != j && i.abs_diff(j) <= CO_LISTEN_WINDOW;
                        let near = near && (!is_dated || day_of(i.max(j)) <= days[s.item[i] as usize]);
                        if near && s.session[i] == s.session[j] && s.item[i] != s.item[j] {
                            *plain.entry((s.item[i], s.item[j])).or_default() += 1;
                        }
                    }
                }
            }
            for plays_per_pass in [PLAYS_PER_PASS, 20] {
            let top = top_within(owned.view(), through, None, plays_per_pass);
            for a in 0..12_u32 {
                let mut want: Vec<(u32, u32)> =
                    plain.range((a, 0)..(a + 1, 0)).map(|(k, &n)| (k.1, n)).collect();
                want.sort_by_key(|e| (std::cmp::Reverse(e.1), e.0));
                let range = top.offsets[a as usize] as usize..top.offsets[a as usize + 1] as usize;
                let got: Vec<(u32, u32)> = range.map(|i| (top.item[i], top.count[i])).collect();
                prop_assert_eq!(got, want);
            }
            }
        }
    }
}
