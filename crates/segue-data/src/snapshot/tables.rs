//! Tables derived from the packed sequences: item statistics, plays by market.

use std::collections::BTreeMap;

use segue_types::Day;

use super::by_key::{ByKey, ByKeyPart, Cursor};
use super::markets::{self, MarketBlocks};
use super::stats::{self, StatBlocks};
use super::{CoListenColumns, blocks};
use crate::aggregate::{ByItem, PLAYS_PER_PASS, Pass, Sum};
use crate::aggregates::item_stats::{ItemStatistics, ItemStats};
use crate::aggregates::market_plays::MarketPlays;
use crate::error::DataError;
use crate::sequences::Sequences;

/// An earlier snapshot whose tables hold through a day: later days alone are summed.
#[derive(Debug)]
pub(crate) struct Earlier<'a> {
    pub(crate) stats: &'a StatBlocks,
    pub(crate) markets: &'a MarketBlocks,
    pub(crate) co_listens: &'a CoListenColumns,
    /// Whether a listener it knows has another market by now.
    pub(crate) has_moved_listeners: bool,
    /// Its item rows → rows here. Both ascend by key, so order is kept.
    pub(crate) item_of: &'a [u32],
    /// Item rows here → its item rows, [`NO_ROW`] if new.
    pub(crate) item_before: Vec<u32>,
    /// The last day that is final.
    pub(crate) through: Day,
}

/// A user or item that the earlier snapshot does not have.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// Plays to be summed by item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plays<'a> {
    /// All plays known after the last final day of an earlier snapshot, with their moments.
    pub(crate) new: Sequences<'a>,
    /// `[n_plays]` beside `new`, or empty.
    pub(crate) listened_ms: &'a [u32],
    /// All plays, if a listener has another market by now; else not read.
    pub(crate) all: Sequences<'a>,
    /// Item keys by row, ascending.
    pub(crate) item_keys: &'a [u64],
    /// Names of markets, ascending, and each listener's.
    pub(crate) markets: &'a [String],
    pub(crate) market_of: &'a [u32],
}

/// Receives item statistics by block, items ascending.
pub(crate) trait StatSink {
    fn push(&mut self, parts: &BTreeMap<i32, ByKeyPart>) -> Result<(), DataError>;
}

/// Bytes gathered before a [`StatSink`] gets them.
const STATS_AT_ONCE: usize = 2 << 20;

/// Cumulative statistics by item, then day, and plays by market, then day, then item, in blocks of
/// days: those that the earlier snapshot does not have. With a sink, the statistics go there and
/// nothing of them comes back.
pub(crate) fn by_item(
    plays: Plays<'_>,
    earlier: Option<&Earlier<'_>>,
    sink: Option<&mut dyn StatSink>,
) -> Result<(StatBlocks, BTreeMap<i32, ByKeyPart>), DataError> {
    let all = Day(i32::MIN);
    let known_markets = earlier.filter(|e| !e.has_moved_listeners);
    let mut stats = Stats::new(plays.item_keys, earlier, sink);
    let mut markets = Markets::default();
    let after = earlier.map_or(all, |e| e.through);
    let market_of = plays.market_of;
    for pass in ByItem::new(plays.new, plays.listened_ms, market_of, after, PLAYS_PER_PASS).passes() {
        stats.add(&pass)?;
        if known_markets.is_some() || earlier.is_none() {
            markets.add(&pass, plays.item_keys);
        }
    }
    if known_markets.is_none() && earlier.is_some() {
        for pass in ByItem::new(plays.all, &[], market_of, all, PLAYS_PER_PASS).passes() {
            markets.add(&pass, plays.item_keys);
        }
    }
    Ok((stats.finish()?, markets.finish(plays.markets, known_markets)))
}

/// Item statistics as they are gathered, items ascending.
struct Stats<'a, 's> {
    item_keys: &'a [u64],
    parts: BTreeMap<i32, ByKeyPart>,
    n_bytes: usize,
    earlier: Option<&'a Earlier<'a>>,
    /// The earlier block that is written anew, and a place in it.
    open: Option<(i32, Cursor<'a>)>,
    sink: Option<&'s mut dyn StatSink>,
}

impl<'a, 's> Stats<'a, 's> {
    fn new(
        item_keys: &'a [u64],
        earlier: Option<&'a Earlier<'a>>,
        sink: Option<&'s mut dyn StatSink>,
    ) -> Self {
        let open = earlier.and_then(|e| {
            let block = blocks::block_of(e.through);
            let file = e.stats.blocks.get(&block).filter(|_| blocks::last_day(block) > e.through)?;
            Some((block, file.from(0)))
        });
        Self { item_keys, parts: BTreeMap::new(), n_bytes: 0, earlier, open, sink }
    }

