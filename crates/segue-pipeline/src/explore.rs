//! Seeded exploration whose probabilities are known exactly.
//!
//! At each position one candidate is drawn from those still eligible `E` (the best `pool_size`
//! candidates, less those chosen above and those over the group cap) with probability
//!
//! `P(i | above) = (1 − ε) · exp(sᵢ / T) / Σ_{j∈E} exp(sⱼ / T)  +  ε / |E|`
//!
//! that is, a Plackett–Luce model (Plackett, "The analysis of permutations", 1975; Luce,
//! "Individual choice behavior", 1959) mixed with uniform choice, without replacement. This is the
//! `prefix_propensity` that is logged; ε > 0 bounds it away from 0 by `ε / pool_size`.

use crate::diversity::GroupCap;
use crate::rng::SlateRng;
use crate::stage::{Pick, Pool, Selector};

/// Settings of [`ExploreSelector`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExploreConfig {
    /// `T`, above 0, in the unit of the scores.
    pub temperature: f64,
    /// `ε` in `[0, 1]`.
    pub epsilon: f64,
    /// Only the best `pool_size` candidates may be drawn.
    pub pool_size: usize,
    /// Most cards of one group; 0 is no cap.
    pub max_per_group: u32,
}

/// Draws each position from a softmax over scores mixed with uniform choice.
#[derive(Debug, Clone, Copy)]
pub struct ExploreSelector {
    /// Settings.
    pub config: ExploreConfig,
}

