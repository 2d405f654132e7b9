//! What a training that stopped needs to go on.

use segue_nn::{Embedding, simd};

use super::Trainer;
use crate::sequence::network::Network;
use crate::sequence::step::State;
use crate::{ModelError, RoundReport};

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

impl Trainer<'_> {
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
    use super::super::tests::{ring, small};
    use super::*;
    use crate::FitInput;

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
}
