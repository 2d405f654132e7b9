//! The training loop: rounds of steps, validation, early stopping, checkpoints and exact resume.
//!
//! Everything random is a function of the seed and the step, so a checkpoint is only weights,
//! moments, the step and what validation found: a resumed training ends with the same weights as an
//! uninterrupted one, bit for bit.

use segue_nn::optim::{Decay, Schedule};
use segue_nn::{Counter, Embedding};

use crate::sequence::item_features::FeatureRows;
use crate::sequence::model::SequenceModel;
use crate::sequence::network::Network;
use crate::sequence::settings::Objective;
use crate::sequence::step::{State, Stepper};
use crate::sequence::validation::ndcg_at_10;
use crate::sequence::windows::Windows;
use crate::{FitInput, ModelError};

/// Stream of the order of windows.
const ORDER: u64 = 0x0D_E5;

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoundReport {
    /// From 1.
    pub round: u32,
    /// Steps done in all.
    pub step: u64,
    /// Mean training loss per target.
    pub loss: f64,
    /// NDCG@10 of the held-out plays.
    pub validation_ndcg: Option<f64>,
    /// Input tokens of the round.
    pub n_tokens: u64,
}

/// The best weights so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// Its round.
    pub round: u32,
    /// Its NDCG@10.
    pub ndcg: f64,
    /// The arena.
    pub params: Vec<f32>,
    /// The item table.
    pub table: Embedding,
}

/// All that a resumed training needs besides settings, data and seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Weights and moments.
    pub state: State,
    /// Rounds done.
    pub round: u32,
    /// The best weights, if anything is validated on.
    pub best: Option<Best>,
    /// The rounds.
    pub history: Vec<RoundReport>,
}

/// A training under way.
#[derive(Debug)]
pub struct Trainer<'a> {
    network: Network,
    objective: Objective,
    windows: Windows<'a>,
    features: FeatureRows,
    stepper: Stepper,
    seed: u64,
    now: Checkpoint,
    /// Order of the windows of pass `order_of`.
    order: Vec<u32>,
    order_of: u64,
}

impl<'a> Trainer<'a> {
    /// Before the first step.
    ///
    /// # Errors
    /// If a setting is out of range, or there is no listener with two plays to learn from.
    pub fn new(network: Network, objective: Objective, input: &FitInput<'a>) -> Result<Self, ModelError> {
        network.config.check(objective.model)?;
        objective.check()?;
        let t = &objective.training;
        let windows = Windows::new(input, objective.targets, network.config.max_history, t);
        if windows.is_empty() {
            let what = "listeners with two plays in order, the later one wanted";
            return Err(ModelError::NeedsData { model: objective.model, what });
        }
        let features = FeatureRows::new(input, objective.item_features);
        let state = State::new(&network, &objective, features.n_rows(), input.seed);
        let stepper = Stepper::new(&network, &objective, &windows.counts, input.seed);
        let stepper = stepper.with_features(features.clone());
        let now = Checkpoint { state, round: 0, best: None, history: Vec::new() };
        Ok(Self {
            network,
            objective,
            windows,
            features,
            stepper,
            seed: input.seed,
            now,
            order: vec![],
            order_of: u64::MAX,
        })
    }

