//! A rule on top of estimates: what may be said at which look.

use segue_stats::StatsError;
use segue_stats::after_stopping::after_stopping;
use segue_stats::asymptotic_cs::asymptotic_cs;
use segue_stats::correlated_looks::correlated_bounds;
use segue_stats::distribution::student_t;
use segue_stats::group_sequential::{Sides, group_sequential_bounds, normal_equivalent, student_boundary};
use segue_stats::multi_metric_decision::Direction;
use segue_stats::skewness::{with_skewness, without_skewness};
use serde::Serialize;

use super::LookEstimate;
use super::spec::{Rule, SequentialSpec};
use crate::metric::MetricSpec;

/// One look under a rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LookResult {
    /// Moment, UTC milliseconds.
    pub at_ms: i64,
    /// Units of both arms.
    pub n_units: u64,
    /// Share of the planned units, at most 1.
    pub information: f64,
    /// Treatment minus control.
    pub effect: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Effect over standard error, its skewness taken out.
    pub z: f64,
    /// What |z| is compared with at this look: Student's where the rule is fixed or group-sequential.
    pub boundary: f64,
    /// Interval that is valid at this look whether or not the test stops here.
    pub interval: [f64; 2],
}

/// A metric under a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleResult {
    /// Looks up to the planned end.
    pub looks: Vec<LookResult>,
    /// Index of the first look whose interval excludes 0.
    pub crossed_at: Option<usize>,
    /// Whether the planned sample is reached.
    pub is_final: bool,
    /// p-value valid under the rule: stagewise (group-sequential), anytime (always-valid) or plain (fixed).
    pub p_value: f64,
    /// Estimate and interval without the bias of having stopped; group-sequential on closed windows only.
    pub after_stopping: Option<Stopped>,
}

/// What stopping has not biased.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stopped {
    /// Effect that the outcome exceeds half of the time.
    pub median_unbiased: f64,
    /// Stagewise interval.
    pub interval: [f64; 2],
}

/// What holds for a metric at its deciding look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Verdict {
    /// The interval lies on the good side of 0.
    pub superior: bool,
    /// The interval lies on the good side of the margin.
    pub non_inferior: bool,
    /// The interval lies on the bad side of 0.
    pub deteriorated: bool,
}

impl Verdict {
    /// From an interval of the effect. Without a direction nothing is good or bad.
    pub(super) fn of(metric: &MetricSpec, interval: [f64; 2], control: f64) -> Self {
        let Some(direction) = metric.direction else { return Self::default() };
        let [low, high] = match direction {
            Direction::Increase => interval,
            Direction::Decrease => [-interval[1], -interval[0]],
        };
        Self {
            superior: low > 0.0,
            non_inferior: metric.margin.is_some_and(|m| low > -m * control.abs()),
            deteriorated: high < 0.0,
        }
    }

    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self { superior: true, .. } => "superior",
            Self { deteriorated: true, .. } => "deteriorated",
            Self { non_inferior: true, .. } => "non-inferior",
            _ => "open",
        }
    }
}

