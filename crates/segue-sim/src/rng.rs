//! Counter-based random numbers: a draw is a pure function of what it is about.
//!
//! A [`Luck`] is keyed by (seed, user, session time, item, stream). Nothing is carried from one draw
//! to another, so the same listener meets the same luck under two policies, in any order and on any
//! number of threads ("common random numbers").
//!
//! # Source
//! Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, for the idea; the mixer is
//! the finalizer of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) with Stafford's constants.

/// What a draw is about. Two streams of one key are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Genres, artists, albums, tracks.
    Catalogue = 1,
    /// Names of everything.
    Names,
    /// Lists made by editors, charts.
    Editorial,
    /// Who a listener is.
    Listener,
    /// What a listener had heard before the log begins.
    Prehistory,
    /// Which days are active, leaving and returning.
    Presence,
    /// When sessions of a day begin and how they are coloured.
    Schedule,
    /// The mood before each track of a session.
    Mood,
    /// Surface, context and shuffle of a run of tracks.
    Run,
    /// Which track comes next.
    Choice,
    /// How long a play lasts.
    Playback,
    /// What the listener presses at the end of a play.
    Ending,
    /// Whether a session ends after a track.
    SessionEnd,
    /// Saves, likes, hides.
    Feedback,
    /// Which positions of a slate are looked at.
    Examination,
    /// How attractive a card looks at first sight.
    Glance,
    /// What the listener would play without the slate.
    Outside,
    /// Delays between device and server.
    Delivery,
}

/// A stream of random numbers with its own key. Cheap to make and to copy.
#[derive(Debug, Clone, Copy)]
pub struct Luck {
    key: u64,
    counter: u64,
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Luck {
    /// The luck of `user` with `item` in the session planned at `session_ms`; 0 where a part does not apply.
    #[must_use]
    pub fn new(seed: u64, user: u64, session_ms: i64, item: u64, stream: Stream) -> Self {
        let mut key = mix(seed.wrapping_add(GOLDEN));
        for part in [user, session_ms as u64, item, stream as u64] {
            key = mix(key.wrapping_mul(3).wrapping_add(part).wrapping_add(GOLDEN));
        }
        Self { key, counter: 0 }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GOLDEN);
        mix(self.key ^ self.counter)
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Uniform integer in `0..n`; 0 for `n == 0`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box & Muller 1958; one of the pair).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// Standard Gumbel: the largest of `u_i + gumbel` is a softmax draw.
    pub fn gumbel(&mut self) -> f64 {
        -(-(self.uniform().max(f64::MIN_POSITIVE)).ln()).ln()
    }

    /// Poisson with a small mean (Knuth's product method; means here are below 20).
    pub fn poisson(&mut self, mean: f64) -> u32 {
        let limit = (-mean.clamp(0.0, 20.0)).exp();
        let (mut n, mut product) = (0, self.uniform());
        while product > limit {
            n += 1;
            product *= self.uniform();
        }
        n
    }

    /// An index drawn with probability proportional to `weights`; the last one for all-zero weights.
    pub fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let total: f64 = weights.clone().sum();
        let mut left = self.uniform() * total;
        let mut last = 0;
        for (i, weight) in weights.enumerate() {
            last = i;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_gives_the_same_luck_and_each_part_of_the_key_matters() {
        let bits = |seed, user, at, item, stream| Luck::new(seed, user, at, item, stream).bits();
        let base = bits(1, 2, 3, 4, Stream::Playback);
        assert_eq!(base, bits(1, 2, 3, 4, Stream::Playback));
        for other in [
            bits(9, 2, 3, 4, Stream::Playback),
            bits(1, 9, 3, 4, Stream::Playback),
            bits(1, 2, 9, 4, Stream::Playback),
            bits(1, 2, 3, 9, Stream::Playback),
            bits(1, 2, 3, 4, Stream::Ending),
            bits(1, 3, 2, 4, Stream::Playback),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        let mut luck = Luck::new(7, 0, 0, 0, Stream::Names);
        let n = 200_000;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || luck.uniform()) - 0.5).abs() < 0.004);
        assert!(mean(&mut || luck.normal()).abs() < 0.01);
        assert!((mean(&mut || luck.normal().powi(2)) - 1.0).abs() < 0.02);
        assert!((mean(&mut || luck.exponential()) - 1.0).abs() < 0.01);
        assert!((mean(&mut || f64::from(luck.poisson(2.5))) - 2.5).abs() < 0.02);
        assert!((mean(&mut || luck.gumbel()) - 0.577_2).abs() < 0.02);
    }

    #[test]
    fn a_weighted_draw_follows_its_weights_and_survives_zeros() {
        let mut luck = Luck::new(7, 1, 0, 0, Stream::Names);
        let mut counts = [0_u32; 3];
        for _ in 0..30_000 {
            counts[luck.weighted([1.0, 0.0, 2.0].into_iter())] += 1;
        }
        assert!(counts[1] == 0 && (9_500..10_500).contains(&counts[0]), "{counts:?}");
        assert_eq!(luck.weighted([0.0, 0.0].into_iter()), 1);
        assert_eq!(luck.weighted(std::iter::empty()), 0);
        assert_eq!(luck.below(0), 0);
    }
}
