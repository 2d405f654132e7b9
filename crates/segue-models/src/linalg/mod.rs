//! The little dense linear algebra that the linear models need, in `f32` over fixed blocks.
//!
//! Every sum runs in an order that depends on the shapes alone, so results are the same with any
//! number of threads, and the same for one listener as for many at once.

pub(crate) mod cholesky;
pub(crate) mod gram;
pub(crate) mod screen;
pub(crate) mod spd_inverse;
pub(crate) mod tile;
pub(crate) mod vector;
