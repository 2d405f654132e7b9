//! BPR and WARP: factors that rank what a listener plays above what they do not.
//!
//! `score(a | u) = p_u · q_a + b_a`. For a play of `i` by `u` and an item `j` that `u` does not play, with
//! `x = score(i | u) − score(j | u)`, a step of gradient ascent on
//!
//! - `bpr`: `ln σ(x)`, with `j` drawn once;
//! - `warp`: `−L · max(0, 1 − x)`, with `j` drawn until `x < 1`, at most `max_draws` times; if that took `n`
//!   draws, `L = ln max(1, ⌊(|I| − 1) / n⌋) / ln(|I| − 1)`, in `[0, 1]`, stands for the rank of `i`; no such
//!   `j`, no step. The divisor is ours: without it a step would weigh up to `ln |I|` of one of `bpr`;
//!
//! each less `regularization / 2` times the squares of the numbers the step moves.
//!
//! **The same numbers with any number of threads.** Listeners lie in `S` fixed shards; each epoch deals the
//! played items anew into `S` blocks, and has `S` rounds. In round `r`, shard `s` learns from its plays of items of
//! block `(s + r) mod S`, with negatives from that block: no two shards ever touch one number, whoever runs
//! them. Every play is learnt from once per epoch. `S` depends on the number of items alone, and random numbers
//! on seed, epoch, round and shard.
//!
//! **A listener is their history when asked**: `p` comes from the same steps with items held fixed, over the
//! different items of the history, `fold_in_epochs` times. It is a sum of steps, so a score splits into what
//! each item of the history brought, and `b_a`. An empty history ranks by `b`. Ties by item row.
//!
//! Takes undated profiles as well as plays; needs no order.
//!
//! Source: Rendle, Freudenthaler, Gantner & Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit
//! Feedback", UAI 2009; Weston, Bengio & Usunier, "WSABIE", IJCAI 2011. Blocks as in Gemulla, Nijkamp, Haas &
//! Sismanis, "Large-Scale Matrix Factorization with Distributed Stochastic Gradient Descent", KDD 2011.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::counts::Targets;
use super::interactions::{Interactions, Reading, RowsOf, TermFrequency};
use super::item_model::check_setting;
use super::kernel::check_history;
use crate::top_k::TopK;
use crate::trees::random::draw;
use crate::{
    Contribution, FitInput, ItemFilter, Model, ModelError, ModelParts, Query, Recommender, Scored, Tensors, Vectors,
};

/// What a step ascends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Logistic, one negative.
    #[default]
    Bpr,
    /// Hinge, weighted by the estimated rank.
    Warp,
}

/// Settings of [`Bpr`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BprConfig {
    /// `bpr` or `warp`. Default `bpr`.
    pub loss: Loss,
    /// Numbers per item and listener, 1 to 1024. Default 64. Worth trying: 32 to 128.
    pub factors: usize,
    /// Times every play is learnt from, at least 1. Default 100. Worth trying: 30 to 300.
    pub epochs: usize,
    /// Length of a step, above 0. Default 0.05. Worth trying: 0.005 to 0.2.
    pub learning_rate: f32,
    /// Pull towards 0, 0 or more. Default 0.01. Worth trying: 0.0001 to 0.1.
    pub regularization: f32,
    /// Draws until WARP gives a play up, at least 1. Default 20.
    pub max_draws: usize,
    /// Times a history is gone through when asked, at least 1. Default 40.
    pub fold_in_epochs: usize,
    /// Newest plays looked at when asked, 1 to 1000. Default 200.
    pub max_history: usize,
    /// Items per user that are learnt from, at least 1: the newest (of profiles, the most played).
    /// Default 2,000.
    pub max_user_items: usize,
    /// Which plays count. Default `wanted`.
    pub targets: Targets,
}

impl Default for BprConfig {
    fn default() -> Self {
        Self {
            loss: Loss::default(),
            factors: 64,
            epochs: 100,
            learning_rate: 0.05,
            regularization: 0.01,
            max_draws: 20,
            fold_in_epochs: 40,
            max_history: 200,
            max_user_items: 2000,
            targets: Targets::default(),
        }
    }
}

/// Factors and biases of the played items.
#[derive(Debug, Clone, PartialEq)]
pub struct Bpr {
    config: BprConfig,
    n_items: u32,
    /// `[n_played]` item rows, ascending.
    item: Vec<u32>,
    /// `q`: `[n_played, factors]`.
    factors: Vec<f32>,
    /// `b`: `[n_played]`.
    bias: Vec<f32>,
}

