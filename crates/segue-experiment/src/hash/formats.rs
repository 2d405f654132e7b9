//! The hash formats of other systems. A key is given in parts, joined without a separator, so that
//! nothing needs to be allocated.

use md5::Md5;
use sha1::{Digest, Sha1};

use super::{Fnv1a32, Murmur3};

/// Confidence: the low half of murmur3-128 of the key, shifted right by 4, modulo `buckets`.
///
/// Account-level buckets use the key `MegaSalt-ACCOUNT|UNIT` and 1,000,000 buckets; the bucket of a variant
/// uses `SEGMENT|UNIT` and the rule's own number.
///
/// # Panics
/// If `buckets` is 0.
///
/// # Source
/// `spotify/confidence-resolver` (Apache-2.0).
#[must_use]
pub fn confidence_bucket(key: &[&str], buckets: u64) -> u64 {
    let hash = key.iter().fold(Murmur3::default(), |h, part| h.then(part.as_bytes()));
    (hash.finish()[0] >> 4) % buckets
}

/// GrowthBook: a number in `[0, 1)` by hash version 1 (`fnv(value + seed) mod 1000 / 1000`) or 2
/// (`fnv(decimal text of fnv(seed + value)) mod 10000 / 10000`); `None` for any other version.
///
/// # Source
/// GrowthBook SDK specification 0.7.1 (MIT).
#[must_use]
pub fn growthbook_hash(seed: &str, value: &str, version: u32) -> Option<f64> {
    match version {
        1 => {
            let hash = Fnv1a32::default().then(value.as_bytes()).then(seed.as_bytes()).finish();
            Some(f64::from(hash % 1_000) / 1_000.0)
        }
        2 => {
            let first = Fnv1a32::default().then(seed.as_bytes()).then(value.as_bytes()).finish();
            let mut digits = [0; 10];
            let second = Fnv1a32::default().then(decimal(first, &mut digits)).finish();
            Some(f64::from(second % 10_000) / 10_000.0)
        }
        _ => None,
    }
}

/// Eppo: the first 4 bytes of the key's MD5, big-endian, modulo `shards`.
///
/// # Panics
/// If `shards` is 0.
///
/// # Source
/// `Eppo-exp/python-sdk`, `sharders.py` (MIT).
#[must_use]
pub fn eppo_shard(key: &[&str], shards: u32) -> u32 {
    let mut hash = Md5::new();
    for part in key {
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) % shards
}

/// PlanOut: the first 15 hexadecimal digits of the key's SHA-1, a 60-bit number.
///
/// # Source
/// `facebookarchive/planout`, `ops/random.py` (BSD).
#[must_use]
pub fn planout_hash(key: &[&str]) -> u64 {
    let mut hash = Sha1::new();
    for part in key {
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    digest[..8].iter().fold(0_u64, |h, &b| (h << 8) | u64::from(b)) >> 4
}

/// PlanOut: [`planout_hash`] as a number in `[0, 1]`.
#[must_use]
pub fn planout_uniform(key: &[&str]) -> f64 {
    planout_hash(key) as f64 / 0x0fff_ffff_ffff_ffff_u64 as f64
}

/// Decimal digits of `value`.
fn decimal(mut value: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first is a unit test of confidence-resolver, the second is of the GrowthBook specification; the
    /// others were computed with Python's `hashlib`.
    #[test]
    fn the_owners_own_values_hold() {
        assert_eq!(confidence_bucket(&["MegaSalt-confidence-test", "|", "roug"], 1_000_000), 567_493);
        assert_eq!(growthbook_hash("seed", "a", 2), Some(0.0505));
        assert_eq!(growthbook_hash("seed", "a", 3), None);
        assert_eq!(eppo_shard(&["flag-key-split", "-", "user-1"], 10_000), 7_072);
        assert_eq!(planout_hash(&["exp_salt.param.user1"]), 941_014_117_226_556_116);
    }

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(value in any::<u32>()) {
            let mut digits = [0; 10];
            prop_assert_eq!(std::str::from_utf8(decimal(value, &mut digits)).unwrap(), value.to_string());
        }
    }
}
