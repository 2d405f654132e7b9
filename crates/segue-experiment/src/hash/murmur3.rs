//! MurmurHash3 x64 128, as a stream.
//!
//! Source: Austin Appleby, `MurmurHash3_x64_128` (public domain), with seed 0.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// A running hash; cloning it after a common prefix saves hashing the prefix again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Murmur3 {
    h1: u64,
    h2: u64,
    /// Bytes not yet a block of 16.
    rest: [u8; 16],
    n_rest: usize,
    length: u64,
}

impl Murmur3 {
    /// Adds bytes.
    #[must_use]
    pub fn then(mut self, mut bytes: &[u8]) -> Self {
        self.length += bytes.len() as u64;
        if self.n_rest > 0 {
            let taken = bytes.len().min(16 - self.n_rest);
            self.rest[self.n_rest..self.n_rest + taken].copy_from_slice(&bytes[..taken]);
            self.n_rest += taken;
            bytes = &bytes[taken..];
            if self.n_rest < 16 {
                return self;
            }
            let block = self.rest;
            self.block(&block);
            self.n_rest = 0;
        }
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            let mut whole = [0; 16];
            whole.copy_from_slice(block);
            self.block(&whole);
        }
        let left = blocks.remainder();
        self.rest[..left.len()].copy_from_slice(left);
        self.n_rest = left.len();
        self
    }

    /// The two halves of the hash, low half first.
    #[must_use]
    pub fn finish(self) -> [u64; 2] {
        let mut tail = [0_u8; 16];
        tail[..self.n_rest].copy_from_slice(&self.rest[..self.n_rest]);
        let (k1, k2) = halves(&tail);
        // A half without bytes is 0 and mixes to 0.
        let mut h1 = self.h1 ^ mix1(k1) ^ self.length;
        let mut h2 = self.h2 ^ mix2(k2) ^ self.length;
        h1 = h1.wrapping_add(h2);
        h2 = h2.wrapping_add(h1);
        h1 = avalanche(h1);
        h2 = avalanche(h2);
        h1 = h1.wrapping_add(h2);
        h2 = h2.wrapping_add(h1);
        [h1, h2]
    }

    fn block(&mut self, block: &[u8; 16]) {
        let (k1, k2) = halves(block);
        self.h1 ^= mix1(k1);
        self.h1 = self.h1.rotate_left(27).wrapping_add(self.h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        self.h2 ^= mix2(k2);
        self.h2 = self.h2.rotate_left(31).wrapping_add(self.h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
}

fn halves(block: &[u8; 16]) -> (u64, u64) {
    let word = u128::from_le_bytes(*block);
    (word as u64, (word >> 64) as u64)
}

fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn avalanche(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn published_values_hold() {
        assert_eq!(Murmur3::default().finish(), [0, 0]);
        // mmh3 5.2, `hash64(text, 0, signed=False)`.
        assert_eq!(Murmur3::default().then(b"foo").finish(), [0xe271_8657_01f5_4561, 0x7eaf_87e4_2bba_7d87]);
        let fox = b"The quick brown fox jumps over the lazy dog";
        assert_eq!(Murmur3::default().then(fox).finish(), [0xe34b_bc7b_bc07_1b6c, 0x7a43_3ca9_c49a_9347]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_stream_is_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            cuts in proptest::collection::vec(0..80_usize, 0..6),
        ) {
            let whole = Murmur3::default().then(&bytes).finish();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let parts = cuts.windows(2).fold(Murmur3::default(), |h, w| h.then(&bytes[w[0]..w[1]]));
            prop_assert_eq!(whole, parts.finish());
        }
    }
}
