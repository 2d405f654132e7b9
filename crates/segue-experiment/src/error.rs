//! What can go wrong in an experiment, by what its owner can do about it.

use segue_stats::StatsError;

/// An error of an experiment's specification or of its data.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A specification that breaks a rule.
    #[error("experiment `{experiment}`: {what} is {value}; {rule}")]
    Spec {
        /// Name of the experiment.
        experiment: String,
        /// Which field.
        what: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// Two experiments, arms, metrics or holdouts share a name.
    #[error("{what} `{name}` is there twice; names are unique")]
    Duplicate {
        /// What kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that nothing carries.
    #[error("{what} `{name}` is not known; known are {known}")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A layer has no room left.
    #[error(
        "experiment `{experiment}` asks for {asked:.4} of the units and only {left:.4} are free beside its \
         exclusion groups and holdouts; lower its `share`, or end another experiment of the group"
    )]
    NoRoom {
        /// Name of the experiment.
        experiment: String,
        /// Share asked for.
        asked: f64,
        /// Share that is free.
        left: f64,
    },
    /// Text that is not the TOML it should be.
    #[error("{what}: {message}")]
    Toml {
        /// Which text.
        what: &'static str,
        /// Why, with the line.
        message: String,
    },
    /// A statistic could not be computed.
    #[error("metric `{metric}`: {source}")]
    Statistic {
        /// Name of the metric.
        metric: String,
        /// Why.
        #[source]
        source: StatsError,
    },
    /// Statistics outside any metric.
    #[error(transparent)]
    Stats(#[from] StatsError),
}
