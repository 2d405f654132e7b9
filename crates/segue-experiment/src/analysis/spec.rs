//! What an analysis is told, as written in TOML.

use std::collections::BTreeMap;

use segue_stats::group_sequential::Spending;
use segue_types::{DAY_MS, Day, HOUR_MS};
use serde::{Deserialize, Serialize};

use crate::metric::{MetricSpec, Role, catalogue};
use crate::{ArmSpec, ExperimentError, Unit};

/// When an answer may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// At every look, with boundaries that spend the error over the planned sample. The default.
    #[default]
    GroupSequential,
    /// At every moment, with a confidence sequence that is tightest at the planned sample.
    AlwaysValid,
    /// Once, at the planned end.
    Fixed,
}

/// How the error is spent over looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpendingKind {
    /// Little early, nearly all at the end.
    #[default]
    ObrienFleming,
    /// Evenly in z.
    Pocock,
    /// `t^parameter`.
    Power,
    /// Hwang–Shih–DeCani with `gamma = parameter`.
    HwangShihDeCani,
}

/// The rule and its looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SequentialSpec {
    /// Rule.
    pub rule: Rule,
    /// Spending function of a group-sequential rule.
    pub spending: SpendingKind,
    /// Parameter of `power` (default 2) and `hwang_shih_de_cani` (default −4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<f64>,
    /// Hours between looks.
    pub look_hours: f64,
    /// Units of one comparison (control and treatment) at the planned end. The information fraction of a look
    /// is its units over this. Without it the data at hand are taken as the planned end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_units: Option<u64>,
    /// Analyse values that keep accumulating, at every look all of each unit so far, with the covariance
    /// between looks estimated; otherwise only units whose window has closed. `mean` and `count` metrics only.
    pub accumulating: bool,
}

impl Default for SequentialSpec {
    fn default() -> Self {
        Self {
            rule: Rule::default(),
            spending: SpendingKind::default(),
            parameter: None,
            look_hours: 24.0,
            planned_units: None,
            accumulating: false,
        }
    }
}

impl SequentialSpec {
    /// The spending function.
    #[must_use]
    pub fn spending(&self) -> Spending {
        match self.spending {
            SpendingKind::ObrienFleming => Spending::ObrienFleming,
            SpendingKind::Pocock => Spending::Pocock,
            SpendingKind::Power => Spending::Power(self.parameter.unwrap_or(2.0)),
            SpendingKind::HwangShihDeCani => Spending::HwangShihDeCani(self.parameter.unwrap_or(-4.0)),
        }
    }
}

/// Where the data come from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSpec {
    /// Tables beside the log: name → Parquet or CSV file, relative to the specification.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, String>,
    /// Query with one row per exposure: `unit`, `arm`, and where known `at`, `stratum`, `triggered`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub exposures: String,
}

/// An experiment's analysis, as written in TOML.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalysisSpec {
    /// Name of the experiment.
    pub name: String,
    /// The question, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hypothesis: String,
    /// What was randomised.
    #[serde(default)]
    pub unit: Unit,
    /// Arms with their planned weights, control first.
    pub arms: Vec<ArmSpec>,
    /// First day (`2026-03-01`); exposures before it do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_on: Option<String>,
    /// Day after the last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_on: Option<String>,
    /// Two-sided error of the whole decision, split over success metrics and treatments.
    #[serde(default = "five_percent")]
    pub alpha: f64,
    /// Power of the whole decision, raised for guardrails.
    #[serde(default = "four_fifths")]
    pub power: f64,
    /// p-value below which a sample-ratio mismatch stops everything.
    #[serde(default = "srm_threshold")]
    pub srm_alpha: f64,
    /// Rule and looks.
    #[serde(default)]
    pub sequential: SequentialSpec,
    /// Data.
    #[serde(default)]
    pub data: DataSpec,
    /// Metrics.
    #[serde(default)]
    pub metrics: Vec<MetricSpec>,
}

fn five_percent() -> f64 {
    0.05
}

fn four_fifths() -> f64 {
    0.8
}

fn srm_threshold() -> f64 {
    0.001
}

