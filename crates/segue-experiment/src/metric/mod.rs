//! What is measured: a metric is a kind, a query and a window after exposure.
//!
//! The query returns one row per event with the columns `unit`, `at` (absent for undated data) and `value`, and
//! for some kinds `denominator` or `key`. This crate does not run it: the rows stream through
//! [`MetricColumn::observe`], which keeps what the kind needs per exposed unit and no rows.

mod catalogue;
mod column;
mod spec;

pub use catalogue::{catalogue, catalogue_text};
pub use column::{MetricColumn, Observation};
pub(crate) use column::{NOVELTY_DAYS, UNIT_GROUPS};
pub use spec::{MetricKind, MetricSpec, Role};
