//! ACT-R: what a listener will want to hear again, as memory research describes recall.
//!
//! `score(a) = ln(Σ_k t_k^−d + T^−d) + s · Σ_j S_ja / |context|`
//!
//! - Base-level activation: `t_k` is the time since the listener's `k`-th play of `a`, in hours (at least one
//!   second), `d` the decay. Often and lately heard is easily recalled.
//! - An item never heard stands as if heard once `T = unheard_age_days` ago.
//! - Spreading activation: the context are the different items of the newest `context` plays (the item that
//!   plays now is the newest); `S_ja` is the share of the sessions with `j` in which `a` was heard too, at most
//!   `window` plays apart, and 0 for `a = j`; the strongest `neighbours` kept per item.
//!
//! Items of the history and items that activation spreads to are offered; ties by item row. `now` is the
//! request's moment, or, without one, a second after the newest play.
//!
//! With `estimate_decay`, `d` maximises the likelihood that each play of an item heard before falls on the item
//! it fell on, where an item's probability is its share `Σ_k t_k^−d` of the sum over all plays before
//! (activation with noise of scale 1, Luce's choice rule).
//!
//! Needs dated plays.
//!
//! Source: Anderson & Schooler, "Reflections of the Environment in Memory", Psychological Science 1991; for
//! music Reiter-Haas, Parada-Cabaleiro, Schedl, Motamedi, Tkalčič & Lex, "Predicting Music Relistening Behavior
//! Using the ACT-R Framework", RecSys 2021.

use rayon::prelude::*;
use segue_data::Sequence;
use segue_types::TimestampMs;
use serde::{Deserialize, Serialize};

use super::co_listen::SessionPlays;
use super::counts::{Targets, prune};
use super::item_model::check_setting;
use super::kernel::check_history;
use crate::sparse::Csr;
use crate::top_k::TopK;
use crate::{
    Contribution, FitInput, ItemFilter, Model, ModelError, ModelParts, Query, Recommender, Scored, Tensors,
};

/// Settings of [`ActR`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActRConfig {
    /// `d`: power of the time that a play loses weight with, above 0 to 3. Default 0.5, as in memory research.
    pub decay: f32,
    /// Whether to estimate `d` from the repeats of the train part; `decay` is used if there are none.
    /// Default true.
    pub estimate_decay: bool,
    /// `s`: weight of spreading activation, 0 or more. Default 1. Worth trying: 0 to 10.
    pub spreading: f32,
    /// Newest plays that activation spreads from, at least 1. Default 5.
    pub context: usize,
    /// Largest distance of two plays in a session, at least 1. Default 10.
    pub window: usize,
    /// Items that activation spreads to from one item, at least 1. Default 100.
    pub neighbours: usize,
    /// `T`: how long ago an item never heard counts as heard, above 0. Default 3,650 days.
    pub unheard_age_days: f32,
    /// Newest plays looked at, 1 to 1000. Default 1,000.
    pub max_history: usize,
    /// Which plays count as heard. Default `wanted`.
    pub targets: Targets,
}

impl Default for ActRConfig {
    fn default() -> Self {
        Self {
            decay: 0.5,
            estimate_decay: true,
            spreading: 1.0,
            context: 5,
            window: 10,
            neighbours: 100,
            unheard_age_days: 3650.0,
            max_history: 1000,
            targets: Targets::default(),
        }
    }
}

/// Decay and associations.
#[derive(Debug, Clone, PartialEq)]
pub struct ActR {
    config: ActRConfig,
    /// `d` in use: estimated or as set.
    decay: f32,
    /// `S`: `[n_items, n_items]`, row = context item.
    association: Csr,
}

impl ActR {
    fn new(config: ActRConfig, decay: f32, association: Csr) -> Result<Self, ModelError> {
        check_history(Self::KIND, config.max_history)?;
        for (setting, n) in
            [("context", config.context), ("window", config.window), ("neighbours", config.neighbours)]
        {
            check_setting(Self::KIND, n >= 1, setting, n, "it is a number of plays or items, at least 1")?;
        }
        let range = |good, setting, value: f32, rule| check_setting(Self::KIND, good, setting, value, rule);
        let good = config.decay > 0.0 && config.decay <= MAX_DECAY;
        range(good, "decay", config.decay, "it is a power of time, above 0 to 3")?;
        let good = config.spreading.is_finite() && config.spreading >= 0.0;
        range(good, "spreading", config.spreading, "it is a weight, 0 or more")?;
        let good = config.unheard_age_days > 0.0 && config.unheard_age_days.is_finite();
        range(good, "unheard_age_days", config.unheard_age_days, "it is a number of days above 0")?;
        Ok(Self { config, decay, association })
    }

    /// The decay in use.
    #[must_use]
    pub fn decay(&self) -> f32 {
        self.decay
    }

    /// What an item without a play has of base level, before the logarithm.
    fn unheard(&self) -> f64 {
        (f64::from(self.config.unheard_age_days) * 24.0).powf(-f64::from(self.decay))
    }

