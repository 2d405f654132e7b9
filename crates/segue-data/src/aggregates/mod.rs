//! The aggregates, one per file.

pub mod item_stats;

/// Two plays of one session are listened to together if at most this many plays apart.
pub const CO_LISTEN_WINDOW: usize = 10;
/// Neighbours kept per item.
pub const CO_LISTEN_TOP: usize = 50;
