//! Aggregates: what sums over listeners, order-free and exactly mergeable.
//!
//! An aggregate looks at one listener's plays and emits `(key, day, integers)`. Sums of integers
//! do not depend on the order of listeners, buckets or threads, so any machine may add them up.
//! They are kept per day of `known_at`; a feature of day D reads the version of day D−1.

use rayon::prelude::*;
use segue_types::Day;

use crate::sequences::{Sequence, Sequences};

/// One listener, as aggregates see them.
#[derive(Debug, Clone, Copy)]
pub struct Listener<'a> {
    /// Number of the listener's market in this snapshot.
    pub market: u32,
    /// The plays in known-at order.
    pub plays: Sequence<'a>,
    /// `[n_plays]` milliseconds heard, `u32::MAX` if unknown; may be empty.
    pub listened_ms: &'a [u32],
}

/// What a sum is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Key {
    /// Item row.
    pub item: u32,
    /// Whatever else the aggregate counts over, such as a market; 0 if nothing.
    pub other: u32,
    /// Day of `known_at`.
    pub day: Day,
}

/// An order-free sum over listeners with `N` counts per key.
///
/// # Contract
/// - `emit` sees one listener alone and keeps nothing between calls.
/// - It calls `out` any number of times, only for items in `items`; equal keys are added.
/// - An emission for a day depends on plays known up to that day only.
pub trait Aggregate<const N: usize>: Send + Sync {
    /// Stable name.
    const NAME: &'static str;
    /// Version of its definition.
    const VERSION: u16;
    /// Names of the counts.
    const COUNTS: [&'static str; N];

    /// Emits the listener's share.
    fn emit(&self, listener: &Listener<'_>, items: std::ops::Range<u32>, out: &mut impl FnMut(Key, [u32; N]));
}

/// Emissions held in memory at once; more plays mean more passes, not more memory.
const PLAYS_PER_PASS: u64 = 8 << 20;

/// Adds up an aggregate over all listeners and hands the sums to `take` in key order.
///
/// Counts saturate at `u32::MAX`.
pub(crate) fn sum<A: Aggregate<N>, const N: usize>(
    aggregate: &A,
    plays: Sequences<'_>,
    listened_ms: &[u32],
    market_of: &[u32],
    mut take: impl FnMut(Key, [u32; N]),
) {
    let n_passes = (plays.n_plays() as u64).div_ceil(PLAYS_PER_PASS).max(1);
    let n_items = u64::from(plays.n_items);
    let n_users = plays.n_users();
    for pass in 0..n_passes {
        let items = (n_items * pass / n_passes) as u32..(n_items * (pass + 1) / n_passes) as u32;
        let mut emitted: Vec<(Key, [u32; N])> = (0..n_users.div_ceil(256))
            .into_par_iter()
            .fold(Vec::new, |mut list, chunk| {
                for user in chunk * 256..(chunk * 256 + 256).min(n_users) {
                    let (from, to) = (plays.offsets[user] as usize, plays.offsets[user + 1] as usize);
                    let listener = Listener {
                        market: market_of.get(user).copied().unwrap_or(0),
                        plays: plays.user(user),
                        listened_ms: listened_ms.get(from..to).unwrap_or(&[]),
                    };
                    aggregate.emit(&listener, items.clone(), &mut |key, counts| {
                        list.push((key, counts));
                    });
                }
                list
            })
            .reduce(Vec::new, |mut a, mut b| {
                if a.len() < b.len() {
                    std::mem::swap(&mut a, &mut b);
                }
                a.append(&mut b);
                a
            });
        emitted.par_sort_unstable_by_key(|e| e.0);
        for same in emitted.chunk_by(|a, b| a.0 == b.0) {
            let mut counts = [0_u32; N];
            for (_, add) in same {
                for (sum, n) in counts.iter_mut().zip(add) {
                    *sum = sum.saturating_add(*n);
                }
            }
            take(same[0].0, counts);
        }
    }
}
