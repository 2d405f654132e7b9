//! HSTU: attention without a softmax, over events, their order and the time between them.
//!
//! Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for
//! Generative Recommendations", ICML 2024: pointwise attention with relative position and time bias, gates
//! instead of feed-forward parts ([`segue_nn::HstuBlock`]). The moment of the request is an input: an event
//! is weighed by the time from it to the moment when it is asked what follows. Ties: item row.
//!
//! Unlike the paper's code the item vectors are not normalised before they are scored, and the sum of a
//! query is divided by the events it sees rather than by the longest history.

use serde::{Deserialize, Serialize};

use crate::FitInput;
use crate::retrieval::Targets;
use crate::sequence::completion::CompletionSettings;
use crate::sequence::event_features::EventFeatureSettings;
use crate::sequence::item_features::ItemFeatureSettings;
use crate::sequence::layer::LayerConfig;
use crate::sequence::network::NetworkConfig;
use crate::sequence::settings::{Loss, Negatives, Objective, Positions, Training};
use crate::sequence::trained::{Architecture, Trained};
use crate::sequence::user_features::UserFeatureSettings;

/// Settings of [`Hstu`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HstuConfig {
    /// Size of item and listener vectors.
    pub d: usize,
    /// Layers.
    pub n_blocks: usize,
    /// Attention heads per layer; divides `d`.
    pub n_heads: usize,
    /// Newest events that are looked at.
    pub max_history: usize,
    /// How an event knows its place, besides the relative bias: `learned` or `none`.
    pub positions: Positions,
    /// Whether the time between an event and a request is looked at. Plays without dates switch it off,
    /// and the artifact says so.
    pub time_bias: bool,
    /// Whether the action of each event (streamed, skipped, …) is an input, where the data has it.
    pub actions: bool,
    /// Side features of events that are summed into the input, where the data has dates.
    #[serde(skip_serializing_if = "EventFeatureSettings::are_off")]
    pub event_features: EventFeatureSettings,
    /// Features of items that are summed into their vectors, where the data has them.
    #[serde(skip_serializing_if = "ItemFeatureSettings::are_off")]
    pub item_features: ItemFeatureSettings,
    /// Features of the listener as a token before the first event, where the data has them.
    #[serde(skip_serializing_if = "UserFeatureSettings::are_off")]
    pub user_features: UserFeatureSettings,
    /// A second output: whether the next play will be completed, where the data has actions.
    #[serde(skip_serializing_if = "CompletionSettings::are_off")]
    pub completion: CompletionSettings,
    /// Dropout of the input and of what each layer adds.
    pub dropout: f32,
    /// Which plays are positives. All are inputs.
    pub targets: Targets,
    /// What is minimised.
    pub loss: Loss,
    /// Negatives of the sampled losses.
    pub negatives: Negatives,
    /// The training loop.
    pub training: Training,
}

impl Default for HstuConfig {
    fn default() -> Self {
        Self {
            d: 64,
            n_blocks: 2,
            n_heads: 2,
            max_history: 200,
            positions: Positions::Learned,
            time_bias: true,
            actions: true,
            event_features: EventFeatureSettings::default(),
            item_features: ItemFeatureSettings::default(),
            user_features: UserFeatureSettings::default(),
            completion: CompletionSettings::default(),
            dropout: 0.2,
            targets: Targets::Wanted,
            loss: Loss::SampledSoftmax,
            negatives: Negatives::default(),
            training: Training::default(),
        }
    }
}

/// A trained model.
pub type Hstu = Trained<HstuConfig>;

impl Architecture for HstuConfig {
    const KIND: &'static str = "hstu";
    const ABOUT: &'static str =
        "Pointwise attention over the history and the time between events, trained on sampled softmax.";
    const SEARCH: &'static str = r#"
d = [32, 64, 128]
n_blocks = [1, 2, 4]
max_history = [50, 100, 200]
dropout = { low = 0.1, high = 0.6 }
positions = ["learned", "none"]
"#;

