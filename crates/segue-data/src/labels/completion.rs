//! Completion: a play of 90 % or more came of it.

use super::{any, outcomes};
use crate::enrich::Enriched;
use crate::label::{LabelFold, Shown};

/// Whether any play reached 90 % of the duration; unknown without a duration.
#[derive(Debug, Clone, Copy)]
pub struct Completion;

impl LabelFold for Completion {
    const NAME: &'static str = "completion";

    fn label(shown: &Shown, plays: &[Enriched]) -> Option<bool> {
        if plays.is_empty() && !shown.has_duration {
            return None;
        }
        any(outcomes(plays).map(|o| o.completion))
    }
}
