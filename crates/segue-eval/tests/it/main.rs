//! The evaluator as a whole: protocols, models, reports.

mod dataset_file;
mod edges;
mod p_s3;
mod protocol_runs;
mod recommendation_file;
mod slices_and_seeds;
mod support;