impl AnalysisSpec {
    /// Reads a specification, fills metrics from the catalogue and checks everything.
    ///
    /// # Errors
    /// [`ExperimentError::Toml`] with the line; [`ExperimentError::Spec`], [`ExperimentError::Duplicate`] or
    /// [`ExperimentError::Unknown`] for what breaks a rule.
    pub fn from_toml(text: &str) -> Result<Self, ExperimentError> {
        let table: toml::Table = toml::from_str(text)
            .map_err(|e| ExperimentError::Toml { what: "the experiment", message: e.to_string() })?;
        let mut table = table;
        if let Some(toml::Value::Array(metrics)) = table.get_mut("metrics") {
            for metric in metrics {
                fill(metric)?;
            }
        }
        let spec: Self = table.try_into().map_err(|e: toml::de::Error| ExperimentError::Toml {
            what: "the experiment",
            message: e.to_string(),
        })?;
        spec.check()?;
        Ok(spec)
    }

    /// Checks every rule.
    ///
    /// # Errors
    /// As [`AnalysisSpec::from_toml`].
    pub fn check(&self) -> Result<(), ExperimentError> {
        let wrong = |what, value: String, rule| {
            Err(ExperimentError::Spec { experiment: self.name.clone(), what, value, rule })
        };
        // Arms follow the rules of assignment.
        let spec = crate::ExperimentSpec {
            name: self.name.clone(),
            arms: self.arms.clone(),
            ramp: 1.0,
            share: 1.0,
            ..crate::ExperimentSpec::default()
        };
        crate::Allocation::solve(std::slice::from_ref(&spec), &[])?;
        for (what, value) in [("alpha", self.alpha), ("power", self.power), ("srm_alpha", self.srm_alpha)] {
            if !(value > 0.0 && value < 1.0) {
                return wrong(what, value.to_string(), "it lies between 0 and 1");
            }
        }
        if !(self.sequential.look_hours > 0.0 && self.sequential.look_hours.is_finite()) {
            return wrong("look_hours", self.sequential.look_hours.to_string(), "it is above 0");
        }
        if self.sequential.accumulating && self.sequential.rule != Rule::GroupSequential {
            return wrong(
                "accumulating",
                "true".to_owned(),
                "values that keep accumulating have estimated boundaries only under `group_sequential`",
            );
        }
        if self.sequential.planned_units == Some(0) {
            return wrong("planned_units", "0".to_owned(), "it is above 0");
        }
        let [from, to] = self.range_ms()?;
        if from >= to {
            return wrong(
                "ends_on",
                self.ends_on.clone().unwrap_or_default(),
                "an experiment ends after it starts",
            );
        }
        for (at, metric) in self.metrics.iter().enumerate() {
            metric.check()?;
            if self.metrics[..at].iter().any(|m| m.name == metric.name) {
                return Err(ExperimentError::Duplicate { what: "metric", name: metric.name.clone() });
            }
        }
        Ok(())
    }

    /// From the first moment to the moment after the last, UTC milliseconds.
    ///
    /// # Errors
    /// [`ExperimentError::Spec`] for a day that is not `YYYY-MM-DD`.
    pub fn range_ms(&self) -> Result<[i64; 2], ExperimentError> {
        let day = |what, text: &Option<String>, absent: i64| match text {
            None => Ok(absent),
            Some(text) => Day::from_iso(text).map(|d| d.start().0).ok_or_else(|| ExperimentError::Spec {
                experiment: self.name.clone(),
                what,
                value: text.clone(),
                rule: "a day is written `2026-03-01`",
            }),
        };
        Ok([day("starts_on", &self.starts_on, i64::MIN)?, day("ends_on", &self.ends_on, i64::MAX)?])
    }

    /// Error of one two-sided test: `alpha` over success metrics and treatments.
    #[must_use]
    pub fn alpha_per_test(&self) -> f64 {
        let n_success = self.n_of(Role::Success).max(1);
        self.alpha / (n_success * (self.arms.len() - 1)) as f64
    }

