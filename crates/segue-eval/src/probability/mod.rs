//! Judging probabilities: a ranker's heads against what happened.
//!
//! Log loss says how good the probabilities are, AUC how good the order is (over all rows, and within
//! each request, where the order is made), the calibration table where they are off.

mod auc;
mod calibration;
mod log_loss;

pub use auc::{WithinRequests, auc, auc_within_requests};
pub use calibration::{CalibrationBin, calibration_bins, calibration_error};
pub use log_loss::{entropy_of_base_rate, log_loss};

use segue_stats::bootstrap::{bootstrap_means, percentile_interval};
use serde::{Deserialize, Serialize};

use crate::EvalError;

/// Probabilities of one head and what happened. Rows without an outcome are left out by the caller.
#[derive(Debug, Clone, Copy)]
pub struct Predictions<'a> {
    /// `[n_rows]` in `[0, 1]`.
    pub probability: &'a [f32],
    /// `[n_rows]` whether it happened.
    pub label: &'a [bool],
    /// `[n_rows]` which request a row belongs to, any numbers; empty if not known.
    pub request: &'a [u64],
}

impl Predictions<'_> {
    /// Checks lengths and ranges.
    ///
    /// # Errors
    /// [`EvalError::Predictions`] names the first row or length that does not fit.
    pub fn check(&self) -> Result<(), EvalError> {
        let fail = |what: String, got: String, rule| Err(EvalError::Predictions { what, got, rule });
        let n = self.probability.len();
        if n == 0 {
            return fail("number of rows".into(), "0".into(), "there is nothing to judge");
        }
        if self.label.len() != n {
            return fail(
                "length of `label`".into(),
                format!("{} for {n} probabilities", self.label.len()),
                "one per row",
            );
        }
        if !self.request.is_empty() && self.request.len() != n {
            return fail(
                "length of `request`".into(),
                format!("{} for {n} probabilities", self.request.len()),
                "one per row, or none at all",
            );
        }
        if let Some(row) = self.probability.iter().position(|p| !(0.0..=1.0).contains(p)) {
            return fail(
                format!("probability of row {row}"),
                self.probability[row].to_string(),
                "probabilities lie between 0 and 1",
            );
        }
        Ok(())
    }
}

/// How good the probabilities of one head are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityReport {
    /// Rows judged.
    pub n_rows: usize,
    /// Rows where it happened.
    pub n_positive: usize,
    /// Mean log loss in nats.
    pub log_loss: f64,
    /// Bootstrap interval of the log loss: over requests where they are known, else over rows.
    pub log_loss_interval: [f64; 2],
    /// Log loss of always saying the base rate: what knowing nothing costs.
    pub base_log_loss: f64,
    /// Chance that a positive is above a negative, over all rows; absent if there is only one kind.
    pub auc: Option<f64>,
    /// The same within requests; absent without requests that hold both kinds.
    pub auc_within_requests: Option<WithinRequests>,
    /// Bootstrap interval of [`WithinRequests::mean`] over requests.
    pub auc_within_requests_interval: Option<[f64; 2]>,
    /// Expected calibration error over the bins.
    pub calibration_error: f64,
    /// Equal-count bins, lowest probability first.
    pub calibration: Vec<CalibrationBin>,
}

/// Judges one head: log loss, AUC, calibration in `n_bins` bins, with intervals from `draws` resamples.
///
/// # Errors
/// [`EvalError::Predictions`] if the columns do not fit; [`EvalError::Protocol`] if `n_bins` is 0 or the
/// confidence is outside `(0, 1)`.
pub fn judge(
    predictions: &Predictions<'_>,
    n_bins: usize,
    draws: u32,
    seed: u64,
    confidence: f64,
) -> Result<ProbabilityReport, EvalError> {
    predictions.check()?;
    let bins = calibration_bins(predictions, n_bins, confidence)?;
    let within = auc_within_requests(predictions);
    let auc_within_requests_interval = match &within {
        Some((_, per_request)) => Some(interval(per_request, draws, seed, confidence)?),
        None => None,
    };
    Ok(ProbabilityReport {
        n_rows: predictions.probability.len(),
        n_positive: predictions.label.iter().filter(|&&l| l).count(),
        log_loss: log_loss(predictions),
        log_loss_interval: log_loss_interval(predictions, draws, seed, confidence)?,
        base_log_loss: entropy_of_base_rate(predictions.label),
        auc: auc(predictions.probability, predictions.label),
        auc_within_requests: within.map(|(summary, _)| summary),
        auc_within_requests_interval,
        calibration_error: calibration_error(&bins),
        calibration: bins,
    })
}

