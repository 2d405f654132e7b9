//! Random numbers of a slate: a counter-based generator seeded from the request id.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
/// Small state, every seed usable, the same numbers on every machine.
#[derive(Debug, Clone)]
pub struct SlateRng {
    state: u64,
}

impl SlateRng {
    /// A generator from an integer seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The seed of a request.
    #[must_use]
    pub fn seed_of(request_id: &str) -> u64 {
        xxh3_64(request_id.as_bytes())
    }

    /// The generator of one shelf of a request. Shelves have their own streams, so that a change
    /// of one shelf does not reshuffle the next.
    #[must_use]
    pub fn for_shelf(seed: u64, shelf_id: &str) -> Self {
        Self::new(xxh3_64_with_seed(shelf_id.as_bytes(), seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)` with 53 bits.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Part of the replay format: a change here changes every explored slate.
    #[test]
    fn the_generator_keeps_its_published_values() {
        let mut rng = SlateRng::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }
}