    fn add(&mut self, pass: &Pass<'_>) -> Result<(), DataError> {
        for (item, sums) in pass.items.clone().zip(pass.sum(&ItemStatistics)) {
            let key = self.item_keys[item as usize];
            if let (Some((block, file)), Some(earlier)) = (&mut self.open, self.earlier) {
                let bytes = stats::through(file.get(u128::from(key)), earlier.through);
                self.n_bytes += bytes.len();
                let part = self.parts.entry(*block).or_default();
                part.add(u128::from(key), |out| out.extend_from_slice(bytes));
            }
            let mut so_far = match sums.first() {
                Some(_) => self.earlier.and_then(|e| e.stats.through(key, e.through)),
                None => None,
            };
            for sum in sums {
                let limit = u64::from(u32::MAX);
                let s = so_far.unwrap_or(ItemStats { day: sum.day, ..ItemStats::default() });
                let s = s.with_day(sum.day, &sum.counts).ok_or(DataError::TooMany {
                    what: "plays of one item",
                    got: limit + 1,
                    limit,
                })?;
                so_far = Some(s);
                let part = self.parts.entry(blocks::block_of(s.day)).or_default();
                part.add(u128::from(key), |out| stats::put(&s, out));
                self.n_bytes += size_of::<ItemStats>();
            }
            if self.n_bytes >= STATS_AT_ONCE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Gives the rows to the sink, if there is one.
    fn flush(&mut self) -> Result<(), DataError> {
        if let Some(sink) = &mut self.sink {
            sink.push(&self.parts)?;
            self.parts.values_mut().for_each(ByKeyPart::clear);
            self.n_bytes = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<StatBlocks, DataError> {
        self.flush()?;
        let parts = self.parts.iter().filter(|(_, part)| !part.is_empty());
        let blocks = parts.map(|(&block, part)| Ok((block, ByKey::of(part)?)));
        Ok(StatBlocks { blocks: blocks.collect::<Result<_, DataError>>()? })
    }
}

/// Plays by market as they are gathered: by market and day, items ascending.
#[derive(Default)]
struct Markets {
    plays: BTreeMap<(u32, Day), Vec<(u64, u32)>>,
}

impl Markets {
    fn add(&mut self, pass: &Pass<'_>, item_keys: &[u64]) {
        for (item, sums) in pass.items.clone().zip(pass.sum(&MarketPlays)) {
            for Sum { other, day, counts: [n] } in sums {
                self.plays.entry((other, day)).or_default().push((item_keys[item as usize], n));
            }
        }
    }

    /// The days of every market by block, after those that an earlier snapshot is right about.
    fn finish(self, names: &[String], earlier: Option<&Earlier<'_>>) -> BTreeMap<i32, ByKeyPart> {
        let open = earlier.and_then(|e| {
            let block = blocks::block_of(e.through);
            let file = e.markets.blocks.get(&block).filter(|_| blocks::last_day(block) > e.through)?;
            Some((block, file, e.through))
        });
        let mut order: Vec<(u128, u32)> = names.iter().map(|name| markets::key(name)).zip(0..).collect();
        order.sort_unstable();
        let mut parts: BTreeMap<i32, ByKeyPart> = BTreeMap::new();
        for (key, market) in order {
            if let Some((block, file, through)) = open {
                let bytes = markets::through(file.get(key), through);
                parts.entry(block).or_default().add(key, |out| out.extend_from_slice(bytes));
            }
            for ((_, day), of_day) in self.plays.range((market, Day(i32::MIN))..=(market, Day(i32::MAX))) {
                let part = parts.entry(blocks::block_of(*day)).or_default();
                part.add(key, |out| markets::put(*day, of_day, out));
            }
        }
        parts.retain(|_, part| !part.is_empty());
        parts
    }
}
