//! Sources: each proposes candidates for one request. One file each; the list is in
//! [`registry`](crate::registry).

pub mod model;
pub mod new_releases;
pub mod popular;
pub mod recent;
pub mod similar;
