//! The effect of a treatment on a metric at each look.

use segue_stats::StatsError;
use segue_stats::arm::{ArmSums, Moments};
use segue_stats::correlated_looks::LookSums;
use segue_stats::distribution::normal;
use segue_stats::quantile_metric::{ClusterSums, QuantileSums, quantile_moments_and_dof};
use segue_stats::ratio_metric::RatioSums;
use segue_stats::regression_adjustment::{CovariateMatrix, regression_adjustment};
use segue_stats::skewness::{SkewSums, skewness_of_difference};
use serde::Serialize;

use super::concentration::equal_plays;
use crate::exposure::ExposureLog;
use crate::metric::{MetricColumn, MetricKind, UNIT_GROUPS};

/// The effect as it stood at one look.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LookEstimate {
    /// Moment of the look, UTC milliseconds.
    pub at_ms: i64,
    /// Control units whose value is final (or, accumulating, that are enrolled).
    pub n_control: u64,
    /// Treatment units.
    pub n_treatment: u64,
    /// Control mean, ratio, quantile or concentration; adjusted where a covariate is used.
    pub control: f64,
    /// The treatment's.
    pub treatment: f64,
    /// Treatment minus control.
    pub effect: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Standard errors of the control and of the treatment.
    pub standard_errors: [f64; 2],
    /// Degrees of freedom of those: units less one, fewer where a quantile or a concentration is estimated.
    pub dof: [f64; 2],
    /// Skewness of the effect's estimate, which the test takes out; 0 for arms of one size, quantiles and
    /// concentrations.
    pub skewness: f64,
    /// `1 − (adjusted / plain standard error)²`; absent without a covariate.
    pub variance_reduction: Option<f64>,
}

/// Estimates per look, and their covariance where increments are not independent.
pub(super) struct Series {
    pub(super) looks: Vec<LookEstimate>,
    pub(super) covariance: Option<Vec<Vec<f64>>>,
}

/// Values as the analysis reads them: winsorised.
pub(super) fn values(column: &MetricColumn) -> Vec<f64> {
    let mut values = column.value.clone();
    if let Some(q) = column.spec().winsorize
        && !values.is_empty()
    {
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let cap = sorted[order_statistic(sorted.len(), q) - 1];
        values.iter_mut().for_each(|v| *v = v.min(cap));
    }
    values
}

/// Estimates of treatment `arm` against arm 0 at each look at which both have two units or more.
pub(super) fn series(
    column: &MetricColumn,
    exposures: &ExposureLog,
    looks_ms: &[i64],
    arm: usize,
) -> Result<Series, StatsError> {
    match column.spec().kind {
        MetricKind::Quantile | MetricKind::TimeToEvent => {
            let last = looks_ms.last().copied().unwrap_or(0);
            let arms = [0, arm].map(|a| quantile_arm(column, exposures, a, last));
            let [c, t] = arms;
            let ((c, c_dof), (t, t_dof)) = (c?, t?);
            let dof = [c_dof, t_dof];
            Ok(Series { looks: vec![LookEstimate { dof, ..look(last, &c, &t) }], covariance: None })
        }
        MetricKind::Gini | MetricKind::EffectiveNumber => {
            let last = looks_ms.last().copied().unwrap_or(0);
            Ok(Series { looks: vec![concentration(column, exposures, arm, last)?], covariance: None })
        }
        _ if !column.looks_ms().is_empty() => accumulating(column, exposures, arm),
        _ => closed(column, exposures, looks_ms, arm),
    }
}

fn look(at_ms: i64, c: &Moments, t: &Moments) -> LookEstimate {
    LookEstimate {
        at_ms,
        n_control: c.n as u64,
        n_treatment: t.n as u64,
        control: c.mean,
        treatment: t.mean,
        effect: t.mean - c.mean,
        standard_error: (c.variance_of_mean() + t.variance_of_mean()).sqrt(),
        standard_errors: [c.variance_of_mean().sqrt(), t.variance_of_mean().sqrt()],
        dof: [c, t].map(|m| (m.n - 1.0).max(1.0)),
        skewness: 0.0,
        variance_reduction: None,
    }
}

