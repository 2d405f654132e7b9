//! Pairwise co-occurrence transition model (PCTM): smoothed log-probabilities of what follows at
//! several distances, mixed over the history.
//!
//! `C_ba = Σ_{d=1..W} γ_d · N_d[b, a]`, `E_ba = ln(1 + C_ba · |I| / τ)`,
//! `score(a | h) = Σ_j w_j · E[h_j, a] + λ · ln((n_a + 1) / (N + |I|))`,
//! with `w` adding up to 1 over the newest plays, `n_a` plays of `a`, `N = Σ n_a` and `|I|` the number of
//! items played in training. `E` is `ln P(a | b)` with the smoothed
//! `P(a | b) = (C_ba + τ / |I|) / (C_b· + τ)`, up to a constant per source that cannot change a rank.
//! The whole played catalogue is ranked. Ties by ascending SHA-256 of the external item id (or by
//! item row if the data has no ids).
//!
//! Source: `spotify-research/sequential-capacity-probes`, docs/PROTOCOL.md, "PCTM".

use serde::{Deserialize, Serialize};

use super::counts::{Followers, MAX_WINDOW, OrderedPlays, Targets};
use super::item_model::{History, ItemModel, ItemModelConfig, Kept, check_setting};
use super::item_to_item::ItemToItem;
use super::kept_counts::KeptCounts;
use super::kernel::{Kernel, WeightTable, check_history};
use crate::{FitInput, ModelError};

/// Settings of [`Pctm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PctmConfig {
    /// `W`: how far ahead pairs are counted, in plays, 1 to 255. Default 10.
    pub window: usize,
    /// `γ`: weight of a pair by its distance. Default `1 / √d`.
    pub distance: Kernel,
    /// `τ`: mass of the uniform prior, above 0. Default 10,000.
    pub tau: f32,
    /// `w`: weight of a play by its age, made to add up to 1. Default `0.6^age`.
    pub history: Kernel,
    /// Newest plays looked at, 1 to 1000. Default 50.
    pub max_history: usize,
    /// `λ`: weight of log popularity; negative favours the rare. Default 0.
    pub popularity: f32,
    /// Which plays count as a pair's target. Default `wanted`.
    pub targets: Targets,
    /// Whether the artifact keeps whole counts beside the model, so that later plays can be added. Default false.
    pub keep_counts: bool,
}

impl Default for PctmConfig {
    fn default() -> Self {
        Self {
            window: 10,
            distance: Kernel::Inv { power: 0.5 },
            tau: 10_000.0,
            history: Kernel::Exp { base: 0.6 },
            max_history: 50,
            popularity: 0.0,
            targets: Targets::default(),
            keep_counts: false,
        }
    }
}

/// Log-evidence between items.
pub type Pctm = ItemModel<PctmConfig>;

impl ItemModelConfig for PctmConfig {
    const KIND: &'static str = "pctm";
    const ABOUT: &'static str = "smoothed pairwise transitions mixed over the history";
    const SEARCH: &'static str = r#"
window = { low = 1, high = 30, log = true }
distance = [{ shape = "inv", power = 0.5 }, { shape = "inv", power = 1.0 }, { shape = "exp", base = 0.7 }, { shape = "exp", base = 0.9 }]
tau = { low = 100.0, high = 100000.0, log = true }
history = [{ shape = "exp", base = 0.6 }, { shape = "exp", base = 0.8 }, { shape = "exp", base = 0.95 }, { shape = "tail", head = 10, mass = 0.8, base = 0.7 }]
popularity = { low = -0.1, high = 0.1 }
"#;

    fn history(&self) -> Result<History, ModelError> {
        let range = |good, setting, value: f32, rule| check_setting(Self::KIND, good, setting, value, rule);
        let (w, tau, lambda) = (self.window, self.tau, self.popularity);
        let reach = (1..=MAX_WINDOW).contains(&w);
        check_setting(Self::KIND, reach, "window", w, "it is a distance in plays, 1 to 255")?;
        range(tau.is_finite() && tau > 0.0, "tau", tau, "it is a prior mass above 0")?;
        range(lambda.is_finite(), "popularity", lambda, "it is a finite weight")?;
        check_history(Self::KIND, self.max_history)?;
        self.distance.check(Self::KIND, "distance")?;
        self.history.check(Self::KIND, "history")?;
        Ok(History::ByAge(WeightTable::new(self.max_history, |n| self.history.normalised(n))))
    }

