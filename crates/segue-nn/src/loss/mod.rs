//! Losses over packed hidden rows and an item table.
//!
//! All of them take hidden rows `h` `[n, d]` and the target item of each, and give the loss summed
//! over the rows (divide it yourself) together with gradients times `scale`, usually one over the
//! number of targets in the whole batch, so that shards add up.

pub mod negatives;
pub mod sampled;
pub mod softmax;

pub use negatives::{NegativeSampler, Negatives};
pub use sampled::{SampledLoss, SampledObjective};
pub use softmax::SoftmaxLoss;
