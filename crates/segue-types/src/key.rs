//! Keys: stable hashes of external ids, the same on every machine and in every version.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// 64-bit xxh3 of an external item id. Two ids with one key are refused at `prepare`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey(pub u64);

/// 128-bit xxh3 of an external user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey(pub u128);

/// 128-bit xxh3 of an external event id: what deduplication compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey(pub u128);

impl ItemKey {
    /// The key of an external item id.
    #[must_use]
    pub fn of(item_id: &str) -> Self {
        Self(xxh3_64(item_id.as_bytes()))
    }
}

impl UserKey {
    /// The key of an external user id.
    #[must_use]
    pub fn of(user_id: &str) -> Self {
        Self(xxh3_128(user_id.as_bytes()))
    }

    /// The storage bucket of this user among `n_buckets`, from the key's highest bits.
    ///
    /// The number of buckets is fixed for the life of a log, so a bucket can be rebuilt, moved
    /// or forgotten on its own.
    #[must_use]
    pub fn bucket(self, n_buckets: u32) -> u32 {
        let high = (self.0 >> 64) as u64;
        ((u128::from(high) * u128::from(n_buckets)) >> 64) as u32
    }
}

impl EventKey {
    /// The key of an external event id.
    #[must_use]
    pub fn of(event_id: &str) -> Self {
        Self(xxh3_128(event_id.as_bytes()))
    }
}

macro_rules! hex_key {
    ($name:ident, $int:ty, $digits:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0)
            }
        }

        /// Keys travel in JSON as fixed-width hexadecimal strings: JSON numbers lose digits past 2^53.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                if text.len() != $digits.parse::<usize>().unwrap_or(0) {
                    return Err(serde::de::Error::custom(format!(
                        "a key is {} hexadecimal digits, got `{text}`",
                        $digits
                    )));
                }
                <$int>::from_str_radix(&text, 16)
                    .map(Self)
                    .map_err(|_| serde::de::Error::custom(format!("not a hexadecimal key: `{text}`")))
            }
        }
    };
}

hex_key!(ItemKey, u64, "16");
hex_key!(UserKey, u128, "32");
hex_key!(EventKey, u128, "32");

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are part of the storage format: a change here orphans every stored state.
    #[test]
    fn keys_keep_their_published_values() {
        assert_eq!(ItemKey::of("track-7").to_string(), ItemKey(xxh3_64(b"track-7")).to_string());
        assert_eq!(ItemKey::of("").0, 0x2d06_8005_38d3_94c2);
        assert_eq!(UserKey::of("").0, 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }

    #[test]
    fn keys_survive_json() {
        let key = UserKey::of("ada");
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<UserKey>(&text).unwrap(), key);
        assert!(serde_json::from_str::<UserKey>("\"12\"").is_err());
        assert!(serde_json::from_str::<ItemKey>("\"zzzzzzzzzzzzzzzz\"").is_err());
    }

    #[test]
    fn buckets_cover_their_range_evenly() {
        let mut counts = [0_u32; 256];
        for i in 0..25_600 {
            counts[UserKey::of(&format!("user-{i}")).bucket(256) as usize] += 1;
        }
        assert!(counts.iter().all(|&n| (50..=160).contains(&n)), "{counts:?}");
    }
}
