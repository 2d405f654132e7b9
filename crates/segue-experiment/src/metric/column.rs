//! Rows of a metric's query, kept per exposed unit.

use std::collections::BTreeMap;

use segue_stats::StatsError;
use segue_types::{DAY_MS, UserKey};

use super::{MetricKind, MetricSpec};
use crate::ExperimentError;
use crate::exposure::ExposureLog;

/// Groups of units for the standard error of concentration metrics.
pub(crate) const UNIT_GROUPS: usize = 64;

/// Days after exposure of which the effect is shown apart.
pub(crate) const NOVELTY_DAYS: usize = 14;

/// One row of a metric's query.
#[derive(Debug, Clone, Copy, Default)]
pub struct Observation<'a> {
    /// External id of the unit.
    pub unit: &'a str,
    /// Moment, UTC milliseconds; absent for undated data.
    pub at_ms: Option<i64>,
    /// Value.
    pub value: f64,
    /// Denominator of a ratio.
    pub denominator: f64,
    /// Key of a concentration metric.
    pub key: Option<&'a str>,
}

/// What one metric keeps: 24 bytes per unit; for `mean` and `count` 56 more for the days after exposure; for
/// `quantile` 16 bytes per row; for concentration 64 groups of counts per arm and key.
#[derive(Debug, Clone)]
pub struct MetricColumn {
    spec: MetricSpec,
    /// `[n_units]` sum, count, indicator, or first moment in seconds.
    pub(crate) value: Vec<f64>,
    /// `[n_units]` sum of denominators; empty but for ratios.
    pub(crate) denominator: Vec<f64>,
    /// `[n_units]` the same metric before exposure; empty without `pre_days`.
    pub(crate) before: Vec<f64>,
    /// Rows of a quantile metric: unit and value.
    pub(crate) rows: Vec<(u32, f64)>,
    /// Counts per key: `[n_arms * UNIT_GROUPS]`. Ordered, so that results do not depend on hashing.
    pub(crate) keys: BTreeMap<u128, Vec<u64>>,
    /// `[n_units * NOVELTY_DAYS]` value by day after exposure; empty for other kinds.
    pub(crate) by_day: Vec<f32>,
    /// `[n_units * n_looks]` value that arrived by each look since the one before; empty unless asked for.
    pub(crate) by_look: Vec<f32>,
    looks_ms: Vec<i64>,
    n_rows: u64,
    n_unknown: u64,
}

impl MetricColumn {
    /// For the units of a finished exposure log. With `looks_ms`, values are also kept by look, for sequential
    /// analysis of values that keep accumulating (8 bytes per unit and two looks).
    #[must_use]
    pub fn new(spec: &MetricSpec, exposures: &ExposureLog, looks_ms: &[i64]) -> Self {
        let n = exposures.units().len();
        let sums = matches!(spec.kind, MetricKind::Mean | MetricKind::Count);
        let looks_ms = if sums { looks_ms.to_vec() } else { Vec::new() };
        let start = if spec.kind == MetricKind::TimeToEvent { f64::INFINITY } else { 0.0 };
        Self {
            value: vec![start; n],
            denominator: if spec.kind == MetricKind::Ratio { vec![0.0; n] } else { Vec::new() },
            before: if spec.pre_days.is_some() { vec![0.0; n] } else { Vec::new() },
            rows: Vec::new(),
            keys: BTreeMap::new(),
            by_day: if sums && spec.window_days.is_some() { vec![0.0; n * NOVELTY_DAYS] } else { Vec::new() },
            by_look: vec![0.0; n * looks_ms.len()],
            looks_ms,
            n_rows: 0,
            n_unknown: 0,
            spec: spec.clone(),
        }
    }

    /// The metric.
    #[must_use]
    pub fn spec(&self) -> &MetricSpec {
        &self.spec
    }

    /// Rows seen, and rows of units that were never exposed.
    #[must_use]
    pub const fn tally(&self) -> (u64, u64) {
        (self.n_rows, self.n_unknown)
    }

