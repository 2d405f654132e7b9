//! Intervals of an estimate from the influences of its units.

use segue_stats::bootstrap::{bootstrap_means, percentile_interval};
use segue_stats::distribution::student_t;
use segue_stats::summary::sum;
use serde::{Deserialize, Serialize};

use super::groups::{Functional, Groups, standard_error};
use crate::EvalError;

/// How an interval is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalKind {
    /// `θ ∓ t_(G−1) se` with the linearised standard error over the `G` units.
    #[default]
    Student,
    /// Percentiles of the estimate over resampled units. Numerator and denominator of a ratio are
    /// resampled together: resampling terms that were normalised before leaves out half of the noise.
    Bootstrap,
    /// Empirical Bernstein over the linearised terms: wider, holds in small samples up to what the largest
    /// term seen leaves out (Maurer & Pontil, COLT 2009).
    Bernstein,
}

/// Half-width of the two-sided empirical Bernstein interval of a mean:
/// `√(2 v ln(4/δ) / n) + 7 range ln(4/δ) / (3 (n − 1))`, `v` the variance with divisor `n − 1`.
///
/// # Source
/// Maurer & Pontil, "Empirical Bernstein bounds and sample variance penalization", COLT 2009, theorem 4,
/// at `δ/2` for each side.
#[must_use]
pub fn bernstein_half_width(variance: f64, range: f64, n: f64, delta: f64) -> f64 {
    if n < 2.0 {
        return f64::INFINITY;
    }
    let log = (4.0 / delta).ln();
    (2.0 * variance * log / n).sqrt() + 7.0 * range * log / (3.0 * (n - 1.0))
}

/// The interval of `functional`, whose influences are `influence`.
pub(super) fn interval(
    kind: IntervalKind,
    confidence: f64,
    draws: (usize, u64),
    functional: &Functional,
    groups: &Groups,
    value: f64,
    influence: &[f64],
) -> Result<[f64; 2], EvalError> {
    let n = influence.len();
    if n < 2 {
        return Ok([f64::NEG_INFINITY, f64::INFINITY]);
    }
    let half = match kind {
        IntervalKind::Student => {
            student_t::upper_quantile(0.5 * (1.0 - confidence), (n - 1) as f64) * standard_error(influence)
        }
        IntervalKind::Bernstein => {
            // The mean of `value + G dᵢ` is the value; its terms have the spread of G dᵢ.
            let scale = n as f64;
            let squares: Vec<f64> = influence.iter().map(|d| (scale * d).powi(2)).collect();
            let variance = sum(&squares) / (scale - 1.0);
            let (low, high) =
                influence.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &d| (l.min(d), h.max(d)));
            bernstein_half_width(variance, scale * (high - low), scale, 1.0 - confidence)
        }
        IntervalKind::Bootstrap => {
            let used = functional.columns();
            let columns: Vec<Vec<f64>> = used.iter().map(|&c| groups.column(c)).collect();
            let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
            let means = bootstrap_means(&views, draws.0, draws.1)?;
            let at: std::collections::BTreeMap<usize, usize> =
                used.iter().enumerate().map(|(i, &c)| (c, i)).collect();
            let values: Vec<f64> = (0..draws.0).map(|d| functional.value(|c| means[at[&c]][d])).collect();
            return Ok(percentile_interval(&values, confidence)?);
        }
    };
    Ok([value - half, value + half])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio_of(rows: &[[f64; 2]]) -> (Groups, Functional) {
        let mut groups = Groups::new(2, 1_000);
        for row in rows {
            groups.row(None).copy_from_slice(row);
        }
        (groups, Functional::ratio(0, 1))
    }

    #[test]
    fn a_constant_reward_has_a_zero_width_interval_of_every_kind() {
        // Column 0 is w r with r = 3, column 1 is w.
        let rows: Vec<[f64; 2]> = (1..50).map(|i| [3.0 * f64::from(i % 7), f64::from(i % 7)]).collect();
        let (groups, f) = ratio_of(&rows);
        let totals = groups.totals();
        let influence = f.influence(&groups, &totals);
        for kind in [IntervalKind::Student, IntervalKind::Bootstrap, IntervalKind::Bernstein] {
            let [low, high] = interval(kind, 0.95, (200, 1), &f, &groups, 3.0, &influence).unwrap();
            assert!((low - 3.0).abs() < 1e-12 && (high - 3.0).abs() < 1e-12, "{kind:?}: {low} {high}");
        }
    }

    #[test]
    fn kinds_agree_on_a_large_sample_and_bernstein_is_the_widest() {
        let rows: Vec<[f64; 2]> = (0..4_000_u64)
            .map(|i| [f64::from((i * 7919 % 13) as u32), 1.0 + f64::from((i * 104_729 % 5) as u32)])
            .collect();
        let mut groups = Groups::new(2, 10_000);
        for row in &rows {
            groups.row(None).copy_from_slice(row);
        }
        let f = Functional::ratio(0, 1);
        let totals = groups.totals();
        let (value, influence) = (f.value(|c| totals[c]), f.influence(&groups, &totals));
        let of = |kind| interval(kind, 0.95, (1_000, 1), &f, &groups, value, &influence).unwrap();
        let width = |[low, high]: [f64; 2]| high - low;
        let (student, bootstrap) = (of(IntervalKind::Student), of(IntervalKind::Bootstrap));
        assert!((width(student) / width(bootstrap) - 1.0).abs() < 0.1, "{student:?} {bootstrap:?}");
        assert!(width(of(IntervalKind::Bernstein)) > width(student));
    }

    #[test]
    fn a_single_unit_says_nothing() {
        let (groups, f) = ratio_of(&[[1.0, 2.0]]);
        let i = interval(IntervalKind::Student, 0.95, (10, 0), &f, &groups, 0.5, &[0.0]).unwrap();
        assert_eq!(i, [f64::NEG_INFINITY, f64::INFINITY]);
    }
}
