//! The metrics of a music service, over Segue's own tables.

use serde::Deserialize;

use super::MetricSpec;
use crate::ExperimentError;

/// The catalogue as TOML, to read or to copy from.
#[must_use]
pub const fn catalogue_text() -> &'static str {
    include_str!("catalogue.toml")
}

/// The catalogue.
///
/// # Errors
/// Never for the catalogue that is built in; a test reads it.
pub fn catalogue() -> Result<Vec<MetricSpec>, ExperimentError> {
    #[derive(Deserialize)]
    struct File {
        metrics: Vec<MetricSpec>,
    }
    toml::from_str::<File>(catalogue_text())
        .map(|f| f.metrics)
        .map_err(|e| ExperimentError::Toml { what: "the metric catalogue", message: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_catalogue_is_complete_and_has_a_name_of_its_own() {
        let metrics = catalogue().unwrap();
        for (at, metric) in metrics.iter().enumerate() {
            metric.check().unwrap();
            assert!(metric.sql.contains("AS unit") && !metric.about.is_empty(), "{}", metric.name);
            assert!(metrics[..at].iter().all(|m| m.name != metric.name), "{}", metric.name);
        }
        assert!(metrics.len() >= 12);
    }
}