    fn matrix(&self, input: &FitInput<'_>) -> Result<ItemToItem, ModelError> {
        Ok(evidence(self, &OrderedPlays::index(Self::KIND, input, self.targets)?, input.item_ids))
    }

    fn kept(&self) -> Option<Kept<Self>> {
        let (window, targets) = (self.window as u8, self.targets);
        self.keep_counts.then_some(Kept { window, targets, matrix: evidence::<KeptCounts> })
    }
}

fn evidence<F: Followers>(config: &PctmConfig, plays: &F, item_ids: &[String]) -> ItemToItem {
    let played = plays.played();
    let n_played = played.len() as f32;
    let mut evidence =
        ItemToItem::new(plays.offset_counts(&config.distance.weights(config.window), |_, row| {
            for entry in row {
                entry.1 = (entry.1 * n_played / config.tau).ln_1p();
            }
        }));
    let n_plays: u64 = played.iter().map(|&i| plays.n_plays(i)).sum();
    let total = n_plays as f64 + played.len() as f64;
    let prior = (0..plays.n_items())
        .map(|item| config.popularity * ((plays.n_plays(item) as f64 + 1.0) / total).ln() as f32)
        .collect();
    if !item_ids.is_empty() {
        evidence = evidence.ties_by_sha256(item_ids);
    }
    if config.popularity != 0.0 && !played.is_empty() {
        evidence = evidence.with_prior(prior);
    }
    evidence.with_background(played)
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::*;
    use crate::{ItemFilter, Model, Query, Recommender};

    #[test]
    fn scores_follow_the_formula_and_rank_the_whole_played_catalogue() {
        let plays = OwnedSequences::from_items(5, [vec![0, 1, 2], vec![3, 0]]);
        let config = PctmConfig { tau: 2.0, popularity: -0.1, ..PctmConfig::default() };
        let model = Pctm::fit(&config, &FitInput::of(plays.view())).unwrap();
        let mut out = Vec::new();
        model.recommend(&Query::of_items(&[3, 0]), 9, &ItemFilter::default(), &mut out).unwrap();
        // |I| = 4 (item 4 was never played), N = 5; weights of the history 1/1.6 and 0.6/1.6.
        let log_pop = |n: f64| -0.1 * ((n + 1.0) / 9.0).ln();
        let e = |c: f64| (c * 4.0 / 2.0).ln_1p();
        let (w0, w3) = (1.0 / 1.6, 0.6 / 1.6);
        let mut want = [
            (1, w0 * e(1.0) + log_pop(1.0)),
            (2, w0 * e(0.5_f64.sqrt()) + log_pop(1.0)),
            (0, w3 * e(1.0) + log_pop(2.0)),
            (3, log_pop(1.0)),
        ];
        want.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(out.iter().map(|s| s.item).collect::<Vec<_>>(), want.map(|w| w.0));
        for (got, want) in out.iter().zip(want) {
            assert!((f64::from(got.score) - want.1).abs() < 1e-6, "{got:?} {want:?}");
        }
    }

    #[test]
    fn equal_scores_come_in_the_order_of_the_hashes_of_their_ids() {
        let ids: Vec<String> = ["1", "2", "3", "4"].map(String::from).to_vec();
        let plays = OwnedSequences::from_items(4, [vec![0], vec![1], vec![2], vec![3]]);
        let input = FitInput { item_ids: &ids, ..FitInput::of(plays.view()) };
        let model = Pctm::fit(&PctmConfig::default(), &input).unwrap();
        let mut out = Vec::new();
        model.recommend(&Query::default(), 9, &ItemFilter::default(), &mut out).unwrap();
        // sha256: "4" 4b22…, "3" 4e07…, "1" 6b86…, "2" d473…
        assert_eq!(out.iter().map(|s| s.item).collect::<Vec<_>>(), [3, 2, 0, 1]);
    }
}
