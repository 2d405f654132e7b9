//! Area under the ROC curve: the chance that a positive row is above a negative one.

use serde::{Deserialize, Serialize};

use super::Predictions;

/// `P(score of a positive > score of a negative) + ½ P(equal)`; `None` without rows of both kinds.
///
/// By ranks (Mann–Whitney), in integers: one sort, exact with ties.
/// Source: Fawcett, "An introduction to ROC analysis", 2006.
#[must_use]
pub fn auc(score: &[f32], label: &[bool]) -> Option<f64> {
    let mut rows: Vec<(u32, bool)> = score.iter().zip(label).map(|(&s, &l)| (ordered(s), l)).collect();
    let (twice_wins, n_pairs) = twice_wins(&mut rows);
    (n_pairs > 0).then(|| twice_wins as f64 / (2 * n_pairs) as f64)
}

/// AUC within requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WithinRequests {
    /// Mean of the requests' AUCs, each request counting once.
    pub mean: f64,
    /// Share of all positive-negative pairs of one request in the right order: long requests count more.
    pub pair_weighted: f64,
    /// Requests with rows of both kinds; the others say nothing.
    pub n_requests: usize,
    /// Positive-negative pairs within requests.
    pub n_pairs: u64,
}

/// AUC within each request that has rows of both kinds, with the single values in order of request
/// number; `None` if there is no such request.
#[must_use]
pub fn auc_within_requests(predictions: &Predictions<'_>) -> Option<(WithinRequests, Vec<f64>)> {
    let mut values = Vec::new();
    let (mut all_wins, mut all_pairs) = (0_u128, 0_u128);
    let mut rows = Vec::new();
    for group in by_request(predictions.request) {
        rows.clear();
        rows.extend(
            group
                .iter()
                .map(|&r| (ordered(predictions.probability[r as usize]), predictions.label[r as usize])),
        );
        let (wins, pairs) = twice_wins(&mut rows);
        if pairs > 0 {
            values.push(wins as f64 / (2 * pairs) as f64);
            all_wins += wins;
            all_pairs += pairs;
        }
    }
    if values.is_empty() {
        return None;
    }
    let summary = WithinRequests {
        mean: segue_stats::summary::sum(&values) / values.len() as f64,
        pair_weighted: all_wins as f64 / (2 * all_pairs) as f64,
        n_requests: values.len(),
        n_pairs: all_pairs as u64,
    };
    Some((summary, values))
}

/// Rows of each request, requests in ascending order of their number, rows in theirs.
pub(super) fn by_request(request: &[u64]) -> Vec<Vec<u32>> {
    let mut order: Vec<u32> = (0..request.len() as u32).collect();
    order.sort_by_key(|&r| request[r as usize]);
    order.chunk_by(|&a, &b| request[a as usize] == request[b as usize]).map(<[u32]>::to_vec).collect()
}

/// Twice the pairs in the right order (ties count once), and the number of pairs.
fn twice_wins(rows: &mut [(u32, bool)]) -> (u128, u128) {
    rows.sort_unstable_by_key(|r| r.0);
    let (mut wins, mut negatives_below, mut n_positive) = (0_u128, 0_u128, 0_u128);
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let positive = tied.iter().filter(|r| r.1).count() as u128;
        let negative = tied.len() as u128 - positive;
        wins += positive * (2 * negatives_below + negative);
        negatives_below += negative;
        n_positive += positive;
    }
    (wins, n_positive * negatives_below)
}

/// A float as an integer of the same order; `-0.0` and `0.0` are one.
fn ordered(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every pair, one by one.
    fn plain(score: &[f32], label: &[bool]) -> Option<f64> {
        let (mut wins, mut pairs) = (0.0, 0.0);
        for i in 0..score.len() {
            for j in 0..score.len() {
                if label[i] && !label[j] {
                    pairs += 1.0;
                    wins += if score[i] > score[j] {
                        1.0
                    } else if score[i] == score[j] {
                        0.5
                    } else {
                        0.0
                    };
                }
            }
        }
        (pairs > 0.0).then(|| wins / pairs)
    }

    proptest! {
        #[test]
        fn ranks_give_what_counting_pairs_gives(
            rows in proptest::collection::vec(((-4..4_i8), any::<bool>(), 0..5_u64), 0..60),
        ) {
            let score: Vec<f32> = rows.iter().map(|r| f32::from(r.0) / 4.0).collect();
            let label: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let request: Vec<u64> = rows.iter().map(|r| r.2).collect();
            let (got, want) = (auc(&score, &label), plain(&score, &label));
            prop_assert_eq!(got.is_some(), want.is_some());
            if let (Some(got), Some(want)) = (got, want) {
                prop_assert!((got - want).abs() < 1e-12);
            }
            let p = Predictions { probability: &score, label: &label, request: &request };
            let mut values = Vec::new();
            for r in 0..5 {
                let rows: Vec<usize> = (0..request.len()).filter(|&i| request[i] == r).collect();
                let score: Vec<f32> = rows.iter().map(|&i| score[i]).collect();
                let label: Vec<bool> = rows.iter().map(|&i| label[i]).collect();
                values.extend(plain(&score, &label));
            }
            match auc_within_requests(&p) {
                None => prop_assert!(values.is_empty()),
                Some((summary, got)) => {
                    prop_assert_eq!(got.len(), values.len());
                    let mean = values.iter().sum::<f64>() / values.len() as f64;
                    prop_assert!((summary.mean - mean).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn hand_computed_values_hold() {
        assert_eq!(auc(&[0.9, 0.4, 0.6, 0.1], &[true, true, false, false]), Some(0.75));
        assert_eq!(auc(&[0.5; 4], &[true, true, false, false]), Some(0.5));
        assert_eq!(auc(&[0.0, -0.0], &[true, false]), Some(0.5));
        assert_eq!(auc(&[0.3, 0.2], &[true, true]), None);
        assert_eq!(auc(&[], &[]), None);
        let p = Predictions {
            probability: &[0.2, 0.1, 0.9, 0.8, 0.7, 0.3],
            label: &[true, false, false, true, false, true],
            request: &[7, 7, 3, 3, 3, 9],
        };
        let (within, values) = auc_within_requests(&p).unwrap();
        assert_eq!(values, [0.5, 1.0]);
        assert_eq!((within.mean, within.n_requests, within.n_pairs), (0.75, 2, 3));
        assert!((within.pair_weighted - 2.0 / 3.0).abs() < 1e-15);
    }
}
