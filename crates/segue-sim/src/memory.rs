//! What a listener has heard and kept: the state that grows while they listen.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use segue_types::TimestampMs;

/// Hashes one `u32` by multiplication; maps keyed by it are only looked up, never walked.
#[derive(Debug, Default, Clone)]
pub struct ItemHasher(u64);

impl Hasher for ItemHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = u64::from(value).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

/// What is remembered of one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Plays so far, those before the log included.
    pub n_plays: u32,
    /// When the last one began.
    pub last_at: TimestampMs,
    /// Saved or liked.
    pub kept: bool,
    /// Disliked or hidden: not chosen again.
    pub refused: bool,
}

/// Everything a listener remembers.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    heard: HashMap<u32, Heard, BuildHasherDefault<ItemHasher>>,
    /// Plays worth repeating, oldest first: when and what.
    history: Vec<(TimestampMs, u32)>,
    /// Tracks kept, in the order they were kept.
    kept: Vec<u32>,
}

impl Memory {
    /// What is remembered of a track; `None` if it was never heard.
    #[must_use]
    pub fn of(&self, item: u32) -> Option<Heard> {
        self.heard.get(&item).copied()
    }

    /// Whether the listener refused the track.
    #[must_use]
    pub fn is_refused(&self, item: u32) -> bool {
        self.of(item).is_some_and(|h| h.refused)
    }

    /// Plays worth repeating, oldest first.
    #[must_use]
    pub fn history(&self) -> &[(TimestampMs, u32)] {
        &self.history
    }

    /// Tracks in the collection, oldest first.
    #[must_use]
    pub fn kept(&self) -> &[u32] {
        &self.kept
    }

    /// Notes a play; `worth_repeating` puts it into the history that repeats are drawn from.
    pub fn note(&mut self, item: u32, at: TimestampMs, worth_repeating: bool) {
        let entry =
            self.heard.entry(item).or_insert(Heard { n_plays: 0, last_at: at, kept: false, refused: false });
        entry.n_plays = entry.n_plays.saturating_add(1);
        entry.last_at = at;
        if worth_repeating {
            self.history.push((at, item));
        }
    }

    /// Puts a heard track into the collection. Returns false if it was there.
    pub fn keep(&mut self, item: u32) -> bool {
        match self.heard.get_mut(&item) {
            Some(entry) if !entry.kept => {
                entry.kept = true;
                entry.refused = false;
                self.kept.push(item);
                true
            }
            _ => false,
        }
    }

    /// Takes a track out of the collection. Returns false if it was not there.
    pub fn drop_kept(&mut self, item: u32) -> bool {
        match self.heard.get_mut(&item) {
            Some(entry) if entry.kept => {
                entry.kept = false;
                self.kept.retain(|&k| k != item);
                true
            }
            _ => false,
        }
    }

    /// Refuses a heard track.
    pub fn refuse(&mut self, item: u32) {
        self.drop_kept(item);
        if let Some(entry) = self.heard.get_mut(&item) {
            entry.refused = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_keeps_and_refuses() {
        let mut memory = Memory::default();
        assert!(!memory.keep(3), "a track never heard cannot be kept");
        memory.note(3, TimestampMs(10), true);
        memory.note(3, TimestampMs(20), false);
        assert_eq!(memory.of(3).map(|h| (h.n_plays, h.last_at)), Some((2, TimestampMs(20))));
        assert_eq!(memory.history(), [(TimestampMs(10), 3)]);
        assert!(memory.keep(3) && !memory.keep(3));
        memory.refuse(3);
        assert!(memory.is_refused(3) && memory.kept().is_empty() && !memory.drop_kept(3));
    }
}
