//! Tests of whole passes.

mod allocation;
