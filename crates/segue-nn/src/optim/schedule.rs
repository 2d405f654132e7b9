//! Learning rates: a linear rise, then a fall.

use std::f64::consts::PI;

/// How the rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// It stays.
    Constant,
    /// In a straight line to zero.
    Linear,
    /// Along half a cosine to zero (Loshchilov & Hutter 2017).
    Cosine,
}

/// A schedule over a known number of steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f32,
    /// Steps of the linear rise.
    pub warmup_steps: u64,
    /// Steps in all; the rate is zero after them unless it stays.
    pub total_steps: u64,
    /// The fall.
    pub decay: Decay,
}

impl Schedule {
    /// The rate of step `t`, counted from 0.
    #[must_use]
    pub fn rate(&self, t: u64) -> f32 {
        if t < self.warmup_steps {
            return self.peak * (t + 1) as f32 / (self.warmup_steps + 1) as f32;
        }
        let span = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let done = ((t - self.warmup_steps) as f64 / span).min(1.0);
        let share = match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - done,
            Decay::Cosine => 0.5 * (1.0 + (PI * done).cos()),
        };
        self.peak * share as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_falls() {
        let mut s = Schedule { peak: 1.0, warmup_steps: 3, total_steps: 13, decay: Decay::Cosine };
        assert_eq!([s.rate(0), s.rate(1), s.rate(2), s.rate(3)], [0.25, 0.5, 0.75, 1.0]);
        assert!((s.rate(8) - 0.5).abs() < 1e-6);
        assert!(s.rate(13).abs() < 1e-6 && s.rate(99).abs() < 1e-6);
        s.decay = Decay::Linear;
        assert!((s.rate(8) - 0.5).abs() < 1e-6);
        s.decay = Decay::Constant;
        assert_eq!(s.rate(99), 1.0);
    }
}