/// Sums of one arm over the units that matured by a look.
#[derive(Clone)]
struct ArmState {
    plain: ArmSums,
    ratio: RatioSums,
    covariates: CovariateMatrix,
    skew: SkewSums,
}

impl ArmState {
    fn new() -> Self {
        Self {
            plain: ArmSums { n: 0, sum: 0.0, sum_sq: 0.0 },
            ratio: RatioSums {
                n: 0,
                numerator: 0.0,
                numerator_sq: 0.0,
                denominator: 0.0,
                denominator_sq: 0.0,
                product: 0.0,
            },
            covariates: CovariateMatrix::new(1),
            skew: SkewSums::default(),
        }
    }
}

/// Skewness of the effect: `weights[arm]` are those of the first and the second value in what the arm's
/// estimate is a mean of.
fn skewness(arms: [&SkewSums; 2], weights: [[f64; 2]; 2]) -> f64 {
    let of_values = [0, 1].map(|arm| arms[arm].skewness(weights[arm][0], weights[arm][1]));
    skewness_of_difference(arms.map(|a| a.n() as f64), of_values)
}

/// Only units whose window has closed by the look: what a unit adds is final, so increments are independent.
fn closed(
    column: &MetricColumn,
    exposures: &ExposureLog,
    looks_ms: &[i64],
    arm: usize,
) -> Result<Series, StatsError> {
    let values = values(column);
    let after = column.spec().matures_after_ms();
    let mut by_look: Vec<Vec<usize>> = vec![Vec::new(); looks_ms.len()];
    for (at, unit) in exposures.units().iter().enumerate() {
        let counts = !unit.is_mixed && (unit.arm == 0 || unit.arm as usize == arm);
        let look = looks_ms.partition_point(|&l| l < unit.at_ms.saturating_add(after));
        if counts && look < looks_ms.len() {
            by_look[look].push(at);
        }
    }
    let kind = column.spec().kind;
    let binary = matches!(kind, MetricKind::Binary | MetricKind::Retention);
    let mut arms = [ArmState::new(), ArmState::new()];
    let mut out = Vec::new();
    for (&at_ms, units) in looks_ms.iter().zip(&by_look) {
        for &at in units {
            let state = &mut arms[usize::from(exposures.units()[at].arm != 0)];
            let y = values[at];
            state.plain.n += 1;
            state.plain.sum += y;
            state.plain.sum_sq += y * y;
            if kind == MetricKind::Ratio {
                let d = column.denominator[at];
                let r = &mut state.ratio;
                r.n += 1;
                r.numerator += y;
                r.numerator_sq += y * y;
                r.denominator += d;
                r.denominator_sq += d * d;
                r.product += y * d;
                state.skew.add(y, d);
            } else {
                let before = column.before.get(at).copied();
                if let Some(before) = before {
                    state.covariates.add(y, &[before])?;
                }
                state.skew.add(y, before.unwrap_or(0.0));
            }
        }
        let [c, t] = &arms;
        let skew = [&c.skew, &t.skew];
        // Nobody new, or too few: no look.
        if units.is_empty() || c.plain.n < 2 || t.plain.n < 2 {
            continue;
        }
        if kind == MetricKind::Ratio {
            // A ratio moves as `(y − ratio · d) / mean d`.
            let sign = [c, t].map(|a| a.ratio.denominator.signum());
            let (c, t) = (c.ratio.moments()?, t.ratio.moments()?);
            let skewness = skewness(skew, [[sign[0], -sign[0] * c.mean], [sign[1], -sign[1] * t.mean]]);
            out.push(LookEstimate { skewness, ..look(at_ms, &c, &t) });
            continue;
        }
        let plain = look(at_ms, &c.plain.moments(binary)?, &t.plain.moments(binary)?);
        let adjusted = if column.before.is_empty() {
            None
        } else {
            // A covariate without variance (nobody listened before) adjusts nothing.
            regression_adjustment(&c.covariates, &t.covariates, 0.05).ok()
        };
        out.push(match adjusted {
            Some(a) => LookEstimate {
                variance_reduction: Some(a.variance_reduction),
                skewness: skewness(skew, [[1.0, -a.slopes[0]]; 2]),
                ..look(at_ms, &a.control, &a.treatment)
            },
            None => LookEstimate { skewness: skewness(skew, [[1.0, 0.0]; 2]), ..plain },
        });
    }
    if out.is_empty() {
        let fewest = arms[0].plain.n.min(arms[1].plain.n);
        return Err(StatsError::TooFew {
            what: "units of an arm whose window has closed",
            got: fewest as usize,
            needed: 2,
        });
    }
    Ok(Series { looks: out, covariance: None })
}

