//! Sources: each proposes candidates for one request. One file each, and the one list of them.
//!
//! To add a source: write `sources/NAME.rs` and add its line to the list below. A model artifact needs
//! neither: its name in a shelf is enough ([`model`]).

use std::sync::Arc;

use segue_pipeline::Source;

use crate::config::ServingConfig;
use crate::query::Query;

pub mod model;

/// A built-in source.
pub struct SourceLine {
    /// Name in `sources` of a shelf.
    pub name: &'static str,
    /// One sentence for lists and help.
    pub about: &'static str,
    /// Whether it looks at the listener at all.
    pub is_personal: bool,
    pub(crate) make: fn(&ServingConfig) -> Arc<dyn Source<Query>>,
}

const PERSONAL: bool = true;
const FOR_ALL: bool = false;

/// Declares the modules and the list from one line per source: its name is its module's.
macro_rules! sources {
    ($($module:ident: $about:literal, $is_personal:expr, $make:expr;)+) => {
        $(pub mod $module;)+

        /// The built-in sources. Any other source name in a shelf is the name of a model artifact.
        pub const SOURCES: &[SourceLine] = &[$(SourceLine {
            name: stringify!($module),
            about: $about,
            is_personal: $is_personal,
            make: $make,
        }),+];
    };
}

sources! {
    recent: "what the listener played lately", PERSONAL, |_| Arc::new(recent::RecentSource);
    similar: "items like the last one enjoyed, or like the current one", PERSONAL, |_| Arc::new(similar::SimilarSource);
    new_releases: "new items of loved artists", PERSONAL, |c| Arc::new(new_releases::NewReleasesSource { days: c.new_release_days });
    saved: "what the listener saved, long unheard first", PERSONAL, |_| Arc::new(saved::SavedSource);
    popular: "what the market plays most", FOR_ALL, |_| Arc::new(popular::PopularSource);
}
