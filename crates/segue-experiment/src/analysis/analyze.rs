//! The whole analysis.

use segue_stats::StatsError;
use segue_stats::arm::{Alternative, ArmSums, Moments};
use segue_stats::mid_experiment::mid_experiment_power;
use segue_stats::relative_lift::relative_lift;
use segue_stats::srm::{sequential_srm, srm_chi2};
use segue_stats::welch_t::welch_t;
use serde::Serialize;

use super::estimate::{LookEstimate, series};
use super::insight::{Insight, insight};
use super::rule::{RuleResult, Verdict, apply};
use super::{AnalysisSpec, Decision, decide};
use crate::exposure::{ExposureLog, Tally};
use crate::metric::{MetricColumn, MetricKind, Role};
use crate::{ExperimentError, Unit};

/// Prior sample size of the anytime mismatch test: how strongly the planned shares are believed.
const SRM_CONCENTRATION: f64 = 1_000.0;

/// Share of units in several arms above which nothing is to be trusted.
const MIXED_LIMIT: f64 = 0.01;

/// p-value below which arms that differed before the experiment are a problem.
const PRE_PERIOD_ALPHA: f64 = 1e-4;

/// Units of one arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmCount {
    /// Name.
    pub name: String,
    /// Planned share.
    pub planned_share: f64,
    /// Units exposed, without those of several arms.
    pub n_units: u64,
}

/// Arms before the experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreCheck {
    /// Metric.
    pub metric: String,
    /// Treatment.
    pub arm: String,
    /// Two-sided p-value that the arms were alike before exposure.
    pub p_value: f64,
}

/// Checks of quality.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checks {
    /// What became of the exposure rows.
    pub exposures: Tally,
    /// Sample-ratio mismatch at the end, Pearson.
    pub srm_p: f64,
    /// The same, valid at every look.
    pub srm_anytime_p: f64,
    /// Arms before the experiment, per metric with a covariate.
    pub pre_period: Vec<PreCheck>,
    /// What is wrong, in sentences; empty if all is well.
    pub problems: Vec<String>,
}

/// One metric of one comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricResult {
    /// Name.
    pub name: String,
    /// What it says.
    pub about: String,
    /// What it is for.
    pub role: Role,
    /// Kind.
    pub kind: MetricKind,
    /// Estimates of all looks.
    pub estimates: Vec<LookEstimate>,
    /// The rule on top.
    pub rule: Option<RuleResult>,
    /// What holds at the deciding look.
    pub verdict: Verdict,
    /// Relative lift at the deciding look, delta method.
    pub lift: Option<f64>,
    /// Its interval: the rule's, over the control.
    pub lift_interval: Option<[f64; 2]>,
    /// Fieller's interval at the last look, at the plain level.
    pub fieller: Option<[f64; 2]>,
    /// Non-inferiority margin in the metric's unit.
    pub margin: Option<f64>,
    /// Power for the planned effect: now, at the planned end, given the data so far.
    pub power: Option<[f64; 3]>,
    /// Factor on the planned sample that would reach the planned power.
    pub sample_factor: Option<f64>,
    /// Segments, days, Bayesian reading.
    pub insight: Insight,
    /// Why there is no answer, where there is none.
    pub refused: Option<String>,
}

impl MetricResult {
    /// Whether the planned sample is reached, or the metric can give no answer at all.
    pub(super) fn is_final(&self) -> bool {
        self.rule.as_ref().is_none_or(|r| r.is_final)
    }

    /// Effect and interval in words.
    pub(super) fn interval_text(&self) -> String {
        match (self.lift, self.lift_interval, self.rule.as_ref().and_then(|r| r.looks.last())) {
            (Some(lift), Some([low, high]), _) => {
                format!("{:+.2} % [{:+.2}, {:+.2}]", 100.0 * lift, 100.0 * low, 100.0 * high)
            }
            (_, _, Some(look)) => {
                format!("{:+.4} [{:+.4}, {:+.4}]", look.effect, look.interval[0], look.interval[1])
            }
            _ => "no estimate".to_owned(),
        }
    }
}

/// One treatment against the control.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Treatment.
    pub arm: String,
    /// Metrics in the order of the specification.
    pub metrics: Vec<MetricResult>,
    /// What to do.
    pub decision: Decision,
}

