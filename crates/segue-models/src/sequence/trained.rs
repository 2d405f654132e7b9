//! What all sequence models share once trained: one adapter from a network to a registered model.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::registry::Model;
use crate::sequence::model::SequenceModel;
use crate::sequence::network::{Network, NetworkConfig};
use crate::sequence::run;
use crate::sequence::settings::Objective;
use crate::{FitInput, ItemFilter, ModelError, ModelParts, Query, Recommender, Scored, TrainingRun, Vectors};

/// The settings of one kind of sequence model, and what they stand for.
pub trait Architecture:
    Serialize + DeserializeOwned + Default + Copy + PartialEq + Debug + Send + Sync + 'static
{
    /// Name in `kind = "…"`.
    const KIND: &'static str;
    /// One sentence for lists and help.
    const ABOUT: &'static str;
    /// Settings worth tuning, as in [`Model::SEARCH`].
    const SEARCH: &'static str;

    /// These settings without what the data lacks: an artifact says so in its configuration.
    #[must_use]
    fn for_data(self, _input: &FitInput<'_>) -> Self {
        self
    }

    /// What the network looks like.
    fn network(&self) -> NetworkConfig;

    /// What its training minimises, and how.
    fn objective(&self) -> Objective;

    /// The network and what its training minimises, checked.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the first setting outside its range.
    fn plan(&self) -> Result<(Network, Objective), ModelError> {
        let (network, objective) = (self.network(), self.objective());
        network.check(Self::KIND)?;
        objective.check()?;
        Ok((Network::new(network), objective))
    }
}

/// A trained model of one architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained<A> {
    config: A,
    model: SequenceModel,
}

impl<A> Trained<A> {
    /// The trained network, for vectors of listeners and items.
    #[must_use]
    pub fn model(&self) -> &SequenceModel {
        &self.model
    }
}

impl<A: Architecture> Model for Trained<A> {
    type Config = A;

    const KIND: &'static str = A::KIND;
    const ABOUT: &'static str = A::ABOUT;
    const SEARCH: &'static str = A::SEARCH;

    fn fit(config: &A, input: &FitInput<'_>) -> Result<Self, ModelError> {
        Self::train(config, input, &mut TrainingRun::default())
    }

    fn settings_for(config: A, input: &FitInput<'_>) -> A {
        config.for_data(input)
    }

    fn train(config: &A, input: &FitInput<'_>, run: &mut TrainingRun<'_>) -> Result<Self, ModelError> {
        let config = config.for_data(input);
        let (network, objective) = config.plan()?;
        let model = run::train(network, objective, &config, input, run)?;
        Ok(Self { config, model })
    }

    fn load(config: A, parts: ModelParts) -> Result<Self, ModelError> {
        let (network, _) = config.plan()?;
        Ok(Self { config, model: SequenceModel::load(network, parts.tensors)? })
    }
}

impl<A: Architecture> Recommender for Trained<A> {
    fn kind(&self) -> &'static str {
        A::KIND
    }

    fn n_items(&self) -> u32 {
        self.model.n_items()
    }

    fn recommend(
        &self,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        self.model.recommend(query, k, filter, out);
        Ok(())
    }

    fn parts(&self) -> ModelParts {
        ModelParts::new(A::KIND, &self.config, self.model.tensors())
    }

    fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        self.model.similar_items(item, k)
    }

    fn vectors(&self) -> Option<&dyn Vectors> {
        Some(&self.model)
    }
}
