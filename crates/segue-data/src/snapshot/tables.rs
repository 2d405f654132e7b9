//! Tables derived from the packed sequences: interactions, item statistics, plays by market.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;
use segue_types::{Day, TimestampMs};

use super::column::Column;
use super::{CoListenColumns, InteractionColumns, MarketColumns, StatColumns, action_counts, csr};
use crate::aggregate::{ByItem, PLAYS_PER_PASS, Pass, Sum};
use crate::aggregates::item_stats::{ItemStatistics, ItemStats};
use crate::aggregates::market_plays::MarketPlays;
use crate::error::DataError;
use crate::sequences::Sequences;

/// An earlier snapshot whose tables hold through a day: later days alone are summed.
#[derive(Debug)]
pub(crate) struct Earlier<'a> {
    pub(crate) plays: Sequences<'a>,
    pub(crate) interactions: &'a InteractionColumns,
    pub(crate) stats: &'a StatColumns,
    pub(crate) markets: &'a MarketColumns,
    pub(crate) co_listens: &'a CoListenColumns,
    /// Whether a listener it knows has another market by now.
    pub(crate) has_moved_listeners: bool,
    /// Its item rows → rows here. Both ascend by key, so order is kept.
    pub(crate) item_of: &'a [u32],
    /// Item rows here → its item rows, [`NO_ROW`] if new.
    pub(crate) item_before: Vec<u32>,
    /// User rows here → its user rows, [`NO_ROW`] if new.
    pub(crate) user_before: &'a [u32],
    /// The last day that is final.
    pub(crate) through: Day,
}

/// A user or item that the earlier snapshot does not have.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// Interactions of consecutive users, in parts; `ends` of each part begin anew.
pub(crate) fn interactions(
    plays: Sequences<'_>,
    listened_ms: &[u32],
    earlier: Option<&Earlier<'_>>,
    users: Range<usize>,
) -> Vec<Interactions> {
    const USERS_PER_TASK: usize = 256;
    (0..users.len().div_ceil(USERS_PER_TASK))
        .into_par_iter()
        .map(|task| {
            let mut out = Interactions::default();
            let from = users.start + task * USERS_PER_TASK;
            for user in from..(from + USERS_PER_TASK).min(users.end) {
                match earlier.and_then(|e| e.known(user).map(|(row, n)| (e, row, n))) {
                    Some((earlier, row, n)) if n == plays.user(user).len() => out.copy(earlier, row),
                    Some((earlier, row, n)) => {
                        out.count(plays, listened_ms, user, n);
                        out.add(earlier, row);
                    }
                    None => out.count(plays, listened_ms, user, 0),
                }
                out.ends.push(out.item.len() as u64);
            }
            out
        })
        .collect()
}

/// Interactions of all users, in memory.
pub(crate) fn all_interactions(plays: Sequences<'_>) -> InteractionColumns {
    let (mut offsets, mut all) = (vec![0], Interactions::default());
    for t in interactions(plays, &[], None, 0..plays.n_users()) {
        let base = all.item.len() as u64;
        offsets.extend(t.ends.iter().map(|end| base + end));
        all.item.extend(t.item);
        all.counts.extend(t.counts);
        all.last_played_at.extend(t.last_played_at);
    }
    InteractionColumns {
        offsets: Column::Owned(offsets),
        item: Column::Owned(all.item),
        counts: Column::Owned(all.counts),
        last_played_at: Column::Owned(all.last_played_at),
    }
}

impl Earlier<'_> {
    /// The earlier row of a user whose plays there are all final, and their number: the user's
    /// first plays here are these.
    fn known(&self, user: usize) -> Option<(u32, usize)> {
        let row = self.user_before.get(user).copied().filter(|&row| row != NO_ROW)?;
        let before = self.plays.user(row as usize);
        let is_final = before.known_at.last().is_none_or(|&at| TimestampMs(at).day() <= self.through);
        is_final.then_some((row, before.len()))
    }
}

/// Interactions as they are gathered.
#[derive(Debug, Default)]
pub(crate) struct Interactions {
    pub(crate) ends: Vec<u64>,
    pub(crate) item: Vec<u32>,
    pub(crate) counts: Vec<[u32; 4]>,
    pub(crate) last_played_at: Vec<i64>,
    /// Item and place of each play, packed so that they sort as one number.
    order: Vec<u64>,
    /// One listener's rows while they are merged.
    new: Vec<(u32, [u32; 4], i64)>,
}

impl Interactions {
    fn copy(&mut self, earlier: &Earlier<'_>, row: u32) {
        let t = earlier.interactions;
        let range = csr(&t.offsets, row, &t.item);
        self.item.extend(t.item[range.clone()].iter().map(|&item| earlier.item_of[item as usize]));
        self.counts.extend_from_slice(&t.counts[range.clone()]);
        self.last_played_at.extend_from_slice(&t.last_played_at[range]);
    }