/// The whole analysis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analysis {
    /// Experiment.
    pub name: String,
    /// Rule, in a word.
    pub rule: super::Rule,
    /// Two-sided error of one test after the split.
    pub alpha_per_test: f64,
    /// Power needed of one test.
    pub power_per_test: f64,
    /// Arms.
    pub arms: Vec<ArmCount>,
    /// Checks.
    pub checks: Checks,
    /// One per treatment.
    pub comparisons: Vec<Comparison>,
}

/// Analyses finished columns.
///
/// A metric that cannot be computed (no variance, no matured unit, a quantile nobody reached) is reported with
/// the reason and does not stop the others. Metrics of listeners are refused where sessions or requests were
/// randomised: a listener then meets both arms, and what one arm does spills over into the other.
///
/// # Errors
/// [`ExperimentError::Stats`] if the split between arms cannot be checked: fewer than two arms with units.
pub fn analyze(
    spec: &AnalysisSpec,
    exposures: &ExposureLog,
    columns: &[MetricColumn],
    end_ms: i64,
) -> Result<Analysis, ExperimentError> {
    let first = exposures.units().iter().map(|u| u.at_ms).min().unwrap_or(end_ms);
    let looks = spec.looks_ms(first, end_ms);
    let weights: Vec<f64> = spec.arms.iter().map(|a| a.weight).collect();
    let total: f64 = weights.iter().sum();
    let counts = exposures.counts();
    let arms = spec
        .arms
        .iter()
        .zip(&counts)
        .map(|(a, &n_units)| ArmCount { name: a.name.clone(), planned_share: a.weight / total, n_units })
        .collect();
    let checks = checks(spec, exposures, columns, &looks)?;
    let comparisons = (1..spec.arms.len())
        .map(|arm| {
            let metrics: Vec<MetricResult> =
                columns.iter().map(|c| metric(spec, exposures, c, &looks, arm)).collect();
            Comparison { arm: spec.arms[arm].name.clone(), decision: decide(&checks, &metrics), metrics }
        })
        .collect();
    Ok(Analysis {
        name: spec.name.clone(),
        rule: spec.sequential.rule,
        alpha_per_test: spec.alpha_per_test(),
        power_per_test: spec.power_per_test(),
        arms,
        checks,
        comparisons,
    })
}

fn checks(
    spec: &AnalysisSpec,
    exposures: &ExposureLog,
    columns: &[MetricColumn],
    looks: &[i64],
) -> Result<Checks, ExperimentError> {
    let weights: Vec<f64> = spec.arms.iter().map(|a| a.weight).collect();
    let counts = exposures.counts();
    let srm_p = srm_chi2(&counts, &weights)?.p_value;
    let running: Vec<usize> = (0..weights.len()).filter(|&a| weights[a] > 0.0).collect();
    let total: f64 = weights.iter().sum();
    let planned: Vec<f64> = running.iter().map(|&a| weights[a] / total).collect();
    let mut increments = vec![vec![0_u64; running.len()]; looks.len()];
    for unit in exposures.units().iter().filter(|u| !u.is_mixed) {
        let look = looks.partition_point(|&l| l < unit.at_ms).min(looks.len() - 1);
        if let Some(at) = running.iter().position(|&a| a == unit.arm as usize) {
            increments[look][at] += 1;
        }
    }
    let anytime = sequential_srm(&increments, &planned, SRM_CONCENTRATION)?;
    let srm_anytime_p = anytime.last().map_or(1.0, |l| l.p_value);
    let mut problems = Vec::new();
    if srm_p.min(srm_anytime_p) < spec.srm_alpha {
        problems.push(format!(
            "the split between arms is not the planned one (p = {:.2e}): {} units against shares {}; find out why before reading any number",
            srm_p.min(srm_anytime_p),
            counts.iter().map(u64::to_string).collect::<Vec<_>>().join(" / "),
            weights.iter().map(|w| format!("{:.3}", w / total)).collect::<Vec<_>>().join(" / "),
        ));
    }
    let tally = exposures.tally();
    let mixed = tally.n_mixed as f64 / tally.n_units.max(1) as f64;
    if mixed > MIXED_LIMIT {
        problems.push(format!(
            "{} of {} units met more than one arm; assignment or logging is broken",
            tally.n_mixed, tally.n_units
        ));
    }
    let mut pre_period = Vec::new();
    for column in columns.iter().filter(|c| !c.before.is_empty()) {
        for arm in 1..spec.arms.len() {
            let p_value = pre_period_p(column, exposures, arm).unwrap_or(1.0);
            if p_value < PRE_PERIOD_ALPHA {
                problems.push(format!(
                    "`{}` differed between the arms before exposure (p = {p_value:.2e})",
                    column.spec().name
                ));
            }
            pre_period.push(PreCheck {
                metric: column.spec().name.clone(),
                arm: spec.arms[arm].name.clone(),
                p_value,
            });
        }
    }
    Ok(Checks { exposures: tally, srm_p, srm_anytime_p, pre_period, problems })
}

