//! The training loop: rounds of steps, validation, early stopping; [`checkpoint`]: exact resume;
//! `warm_start`: going on from an earlier model.
//!
//! Everything random is a function of the seed and the step, so a checkpoint is only weights,
//! moments, the step and what validation found: a resumed training ends with the same weights as an
//! uninterrupted one, bit for bit, wherever between two steps it stopped.

use segue_nn::Counter;
use segue_nn::optim::{Decay, Schedule};
use segue_types::TimestampMs;

use crate::sequence::item_features::FeatureRows;
use crate::sequence::model::SequenceModel;
use crate::sequence::network::Network;
use crate::sequence::settings::Objective;
use crate::sequence::step::{State, StepReport, Stepper};
use crate::sequence::validation::ndcg_at_10;
use crate::sequence::windows::Windows;
use crate::{FitInput, ModelError, RoundReport};

pub mod checkpoint;
mod warm_start;

pub(crate) use checkpoint::check_weights;
pub use checkpoint::{Best, Checkpoint, Part};

/// Stream of the order of windows.
const ORDER: u64 = 0x0D_E5;

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
    /// `[n_items]` whether an earlier model had trained the item; empty without one.
    trained_before: Vec<bool>,
}

impl<'a> Trainer<'a> {
    /// Before the first step.
    ///
    /// # Errors
    /// If a setting is out of range, or there is no listener with two plays to learn from.
    pub fn new(network: Network, objective: Objective, input: &FitInput<'a>) -> Result<Self, ModelError> {
        Self::newer(network, objective, input, None)
    }

