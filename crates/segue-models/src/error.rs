//! What can go wrong in a model, by what the caller can do about it.

use std::path::PathBuf;

/// An error of fitting, loading or asking a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The data lacks dates and the model needs them.
    #[error(
        "model `{model}` needs dated plays; this data has none. Use a model for undated profiles, or import timestamps"
    )]
    NeedsDates {
        /// Kind of the model.
        model: &'static str,
    },
    /// The data lacks something else the model needs.
    #[error("model `{model}` needs {what}; this data has none")]
    NeedsData {
        /// Kind of the model.
        model: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// Later plays cannot be added to the model.
    #[error(
        "plays cannot be added to model `{model}`: it is not made of counts that were kept. Fit it anew, or fit `markov`, `seq_rules` or `pctm` with `keep_counts = true`"
    )]
    CannotAdd {
        /// Kind of the model.
        model: &'static str,
    },
    /// No head of a ranker can be trained.
    #[error("model `{model}`: no head can be trained: {reasons}")]
    NoHead {
        /// Kind of the model.
        model: &'static str,
        /// Each head and why not.
        reasons: String,
    },
    /// A setting is outside its range.
    #[error("model `{model}`: `{setting}` is {value}; {rule}")]
    Config {
        /// Kind of the model.
        model: &'static str,
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// A table of settings cannot be read.
    #[error("model `{model}`: {message}")]
    Settings {
        /// Kind of the model.
        model: &'static str,
        /// What the parser says: names the setting.
        message: String,
    },
    /// A number of a training stopped being one.
    #[error(
        "model `{model}` diverged in step {step}: {what}. Try a lower `training.learning_rate`, or a `training.clip`"
    )]
    Diverged {
        /// Kind of the model.
        model: &'static str,
        /// The step, from 0; it is also the batch, since the order of windows follows from the seed.
        step: u64,
        /// Which number.
        what: String,
    },
    /// No model of this kind is registered.
    #[error("no model of kind `{kind}`; `kind` is one of {known}")]
    UnknownKind {
        /// What was asked for.
        kind: String,
        /// Kinds there are, comma-separated.
        known: String,
    },
    /// A shape does not fit.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What has the wrong shape.
        what: String,
        /// Expected size.
        expected: usize,
        /// Given size.
        got: usize,
    },
    /// A value of the data is outside its range.
    #[error("{what}, row {row}: {value}; {rule}")]
    Value {
        /// The column or quantity.
        what: String,
        /// 0-based row.
        row: usize,
        /// What is there.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// An artifact does not hold what it should.
    #[error("artifact {path}: expected {expected}, got {got}")]
    Artifact {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
