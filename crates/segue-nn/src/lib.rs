//! Neural building blocks over jagged batches, forward and backward, on the CPU.
//!
//! A batch is packed: the tokens of all sequences stand one after the other in `[n_tokens, d]`, and
//! `offsets` `[n_sequences + 1]` says where each sequence begins. There is no padding anywhere.
//!
//! - **Parameters** live in one flat arena ([`Layout`]) with named groups; a block holds [`Param`]s,
//!   which are places in the arena, and no numbers. Large embedding tables stand beside it
//!   ([`Embedding`]), since their gradient touches few rows.
//! - **Blocks** are plain structs with `forward` and `backward`. What the backward pass needs is
//!   written to a buffer whose length the block tells beforehand (`saved_len`), so that one buffer
//!   per shape is planned, reused, and never allocated inside a step ([`Carve`]).
//! - **Randomness** is a function of `(seed, step, shard, place)` ([`Noise`]): a dropout mask is
//!   drawn again in the backward pass instead of being kept.
//! - **Threads**: a block runs on one thread. The caller splits a batch into a fixed number of
//!   gradient shards and sums them in a fixed tree ([`reduce_shards`]), so that a result does not
//!   depend on the number of threads.
//!
//! Each fast kernel has a plain `f64` reference in its tests; gradients are compared with finite
//! differences of that reference.

pub mod attention;
pub mod block;
pub mod dropout;
mod elementwise;
pub mod embedding;
pub mod error;
pub mod gelu;
pub mod gru;
pub mod hstu_block;
mod lanes;
pub mod linear;
pub mod loss;
pub mod matmul;
pub mod mlp;
pub mod norm;
pub mod optim;
pub mod params;
pub mod pointwise_attention;
pub mod quantised;
mod query_block;
pub mod random;
pub mod relative_bias;
pub mod rope;
pub mod row_products;
pub mod shards;
pub mod silu;
pub mod simd;
pub mod swiglu;
#[cfg(test)]
mod testing;
pub mod transpose;
pub mod workspace;

pub use attention::CausalAttention;
pub use block::{Block, BlockConfig};
pub use dropout::Dropout;
pub use embedding::{Embedding, RowGradient};
pub use error::NnError;
pub use gru::Gru;
pub use hstu_block::{HstuBlock, HstuConfig};
pub use linear::Linear;
pub use matmul::{Mat, matmul};
pub use mlp::{Activation, Mlp};
pub use norm::{Norm, NormKind};
pub use params::{Init, Layout, Param};
pub use pointwise_attention::PointwiseAttention;
pub use quantised::{ByteTable, HalfTable, ShortVector};
pub use random::{Counter, Noise};
pub use relative_bias::{RelativeBias, Times};
pub use rope::Rope;
pub use row_products::row_products;
pub use shards::reduce_shards;
pub use transpose::transpose;
pub use workspace::{Carve, CarveRef, Pass};
