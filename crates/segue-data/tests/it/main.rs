//! Integration tests of `segue-data`, in one binary to keep linking cheap.

mod datasets;
mod log;
