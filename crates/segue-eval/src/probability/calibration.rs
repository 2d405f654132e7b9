//! Calibration: whether what is said to happen 30 % of the time does.

use segue_stats::wilson::wilson_interval;
use serde::{Deserialize, Serialize};

use super::Predictions;
use crate::EvalError;

/// Rows of similar probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Rows in the bin.
    pub n_rows: usize,
    /// Rows where it happened.
    pub n_positive: usize,
    /// Lowest probability.
    pub lowest: f32,
    /// Highest probability.
    pub highest: f32,
    /// Mean probability: what was said.
    pub mean_probability: f64,
    /// Share of positives: what happened.
    pub rate: f64,
    /// Wilson interval of the rate, rows taken as independent.
    pub rate_interval: [f64; 2],
}

/// Bins of equal count by probability, lowest first. Rows of equal probability stay together, so
/// there may be fewer bins than asked for, and of different sizes.
///
/// # Errors
/// [`EvalError::Protocol`] if `n_bins` is 0 or the confidence is outside `(0, 1)`.
pub fn calibration_bins(
    predictions: &Predictions<'_>,
    n_bins: usize,
    confidence: f64,
) -> Result<Vec<CalibrationBin>, EvalError> {
    if n_bins == 0 {
        return Err(EvalError::Protocol {
            setting: "n_bins",
            value: "0".into(),
            rule: "it is the number of calibration bins, at least 1".into(),
        });
    }
    let mut rows: Vec<(f32, bool)> =
        predictions.probability.iter().copied().zip(predictions.label.iter().copied()).collect();
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut bins = Vec::with_capacity(n_bins);
    let mut from = 0;
    for bin in 0..n_bins {
        let mut to = (rows.len() * (bin + 1) / n_bins).max(from);
        while to > from && to < rows.len() && rows[to].0 == rows[to - 1].0 {
            to += 1;
        }
        if to == from {
            continue;
        }
        let part = &rows[from..to];
        let n_positive = part.iter().filter(|r| r.1).count();
        bins.push(CalibrationBin {
            n_rows: part.len(),
            n_positive,
            lowest: part[0].0,
            highest: part[part.len() - 1].0,
            mean_probability: part.iter().map(|r| f64::from(r.0)).sum::<f64>() / part.len() as f64,
            rate: n_positive as f64 / part.len() as f64,
            rate_interval: wilson_interval(n_positive as f64, part.len() as f64, confidence)?,
        });
        from = to;
    }
    Ok(bins)
}

/// Expected calibration error: `Σ_bins n_bin / n · |mean probability − rate|`.
///
/// Depends on the bins: compare it only at the same number of them.
/// Source: Naeini, Cooper & Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
/// binning", AAAI 2015, with bins of equal count.
#[must_use]
pub fn calibration_error(bins: &[CalibrationBin]) -> f64 {
    let n: usize = bins.iter().map(|b| b.n_rows).sum();
    let off: f64 = bins.iter().map(|b| b.n_rows as f64 * (b.mean_probability - b.rate).abs()).sum();
    off / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(probability: &[f32], label: &[bool], n_bins: usize) -> Vec<CalibrationBin> {
        calibration_bins(&Predictions { probability, label, request: &[] }, n_bins, 0.95).unwrap()
    }

    #[test]
    fn two_bins_match_their_hand_computed_rates() {
        let got = bins(&[0.5, 0.25, 0.75, 1.0], &[true, false, true, false], 2);
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].n_rows, got[0].n_positive, got[0].mean_probability), (2, 1, 0.375));
        assert_eq!((got[1].n_rows, got[1].rate, got[1].mean_probability), (2, 0.5, 0.875));
        assert!((calibration_error(&got) - (0.125 + 0.375) / 2.0).abs() < 1e-12);
        assert!(got[0].rate_interval[0] > 0.0 && got[0].rate_interval[1] < 1.0);
    }

    #[test]
    fn equal_probabilities_share_a_bin_and_no_row_is_lost() {
        let got = bins(&[0.2; 7], &[true, false, false, false, false, false, false], 10);
        assert_eq!((got.len(), got[0].n_rows), (1, 7));
        let probability: Vec<f32> = (0..103).map(|i| (i / 4) as f32 / 30.0).collect();
        let label: Vec<bool> = (0..103).map(|i| i % 3 == 0).collect();
        for n_bins in [1, 2, 7, 50, 200] {
            let got = bins(&probability, &label, n_bins);
            assert_eq!(got.iter().map(|b| b.n_rows).sum::<usize>(), 103);
            assert!(got.windows(2).all(|w| w[0].highest < w[1].lowest));
        }
    }
}