impl Bpr {
    fn new(config: BprConfig) -> Result<Self, ModelError> {
        check_history(Self::KIND, config.max_history)?;
        let good = (1..=1024).contains(&config.factors);
        check_setting(Self::KIND, good, "factors", config.factors, "it is the length of a vector, 1 to 1024")?;
        for (setting, n) in [
            ("epochs", config.epochs),
            ("max_draws", config.max_draws),
            ("fold_in_epochs", config.fold_in_epochs),
            ("max_user_items", config.max_user_items),
        ] {
            check_setting(Self::KIND, n >= 1, setting, n, "it is a number, at least 1")?;
        }
        let (rate, pull) = (config.learning_rate, config.regularization);
        let good = rate.is_finite() && rate > 0.0;
        check_setting(Self::KIND, good, "learning_rate", rate, "it is the length of a step, above 0")?;
        let good = pull.is_finite() && pull >= 0.0;
        check_setting(Self::KIND, good, "regularization", pull, "it is a pull towards 0, 0 or more")?;
        Ok(Self { config, n_items: 0, item: vec![], factors: vec![], bias: vec![] })
    }

    fn vector(&self, at: usize) -> &[f32] {
        &self.factors[at * self.config.factors..(at + 1) * self.config.factors]
    }

    /// Places in the item table of the history's different items, ascending, with their newest play.
    fn known(&self, query: &Query<'_>) -> Vec<(usize, usize)> {
        let mut known: Vec<(usize, usize)> = query
            .newest_first(self.n_items)
            .take(self.config.max_history)
            .filter_map(|(history_idx, item)| Some((self.item.binary_search(&item).ok()?, history_idx)))
            .collect();
        known.sort_by_key(|&(at, history_idx)| (at, std::cmp::Reverse(history_idx)));
        known.dedup_by_key(|k| k.0);
        known
    }

    /// `p` of a listener with these items (places in the table, ascending, distinct). `moved` is told each step
    /// before it is taken: which item, the pull on all of `p`, and what is then added along `q_i − q_j`.
    fn fold_in(&self, items: &[usize], mut moved: impl FnMut(usize, f32, f32, &[f32], &[f32])) -> Vec<f32> {
        let mut p = vec![0.0_f32; self.config.factors];
        if items.is_empty() || items.len() >= self.item.len() {
            return p;
        }
        let (rate, pull) = (self.config.learning_rate, self.config.regularization);
        for epoch in 0..self.config.fold_in_epochs as u64 {
            for (nth, &i) in items.iter().enumerate() {
                let q_i = self.vector(i);
                let score_i = dot(&p, q_i) + self.bias[i];
                let mut number = 0;
                let negative = || {
                    let word = draw(FOLD_IN, u64::from(self.item[i]), epoch << 32 | number);
                    number += 1;
                    let j = below(word, self.item.len());
                    items.binary_search(&j).is_err().then_some(j)
                };
                let score = |j: usize| dot(&p, self.vector(j)) + self.bias[j];
                if let Some((j, gradient)) =
                    choose(&self.config, self.item.len(), score_i, score, negative)
                {
                    let step = rate * gradient;
                    moved(nth, 1.0 - rate * pull, step, q_i, self.vector(j));
                    for ((p, &i), &j) in p.iter_mut().zip(q_i).zip(self.vector(j)) {
                        *p += step * (i - j) - rate * pull * *p;
                    }
                }
            }
        }
        p
    }
}

/// Streams of [`draw`] that are no epoch.
const FOLD_IN: u64 = 0x666f_6c64;
const INITIAL: u64 = 0x696e_6974;
/// Items per block before there are more blocks, and the most blocks.
const ITEMS_PER_BLOCK: usize = 64;
const MAX_BLOCKS: usize = 16;
/// Draws of an item the listener does not play, before the play is passed over.
const NEGATIVE_TRIES: usize = 10;

/// An index below `n` from 64 random bits.
fn below(word: u64, n: usize) -> usize {
    ((u128::from(word) * n as u128) >> 64) as usize
}

/// Eight partial sums: the order of additions is fixed, and a vector unit can follow it.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest
}

