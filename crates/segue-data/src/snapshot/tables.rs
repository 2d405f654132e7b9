//! Tables derived from the packed sequences: interactions, item statistics, plays by market.

use rayon::prelude::*;
use segue_types::Day;

use super::column::Column;
use super::{InteractionColumns, MarketColumns, StatColumns, action_counts};
use crate::aggregate::{self, Key};
use crate::aggregates::item_stats::{ItemStatistics, ItemStats};
use crate::aggregates::market_plays::MarketPlays;
use crate::error::DataError;
use crate::sequences::Sequences;

/// One row per user and item they played.
pub(crate) fn interactions(plays: Sequences<'_>, listened_ms: &[u32]) -> InteractionColumns {
    let n_users = plays.n_users();
    type Part = (Vec<u64>, Vec<u32>, Vec<[u32; 4]>, Vec<i64>);
    let parts: Vec<Part> = (0..n_users.div_ceil(256))
        .into_par_iter()
        .map(|chunk| {
            let (mut ends, mut item, mut counts, mut last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let mut order: Vec<(u32, u32)> = Vec::new();
            for user in chunk * 256..(chunk * 256 + 256).min(n_users) {
                let s = plays.user(user);
                let heard = listened_ms.get(plays.offsets[user] as usize..).unwrap_or(&[]);
                order.clear();
                order.extend(s.item.iter().enumerate().map(|(i, &item)| (item, i as u32)));
                order.sort_unstable();
                for same in order.chunk_by(|a, b| a.0 == b.0) {
                    let (mut sums, mut at) = ([0_u32; 4], i64::MIN);
                    for &(_, i) in same {
                        let i = i as usize;
                        let action = s.action.get(i).copied().unwrap_or(0);
                        let add = action_counts(action, heard.get(i).copied().unwrap_or(u32::MAX));
                        for (sum, n) in sums.iter_mut().zip(add) {
                            *sum = sum.saturating_add(n);
                        }
                        at = at.max(s.occurred_at.get(i).copied().unwrap_or(0));
                    }
                    item.push(same[0].0);
                    counts.push(sums);
                    last.push(at);
                }
                ends.push(item.len() as u64);
            }
            (ends, item, counts, last)
        })
        .collect();
    let (mut offsets, mut item, mut counts, mut last) = (vec![0], Vec::new(), Vec::new(), Vec::new());
    for (ends, i, c, l) in parts {
        let base = item.len() as u64;
        offsets.extend(ends.iter().map(|end| base + end));
        item.extend(i);
        counts.extend(c);
        last.extend(l);
    }
    InteractionColumns {
        offsets: Column::Owned(offsets),
        item: Column::Owned(item),
        counts: Column::Owned(counts),
        last_played_at: Column::Owned(last),
    }
}

/// Cumulative statistics by item, then day.
pub(crate) fn stats(plays: Sequences<'_>, listened_ms: &[u32]) -> Result<StatColumns, DataError> {
    let (mut day, mut counts, mut decayed) = (Vec::new(), Vec::new(), Vec::new());
    let mut offsets = vec![0_u64; plays.n_items as usize + 1];
    let mut sum: Option<(u32, ItemStats)> = None;
    let mut overflow = None;
    aggregate::sum(&ItemStatistics, plays, listened_ms, &[], |key: Key, add| {
        let so_far = match sum {
            Some((item, stats)) if item == key.item => stats,
            _ => ItemStats { day: key.day, ..ItemStats::default() },
        };
        let Some(s) = so_far.with_day(key.day, &add) else {
            overflow = Some(key.item);
            return;
        };
        sum = Some((key.item, s));
        day.push(s.day.0);
        counts.push([s.plays, s.timed_plays, s.streams, s.completions, s.skips, s.listener_days]);
        decayed.push(s.plays_decayed);
        offsets[key.item as usize + 1] = day.len() as u64;
    });
    if overflow.is_some() {
        let limit = u64::from(u32::MAX);
        return Err(DataError::TooMany { what: "plays of one item", got: limit + 1, limit });
    }
    for i in 1..offsets.len() {
        offsets[i] = offsets[i].max(offsets[i - 1]);
    }
    Ok(StatColumns {
        offsets: Column::Owned(offsets),
        day: Column::Owned(day),
        counts: Column::Owned(counts),
        decayed: Column::Owned(decayed),
    })
}

/// Plays by market, then day, then item. Markets without plays are left out.
pub(crate) fn markets(plays: Sequences<'_>, names: &[String], market_of: &[u32]) -> MarketColumns {
    let mut sums: Vec<(u32, Day, u32, u32)> = Vec::new();
    aggregate::sum(&MarketPlays, plays, &[], market_of, |key: Key, [n]| {
        sums.push((key.other, key.day, key.item, n));
    });
    sums.par_sort_unstable();
    let mut out = (Vec::new(), vec![0_u64], Vec::new(), vec![0_u64]);
    let (kept, day_offsets, day, item_offsets) = (&mut out.0, &mut out.1, &mut out.2, &mut out.3);
    let mut n = 0_u64;
    for market in sums.chunk_by(|a, b| a.0 == b.0) {
        for of_day in market.chunk_by(|a, b| a.1 == b.1) {
            n += of_day.len() as u64;
            day.push(of_day[0].1.0);
            item_offsets.push(n);
        }
        kept.push(names.get(market[0].0 as usize).cloned().unwrap_or_default());
        day_offsets.push(day.len() as u64);
    }
    let (names, day_offsets, day, item_offsets) = out;
    MarketColumns {
        names,
        day_offsets: Column::Owned(day_offsets),
        day: Column::Owned(day),
        item_offsets: Column::Owned(item_offsets),
        item: Column::Owned(sums.iter().map(|s| s.2).collect()),
        plays: Column::Owned(sums.iter().map(|s| s.3).collect()),
    }
}
