//! Integration tests of the models, in one binary to keep linking cheap.

mod artifacts;
mod conformance;
mod p_s3;
