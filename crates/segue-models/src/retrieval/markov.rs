//! First-order Markov model: what was played right after the item that was played last.
//!
//! `P(a | b) = N_ba / Σ_i N_bi`, where `N_ba` counts plays of `b` directly followed by `a` and `b` is
//! the newest play. Unsmoothed. Ties by item row.
//!
//! Source: `spotify-research/sequential-capacity-probes`, docs/PROTOCOL.md, "MC".

use serde::{Deserialize, Serialize};

use super::counts::{Followers, OrderedPlays, Targets};
use super::item_model::{History, ItemModel, ItemModelConfig, Kept};
use super::item_to_item::ItemToItem;
use super::kept_counts::KeptCounts;
use super::kernel::WeightTable;
use crate::{FitInput, ModelError};

/// Settings of [`Markov`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarkovConfig {
    /// Which plays count as a step's target. Default `wanted`.
    pub targets: Targets,
    /// Whether to go on, by item row, with played items that never followed. Default false;
    /// published tables rank the whole catalogue.
    pub whole_catalogue: bool,
    /// Whether the artifact keeps whole counts beside the model, so that later plays can be added. Default false.
    pub keep_counts: bool,
}

/// Transition probabilities from one item to the next.
pub type Markov = ItemModel<MarkovConfig>;

impl ItemModelConfig for MarkovConfig {
    const KIND: &'static str = "markov";
    const ABOUT: &'static str = "what listeners played right after the last item";

    fn history(&self) -> Result<History, ModelError> {
        Ok(History::ByAge(WeightTable::new(1, |n| vec![1.0; n])))
    }

    fn matrix(&self, input: &FitInput<'_>) -> Result<ItemToItem, ModelError> {
        Ok(steps(self, &OrderedPlays::index(Self::KIND, input, self.targets)?))
    }

    fn kept(&self) -> Option<Kept<Self>> {
        let matrix = |config: &Self, counts: &KeptCounts, _: &[String]| steps(config, counts);
        self.keep_counts.then_some(Kept { window: 1, targets: self.targets, matrix })
    }
}

fn steps(config: &MarkovConfig, plays: &impl Followers) -> ItemToItem {
    let steps = ItemToItem::new(plays.offset_counts(&[1.0], |_, row| {
        let inverse = 1.0 / row.iter().map(|e| e.1).sum::<f32>();
        for entry in row {
            entry.1 *= inverse;
        }
    }));
    if config.whole_catalogue { steps.with_background(plays.played()) } else { steps }
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::*;
    use crate::{Contribution, ItemFilter, Model, Query, Recommender, Scored};

    #[test]
    fn probabilities_are_shares_of_what_followed() {
        let plays = OwnedSequences::from_items(4, [vec![0, 1, 0, 2], vec![0, 1], vec![3, 0]]);
        let model = Markov::fit(&MarkovConfig::default(), &FitInput::of(plays.view())).unwrap();
        let mut out = Vec::new();
        model.recommend(&Query::of_items(&[3, 0]), 9, &ItemFilter::default(), &mut out).unwrap();
        assert_eq!(out.iter().map(|s| s.item).collect::<Vec<_>>(), [1, 2]);
        assert!((out[0].score - 2.0 / 3.0).abs() < 1e-6 && (out[1].score - 1.0 / 3.0).abs() < 1e-6);
        // What plays now counts as the newest play.
        let now = Query { current: Some(3), ..Query::of_items(&[0]) };
        model.recommend(&now, 9, &ItemFilter::default(), &mut out).unwrap();
        assert_eq!(out, [Scored { item: 0, score: 1.0 }]);
        assert_eq!(model.explain(&now, 0), [Contribution { history_idx: 1, amount: 1.0 }]);
    }
}