/// Puts a rule on estimates. Looks after the planned end are left out; a look without variance is too.
pub(super) fn apply(
    spec: &SequentialSpec,
    estimates: &[LookEstimate],
    covariance: Option<&[Vec<f64>]>,
    alpha: f64,
) -> Result<RuleResult, StatsError> {
    let units = |e: &LookEstimate| e.n_control + e.n_treatment;
    let last = estimates.last().map_or(0, units);
    let planned = spec.planned_units.unwrap_or(last).max(1) as f64;
    let mut kept: Vec<usize> = Vec::new();
    let mut reached = 0.0;
    for (at, e) in estimates.iter().enumerate() {
        let information = (units(e) as f64 / planned).min(1.0);
        let usable = e.standard_error > 0.0 && e.standard_error.is_finite() && e.effect.is_finite();
        let is_new = information > reached || covariance.is_some() && reached < 1.0;
        if usable && is_new && reached < 1.0 {
            kept.push(at);
            reached = information;
        }
    }
    if kept.is_empty() {
        return Err(StatsError::NoVariance { what: "the effect at every look" });
    }
    let times: Vec<f64> = spending_times(&kept, estimates, planned);
    let dof: Vec<f64> = kept.iter().map(|&k| degrees_of_freedom(&estimates[k])).collect();
    let student = |z: Vec<f64>| z.iter().zip(&dof).map(|(&z, &dof)| student_boundary(z, dof)).collect();
    let bounds: Vec<f64> = match (spec.rule, covariance) {
        (Rule::Fixed, _) => dof.iter().map(|&dof| student_t::upper_quantile(0.5 * alpha, dof)).collect(),
        (Rule::GroupSequential, None) => {
            student(group_sequential_bounds(&times, alpha, Sides::Two, spec.spending())?.z)
        }
        (Rule::GroupSequential, Some(covariance)) => {
            let part: Vec<Vec<f64>> =
                kept.iter().map(|&j| kept.iter().map(|&k| covariance[j][k]).collect()).collect();
            student(correlated_bounds(&part, &times, alpha, Sides::Two, spec.spending(), 0x5e9e)?)
        }
        (Rule::AlwaysValid, _) => kept
            .iter()
            .map(|&k| {
                let e = &estimates[k];
                let cs = asymptotic_cs(e.effect, e.standard_error, units(e) as f64, alpha, planned)?;
                Ok(cs.half_width / e.standard_error)
            })
            .collect::<Result<_, StatsError>>()?,
    };
    let looks: Vec<LookResult> = kept
        .iter()
        .zip(&times)
        .zip(&bounds)
        .map(|((&k, &information), &boundary)| {
            let e = &estimates[k];
            LookResult {
                at_ms: e.at_ms,
                n_units: units(e),
                information,
                effect: e.effect,
                standard_error: e.standard_error,
                z: without_skewness(e.effect / e.standard_error, e.skewness),
                boundary,
                interval: [e.at_statistic(boundary), e.at_statistic(-boundary)],
            }
        })
        .collect();
    let is_final = reached >= 1.0;
    let crossed_at = match spec.rule {
        // Looks before the end of a fixed design are for looking, not for deciding.
        Rule::Fixed => Some(looks.len() - 1).filter(|&k| is_final && looks[k].z.abs() >= looks[k].boundary),
        _ => looks.iter().position(|l| l.z.abs() >= l.boundary),
    };
    let at = crossed_at.unwrap_or(looks.len() - 1);
    let mut stopped = None;
    let mut p_value = student_t::two_sided_p(looks[at].z, dof[at]);
    match spec.rule {
        Rule::GroupSequential if covariance.is_none() => {
            let boundaries = group_sequential_bounds(&times, alpha, Sides::Two, spec.spending())?;
            let (e, dof) = (&estimates[kept[at]], dof[at]);
            let z = normal_equivalent(looks[at].z, dof);
            // On the scale of z, where a look's spread is 1, and back through Student's tails and the skewness.
            let a = after_stopping(&times[..=at], &boundaries, Sides::Two, z, 1.0, alpha)?;
            let effect = |drift: f64| {
                let off = z - drift;
                e.at_statistic(student_boundary(off.abs(), dof).copysign(off))
            };
            p_value = a.p_value;
            stopped = Some(Stopped {
                median_unbiased: effect(a.median_unbiased),
                interval: a.interval.map(effect),
            });
        }
        Rule::AlwaysValid => {
            p_value = 1.0;
            for l in &looks {
                let cs = asymptotic_cs(
                    l.z * l.standard_error,
                    l.standard_error,
                    l.n_units as f64,
                    alpha,
                    planned,
                )?;
                p_value = f64::min(p_value, cs.p_value);
            }
        }
        _ => {}
    }
    Ok(RuleResult { looks, crossed_at, is_final, p_value, after_stopping: stopped })
}

impl LookEstimate {
    /// The true effect under which this estimate would have that statistic, skewness taken out.
    fn at_statistic(&self, z: f64) -> f64 {
        self.effect - self.standard_error * with_skewness(z, self.skewness)
    }
}

/// Degrees of freedom of an effect's standard error from those of both arms (Welch–Satterthwaite).
fn degrees_of_freedom(e: &LookEstimate) -> f64 {
    let [c, t] = e.standard_errors.map(|s| s * s);
    let parts = c * c / e.dof[0] + t * t / e.dof[1];
    if parts > 0.0 { (c + t) * (c + t) / parts } else { f64::INFINITY }
}

