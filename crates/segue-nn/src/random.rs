//! Random numbers as functions of their place: nothing is drawn in an order.
//!
//! A stream is a key, a draw is the hash of key and index, so any draw can be repeated alone: the
//! backward pass draws a dropout mask anew, and a resumed training draws what it would have drawn.

/// A stream of random numbers addressed by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    key: u64,
}

impl Counter {
    /// Stream `stream` of `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { key: mix64(mix64(seed ^ 0x5E60_0E5E_600E_5E60) ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93)) }
    }

    /// A stream within this one.
    #[must_use]
    pub fn fork(self, stream: u64) -> Self {
        Self::new(self.key, stream)
    }

    /// 64 random bits.
    #[must_use]
    pub fn bits(self, index: u64) -> u64 {
        mix64(self.key.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Uniform in `[0, 1)`.
    #[must_use]
    pub fn uniform(self, index: u64) -> f32 {
        (self.bits(index) >> 40) as f32 * (1.0 / (1_u32 << 24) as f32)
    }

    /// Uniform integer below `n` (Lemire's multiplication; bias below `n / 2^64`).
    ///
    /// # Panics
    /// If `n` is 0.
    #[must_use]
    pub fn below(self, index: u64, n: u64) -> u64 {
        assert!(n > 0, "there is no integer below 0");
        ((u128::from(self.bits(index)) * u128::from(n)) >> 64) as u64
    }

    /// Standard normal (Box & Muller 1958).
    #[must_use]
    pub fn normal(self, index: u64) -> f32 {
        let bits = self.bits(index);
        let u = ((bits >> 32) as f64 + 0.5) / 4_294_967_296.0;
        let v = (bits & 0xFFFF_FFFF) as f64 / 4_294_967_296.0;
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// A random order of `0..n`: indexes sorted by their draw.
    #[must_use]
    pub fn permutation(self, n: usize) -> Vec<u32> {
        let mut order: Vec<(u64, u32)> = (0..n as u32).map(|i| (self.bits(u64::from(i)), i)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, i)| i).collect()
    }
}

/// The random numbers of one gradient shard of one training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    counter: Counter,
}

impl Noise {
    /// The noise of a shard of a step.
    #[must_use]
    pub fn new(seed: u64, step: u64, shard: u64) -> Self {
        Self { counter: Counter::new(seed, 0x4E01_5E00).fork(step).fork(shard) }
    }

    /// The noise of one part of a shard.
    #[must_use]
    pub fn part(self, part: u64) -> Self {
        Self { counter: self.counter.fork(part) }
    }

    /// The 32-bit key of one place in the model, such as the second dropout of the first block.
    #[must_use]
    pub fn site(self, site: u32) -> u32 {
        self.counter.bits(u64::from(site)) as u32
    }
}

/// Finaliser of SplitMix64 (Steele, Lea & Flood 2014).
fn mix64(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A 32-bit mix that vectorises: constants of `lowbias32` (C. Wellons, "Prospecting for Hash Functions").
#[inline(always)]
#[must_use]
pub fn mix32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_moments_they_should() {
        let c = Counter::new(1, 2);
        let n = 40_000_u64;
        let mean = (0..n).map(|i| f64::from(c.uniform(i))).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let normal: Vec<f64> = (0..n).map(|i| f64::from(c.normal(i))).collect();
        let mean = normal.iter().sum::<f64>() / n as f64;
        let variance = normal.iter().map(|x| x * x).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        assert!((0..n).all(|i| c.below(i, 7) < 7));
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut p = Counter::new(3, 0).permutation(1000);
        assert_ne!(p[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        p.sort_unstable();
        assert!(p.iter().enumerate().all(|(i, &v)| i == v as usize));
    }

    #[test]
    fn streams_differ() {
        let noise = Noise::new(1, 2, 3);
        assert_ne!(noise.site(0), noise.site(1));
        assert_ne!(noise, Noise::new(1, 2, 4));
        assert_ne!(noise, Noise::new(1, 3, 3));
        assert_ne!(noise.part(0), noise.part(1));
        assert_ne!(Counter::new(1, 0).bits(0), Counter::new(1, 1).bits(0));
    }
}
