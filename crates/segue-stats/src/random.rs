//! Counter-based random numbers: any draw of any stream can be computed on its own.
//!
//! The same numbers come out on every machine and with any number of threads, because nothing is
//! carried from one draw to the next but a counter.

/// Weyl increment of SplitMix64: 2⁶⁴ divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: a bijection of 64-bit words under which neighbours become unrelated.
///
/// Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014
/// (constants: Stafford's variant 13).
#[must_use]
pub const fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(GAMMA);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of random words identified by a seed and a stream number.
#[derive(Debug, Clone)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// Stream number `stream` of `seed`.
    #[must_use]
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self { state: mix(mix(seed) ^ mix(stream ^ 0x5345_4755_455f_5354)) }
    }

    /// The next word, uniform over all 64-bit words.
    pub fn next_u64(&mut self) -> u64 {
        let out = mix(self.state);
        self.state = self.state.wrapping_add(GAMMA);
        out
    }

    /// The next number, uniform in `[0, 1)` with 53 random bits.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// The next two independent standard normal numbers, the same on every machine.
    ///
    /// Source: Box & Muller, "A note on the generation of random normal deviates", 1958.
    pub fn next_normals(&mut self) -> [f64; 2] {
        let radius = (-2.0 * libm::log(1.0 - self.next_f64())).sqrt();
        let (sin, cos) = libm::sincos(2.0 * std::f64::consts::PI * self.next_f64());
        [radius * cos, radius * sin]
    }

    /// The next index, uniform in `0..n`. The bias is below `n / 2⁶⁴`.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn next_below(&mut self, n: usize) -> usize {
        assert!(n > 0, "an index below 0 does not exist");
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published output of SplitMix64 seeded with 1234567.
    #[test]
    fn the_finaliser_matches_its_published_values() {
        let mut state = 1_234_567_u64;
        let mut next = || {
            let out = mix(state);
            state = state.wrapping_add(GAMMA);
            out
        };
        assert_eq!(
            [next(), next(), next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn normal_numbers_have_the_moments_of_a_normal() {
        let mut stream = Stream::new(3, 1);
        let mut sums = [0.0; 5];
        let n = 100_000;
        for _ in 0..n {
            let [a, b] = stream.next_normals();
            for (sum, x) in sums.iter_mut().zip([a, b, a * b, a * a + b * b, a.powi(4) + b.powi(4)]) {
                *sum += x / f64::from(n);
            }
        }
        // Standard errors .0032, .0032, .0032, .0063 and .044; fourth moments are 3 each.
        for (got, (want, four_errors)) in
            sums.iter().zip([(0.0, 0.013), (0.0, 0.013), (0.0, 0.013), (2.0, 0.026), (6.0, 0.18)])
        {
            assert!((got - want).abs() < four_errors, "{sums:?}");
        }
    }

    #[test]
    fn indexes_are_uniform_and_streams_differ() {
        let mut counts = [0_u32; 10];
        let mut stream = Stream::new(7, 0);
        for _ in 0..100_000 {
            counts[stream.next_below(10)] += 1;
        }
        // Chi-squared on 9 dof; 27.9 is the .999 quantile.
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4).sum();
        assert!(chi2 < 27.9, "{counts:?}");
        assert_ne!(Stream::new(7, 0).next_u64(), Stream::new(7, 1).next_u64());
        assert_ne!(Stream::new(7, 0).next_u64(), Stream::new(8, 0).next_u64());
        let x = Stream::new(1, 1).next_f64();
        assert!((0.0..1.0).contains(&x));
    }
}
