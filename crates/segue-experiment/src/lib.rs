//! Experiments without I/O: who is in which arm, who was exposed, what is measured, what it means.
//!
//! | module | question |
//! |---|---|
//! | [`assignment`] | which arm does this listener, session or request belong to? |
//! | [`hash`] | the hash formats of Segue, Confidence, GrowthBook, Eppo and PlanOut |
//!
//! ```
//! use segue_experiment::{Allocation, Attributes, ExperimentSpec, Units};
//!
//! let spec: ExperimentSpec = serde_json::from_str(
//!     r#"{"name": "quieter-home", "arms": [{"name": "control", "weight": 1}, {"name": "quiet", "weight": 1}]}"#,
//! )?;
//! let allocation = Allocation::solve(&[spec], &[])?;
//! let experiment = allocation.experiment("quieter-home").unwrap();
//! let arm = experiment.assign(&Units::user("ada"), &Attributes::default()).unwrap();
//! assert!(["control", "quiet"].contains(&experiment.arm_name(arm)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod assignment;
pub mod error;
pub mod hash;

pub use assignment::{
    Allocation, ArmSpec, Attributes, Experiment, ExperimentSpec, HashFormat, HoldoutSpec, Target, Unit, Units,
};
pub use error::ExperimentError;
