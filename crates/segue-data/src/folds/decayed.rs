//! Exponentially decayed sums, the shared arithmetic of several folds.

use segue_types::{DAY_MS, TimestampMs};

/// A decayed sum: `value · 2^(-(t - at) / half_life)` at a moment `t ≥ at`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Decayed {
    /// The sum at its last change.
    pub value: f64,
    /// Moment of the last change, UTC milliseconds.
    pub at: i64,
}

/// `2^(-elapsed / half_life)`, 1 for a negative elapsed time.
#[must_use]
pub fn decay(elapsed_ms: i64, half_life_days: f64) -> f64 {
    if elapsed_ms <= 0 {
        return 1.0;
    }
    (-(elapsed_ms as f64) / (DAY_MS as f64 * half_life_days)).exp2()
}

impl Decayed {
    /// Ages the sum to `at` and adds `amount`.
    pub fn add(&mut self, amount: f64, at: TimestampMs, half_life_days: f64) {
        self.value = self.read(at, half_life_days) + amount;
        self.at = at.0;
    }

    /// The sum at `as_of`.
    #[must_use]
    pub fn read(&self, as_of: TimestampMs, half_life_days: f64) -> f64 {
        if self.value == 0.0 {
            return 0.0;
        }
        self.value * decay(as_of.0.saturating_sub(self.at), half_life_days)
    }
}

/// Hours from `then` to `as_of`, never negative.
#[must_use]
pub fn hours_since(then: i64, as_of: TimestampMs) -> f32 {
    (as_of.0.saturating_sub(then).max(0) as f64 / 3_600_000.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_halves_in_one_half_life() {
        let mut sum = Decayed::default();
        sum.add(4.0, TimestampMs(0), 7.0);
        assert_eq!(sum.read(TimestampMs(7 * DAY_MS), 7.0), 2.0);
        sum.add(1.0, TimestampMs(14 * DAY_MS), 7.0);
        assert_eq!(sum.value, 2.0);
    }
}
