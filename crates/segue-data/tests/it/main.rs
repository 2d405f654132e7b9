//! Integration tests of `segue-data`, in one binary to keep linking cheap.

mod bad_input;
mod datasets;
mod exports;
mod fuzz;
mod log;
mod prepare;
mod tables;