    /// What to keep so that training can go on later.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.now
    }

    /// Goes on from a checkpoint of a training with equal settings, data and seed.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if it is of another network or catalogue.
    pub fn resume(&mut self, from: Checkpoint) -> Result<(), ModelError> {
        let lengths = |c: &Checkpoint| [c.state.params.len(), c.state.table.table.len()];
        for (what, (expected, got)) in ["parameters of the checkpoint", "item table of the checkpoint"]
            .into_iter()
            .zip(std::iter::zip(lengths(&self.now), lengths(&from)))
        {
            if expected != got {
                return Err(ModelError::Shape { what: what.to_owned(), expected, got });
            }
        }
        self.now = from;
        Ok(())
    }

    /// Whether training has ended: all rounds done, or none better for `patience` rounds.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let t = &self.objective.training;
        let stale = self.now.best.as_ref().is_some_and(|b| self.now.round - b.round >= t.patience);
        let perfect = self.now.best.as_ref().is_some_and(|b| b.ndcg >= 1.0);
        self.now.round >= t.rounds || stale || perfect
    }

    /// One round: its steps, then validation.
    ///
    /// # Errors
    /// [`ModelError::Diverged`] if a number stops being finite; the checkpoint before it is intact.
    pub fn round(&mut self) -> Result<RoundReport, ModelError> {
        let t = self.objective.training;
        let per_pass = self.windows.len().div_ceil(t.batch) as u64;
        let n_steps = t.round_steps.div_ceil(per_pass).max(1) * per_pass;
        let schedule = Schedule {
            peak: t.learning_rate,
            warmup_steps: t.warmup_steps,
            total_steps: 0,
            decay: Decay::Constant,
        };
        let (mut loss, mut n_tokens) = (0.0, 0);
        for _ in 0..n_steps {
            let step = self.now.state.step;
            let pass = step / per_pass;
            if self.order_of != pass {
                self.order = Counter::new(self.seed, ORDER).fork(pass).permutation(self.windows.len());
                self.order_of = pass;
            }
            let first = (step % per_pass) as usize * t.batch;
            let rows = &self.order[first..self.windows.len().min(first + t.batch)];
            self.windows.fill(rows, &mut self.stepper.batches);
            let report = self.stepper.step(&mut self.now.state, schedule.rate(step))?;
            loss += report.loss / n_steps as f64;
            n_tokens += report.n_tokens as u64;
        }
        self.now.round += 1;
        let state = &self.now.state;
        let sums = (!self.features.is_empty()).then(|| self.features.sums(&state.table));
        let vectors = sums.as_ref().unwrap_or(&state.table);
        let validation_ndcg = ndcg_at_10(&self.network, &state.params, vectors, &self.windows);
        if let Some(ndcg) = validation_ndcg
            && self.now.best.as_ref().is_none_or(|b| ndcg > b.ndcg)
        {
            let (params, table) = (state.params.clone(), state.table.clone());
            self.now.best = Some(Best { round: self.now.round, ndcg, params, table });
        }
        let report = RoundReport { round: self.now.round, step: state.step, loss, validation_ndcg, n_tokens };
        self.now.history.push(report);
        tracing::info!(
            model = self.objective.model,
            round = report.round,
            loss = report.loss,
            ndcg_at_10 = report.validation_ndcg,
            n_tokens = report.n_tokens,
            "trained a round"
        );
        Ok(report)
    }

    /// The best weights found, or the last ones if nothing was held out.
    #[must_use]
    pub fn finish(self) -> SequenceModel {
        let (params, table) = match self.now.best {
            Some(best) => (best.params, best.table),
            None => (self.now.state.params, self.now.state.table),
        };
        let (table, trained) = self.features.answering(&table, &self.windows.counts);
        SequenceModel::new(self.network, params, table, trained)
    }
}