    fn push(&mut self, (item, counts, last_played_at): (u32, [u32; 4], i64)) {
        self.item.push(item);
        self.counts.push(counts);
        self.last_played_at.push(last_played_at);
    }

    /// Merges the last listener's rows, counted from later plays, with those of an earlier one.
    fn add(&mut self, earlier: &Earlier<'_>, row: u32) {
        let from = self.ends.last().map_or(0, |&end| end as usize);
        let mut new = std::mem::take(&mut self.new);
        new.clear();
        let counts = self.counts.drain(from..);
        let rest = counts.zip(self.last_played_at.drain(from..));
        new.extend(self.item.drain(from..).zip(rest).map(|(item, (counts, at))| (item, counts, at)));
        let mut later = new.iter().copied().peekable();
        let t = earlier.interactions;
        for i in csr(&t.offsets, row, &t.item) {
            let item = earlier.item_of[t.item[i] as usize];
            while let Some(one) = later.next_if(|one| one.0 < item) {
                self.push(one);
            }
            let (mut counts, mut at) = (t.counts[i], t.last_played_at[i]);
            if let Some((_, more, last)) = later.next_if(|one| one.0 == item) {
                for (sum, n) in counts.iter_mut().zip(more) {
                    *sum = sum.saturating_add(n);
                }
                at = at.max(last);
            }
            self.push((item, counts, at));
        }
        for one in later {
            self.push(one);
        }
        self.new = new;
    }

    /// Counts a listener's plays but the first `n_before`.
    fn count(&mut self, plays: Sequences<'_>, listened_ms: &[u32], user: usize, n_before: usize) {
        let s = plays.user(user);
        let heard = listened_ms.get(plays.offsets[user] as usize..).unwrap_or(&[]);
        self.order.clear();
        let later = s.item.iter().enumerate().skip(n_before);
        self.order.extend(later.map(|(i, &item)| u64::from(item) << 32 | i as u64));
        self.order.sort_unstable();
        for same in self.order.chunk_by(|a, b| a >> 32 == b >> 32) {
            let (mut sums, mut at) = ([0_u32; 4], i64::MIN);
            for &packed in same {
                let i = packed as u32 as usize;
                let action = s.action.get(i).copied().unwrap_or(0);
                let add = action_counts(action, heard.get(i).copied().unwrap_or(u32::MAX));
                for (sum, n) in sums.iter_mut().zip(add) {
                    *sum = sum.saturating_add(n);
                }
                at = at.max(s.occurred_at.get(i).copied().unwrap_or(0));
            }
            self.item.push((same[0] >> 32) as u32);
            self.counts.push(sums);
            self.last_played_at.push(at);
        }
    }
}

/// Receives rows of item statistics, items ascending.
pub(crate) trait StatSink {
    fn push(&mut self, day: &[i32], counts: &[[u32; 6]], decayed: &[f32]) -> Result<(), DataError>;
}

/// Rows gathered before a [`StatSink`] gets them.
const STATS_AT_ONCE: usize = 64 << 10;

/// Cumulative statistics by item, then day, and plays by market, then day, then item.
/// `names` are the markets, ascending; those without plays are left out. With a sink, the rows of
/// the statistics go there and only their offsets come back.
pub(crate) fn by_item(
    plays: Sequences<'_>,
    listened_ms: &[u32],
    names: &[String],
    market_of: &[u32],
    earlier: Option<&Earlier<'_>>,
    sink: Option<&mut dyn StatSink>,
) -> Result<(StatColumns, MarketColumns), DataError> {
    let all = Day(i32::MIN);
    let known_markets = earlier.filter(|e| !e.has_moved_listeners);
    let mut stats = Stats::new(earlier, sink);
    let mut markets = Markets::default();
    let after = earlier.map_or(all, |e| e.through);
    for pass in ByItem::new(plays, listened_ms, market_of, after, PLAYS_PER_PASS).passes() {
        stats.add(&pass)?;
        if known_markets.is_some() || earlier.is_none() {
            markets.add(&pass);
        }
    }
    if known_markets.is_none() && earlier.is_some() {
        for pass in ByItem::new(plays, listened_ms, market_of, all, PLAYS_PER_PASS).passes() {
            markets.add(&pass);
        }
    }
    Ok((stats.finish()?, markets.finish(names, known_markets)))
}

/// Item statistics as they are gathered, items ascending.
struct Stats<'a, 's> {
    offsets: Vec<u64>,
    day: Vec<i32>,
    counts: Vec<[u32; 6]>,
    decayed: Vec<f32>,
    earlier: Option<&'a Earlier<'a>>,
    sink: Option<&'s mut dyn StatSink>,
    /// Rows the sink has.
    n_before: u64,
}

