//! What can go wrong in an evaluation, by what the caller can do about it.

use segue_models::ModelError;
use segue_stats::StatsError;

use crate::split::Dropped;

/// An error of splitting, of a model under evaluation, or of the protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The split needs dates and the data has none.
    #[error(
        "split `{split}` needs dated plays; this data has none. Use `leave_one_out` for ordered data or `holdout` for profiles"
    )]
    NeedsDates {
        /// Name of the split.
        split: &'static str,
    },
    /// The split needs an order of plays and the data has none.
    #[error("split `{split}` needs plays in order; profiles have none. Use `holdout`")]
    NeedsOrder {
        /// Name of the split.
        split: &'static str,
    },
    /// The split needs sessions and the data has none.
    #[error(
        "split `{split}` needs plays with session numbers; this data has none. Use `leave_one_out` or import dated plays"
    )]
    NeedsSessions {
        /// Name of the split.
        split: &'static str,
    },
    /// The split needs a test part beside the plays.
    #[error("split `{split}` needs a test part beside the train part; none was given")]
    NeedsTest {
        /// Name of the split.
        split: &'static str,
    },
    /// The split is for data without dates.
    #[error(
        "split `{split}` would mix past and future of dated plays. Use `time` or `leave-one-out` (`global_time`, `leave_one_out` in a protocol file)"
    )]
    Dated {
        /// Name of the split.
        split: &'static str,
    },
    /// No user is left to test.
    #[error("split `{split}` leaves no user to test: {why} ({dropped})")]
    EmptySplit {
        /// Name of the split.
        split: &'static str,
        /// What the data lacks.
        why: String,
        /// What was dropped on the way.
        dropped: Box<Dropped>,
    },
    /// A setting of the protocol is outside its range.
    #[error("protocol: `{setting}` is {value}; {rule}")]
    Protocol {
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// Columns of the data do not fit together.
    #[error("data: {what} is {got}; {rule}")]
    Data {
        /// Which column or value.
        what: String,
        /// What was given.
        got: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// A model could not be fitted.
    #[error("model `{model}` could not be fitted: {source}")]
    Fit {
        /// Name of the model in the evaluation.
        model: String,
        /// Why.
        #[source]
        source: Box<ModelError>,
    },
    /// A model could not answer.
    #[error("model `{model}` failed for user {user}: {source}")]
    Recommend {
        /// Name of the model in the evaluation.
        model: String,
        /// External id of the user, or the row.
        user: String,
        /// Why.
        #[source]
        source: Box<ModelError>,
    },
    /// A model returned a score that is not finite.
    #[error("model `{model}` gave item {item} the score {score} for user {user}; scores are finite")]
    NotFinite {
        /// Name of the model in the evaluation.
        model: String,
        /// External id of the user, or the row.
        user: String,
        /// External id of the item, or the row.
        item: String,
        /// The score.
        score: f32,
    },
    /// A model broke the contract of `Recommender`.
    #[error("model `{model}` returned {what} for user {user}; {rule}")]
    Contract {
        /// Name of the model in the evaluation.
        model: String,
        /// External id of the user, or the row.
        user: String,
        /// What it returned.
        what: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// A file of recommendations cannot be opened.
    #[error("{}: the recommendations could not be opened: {source}", path.display())]
    Open {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of recommendations cannot be used.
    #[error("recommendations, line {line}: {what}; {rule}")]
    Recommendations {
        /// 1-based line, header included.
        line: u64,
        /// What is wrong.
        what: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// Predictions and labels do not fit together.
    #[error("predictions: {what} is {got}; {rule}")]
    Predictions {
        /// Which column or value.
        what: String,
        /// What was given.
        got: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// A statistic could not be computed.
    #[error(transparent)]
    Stats(#[from] StatsError),
}