/// Trains to the end.
///
/// # Errors
/// Those of [`Trainer::new`] and [`Trainer::round`].
pub fn train(
    network: Network,
    objective: Objective,
    input: &FitInput<'_>,
) -> Result<SequenceModel, ModelError> {
    let mut trainer = Trainer::new(network, objective, input)?;
    while !trainer.is_done() {
        trainer.round()?;
    }
    Ok(trainer.finish())
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::*;
    use crate::Query;
    use crate::registry::Model;
    use crate::sequence::{Architecture, ESasRec, SasRec};

    /// Listeners who walk around a ring of `n` items, each from a place of their own.
    fn ring(n: u32) -> OwnedSequences {
        let users = (0..60).map(|u| (0..3 + u % 7).map(|i| (u * 5 + i) % n).collect());
        OwnedSequences::from_items(n, users)
    }

    fn plan<M: Model>(
        settings: &str,
        plan: impl Fn(&M::Config) -> (Network, Objective),
    ) -> (Network, Objective) {
        let common = "d = 16\nn_blocks = 1\nhidden = 32\nmax_history = 6\nactions = false\n";
        plan(&format!("{common}{settings}").parse::<toml::Table>().unwrap().try_into().unwrap())
    }

    fn small(loss: &str) -> (Network, Objective) {
        with_dropout(loss, 0.3)
    }

    fn with_dropout(loss: &str, dropout: f32) -> (Network, Objective) {
        let training = "training = { rounds = 4, round_steps = 20, batch = 16, learning_rate = 0.01 }";
        let settings = format!(
            "dropout = {dropout:.1}\nloss = \"{loss}\"\nnegatives = {{ count = 32, popular = 0.3, in_batch = 0.2 }}\n{training}"
        );
        if loss == "softmax" {
            plan::<SasRec>(&settings, |c| c.plan().unwrap())
        } else {
            plan::<ESasRec>(&settings, |c| c.plan().unwrap())
        }
    }

    #[test]
    fn a_resumed_training_ends_with_the_same_weights_as_an_uninterrupted_one() {
        let plays = ring(40);
        let input = FitInput { seed: 3, ..FitInput::of(plays.view()) };
        for loss in ["softmax", "sampled_softmax"] {
            let (network, objective) = small(loss);
            let mut whole = Trainer::new(network.clone(), objective, &input).unwrap();
            for _ in 0..3 {
                whole.round().unwrap();
            }
            let mut first = Trainer::new(network.clone(), objective, &input).unwrap();
            first.round().unwrap();
            let kept = first.checkpoint().clone();
            drop(first);
            let mut second = Trainer::new(network, objective, &input).unwrap();
            second.resume(kept).unwrap();
            second.round().unwrap();
            second.round().unwrap();
            assert_eq!(second.checkpoint(), whole.checkpoint(), "{loss}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_weight() {
        let plays = ring(40);
        for loss in ["softmax", "sampled_softmax", "gbce", "bce"] {
            let fit = |n| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
                pool.install(|| {
                    let (network, objective) = small(loss);
                    let mut trainer = Trainer::new(network, objective, &FitInput::of(plays.view())).unwrap();
                    trainer.round().unwrap();
                    trainer.checkpoint().clone()
                })
            };
            assert_eq!(fit(1), fit(3), "{loss}");
        }
    }

    #[test]
    fn each_loss_learns_the_way_around_the_ring() {
        let plays = ring(40);
        for loss in ["softmax", "sampled_softmax", "gbce", "bce"] {
            let (network, mut objective) = with_dropout(loss, 0.0);
            objective.training.rounds = 40;
            objective.training.patience = 40;
            let input = FitInput { seed: 1, ..FitInput::of(plays.view()) };
            let model = train(network, objective, &input).unwrap();
            let right = (0..40_u32).filter(|&at| {
                let mut out = Vec::new();
                model.recommend(
                    &Query::of_items(&[(at + 39) % 40, at]),
                    1,
                    &crate::ItemFilter::default(),
                    &mut out,
                );
                out[0].item == (at + 1) % 40
            });
            let right = right.count();
            assert!(right >= 30, "{loss}: {right} of 40");
        }
    }

    #[test]
    fn a_number_that_is_none_stops_training_with_step_and_group_and_the_weights_before_it() {
        let plays = ring(40);
        let (network, objective) = small("softmax");
        let mut trainer = Trainer::new(network, objective, &FitInput::of(plays.view())).unwrap();
        trainer.round().unwrap();
        let step = trainer.now.state.step;
        let at = trainer.network.layout.groups().iter().find(|g| g.name == "block.0.mlp.up.weight").unwrap();
        trainer.now.state.params[at.param.range().start] = f32::NAN;
        let before = trainer.now.state.params.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let message = trainer.round().unwrap_err().to_string();
        assert!(message.contains(&format!("step {step}")), "{message}");
        assert!(message.contains("weight of parameter group `block.0.mlp.up.weight`"), "{message}");
        assert_eq!(trainer.now.state.params.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), before);
    }

    #[test]
    fn no_listener_with_two_plays_is_a_clear_refusal() {
        let plays = OwnedSequences::from_items(3, [vec![1], vec![]]);
        let (network, objective) = small("softmax");
        let error = Trainer::new(network, objective, &FitInput::of(plays.view())).map(drop).unwrap_err();
        assert!(matches!(error, ModelError::NeedsData { .. }), "{error}");
    }

    #[test]
    fn a_very_long_history_and_items_out_of_range_are_handled() {
        let plays = ring(40);
        let (network, objective) = small("softmax");
        let mut trainer = Trainer::new(network, objective, &FitInput::of(plays.view())).unwrap();
        trainer.round().unwrap();
        let model = trainer.finish();
        let long: Vec<u32> = (0..100_000).map(|i| i % 45).collect();
        let mut out = Vec::new();
        model.recommend(&Query::of_items(&long), 5, &crate::ItemFilter::default(), &mut out);
        assert_eq!(out.len(), 5);
        model.recommend(&Query::of_items(&[99]), 5, &crate::ItemFilter::default(), &mut out);
        assert!(out.is_empty());
    }
}