fn interval(values: &[f64], draws: u32, seed: u64, confidence: f64) -> Result<[f64; 2], EvalError> {
    let draws = bootstrap_means(&[values], draws as usize, seed)?;
    Ok(percentile_interval(&draws[0], confidence)?)
}

/// Rows of a request share a listener and a moment, so requests are resampled whole: the mean of a
/// draw is the ratio of two sums.
fn log_loss_interval(
    predictions: &Predictions<'_>,
    draws: u32,
    seed: u64,
    confidence: f64,
) -> Result<[f64; 2], EvalError> {
    let losses = log_loss::per_row(predictions);
    if predictions.request.is_empty() {
        return interval(&losses, draws, seed, confidence);
    }
    let groups = auc::by_request(predictions.request);
    let total: Vec<f64> = groups.iter().map(|rows| rows.iter().map(|&r| losses[r as usize]).sum()).collect();
    let n_rows: Vec<f64> = groups.iter().map(|rows| rows.len() as f64).collect();
    let means = bootstrap_means(&[&total, &n_rows], draws as usize, seed)?;
    let ratios: Vec<f64> = means[0].iter().zip(&means[1]).map(|(t, n)| t / n).collect();
    Ok(percentile_interval(&ratios, confidence)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_together() {
        let probability: Vec<f32> = (0..200).map(|i| (i % 20) as f32 / 20.0 + 0.01).collect();
        let label: Vec<bool> = (0..200).map(|i| i % 20 >= 10).collect();
        let request: Vec<u64> = (0..200).map(|i| i / 20).collect();
        let p = Predictions { probability: &probability, label: &label, request: &request };
        let report = judge(&p, 10, 500, 1, 0.95).unwrap();
        assert_eq!((report.n_rows, report.n_positive), (200, 100));
        assert_eq!(report.auc, Some(1.0));
        assert_eq!(report.auc_within_requests.as_ref().map(|w| (w.mean, w.n_requests)), Some((1.0, 10)));
        assert!((report.base_log_loss - 2_f64.ln()).abs() < 1e-12);
        let [low, high] = report.log_loss_interval;
        // All requests are alike, so resampling them changes nothing but rounding.
        assert!((low - report.log_loss).abs() < 1e-9 && (high - report.log_loss).abs() < 1e-9);
        assert_eq!(report.calibration.iter().map(|b| b.n_rows).sum::<usize>(), 200);
        let by_row = Predictions { request: &[], ..p };
        let report = judge(&by_row, 10, 500, 1, 0.95).unwrap();
        assert!(report.log_loss_interval[0] < report.log_loss && report.auc_within_requests.is_none());
    }

    #[test]
    fn columns_that_do_not_fit_are_named() {
        let ok = Predictions { probability: &[0.5, 0.2], label: &[true, false], request: &[] };
        for (bad, word) in [
            (Predictions { probability: &[], label: &[], ..ok }, "nothing"),
            (Predictions { label: &[true], ..ok }, "label"),
            (Predictions { request: &[1], ..ok }, "request"),
            (Predictions { probability: &[0.5, f32::NAN], ..ok }, "row 1"),
            (Predictions { probability: &[1.5, 0.1], ..ok }, "row 0"),
        ] {
            let message = judge(&bad, 10, 100, 0, 0.95).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        assert!(judge(&ok, 0, 100, 0, 0.95).is_err());
        assert!(judge(&ok, 2, 100, 0, 1.5).is_err());
    }
}
