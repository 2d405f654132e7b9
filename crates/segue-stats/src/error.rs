//! What can go wrong in a statistic, by what the caller can do about it.

/// An error of a statistic: the input does not allow an answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// Too few observations.
    #[error("{what}: {got} observations; at least {needed} are needed")]
    TooFew {
        /// Which input.
        what: &'static str,
        /// Observations given.
        got: usize,
        /// Observations needed.
        needed: usize,
    },
    /// Two inputs that belong together have different lengths.
    #[error("{what}: {got} values for {expected}; the lengths have to be equal")]
    LengthMismatch {
        /// Which input.
        what: &'static str,
        /// Length of the first.
        expected: usize,
        /// Length of the other.
        got: usize,
    },
    /// A number is outside its range, or not finite.
    #[error("{what} is {value}; {rule}")]
    Range {
        /// Which input.
        what: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        rule: &'static str,
    },
    /// All observations are equal where a spread is needed.
    #[error("{what} has no variance; the statistic is not defined")]
    NoVariance {
        /// Which input.
        what: &'static str,
    },
    /// A name is not one of those known.
    #[error("{what} is `{value}`; known are {known}")]
    Unknown {
        /// Which input.
        what: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        known: &'static str,
    },
}

/// `value` if it is finite.
///
/// # Errors
/// [`StatsError::Range`] otherwise.
pub(crate) fn finite(what: &'static str, value: f64) -> Result<f64, StatsError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(StatsError::Range { what, value, rule: "it has to be finite" })
    }
}

/// `value` if it lies strictly between 0 and 1.
///
/// # Errors
/// [`StatsError::Range`] otherwise.
pub(crate) fn share(what: &'static str, value: f64) -> Result<f64, StatsError> {
    if value > 0.0 && value < 1.0 {
        Ok(value)
    } else {
        Err(StatsError::Range { what, value, rule: "it has to be above 0 and below 1" })
    }
}

/// `value` if it is finite and above 0.
///
/// # Errors
/// [`StatsError::Range`] otherwise.
pub(crate) fn positive(what: &'static str, value: f64) -> Result<f64, StatsError> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(StatsError::Range { what, value, rule: "it has to be above 0 and finite" })
    }
}
