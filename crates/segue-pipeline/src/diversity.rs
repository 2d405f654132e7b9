//! Caps per group within one shelf: a pure rule that every selector shares.

/// Counts how often each group was chosen and says who is still eligible.
#[derive(Debug, Clone)]
pub struct GroupCap {
    max_per_group: u32,
    chosen: Vec<(u64, u32)>,
}

impl GroupCap {
    /// A cap of `max_per_group` choices per group; 0 is no cap.
    #[must_use]
    pub fn new(max_per_group: u32) -> Self {
        Self { max_per_group, chosen: Vec::new() }
    }

    /// Whether one more of `group` may be chosen. Group 0 ("unknown") is never capped.
    #[must_use]
    pub fn admits(&self, group: u64) -> bool {
        self.max_per_group == 0
            || group == 0
            || self.chosen.iter().all(|&(g, n)| g != group || n < self.max_per_group)
    }

    /// Notes a choice.
    pub fn choose(&mut self, group: u64) {
        match self.chosen.iter_mut().find(|(g, _)| *g == group) {
            Some((_, n)) => *n += 1,
            None => self.chosen.push((group, 1)),
        }
    }
}
