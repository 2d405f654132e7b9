//! Plays per market, item and day: popularity by market.

use crate::aggregate::{Aggregate, CountedPlay};

/// Emits one play per item, market and day.
#[derive(Debug, Clone, Copy)]
pub struct MarketPlays;

impl Aggregate<1> for MarketPlays {
    const NAME: &'static str = "market_plays";
    const VERSION: u16 = 1;
    const COUNTS: [&'static str; 1] = ["plays"];

    fn emit(&self, play: &CountedPlay) -> (u32, [u32; 1]) {
        (play.market, [1])
    }
}
