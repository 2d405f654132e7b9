//! Calibrated re-ranking: a list whose genres follow the listener's own mix.

use crate::StatsError;

/// Result of [`calibrated_rerank`].
#[derive(Debug, Clone, PartialEq)]
pub struct CalibratedList {
    /// Indexes of the chosen items, in order of choice.
    pub order: Vec<usize>,
    /// Objective after each choice.
    pub objective: Vec<f64>,
    /// Mean genre distribution of the list.
    pub genres: Vec<f64>,
    /// `KL(p || (1 − a) q + a p)` of the list in nats.
    pub kl: f64,
    /// Hellinger distance between `p` and the list's genres.
    pub hellinger: f64,
}

/// Greedy maximisation of `(1 − λ) Σ scores − λ KL(p || (1 − a) q + a p)`, ties to the lowest index.
///
/// # Shapes
/// - `profile`: `[n_genres]` the listener's mix `p`
/// - `scores`: `[n_items]`; `genres`: `[n_items][n_genres]`
///
/// # Errors
/// [`StatsError::LengthMismatch`]; [`StatsError::Range`] for `lambda` or the smoothing outside `[0, 1]`.
///
/// # Source
/// Steck, "Calibrated recommendations", RecSys 2018.
pub fn calibrated_rerank(
    profile: &[f64],
    scores: &[f64],
    genres: &[Vec<f64>],
    k: usize,
    lambda: f64,
    smoothing: f64,
) -> Result<CalibratedList, StatsError> {
    if genres.len() != scores.len() {
        return Err(StatsError::LengthMismatch {
            what: "genres of items",
            expected: scores.len(),
            got: genres.len(),
        });
    }
    for row in genres {
        if row.len() != profile.len() {
            return Err(StatsError::LengthMismatch {
                what: "genres of an item",
                expected: profile.len(),
                got: row.len(),
            });
        }
    }
    for (what, value) in [("lambda", lambda), ("smoothing", smoothing)] {
        if !(0.0..=1.0).contains(&value) {
            return Err(StatsError::Range { what, value, rule: "it lies between 0 and 1" });
        }
    }
    let (mut order, mut objective) = (Vec::new(), Vec::new());
    let (mut sum, mut total) = (vec![0.0; profile.len()], 0.0);
    while order.len() < k.min(scores.len()) {
        let n = (order.len() + 1) as f64;
        let mut best: Option<(f64, usize)> = None;
        for (i, row) in genres.iter().enumerate() {
            if order.contains(&i) {
                continue;
            }
            let with: Vec<f64> = sum.iter().zip(row).map(|(s, g)| (s + g) / n).collect();
            let value = (1.0 - lambda) * (total + scores[i]) - lambda * divergence(profile, &with, smoothing);
            if best.is_none_or(|(b, _)| value > b) {
                best = Some((value, i));
            }
        }
        let Some((value, chosen)) = best else { break };
        order.push(chosen);
        objective.push(value);
        total += scores[chosen];
        for (s, g) in sum.iter_mut().zip(&genres[chosen]) {
            *s += g;
        }
    }
    let n = order.len().max(1) as f64;
    let mix: Vec<f64> = sum.iter().map(|s| s / n).collect();
    let overlap: f64 = profile.iter().zip(&mix).map(|(p, q)| (p * q).sqrt()).sum();
    Ok(CalibratedList {
        kl: divergence(profile, &mix, smoothing),
        hellinger: (1.0 - overlap).max(0.0).sqrt(),
        order,
        objective,
        genres: mix,
    })
}

/// `KL(p || (1 − a) q + a p)`, `0 ln 0 = 0`.
fn divergence(p: &[f64], q: &[f64], a: f64) -> f64 {
    p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / ((1.0 - a) * q + a * p)).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_trades_score_for_balance() {
        let genres = vec![vec![1.0, 0.0], vec![1.0, 0.0], vec![0.0, 1.0]];
        let scores = [0.9, 0.8, 0.1];
        let by_score = calibrated_rerank(&[0.5, 0.5], &scores, &genres, 2, 0.0, 0.01).unwrap();
        assert_eq!(by_score.order, [0, 1]);
        let balanced = calibrated_rerank(&[0.5, 0.5], &scores, &genres, 2, 0.9, 0.01).unwrap();
        assert_eq!(balanced.order, [0, 2]);
        assert!(balanced.kl < 1e-12 && balanced.hellinger < 1e-7);
        assert!(calibrated_rerank(&[1.0], &scores, &genres, 2, 0.5, 0.01).is_err());
        assert!(calibrated_rerank(&[0.5, 0.5], &scores, &genres, 2, 1.5, 0.01).is_err());
    }
}