/// The negative to learn from and the derivative of the objective by `x`, or none.
fn choose(
    config: &BprConfig,
    n_items: usize,
    score_i: f32,
    score: impl Fn(usize) -> f32,
    mut negative: impl FnMut() -> Option<usize>,
) -> Option<(usize, f32)> {
    match config.loss {
        Loss::Bpr => {
            let j = (0..NEGATIVE_TRIES).find_map(|_| negative())?;
            let x = score_i - score(j);
            Some((j, 1.0 / (1.0 + x.exp())))
        }
        Loss::Warp => {
            for n in 1..=config.max_draws {
                let Some(j) = negative() else { continue };
                if score_i - score(j) < 1.0 {
                    let rank = ((n_items - 1) / n).max(1);
                    return Some((j, (rank as f32).ln() / ((n_items - 1) as f32).ln().max(1.0)));
                }
            }
            None
        }
    }
}

/// Items of one block in one epoch.
struct Block {
    /// Places in the item table.
    place: Vec<u32>,
    factors: Vec<f32>,
    bias: Vec<f32>,
}

/// What is learnt, and how it is dealt out.
struct Training<'a> {
    config: &'a BprConfig,
    plays: &'a Interactions,
    seed: u64,
    /// `[n_items]` place of an item in the table of played items.
    place_of: Vec<u32>,
    n_played: usize,
    n_blocks: usize,
}

impl Training<'_> {
    /// One epoch. `users` holds `[n_users of the shard, factors]` per shard; user `u` is row `u / S` of shard
    /// `u mod S`.
    fn epoch(&self, epoch: u64, users: &mut [Vec<f32>], model: &mut Bpr) {
        let (n, d) = (self.n_blocks, self.config.factors);
        let mut blocks: Vec<Block> =
            (0..n).map(|_| Block { place: vec![], factors: vec![], bias: vec![] }).collect();
        let mut dealt = vec![(0_u32, 0_u32); self.n_played];
        for place in 0..self.n_played {
            let b = below(draw(self.seed, epoch + 1, place as u64), n);
            dealt[place] = (b as u32, blocks[b].place.len() as u32);
            blocks[b].place.push(place as u32);
            blocks[b].factors.extend_from_slice(model.vector(place));
            blocks[b].bias.push(model.bias[place]);
        }
        // Plays by shard and block: (user, place of the item in its block).
        let cells: Vec<Vec<Vec<(u32, u32)>>> = (0..n)
            .into_par_iter()
            .map(|shard| {
                let mut cells = vec![Vec::new(); n];
                for user in (shard..self.plays.n_users()).step_by(n) {
                    for at in self.plays.of_user(user) {
                        let place = self.place_of[self.plays.item[at] as usize];
                        let (block, within) = dealt[place as usize];
                        cells[block as usize].push((user as u32, within));
                    }
                }
                cells
            })
            .collect();
        // Block `b` lies at `b` in round 0 and moves one shard down each round.
        for round in 0..n {
            users.par_iter_mut().zip(&mut blocks).enumerate().for_each(|(shard, (users, block))| {
                let number = (shard + round) % n;
                let stream = (epoch + 1) << 16 | (round * n + shard) as u64;
                let mut random = Draws { seed: self.seed ^ DEAL, stream, number: 0 };
                let mut order: Vec<(u32, u32)> = cells[shard][number].clone();
                for last in (1..order.len()).rev() {
                    order.swap(last, below(random.next(), last + 1));
                }
                for (user, i) in order {
                    let row = user as usize / n;
                    self.step(&mut users[row * d..(row + 1) * d], block, user, i as usize, &mut random);
                }
            });
            blocks.rotate_left(1);
        }
        for block in &blocks {
            for (within, &place) in block.place.iter().enumerate() {
                let place = place as usize;
                model.factors[place * d..(place + 1) * d]
                    .copy_from_slice(&block.factors[within * d..(within + 1) * d]);
                model.bias[place] = block.bias[within];
            }
        }
    }

    fn step(&self, p: &mut [f32], block: &mut Block, user: u32, i: usize, random: &mut Draws) {
        let d = self.config.factors;
        let played = &self.plays.item[self.plays.of_user(user as usize)];
        let score = |at: usize| dot(p, &block.factors[at * d..(at + 1) * d]) + block.bias[at];
        let negative = || {
            let j = below(random.next(), block.place.len());
            let is_played = |place: u32| {
                played.binary_search_by_key(&place, |&item| self.place_of[item as usize]).is_ok()
            };
            (!is_played(block.place[j])).then_some(j)
        };
        let chosen = choose(self.config, self.n_played, score(i), score, negative);
        let Some((j, gradient)) = chosen else { return };
        let (rate, pull) = (self.config.learning_rate, self.config.learning_rate * self.config.regularization);
        let step = rate * gradient;
        let (q_i, q_j) = two_rows(&mut block.factors, d, i, j);
        for ((p, q_i), q_j) in p.iter_mut().zip(q_i).zip(q_j) {
            let (old_p, old_i, old_j) = (*p, *q_i, *q_j);
            *p += step * (old_i - old_j) - pull * old_p;
            *q_i += step * old_p - pull * old_i;
            *q_j -= step * old_p + pull * old_j;
        }
        block.bias[i] += step - pull * block.bias[i];
        block.bias[j] -= step + pull * block.bias[j];
    }
}

