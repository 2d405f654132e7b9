//! Calibration: log odds of held-out rows to probabilities that come true.
//!
//! Platt's method, `p = 1 / (1 + exp(−(slope · s + offset)))`. With a positive slope it keeps the
//! order of every two rows, which isotonic regression does not (its steps make ties, and ties are
//! broken without regard to taste); and with two numbers it needs hundreds of rows, not thousands.
//! Where held-out rows are too few, or say that a higher score means *less*, scores stay as they are.
//!
//! # Source
//! Platt, "Probabilistic outputs for support vector machines", 1999, with its smoothed targets;
//! Newton's method as in Lin, Lin & Weng, "A note on Platt's probabilistic outputs", 2007.

use serde::{Deserialize, Serialize};

use super::gradient::{log_loss, sigmoid};

/// Rows of either label needed to calibrate.
const MIN_ROWS_PER_LABEL: usize = 50;

/// How a score becomes a probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Factor of the log odds, above 0.
    pub slope: f32,
    /// Added to the log odds.
    pub offset: f32,
    /// How it was found.
    pub method: CalibrationMethod,
}

/// How a calibration was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationMethod {
    /// Platt's method on held-out rows.
    Platt,
    /// None: fewer than 50 held-out rows of either label.
    TooFewRows,
    /// None: the fit gave no positive slope.
    NoSlope,
}

impl Calibration {
    /// Scores as they are.
    #[must_use]
    pub fn none(method: CalibrationMethod) -> Self {
        Self { slope: 1.0, offset: 0.0, method }
    }

    /// Fits slope and offset to held-out scores.
    ///
    /// # Shapes and units
    /// - `scores`: `[n_rows]`, log odds
    /// - `labels`: `[n_rows]`
    #[must_use]
    pub fn fit(scores: &[f32], labels: &[bool]) -> Self {
        assert_eq!(scores.len(), labels.len(), "one label per score");
        let n_positive = labels.iter().filter(|&&label| label).count();
        let n_negative = labels.len() - n_positive;
        if n_positive.min(n_negative) < MIN_ROWS_PER_LABEL {
            return Self::none(CalibrationMethod::TooFewRows);
        }
        // Smoothed targets keep the fit finite where scores separate the labels.
        let positive = (n_positive as f64 + 1.0) / (n_positive as f64 + 2.0);
        let negative = 1.0 / (n_negative as f64 + 2.0);
        let loss = |slope: f64, offset: f64| -> f64 {
            let rows = scores.iter().zip(labels);
            rows.map(|(&score, &label)| {
                let z = slope * f64::from(score) + offset;
                let target = if label { positive } else { negative };
                z.max(0.0) - z * target + (-z.abs()).exp().ln_1p()
            })
            .sum()
        };
        let (mut slope, mut offset) = (1.0f64, 0.0f64);
        let mut current = loss(slope, offset);
        for _ in 0..50 {
            // Gradient and Hessian of the loss; the small diagonal keeps equal scores solvable.
            let (mut g, mut h) = ([0.0; 2], [1e-9, 0.0, 1e-9]);
            for (&score, &label) in scores.iter().zip(labels) {
                let score = f64::from(score);
                let p = 1.0 / (1.0 + (-(slope * score + offset)).exp());
                let residual = p - if label { positive } else { negative };
                let weight = p * (1.0 - p);
                g[0] += residual * score;
                g[1] += residual;
                h[0] += weight * score * score;
                h[1] += weight * score;
                h[2] += weight;
            }
            let determinant = h[0] * h[2] - h[1] * h[1];
            let step = [(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant];
            // Halve the step until the loss falls.
            let mut share = 1.0;
            let next = loop {
                let next = loss(slope - share * step[0], offset - share * step[1]);
                if next < current || share < 1e-8 {
                    break next;
                }
                share *= 0.5;
            };
            if next.is_nan() || next >= current - 1e-12 * current {
                break;
            }
            slope -= share * step[0];
            offset -= share * step[1];
            current = next;
        }
        if slope.is_finite() && offset.is_finite() && slope > 1e-3 {
            Self { slope: slope as f32, offset: offset as f32, method: CalibrationMethod::Platt }
        } else {
            Self::none(CalibrationMethod::NoSlope)
        }
    }

    /// Calibrated log odds.
    #[must_use]
    pub fn log_odds(self, score: f32) -> f32 {
        self.slope * score + self.offset
    }

    /// The probability of a score, in `[0, 1]`.
    #[must_use]
    pub fn probability(self, score: f32) -> f32 {
        sigmoid(self.log_odds(score))
    }

    /// Mean log loss of calibrated scores; NaN without rows.
    #[must_use]
    pub fn mean_log_loss(self, scores: &[f32], labels: &[bool]) -> f64 {
        let sum: f64 =
            scores.iter().zip(labels).map(|(&score, &label)| log_loss(self.log_odds(score), label)).sum();
        sum / scores.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::falls_in;
    use super::*;

    /// Scores spread over −3..3 whose labels follow `true_slope · score + true_offset`.
    fn rows(n: usize, true_slope: f32, true_offset: f32) -> (Vec<f32>, Vec<bool>) {
        let scores: Vec<f32> = (0..n).map(|i| 6.0 * i as f32 / n as f32 - 3.0).collect();
        let label = |(i, &s): (usize, &f32)| {
            falls_in(f64::from(sigmoid(true_slope * s + true_offset)), 5, 5, i as u64)
        };
        let labels = scores.iter().enumerate().map(label).collect();
        (scores, labels)
    }

    #[test]
    fn it_recovers_the_slope_and_offset_that_made_the_labels() {
        for (slope, offset) in [(0.5, -1.0), (1.0, 0.0), (2.0, 1.5)] {
            let (scores, labels) = rows(40_000, slope, offset);
            let fitted = Calibration::fit(&scores, &labels);
            assert_eq!(fitted.method, CalibrationMethod::Platt);
            assert!((fitted.slope - slope).abs() < 0.06, "{fitted:?}");
            assert!((fitted.offset - offset).abs() < 0.06, "{fitted:?}");
            let raw = Calibration::none(CalibrationMethod::NoSlope).mean_log_loss(&scores, &labels);
            assert!(fitted.mean_log_loss(&scores, &labels) <= raw + 1e-6);
        }
    }

    #[test]
    fn too_few_rows_or_scores_the_wrong_way_round_leave_scores_alone() {
        let (scores, labels) = rows(60, 1.0, 0.0);
        assert_eq!(Calibration::fit(&scores, &labels).method, CalibrationMethod::TooFewRows);
        let (scores, labels) = rows(5000, -1.0, 0.0);
        let fitted = Calibration::fit(&scores, &labels);
        assert_eq!(fitted, Calibration::none(CalibrationMethod::NoSlope));
    }

    #[test]
    fn separated_and_equal_scores_stay_finite() {
        let labels: Vec<bool> = (0..400).map(|i| i >= 200).collect();
        let separated: Vec<f32> = labels.iter().map(|&label| if label { 5.0 } else { -5.0 }).collect();
        for scores in [separated, vec![0.3; 400]] {
            let fitted = Calibration::fit(&scores, &labels);
            assert!(fitted.slope.is_finite() && fitted.slope > 0.0 && fitted.offset.is_finite());
            assert!((0.0..=1.0).contains(&fitted.probability(scores[0])));
        }
    }
}
