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

pub mod after_stopping;
pub mod arm;
pub mod asymptotic_cs;
pub mod bayesian_effect;
pub mod bootstrap;
pub mod calibrated_rerank;
pub mod correlated_looks;
pub mod cuped;
pub mod distribution;
pub mod error;
pub mod exposure_distribution;
pub mod gaussian_best_arm;
pub mod group_sequential;
pub mod grouped_jackknife;
pub mod holm;
pub mod impatient_bandit;
pub mod interleaving;
mod linear;
pub mod linear_bandit;
pub mod mean_lower_bounds;
pub mod mid_experiment;
pub mod msprt;
pub mod multi_metric_decision;
pub mod multiple_testing;
pub mod paired_t_test;
pub mod post_stratification;
mod quadrature;
pub mod quantile_index_ci;
pub mod quantile_metric;
pub mod random;
pub mod rarefaction;
pub mod ratio_metric;
pub mod regression_adjustment;
pub mod relative_lift;
mod resample;
pub mod sample_size;
pub mod segment_heterogeneity;
pub mod simultaneous_ci;
pub mod skewness;
pub mod srm;
pub mod summary;
pub mod surrogate_index;
pub mod switchback;
pub mod thompson;
pub mod two_proportion_chi2;
pub mod two_sample_z;
pub mod welch_t;
pub mod wilson;

pub use error::StatsError;