/// Keeps the draws of rounds apart from those that deal items.
const DEAL: u64 = 0x6465_616c;

struct Draws {
    seed: u64,
    stream: u64,
    number: u64,
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.number += 1;
        draw(self.seed, self.stream, self.number)
    }
}

/// Rows `i` and `j` of `[n, d]`, which differ.
fn two_rows(values: &mut [f32], d: usize, i: usize, j: usize) -> (&mut [f32], &mut [f32]) {
    if i < j {
        let (low, high) = values.split_at_mut(j * d);
        (&mut low[i * d..(i + 1) * d], &mut high[..d])
    } else {
        let (low, high) = values.split_at_mut(i * d);
        (&mut high[..d], &mut low[j * d..(j + 1) * d])
    }
}

impl Model for Bpr {
    type Config = BprConfig;

    const KIND: &'static str = "bpr";
    const ABOUT: &'static str = "factors that rank what listeners play above what they do not";
    const SEARCH: &'static str = r#"
loss = ["bpr", "warp"]
factors = [32, 64, 128]
epochs = { low = 30, high = 200, log = true }
learning_rate = { low = 0.001, high = 0.2, log = true }
regularization = { low = 0.0001, high = 0.1, log = true }
"#;

    fn fit(config: &BprConfig, input: &FitInput<'_>) -> Result<Self, ModelError> {
        let mut model = Self::new(config.clone())?;
        let plays = Interactions::of(
            input,
            &Reading {
                rows_of: RowsOf::Users,
                tf: TermFrequency::Binary,
                max_row_items: config.max_user_items,
                targets: config.targets,
            },
        );
        model.n_items = input.n_items();
        model.item = (0..model.n_items).filter(|&item| !plays.of_item(item).is_empty()).collect();
        let (n_played, d) = (model.item.len(), config.factors);
        // Small and different, as of the item's row: what else is played does not matter.
        let initial = |of: u64, row: u64, at: usize| {
            let unit = (draw(input.seed ^ INITIAL ^ of, row, at as u64) >> 40) as f32 / (1 << 24) as f32;
            (unit - 0.5) / d as f32
        };
        model.factors =
            model.item.iter().flat_map(|&i| (0..d).map(move |at| initial(1, i.into(), at))).collect();
        model.bias = vec![0.0; n_played];
        if n_played < 2 {
            return Ok(model);
        }
        let n_blocks = (n_played / ITEMS_PER_BLOCK).clamp(1, MAX_BLOCKS);
        let mut users: Vec<Vec<f32>> = (0..n_blocks)
            .map(|shard| {
                (shard..plays.n_users())
                    .step_by(n_blocks)
                    .flat_map(|user| (0..d).map(move |at| initial(2, user as u64, at)))
                    .collect()
            })
            .collect();
        let mut place_of = vec![u32::MAX; model.n_items as usize];
        for (place, &item) in (0..).zip(&model.item) {
            place_of[item as usize] = place;
        }
        let training =
            Training { config, plays: &plays, seed: input.seed, place_of, n_played, n_blocks };
        for epoch in 0..config.epochs as u64 {
            training.epoch(epoch, &mut users, &mut model);
        }
        if model.factors.iter().chain(&model.bias).all(|v| v.is_finite()) {
            Ok(model)
        } else {
            Err(ModelError::Config {
                model: Self::KIND,
                setting: "learning_rate",
                value: config.learning_rate.to_string(),
                rule: "steps of this length grew without bound on this data; take shorter ones",
            })
        }
    }

