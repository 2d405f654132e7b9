//! Aggregates: what sums over listeners, order-free and exactly mergeable.
//!
//! An aggregate looks at one play and emits `(key, integers)`. Sums of integers do not depend on
//! the order of listeners, buckets or threads, so any machine may add them up. They are kept per
//! day of `known_at`; a feature of day D reads the version of day D−1. A day's sums never change
//! once the day is over, so a later run adds the days that are new and copies the rest.
//!
//! The executor lists plays by item, a range of items at a time ([`ByItem`]), and sums item by item
//! in parallel: nothing is sorted but the few keys of one item.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;

use rayon::prelude::*;
use segue_types::{DAY_MS, Day, TimestampMs};

use crate::folds::interactions::KeyHasher;
use crate::sequences::Sequences;

/// One play, as aggregates see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedPlay {
    /// Number of the listener's market in this snapshot.
    pub market: u32,
    /// Code of its [`Action`](segue_types::Action); 0 if unknown.
    pub action: u8,
    /// Milliseconds heard, `u32::MAX` if unknown; `None` if no play of the data says.
    pub listened_ms: Option<u32>,
    /// Whether it is the listener's first play of this item on this day of `known_at`.
    pub is_first_of_day: bool,
}

/// An order-free sum over plays with `N` counts per item, day of `known_at` and one more key.
///
/// # Contract
/// - `emit` depends on the play alone and keeps nothing between calls.
pub trait Aggregate<const N: usize>: Send + Sync {
    /// Stable name.
    const NAME: &'static str;
    /// Version of its definition.
    const VERSION: u16;
    /// Names of the counts.
    const COUNTS: [&'static str; N];

    /// What else the play is counted by, such as a market (0 if nothing), and its share.
    fn emit(&self, play: &CountedPlay) -> (u32, [u32; N]);
}

/// The sums of one item and day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sum<const N: usize> {
    /// What else the aggregate counts by.
    pub(crate) other: u32,
    pub(crate) day: Day,
    /// They saturate at `u32::MAX`.
    pub(crate) counts: [u32; N],
}

/// Plays listed by item at once; more plays mean more passes, not more memory.
pub(crate) const PLAYS_PER_PASS: u64 = 8 << 20;

/// A play in the list of its item.
#[derive(Debug, Clone, Copy, Default)]
struct Listed {
    user: u32,
    day: i32,
    listened_ms: u32,
    action: u8,
}

/// The plays known after a day, by item.
pub(crate) struct ByItem<'a> {
    plays: Sequences<'a>,
    listened_ms: &'a [u32],
    market_of: &'a [u32],
    /// First of each listener's plays that count.
    first: Vec<u64>,
    /// `[n_items]` plays that count.
    n_plays: Vec<u64>,
    plays_per_pass: u64,
}

/// The plays of a range of items, item after item, listener after listener, in known-at order.
pub(crate) struct Pass<'a> {
    of: &'a ByItem<'a>,
    pub(crate) items: Range<u32>,
    starts: Vec<usize>,
    listed: Vec<Listed>,
}

impl<'a> ByItem<'a> {
    /// Takes plays known on a day after `after`. `listened_ms` and `market_of` may be empty.
    pub(crate) fn new(
        plays: Sequences<'a>,
        listened_ms: &'a [u32],
        market_of: &'a [u32],
        after: Day,
        plays_per_pass: u64,
    ) -> Self {
        let cut = after.0.checked_add(1).map_or(i64::MAX, |day| Day(day).start().0);
        let mut n_plays = vec![0_u64; plays.n_items as usize];
        let first = (0..plays.n_users())
            .map(|user| {
                let s = plays.user(user);
                let from = if after == Day(i32::MIN) { 0 } else { s.known_at.partition_point(|&t| t < cut) };
                // Undated plays have no day to be counted on.
                for &item in &s.item[from..from.max(s.known_at.len())] {
                    n_plays[item as usize] += 1;
                }
                plays.offsets[user] + from as u64
            })
            .collect();
        Self { plays, listened_ms, market_of, first, n_plays, plays_per_pass }
    }

