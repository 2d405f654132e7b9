//! A set of buckets.

use super::BUCKETS;

/// One bit per bucket: 128 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bitmap(Box<[u64]>);

impl Bitmap {
    pub(super) fn empty() -> Self {
        Self(vec![0; BUCKETS as usize / 64].into_boxed_slice())
    }

    pub(super) fn contains(&self, bucket: u32) -> bool {
        self.0[bucket as usize / 64] >> (bucket % 64) & 1 == 1
    }

    pub(super) fn insert(&mut self, bucket: u32) {
        self.0[bucket as usize / 64] |= 1 << (bucket % 64);
    }

    /// Adds all of another set.
    pub(super) fn add(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(&*other.0) {
            *a |= b;
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.0.iter().map(|w| w.count_ones()).sum()
    }
}