    /// One row.
    ///
    /// # Errors
    /// [`ExperimentError::Statistic`] for a value or denominator that is not finite; [`ExperimentError::Spec`]
    /// for a dated window over rows without a moment, or a concentration metric without `key`.
    pub fn observe(&mut self, row: &Observation<'_>, exposures: &ExposureLog) -> Result<(), ExperimentError> {
        self.n_rows += 1;
        let Some(at) = exposures.find(row.unit) else {
            self.n_unknown += 1;
            return Ok(());
        };
        for (what, value) in [("value of a row", row.value), ("denominator of a row", row.denominator)] {
            if !value.is_finite() {
                return Err(ExperimentError::Statistic {
                    metric: self.spec.name.clone(),
                    source: StatsError::Range { what, value, rule: "it has to be finite" },
                });
            }
        }
        let unit = exposures.units()[at];
        let since = match (row.at_ms, self.spec.window_ms()) {
            (Some(moment), _) => moment - unit.at_ms,
            (None, None) => 0,
            (None, Some(_)) => {
                return Err(ExperimentError::Spec {
                    experiment: self.spec.name.clone(),
                    what: "column `at`",
                    value: "null".to_owned(),
                    rule: "a metric with `window_days` needs the moment of every row",
                });
            }
        };
        let [from, to] = self.spec.window_ms().unwrap_or([0, i64::MAX]);
        if since < 0 {
            let reach = self.spec.pre_days.unwrap_or(0.0) * DAY_MS as f64;
            if !self.before.is_empty() && since as f64 >= -reach {
                self.before[at] += if self.spec.kind == MetricKind::Count {
                    f64::from(u8::from(row.value > 0.0))
                } else {
                    row.value
                };
            }
            return Ok(());
        }
        if since < from || since >= to {
            return Ok(());
        }
        match self.spec.kind {
            MetricKind::Binary | MetricKind::Retention => {
                if row.value > 0.0 {
                    self.value[at] = 1.0;
                }
            }
            MetricKind::Count if row.value > 0.0 => self.add(at, since, row, 1.0),
            MetricKind::Count => {}
            MetricKind::Mean => self.add(at, since, row, row.value),
            MetricKind::Ratio => {
                self.value[at] += row.value;
                self.denominator[at] += row.denominator;
            }
            MetricKind::Quantile => self.rows.push((at as u32, row.value)),
            MetricKind::TimeToEvent => {
                if row.value > 0.0 {
                    self.value[at] = self.value[at].min(since as f64 / 1_000.0);
                }
            }
            MetricKind::Gini | MetricKind::EffectiveNumber => {
                let key = row.key.ok_or_else(|| ExperimentError::Spec {
                    experiment: self.spec.name.clone(),
                    what: "column `key`",
                    value: "null".to_owned(),
                    rule: "a concentration metric counts plays per key, such as the artist",
                })?;
                if !unit.is_mixed {
                    // The group is a part of the unit's hash: whole units, at random.
                    let group = (unit.key.0 >> 64) as usize % UNIT_GROUPS;
                    let counts = self
                        .keys
                        .entry(UserKey::of(key).0)
                        .or_insert_with(|| vec![0; exposures.arms().len() * UNIT_GROUPS]);
                    counts[unit.arm as usize * UNIT_GROUPS + group] += row.value.max(0.0).round() as u64;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, at: usize, since: i64, row: &Observation<'_>, value: f64) {
        self.value[at] += value;
        let day = (since / DAY_MS) as usize;
        if !self.by_day.is_empty() && day < NOVELTY_DAYS {
            self.by_day[at * NOVELTY_DAYS + day] += value as f32;
        }
        if let Some(moment) = row.at_ms {
            let look = self.looks_ms.partition_point(|&l| l <= moment);
            if look < self.looks_ms.len() {
                self.by_look[at * self.looks_ms.len() + look] += value as f32;
            }
        }
    }

    pub(crate) fn looks_ms(&self) -> &[i64] {
        &self.looks_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposures() -> ExposureLog {
        let mut log = ExposureLog::new(vec!["control".into(), "treatment".into()], [0, i64::MAX]);
        log.observe("ada", "control", Some(10 * DAY_MS), None, true).unwrap();
        log
    }

    fn row(day: f64, value: f64) -> Observation<'static> {
        Observation {
            unit: "ada",
            at_ms: Some((day * DAY_MS as f64) as i64),
            value,
            ..Observation::default()
        }
    }

    #[test]
    fn rows_count_within_the_window_and_before_it_for_the_covariate() {
        let log = exposures();
        let spec = MetricSpec {
            kind: MetricKind::Mean,
            window_days: Some([0.0, 7.0]),
            pre_days: Some(5.0),
            ..MetricSpec::default()
        };
        let mut column = MetricColumn::new(&spec, &log, &[]);
        for r in [row(4.0, 1.0), row(6.0, 2.0), row(10.0, 4.0), row(16.9, 8.0), row(17.0, 16.0)] {
            column.observe(&r, &log).unwrap();
        }
        column.observe(&Observation { unit: "bob", ..row(11.0, 1.0) }, &log).unwrap();
        assert_eq!((column.value[0], column.before[0], column.tally()), (12.0, 2.0, (6, 1)));
        assert_eq!((column.by_day[0], column.by_day[6]), (4.0, 8.0));
        assert!(column.observe(&row(11.0, f64::NAN), &log).is_err());
        assert!(column.observe(&Observation { at_ms: None, ..row(11.0, 1.0) }, &log).is_err());
    }

    #[test]
    fn no_play_is_infinitely_late() {
        let log = exposures();
        let spec = MetricSpec { kind: MetricKind::TimeToEvent, quantile: Some(0.5), ..MetricSpec::default() };
        let mut column = MetricColumn::new(&spec, &log, &[]);
        assert_eq!(column.value[0], f64::INFINITY);
        column.observe(&row(10.5, 1.0), &log).unwrap();
        column.observe(&row(10.25, 1.0), &log).unwrap();
        column.observe(&row(10.1, 0.0), &log).unwrap();
        assert_eq!(column.value[0], 6.0 * 3_600.0);
    }
}
