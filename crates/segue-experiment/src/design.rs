//! How many units an experiment needs.

use segue_stats::group_sequential::{Sides, group_sequential_bounds};
use segue_stats::sample_size::{Target, required_sample_size};
use serde::Serialize;

use crate::ExperimentError;
use crate::analysis::{AnalysisSpec, Rule};
use crate::metric::{MetricKind, Role};

/// What one metric needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricDesign {
    /// Metric.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Relative effect or margin it is planned for.
    pub effect: f64,
    /// Units of one comparison under a fixed design.
    pub n_fixed: u64,
    /// Units under the rule: group-sequential designs need a few per cent more.
    pub n_units: u64,
}

/// The design of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Design {
    /// Two-sided error of one test after the split.
    pub alpha_per_test: f64,
    /// Power needed of one test.
    pub power_per_test: f64,
    /// z boundaries of `n_looks` equally spaced looks, for a group-sequential rule.
    pub boundaries: Vec<f64>,
    /// Factor on the fixed sample that buys the looks.
    pub inflation: f64,
    /// Metrics that have a baseline.
    pub metrics: Vec<MetricDesign>,
    /// Metrics without one, by name.
    pub without_baseline: Vec<String>,
    /// Units of one comparison: the largest need.
    pub planned_units: u64,
    /// Units of the whole experiment, over all arms and their weights.
    pub total_units: u64,
}

/// Designs an experiment of `n_looks` looks from the baselines in its metrics.
///
/// A success metric is planned for its `mde`, a guardrail for its `margin` with no true effect. The variance of
/// 0/1 metrics follows from the mean. The largest need is the experiment's.
///
/// # Errors
/// [`ExperimentError::Statistic`] names the metric whose baseline allows no answer.
pub fn design(spec: &AnalysisSpec, n_looks: usize) -> Result<Design, ExperimentError> {
    let (alpha, power) = (spec.alpha_per_test(), spec.power_per_test());
    let n_looks = n_looks.max(1);
    let times: Vec<f64> = (1..=n_looks).map(|k| k as f64 / n_looks as f64).collect();
    let is_sequential = spec.sequential.rule == Rule::GroupSequential;
    let boundaries = if is_sequential {
        group_sequential_bounds(&times, alpha, Sides::Two, spec.sequential.spending())?.z
    } else {
        Vec::new()
    };
    let inflation = if is_sequential { inflation(&times, &boundaries, alpha, power) } else { 1.0 };
    let smallest = spec.arms[1..].iter().map(|a| a.weight).fold(f64::INFINITY, f64::min);
    let weights = [spec.arms[0].weight, smallest];
    let (mut metrics, mut without_baseline) = (Vec::new(), Vec::new());
    for m in &spec.metrics {
        let binary = matches!(m.kind, MetricKind::Binary | MetricKind::Retention);
        let effect = if m.role == Role::Guardrail { m.margin } else { m.mde };
        let variance = m.baseline_variance.or(m.baseline_mean.filter(|_| binary).map(|p| p * (1.0 - p)));
        let (Some(effect), Some(mean), Some(variance)) = (effect, m.baseline_mean, variance) else {
            without_baseline.push(m.name.clone());
            continue;
        };
        let named = |source| ExperimentError::Statistic { metric: m.name.clone(), source };
        // Tests read a two-sided interval, so a margin is tested at half of the error.
        let (target, alpha) = if m.role == Role::Guardrail {
            (Target::NonInferiority(effect), 0.5 * alpha)
        } else {
            (Target::Change(effect), alpha)
        };
        let n = required_sample_size(mean, variance, binary, target, weights, alpha, power).map_err(named)?;
        metrics.push(MetricDesign {
            name: m.name.clone(),
            role: m.role,
            effect,
            n_fixed: n.total,
            n_units: (n.total as f64 * inflation).ceil() as u64,
        });
    }
    let planned_units = metrics.iter().map(|m| m.n_units).max().unwrap_or(0);
    let all: f64 = spec.arms.iter().map(|a| a.weight).sum();
    let total_units = (planned_units as f64 * all / (weights[0] + weights[1])).ceil() as u64;
    Ok(Design {
        alpha_per_test: alpha,
        power_per_test: power,
        boundaries,
        inflation,
        metrics,
        without_baseline,
        planned_units,
        total_units,
    })
}

/// Factor on the fixed sample at which a group-sequential test has the planned power.
///
/// The power at drift `δ` is one minus the probability of staying within the boundaries, which is what a
/// stagewise recursion under the null gives after weighting; solved by bisection over the drift.
fn inflation(times: &[f64], boundaries: &[f64], alpha: f64, power: f64) -> f64 {
    use segue_stats::distribution::normal;
    let fixed = normal::upper_quantile(0.5 * alpha) + normal::quantile(power);
    let (mut low, mut high) = (fixed, 2.0 * fixed);
    for _ in 0..60 {
        let mid = 0.5 * (low + high);
        match segue_stats::after_stopping::crossing_probability(times, boundaries, Sides::Two, mid) {
            Ok(p) if p < power => low = mid,
            _ => high = mid,
        }
    }
    (high / fixed).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = r#"
        name = "d"
        arms = [{ name = "control" }, { name = "t" }]
        [[metrics]]
        name = "retained"
        kind = "binary"
        role = "success"
        direction = "increase"
        mde = 0.05
        baseline_mean = 0.2
        [[metrics]]
        name = "minutes"
        role = "guardrail"
        direction = "increase"
        margin = 0.02
    "#;

    #[test]
    fn the_largest_need_decides_and_looks_cost_little() {
        let spec = AnalysisSpec::from_toml(SPEC).unwrap();
        let one = design(&spec, 1).unwrap();
        assert!((one.inflation - 1.0).abs() < 1e-6);
        let many = design(&spec, 14).unwrap();
        // O'Brien–Fleming: between 2 and 5 per cent more for 14 looks (Jennison & Turnbull, table 7.2 scale).
        assert!(many.inflation > 1.02 && many.inflation < 1.05, "{}", many.inflation);
        assert_eq!(many.without_baseline, ["minutes"]);
        assert_eq!(many.planned_units, many.metrics[0].n_units);
        assert!((many.power_per_test - 0.9).abs() < 1e-12);
    }
}
