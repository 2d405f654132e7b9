//! The stages that exist, by kind: one explicit list each. A new stage is a file and a line here.

use crate::config::ShelfConfig;
use crate::error::EngineError;

/// Names of the built-in sources. Any other source name in a shelf is a model artifact's name.
pub const SOURCES: &[&str] = &["recent", "similar", "new_releases", "popular"];
/// Names of the filters.
pub const FILTERS: &[&str] =
    &["market", "explicit", "hidden", "consent", "already_playing", "recently_played"];
/// Names of the selectors.
pub const SELECTORS: &[&str] = &["top", "explore"];

pub(crate) fn check_filters(names: &[String], at: &str) -> Result<(), EngineError> {
    for name in names {
        if !FILTERS.contains(&name.as_str()) {
            return Err(EngineError::Config {
                setting: at.to_owned(),
                value: format!("`{name}`"),
                rule: format!("the filters are {}", FILTERS.join(", ")),
            });
        }
    }
    Ok(())
}

pub(crate) fn check_shelf(shelf: &ShelfConfig, at: &str) -> Result<(), EngineError> {
    check_filters(&shelf.filters, &format!("{at}.filters"))?;
    if !SELECTORS.contains(&shelf.selector.as_str()) {
        return Err(EngineError::Config {
            setting: format!("{at}.selector"),
            value: format!("`{}`", shelf.selector),
            rule: format!("the selectors are {}", SELECTORS.join(", ")),
        });
    }
    Ok(())
}