    /// Power each metric needs for the planned power of the whole decision: `1 − (1 − power)/(G + 1)` with `G`
    /// guardrails, over `G` without success metrics.
    #[must_use]
    pub fn power_per_test(&self) -> f64 {
        let guardrails = self.n_of(Role::Guardrail);
        let share = if self.n_of(Role::Success) > 0 { guardrails + 1 } else { guardrails.max(1) };
        1.0 - (1.0 - self.power) / share as f64
    }

    /// Metrics of a role.
    #[must_use]
    pub fn n_of(&self, role: Role) -> usize {
        self.metrics.iter().filter(|m| m.role == role).count()
    }

    /// Moments of the looks, from the first exposure on; the last one is `end_ms`.
    #[must_use]
    pub fn looks_ms(&self, first_ms: i64, end_ms: i64) -> Vec<i64> {
        let step = (self.sequential.look_hours * HOUR_MS as f64).max(1.0) as i64;
        // At most 400 looks: a longer experiment is looked at less often.
        let step = step.max((end_ms - first_ms) / 400 + 1);
        let start = first_ms.div_euclid(DAY_MS) * DAY_MS;
        let mut looks: Vec<i64> = (1..).map(|k| start + k * step).take_while(|&l| l < end_ms).collect();
        looks.push(end_ms);
        looks
    }
}

/// Lays what a metric gives over the catalogue's entry it names.
fn fill(metric: &mut toml::Value) -> Result<(), ExperimentError> {
    let Some(table) = metric.as_table_mut() else { return Ok(()) };
    let Some(from) = table.get("from").and_then(toml::Value::as_str).map(str::to_owned) else {
        return Ok(());
    };
    let all = catalogue()?;
    let Some(base) = all.iter().find(|m| m.name == from) else {
        return Err(ExperimentError::Unknown {
            what: "metric of the catalogue",
            name: from,
            known: all.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", "),
        });
    };
    let base = toml::Table::try_from(base)
        .map_err(|e| ExperimentError::Toml { what: "the metric catalogue", message: e.to_string() })?;
    for (key, value) in base {
        table.entry(key).or_insert(value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::MetricKind;

    const SPEC: &str = r#"
        name = "quieter-home"
        starts_on = "2026-03-01"
        ends_on = "2026-03-15"
        arms = [{ name = "control" }, { name = "quiet" }]
        [sequential]
        planned_units = 20000
        [[metrics]]
        from = "minutes_per_listener"
        role = "success"
        mde = 0.02
        [[metrics]]
        from = "skip_rate"
        name = "skips"
        role = "guardrail"
        margin = 0.01
    "#;

    #[test]
    fn metrics_come_from_the_catalogue_and_keep_what_is_given() {
        let spec = AnalysisSpec::from_toml(SPEC).unwrap();
        assert_eq!((spec.metrics[0].kind, spec.metrics[0].mde), (MetricKind::Mean, Some(0.02)));
        assert_eq!((spec.metrics[1].name.as_str(), spec.metrics[1].kind), ("skips", MetricKind::Ratio));
        assert!((spec.alpha_per_test() - 0.05).abs() < 1e-15 && (spec.power_per_test() - 0.9).abs() < 1e-15);
        let day = 86_400_000;
        assert_eq!(spec.looks_ms(day / 2, 3 * day), [day, 2 * day, 3 * day]);
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let bad =
            |from: &str, to: &str| AnalysisSpec::from_toml(&SPEC.replace(from, to)).unwrap_err().to_string();
        assert!(bad("2026-03-15", "2026-02-15").contains("ends after it starts"));
        assert!(bad("2026-03-15", "soon").contains("a day is written"));
        assert!(bad("margin = 0.01", "").contains("margin"));
        assert!(bad("minutes_per_listener", "minutes").contains("known are minutes_per_listener"));
        assert!(bad("{ name = \"quiet\" }", "{ name = \"control\" }").contains("twice"));
        assert!(bad("planned_units = 20000", "planned_units = 0").contains("planned_units"));
        assert!(bad("name = \"skips\"", "name = \"minutes_per_listener\"").contains("twice"));
        assert!(bad("mde = 0.02", "mde = ").contains("line"));
    }
}
