//! The training loop: rounds of steps, validation, early stopping, exact resume, and going on from an
//! earlier model.
//!
//! Everything random is a function of the seed and the step, so a checkpoint is only weights,
//! moments, the step and what validation found: a resumed training ends with the same weights as an
//! uninterrupted one, bit for bit, wherever between two steps it stopped.

use segue_nn::optim::{Decay, Schedule};
use segue_nn::{Counter, Embedding, simd};
use segue_types::TimestampMs;

use crate::sequence::item_features::FeatureRows;
use crate::sequence::model::SequenceModel;
use crate::sequence::network::Network;
use crate::sequence::settings::Objective;
use crate::sequence::step::{State, StepReport, Stepper};
use crate::sequence::validation::ndcg_at_10;
use crate::sequence::windows::Windows;
use crate::{FitInput, ModelError, RoundReport};

/// Stream of the order of windows.
const ORDER: u64 = 0x0D_E5;

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
    /// The round under way.
    pub part: Part,
}

/// What the round under way has done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Part {
    /// Its steps so far.
    pub steps: u64,
    /// Its loss so far: a sum over steps of the mean per target, divided by the steps of a whole round.
    pub loss: f64,
    /// Its input tokens so far.
    pub n_tokens: u64,
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

    /// Takes the weights of an earlier model before the first step. `rows[i]` is the row there of item `i`
    /// here; items without one keep their new vectors. Moments start from zero. If anything is validated
    /// on, the earlier weights are the best so far, as round 0.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if the models differ, or `rows` is no map from this catalogue into that one.
    pub fn start_from(&mut self, earlier: &SequenceModel, rows: &[Option<u32>]) -> Result<(), ModelError> {
        let wrong =
            |what: &str, expected, got| Err(ModelError::Shape { what: what.to_owned(), expected, got });
        let state = &mut self.now.state;
        if earlier.params().len() != state.params.len() {
            return wrong("parameters of the earlier model", state.params.len(), earlier.params().len());
        }
        let table = earlier.item_vectors();
        if table.d != state.table.d {
            return wrong("size of the earlier model's vectors", state.table.d, table.d);
        }
        if rows.len() != state.table.n_rows() {
            return wrong("rows of the earlier model's items", state.table.n_rows(), rows.len());
        }
        if let Some(row) = rows.iter().flatten().find(|&&row| row as usize >= table.n_rows()) {
            return wrong("a row below the earlier model's items", table.n_rows(), *row as usize);
        }
        state.params.copy_from_slice(earlier.params());
        self.trained_before = vec![false; rows.len()];
        for (row, before) in rows.iter().enumerate().filter_map(|(row, before)| Some((row, (*before)?))) {
            state.table.table[row * table.d..(row + 1) * table.d].copy_from_slice(table.row(before));
            self.trained_before[row] = earlier.is_trained(before);
        }
        if let Some(ndcg) = self.validate() {
            let (params, table) = (self.now.state.params.clone(), self.now.state.table.clone());
            self.now.best = Some(Best { round: 0, ndcg, params, table });
        }
        Ok(())
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

/// Checks that a state is worth keeping.
///
/// # Errors
/// [`ModelError::Diverged`] names the first parameter group that is not finite, after the last step.
pub(crate) fn check_weights(network: &Network, state: &State, model: &'static str) -> Result<(), ModelError> {
    let what = match network.layout.check_finite("weight", &state.params) {
        Err(error) => error.to_string(),
        Ok(()) if !simd::all_finite(&state.table.table) => {
            "weight of parameter group `item table` is not finite".to_owned()
        }
        Ok(()) => return Ok(()),
    };
    Err(ModelError::Diverged { model, step: state.step.saturating_sub(1), what })
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
    fn a_training_that_stopped_within_a_round_ends_with_the_same_weights() {
        let plays = ring(40);
        let input = FitInput { seed: 3, ..FitInput::of(plays.view()) };
        for (loss, stop) in [("softmax", 7), ("sampled_softmax", 33)] {
            let (network, objective) = small(loss);
            let mut whole = Trainer::new(network.clone(), objective, &input).unwrap();
            whole.round().unwrap();
            whole.round().unwrap();
            let mut first = Trainer::new(network.clone(), objective, &input).unwrap();
            let mut kept = None;
            let mut stop_at = |c: &Checkpoint, _| {
                kept = (c.state.step == stop).then(|| c.clone());
                let stopped = ModelError::Diverged { model: "x", step: stop, what: String::new() };
                if kept.is_some() { Err(stopped) } else { Ok(()) }
            };
            while first.round_with(&mut stop_at).is_ok() {}
            let mut second = Trainer::new(network, objective, &input).unwrap();
            second.resume(kept.unwrap()).unwrap();
            while second.checkpoint().round < 2 {
                second.round().unwrap();
            }
            assert_eq!(second.checkpoint(), whole.checkpoint(), "{loss}");
        }
    }

    /// The plays of a ring of 44 items whose rows differ from those of the ring of 40: item `i` is row
    /// `rows[i]`, and the row of the ring of 40 for each of these rows.
    fn grown() -> (OwnedSequences, Vec<Option<u32>>) {
        let row = |item: u32| (item * 7 + 3) % 44;
        let users = (0..60).map(|u| (0..3 + u % 7).map(|i| row((u * 5 + i) % 44)).collect());
        let mut before = vec![None; 44];
        (0..40).for_each(|item| before[row(item) as usize] = Some(item));
        (OwnedSequences::from_items(44, users), before)
    }

    fn trained<'a>(
        plays: &'a OwnedSequences,
        earlier: Option<(&SequenceModel, &[Option<u32>])>,
    ) -> Trainer<'a> {
        let (network, mut objective) = with_dropout("sampled_softmax", 0.0);
        objective.training.rounds = 40;
        objective.training.patience = 40;
        objective.training.validation_share = 0.5;
        let input = FitInput { seed: 1, ..FitInput::of(plays.view()) };
        let mut trainer = Trainer::new(network, objective, &input).unwrap();
        if let Some((model, rows)) = earlier {
            trainer.start_from(model, rows).unwrap();
        }
        while !trainer.is_done() {
            trainer.round().unwrap();
        }
        trainer
    }

    #[test]
    fn growth_keeps_old_rows_bit_for_bit_and_gives_new_items_seeded_ones() {
        let small_plays = ring(40);
        let earlier = trained(&small_plays, None).finish();
        let (plays, rows) = grown();
        let (network, objective) = with_dropout("sampled_softmax", 0.0);
        let input = FitInput { seed: 9, ..FitInput::of(plays.view()) };
        let mut trainer = Trainer::new(network.clone(), objective, &input).unwrap();
        trainer.start_from(&earlier, &rows).unwrap();
        let (state, fresh) = (&trainer.checkpoint().state, network.new_table(44, 9));
        assert_eq!(state.params, earlier.params());
        for (row, before) in (0..44).zip(&rows) {
            let want = before.map_or_else(|| fresh.row(row), |before| earlier.item_vectors().row(before));
            assert_eq!(state.table.row(row), want, "row {row}");
        }
        let error = trainer.start_from(&earlier, &rows[1..]).unwrap_err().to_string();
        assert!(error.contains("expected 44, got 43"), "{error}");
    }

    #[test]
    fn a_warm_start_reaches_the_quality_of_a_cold_one_in_fewer_rounds() {
        let small_plays = ring(40);
        let earlier = trained(&small_plays, None).finish();
        let (plays, rows) = grown();
        let cold = trained(&plays, None);
        let goal = 0.9 * cold.checkpoint().best.as_ref().unwrap().ndcg;
        let warm = trained(&plays, Some((&earlier, &rows)));
        let rounds = |trainer: &Trainer<'_>| {
            let reached = |r: &&RoundReport| r.validation_ndcg.is_some_and(|ndcg| ndcg >= goal);
            trainer.checkpoint().history.iter().find(reached).map(|r| r.round)
        };
        let (warm, cold) = (rounds(&warm), rounds(&cold));
        assert!(
            warm.is_some_and(|warm| cold.is_some_and(|cold| 2 * warm <= cold)),
            "{warm:?}, cold {cold:?}"
        );
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
