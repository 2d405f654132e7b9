//! Hashes that turn a unit's id into a bucket: Segue's own, and those of systems teams come from.
//!
//! All are streaming and allocate nothing. Each format is a formula on text that its owner published;
//! `segue dev vectors` holds them against values computed by the owners' own code.

mod fnv;
mod formats;
mod murmur3;

pub use fnv::Fnv1a32;
pub use formats::{confidence_bucket, eppo_shard, growthbook_hash, planout_hash, planout_uniform};
pub use murmur3::Murmur3;
