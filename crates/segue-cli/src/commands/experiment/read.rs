//! The queries of an experiment, streamed into what its analysis keeps.

use std::path::Path;

use anyhow::{Context, Result, bail};
use segue_experiment::Unit;
use segue_experiment::analysis::AnalysisSpec;
use segue_experiment::exposure::ExposureLog;
use segue_experiment::metric::{MetricColumn, MetricKind, Observation};
use segue_sql::{Catalog, SqlConfig};

use crate::Global;

/// What an analysis needs.
pub(super) struct Data {
    pub(super) exposures: ExposureLog,
    pub(super) columns: Vec<MetricColumn>,
    /// Moment after the last row, or the experiment's end.
    pub(super) end_ms: i64,
}

/// Runs every query once. Rows are not kept: memory is bounded by units (and rows of quantile metrics).
pub(super) fn read(spec: &AnalysisSpec, folder: &Path, global: &Global) -> Result<Data> {
    let files: Vec<(String, std::path::PathBuf)> =
        spec.data.tables.iter().map(|(name, file)| (name.clone(), folder.join(file))).collect();
    let config = SqlConfig { n_threads: global.n_threads(), ..SqlConfig::default() };
    let catalog = Catalog::open_with(&global.home, &files, &config)?;
    let query = exposures_query(spec)?;
    // A slate's record names its arms as `experiment=arm`; a query of one's own gives the arm alone.
    let recorded = if spec.data.exposures.is_empty() { format!("{}=", spec.name) } else { String::new() };
    let range = spec.range_ms()?;
    let names = spec.arms.iter().map(|a| a.name.clone()).collect();
    let mut exposures = ExposureLog::new(names, range);
    let mut last = i64::MIN;
    let mut dated = false;
    catalog
        .stream::<anyhow::Error>(&query, |rows| {
            let units = rows.texts("unit")?.context("the query has no column `unit`")?;
            let arms = rows.texts("arm")?.context("the query has no column `arm`")?;
            let (at, strata) = (rows.times("at")?, rows.texts("stratum")?);
            let triggered = rows.numbers("triggered")?;
            for row in 0..rows.len() {
                // A row without a unit is nobody's exposure.
                let (Some(unit), Some(arm)) = (units.get(row), arms.get(row)) else { continue };
                let arm = arm.strip_prefix(recorded.as_str()).unwrap_or(arm);
                let moment = at.as_ref().and_then(|a| a.get(row));
                let is_triggered = triggered.as_ref().is_none_or(|t| t.get(row) != Some(0.0));
                let stratum = strata.as_ref().and_then(|s| s.get(row));
                exposures.observe(unit, arm, moment, stratum, is_triggered)?;
                if let Some(moment) = moment {
                    (dated, last) = (true, last.max(moment));
                }
            }
            Ok(())
        })
        .context("data.exposures")?;
    if exposures.units().is_empty() {
        bail!("experiment `{}`: nobody was exposed between its days", spec.name);
    }
    // The end: what the specification says, else the last row of any query.
    let known_end = if range[1] < i64::MAX { Some(range[1]) } else { None };
    let first = exposures.units().iter().map(|u| u.at_ms).min().unwrap_or(0);
    let looks = if spec.sequential.accumulating {
        spec.looks_ms(first, known_end.context("an accumulating analysis needs `ends_on`")?)
    } else {
        Vec::new()
    };
    let mut columns = Vec::with_capacity(spec.metrics.len());
    for metric in &spec.metrics {
        let mut column = MetricColumn::new(metric, &exposures, &looks);
        if metric.sql.is_empty() {
            bail!("metric `{}`: `sql` is empty", metric.name);
        }
        catalog
            .stream::<anyhow::Error>(&metric.sql, |rows| {
                let units = rows.texts("unit")?.context("the query has no column `unit`")?;
                let values = rows.numbers("value")?.context("the query has no column `value`")?;
                let (at, keys) = (rows.times("at")?, rows.texts("key")?);
                let denominators = rows.numbers("denominator")?;
                if metric.kind == MetricKind::Ratio && denominators.is_none() {
                    bail!("the query of a ratio has a column `denominator`");
                }
                for row in 0..rows.len() {
                    let (Some(unit), Some(value)) = (units.get(row), values.get(row)) else { continue };
                    let moment = at.as_ref().and_then(|a| a.get(row));
                    if moment.is_some_and(|m| known_end.is_some_and(|end| m >= end)) {
                        continue;
                    }
                    last = moment.map_or(last, |m| last.max(m));
                    let denominator = denominators.as_ref().and_then(|d| d.get(row)).unwrap_or(0.0);
                    let key = keys.as_ref().and_then(|k| k.get(row));
                    let row = Observation { unit, at_ms: moment, value, denominator, key };
                    column.observe(&row, &exposures)?;
                }
                Ok(())
            })
            .with_context(|| format!("metric `{}`", metric.name))?;
        columns.push(column);
    }
    let end_ms = match known_end {
        Some(end) if dated => end.min(last.saturating_add(1)),
        _ if dated => last.saturating_add(1),
        _ => 1,
    };
    Ok(Data { exposures, columns, end_ms })
}

/// The query given, or the one over our own log: the arm stands in the record of every slate it could have
/// changed.
fn exposures_query(spec: &AnalysisSpec) -> Result<String> {
    if !spec.data.exposures.is_empty() {
        return Ok(spec.data.exposures.clone());
    }
    let unit = match spec.unit {
        Unit::User => "user_id",
        Unit::Request => "slate_id",
        Unit::Session => bail!(
            "experiment `{}`: sessions are not a column of the log; give `data.exposures`, a query with the columns unit, arm, at",
            spec.name
        ),
    };
    // Quotes within a name are doubled: the name is text inside the query, not a part of it.
    let name = spec.name.replace('\'', "''");
    Ok(format!(
        "SELECT {unit} AS unit, arm, composed_at AS at \
         FROM (SELECT {unit}, composed_at, unnest(arms) AS arm FROM slates) \
         WHERE {unit} IS NOT NULL AND starts_with(arm, '{name}=')"
    ))
}
