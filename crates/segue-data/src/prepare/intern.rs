//! External ids to small numbers within one run; refuses two ids with one key.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::DataError;
use crate::folds::interactions::KeyHasher;

/// Seed of the second hash that tells ids with one key apart. It stands beside the number, so that
/// an id met before costs one look into the table and none into the texts.
const CHECK_SEED: u64 = 0x5e60_e1d5_u64;

/// Ids met in this run, numbered in the order they were met. That order depends on threads, so
/// nothing derived from a number alone may reach a result: numbers become rows in key order.
#[derive(Debug)]
pub(crate) struct Interner<K> {
    kind: &'static str,
    numbers: HashMap<K, (u32, u64), BuildHasherDefault<KeyHasher>>,
    keys: Vec<K>,
    texts: Vec<u8>,
    ends: Vec<usize>,
}

impl<K: Copy + Eq + Ord + Hash + std::fmt::LowerHex> Interner<K> {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, numbers: HashMap::default(), keys: Vec::new(), texts: Vec::new(), ends: Vec::new() }
    }

    /// The number of `id`, whose key is `key`.
    pub(crate) fn intern(&mut self, id: &str, key: K) -> Result<u32, DataError> {
        let check = xxh3_64_with_seed(id.as_bytes(), CHECK_SEED);
        if let Some(&(number, known)) = self.numbers.get(&key) {
            if known != check {
                return Err(DataError::KeyCollision {
                    kind: self.kind,
                    first: self.text(number).to_owned(),
                    second: id.to_owned(),
                    key: format!("{key:x}"),
                });
            }
            return Ok(number);
        }
        // The two highest numbers mean "none" elsewhere.
        let number = u32::try_from(self.keys.len()).ok().filter(|&n| n < u32::MAX - 1);
        let number = number.ok_or(DataError::TooMany {
            what: "ids",
            got: self.keys.len() as u64 + 1,
            limit: u64::from(u32::MAX - 1),
        })?;
        self.numbers.insert(key, (number, check));
        self.keys.push(key);
        self.texts.extend_from_slice(id.as_bytes());
        self.ends.push(self.texts.len());
        Ok(number)
    }

    /// The number of a key met before.
    pub(crate) fn number(&self, key: K) -> Option<u32> {
        self.numbers.get(&key).map(|&(number, _)| number)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn key(&self, number: u32) -> K {
        self.keys[number as usize]
    }

    pub(crate) fn text(&self, number: u32) -> &str {
        let at = number as usize;
        let from = if at == 0 { 0 } else { self.ends[at - 1] };
        // Only whole strings are ever appended.
        std::str::from_utf8(&self.texts[from..self.ends[at]]).unwrap_or_default()
    }

    /// Numbers for which `keep` holds, by ascending key: position is the row.
    pub(crate) fn by_key(&self, keep: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.keys.len() as u32).filter(|&n| keep(n)).collect();
        order.sort_unstable_by_key(|&n| self.keys[n as usize]);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_with_one_key_are_refused_and_named() {
        let mut ids = Interner::<u64>::new("item");
        assert_eq!(ids.intern("a", 7).unwrap(), 0);
        assert_eq!(ids.intern("b", 5).unwrap(), 1);
        assert_eq!(ids.intern("a", 7).unwrap(), 0);
        let message = ids.intern("c", 7).unwrap_err().to_string();
        assert!(message.contains("`a` and `c`"), "{message}");
        assert_eq!(ids.by_key(|_| true), [1, 0]);
    }
}