    /// Wanted plays among the newest: `(history_idx, item, t^−d)`, newest first. The item that plays now is
    /// not yet a memory.
    fn memories(&self, query: &Query<'_>) -> Result<Vec<(usize, u32, f64)>, ModelError> {
        let history = &query.history;
        let n_items = self.n_items();
        if history.occurred_at.len() < history.len() {
            return Err(ModelError::NeedsDates { model: Self::KIND });
        }
        let newest = history.occurred_at.iter().copied().max().unwrap_or_default();
        let now = query.now.unwrap_or(TimestampMs(newest.saturating_add(MIN_AGE_MS)));
        Ok((0..history.len())
            .rev()
            .take(self.config.max_history)
            .filter(|&at| history.item[at] < n_items)
            .filter(|&at| self.config.targets.admits(history.action.get(at).copied()))
            .map(|at| {
                let hours = age_hours(now.0, history.occurred_at[at]);
                (at, history.item[at], hours.powf(-f64::from(self.decay)))
            })
            .collect())
    }

    /// The different items activation spreads from, newest first: `(history_idx, item)`.
    fn context(&self, query: &Query<'_>) -> Vec<(usize, u32)> {
        let mut out: Vec<(usize, u32)> = Vec::new();
        for (at, item) in query.newest_first(self.n_items()).take(self.config.context) {
            if out.iter().all(|&(_, met)| met != item) {
                out.push((at, item));
            }
        }
        out
    }
}

/// Plays closer than this count as this old: activation would be endless.
const MIN_AGE_MS: i64 = 1000;
const MAX_DECAY: f32 = 3.0;

fn age_hours(now: i64, then: i64) -> f64 {
    now.saturating_sub(then).max(MIN_AGE_MS) as f64 / 3_600_000.0
}

impl Model for ActR {
    type Config = ActRConfig;

    const KIND: &'static str = "act_r";
    const ABOUT: &'static str = "what the listener will want to hear again";
    const SEARCH: &'static str = r#"
spreading = { low = 0.1, high = 30.0, log = true }
context = { low = 1, high = 20, log = true }
window = { low = 1, high = 50, log = true }
neighbours = { low = 50, high = 500, log = true }
"#;

    fn fit(config: &ActRConfig, input: &FitInput<'_>) -> Result<Self, ModelError> {
        let mut model = Self::new(config.clone(), config.decay, Csr::default())?;
        let undated = input.sequences.n_plays() > 0 && !input.sequences.is_dated();
        if undated || (input.sequences.n_plays() == 0 && input.profiles.is_some()) {
            return Err(ModelError::NeedsDates { model: Self::KIND });
        }
        let plays = SessionPlays::index(input, config.targets);
        model.association = plays.shared_sessions(config.window, |source, row| {
            let n_sessions = plays.n_sessions[source as usize] as f32;
            row.iter_mut().for_each(|entry| entry.1 /= n_sessions);
            prune(row, config.neighbours);
        });
        if config.estimate_decay {
            model.decay = estimate_decay(input, config).unwrap_or(config.decay);
        }
        Ok(model)
    }

    fn load(config: ActRConfig, mut parts: ModelParts) -> Result<Self, ModelError> {
        let t = &mut parts.tensors;
        let decay = t.take_finite("decay", 1)?[0];
        if !(decay > 0.0 && decay <= MAX_DECAY) {
            return Err(t.wrong("`decay` above 0 to 3".to_owned(), decay.to_string()));
        }
        let (_, association) = Csr::load_square("association", t)?;
        Self::new(config, decay, association)
    }
}

/// One repeat of the train part: ages of all earlier plays in hours, and which were of the item chosen.
struct Repeat {
    age: Vec<f64>,
    is_choice: Vec<bool>,
}

/// Repeats looked at; their likelihood is smooth, and more would not move its maximum by a hundredth.
const MAX_REPEATS: usize = 3000;
/// Earlier plays per repeat.
const MAX_MEMORIES: usize = 300;

/// `d` of greatest likelihood in `(0, 3]` to about 0.001, or `None` without repeats.
fn estimate_decay(input: &FitInput<'_>, config: &ActRConfig) -> Option<f32> {
    let repeats = repeats(input, config);
    if repeats.is_empty() {
        return None;
    }
    let log_likelihood = |d: f64| -> f64 {
        let parts: Vec<f64> = repeats
            .par_iter()
            .map(|repeat| {
                let (mut all, mut chosen) = (0.0, 0.0);
                for (&age, &is_choice) in repeat.age.iter().zip(&repeat.is_choice) {
                    let weight = age.powf(-d);
                    all += weight;
                    chosen += if is_choice { weight } else { 0.0 };
                }
                f64::ln(chosen / all)
            })
            .collect();
        parts.iter().sum() // in row order, whatever the threads did
    };
    // Golden-section search.
    let shrink = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.001, f64::from(MAX_DECAY));
    let (mut a, mut b) = (high - shrink * (high - low), low + shrink * (high - low));
    let (mut at_a, mut at_b) = (log_likelihood(a), log_likelihood(b));
    while high - low > 0.001 {
        if at_a >= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - shrink * (high - low);
            at_a = log_likelihood(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + shrink * (high - low);
            at_b = log_likelihood(b);
        }
    }
    Some(((low + high) / 2.0) as f32)
}

