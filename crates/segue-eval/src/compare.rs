//! From values per user to a table: means, intervals, and differences between any two models.
//!
//! All intervals of a report come from one set of draws. A draw's mean of a difference is the
//! difference of its means wherever both models are defined for the same users, so pairs cost nothing
//! beyond the models' own columns.

use segue_stats::bootstrap::{bootstrap_means, percentile_interval};
use segue_stats::holm::holm;
use segue_stats::paired_t_test::paired_t_test;
use segue_stats::random::mix;
use segue_stats::summary::sum;

use crate::EvalError;
use crate::evaluate::{Column, Part, is_per_user};
use crate::protocol::Protocol;
use crate::report::{DifferenceReport, MetricReport, ModelReport, PairReport, SeedsReport};

/// What one model answered, averaged over its seeds.
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) fit_seconds: Option<f64>,
    pub(crate) recommend_us: Option<f64>,
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) n_unanswered: usize,
    pub(crate) seeds: Vec<u64>,
    /// `[seeds][columns]` means over users; `None` where no user has a value.
    pub(crate) seed_means: Vec<Vec<Option<f64>>>,
    /// `[columns][n_cases]` for per-user metrics, `[columns][1]` for the others.
    pub(crate) values: Vec<Vec<f64>>,
    /// Values for a part of the targets, in order of cases.
    pub(crate) parts: Vec<Part>,
}

/// Mean of the values that are defined.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    let defined: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    (!defined.is_empty()).then(|| sum(&defined) / defined.len() as f64)
}

/// The entries of all models and of all pairs.
pub(crate) fn models(
    protocol: &Protocol,
    columns: &[Column],
    n_cases: usize,
    asked: &[Asked],
) -> Result<(Vec<ModelReport>, Vec<PairReport>), EvalError> {
    let per_user: Vec<usize> = (0..columns.len()).filter(|&c| is_per_user(&columns[c])).collect();
    let all: Vec<&[f64]> =
        asked.iter().flat_map(|a| per_user.iter().map(|&c| a.values[c].as_slice())).collect();
    let seed = mix(protocol.seed ^ 0xB007);
    let draws = bootstrap_means(&all, protocol.draws as usize, seed)?;
    let at = |model: usize, column: usize| {
        per_user.iter().position(|&p| p == column).map(|p| &draws[model * per_user.len() + p])
    };

    let differences = pairs(protocol, columns, &per_user, asked, &draws, seed)?;
    let mut reports = Vec::with_capacity(asked.len());
    for (m, asked_model) in asked.iter().enumerate() {
        let mut metrics = Vec::with_capacity(columns.len());
        for (c, (metric, k)) in columns.iter().enumerate() {
            let own = at(m, c);
            let difference = differences.iter().find(|d| {
                d.model == asked_model.name
                    && d.difference.baseline == asked[0].name
                    && (d.metric.as_str(), d.k) == (metric.name, *k)
            });
            let n_defined = asked_model.values[c].iter().filter(|v| !v.is_nan()).count();
            metrics.push(MetricReport {
                metric: metric.name.to_owned(),
                k: *k,
                n_users: if own.is_some() { n_defined } else { n_cases },
                value: mean(&asked_model.values[c]),
                interval: own.and_then(|draws| percentile_interval(draws, protocol.confidence).ok()),
                difference: difference.map(|d| d.difference.clone()),
                over_seeds: over_seeds(asked_model, c, protocol.confidence),
            });
        }
        reports.push(ModelReport {
            name: asked_model.name.clone(),
            seeds: asked_model.seeds.clone(),
            fit_seconds: asked_model.fit_seconds,
            recommend_us_per_user: asked_model.recommend_us,
            peak_memory_bytes: asked_model.peak_memory_bytes,
            n_users_unanswered: asked_model.n_unanswered,
            metrics,
        });
    }
    Ok((reports, differences))
}

