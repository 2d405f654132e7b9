//! What else the data show: segments, days since exposure, and a Bayesian reading. None of it decides.

use segue_stats::StatsError;
use segue_stats::arm::{Alternative, ArmSums, Moments};
use segue_stats::bayesian_effect::{NormalPrior, bayesian_normal_effect};
use segue_stats::multi_metric_decision::Direction;
use segue_stats::post_stratification::post_stratification;
use segue_stats::segment_heterogeneity::segment_heterogeneity;
use segue_stats::welch_t::welch_t;
use serde::Serialize;

use super::estimate::values;
use crate::exposure::ExposureLog;
use crate::metric::{MetricColumn, MetricKind, NOVELTY_DAYS};

/// Prior of the relative effect: most changes of a mature product are within a few per cent.
const PRIOR: NormalPrior = NormalPrior { mean: 0.0, variance: 0.05 * 0.05 };

/// Effect in one stratum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentEffect {
    /// Name of the stratum.
    pub segment: String,
    /// Units of both arms.
    pub n_units: u64,
    /// Treatment minus control.
    pub effect: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Against all other segments, Bonferroni over segments.
    pub p_value: f64,
}

/// Effect on one day after exposure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DayEffect {
    /// Days since exposure.
    pub day: usize,
    /// Treatment minus control on that day.
    pub effect: f64,
    /// 95 % interval.
    pub interval: [f64; 2],
}

/// A Bayesian reading of the relative effect, prior `N(0, 5 %²)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BayesReading {
    /// Posterior mean of the relative effect.
    pub mean: f64,
    /// 95 % credible interval.
    pub interval: [f64; 2],
    /// Probability that the effect is on the good side of 0.
    pub chance_to_win: f64,
    /// Expected loss of shipping, relative.
    pub risk_of_shipping: f64,
}

/// All of it; a part that the metric does not allow is absent or empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Insight {
    /// Effects by stratum.
    pub segments: Vec<SegmentEffect>,
    /// p-value that the effect is the same in all strata.
    pub heterogeneity_p: Option<f64>,
    /// Effect with strata weighted by their share, and its 95 % interval.
    pub post_stratified: Option<(f64, [f64; 2])>,
    /// Effects by day since exposure.
    pub days: Vec<DayEffect>,
    /// p-value that the effect neither wears off nor grows; from each unit's own slope over its days.
    pub novelty_p: Option<f64>,
    /// Bayesian reading.
    pub bayes: Option<BayesReading>,
}

/// Everything for treatment `arm`, over units that matured by `look_ms`.
pub(super) fn insight(
    column: &MetricColumn,
    exposures: &ExposureLog,
    arm: usize,
    look_ms: i64,
) -> Result<Insight, StatsError> {
    let kind = column.spec().kind;
    let additive =
        matches!(kind, MetricKind::Binary | MetricKind::Count | MetricKind::Mean | MetricKind::Retention);
    if !additive {
        return Ok(Insight::default());
    }
    let binary = matches!(kind, MetricKind::Binary | MetricKind::Retention);
    let values = values(column);
    let after = column.spec().matures_after_ms();
    let none = [ArmSums { n: 0, sum: 0.0, sum_sq: 0.0 }; 2];
    let mut strata = vec![none; exposures.strata().len()];
    let mut all = none;
    let n_days = days_of(column);
    let mut days = vec![none; n_days];
    let mut slopes = none;
    let mean_day = (n_days as f64 - 1.0) / 2.0;
    for (at, unit) in exposures.units().iter().enumerate() {
        let matured = unit.at_ms.saturating_add(after) <= look_ms;
        if unit.is_mixed || !matured || unit.arm != 0 && unit.arm as usize != arm {
            continue;
        }
        let side = usize::from(unit.arm != 0);
        add(&mut all[side], values[at]);
        add(&mut strata[unit.stratum as usize][side], values[at]);
        let mut slope = 0.0;
        for (day, sums) in days.iter_mut().enumerate() {
            let value = f64::from(column.by_day[at * NOVELTY_DAYS + day]);
            add(&mut sums[side], value);
            slope += (day as f64 - mean_day) * value;
        }
        add(&mut slopes[side], slope);
    }
    let mut out = Insight::default();
    let moments = |pair: &[ArmSums; 2]| -> Result<(Moments, Moments), StatsError> {
        Ok((pair[0].moments(binary)?, pair[1].moments(binary)?))
    };
    let enough: Vec<usize> = (0..strata.len()).filter(|&s| strata[s].iter().all(|a| a.n >= 20)).collect();
    if enough.len() >= 2 {
        let pairs: Vec<(Moments, Moments)> =
            enough.iter().map(|&s| moments(&strata[s])).collect::<Result<_, _>>()?;
        let effects: Vec<f64> = pairs.iter().map(|(c, t)| t.mean - c.mean).collect();
        let errors: Vec<f64> =
            pairs.iter().map(|(c, t)| (c.variance_of_mean() + t.variance_of_mean()).sqrt()).collect();
        // A stratum without variance has no weight that could be computed.
        if let Ok(h) = segment_heterogeneity(&effects, &errors) {
            out.heterogeneity_p = Some(h.p_value);
            out.segments = enough
                .iter()
                .enumerate()
                .map(|(i, &s)| SegmentEffect {
                    segment: exposures.strata()[s].clone(),
                    n_units: strata[s][0].n + strata[s][1].n,
                    effect: effects[i],
                    standard_error: errors[i],
                    p_value: h.segment_p_bonferroni[i],
                })
                .collect();
        }
        let p = post_stratification(&pairs, 0.05)?;
        out.post_stratified = Some((p.difference, p.interval));
    }
    if n_days >= 2 && slopes.iter().all(|s| s.n >= 2) {
        for (day, sums) in days.iter().enumerate() {
            let (c, t) = (sums[0].moments(false)?, sums[1].moments(false)?);
            let w = welch_t(&c, &t, 0.0, 0.05, Alternative::TwoSided)?;
            out.days.push(DayEffect { day, effect: w.difference, interval: w.interval });
        }
        let (c, t) = (slopes[0].moments(false)?, slopes[1].moments(false)?);
        out.novelty_p = Some(welch_t(&c, &t, 0.0, 0.05, Alternative::TwoSided)?.p_value);
    }
    let (c, t) = moments(&all)?;
    let inverse = column.spec().direction == Some(Direction::Decrease);
    out.bayes = bayesian_normal_effect(&c, &t, true, PRIOR, 0.05, inverse).ok().map(|p| BayesReading {
        mean: p.mean,
        interval: p.interval,
        chance_to_win: p.chance_to_win,
        risk_of_shipping: p.risk_treatment,
    });
    Ok(out)
}

/// Whole days of the window, up to [`NOVELTY_DAYS`]; 0 where the metric keeps none.
fn days_of(column: &MetricColumn) -> usize {
    match column.spec().window_days {
        Some([from, to]) if !column.by_day.is_empty() && from == 0.0 => {
            (to.floor() as usize).min(NOVELTY_DAYS)
        }
        _ => 0,
    }
}

fn add(sums: &mut ArmSums, y: f64) {
    sums.n += 1;
    sums.sum += y;
    sums.sum_sq += y * y;
}