/// At most [`MAX_REPEATS`] repeats, spread evenly over all there are.
fn repeats(input: &FitInput<'_>, config: &ActRConfig) -> Vec<Repeat> {
    let wanted = |user: &Sequence<'_>, at: usize| config.targets.admits(user.action.get(at).copied());
    let each = |visit: &mut dyn FnMut(Sequence<'_>, usize)| {
        for user in input.users() {
            let mut heard = std::collections::HashSet::new();
            for at in 0..user.len() {
                if wanted(&user, at) && !heard.insert(user.item[at]) {
                    visit(user, at);
                }
            }
        }
    };
    let mut n_repeats = 0_usize;
    each(&mut |_, _| n_repeats += 1);
    let stride = n_repeats.div_ceil(MAX_REPEATS).max(1);
    let mut out = Vec::new();
    let mut number = 0;
    each(&mut |user, at| {
        number += 1;
        if (number - 1) % stride != 0 {
            return;
        }
        let (mut age, mut is_choice) = (Vec::new(), Vec::new());
        for before in (0..at).rev().filter(|&before| wanted(&user, before)).take(MAX_MEMORIES) {
            age.push(age_hours(user.occurred_at[at], user.occurred_at[before]));
            is_choice.push(user.item[before] == user.item[at]);
        }
        // Its earlier plays may lie farther back than what is looked at; one candidate says nothing.
        if is_choice.contains(&true) && is_choice.contains(&false) {
            out.push(Repeat { age, is_choice });
        }
    });
    out
}

impl Recommender for ActR {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn n_items(&self) -> u32 {
        self.association.n_rows() as u32
    }

    fn recommend(
        &self,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        out.clear();
        let mut parts: Vec<(u32, f64, f64)> =
            self.memories(query)?.into_iter().map(|(_, item, base)| (item, base, 0.0)).collect();
        let context = self.context(query);
        let weight = f64::from(self.config.spreading) / context.len().max(1) as f64;
        if weight > 0.0 {
            for &(_, source) in &context {
                let (items, shares) = self.association.row(source);
                parts.extend(items.iter().zip(shares).map(|(&item, &s)| (item, 0.0, weight * f64::from(s))));
            }
        }
        // Stable: each item's parts are added in one order.
        parts.sort_by_key(|part| part.0);
        let mut top = TopK::default();
        top.reset(k.min(parts.len()));
        let unheard = self.unheard();
        for of_item in parts.chunk_by(|a, b| a.0 == b.0) {
            let item = of_item[0].0;
            if filter.admits(item) {
                let base: f64 = of_item.iter().map(|part| part.1).sum();
                let spread: f64 = of_item.iter().map(|part| part.2).sum();
                top.offer(((base + unheard).ln() + spread) as f32, item);
            }
        }
        top.finish(|item| item, out);
        Ok(())
    }

    fn parts(&self) -> ModelParts {
        let tensors = self.association.store("association", Tensors::new()).with("decay", &[self.decay]);
        ModelParts::new(Self::KIND, &self.config, tensors)
    }

    /// The items that activation spreads to.
    fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        let mut out = Vec::new();
        let mut top = TopK::default();
        let (items, shares) = self.association.row(item);
        top.reset(k.min(items.len()));
        items.iter().zip(shares).for_each(|(&item, &share)| top.offer(share, item));
        top.finish(|item| item, &mut out);
        out
    }

    /// Plays of the item share what they raise its base level by over an item never heard, in proportion to
    /// `t^−d`; plays of the context have what spreads from them. All add up to the score less `ln T^−d`.
    fn explain(&self, query: &Query<'_>, item: u32) -> Vec<Contribution> {
        let Ok(memories) = self.memories(query) else { return Vec::new() };
        let own: Vec<(usize, f64)> =
            memories.iter().filter(|m| m.1 == item).map(|&(at, _, base)| (at, base)).collect();
        let sum: f64 = own.iter().map(|m| m.1).sum();
        let raised = (sum / self.unheard()).ln_1p();
        let context = self.context(query);
        let weight = f64::from(self.config.spreading) / context.len().max(1) as f64;
        let spread = context.iter().map(|&(at, source)| {
            (at, weight * f64::from(self.association.get(source, item)))
        });
        own.iter()
            .map(|&(at, base)| (at, raised * base / sum))
            .chain(spread)
            .filter(|&(_, amount)| amount != 0.0)
            .map(|(history_idx, amount)| Contribution { history_idx, amount: amount as f32 })
            .collect()
    }
}

#[cfg(test)]
mod tests;