fn pre_period_p(column: &MetricColumn, exposures: &ExposureLog, arm: usize) -> Result<f64, StatsError> {
    let mut sums = [ArmSums { n: 0, sum: 0.0, sum_sq: 0.0 }; 2];
    for (unit, &x) in exposures.units().iter().zip(&column.before) {
        if !unit.is_mixed && (unit.arm == 0 || unit.arm as usize == arm) {
            let s = &mut sums[usize::from(unit.arm != 0)];
            s.n += 1;
            s.sum += x;
            s.sum_sq += x * x;
        }
    }
    let (c, t) = (sums[0].moments(false)?, sums[1].moments(false)?);
    Ok(welch_t(&c, &t, 0.0, 0.05, Alternative::TwoSided)?.p_value)
}

fn metric(
    spec: &AnalysisSpec,
    exposures: &ExposureLog,
    column: &MetricColumn,
    looks: &[i64],
    arm: usize,
) -> MetricResult {
    let metric = column.spec();
    let mut out = MetricResult {
        name: metric.name.clone(),
        about: metric.about.clone(),
        role: metric.role,
        kind: metric.kind,
        estimates: Vec::new(),
        rule: None,
        verdict: Verdict::default(),
        lift: None,
        lift_interval: None,
        fieller: None,
        margin: None,
        power: None,
        sample_factor: None,
        insight: Insight::default(),
        refused: None,
    };
    if spec.unit != Unit::User && metric.unit == Unit::User {
        out.refused = Some(format!(
            "a metric of listeners says nothing where each {} was randomised: a listener meets both arms",
            spec.unit.name()
        ));
        return out;
    }
    if let Err(error) = fill(&mut out, spec, exposures, column, looks, arm) {
        out.refused = Some(error.to_string());
    }
    out
}

fn fill(
    out: &mut MetricResult,
    spec: &AnalysisSpec,
    exposures: &ExposureLog,
    column: &MetricColumn,
    looks: &[i64],
    arm: usize,
) -> Result<(), StatsError> {
    let metric = column.spec();
    let series = series(column, exposures, looks, arm)?;
    out.estimates = series.looks;
    let rule = apply(&spec.sequential, &out.estimates, series.covariance.as_deref(), spec.alpha_per_test())?;
    let at = rule.crossed_at.unwrap_or(rule.looks.len() - 1);
    let look = rule.looks[at];
    let estimate = out.estimates.iter().find(|e| e.at_ms == look.at_ms);
    let control = estimate.map_or(0.0, |e| e.control);
    out.verdict = Verdict::of(metric, look.interval, control);
    out.margin = metric.margin.map(|m| m * control.abs());
    if control != 0.0 {
        out.lift = Some(look.effect / control.abs());
        out.lift_interval = Some(look.interval.map(|v| v / control.abs()));
    }
    if let Some(e) = estimate {
        let [c, t] = e.standard_errors;
        let moments =
            |n: u64, mean: f64, error: f64| Moments { n: n as f64, mean, variance: error * error * n as f64 };
        out.fieller = relative_lift(
            &moments(e.n_control, e.control, c),
            &moments(e.n_treatment, e.treatment, t),
            spec.alpha,
        )
        .ok()
        .and_then(|r| r.fieller);
    }
    if let Some(mde) = metric.mde
        && control != 0.0
    {
        let p = mid_experiment_power(
            look.effect,
            look.standard_error,
            look.information,
            mde * control.abs(),
            spec.alpha_per_test(),
            spec.power_per_test(),
        )?;
        out.power = Some([p.now, p.at_the_end, p.conditional]);
        out.sample_factor = Some(p.sample_factor);
    }
    out.insight = insight(column, exposures, arm, look.at_ms).unwrap_or_default();
    out.rule = Some(rule);
    Ok(())
}
