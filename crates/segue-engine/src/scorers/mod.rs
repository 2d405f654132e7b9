//! Scorers and the hydrator that feeds them. One file each; the list is in
//! [`registry`](crate::registry).

pub mod blend;
pub mod features;
pub mod ranker;
