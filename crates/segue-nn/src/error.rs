//! What can go wrong in a building block, by what the caller can do about it.

/// An error of configuration or of training.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// A setting is outside its range.
    #[error("`{setting}` is {value}; {rule}")]
    Config {
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// A number stopped being one.
    #[error("{what} of parameter group `{group}` is not finite")]
    NotFinite {
        /// `gradient` or `weight`.
        what: &'static str,
        /// Name of the group.
        group: String,
    },
}
