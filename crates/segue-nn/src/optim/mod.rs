//! Optimisers, schedules, clipping and averages of weights.

pub mod adamw;
pub mod clip;
pub mod ema;
pub mod row_adagrad;
pub mod row_adam;
pub mod schedule;

pub use adamw::{Adam, AdamW};
pub use clip::{clip_factor, square_sum};
pub use ema::Ema;
pub use row_adagrad::RowAdagrad;
pub use row_adam::RowAdam;
pub use schedule::{Decay, Schedule};