    fn load(config: BprConfig, mut parts: ModelParts) -> Result<Self, ModelError> {
        let mut model = Self::new(config)?;
        let t = &mut parts.tensors;
        model.n_items = t.take_len::<u32>("n_items", 1)?[0];
        let n_played = t.len_of("bias").unwrap_or(0);
        model.bias = t.take_finite("bias", n_played)?;
        model.item = t.take_below("item", n_played, model.n_items)?;
        model.factors = t.take_finite("factors", n_played * model.config.factors)?;
        if let Some(at) = model.item.windows(2).position(|w| w[0] >= w[1]) {
            return Err(t.wrong("`item` in ascending order".to_owned(), format!("disorder at {at}")));
        }
        Ok(model)
    }
}

/// The bias is one more number of an item's vector, beside a 1 of the listener's.
impl Vectors for Bpr {
    fn size(&self) -> usize {
        self.config.factors + 1
    }

    fn item_vector(&self, item: u32, out: &mut Vec<f32>) -> bool {
        let known = self.item.binary_search(&item);
        if let Ok(at) = known {
            out.extend_from_slice(self.vector(at));
            out.push(self.bias[at]);
        }
        known.is_ok()
    }

    fn user_vector(&self, query: &Query<'_>, out: &mut Vec<f32>) -> bool {
        let known: Vec<usize> = self.known(query).into_iter().map(|k| k.0).collect();
        if !known.is_empty() {
            out.extend(self.fold_in(&known, |_, _, _, _, _| ()));
            out.push(1.0);
        }
        !known.is_empty()
    }
}

impl Recommender for Bpr {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn n_items(&self) -> u32 {
        self.n_items
    }

    fn recommend(
        &self,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        out.clear();
        let known: Vec<usize> = self.known(query).into_iter().map(|k| k.0).collect();
        let p = self.fold_in(&known, |_, _, _, _, _| ());
        let mut top = TopK::default();
        top.reset(k.min(self.item.len()));
        for (at, &item) in self.item.iter().enumerate() {
            if filter.admits(item) {
                top.offer(dot(&p, self.vector(at)) + self.bias[at], item);
            }
        }
        top.finish(|item| item, out);
        Ok(())
    }

    fn parts(&self) -> ModelParts {
        let tensors = Tensors::new()
            .with("n_items", &[self.n_items])
            .with("item", &self.item)
            .with("factors", &self.factors)
            .with("bias", &self.bias);
        ModelParts::new(Self::KIND, &self.config, tensors)
    }

    fn vectors(&self) -> Option<&dyn Vectors> {
        Some(self)
    }

    /// By the cosine of the factors.
    fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        let mut out = Vec::new();
        let Ok(at) = self.item.binary_search(&item) else { return out };
        let own = self.vector(at);
        let norm = dot(own, own).sqrt();
        let mut top = TopK::default();
        top.reset(k.min(self.item.len()));
        for (other, &row) in self.item.iter().enumerate().filter(|&(other, _)| other != at) {
            let vector = self.vector(other);
            top.offer(dot(own, vector) / (norm * dot(vector, vector).sqrt()).max(f32::MIN_POSITIVE), row);
        }
        top.finish(|item| item, &mut out);
        out
    }

    /// What the steps made for each item of the history bring; with `b_a` they add up to the score.
    fn explain(&self, query: &Query<'_>, item: u32) -> Vec<Contribution> {
        let Ok(target) = self.item.binary_search(&item) else { return Vec::new() };
        let known = self.known(query);
        let items: Vec<usize> = known.iter().map(|k| k.0).collect();
        let q = self.vector(target);
        // Each part decays with all of `p`: kept as part / shrunk, where `shrunk` is the product so far.
        let mut amount = vec![0.0_f64; items.len()];
        let mut shrunk = 1.0_f64;
        self.fold_in(&items, |nth, keep, step, q_i, q_j| {
            shrunk *= f64::from(keep);
            amount[nth] += f64::from(step) * f64::from(dot(q_i, q) - dot(q_j, q)) / shrunk;
        });
        known
            .iter()
            .zip(amount)
            .map(|(k, amount)| Contribution { history_idx: k.1, amount: (amount * shrunk) as f32 })
            .filter(|c| c.amount != 0.0 && c.amount.is_finite())
            .collect()
    }
}

#[cfg(test)]
mod tests;
