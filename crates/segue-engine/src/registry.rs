//! The stages that exist, by kind: one explicit list each, name → constructor.
//! A new stage is a file and a line here.

use std::sync::Arc;

use segue_pipeline::compose::SELECTORS;
use segue_pipeline::{FailurePolicy, Filter, Source};

use crate::config::{ServingConfig, ShelfConfig};
use crate::error::EngineError;
use crate::filters::already_playing::AlreadyPlayingFilter;
use crate::filters::consent::ConsentFilter;
use crate::filters::explicit::ExplicitFilter;
use crate::filters::hidden::HiddenFilter;
use crate::filters::market::MarketFilter;
use crate::filters::recently_played::RecentlyPlayedFilter;
use crate::query::Query;
use crate::sources::model::ModelSource;
use crate::sources::new_releases::NewReleasesSource;
use crate::sources::popular::PopularSource;
use crate::sources::recent::RecentSource;
use crate::sources::similar::SimilarSource;

type MakeSource = fn(&ServingConfig) -> Arc<dyn Source<Query>>;
type MakeFilter = fn(&ServingConfig) -> Arc<dyn Filter<Query>>;

/// A built-in source.
pub struct SourceLine {
    /// Name in `sources` of a shelf.
    pub name: &'static str,
    /// One sentence for lists and help.
    pub about: &'static str,
    /// Whether it looks at the listener at all.
    pub is_personal: bool,
    make: MakeSource,
}

/// A filter.
pub struct FilterLine {
    /// Name in `filters`.
    pub name: &'static str,
    /// One sentence for lists and help.
    pub about: &'static str,
    /// What happens if it fails. Filters that fail closed run whether named or not.
    pub policy: FailurePolicy,
    make: MakeFilter,
}

const fn source(name: &'static str, about: &'static str, is_personal: bool, make: MakeSource) -> SourceLine {
    SourceLine { name, about, is_personal, make }
}

const fn filter(
    name: &'static str,
    about: &'static str,
    policy: FailurePolicy,
    make: MakeFilter,
) -> FilterLine {
    FilterLine { name, about, policy, make }
}

/// The built-in sources. Any other source name in a shelf is the name of a model artifact.
pub const SOURCES: &[SourceLine] = &[
    source("recent", "what the listener played lately", true, |_| Arc::new(RecentSource)),
    source("similar", "items like the last one enjoyed, or like the current one", true, |_| {
        Arc::new(SimilarSource)
    }),
    source("new_releases", "new items of loved artists", true, |c| {
        Arc::new(NewReleasesSource { days: c.new_release_days })
    }),
    source("popular", "what the market plays most", false, |_| Arc::new(PopularSource)),
];

/// The filters. Those that fail closed protect the listener or the service.
pub const FILTERS: &[FilterLine] = &[
    filter("market", "playable in the market now", FailurePolicy::FailClosed, |_| Arc::new(MarketFilter)),
    filter("explicit", "no explicit items where unwanted", FailurePolicy::FailClosed, |_| {
        Arc::new(ExplicitFilter)
    }),
    filter("hidden", "nothing the listener hid", FailurePolicy::FailClosed, |_| Arc::new(HiddenFilter)),
    filter("consent", "nothing personal without consent", FailurePolicy::FailClosed, |_| {
        Arc::new(ConsentFilter)
    }),
    filter("already_playing", "not the current item, nor what just played", FailurePolicy::Skip, |_| {
        Arc::new(AlreadyPlayingFilter)
    }),
    filter("recently_played", "nothing heard lately", FailurePolicy::Skip, |c| {
        Arc::new(RecentlyPlayedFilter { hours: c.recently_played_hours })
    }),
];

/// Whether a source is built in.
#[must_use]
pub fn is_builtin_source(name: &str) -> bool {
    SOURCES.iter().any(|line| line.name == name)
}

/// Whether a source does not look at the listener.
#[must_use]
pub fn is_impersonal(name: &str) -> bool {
    SOURCES.iter().any(|line| line.name == name && !line.is_personal)
}

pub(crate) fn make_source(name: &str, config: &ServingConfig) -> Arc<dyn Source<Query>> {
    match SOURCES.iter().find(|line| line.name == name) {
        Some(line) => (line.make)(config),
        None => Arc::new(ModelSource { name: name.to_owned() }),
    }
}

/// The filters of these names in the order given, after all protecting ones in registry order.
pub(crate) fn make_filters(
    names: &[String],
    with_protecting: bool,
    config: &ServingConfig,
) -> Vec<segue_pipeline::FilterStage<Query>> {
    let is_protecting = |line: &&FilterLine| line.policy == FailurePolicy::FailClosed;
    let protecting = FILTERS.iter().filter(is_protecting).filter(|_| with_protecting);
    let named = names.iter().filter_map(|name| FILTERS.iter().find(|line| line.name == name));
    let named = named.filter(|line| !(with_protecting && is_protecting(line)));
    protecting
        .chain(named)
        .map(|line| segue_pipeline::FilterStage {
            name: line.name.into(),
            stage: (line.make)(config),
            policy: line.policy,
        })
        .collect()
}

pub(crate) fn check_filters(names: &[String], at: &str) -> Result<(), EngineError> {
    for name in names {
        if !FILTERS.iter().any(|line| line.name == name) {
            let known: Vec<&str> = FILTERS.iter().map(|line| line.name).collect();
            return Err(EngineError::Config {
                setting: at.to_owned(),
                value: format!("`{name}`"),
                rule: format!("the filters are {}", known.join(", ")),
            });
        }
    }
    Ok(())
}

pub(crate) fn check_shelf(shelf: &ShelfConfig, at: &str) -> Result<(), EngineError> {
    check_filters(&shelf.filters, &format!("{at}.filters"))?;
    for name in &shelf.sources {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(EngineError::Config {
                setting: format!("{at}.sources"),
                value: format!("`{name}`"),
                rule: "a source is a built-in one or the name of an artifact: letters, digits, `_`, `-`"
                    .to_owned(),
            });
        }
    }
    if !SELECTORS.iter().any(|(name, _)| *name == shelf.selector) {
        let known: Vec<&str> = SELECTORS.iter().map(|(name, _)| *name).collect();
        return Err(EngineError::Config {
            setting: format!("{at}.selector"),
            value: format!("`{}`", shelf.selector),
            rule: format!("the selectors are {}", known.join(", ")),
        });
    }
    Ok(())
}
