//! From scored pools to shelves: the one function that serving and replay share.

use std::collections::HashSet;

use segue_types::ItemKey;

use crate::explore::{ExploreConfig, ExploreSelector};
use crate::rng::SlateRng;
use crate::stage::{Pick, Pool, Selector};
use crate::top::TopSelector;

/// One shelf before selection: what its selector is told.
#[derive(Debug, Clone, PartialEq)]
pub struct ShelfPool {
    /// Names the shelf's stream of random numbers.
    pub shelf_id: String,
    /// `top` or `explore`.
    pub selector: String,
    /// Most cards.
    pub limit: usize,
    /// A shelf with fewer cards is left out, and its items stay free for the shelves below.
    pub min_cards: usize,
    /// Settings of the selector.
    pub explore: ExploreConfig,
    /// `[n]` items, best first.
    pub items: Vec<ItemKey>,
    /// `[n]` scores, descending.
    pub scores: Vec<f32>,
    /// `[n]` groups for the cap.
    pub groups: Vec<u64>,
}

/// Makes a selector from a shelf's settings.
pub type MakeSelector = fn(ExploreConfig) -> Box<dyn Selector>;

/// The selectors, name → constructor: the one list of this kind.
pub const SELECTORS: &[(&str, MakeSelector)] = &[
    ("top", |c| Box::new(TopSelector { max_per_group: c.max_per_group })),
    ("explore", |c| Box::new(ExploreSelector { config: c })),
];

/// Chooses the cards of every shelf, top to bottom; indexes are into each shelf's pool.
///
/// An item shown on a shelf above is not eligible below, so "given those above" holds over the
/// whole page. A shelf under its `min_cards`, or with an unknown selector, comes back empty.
///
/// A page whose shelf was left out for having too few cards still has exact propensities: whether
/// a shelf reaches `min_cards` is decided by the number of eligible groups, which for a cap of
/// `max_per_group` does not depend on which of them are drawn, except through the items taken by
/// the shelves above, which are given.
#[must_use]
pub fn compose_shelves(shelves: &[ShelfPool], seed: u64) -> Vec<Vec<Pick>> {
    let mut shown: HashSet<ItemKey> = HashSet::new();
    let mut out = Vec::with_capacity(shelves.len());
    for shelf in shelves {
        let free: Vec<usize> = (0..shelf.items.len()).filter(|&i| !shown.contains(&shelf.items[i])).collect();
        let scores: Vec<f32> = free.iter().map(|&i| shelf.scores[i]).collect();
        let groups: Vec<u64> = free.iter().map(|&i| shelf.groups[i]).collect();
        let make = SELECTORS.iter().find(|(name, _)| *name == shelf.selector).map(|(_, make)| make);
        let mut picks = make.map_or(Vec::new(), |make| {
            let mut rng = SlateRng::for_shelf(seed, &shelf.shelf_id);
            make(shelf.explore).select(&Pool { scores: &scores, groups: &groups }, shelf.limit, &mut rng)
        });
        if picks.len() < shelf.min_cards {
            picks.clear();
        }
        for pick in &mut picks {
            pick.index = free[pick.index];
            shown.insert(shelf.items[pick.index]);
        }
        out.push(picks);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(id: &str, selector: &str, items: &[u64], min_cards: usize) -> ShelfPool {
        ShelfPool {
            shelf_id: id.to_owned(),
            selector: selector.to_owned(),
            limit: 3,
            min_cards,
            explore: ExploreConfig { temperature: 0.1, epsilon: 0.1, pool_size: 10, max_per_group: 0 },
            items: items.iter().map(|&i| ItemKey(i)).collect(),
            scores: (0..items.len()).map(|i| 1.0 - i as f32 / 10.0).collect(),
            groups: vec![0; items.len()],
        }
    }

    #[test]
    fn an_item_is_shown_once_and_a_thin_shelf_frees_its_items() {
        let page = [
            shelf("a", "top", &[1, 2], 1),
            shelf("thin", "top", &[2, 3], 2),
            shelf("b", "top", &[1, 3, 4], 1),
        ];
        let picks = compose_shelves(&page, 7);
        let ids: Vec<Vec<usize>> =
            picks.iter().map(|shelf| shelf.iter().map(|p| p.index).collect()).collect();
        assert_eq!(ids, [vec![0, 1], vec![], vec![1, 2]]);
    }

    #[test]
    fn the_same_seed_gives_the_same_page_and_another_gives_another() {
        let page = [shelf("a", "explore", &[1, 2, 3, 4, 5, 6], 1)];
        assert_eq!(compose_shelves(&page, 7), compose_shelves(&page, 7));
        assert!((0..20).any(|seed| compose_shelves(&page, seed) != compose_shelves(&page, 7)));
    }

    #[test]
    fn an_unknown_selector_shows_nothing() {
        assert_eq!(compose_shelves(&[shelf("a", "best", &[1], 0)], 7), [vec![]]);
    }
}
