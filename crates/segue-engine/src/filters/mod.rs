//! Filters: each says which candidates stay and why the others go. One file each, and the one list of
//! them.
//!
//! To add a filter: write `filters/NAME.rs` and add its line to the list below.

use std::sync::Arc;

use segue_pipeline::{FailurePolicy, Filter};

use crate::config::ServingConfig;
use crate::query::Query;

/// A filter.
pub struct FilterLine {
    /// Name in `filters`.
    pub name: &'static str,
    /// One sentence for lists and help.
    pub about: &'static str,
    /// What happens if it fails. Filters that fail closed run whether named or not.
    pub policy: FailurePolicy,
    pub(crate) make: fn(&ServingConfig) -> Arc<dyn Filter<Query>>,
}

/// Declares the modules and the list from one line per filter: its name is its module's.
macro_rules! filters {
    ($($module:ident: $about:literal, $policy:ident, $make:expr;)+) => {
        $(pub mod $module;)+

        /// The filters. Those that fail closed protect the listener or the service.
        pub const FILTERS: &[FilterLine] = &[$(FilterLine {
            name: stringify!($module),
            about: $about,
            policy: FailurePolicy::$policy,
            make: $make,
        }),+];
    };
}

filters! {
    market: "playable in the market now", FailClosed, |_| Arc::new(market::MarketFilter);
    explicit: "no explicit items where unwanted", FailClosed, |_| Arc::new(explicit::ExplicitFilter);
    hidden: "nothing the listener hid", FailClosed, |_| Arc::new(hidden::HiddenFilter);
    consent: "nothing personal without consent", FailClosed, |_| Arc::new(consent::ConsentFilter);
    already_playing: "not the current item, nor what just played", Skip, |_| Arc::new(already_playing::AlreadyPlayingFilter);
    recently_played: "nothing heard lately", Skip, |c| Arc::new(recently_played::RecentlyPlayedFilter { hours: c.recently_played_hours });
    recently_skipped: "nothing whose latest play was skipped lately", Skip, |c| Arc::new(recently_skipped::RecentlySkippedFilter { hours: c.recently_played_hours });
}
