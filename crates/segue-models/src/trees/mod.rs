//! Histogram gradient-boosted trees for probabilities: our own, exact at any thread count.
//!
//! Values are sorted into at most 255 quantile bins per column ([`Bins`]), gradients are rounded to
//! integers, and a tree grows leaf by leaf where the gain is largest. Sums of integers do not depend
//! on their order, so one thread and sixty-four grow the same trees. Scoring does not walk the trees:
//! it tests every node of a tree for sixteen rows at once and reads the leaf from a bit mask
//! ([`Scorer`]).
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | settings and their ranges |
//! | [`bins`] | quantile bins, missing values, the binned rows |
//! | [`gradient`] | log loss: probabilities, gradients, their rounding |
//! | `histogram` | packed integer sums per bin |
//! | `split` | the best split of a leaf, its gain |
//! | `grow` | one tree, leaf-wise; `reference` is its plain twin |
//! | [`boost`] | rounds, sampling, early stopping |
//! | [`forest`] | the trees as arrays: checks, the plain walk, path contributions |
//! | [`score`] | the fast scorer |
//! | [`calibrate`] | scores of a held-out part to probabilities |
//!
//! A column of categories has no type of its own: give the trees a rate or a count per category,
//! which the folds and aggregates keep as of the request.
//!
//! # Source
//! Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 2001;
//! Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.

pub mod bins;
pub mod boost;
pub mod calibrate;
pub mod config;
pub mod forest;
pub mod gradient;
mod grow;
mod histogram;
pub(crate) mod random;
#[cfg(test)]
mod reference;
pub mod score;
mod split;

pub use bins::{BinnedRows, Bins};
pub use boost::{Fitted, fit};
pub use calibrate::{Calibration, CalibrationMethod};
pub use config::{Direction, Monotone, TreesConfig};
pub use forest::{Forest, ForestArrays};
pub use score::Scorer;

/// Whether a request belongs to a share drawn by its key, so that its rows stay together.
pub(crate) fn request_falls_in(share: f64, seed: u64, request: u64) -> bool {
    const STREAM: u64 = 0x4e1d;
    random::falls_in(share, seed, STREAM, request)
}
