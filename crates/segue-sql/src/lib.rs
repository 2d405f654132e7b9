//! SQL over the log, the snapshot and the slates.
