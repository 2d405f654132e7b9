//! What a listener did with each item: counted from the listener's plays when asked for.
//!
//! Nobody reads the interactions of everybody at once, and a listener has some hundred plays. A
//! stored table would be half the size of the plays, of which a day changes a little everywhere.

use super::times::PlayTimes;
use super::{InteractionRow, action_counts};

/// Counts one listener's plays by item row, ascending.
pub(crate) fn count(item: &[u32], action: &[u8], times: &[PlayTimes]) -> Vec<InteractionRow> {
    // Item and place of each play, packed so that they sort as one number.
    let places = item.iter().enumerate().map(|(at, &item)| u64::from(item) << 32 | at as u64);
    let mut order: Vec<u64> = places.collect();
    order.sort_unstable();
    let rows = order.chunk_by(|a, b| a >> 32 == b >> 32).map(|same| {
        let item = (same[0] >> 32) as u32;
        let mut row = InteractionRow { item, last_played_at: i64::MIN, ..InteractionRow::default() };
        for &packed in same {
            let at = packed as u32 as usize;
            let times =
                times.get(at).copied().unwrap_or(PlayTimes { listened_ms: u32::MAX, ..PlayTimes::default() });
            let [n, stream, completion, skip] =
                action_counts(action.get(at).copied().unwrap_or(0), times.listened_ms);
            row.n_plays = row.n_plays.saturating_add(n);
            row.n_streams = row.n_streams.saturating_add(stream);
            row.n_completions = row.n_completions.saturating_add(completion);
            row.n_skips = row.n_skips.saturating_add(skip);
            row.last_played_at = row.last_played_at.max(times.occurred_at);
        }
        row
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use segue_types::Action;

    proptest! {
        /// Counted item by item, the rows are those of one play after the other.
        #[test]
        fn counts_are_those_of_a_plain_scan(
            plays in prop::collection::vec((0..6_u32, 0..8_u8, 0..100_i64, 0..60_000_u32), 0..60),
        ) {
            let item: Vec<u32> = plays.iter().map(|p| p.0).collect();
            let action: Vec<u8> = plays.iter().map(|p| p.1).collect();
            let times: Vec<PlayTimes> = plays
                .iter()
                .map(|p| PlayTimes { known_at: 0, occurred_at: p.2, listened_ms: p.3 })
                .collect();
            let of_item = |row: u32| {
                let mine: Vec<_> = plays.iter().filter(|p| p.0 == row).collect();
                let n = |is: &dyn Fn(u8, u32) -> bool| mine.iter().filter(|p| is(p.1, p.3)).count() as u32;
                let last_played_at = mine.iter().map(|p| p.2).max()?;
                Some(InteractionRow {
                    item: row,
                    n_plays: mine.len() as u32,
                    n_streams: n(&|_, ms| ms >= 30_000),
                    n_completions: n(&|action, _| action == Action::Completed.code()),
                    n_skips: n(&|action, _| action == Action::Skipped.code()),
                    last_played_at,
                })
            };
            let want: Vec<_> = (0..6).filter_map(of_item).collect();
            prop_assert_eq!(count(&item, &action, &times), want);
        }
    }
}
