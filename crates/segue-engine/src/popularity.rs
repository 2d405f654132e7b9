//! Decayed popularity by market that the server keeps itself: the source that is always there.
//!
//! Forward decay (Cormode, Shkapenyuk, Srivastava & Xu, "Forward decay: a practical time decay
//! model for streaming systems", ICDE 2009): a play at `t` adds `2^((t − t₀) / half_life)`, so sums
//! need no upkeep as time passes and the order of plays does not matter.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use segue_types::{DAY_MS, ItemKey, TimestampMs};

/// Items kept in a list.
pub const TOP: usize = 1_000;
/// A market's list is made again after this many new plays at the latest; a young market's after
/// a twentieth of its plays.
const REFRESH_PLAYS: u64 = 500;

/// Lists by market, best first, with decayed plays scaled so that the best is 1. The empty market
/// holds all plays.
#[derive(Debug, Default, Clone)]
pub struct PopularLists {
    lists: BTreeMap<String, Arc<Vec<(ItemKey, f32)>>>,
}

impl PopularLists {
    /// The list of a market; empty if nothing was played there.
    #[must_use]
    pub fn list(&self, market: &str) -> &[(ItemKey, f32)] {
        self.lists.get(market).map_or(&[], |list| list.as_slice())
    }
}

#[derive(Debug, Default)]
struct Market {
    weight: HashMap<ItemKey, f64>,
    plays: u64,
    plays_since: u64,
}

/// The counts behind the lists. One writer; readers take [`PopularLists`].
#[derive(Debug)]
pub struct Popularity {
    zero: TimestampMs,
    half_life_ms: f64,
    markets: BTreeMap<String, Market>,
    lists: Arc<ArcSwap<PopularLists>>,
}

impl Popularity {
    /// Empty counts whose weights are 1 at `zero`.
    #[must_use]
    pub fn new(zero: TimestampMs, half_life_days: f64) -> Self {
        Self {
            zero,
            half_life_ms: half_life_days * DAY_MS as f64,
            markets: BTreeMap::new(),
            lists: Arc::default(),
        }
    }

    /// Where readers find the lists.
    #[must_use]
    pub fn lists(&self) -> Arc<ArcSwap<PopularLists>> {
        Arc::clone(&self.lists)
    }

    /// Publishes into `lists` from now on: readers of counts that these replace see these.
    pub fn share(&mut self, lists: Arc<ArcSwap<PopularLists>>) {
        lists.store(self.lists.load_full());
        self.lists = lists;
    }

    /// Adds `n` plays of an item at `at`, in its market and in all.
    pub fn add(&mut self, market: Option<&str>, item: ItemKey, at: TimestampMs, n: u32) {
        // The clamp keeps sums finite: 2^±900 is 17 years of a 7-day half-life.
        let age = (at.ms_since(self.zero) as f64 / self.half_life_ms).clamp(-900.0, 900.0);
        let weight = age.exp2() * f64::from(n);
        for name in [market.unwrap_or(""), ""]
            .into_iter()
            .take(1 + usize::from(market.is_some_and(|m| !m.is_empty())))
        {
            let market = self.markets.entry(name.to_owned()).or_default();
            *market.weight.entry(item).or_default() += weight;
            market.plays += u64::from(n);
            market.plays_since += u64::from(n);
        }
    }

    /// Makes the lists again of markets with enough new plays, or of all that have any.
    pub fn refresh(&mut self, all: bool) {
        let enough = |m: &Market| REFRESH_PLAYS.min(1 + m.plays / 20);
        let due = |m: &Market| m.plays_since >= enough(m) || (all && m.plays_since > 0);
        if !self.markets.values().any(due) {
            return;
        }
        let mut lists = PopularLists::clone(&self.lists.load());
        for (name, market) in self.markets.iter_mut().filter(|(_, m)| due(m)) {
            let mut all: Vec<(ItemKey, f64)> = market.weight.iter().map(|(&k, &w)| (k, w)).collect();
            let order = |a: &(ItemKey, f64), b: &(ItemKey, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            if all.len() > TOP {
                all.select_nth_unstable_by(TOP - 1, order);
                all.truncate(TOP);
            }
            all.sort_unstable_by(order);
            let best = all.first().map_or(1.0, |x| x.1);
            let scaled = all.iter().map(|&(k, w)| (k, (w / best) as f32)).collect();
            lists.lists.insert(name.clone(), Arc::new(scaled));
            market.plays_since = 0;
        }
        self.lists.store(Arc::new(lists));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_play_a_half_life_older_counts_half() {
        let mut p = Popularity::new(TimestampMs(0), 7.0);
        p.add(Some("SE"), ItemKey(1), TimestampMs(0), 1);
        p.add(Some("SE"), ItemKey(2), TimestampMs(7 * DAY_MS), 1);
        p.add(None, ItemKey(3), TimestampMs(0), 4);
        p.refresh(true);
        let lists = p.lists().load_full();
        assert_eq!(lists.list("SE"), [(ItemKey(2), 1.0), (ItemKey(1), 0.5)]);
        assert_eq!(lists.list(""), [(ItemKey(3), 1.0), (ItemKey(2), 0.5), (ItemKey(1), 0.25)]);
        assert!(lists.list("DE").is_empty());
    }

    #[test]
    fn only_the_best_are_kept_and_ties_go_to_the_smaller_key() {
        let mut p = Popularity::new(TimestampMs(0), 7.0);
        for key in (0..2_000).rev() {
            p.add(None, ItemKey(key), TimestampMs(0), 1);
        }
        p.refresh(false);
        let list = p.lists().load_full().list("").to_vec();
        assert_eq!(list.len(), TOP);
        assert!(list.iter().zip(0..).all(|(x, key)| x.0 == ItemKey(key)));
    }
}
