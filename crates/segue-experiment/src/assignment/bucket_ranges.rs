//! Where on `[0, 1)` each arm lies.

/// Ranges `[low, high)` per variation, as GrowthBook's SDKs compute them.
///
/// Coverage is clamped to `[0, 1]`. Weights default to equal ones where they are missing, of the wrong length
/// or sum outside `[0.99, 1.01]`. Variation `i` gets `[c_i, c_i + coverage w_i)` with `c_i` the sum of the *full*
/// weights before it, so that raising the coverage never moves a unit between variations.
///
/// # Source
/// GrowthBook SDK specification 0.7.1 (MIT), `getBucketRanges`.
#[must_use]
pub fn bucket_ranges(variations: usize, coverage: f64, weights: Option<&[f64]>) -> Vec<[f64; 2]> {
    let coverage = if coverage.is_nan() { 0.0 } else { coverage.clamp(0.0, 1.0) };
    let equal = vec![1.0 / variations.max(1) as f64; variations];
    let weights = weights
        .filter(|w| w.len() == variations && (0.99..=1.01).contains(&w.iter().sum::<f64>()))
        .unwrap_or(&equal);
    let mut start = 0.0;
    weights
        .iter()
        .map(|w| {
            let range = [start, start + coverage * w];
            start += w;
            range
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_shrinks_each_range_where_it_stands() {
        assert_eq!(bucket_ranges(2, 0.5, None), [[0.0, 0.25], [0.5, 0.75]]);
        assert_eq!(bucket_ranges(2, 7.0, Some(&[0.7, 0.6])), [[0.0, 0.5], [0.5, 1.0]]);
        assert!(bucket_ranges(0, 1.0, None).is_empty());
    }
}
