//! Aggregates: what sums over listeners, order-free and exactly mergeable.
//!
//! An aggregate looks at one listener's events and emits `(key, integers)`. Sums of integers do
//! not depend on the order of listeners, buckets or threads, so any machine may add them up. They
//! are kept per day of `known_at`; a feature of day D reads the version of day D−1.

use crate::enrich::Enriched;

/// Counts of one emission, in the order of [`Aggregate::COUNTS`].
pub type Counts<const N: usize> = [u32; N];

/// An order-free sum over listeners.
///
/// # Contract
/// - `emit` is called once per listener and day with the listener's enriched events that became
///   known on that day, in known-at order, and may keep nothing between calls.
/// - It calls `out` any number of times; equal keys are added.
pub trait Aggregate<const N: usize>: Send + Sync + 'static {
    /// What is counted over, besides the day.
    type Key: Ord + Copy + Send + std::fmt::Debug;

    /// Stable name.
    const NAME: &'static str;
    /// Version of its definition; another version is rebuilt from the log.
    const VERSION: u16;
    /// Names of the counts.
    const COUNTS: [&'static str; N];

    /// Emits the listener's share of one day. `market` is a number of the listener's market
    /// within this run, the same for all listeners of one market.
    fn emit(&self, market: u32, day: &[Enriched], out: &mut dyn FnMut(Self::Key, Counts<N>));
}
