//! Several success metrics and guardrails of one experiment, corrected together.

use crate::StatsError;
use crate::arm::{Alternative, ArmSums};
use crate::error::{finite, share};
use crate::two_sample_z::two_sample_z;

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// More is better.
    Increase,
    /// Less is better.
    Decrease,
}

/// One metric of a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecisionMetric {
    /// Control arm.
    pub control: ArmSums,
    /// Treatment arm.
    pub treatment: ArmSums,
    /// Which way is good; without it any difference counts.
    pub direction: Option<Direction>,
    /// Non-inferiority margin, relative to the control mean: makes the metric a guardrail.
    pub margin: Option<f64>,
}

/// How alpha is shared between metrics. `S` is the number of success metrics, `G` of guardrails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// `alpha` over all metrics.
    Bonferroni,
    /// `alpha / max(1, S)` for every metric: a guardrail can only stop a launch, so it is not counted.
    SuccessOnly,
    /// The same, and a metric with a direction is tested two-sided at twice that, which keeps
    /// `alpha / S` in its own tail and shows deterioration as well.
    SuccessOnlyTwoSided,
}

/// Result for one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricDecision {
    /// Treatment mean minus control mean.
    pub difference: f64,
    /// The null: 0, or the margin on the bad side.
    pub null: f64,
    /// p-value, two-sided under [`Sharing::SuccessOnlyTwoSided`].
    pub p_value: f64,
    /// What the p-value is compared with.
    pub adjusted_alpha: f64,
    /// Power each metric needs for the planned power of the whole decision:
    /// `1 − (1 − power)/(G + 1)`, or over `G` without success metrics.
    pub adjusted_power: f64,
    /// Interval at the adjusted alpha.
    pub interval: [f64; 2],
    /// p below the adjusted alpha, whichever way: a violated guardrail is significant too.
    pub significant: bool,
    /// Significant, and on the good side of the null. What a ship rule may use.
    pub passes: bool,
}

/// Tests every metric by z, with alpha and power shared.
///
/// # Errors
/// [`StatsError::Range`] for `alpha` or power outside `(0, 1)` or a margin that is negative, or that has
/// no direction to lie in; the errors of [`ArmSums::moments`].
///
/// # Source
/// Schultzberg, Ankargren & Frånberg, "Risk-aware product decisions in A/B tests with multiple
/// metrics", 2024.
pub fn multi_metric_decision(
    metrics: &[DecisionMetric],
    alpha: f64,
    power: f64,
    sharing: Sharing,
) -> Result<Vec<MetricDecision>, StatsError> {
    share("alpha", alpha)?;
    share("power", power)?;
    let guardrails = metrics.iter().filter(|m| m.margin.is_some()).count();
    let successes = metrics.len() - guardrails;
    let tests = match sharing {
        Sharing::Bonferroni => metrics.len(),
        Sharing::SuccessOnly | Sharing::SuccessOnlyTwoSided => successes,
    };
    let shared = alpha / tests.max(1) as f64;
    let missable = if successes == 0 { guardrails } else { guardrails + 1 };
    let adjusted_power = 1.0 - (1.0 - power) / missable.max(1) as f64;
    metrics
        .iter()
        .map(|metric| {
            let (c, t) = ArmSums::pair(&metric.control, &metric.treatment)?;
            let null = match (metric.margin, metric.direction) {
                (None, _) => 0.0,
                (Some(margin), Some(direction)) if margin >= 0.0 && margin.is_finite() => match direction {
                    Direction::Increase => -margin * c.mean,
                    Direction::Decrease => margin * c.mean,
                },
                (Some(margin), _) => {
                    return Err(StatsError::Range {
                        what: "non-inferiority margin",
                        value: margin,
                        rule: "it is at least 0 and belongs to a metric with a direction",
                    });
                }
            };
            finite("null", null)?;
            let (alternative, adjusted_alpha) = match (metric.direction, sharing) {
                (None, _) => (Alternative::TwoSided, shared),
                (Some(_), Sharing::SuccessOnlyTwoSided) => (Alternative::TwoSided, 2.0 * shared),
                (Some(Direction::Increase), _) => (Alternative::Larger, shared),
                (Some(Direction::Decrease), _) => (Alternative::Smaller, shared),
            };
            let test = two_sample_z(&c, &t, null, adjusted_alpha, alternative)?;
            let significant = test.p_value < adjusted_alpha;
            let good_side = match metric.direction {
                None => true,
                Some(Direction::Increase) => test.difference > null,
                Some(Direction::Decrease) => test.difference < null,
            };
            Ok(MetricDecision {
                difference: test.difference,
                null,
                p_value: test.p_value,
                adjusted_alpha,
                adjusted_power,
                interval: test.interval,
                significant,
                passes: significant && good_side,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violated_guardrail_is_significant_and_does_not_pass() {
        let arm = |sum: f64| ArmSums { n: 10_000, sum, sum_sq: sum };
        let metric = DecisionMetric {
            control: arm(2_000.0),
            treatment: arm(3_000.0),
            direction: Some(Direction::Decrease),
            margin: Some(0.02),
        };
        let decide = |m, sharing| multi_metric_decision(&[m], 0.05, 0.8, sharing).map(|d| d[0]);
        let two_sided = decide(metric, Sharing::SuccessOnlyTwoSided).unwrap();
        assert!(two_sided.significant && !two_sided.passes);
        let one_sided = decide(metric, Sharing::SuccessOnly).unwrap();
        assert!(!one_sided.significant && !one_sided.passes);
        assert!(decide(DecisionMetric { direction: None, ..metric }, Sharing::Bonferroni).is_err());
        assert!(decide(DecisionMetric { margin: Some(-0.1), ..metric }, Sharing::Bonferroni).is_err());
    }
}
