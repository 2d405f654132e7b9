//! The declaration of a metric.

use segue_stats::multi_metric_decision::Direction;
use segue_types::DAY_MS;
use serde::{Deserialize, Serialize};

use crate::{ExperimentError, Unit};

/// How rows become one value per unit, and units one value per arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Whether a unit has any row with a value above 0 in the window.
    Binary,
    /// Rows of a unit with a value above 0, averaged over units.
    Count,
    /// Sum of values of a unit, averaged over units; a unit without rows has 0.
    #[default]
    Mean,
    /// `Σ value / Σ denominator` over all units, delta method.
    Ratio,
    /// A quantile over all rows, which come in clusters: the units.
    Quantile,
    /// Whether a unit comes back within the window, which has to begin after exposure. Matured units only.
    Retention,
    /// A quantile over units of the seconds from exposure to the first row with a value above 0; a unit
    /// without one has +∞, so that an arm cannot look faster by losing those who never played.
    TimeToEvent,
    /// Gini of plays over keys (artists, items), both arms thinned to equal plays.
    Gini,
    /// Effective number of keys, both arms thinned to equal plays.
    EffectiveNumber,
}

/// What the metric is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// At least one has to be superior to ship.
    Success,
    /// Each has to be non-inferior to ship.
    Guardrail,
    /// Watched for deterioration, no more.
    #[default]
    Watch,
}

/// A metric, as written in TOML.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSpec {
    /// Unique name.
    pub name: String,
    /// Takes everything not given here from the metric of this name in the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it says, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Kind.
    #[serde(default)]
    pub kind: MetricKind,
    /// Query over the log's tables or the experiment's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sql: String,
    /// What the query's `unit` is.
    #[serde(default)]
    pub unit: Unit,
    /// What it is for.
    #[serde(default)]
    pub role: Role,
    /// Which way is good: `increase` or `decrease`. Required of success metrics and guardrails.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "direction")]
    pub direction: Option<Direction>,
    /// Days after exposure, `[from, to)`. A unit counts once its window has closed, so that increments between
    /// looks are independent. Without a window everything after exposure counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_days: Option<[f64; 2]>,
    /// Values of units above this quantile (of all units) are set to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winsorize: Option<f64>,
    /// Which quantile, for `quantile` and `time_to_event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// Days before exposure that make the covariate for variance reduction; the same query over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_days: Option<f64>,
    /// Guardrails: largest tolerable deterioration, relative to the control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Relative effect the experiment is planned for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mde: Option<f64>,
    /// Mean of a unit before the experiment, for its design.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_mean: Option<f64>,
    /// Variance between units before the experiment; `p (1 − p)` for 0/1 kinds where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_variance: Option<f64>,
}

impl MetricSpec {
    /// Checks what the kind needs.
    ///
    /// # Errors
    /// [`ExperimentError::Spec`] names the metric and the field.
    pub fn check(&self) -> Result<(), ExperimentError> {
        let wrong = |what, value: String, rule| {
            Err(ExperimentError::Spec { experiment: self.name.clone(), what, value, rule })
        };
        if self.role != Role::Watch && self.direction.is_none() {
            return wrong(
                "direction",
                "absent".into(),
                "success metrics and guardrails say which way is good",
            );
        }
        if self.role == Role::Guardrail && !self.margin.is_some_and(|m| m > 0.0 && m.is_finite()) {
            return wrong(
                "margin",
                format!("{:?}", self.margin),
                "a guardrail has a relative margin above 0, such as 0.01",
            );
        }
        if let Some([from, to]) = self.window_days
            && !(from >= 0.0 && to > from && to.is_finite())
        {
            return wrong("window_days", format!("[{from}, {to}]"), "it ends after it begins, at 0 or later");
        }
        if self.kind == MetricKind::Retention && self.window_days.is_none_or(|[from, _]| from <= 0.0) {
            return wrong(
                "window_days",
                format!("{:?}", self.window_days),
                "retention looks at a window that begins after exposure, such as [7, 8]",
            );
        }
        let needs_quantile = matches!(self.kind, MetricKind::Quantile | MetricKind::TimeToEvent);
        if needs_quantile && !self.quantile.is_some_and(|q| q > 0.0 && q < 1.0) {
            return wrong("quantile", format!("{:?}", self.quantile), "it lies between 0 and 1, such as 0.9");
        }
        if self.winsorize.is_some_and(|q| !(q > 0.5 && q < 1.0)) {
            return wrong(
                "winsorize",
                format!("{:?}", self.winsorize),
                "it is a high quantile, such as 0.99",
            );
        }
        if self.pre_days.is_some_and(|d| d.is_nan() || d <= 0.0) {
            return wrong("pre_days", format!("{:?}", self.pre_days), "it is above 0");
        }
        Ok(())
    }

    /// The window in milliseconds after exposure.
    #[must_use]
    pub fn window_ms(&self) -> Option<[i64; 2]> {
        self.window_days.map(|days| days.map(|d| (d * DAY_MS as f64).round() as i64))
    }

    /// Milliseconds after exposure at which a unit's value is final.
    #[must_use]
    pub fn matures_after_ms(&self) -> i64 {
        self.window_ms().map_or(0, |[_, to]| to)
    }
}

/// `increase` or `decrease`.
mod direction {
    use segue_stats::multi_metric_decision::Direction;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Direction>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(Direction::Increase) => s.serialize_str("increase"),
            Some(Direction::Decrease) => s.serialize_str("decrease"),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Direction>, D::Error> {
        match Option::<String>::deserialize(d)?.as_deref() {
            None => Ok(None),
            Some("increase") => Ok(Some(Direction::Increase)),
            Some("decrease") => Ok(Some(Direction::Decrease)),
            Some(other) => Err(serde::de::Error::custom(format!(
                "direction is `{other}`; it is `increase` or `decrease`"
            ))),
        }
    }
}
