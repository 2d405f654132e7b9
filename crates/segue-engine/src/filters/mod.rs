//! Filters: each says which candidates stay and why the others go. One file each; the list is in
//! [`registry`](crate::registry).

pub mod already_playing;
pub mod consent;
pub mod explicit;
pub mod hidden;
pub mod market;
pub mod recently_played;
