//! Plays per market, item and day: popularity by market.

use segue_types::TimestampMs;

use crate::aggregate::{Aggregate, Key, Listener};

/// Emits one play per item, market and day.
#[derive(Debug, Clone, Copy)]
pub struct MarketPlays;

impl Aggregate<1> for MarketPlays {
    const NAME: &'static str = "market_plays";
    const VERSION: u16 = 1;
    const COUNTS: [&'static str; 1] = ["plays"];

    fn emit(
        &self,
        listener: &Listener<'_>,
        items: std::ops::Range<u32>,
        out: &mut impl FnMut(Key, [u32; 1]),
    ) {
        for (&item, &at) in listener.plays.item.iter().zip(listener.plays.known_at) {
            if items.contains(&item) {
                out(Key { item, other: listener.market, day: TimestampMs(at).day() }, [1]);
            }
        }
    }
}