    /// All items, in ranges whose plays fit the budget.
    pub(crate) fn passes(&'a self) -> impl Iterator<Item = Pass<'a>> {
        let n_items = self.plays.n_items;
        let mut from = 0;
        std::iter::from_fn(move || {
            if from >= n_items {
                return None;
            }
            let (mut to, mut n) = (from, 0_u64);
            let mut starts = vec![0];
            while to < n_items && (to == from || n + self.n_plays[to as usize] <= self.plays_per_pass) {
                n += self.n_plays[to as usize];
                starts.push(n as usize);
                to += 1;
            }
            let items = from..to;
            from = to;
            Some(self.pass(items, starts))
        })
    }

    fn pass(&'a self, items: Range<u32>, starts: Vec<usize>) -> Pass<'a> {
        let plays = &self.plays;
        let mut listed = vec![Listed::default(); starts[starts.len() - 1]];
        let mut next = starts.clone();
        if !plays.known_at.is_empty() && !listed.is_empty() {
            for user in 0..plays.n_users() {
                let (mut day, mut day_ends) = (Day(0), i64::MIN);
                for at in self.first[user] as usize..plays.offsets[user + 1] as usize {
                    let known_at = plays.known_at[at];
                    if known_at >= day_ends {
                        day = TimestampMs(known_at).day();
                        day_ends = day.start().plus_ms(DAY_MS).0;
                    }
                    let item = plays.item[at];
                    if !items.contains(&item) {
                        continue;
                    }
                    let next = &mut next[(item - items.start) as usize];
                    listed[*next] = Listed {
                        user: user as u32,
                        day: day.0,
                        listened_ms: self.listened_ms.get(at).copied().unwrap_or(u32::MAX),
                        action: plays.action.get(at).copied().unwrap_or(0),
                    };
                    *next += 1;
                }
            }
        }
        Pass { of: self, items, starts, listed }
    }
}

/// Items summed by one task.
const ITEMS_PER_TASK: u32 = 256;

impl Pass<'_> {
    /// Adds up an aggregate: per item of the range its sums, ordered by `(other, day)`.
    pub(crate) fn sum<A: Aggregate<N>, const N: usize>(&self, aggregate: &A) -> Vec<Vec<Sum<N>>> {
        let n_items = self.items.len() as u32;
        let tasks: Vec<Vec<Vec<Sum<N>>>> = (0..n_items.div_ceil(ITEMS_PER_TASK))
            .into_par_iter()
            .map_init(HashMap::default, |slots, task| {
                let items = task * ITEMS_PER_TASK..((task + 1) * ITEMS_PER_TASK).min(n_items);
                items.map(|item| self.item(aggregate, item as usize, slots)).collect()
            })
            .collect();
        tasks.into_iter().flatten().collect()
    }

    fn item<A: Aggregate<N>, const N: usize>(
        &self,
        aggregate: &A,
        item: usize,
        slots: &mut HashMap<u64, u32, BuildHasherDefault<KeyHasher>>,
    ) -> Vec<Sum<N>> {
        slots.clear();
        let mut sums: Vec<Sum<N>> = Vec::new();
        let mut before = None;
        for play in &self.listed[self.starts[item]..self.starts[item + 1]] {
            // A listener's plays of an item stand together, days ascending.
            let is_first_of_day = before.replace((play.user, play.day)) != Some((play.user, play.day));
            let (other, counts) = aggregate.emit(&CountedPlay {
                market: self.of.market_of.get(play.user as usize).copied().unwrap_or(0),
                action: play.action,
                listened_ms: (!self.of.listened_ms.is_empty()).then_some(play.listened_ms),
                is_first_of_day,
            });
            // An odd factor keeps keys distinct and spreads them.
            let key =
                (u64::from(other) << 32 | u64::from(play.day as u32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let slot = *slots.entry(key.rotate_left(32)).or_insert_with(|| {
                sums.push(Sum { other, day: Day(play.day), counts: [0; N] });
                sums.len() as u32 - 1
            });
            for (sum, n) in sums[slot as usize].counts.iter_mut().zip(counts) {
                *sum = sum.saturating_add(n);
            }
        }
        sums.sort_unstable();
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregates::item_stats::ItemStatistics;
    use crate::aggregates::market_plays::MarketPlays;
    use crate::sequences::{OwnedSequences, Sequence};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// One play after the other into a sorted map.
    fn plain<A: Aggregate<N>, const N: usize>(
        aggregate: &A,
        plays: Sequences<'_>,
        market_of: &[u32],
        after: Day,
    ) -> BTreeMap<(u32, u32, Day), [u32; N]> {
        let mut out = BTreeMap::new();
        for (user, s) in plays.iter().enumerate() {
            let mut met = std::collections::BTreeSet::new();
            for i in 0..s.len() {
                let day = TimestampMs(s.known_at[i]).day();
                if day <= after {
                    continue;
                }
                let (other, counts) = aggregate.emit(&CountedPlay {
                    market: market_of[user],
                    action: s.action[i],
                    listened_ms: None,
                    is_first_of_day: met.insert((s.item[i], day)),
                });
                let sums: &mut [u32; N] = out.entry((s.item[i], other, day)).or_insert([0; N]);
                sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
            }
        }
        out
    }

    fn listed<A: Aggregate<N>, const N: usize>(
        aggregate: &A,
        by_item: &ByItem<'_>,
    ) -> Vec<((u32, u32, Day), [u32; N])> {
        let mut out = Vec::new();
        for pass in by_item.passes() {
            for (item, sums) in pass.items.clone().zip(pass.sum(aggregate)) {
                out.extend(sums.iter().map(|s| ((item, s.other, s.day), s.counts)));
            }
        }
        out
    }

    proptest! {
        /// Sums by item equal a plain sum over all plays, in any number of passes.
        #[test]
        fn sums_by_item_are_the_sums_over_plays(
            users in prop::collection::vec(prop::collection::vec((0_u32..9, 0_u8..8, 0_i64..DAY_MS), 0..60), 0..6),
            after in prop::option::of(0..5),
            plays_per_pass in 1..200_u64,
        ) {
            let mut owned = OwnedSequences { n_items: 9, ..OwnedSequences::default() };
            for user in &users {
                let item: Vec<u32> = user.iter().map(|p| p.0).collect();
                let action: Vec<u8> = user.iter().map(|p| p.1).collect();
                let known_at: Vec<i64> = user.iter().scan(0, |at, p| { *at += p.2 / 4; Some(*at) }).collect();
                owned.push(Sequence { item: &item, action: &action, known_at: &known_at, ..Sequence::default() });
            }
            let market_of: Vec<u32> = (0..users.len() as u32).map(|u| u % 2).collect();
            let after = Day(after.unwrap_or(i32::MIN));
            let by_item = ByItem::new(owned.view(), &[], &market_of, after, plays_per_pass);
            let want: Vec<_> = plain(&ItemStatistics, owned.view(), &market_of, after).into_iter().collect();
            prop_assert_eq!(listed(&ItemStatistics, &by_item), want);
            let want: Vec<_> = plain(&MarketPlays, owned.view(), &market_of, after).into_iter().collect();
            prop_assert_eq!(listed(&MarketPlays, &by_item), want);
        }
    }
}
