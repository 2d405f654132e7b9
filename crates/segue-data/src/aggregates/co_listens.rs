//! Co-listens: which items are played near each other within a session.

use rayon::prelude::*;

use crate::sequences::Sequences;
use crate::snapshot::CoListenColumns;
use crate::snapshot::column::Column;

/// Two plays of one session are listened to together if at most this many plays apart.
pub const CO_LISTEN_WINDOW: usize = 10;
/// Neighbours kept per item: count descending, then item row.
pub const CO_LISTEN_TOP: usize = 50;

/// Pairs held in memory at once; more pairs mean more passes, not more memory.
const PAIRS_PER_PASS: u64 = 24 << 20;

/// Calls `found(a, b)` for every ordered pair of different items within the window.
fn pairs(plays: &Sequences<'_>, users: std::ops::Range<usize>, mut found: impl FnMut(u32, u32)) {
    for user in users {
        let s = plays.user(user);
        for i in 0..s.session.len() {
            for j in i.saturating_sub(CO_LISTEN_WINDOW)..i {
                if s.session[i] == s.session[j] && s.item[i] != s.item[j] {
                    found(s.item[i], s.item[j]);
                    found(s.item[j], s.item[i]);
                }
            }
        }
    }
}

/// The nearest neighbours of every item by number of co-listens.
///
/// Counts all pairs first, then gathers the neighbours of as many items at a time as fit in
/// memory, so that memory depends on the budget and not on the log. Integer counts: the result is
/// the same for any number of threads.
pub(crate) fn top(plays: Sequences<'_>) -> CoListenColumns {
    let n_items = plays.n_items as usize;
    let mut n_pairs = vec![0_u64; n_items];
    pairs(&plays, 0..plays.n_users(), |a, _| n_pairs[a as usize] += 1);
    let (mut offsets, mut item, mut count) = (vec![0_u64], Vec::new(), Vec::new());
    let mut from = 0;
    while from < n_items {
        let (mut to, mut n) = (from, 0_u64);
        let mut starts = vec![0_usize];
        while to < n_items && (to == from || n + n_pairs[to] <= PAIRS_PER_PASS) {
            n += n_pairs[to];
            starts.push(n as usize);
            to += 1;
        }
        let mut others = vec![0_u32; n as usize];
        let mut next = starts.clone();
        pairs(&plays, 0..plays.n_users(), |a, b| {
            let a = a as usize;
            if (from..to).contains(&a) {
                others[next[a - from]] = b;
                next[a - from] += 1;
            }
        });
        let lists: Vec<Vec<(u32, u32)>> = (0..to - from)
            .into_par_iter()
            .map_init(
                || (vec![0_u32; n_items], Vec::new()),
                |(counts, met), i| best(&others[starts[i]..starts[i + 1]], counts, met),
            )
            .collect();
        for list in lists {
            for (other, n) in list {
                item.push(other);
                count.push(n);
            }
            offsets.push(item.len() as u64);
        }
        from = to;
    }
    CoListenColumns {
        offsets: Column::Owned(offsets),
        item: Column::Owned(item),
        count: Column::Owned(count),
    }
}

/// The most frequent values of a list; `counts` is all zero before and after.
fn best(others: &[u32], counts: &mut [u32], met: &mut Vec<u32>) -> Vec<(u32, u32)> {
    met.clear();
    for &other in others {
        let n = &mut counts[other as usize];
        if *n == 0 {
            met.push(other);
        }
        *n = n.saturating_add(1);
    }
    let mut list: Vec<(u32, u32)> = met.iter().map(|&m| (m, counts[m as usize])).collect();
    for &m in met.iter() {
        counts[m as usize] = 0;
    }
    let order = |e: &(u32, u32)| (std::cmp::Reverse(e.1), e.0);
    if list.len() > CO_LISTEN_TOP {
        list.select_nth_unstable_by_key(CO_LISTEN_TOP - 1, order);
        list.truncate(CO_LISTEN_TOP);
    }
    list.sort_unstable_by_key(order);
    list
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
            let top = top(owned.view());
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
