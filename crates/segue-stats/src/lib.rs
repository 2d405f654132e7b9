//! Pure statistics over slices: tests, intervals, resampling, sequential boundaries.
//!
//! No I/O, no clock, no hidden randomness: a seed is an argument and results do not depend on the
//! number of threads. One file per method; what is in common lies in [`distribution`],
//! [`random`] and [`summary`].
//!
//! ```
//! use segue_stats::bootstrap::{bootstrap_means, percentile_interval};
//!
//! let minutes = [31.0, 12.5, 0.0, 48.0, 22.0];
//! let draws = bootstrap_means(&[&minutes], 2_000, 7)?;
//! let [low, high] = percentile_interval(&draws[0], 0.95)?;
//! assert!(low < 22.7 && 22.7 < high);
//! # Ok::<(), segue_stats::StatsError>(())
//! ```

pub mod bootstrap;
pub mod distribution;
pub mod error;
pub mod holm;
pub mod paired_t_test;
pub mod random;
pub mod summary;
pub mod wilson;

pub use error::StatsError;