/// `P(i | above)` for every member of `eligible` (indexes into `scores`), in the same order.
///
/// Scores are shifted by their maximum before `exp`, so no score overflows. The result sums to 1
/// up to rounding; each value lies in `(0, 1]` where ε > 0.
#[must_use]
pub fn choice_probabilities(scores: &[f32], eligible: &[usize], temperature: f64, epsilon: f64) -> Vec<f64> {
    let top = eligible.iter().map(|&i| f64::from(scores[i])).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> =
        eligible.iter().map(|&i| ((f64::from(scores[i]) - top) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    let uniform = epsilon / eligible.len() as f64;
    weights.iter().map(|w| (1.0 - epsilon) * (w / total) + uniform).collect()
}

impl Selector for ExploreSelector {
    fn select(&self, pool: &Pool<'_>, limit: usize, rng: &mut SlateRng) -> Vec<Pick> {
        let ExploreConfig { temperature, epsilon, pool_size, max_per_group } = self.config;
        let mut cap = GroupCap::new(max_per_group);
        let mut left: Vec<usize> = (0..pool.scores.len().min(pool_size)).collect();
        let mut picks = Vec::new();
        while picks.len() < limit {
            left.retain(|&i| cap.admits(pool.groups[i]));
            if left.is_empty() {
                break;
            }
            let probabilities = choice_probabilities(pool.scores, &left, temperature, epsilon);
            let draw = rng.next_f64();
            let mut below = 0.0;
            // Rounding may leave the sum a hair under the draw: the last possible one takes the rest.
            let mut chosen = probabilities.iter().rposition(|&p| p > 0.0).unwrap_or(0);
            for (at, p) in probabilities.iter().enumerate() {
                below += p;
                if draw < below {
                    chosen = at;
                    break;
                }
            }
            let index = left.remove(chosen);
            cap.choose(pool.groups[index]);
            let prefix_propensity =
                if probabilities.len() == 1 { 1.0 } else { probabilities[chosen].min(1.0) };
            picks.push(Pick { index, prefix_propensity });
        }
        picks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selector(config: ExploreConfig) -> ExploreSelector {
        ExploreSelector { config }
    }

    /// A million draws over many requests: at each position and prefix, observed choices against
    /// the logged propensity, chi-squared. Seeds come from request ids, as in serving.
    #[test]
    fn a_million_draws_match_the_logged_propensities_at_every_position() {
        let scores = [0.9_f32, 0.7, 0.65, 0.4, 0.1, 0.05];
        let groups = [1_u64, 1, 2, 3, 3, 0];
        let s = selector(ExploreConfig { temperature: 0.2, epsilon: 0.1, pool_size: 6, max_per_group: 1 });
        let pool = Pool { scores: &scores, groups: &groups };
        let (n_requests, limit) = (250_000_u32, 4);
        // Cell of (prefix, choice) → (times seen, logged propensity). Prefix and choice as digits.
        let mut seen: std::collections::BTreeMap<(usize, usize, usize), (f64, f64)> = Default::default();
        let mut prefix_total: std::collections::BTreeMap<(usize, usize), f64> = Default::default();
        let mut n_draws = 0;
        for request in 0..n_requests {
            let seed = SlateRng::seed_of(&format!("request-{request}"));
            let picks = s.select(&pool, limit, &mut SlateRng::for_shelf(seed, "made_for_you"));
            let mut prefix = 0;
            for (position, pick) in picks.iter().enumerate() {
                n_draws += 1;
                *prefix_total.entry((position, prefix)).or_default() += 1.0;
                let cell =
                    seen.entry((position, prefix, pick.index)).or_insert((0.0, pick.prefix_propensity));
                assert_eq!(cell.1, pick.prefix_propensity, "one propensity per prefix and choice");
                cell.0 += 1.0;
                prefix = prefix * 10 + pick.index + 1;
            }
        }
        assert_eq!(n_draws, 1_000_000);
        for position in 0..limit {
            let (mut chi2, mut freedom) = (0.0, 0.0);
            for (&(_, prefix), &total) in prefix_total.iter().filter(|((p, _), _)| *p == position) {
                let cells: Vec<_> = seen
                    .iter()
                    .filter(|((p, pre, _), _)| *p == position && *pre == prefix)
                    .map(|(_, v)| *v)
                    .collect();
                let mass: f64 = cells.iter().map(|c| c.1).sum();
                assert!((mass - 1.0).abs() < 1e-9, "position {position} prefix {prefix}: mass {mass}");
                for (count, p) in &cells {
                    assert!(total * p >= 5.0, "expected count too small for chi-squared");
                    chi2 += (count - total * p).powi(2) / (total * p);
                }
                freedom += cells.len() as f64 - 1.0;
            }
            // Wilson–Hilferty: (χ²/k)^(1/3) is near normal; 4 standard deviations is p ≈ 3e-5.
            if freedom > 0.0 {
                let k: f64 = freedom;
                let z = ((chi2 / k).cbrt() - (1.0 - 2.0 / (9.0 * k))) / (2.0 / (9.0 * k)).sqrt();
                assert!(z.abs() < 4.0, "position {position}: chi2 {chi2:.1} on {k} degrees, z {z:.2}");
            }
        }
    }

    #[test]
    fn a_wrong_propensity_would_be_caught() {
        // The same statistic on draws from ε = 0.1 against propensities of ε = 0.13.
        let scores = [0.9_f32, 0.7, 0.4];
        let s = selector(ExploreConfig { temperature: 0.2, epsilon: 0.1, pool_size: 3, max_per_group: 0 });
        let wrong = choice_probabilities(&scores, &[0, 1, 2], 0.2, 0.13);
        let mut counts = [0.0; 3];
        let n = 250_000;
        for request in 0..n {
            let seed = SlateRng::seed_of(&format!("r{request}"));
            let pool = Pool { scores: &scores, groups: &[0; 3] };
            counts[s.select(&pool, 1, &mut SlateRng::new(seed))[0].index] += 1.0;
        }
        let chi2: f64 =
            counts.iter().zip(&wrong).map(|(c, p)| (c - f64::from(n) * p).powi(2) / (f64::from(n) * p)).sum();
        assert!(chi2 > 50.0, "chi2 {chi2}");
    }

    proptest! {
        #[test]
        fn picks_are_distinct_capped_and_their_propensities_exact(
            scores in prop::collection::vec(-50.0_f32..50.0, 0..40),
            seed: u64, cap in 0_u32..4, limit in 0_usize..20, pool_size in 1_usize..30,
            epsilon in 0.0_f64..1.0, temperature in 0.01_f64..10.0,
        ) {
            let mut scores = scores;
            scores.sort_by(|a, b| b.total_cmp(a));
            let groups: Vec<u64> = (0..scores.len() as u64).map(|i| i % 5).collect();
            let s = selector(ExploreConfig { temperature, epsilon, pool_size, max_per_group: cap });
            let picks = s.select(&Pool { scores: &scores, groups: &groups }, limit, &mut SlateRng::new(seed));
            prop_assert!(picks.len() <= limit);
            for (at, pick) in picks.iter().enumerate() {
                prop_assert!(pick.prefix_propensity > 0.0 && pick.prefix_propensity <= 1.0);
                prop_assert!(pick.index < pool_size);
                prop_assert!(picks[..at].iter().all(|p| p.index != pick.index));
                let group = groups[pick.index];
                let above = picks[..at].iter().filter(|p| groups[p.index] == group).count();
                prop_assert!(cap == 0 || group == 0 || above < cap as usize);
                // The plain reference: recompute the eligible set from the definition.
                let eligible: Vec<usize> = (0..scores.len().min(pool_size))
                    .filter(|i| picks[..at].iter().all(|p| p.index != *i))
                    .filter(|&i| {
                        let n = picks[..at].iter().filter(|p| groups[p.index] == groups[i]).count();
                        cap == 0 || groups[i] == 0 || n < cap as usize
                    })
                    .collect();
                let p = choice_probabilities(&scores, &eligible, temperature, epsilon);
                let expected = if eligible.len() == 1 { 1.0 } else {
                    p[eligible.iter().position(|&i| i == pick.index).unwrap()].min(1.0)
                };
                prop_assert_eq!(pick.prefix_propensity, expected);
            }
        }
    }
}
