//! Splits, ranking metrics and offline evaluation.
