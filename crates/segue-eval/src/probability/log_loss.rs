//! Log loss: what the probabilities cost in nats.

use segue_stats::summary::sum;

use super::Predictions;

/// Probabilities are kept this far from 0 and 1, so that one certain mistake costs 34.5 nats and not
/// everything.
const EDGE: f64 = 1e-15;

/// `−mean(y ln p + (1 − y) ln(1 − p))`, with `p` kept in `[1e-15, 1 − 1e-15]`.
#[must_use]
pub fn log_loss(predictions: &Predictions<'_>) -> f64 {
    let losses = per_row(predictions);
    sum(&losses) / losses.len() as f64
}

/// Log loss of always saying the share of positives; 0 if all labels are equal.
#[must_use]
pub fn entropy_of_base_rate(label: &[bool]) -> f64 {
    let p = label.iter().filter(|&&l| l).count() as f64 / label.len().max(1) as f64;
    let part = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    part(p) + part(1.0 - p)
}

pub(super) fn per_row(predictions: &Predictions<'_>) -> Vec<f64> {
    let rows = predictions.probability.iter().zip(predictions.label);
    rows.map(|(&p, &label)| {
        let p = f64::from(p);
        // 1 − p is exact enough in f64 for any f32, so no digits of a small complement are lost.
        -(if label { p } else { 1.0 - p }).clamp(EDGE, 1.0).ln()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_loss_matches_its_hand_computed_value() {
        let p = Predictions { probability: &[0.5, 0.25], label: &[true, false], request: &[] };
        let want = -(0.5_f64.ln() + 0.75_f64.ln()) / 2.0;
        assert!((log_loss(&p) - want).abs() < 1e-15);
        let sure = Predictions { probability: &[1.0, 0.0], label: &[true, false], request: &[] };
        assert_eq!(log_loss(&sure), 0.0);
        let wrong = Predictions { probability: &[1.0], label: &[false], request: &[] };
        assert!((log_loss(&wrong) - 34.538_776_394_910_684).abs() < 1e-9);
        assert!((entropy_of_base_rate(&[true, false, false, false]) - 0.562_335_144_618_808_3).abs() < 1e-12);
        assert_eq!(entropy_of_base_rate(&[true]), 0.0);
    }
}
