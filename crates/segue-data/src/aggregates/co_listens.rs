//! Co-listens: which items are played near each other within a session.

use rayon::prelude::*;

use crate::sequences::Sequences;
use crate::snapshot::column::Column;
use crate::snapshot::tables::{Earlier, NO_ROW};
use crate::snapshot::{CoListenColumns, csr};

/// Two plays of one session are listened to together if at most this many plays apart.
pub const CO_LISTEN_WINDOW: usize = 10;
/// Neighbours kept per item: count descending, then item row.
pub const CO_LISTEN_TOP: usize = 50;

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

/// The nearest neighbours of every item by number of co-listens.
///
/// Lists where each item was played, then counts what stands around these places, item by item, in
/// one dense array per thread: no pair is ever stored. As many items are listed at a time as fit
/// the budget, so memory depends on it and on the number of items, not on the log. Integer counts:
/// the result is the same for any number of threads. Plays of a session stand together, as
/// enrichment numbers them.
///
/// Of an earlier snapshot the lists are taken over of items that nothing happened to since its
/// last final day, and around which nothing happened.
pub(crate) fn top(plays: Sequences<'_>, earlier: Option<&Earlier<'_>>) -> CoListenColumns {
    top_within(plays, earlier, PLAYS_PER_PASS)
}

fn top_within(plays: Sequences<'_>, earlier: Option<&Earlier<'_>>, plays_per_pass: u64) -> CoListenColumns {
    let n_items = plays.n_items as usize;
    let is_counted = counted(plays, earlier);
    let mut n_plays = vec![0_u64; n_items];
    if !plays.session.is_empty() {
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
        list(&plays, from..to, &is_counted, &starts, &mut listed);
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
                            None => {
                                let places = &places[starts[i]..starts[i + 1]];
                                counter.top(plays.item, (from + i) as u32, places)
                            }
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
    }
}

/// The items whose neighbours have to be counted: all, or those with a play that is not final in
/// one of both snapshots, or in reach of one.
fn counted(plays: Sequences<'_>, earlier: Option<&Earlier<'_>>) -> Vec<bool> {
    let Some(earlier) = earlier else { return vec![true; plays.n_items as usize] };
    let mut counted: Vec<bool> = earlier.item_before.iter().map(|&row| row == NO_ROW).collect();
    let mut mark = |plays: Sequences<'_>, n_open: &[u32], row_of: &dyn Fn(u32) -> u32| {
        for (s, &n_open) in plays.iter().zip(n_open) {
            if n_open > 0 {
                let n_final = s.len() - n_open as usize;
                for &item in &s.item[n_final.saturating_sub(CO_LISTEN_WINDOW)..] {
                    counted[row_of(item) as usize] = true;
                }
            }
        }
    };
    mark(plays, earlier.n_open, &|item| item);
    mark(earlier.plays, &earlier.n_open_before, &|item| earlier.item_of[item as usize]);
    counted
}

/// Lists the places of the items of a range, item after item, each in the order of the plays.
fn list(
    plays: &Sequences<'_>,
    items: std::ops::Range<usize>,
    is_counted: &[bool],
    starts: &[usize],
    places: &mut Vec<Place>,
) {
    // Every place up to there is written below.
    places.resize(starts[starts.len() - 1], Place::default());
    let mut next = starts.to_vec();
    for user in 0..plays.n_users() {
        let s = plays.user(user);
        let first = plays.offsets[user] as usize;
        let mut from = 0;
        for session in s.session.chunk_by(|a, b| a == b) {
            for i in 0..session.len() {
                let item = s.item[from + i] as usize;
                if items.contains(&item) && is_counted[item] {
                    let (before, after) =
                        (i.min(CO_LISTEN_WINDOW), (session.len() - 1 - i).min(CO_LISTEN_WINDOW));
                    let next = &mut next[item - items.start];
                    places[*next] = Place::new(first + from + i, before, after);
                    *next += 1;
                }
            }
            from += session.len();
        }
    }
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

    proptest! {
        /// The counted lists equal a plain count over all pairs.
        #[test]
        fn neighbours_are_the_most_frequent_pairs_of_a_session(
            users in prop::collection::vec(prop::collection::vec((0_u32..12, 0_u32..3), 0..60), 0..6),
        ) {
            let mut owned = OwnedSequences { n_items: 12, ..OwnedSequences::default() };
            for user in &users {
                let mut plays = user.clone();
                plays.sort_by_key(|p| p.1);
                let item: Vec<u32> = plays.iter().map(|p| p.0).collect();
                let session: Vec<u32> = plays.iter().map(|p| p.1).collect();
                owned.push(Sequence { item: &item, session: &session, ..Sequence::default() });
            }
            let mut plain: BTreeMap<(u32, u32), u32> = BTreeMap::new();
            for s in owned.view().iter() {
                for i in 0..s.len() {
                    for j in 0..s.len() {
                        let near = i != j && i.abs_diff(j) <= CO_LISTEN_WINDOW;
                        if near && s.session[i] == s.session[j] && s.item[i] != s.item[j] {
                            *plain.entry((s.item[i], s.item[j])).or_default() += 1;
                        }
                    }
                }
            }
            for plays_per_pass in [PLAYS_PER_PASS, 20] {
            let top = top_within(owned.view(), None, plays_per_pass);
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
