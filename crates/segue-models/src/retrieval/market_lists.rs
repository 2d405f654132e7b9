//! One ranked list per market: what models that do not look at the listener answer from.

use segue_types::Day;

use crate::{DailyPlays, ItemFilter, ModelError, ModelParts, Scored, Tensors};

/// Ranked lists by market, and one of all markets together, which answers requests without a market
/// or from a market the model never saw.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MarketLists {
    n_items: u32,
    /// Names, ascending.
    markets: Vec<String>,
    /// List 0 is all markets together, list `m + 1` is `markets[m]`; best first.
    lists: Vec<Vec<Scored>>,
}

impl MarketLists {
    /// `lists` holds all markets together first, then one list per market; each best first.
    pub(super) fn new(n_items: u32, markets: Vec<String>, lists: Vec<Vec<Scored>>) -> Self {
        assert_eq!(lists.len(), markets.len() + 1, "a list per market and one of all");
        Self { n_items, markets, lists }
    }

    pub(super) fn n_items(&self) -> u32 {
        self.n_items
    }

    /// Fills `out` with the best `k` admitted items of the market.
    pub(super) fn answer(
        &self,
        market: Option<&str>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) {
        let row = market.and_then(|m| self.markets.binary_search_by(|name| name.as_str().cmp(m)).ok());
        let list = &self.lists[row.map_or(0, |row| row + 1)];
        out.clear();
        out.extend(list.iter().filter(|s| filter.admits(s.item)).take(k));
    }

    pub(super) fn tensors(&self) -> Tensors {
        let all = || self.lists.iter().flatten();
        let mut end = 0;
        let ends: Vec<u64> = self
            .lists
            .iter()
            .map(|list| {
                end += list.len() as u64;
                end
            })
            .collect();
        Tensors::new()
            .with("n_items", &[self.n_items])
            .with_strings("markets", &self.markets)
            .with("ends", &ends)
            .with("item", &all().map(|s| s.item).collect::<Vec<_>>())
            .with("score", &all().map(|s| s.score).collect::<Vec<_>>())
    }

    pub(super) fn load(parts: &mut ModelParts) -> Result<Self, ModelError> {
        let t = &mut parts.tensors;
        let n_items = t.take_len::<u32>("n_items", 1)?[0];
        let markets = t.take_strings("markets")?;
        if !markets.windows(2).all(|w| w[0] < w[1]) {
            return Err(t.wrong("`markets` in ascending order".to_owned(), format!("{markets:?}")));
        }
        let ends: Vec<u64> = t.take_len("ends", markets.len() + 1)?;
        let score: Vec<f32> = t.take("score")?;
        if let Some(at) = score.iter().position(|s| !s.is_finite()) {
            return Err(t.wrong("finite values in `score`".to_owned(), format!("{} at {at}", score[at])));
        }
        let item = t.take_below("item", score.len(), n_items)?;
        let mut lists = Vec::with_capacity(ends.len());
        let mut from = 0;
        for (row, &end) in ends.iter().enumerate() {
            let range = usize::try_from(end).ok().filter(|&end| end >= from && end <= item.len());
            let Some(end) = range else {
                return Err(t.wrong(format!("`ends` ascending to {}", item.len()), end.to_string()));
            };
            let list: Vec<Scored> = (from..end).map(|i| Scored { item: item[i], score: score[i] }).collect();
            // Sorted, not marked in a table by row: the file alone says how many rows there are.
            let mut items = item[from..end].to_vec();
            items.sort_unstable();
            if let Some(twice) = items.windows(2).find(|w| w[0] == w[1]) {
                return Err(
                    t.wrong("each item once in a list".to_owned(), format!("item {} twice", twice[0]))
                );
            }
            if !list.windows(2).all(|w| w[0].score >= w[1].score) {
                return Err(t.wrong("lists best first".to_owned(), format!("list {row} out of order")));
            }
            lists.push(list);
            from = end;
        }
        if from != item.len() {
            return Err(t.wrong(format!("the last of `ends` to be {}", item.len()), from.to_string()));
        }
        Ok(Self { n_items, markets, lists })
    }
}

/// Market names, ascending, and each row's place among them.
pub(super) fn market_rows(daily: &DailyPlays<'_>) -> (Vec<String>, Vec<u32>) {
    let mut names = daily.markets.to_vec();
    names.sort_unstable();
    names.dedup();
    let place: Vec<u32> =
        daily.markets.iter().map(|m| names.partition_point(|name| name < m) as u32).collect();
    let rows = daily.market.iter().map(|&m| place[m as usize]).collect();
    (names, rows)
}

/// The day before which a fit with `until` may look: only whole days are seen.
pub(super) fn last_day(until: Option<segue_types::TimestampMs>) -> Day {
    until.map_or(Day(i32::MAX), segue_types::TimestampMs::day)
}
