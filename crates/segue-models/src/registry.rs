//! The one list of retrieval models: kind → how to fit it and how to load it.
//!
//! The list itself stands in [`retrieval`](crate::retrieval); a new model is a file there and a line.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::retrieval::RECOMMENDERS;
use crate::{FitInput, ModelError, ModelParts, Recommender, TrainingRun};

/// A retrieval model that can be fitted and loaded.
pub trait Model: Recommender + Sized + 'static {
    /// Settings with documented defaults; unknown settings are refused.
    type Config: Serialize + DeserializeOwned + Default;

    /// Name in `kind = "…"` of the configuration and in artifacts.
    const KIND: &'static str;
    /// One sentence for lists and help.
    const ABOUT: &'static str;

    /// Whether the answer depends on the history of the query.
    const PERSONAL: bool = true;

    /// Settings worth trying, as a TOML table that [`SearchSpace`](crate::SearchSpace) reads; empty if there is
    /// nothing to tune.
    const SEARCH: &'static str = "";

    /// Learns from `input`. Deterministic whatever the number of threads.
    ///
    /// # Errors
    /// If a setting is out of range or the data lacks what the model needs.
    fn fit(config: &Self::Config, input: &FitInput<'_>) -> Result<Self, ModelError>;

    /// As [`fit`](Self::fit), for models whose training takes long: with checkpoints, an earlier model to
    /// start from, and progress. Models that are fitted in one go need none of it.
    ///
    /// # Errors
    /// As `fit`, and if a checkpoint cannot be written.
    fn train(
        config: &Self::Config,
        input: &FitInput<'_>,
        run: &mut TrainingRun<'_>,
    ) -> Result<Self, ModelError> {
        let _ = run;
        Self::fit(config, input)
    }

    /// The settings as an artifact of a model fitted to `input` says them: without what the data lacks.
    #[must_use]
    fn settings_for(config: Self::Config, input: &FitInput<'_>) -> Self::Config {
        let _ = input;
        config
    }

    /// Rebuilds the model from what [`Recommender::parts`] gave. Checks every shape and bound.
    ///
    /// # Errors
    /// [`ModelError::Artifact`] if the parts do not make a model.
    fn load(config: Self::Config, parts: ModelParts) -> Result<Self, ModelError>;
}

type TrainFn =
    fn(&toml::Table, &FitInput<'_>, &mut TrainingRun<'_>) -> Result<Box<dyn Recommender>, ModelError>;
type SettingsFn = fn(&toml::Table, &FitInput<'_>) -> Result<serde_json::Value, ModelError>;
type LoadFn = fn(ModelParts) -> Result<Box<dyn Recommender>, ModelError>;

/// One line of the registry.
pub struct RecommenderKind {
    /// Name of the kind.
    pub kind: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Whether the answer depends on the history of the query.
    pub personal: bool,
    /// Settings worth trying: see [`Model::SEARCH`].
    pub search: &'static str,
    train: TrainFn,
    load: LoadFn,
    settings_for: SettingsFn,
    check_config: fn(&toml::Table) -> Result<serde_json::Value, ModelError>,
}

impl RecommenderKind {
    /// The registry line of a model.
    #[must_use]
    pub const fn of<M: Model>() -> Self {
        Self {
            kind: M::KIND,
            about: M::ABOUT,
            personal: M::PERSONAL,
            search: M::SEARCH,
            train: |settings, input, run| {
                input.check(M::KIND)?;
                Ok(Box::new(M::train(&parse::<M>(settings)?, input, run)?))
            },
            load: |parts| {
                let config = serde_json::from_value(parts.config.clone())
                    .map_err(|e| parts.tensors.wrong(format!("settings of `{}`", M::KIND), e.to_string()))?;
                Ok(Box::new(M::load(config, parts)?))
            },
            settings_for: |settings, input| to_json::<M>(M::settings_for(parse::<M>(settings)?, input)),
            check_config: |settings| to_json::<M>(parse::<M>(settings)?),
        }
    }

    /// Fits the model with the settings of its TOML table (without `kind`).
    ///
    /// # Errors
    /// If the settings or the data do not suit the model.
    pub fn fit(
        &self,
        settings: &toml::Table,
        input: &FitInput<'_>,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        self.train(settings, input, &mut TrainingRun::default())
    }

    /// As [`fit`](Self::fit), with what a long training needs besides.
    ///
    /// # Errors
    /// As `fit`, and if a checkpoint cannot be written.
    pub fn train(
        &self,
        settings: &toml::Table,
        input: &FitInput<'_>,
        run: &mut TrainingRun<'_>,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        (self.train)(settings, input, run)
    }

    /// Rebuilds a model from its parts.
    ///
    /// # Errors
    /// [`ModelError::Artifact`] if the parts do not make a model.
    pub fn load(&self, parts: ModelParts) -> Result<Box<dyn Recommender>, ModelError> {
        (self.load)(parts)
    }

    /// All settings as an artifact of a model fitted to `input` says them: see [`Model::settings_for`].
    ///
    /// # Errors
    /// [`ModelError::Settings`] names an unknown or malformed setting.
    pub fn settings_for(
        &self,
        settings: &toml::Table,
        input: &FitInput<'_>,
    ) -> Result<serde_json::Value, ModelError> {
        (self.settings_for)(settings, input)
    }

    /// All settings with the defaults filled in; for checks at start and for reference pages.
    ///
    /// # Errors
    /// [`ModelError::Settings`] names an unknown or malformed setting.
    pub fn settings(&self, settings: &toml::Table) -> Result<serde_json::Value, ModelError> {
        (self.check_config)(settings)
    }
}

fn to_json<M: Model>(config: M::Config) -> Result<serde_json::Value, ModelError> {
    serde_json::to_value(config).map_err(|e| ModelError::Settings { model: M::KIND, message: e.to_string() })
}

/// The registry line of a kind.
///
/// # Errors
/// [`ModelError::UnknownKind`] lists the kinds there are.
pub fn recommender_kind(kind: &str) -> Result<&'static RecommenderKind, ModelError> {
    RECOMMENDERS.iter().find(|line| line.kind == kind).ok_or_else(|| ModelError::UnknownKind {
        kind: kind.to_owned(),
        known: RECOMMENDERS.iter().map(|line| line.kind).collect::<Vec<_>>().join(", "),
    })
}

/// Fits the model of a `[model.NAME]` table: `kind` names it, the rest are its settings.
///
/// # Errors
/// If `kind` is missing or unknown, or the settings or the data do not suit the model.
pub fn fit_recommender(
    table: &toml::Table,
    input: &FitInput<'_>,
) -> Result<Box<dyn Recommender>, ModelError> {
    let (kind, settings) = split_kind(table)?;
    recommender_kind(&kind)?.fit(&settings, input)
}

/// Splits a `[model.NAME]` table into its `kind` and the other settings.
///
/// # Errors
/// [`ModelError::UnknownKind`] if `kind` is missing or not a string.
pub fn split_kind(table: &toml::Table) -> Result<(String, toml::Table), ModelError> {
    let mut settings = table.clone();
    match settings.remove("kind") {
        Some(toml::Value::String(kind)) => Ok((kind, settings)),
        other => recommender_kind(&other.map_or_else(String::new, |v| v.to_string()))
            .map(|line| (line.kind.to_owned(), settings)),
    }
}

fn parse<M: Model>(settings: &toml::Table) -> Result<M::Config, ModelError> {
    settings.clone().try_into().map_err(|e: toml::de::Error| ModelError::Settings {
        model: M::KIND,
        message: e.message().to_owned(),
    })
}