/// Everything of every enrolled unit so far, with the covariance between looks.
fn accumulating(column: &MetricColumn, exposures: &ExposureLog, arm: usize) -> Result<Series, StatsError> {
    let all = column.looks_ms();
    let n_looks = all.len();
    let mut enrolled = [vec![0_u64; n_looks], vec![0_u64; n_looks]];
    for unit in exposures.units().iter().filter(|u| !u.is_mixed && (u.arm == 0 || u.arm as usize == arm)) {
        let from = all.partition_point(|&l| l <= unit.at_ms);
        enrolled[usize::from(unit.arm != 0)][from..].iter_mut().for_each(|n| *n += 1);
    }
    let kept: Vec<usize> = (0..n_looks).filter(|&k| enrolled.iter().all(|e| e[k] >= 2)).collect();
    if kept.is_empty() {
        return Err(StatsError::TooFew { what: "units of an arm", got: 0, needed: 2 });
    }
    let mut arms = [LookSums::new(kept.len()), LookSums::new(kept.len())];
    let mut skews = vec![[SkewSums::default(); 2]; kept.len()];
    let (mut running, mut at_kept) = (vec![0.0; n_looks], vec![0.0; kept.len()]);
    for (at, unit) in exposures.units().iter().enumerate() {
        if unit.is_mixed || unit.arm != 0 && unit.arm as usize != arm {
            continue;
        }
        let mut total = 0.0;
        for (k, sum) in running.iter_mut().enumerate() {
            total += f64::from(column.by_look[at * n_looks + k]);
            *sum = total;
        }
        for (value, &k) in at_kept.iter_mut().zip(&kept) {
            *value = running[k];
        }
        let from = all.partition_point(|&l| l <= unit.at_ms);
        let (of, enrolled) = (usize::from(unit.arm != 0), kept.partition_point(|&k| k < from));
        arms[of].add(enrolled, &at_kept)?;
        for (skews, &value) in skews.iter_mut().zip(&at_kept).skip(enrolled) {
            skews[of].add(value, 0.0);
        }
    }
    let [control, treatment] = &arms;
    let looks = kept
        .iter()
        .zip(control.moments()?.iter().zip(&treatment.moments()?))
        .zip(&skews)
        .map(|((&k, (c, t)), [of_c, of_t])| LookEstimate {
            skewness: skewness([of_c, of_t], [[1.0, 0.0]; 2]),
            ..look(all[k], c, t)
        })
        .collect();
    let (c, t) = (control.covariance()?, treatment.covariance()?);
    let covariance = c.iter().zip(&t).map(|(a, b)| a.iter().zip(b).map(|(x, y)| x + y).collect()).collect();
    Ok(Series { looks, covariance: Some(covariance) })
}

/// 1-based index of the order statistic at `q`: the smallest with a share of at least `q` at or below it.
fn order_statistic(n: usize, q: f64) -> usize {
    ((n as f64 * q - 1e-9).ceil() as usize).clamp(1, n)
}

