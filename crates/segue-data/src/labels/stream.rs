//! Stream: a play of 30 s or more came of it.

use super::{any, outcomes};
use crate::enrich::Enriched;
use crate::label::{LabelFold, Shown};

/// Whether any play reached 30 s; false where nothing was played.
#[derive(Debug, Clone, Copy)]
pub struct Stream;

impl LabelFold for Stream {
    const NAME: &'static str = "stream";

    fn label(_shown: &Shown, plays: &[Enriched]) -> Option<bool> {
        any(outcomes(plays).map(|o| o.stream))
    }
}
