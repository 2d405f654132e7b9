//! Skip: the listener began it and ended it before completion.

use super::outcomes;
use crate::enrich::Enriched;
use crate::label::{LabelFold, Shown};

/// Whether the first play was skipped; unknown where nothing was played.
#[derive(Debug, Clone, Copy)]
pub struct Skip;

impl LabelFold for Skip {
    const NAME: &'static str = "skip";

    fn label(_shown: &Shown, plays: &[Enriched]) -> Option<bool> {
        outcomes(plays).next().and_then(|o| o.skip)
    }
}