impl<'a, 's> Stats<'a, 's> {
    fn new(earlier: Option<&'a Earlier<'a>>, sink: Option<&'s mut dyn StatSink>) -> Self {
        let (offsets, n_before) = (vec![0], 0);
        Self { offsets, day: Vec::new(), counts: Vec::new(), decayed: Vec::new(), earlier, sink, n_before }
    }

    fn add(&mut self, pass: &Pass<'_>) -> Result<(), DataError> {
        for (item, sums) in pass.items.clone().zip(pass.sum(&ItemStatistics)) {
            let mut so_far = self.copy(item);
            for sum in sums {
                let limit = u64::from(u32::MAX);
                let s = so_far.unwrap_or(ItemStats { day: sum.day, ..ItemStats::default() });
                let s = s.with_day(sum.day, &sum.counts).ok_or(DataError::TooMany {
                    what: "plays of one item",
                    got: limit + 1,
                    limit,
                })?;
                so_far = Some(s);
                self.day.push(s.day.0);
                self.counts.push([
                    s.plays,
                    s.timed_plays,
                    s.streams,
                    s.completions,
                    s.skips,
                    s.listener_days,
                ]);
                self.decayed.push(s.plays_decayed);
            }
            self.offsets.push(self.n_before + self.day.len() as u64);
            if self.day.len() >= STATS_AT_ONCE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Gives the rows to the sink, if there is one.
    fn flush(&mut self) -> Result<(), DataError> {
        if let Some(sink) = &mut self.sink {
            sink.push(&self.day, &self.counts, &self.decayed)?;
            self.n_before += self.day.len() as u64;
            self.day.clear();
            self.counts.clear();
            self.decayed.clear();
        }
        Ok(())
    }

    /// Takes over the days of an item that are final, and returns the sums through the last.
    fn copy(&mut self, item: u32) -> Option<ItemStats> {
        let earlier = self.earlier?;
        let t = earlier.stats;
        let row = earlier.item_before.get(item as usize).copied().filter(|&row| row != NO_ROW)?;
        let range = csr(&t.offsets, row, &t.day);
        let n = t.day[range.clone()].partition_point(|&day| day <= earlier.through.0);
        let range = range.start..range.start + n;
        self.day.extend_from_slice(&t.day[range.clone()]);
        self.counts.extend_from_slice(&t.counts[range.clone()]);
        self.decayed.extend_from_slice(&t.decayed[range]);
        t.through(row, earlier.through)
    }

    fn finish(mut self) -> Result<StatColumns, DataError> {
        self.flush()?;
        Ok(StatColumns {
            offsets: Column::Owned(self.offsets),
            day: Column::Owned(self.day),
            counts: Column::Owned(self.counts),
            decayed: Column::Owned(self.decayed),
        })
    }
}

/// Plays by market as they are gathered: by market and day, items ascending.
#[derive(Default)]
struct Markets {
    plays: BTreeMap<(u32, Day), Vec<(u32, u32)>>,
}

impl Markets {
    fn add(&mut self, pass: &Pass<'_>) {
        for (item, sums) in pass.items.clone().zip(pass.sum(&MarketPlays)) {
            for Sum { other, day, counts: [n] } in sums {
                self.plays.entry((other, day)).or_default().push((item, n));
            }
        }
    }

    fn finish(self, names: &[String], earlier: Option<&Earlier<'_>>) -> MarketColumns {
        let (mut kept, mut day_offsets, mut days) = (Vec::new(), vec![0_u64], Vec::new());
        let (mut item_offsets, mut item, mut plays) = (vec![0_u64], Vec::new(), Vec::new());
        for (market, name) in (0..).zip(names) {
            if let Some(earlier) = earlier
                && let Ok(row) = earlier.markets.names.binary_search(name)
            {
                let t = earlier.markets;
                for i in csr(&t.day_offsets, row as u32, &t.day) {
                    if t.day[i] > earlier.through.0 {
                        break;
                    }
                    let range = csr(&t.item_offsets, i as u32, &t.item);
                    item.extend(t.item[range.clone()].iter().map(|&item| earlier.item_of[item as usize]));
                    plays.extend_from_slice(&t.plays[range]);
                    days.push(t.day[i]);
                    item_offsets.push(item.len() as u64);
                }
            }
            for ((_, day), of_day) in self.plays.range((market, Day(i32::MIN))..=(market, Day(i32::MAX))) {
                item.extend(of_day.iter().map(|e| e.0));
                plays.extend(of_day.iter().map(|e| e.1));
                days.push(day.0);
                item_offsets.push(item.len() as u64);
            }
            if days.len() as u64 > day_offsets[day_offsets.len() - 1] {
                kept.push(name.clone());
                day_offsets.push(days.len() as u64);
            }
        }
        MarketColumns {
            names: kept,
            day_offsets: Column::Owned(day_offsets),
            day: Column::Owned(days),
            item_offsets: Column::Owned(item_offsets),
            item: Column::Owned(item),
            plays: Column::Owned(plays),
        }
    }
}