fn quantile_arm(
    column: &MetricColumn,
    exposures: &ExposureLog,
    arm: usize,
    look_ms: i64,
) -> Result<(Moments, f64), StatsError> {
    let nu = column.spec().quantile.unwrap_or(0.5);
    let after = column.spec().matures_after_ms();
    let counts = |at: usize| {
        let unit = exposures.units()[at];
        !unit.is_mixed && unit.arm as usize == arm && unit.at_ms.saturating_add(after) <= look_ms
    };
    let clustered = column.spec().kind == MetricKind::Quantile;
    let mut rows: Vec<(f64, u32)> = if clustered {
        column.rows.iter().filter(|(at, _)| counts(*at as usize)).map(|&(at, v)| (v, at)).collect()
    } else {
        (0..column.value.len()).filter(|&at| counts(at)).map(|at| (column.value[at], at as u32)).collect()
    };
    if rows.len() < 2 {
        return Err(StatsError::TooFew { what: "observations of an arm", got: rows.len(), needed: 2 });
    }
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let n = rows.len() as f64;
    let reach = normal::upper_quantile(0.025) * (nu * (1.0 - nu) / n).sqrt();
    let at = |q: f64| rows[order_statistic(rows.len(), q.clamp(0.0, 1.0)) - 1].0;
    let (quantile, lower, upper) = (at(nu), at(nu - reach), at(nu + reach));
    if !upper.is_finite() {
        return Err(StatsError::Range {
            what: "upper order statistic of a quantile",
            value: upper,
            rule: "too few units had the event for this quantile to be known; take a lower one",
        });
    }
    let clusters = clustered.then(|| {
        let mut sizes = std::collections::BTreeMap::<u32, (f64, f64)>::new();
        for &(value, unit) in &rows {
            let entry = sizes.entry(unit).or_default();
            entry.0 += f64::from(u8::from(value <= quantile));
            entry.1 += 1.0;
        }
        let sum = |f: fn(&(f64, f64)) -> f64| sizes.values().map(f).sum();
        ClusterSums {
            n_clusters: sizes.len() as u64,
            below: sum(|c| c.0),
            below_sq: sum(|c| c.0 * c.0),
            size: sum(|c| c.1),
            size_sq: sum(|c| c.1 * c.1),
            product: sum(|c| c.0 * c.1),
        }
    });
    let n = rows.len() as u64;
    quantile_moments_and_dof(&QuantileSums { n, n_star: n, quantile, lower, upper, clusters }, nu)
}

/// Concentration of both arms at equal plays.
fn concentration(
    column: &MetricColumn,
    exposures: &ExposureLog,
    arm: usize,
    at_ms: i64,
) -> Result<LookEstimate, StatsError> {
    let groups = |a: usize| -> Vec<Vec<u64>> {
        (0..UNIT_GROUPS)
            .map(|g| column.keys.values().map(|counts| counts[a * UNIT_GROUPS + g]).collect())
            .collect()
    };
    let e = equal_plays(&groups(0), &groups(arm), column.spec().kind)?;
    let counts = exposures.counts();
    Ok(LookEstimate {
        at_ms,
        n_control: counts[0],
        n_treatment: counts[arm],
        control: e.estimates[0],
        treatment: e.estimates[1],
        effect: e.estimates[1] - e.estimates[0],
        standard_error: e.standard_errors[0].hypot(e.standard_errors[1]),
        standard_errors: e.standard_errors,
        dof: e.dof,
        skewness: 0.0,
        variance_reduction: None,
    })
}

#[cfg(test)]
mod tests {
    use segue_types::DAY_MS;

    use super::*;
    use crate::metric::{MetricSpec, Observation};

    /// Seven of ten in the control; what each unit gave, its covariate before, and its denominator.
    const UNITS: [(f64, f64, f64); 10] = [
        (1.0, 2.0, 2.0),
        (2.0, 1.0, 1.0),
        (4.0, 5.0, 3.0),
        (1.5, 0.5, 2.0),
        (9.0, 7.0, 4.0),
        (0.5, 1.0, 1.0),
        (3.0, 2.5, 2.0),
        (2.5, 3.0, 1.0),
        (5.0, 4.0, 2.0),
        (7.0, 2.0, 5.0),
    ];