/// Share of the planned units at each look, made to rise where enrolment stands still but values accumulate.
fn spending_times(kept: &[usize], estimates: &[LookEstimate], planned: f64) -> Vec<f64> {
    let mut before = 0.0;
    kept.iter()
        .map(|&k| {
            let e = &estimates[k];
            let share = ((e.n_control + e.n_treatment) as f64 / planned).min(1.0);
            before = if share > before { share } else { before + 1e-6 * (1.0 - before) };
            before
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(k: u64, effect: f64, se: f64) -> LookEstimate {
        LookEstimate {
            at_ms: k as i64,
            n_control: 500 * k,
            n_treatment: 500 * k,
            control: 10.0,
            treatment: 10.0 + effect,
            effect,
            standard_error: se,
            standard_errors: [se / 2.0_f64.sqrt(); 2],
            dof: [(500 * k - 1) as f64; 2],
            skewness: 0.0,
            variance_reduction: None,
        }
    }

    fn spec(rule: Rule) -> SequentialSpec {
        SequentialSpec { rule, planned_units: Some(4_000), ..SequentialSpec::default() }
    }

    #[test]
    fn each_rule_has_the_boundary_of_its_promise() {
        let looks: Vec<LookEstimate> = (1..=4).map(|k| at(k, 0.25, 0.2 / (k as f64).sqrt())).collect();
        let gst = apply(&spec(Rule::GroupSequential), &looks, None, 0.05).unwrap();
        for (l, want) in gst.looks.iter().zip([4.3326, 2.9631, 2.3590, 2.0141]) {
            // 998 to 3,998 degrees of freedom add up to 2 %.
            assert!(l.boundary > want && l.boundary < 1.02 * want, "{} {want}", l.boundary);
        }
        assert_eq!((gst.crossed_at, gst.is_final), (Some(3), true));
        let fixed = apply(&spec(Rule::Fixed), &looks[..3], None, 0.05).unwrap();
        assert_eq!((fixed.crossed_at, fixed.is_final), (None, false), "not before the end");
        let always = apply(&spec(Rule::AlwaysValid), &looks, None, 0.05).unwrap();
        assert!(always.looks[3].boundary > gst.looks[3].boundary);
        assert!(gst.after_stopping.unwrap().median_unbiased < 0.25 + 1e-9);
    }

    #[test]
    fn few_units_are_held_against_students_boundary() {
        let mut look = at(1, 0.25, 0.1);
        (look.n_control, look.n_treatment, look.dof) = (6, 6, [5.0; 2]);
        let spec = SequentialSpec { planned_units: Some(12), ..spec(Rule::Fixed) };
        let r = apply(&spec, &[look], None, 0.05).unwrap();
        assert!((r.looks[0].boundary - 2.228_139).abs() < 1e-5, "t of 10 degrees: {}", r.looks[0].boundary);
        assert!((r.p_value - student_t::two_sided_p(2.5, 10.0)).abs() < 1e-12);
    }

    #[test]
    fn skewness_moves_both_ends_and_an_interval_agrees_with_its_test() {
        let mut look = at(1, 0.197, 0.1);
        look.skewness = 0.3;
        let spec = SequentialSpec { planned_units: Some(1_000), ..spec(Rule::GroupSequential) };
        let plain = apply(&spec, &[LookEstimate { skewness: 0.0, ..look.clone() }], None, 0.05).unwrap();
        let r = apply(&spec, &[look], None, 0.05).unwrap();
        let (l, p) = (&r.looks[0], &plain.looks[0]);
        // 1.97 + .3·1.97²/3 + .09·1.97³/27 + .05.
        assert!((l.z - 2.433_578).abs() < 1e-5, "{}", l.z);
        assert!(l.interval[0] > p.interval[0] && l.interval[1] > p.interval[1], "{l:?} {p:?}");
        assert_eq!((r.crossed_at, l.interval[0] > 0.0), (Some(0), true));
        // A single look has nothing to correct for but the skewness: both intervals are one.
        let stopped = r.after_stopping.unwrap();
        for (a, b) in stopped.interval.iter().zip(l.interval) {
            assert!((a - b).abs() < 1e-6, "{stopped:?} {l:?}");
        }
        assert!((stopped.median_unbiased - 0.197 - 0.1 * 10.0 * (1.0 - 0.985_f64.cbrt())).abs() < 1e-6);
    }

    #[test]
    fn looks_beyond_the_plan_and_without_variance_do_not_count() {
        let mut looks: Vec<LookEstimate> = (1..=6).map(|k| at(k, 0.0, 0.1)).collect();
        looks[0].standard_error = 0.0;
        let r = apply(&spec(Rule::GroupSequential), &looks, None, 0.05).unwrap();
        assert_eq!(r.looks.iter().map(|l| l.at_ms).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(apply(&spec(Rule::Fixed), &looks[..1], None, 0.05).is_err());
    }

    #[test]
    fn verdicts_follow_the_direction() {
        let mut metric =
            MetricSpec { direction: Some(Direction::Decrease), margin: Some(0.1), ..MetricSpec::default() };
        assert_eq!(Verdict::of(&metric, [-0.2, -0.1], 1.0).word(), "superior");
        assert_eq!(Verdict::of(&metric, [-0.2, 0.05], 1.0).word(), "non-inferior");
        assert_eq!(Verdict::of(&metric, [-0.2, 0.15], 1.0).word(), "open");
        let within = Verdict::of(&metric, [0.01, 0.05], 1.0);
        assert!(within.deteriorated && within.non_inferior, "worse, within the margin");
        metric.direction = None;
        assert_eq!(Verdict::of(&metric, [1.0, 2.0], 1.0), Verdict::default());
    }
}
