//! Which arm a unit belongs to.
//!
//! Specifications are solved once into an [`Allocation`]; serving is then a hash and a bit test, below a
//! microsecond and without allocation, the same on every machine and at every time:
//!
//! 1. **Target** — the attributes of the request (market, plan, platform, app version, surface) match.
//! 2. **Room** — the unit's bucket of 2²⁰ is one the experiment owns. Exclusion groups and holdouts are
//!    settled when the allocation is solved: an experiment owns a bitmap, and experiments of one group own
//!    disjoint ones.
//! 3. **Ramp** — one half of the unit's hash under the experiment's salt lies below the ramp. Raising the
//!    ramp admits more units and moves none of those already in.
//! 4. **Arm** — the other half picks the arm by weight.
//!
//! What would reshuffle units: another salt, other weights, another order of arms.

mod allocation;
mod bitmap;
mod bucket_ranges;
mod spec;
mod target;

pub use allocation::{Allocation, BUCKETS, Experiment};
pub use bucket_ranges::bucket_ranges;
pub use spec::{ArmSpec, ExperimentSpec, HashFormat, HoldoutSpec, Unit};
pub use target::{Attributes, Target, Units, VersionRange};
