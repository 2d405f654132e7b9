//! Integration tests of the models, in one binary to keep linking cheap.

mod p_s3;