fn over_seeds(asked: &Asked, column: usize, confidence: f64) -> Option<SeedsReport> {
    if asked.seeds.len() < 2 {
        return None;
    }
    let values: Vec<Option<f64>> = asked.seed_means.iter().map(|means| means[column]).collect();
    let known: Option<Vec<f64>> = values.iter().copied().collect();
    // The interval of a mean is that of a t-test of the values against 0.
    let interval = known.and_then(|known| paired_t_test(&known, confidence).ok()).map(|t| t.interval);
    Some(SeedsReport { values, interval })
}

/// Every model minus every model before it.
fn pairs(
    protocol: &Protocol,
    columns: &[Column],
    per_user: &[usize],
    asked: &[Asked],
    draws: &[Vec<f64>],
    seed: u64,
) -> Result<Vec<PairReport>, EvalError> {
    let mut out = Vec::new();
    for (m, model) in asked.iter().enumerate() {
        for (b, baseline) in asked[..m].iter().enumerate() {
            for (p, &c) in per_user.iter().enumerate() {
                let (own, other) = (&model.values[c], &baseline.values[c]);
                let differences: Vec<f64> = own.iter().zip(other).map(|(a, b)| a - b).collect();
                let defined: Vec<f64> = differences.iter().copied().filter(|d| !d.is_nan()).collect();
                let Some(value) = mean(&defined) else { continue };
                let same_users = own.iter().zip(other).all(|(a, b)| a.is_nan() == b.is_nan());
                let means: Vec<f64> = if same_users {
                    let (ours, theirs) = (&draws[m * per_user.len() + p], &draws[b * per_user.len() + p]);
                    ours.iter().zip(theirs).map(|(a, b)| a - b).collect()
                } else {
                    bootstrap_means(&[&differences], protocol.draws as usize, seed)?.swap_remove(0)
                };
                let Ok(interval) = percentile_interval(&means, protocol.confidence) else { continue };
                out.push(PairReport {
                    model: model.name.clone(),
                    metric: columns[c].0.name.to_owned(),
                    k: columns[c].1,
                    difference: DifferenceReport {
                        baseline: baseline.name.clone(),
                        value,
                        interval,
                        p_value: paired_t_test(&defined, protocol.confidence).ok().map(|t| t.p_value),
                        p_value_holm: None,
                        p_value_bootstrap: two_sided(&means),
                    },
                });
            }
        }
    }
    let adjusted =
        holm(&out.iter().map(|pair| pair.difference.p_value.unwrap_or(f64::NAN)).collect::<Vec<_>>());
    for (pair, adjusted) in out.iter_mut().zip(adjusted) {
        pair.difference.p_value_holm = Some(adjusted).filter(|p| !p.is_nan());
    }
    Ok(out)
}

/// `min(1, 2 (1 + min(#{d ≤ 0}, #{d ≥ 0})) / (1 + draws))`: never 0, since more draws might have
/// crossed.
///
/// Source: Davison & Hinkley, "Bootstrap Methods and their Application", 1997, section 4.2.
fn two_sided(draws: &[f64]) -> f64 {
    let defined = || draws.iter().filter(|d| !d.is_nan());
    let (below, above) = (defined().filter(|d| **d <= 0.0).count(), defined().filter(|d| **d >= 0.0).count());
    (2.0 * (1 + below.min(above)) as f64 / (1 + defined().count()) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_on_one_side_of_zero_are_rarely_chance() {
        assert_eq!(two_sided(&[1.0; 99]), 0.02);
        assert_eq!(two_sided(&[0.0; 99]), 1.0);
        let mixed: Vec<f64> = (0..99).map(|i| if i < 4 { -1.0 } else { 1.0 }).collect();
        assert_eq!(two_sided(&mixed), 0.1);
        assert_eq!(two_sided(&[1.0, f64::NAN, 1.0, 1.0]), 0.5);
    }

    #[test]
    fn a_mean_is_over_what_is_defined() {
        assert_eq!(mean(&[1.0, f64::NAN, 3.0]), Some(2.0));
        assert_eq!(mean(&[f64::NAN]), None);
    }
}
