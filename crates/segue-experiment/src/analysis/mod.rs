//! What the data say: estimates at every look, a rule that may be read at every look, and a decision.
//!
//! [`analyze`] takes the exposures and one [`MetricColumn`](crate::metric::MetricColumn) per metric. Per
//! metric and treatment it makes an estimate at each look ([`LookEstimate`]), puts the rule's boundary on it
//! ([`Rule`]) and says what holds ([`Verdict`]); [`decide`] makes one decision of all.

mod analyze;
mod concentration;
mod decision;
mod estimate;
mod insight;
mod rule;
mod spec;

pub use analyze::{Analysis, ArmCount, Checks, Comparison, MetricResult, PreCheck, analyze};
pub use concentration::{EqualPlays, equal_plays};
pub use decision::{Decision, decide};
pub use estimate::LookEstimate;
pub use insight::{BayesReading, DayEffect, Insight, SegmentEffect};
pub use rule::{LookResult, RuleResult, Verdict};
pub use spec::{AnalysisSpec, DataSpec, Rule, SequentialSpec, SpendingKind};
