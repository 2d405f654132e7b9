//! Holm's step-down correction for several tests.

/// Adjusted p-values in input order: `max_{j ≤ i} (m − j + 1) p_(j)`, at most 1. NaN stays NaN and
/// does not count as a test.
///
/// Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).filter(|&i| !p_values[i].is_nan()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut out = vec![f64::NAN; p_values.len()];
    let mut running = 0.0_f64;
    for (done, &i) in order.iter().enumerate() {
        running = running.max((order.len() - done) as f64 * p_values[i]).min(1.0);
        out[i] = running;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_step_down_in_input_order() {
        let got = holm(&[0.04, 0.01, 0.03, 0.9]);
        for (got, want) in got.iter().zip([0.09, 0.04, 0.09, 0.9]) {
            assert!((got - want).abs() < 1e-15, "{got} {want}");
        }
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[f64::NAN, 0.02])[0].is_nan());
        assert_eq!(holm(&[f64::NAN, 0.02])[1], 0.02);
        assert!(holm(&[]).is_empty());
    }
}
