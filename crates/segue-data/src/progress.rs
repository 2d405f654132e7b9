//! How the long jobs of this crate report progress. They draw nothing; the command line does.

/// Told of progress by a job; called from any thread.
///
/// # Contract
/// `begin` comes before the `advance`s of its stage, stages do not nest, and no call may block
/// for long: a job calls `advance` thousands of times. Totals are estimates.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` is its expected amount of `unit` (such as `rows` or `bytes`).
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str);

    /// `n` more units of the current stage are done.
    fn advance(&self, n: u64);

    /// The current stage is over.
    fn end(&self);

    /// Whether the job should stop as soon as it can, leaving nothing half-written.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _stage: &str, _total: Option<u64>, _unit: &str) {}
    fn advance(&self, _n: u64) {}
    fn end(&self) {}
}
