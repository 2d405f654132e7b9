//! Time inside a request: microseconds from a clock that is handed in, and deadlines on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A monotonic clock in microseconds. Its zero means nothing; only differences do.
pub trait Clock: Send + Sync {
    /// Microseconds since the clock's own zero.
    fn now_us(&self) -> u64;
}

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct MonotonicClock {
    zero: Instant,
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self { zero: Instant::now() }
    }
}

impl Clock for MonotonicClock {
    fn now_us(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when told: tests of time-outs need no sleeping.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_us: AtomicU64,
}

impl ManualClock {
    /// Moves the clock forward.
    pub fn advance_us(&self, us: u64) {
        self.now_us.fetch_add(us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> u64 {
        self.now_us.load(Ordering::SeqCst)
    }
}

/// The moment by which a stage has to be done. Stages with loops poll [`is_past`](Self::is_past)
/// every few hundred steps and return [`StageError::Timeout`](crate::StageError::Timeout).
#[derive(Clone)]
pub struct Deadline {
    clock: Arc<dyn Clock>,
    at_us: u64,
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("at_us", &self.at_us).finish_non_exhaustive()
    }
}

impl Deadline {
    /// A deadline `budget_us` microseconds from now.
    #[must_use]
    pub fn after(clock: Arc<dyn Clock>, budget_us: u64) -> Self {
        let at_us = clock.now_us().saturating_add(budget_us);
        Self { clock, at_us }
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_past(&self) -> bool {
        self.clock.now_us() >= self.at_us
    }

    /// Microseconds left, 0 once past.
    #[must_use]
    pub fn left_us(&self) -> u64 {
        self.at_us.saturating_sub(self.clock.now_us())
    }
}