    /// As [`new`](Self::new), but learns from and validates on nothing but windows that hold a play known
    /// after `since`, for a model that has seen the others. Undated data is taken as a whole.
    ///
    /// # Errors
    /// As `new`, and if there is no such play.
    pub fn newer(
        network: Network,
        objective: Objective,
        input: &FitInput<'a>,
        since: Option<TimestampMs>,
    ) -> Result<Self, ModelError> {
        network.config.check(objective.model)?;
        objective.check()?;
        let t = &objective.training;
        let windows = Windows::newer(input, objective.targets, network.config.max_history, t, since)
            .with_user_tokens(!network.config.user_features.are_off());
        if windows.is_empty() {
            let what = if since.is_some() {
                "listeners with a play that the earlier artifact has not seen, and one before it"
            } else {
                "listeners with two plays in order, the later one wanted"
            };
            return Err(ModelError::NeedsData { model: objective.model, what });
        }
        let features = FeatureRows::new(input, objective.item_features);
        let state = State::new(&network, &objective, features.n_rows(), input.seed);
        let stepper = Stepper::new(&network, &objective, &windows.counts, input.seed);
        let stepper = stepper.with_features(features.clone());
        let now = Checkpoint { state, round: 0, best: None, history: Vec::new(), part: Part::default() };
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
            trained_before: vec![],
        })
    }

    fn validate(&self) -> Option<f64> {
        let state = &self.now.state;
        let sums = (!self.features.is_empty()).then(|| self.features.sums(&state.table));
        let vectors = sums.as_ref().unwrap_or(&state.table);
        ndcg_at_10(&self.network, &state.params, vectors, &self.windows)
    }

    /// Input tokens of a round.
    #[must_use]
    pub fn tokens_per_round(&self) -> u64 {
        self.windows.n_tokens() * (self.steps_per_round() / self.steps_per_pass())
    }

    /// When the system knew the newest play, held-out ones included; `None` for undated data.
    #[must_use]
    pub fn newest_play(&self) -> Option<TimestampMs> {
        self.windows.newest_play
    }

    fn steps_per_pass(&self) -> u64 {
        self.windows.len().div_ceil(self.objective.training.batch) as u64
    }

    fn steps_per_round(&self) -> u64 {
        let per_pass = self.steps_per_pass();
        self.objective.training.round_steps.div_ceil(per_pass).max(1) * per_pass
    }

    /// What to keep so that training can go on later.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.now
    }

    /// Whether training has ended: all rounds done, or none better for `patience` rounds.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let t = &self.objective.training;
        let stale = self.now.best.as_ref().is_some_and(|b| self.now.round - b.round >= t.patience);
        let perfect = self.now.best.as_ref().is_some_and(|b| b.ndcg >= 1.0);
        self.now.round >= t.rounds || stale || perfect
    }

    /// One round, or what is left of it: its steps, then validation.
    ///
    /// # Errors
    /// [`ModelError::Diverged`] if a number stops being finite; the checkpoint before it is intact.
    pub fn round(&mut self) -> Result<RoundReport, ModelError> {
        self.round_with(&mut |_, _| Ok(()))
    }

    /// As [`round`](Self::round); `after_step` is told the tokens of each step and may keep the checkpoint.
    ///
    /// # Errors
    /// As `round`, and what `after_step` gives.
    pub fn round_with(
        &mut self,
        after_step: &mut dyn FnMut(&Checkpoint, u64) -> Result<(), ModelError>,
    ) -> Result<RoundReport, ModelError> {
        let n_steps = self.steps_per_round();
        while self.now.part.steps < n_steps {
            let report = self.step()?;
            let part = &mut self.now.part;
            part.steps += 1;
            part.loss += report.loss / n_steps as f64;
            part.n_tokens += report.n_tokens as u64;
            after_step(&self.now, report.n_tokens as u64)?;
        }
        // The last step of a round has no next one to notice what it did.
        check_weights(&self.network, &self.now.state, self.objective.model)?;
        self.now.round += 1;
        let validation_ndcg = self.validate();
        let Part { loss, n_tokens, .. } = std::mem::take(&mut self.now.part);
        let state = &self.now.state;
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

    fn step(&mut self) -> Result<StepReport, ModelError> {
        let t = self.objective.training;
        let schedule = Schedule {
            peak: t.learning_rate,
            warmup_steps: t.warmup_steps,
            total_steps: 0,
            decay: Decay::Constant,
        };
        let step = self.now.state.step;
        let (pass, batch) = (step / self.steps_per_pass(), step % self.steps_per_pass());
        if self.order_of != pass {
            self.order = Counter::new(self.seed, ORDER).fork(pass).permutation(self.windows.len());
            self.order_of = pass;
        }
        let first = batch as usize * t.batch;
        let rows = &self.order[first..self.windows.len().min(first + t.batch)];
        self.windows.fill(rows, &mut self.stepper.batches);
        let n_batches = self.steps_per_pass();
        self.stepper.step(&mut self.now.state, schedule.rate(step)).map_err(|error| match error {
            ModelError::Diverged { model, step, what } => {
                let what = format!("{what}, in batch {batch} of {n_batches} of pass {pass}");
                ModelError::Diverged { model, step, what }
            }
            other => other,
        })
    }

    /// The best weights found, or the last ones if nothing was held out.
    #[must_use]
    pub fn finish(self) -> SequenceModel {
        let (params, table) = match self.now.best {
            Some(best) => (best.params, best.table),
            None => (self.now.state.params, self.now.state.table),
        };
        let (table, mut trained) = self.features.answering(&table, &self.windows.counts);
        trained.iter_mut().zip(&self.trained_before).for_each(|(now, &before)| *now |= before);
        SequenceModel::new(self.network, params, table, trained)
    }
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::*;
    use crate::Query;
    use crate::registry::Model;
    use crate::sequence::{Architecture, ESasRec, SasRec};

    /// Listeners who walk around a ring of `n` items, each from a place of their own.
    pub(super) fn ring(n: u32) -> OwnedSequences {
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

    pub(super) fn small(loss: &str) -> (Network, Objective) {
        with_dropout(loss, 0.3)
    }

    pub(super) fn with_dropout(loss: &str, dropout: f32) -> (Network, Objective) {
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
            let mut trainer = Trainer::new(network, objective, &input).unwrap();
            while !trainer.is_done() {
                trainer.round().unwrap();
            }
            let model = trainer.finish();
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
        assert!(message.contains("in batch"), "{message}");
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
