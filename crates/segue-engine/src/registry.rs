//! Looks stages up by name. The lists themselves stand with the stages, in
//! [`sources`](crate::sources) and [`filters`](crate::filters).

use std::sync::Arc;

use segue_pipeline::compose::SELECTORS;
use segue_pipeline::{FailurePolicy, Source};

use crate::config::{ServingConfig, ShelfConfig};
use crate::error::EngineError;
pub use crate::filters::{FILTERS, FilterLine};
use crate::query::Query;
use crate::sources::model::ModelSource;
pub use crate::sources::{SOURCES, SourceLine};

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
