//! Surrogate index: a long-term effect read from short-term signals.

use crate::StatsError;
use crate::arm::Moments;
use crate::linear::{Cholesky, dot};
use crate::summary::Summary;

/// Result of [`surrogate_index`].
#[derive(Debug, Clone, PartialEq)]
pub struct SurrogateIndex {
    /// Intercept, then one slope per surrogate.
    pub coefficients: Vec<f64>,
    /// Share of the historical outcome's variance that the surrogates explain.
    pub r2: f64,
    /// Mean fitted outcome of the control.
    pub control_mean: f64,
    /// Mean fitted outcome of the treatment.
    pub treatment_mean: f64,
    /// Difference of the two.
    pub effect: f64,
    /// Welch standard error of the difference; the coefficients are taken as known.
    pub standard_error: f64,
}

/// Fits the long-term outcome on the surrogates by least squares on historical data, and compares the
/// fitted outcome between arms.
///
/// # Shapes
/// - `surrogates`, `control`, `treatment`: rows of equal length
/// - `outcome`: `[surrogates.len()]`
///
/// # Errors
/// [`StatsError::LengthMismatch`]; [`StatsError::TooFew`] rows for the coefficients or per arm;
/// [`StatsError::NoVariance`] if the surrogates are collinear.
///
/// # Source
/// Athey, Chetty, Imbens & Kang, "The surrogate index", NBER 2019.
pub fn surrogate_index(
    surrogates: &[Vec<f64>],
    outcome: &[f64],
    control: &[Vec<f64>],
    treatment: &[Vec<f64>],
) -> Result<SurrogateIndex, StatsError> {
    if surrogates.len() != outcome.len() {
        return Err(StatsError::LengthMismatch {
            what: "historical outcomes",
            expected: surrogates.len(),
            got: outcome.len(),
        });
    }
    let width = surrogates.first().map_or(0, Vec::len);
    for row in surrogates.iter().chain(control).chain(treatment) {
        if row.len() != width {
            return Err(StatsError::LengthMismatch { what: "surrogates", expected: width, got: row.len() });
        }
    }
    let (n, k) = (surrogates.len(), width + 1);
    if n < k {
        return Err(StatsError::TooFew { what: "historical rows", got: n, needed: k });
    }
    for (what, arm) in [("control rows", control), ("treatment rows", treatment)] {
        if arm.len() < 2 {
            return Err(StatsError::TooFew { what, got: arm.len(), needed: 2 });
        }
    }
    // Centred columns: the intercept drops out and the normal equations stay well conditioned.
    let centre: Vec<f64> =
        (0..width).map(|j| surrogates.iter().map(|r| r[j]).sum::<f64>() / n as f64).collect();
    let past = Summary::of(outcome)?;
    let mut gram = vec![0.0; width * width];
    let mut cross = vec![0.0; width];
    for (row, y) in surrogates.iter().zip(outcome) {
        for i in 0..width {
            cross[i] += (row[i] - centre[i]) * (y - past.mean);
            for j in 0..width {
                gram[i * width + j] += (row[i] - centre[i]) * (row[j] - centre[j]);
            }
        }
    }
    let slopes = Cholesky::new(&gram, width, "a surrogate, given the others,")?.solve(&cross);
    let mut coefficients = vec![past.mean - dot(&slopes, &centre)];
    coefficients.extend_from_slice(&slopes);
    let fitted = |row: &Vec<f64>| coefficients[0] + dot(&slopes, row);
    let residual: f64 = surrogates.iter().zip(outcome).map(|(r, y)| (y - fitted(r)).powi(2)).sum();
    let total: f64 = outcome.iter().map(|y| (y - past.mean).powi(2)).sum();
    let arm = |rows: &[Vec<f64>]| -> Result<Moments, StatsError> {
        let s = Summary::of(&rows.iter().map(fitted).collect::<Vec<_>>())?;
        Ok(Moments { n: s.n as f64, mean: s.mean, variance: s.variance })
    };
    let (c, t) = (arm(control)?, arm(treatment)?);
    Ok(SurrogateIndex {
        r2: if total > 0.0 { 1.0 - residual / total } else { 0.0 },
        control_mean: c.mean,
        treatment_mean: t.mean,
        effect: t.mean - c.mean,
        standard_error: (c.variance_of_mean() + t.variance_of_mean()).sqrt(),
        coefficients,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_line_is_found_and_collinear_surrogates_are_refused() {
        let past: Vec<Vec<f64>> = [[1.0, 2.0], [2.0, 1.0], [3.0, 5.0], [4.0, 0.0]].map(Vec::from).to_vec();
        let outcome: Vec<f64> = past.iter().map(|r| 1.0 + 2.0 * r[0] - 0.5 * r[1]).collect();
        let s = surrogate_index(&past, &outcome, &past[..2], &past[2..]).unwrap();
        for (got, want) in s.coefficients.iter().zip([1.0, 2.0, -0.5]) {
            assert!((got - want).abs() < 1e-12);
        }
        assert!((s.r2 - 1.0).abs() < 1e-12);
        let same: Vec<Vec<f64>> = (0..5).map(|i| vec![f64::from(i), 2.0 * f64::from(i)]).collect();
        let error = surrogate_index(&same, &[1.0, 2.0, 3.0, 4.0, 6.0], &same, &same).unwrap_err();
        assert!(matches!(error, StatsError::NoVariance { .. }), "{error}");
    }
}
