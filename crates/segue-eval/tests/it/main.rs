//! The evaluator as a whole: protocols, models, reports.

mod edges;
mod off_policy_vectors;
mod p_s3;
mod protocol_runs;
mod recommendation_file;
mod support;
