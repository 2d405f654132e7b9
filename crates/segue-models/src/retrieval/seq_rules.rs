//! Sequential rules: items that followed the listener's recent items, near or far.
//!
//! `R_ba = Σ_{d=1..W} g(d) · N_d[b, a]`, optionally scaled per source by its inverse document
//! frequency and pruned to the strongest targets; `score(a | h) = Σ_j v(j) · R[h_j, a]` over the newest
//! `L` plays, `j = 1` the newest. Ties by item row.
//!
//! Source: `spotify-research/sequential-capacity-probes`, docs/PROTOCOL.md, "Sequential Rules"; after
//! Ludewig & Jannach, "Evaluation of Session-based Recommendation Algorithms", UMUAI 2018.

use serde::{Deserialize, Serialize};

use super::counts::{Followers, MAX_WINDOW, OrderedPlays, Targets, prune};
use super::item_model::{History, ItemModel, ItemModelConfig, Kept, check_setting};
use super::item_to_item::ItemToItem;
use super::kept_counts::KeptCounts;
use super::kernel::{WeightTable, check_history};
use crate::{FitInput, ModelError};

/// A weight by position `x = 1, 2, 3, …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionWeight {
    /// 1.
    Same,
    /// `1 / x`.
    Div,
    /// `1 / x²`.
    Quadratic,
    /// `1 / log10(x + 1.7)`.
    Log,
    /// `1 − x / 10`, at least 0.
    Linear,
}

impl PositionWeight {
    fn at(self, position: usize) -> f32 {
        let x = position as f32;
        match self {
            Self::Same => 1.0,
            Self::Div => 1.0 / x,
            Self::Quadratic => 1.0 / (x * x),
            Self::Log => 1.0 / (x + 1.7).log10(),
            Self::Linear => (1.0 - 0.1 * x).max(0.0),
        }
    }
}

/// Settings of [`SeqRules`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeqRulesConfig {
    /// How far a rule reaches, in plays: 1 to 255. Default 10.
    pub steps: usize,
    /// Weight of a rule by its distance. Default `div`.
    pub step_weight: PositionWeight,
    /// Targets kept per source; 0 keeps all. Default 200.
    pub prune: usize,
    /// Whether to scale each source by its inverse document frequency over users, mapped to
    /// `[0, 1]`: frequent items then say less. Default false.
    pub idf: bool,
    /// Newest plays looked at, 1 to 1000. Default 10.
    pub max_history: usize,
    /// Weight of a play by its place from the newest, which always weighs 1. Default `div`.
    pub history_weight: PositionWeight,
    /// Which plays count as a rule's target. Default `wanted`.
    pub targets: Targets,
    /// Whether to go on, by item row, with played items that no rule reaches. Default false;
    /// published tables rank the whole catalogue.
    pub whole_catalogue: bool,
    /// Whether the artifact keeps whole counts beside the model, so that later plays can be added. Default false.
    pub keep_counts: bool,
}

impl Default for SeqRulesConfig {
    fn default() -> Self {
        Self {
            steps: 10,
            step_weight: PositionWeight::Div,
            prune: 200,
            idf: false,
            max_history: 10,
            history_weight: PositionWeight::Div,
            targets: Targets::default(),
            whole_catalogue: false,
            keep_counts: false,
        }
    }
}

/// Directed rules between items.
pub type SeqRules = ItemModel<SeqRulesConfig>;

impl ItemModelConfig for SeqRulesConfig {
    const KIND: &'static str = "seq_rules";
    const ABOUT: &'static str = "items that followed the recent ones, by distance";
    const SEARCH: &'static str = r#"
steps = { low = 1, high = 30, log = true }
step_weight = ["div", "quadratic", "log", "same"]
prune = [0, 100, 200, 500]
idf = [false, true]
max_history = { low = 5, high = 50, log = true }
history_weight = ["div", "quadratic", "log", "same"]
"#;