    fn look_of(spec: &MetricSpec, looks: &[i64], denominator: f64) -> LookEstimate {
        let mut log = ExposureLog::new(vec!["control".into(), "treatment".into()], [0, i64::MAX]);
        let names: Vec<String> = (0..UNITS.len()).map(|n| format!("u{n}")).collect();
        for (n, unit) in names.iter().enumerate() {
            let arm = if n < 7 { "control" } else { "treatment" };
            log.observe(unit, arm, Some(10 * DAY_MS), None, true).unwrap();
        }
        let mut column = MetricColumn::new(spec, &log, looks);
        for (unit, &(y, x, d)) in names.iter().zip(&UNITS) {
            let row = |day: i64, value| Observation {
                unit,
                at_ms: Some(day * DAY_MS),
                value,
                denominator: denominator * d,
                ..Observation::default()
            };
            column.observe(&row(11, y), &log).unwrap();
            if spec.pre_days.is_some() {
                column.observe(&row(9, x), &log).unwrap();
            }
        }
        series(&column, &log, &[30 * DAY_MS], 1).unwrap().looks.pop().unwrap()
    }

    /// In two passes, from what each arm's estimate is a mean of.
    fn expected(of: impl Fn(usize, (f64, f64, f64)) -> f64) -> f64 {
        let of_arm = |units: &[(f64, f64, f64)], arm: usize| {
            let v: Vec<f64> = units.iter().map(|&u| of(arm, u)).collect();
            let n = v.len() as f64;
            let mean = v.iter().sum::<f64>() / n;
            let m = |k: i32| v.iter().map(|v| (v - mean).powi(k)).sum::<f64>() / n;
            m(3) / m(2).powf(1.5)
        };
        let shape = 0.7 * of_arm(&UNITS[..7], 0) + 0.3 * of_arm(&UNITS[7..], 1);
        shape * (1.0 / 9.0 - 1.0 / 49.0) / (1.0 / 3.0 + 1.0 / 7.0_f64).powf(1.5)
    }

    #[test]
    fn the_skewness_of_an_effect_is_that_of_what_it_is_a_mean_of() {
        let spec = |kind| MetricSpec { kind, window_days: Some([0.0, 7.0]), ..MetricSpec::default() };
        let mean = look_of(&spec(MetricKind::Mean), &[], 1.0);
        let plain = expected(|_, (y, ..)| y);
        assert!(plain > 0.1 && (mean.skewness - plain).abs() < 1e-12, "{mean:?} {plain}");
        let accumulating = look_of(&spec(MetricKind::Mean), &[30 * DAY_MS], 1.0);
        assert!((accumulating.skewness - plain).abs() < 1e-12, "{accumulating:?} {plain}");

        let adjusted = look_of(&MetricSpec { pre_days: Some(5.0), ..spec(MetricKind::Mean) }, &[], 1.0);
        let mut sums = [CovariateMatrix::new(1), CovariateMatrix::new(1)];
        for (n, &(y, x, _)) in UNITS.iter().enumerate() {
            sums[usize::from(n >= 7)].add(y, &[x]).unwrap();
        }
        let slope = regression_adjustment(&sums[0], &sums[1], 0.05).unwrap().slopes[0];
        let want = expected(|_, (y, x, _)| y - slope * x);
        assert!(slope > 0.5 && (adjusted.skewness - want).abs() < 1e-10, "{adjusted:?} {want}");

        // A denominator below 0 turns the ratio around, and its skewness with it.
        for sign in [1.0, -1.0] {
            let ratio = look_of(&spec(MetricKind::Ratio), &[], sign);
            let of = [ratio.control, ratio.treatment];
            let want = expected(|arm, (y, _, d)| sign * (y - of[arm] * sign * d));
            assert!((ratio.skewness - want).abs() < 1e-10, "{ratio:?} {want}");
        }
    }
}
