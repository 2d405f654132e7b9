//! Markets of the fictional service: share of listeners and offset of local time.

use crate::rng::Luck;

/// One market.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Market {
    /// ISO 3166 alpha-2.
    pub code: &'static str,
    /// Share of listeners (they sum to 1).
    pub share: f64,
    /// Local time minus UTC, in hours; one per market, no daylight saving.
    pub utc_offset_h: i64,
}

const fn market(code: &'static str, share: f64, utc_offset_h: i64) -> Market {
    Market { code, share, utc_offset_h }
}

/// All markets.
pub const MARKETS: &[Market] = &[
    market("US", 0.28, -6),
    market("BR", 0.15, -3),
    market("DE", 0.13, 1),
    market("GB", 0.12, 0),
    market("MX", 0.11, -6),
    market("FR", 0.09, 1),
    market("SE", 0.07, 1),
    market("JP", 0.05, 9),
];

pub(crate) fn draw_market(luck: &mut Luck) -> u8 {
    luck.weighted(MARKETS.iter().map(|m| m.share)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one() {
        assert!((MARKETS.iter().map(|m| m.share).sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