    fn history(&self) -> Result<History, ModelError> {
        check_history(Self::KIND, self.max_history)?;
        let reach = (1..=MAX_WINDOW).contains(&self.steps);
        check_setting(Self::KIND, reach, "steps", self.steps, "it is the reach of a rule in plays, 1 to 255")?;
        Ok(History::ByAge(WeightTable::new(self.max_history, |n| {
            (1..=n).map(|j| if j == 1 { 1.0 } else { self.history_weight.at(j) }).collect()
        })))
    }

    fn matrix(&self, input: &FitInput<'_>) -> Result<ItemToItem, ModelError> {
        Ok(rules(self, &OrderedPlays::index(Self::KIND, input, self.targets)?))
    }

    fn kept(&self) -> Option<Kept<Self>> {
        let matrix = |config: &Self, counts: &KeptCounts, _: &[String]| rules(config, counts);
        self.keep_counts.then_some(Kept { window: self.steps as u8, targets: self.targets, matrix })
    }
}

fn rules(config: &SeqRulesConfig, plays: &impl Followers) -> ItemToItem {
    let by_step: Vec<f32> = (1..=config.steps).map(|d| config.step_weight.at(d)).collect();
    let idf = if config.idf { idf_weights(plays) } else { Vec::new() };
    let limit = if config.prune == 0 { usize::MAX } else { config.prune };
    let rules = ItemToItem::new(plays.offset_counts(&by_step, |source, row| {
        if let Some(&weight) = idf.get(source as usize) {
            row.iter_mut().for_each(|entry| entry.1 *= weight);
            row.retain(|entry| entry.1 != 0.0);
        }
        prune(row, limit);
    }));
    if config.whole_catalogue { rules.with_background(plays.played()) } else { rules }
}

/// `ln(n_users / n_plays)`, moved and scaled so that the rarest item has 1 and the most frequent 0.
fn idf_weights(plays: &impl Followers) -> Vec<f32> {
    let n_users = plays.n_users() as f64;
    let raw = |item: u32| (n_users / plays.n_plays(item) as f64).ln();
    let played = plays.played();
    let (low, high) = played
        .iter()
        .map(|&i| raw(i))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let mut out = vec![1.0; plays.n_items() as usize];
    if high > low {
        for &item in &played {
            out[item as usize] = ((raw(item) - low) / (high - low)) as f32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::*;
    use crate::{ItemFilter, Model, Query, Recommender, Scored};

    #[test]
    fn a_rule_weighs_less_the_farther_it_reaches() {
        let plays = OwnedSequences::from_items(4, [vec![0, 1, 2, 3]]);
        let model = SeqRules::fit(&SeqRulesConfig::default(), &FitInput::of(plays.view())).unwrap();
        let mut out = Vec::new();
        model.recommend(&Query::of_items(&[0]), 9, &ItemFilter::default(), &mut out).unwrap();
        let want = [(1, 1.0), (2, 0.5), (3, 1.0 / 3.0)].map(|(item, score)| Scored { item, score });
        assert_eq!(out, want);
        // Newest 1, before it 0: 2 gets 1 from 1 and 1/2 · 1/2 from 0.
        model.recommend(&Query::of_items(&[0, 1]), 1, &ItemFilter::default(), &mut out).unwrap();
        assert_eq!(out, [Scored { item: 2, score: 1.25 }]);
    }

    #[test]
    fn idf_silences_the_most_frequent_source() {
        let plays = OwnedSequences::from_items(3, [vec![0, 1], vec![0, 2], vec![2, 1]]);
        let config = SeqRulesConfig { idf: true, ..SeqRulesConfig::default() };
        let model = SeqRules::fit(&config, &FitInput::of(plays.view())).unwrap();
        // Every item is played twice, so nobody is more frequent and all weights are 1.
        assert_eq!(model.similar_items(0, 9).len(), 2);
        let plays = OwnedSequences::from_items(3, [vec![0, 1], vec![0, 2], vec![0, 2, 1]]);
        let model = SeqRules::fit(&config, &FitInput::of(plays.view())).unwrap();
        assert_eq!(model.similar_items(0, 9), []);
        assert_eq!(model.similar_items(2, 9), [Scored { item: 1, score: 1.0 }]);
    }
}
