//! Experiments without I/O: who is in which arm, who was exposed, what is measured, what it means.
//!
//! | module | question |
//! |---|---|
//! | [`assignment`] | which arm does this listener, session or request belong to? |
//! | [`hash`] | the hash formats of Segue, Confidence, GrowthBook, Eppo and PlanOut |
//! | [`exposure`] | who met what their arm changes, and when first? |
//! | [`metric`] | what is measured, and what is kept of it per unit? |
//! | [`analysis`] | what do the data say, and what is to be done? |
//! | [`design`] | how many units does it need? |
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

pub mod analysis;
pub mod assignment;
pub mod design;
pub mod error;
pub mod exposure;
pub mod hash;
pub mod metric;

pub use assignment::{
    Allocation, ArmSpec, Attributes, Experiment, ExperimentSpec, HashFormat, HoldoutSpec, Target, Unit, Units,
};
pub use error::ExperimentError;