    fn for_data(self, input: &FitInput<'_>) -> Self {
        let time_bias = self.time_bias && input.sequences.is_dated();
        if self.time_bias && !time_bias {
            tracing::info!(model = Self::KIND, "the plays have no dates: no time bias");
        }
        Self {
            time_bias,
            event_features: self.event_features.for_data(input),
            user_features: self.user_features.for_data(input),
            completion: self.completion.for_data(input),
            ..self
        }
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig {
            d: self.d,
            n_blocks: self.n_blocks,
            n_heads: self.n_heads,
            layer: LayerConfig::Hstu { time_bias: self.time_bias },
            max_history: self.max_history,
            positions: self.positions,
            actions: self.actions,
            event_features: self.event_features,
            user_features: self.user_features,
            completion: self.completion,
            dropout: self.dropout,
        }
    }

    fn objective(&self) -> Objective {
        Objective {
            model: Self::KIND,
            loss: self.loss,
            negatives: self.negatives,
            targets: self.targets,
            item_features: self.item_features,
            training: self.training,
        }
    }
}

#[cfg(test)]
mod tests {
    use segue_data::{OwnedSequences, Sequence};
    use segue_types::{DAY_MS, TimestampMs};

    use super::*;
    use crate::registry::Model;
    use crate::{ItemFilter, Query, Recommender};

    const MINUTE: i64 = 60_000;
    const N_ITEMS: u32 = 8;

    /// Within a minute the next item follows, after a day the one three further.
    fn clocked() -> OwnedSequences {
        let mut out = OwnedSequences { n_items: N_ITEMS, ..OwnedSequences::default() };
        for user in 0..120_u32 {
            let (mut item, mut at) = (vec![user % N_ITEMS], vec![i64::from(user) * 1000]);
            for turn in 0..8 {
                let is_soon = (user * 7 + turn * turn * 3 + turn) % 5 < 3;
                item.push((item[turn as usize] + if is_soon { 1 } else { 3 }) % N_ITEMS);
                at.push(at[turn as usize] + if is_soon { MINUTE } else { DAY_MS });
            }
            out.push(Sequence { item: &item, occurred_at: &at, known_at: &at, ..Sequence::default() });
        }
        out
    }

    fn fit(plays: &OwnedSequences, time_bias: bool) -> Hstu {
        let settings = format!(
            "d = 16\nn_blocks = 1\ndropout = 0.0\nmax_history = 8\nloss = \"softmax\"\ntime_bias = {time_bias}\n\
             training = {{ rounds = 20, round_steps = 40, batch = 32, learning_rate = 0.01 }}"
        );
        let config = settings.parse::<toml::Table>().unwrap().try_into().unwrap();
        Hstu::fit(&config, &FitInput::of(plays.view())).unwrap()
    }

    /// Of all first items and both gaps, how often the right item comes first.
    fn right(model: &Hstu) -> usize {
        let ask = |item: u32, gap: i64| {
            let mut out = Vec::new();
            let history =
                Sequence { item: &[item], occurred_at: &[0], known_at: &[0], ..Sequence::default() };
            let query = Query { history, now: Some(TimestampMs(gap)), ..Query::default() };
            model.recommend(&query, 1, &ItemFilter::default(), &mut out).unwrap();
            out[0].item
        };
        (0..N_ITEMS)
            .flat_map(|item| [(item, MINUTE, 1), (item, DAY_MS, 3)])
            .filter(|&(item, gap, step)| ask(item, gap) == (item + step) % N_ITEMS)
            .count()
    }

    #[test]
    fn the_time_since_the_last_event_decides_what_comes_next_if_it_is_looked_at() {
        let plays = clocked();
        let (with, without) = (right(&fit(&plays, true)), right(&fit(&plays, false)));
        assert!(with >= 14, "{with} of 16 with the time bias");
        assert!(without <= 9, "{without} of 16 without it, where half is all there is");
    }

    #[test]
    fn plays_without_dates_switch_the_time_bias_off_and_the_artifact_says_so() {
        let mut plays = clocked();
        let is_on = |model: &Hstu| model.parts().config["time_bias"] == true;
        assert!(is_on(&fit(&plays, true)));
        (plays.occurred_at, plays.known_at) = (vec![], vec![]);
        let model = fit(&plays, true);
        assert!(!is_on(&model));
        assert!(model.parts().tensors.names().all(|name| !name.ends_with("bias.time")));
    }

    #[test]
    fn rotary_positions_are_refused_by_name() {
        let config = HstuConfig { positions: Positions::Rotary, ..HstuConfig::default() };
        let message = config.plan().map(drop).unwrap_err().to_string();
        assert!(message.contains("positions") && message.contains("rotary"), "{message}");
    }
}
