//! The parts of `segue ope`: its file, our own log as a source, and the report.

pub(crate) mod log_source;
pub(crate) mod page;
pub(crate) mod settings;
