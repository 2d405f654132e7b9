//! Counter-based random numbers: a draw depends on its key alone, never on what was drawn before.

/// 64 random bits of `(seed, stream, counter)`: two rounds of the splitmix64 finaliser.
///
/// # Source
/// Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[must_use]
pub(crate) fn draw(seed: u64, stream: u64, counter: u64) -> u64 {
    mix(mix(seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        ^ counter.wrapping_mul(0xd1b5_4a32_d192_ed03))
}

/// Whether the draw of `(seed, stream, counter)` falls into a share of all draws.
#[must_use]
pub(crate) fn falls_in(share: f64, seed: u64, stream: u64, counter: u64) -> bool {
    // 53 bits make every multiple of 2^-53 in [0, 1) equally likely.
    let unit = (draw(seed, stream, counter) >> 11) as f64 / (1u64 << 53) as f64;
    unit < share
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_of_one_stream_fill_the_unit_interval_evenly() {
        let n = 20_000;
        for share in [0.1, 0.5, 0.9] {
            let hits = (0..n).filter(|&i| falls_in(share, 7, 3, i)).count() as f64;
            // Five standard deviations of a binomial count.
            let sd = (n as f64 * share * (1.0 - share)).sqrt();
            assert!((hits - share * n as f64).abs() < 5.0 * sd, "{share}: {hits} of {n}");
        }
    }

    #[test]
    fn streams_and_seeds_differ() {
        assert_ne!(draw(1, 0, 5), draw(1, 1, 5));
        assert_ne!(draw(1, 0, 5), draw(2, 0, 5));
        assert_ne!(draw(1, 0, 5), draw(1, 0, 6));
    }
}
