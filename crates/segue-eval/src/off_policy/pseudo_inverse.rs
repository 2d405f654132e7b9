//! The pseudo-inverse estimator: slates whose reward is a sum over positions that nobody observes.
//!
//! With `1_s` the 0/1 vector of (position, item) pairs of a slate, `Γ = E_logging[1_s 1_sᵀ]` and
//! `q = E_target[1_s]`, the weight of a logged slate is `qᵀ Γ⁺ 1_s`. The estimate `mean(weight · r)` is
//! unbiased if the slate's reward is linear in `1_s` and `q` lies in the range of `Γ`; it needs only the
//! whole slate's reward, and weights grow with the number of positions rather than exponentially.
//!
//! # Source
//! Swaminathan et al., "Off-policy evaluation for slate recommendation", NeurIPS 2017.

use super::fail;
use crate::EvalError;

/// Weight of a slate whose positions were filled independently of each other by the logging policy:
/// `1 + Σ_k (w_k − 1)` with `w_k` the ratio of the position's marginal probabilities. The closed form of
/// `qᵀ Γ⁺ 1_s` for such a policy.
#[must_use]
pub fn pseudo_inverse_weight(position_weights: &[f64]) -> f64 {
    1.0 + position_weights.iter().map(|w| w - 1.0).sum::<f64>()
}

/// `Γ⁺` of a logging policy given slate by slate, for one context.
#[derive(Debug, Clone)]
pub struct PseudoInverse {
    n_items: usize,
    n_positions: usize,
    /// `[d × d]`, `d = n_positions × n_items`.
    inverse: Vec<f64>,
    /// `[d × d]`, projection on the range of `Γ`.
    range: Vec<f64>,
}

impl PseudoInverse {
    /// From every slate the logging policy can show and its probability; meant for small catalogues, the
    /// work is cubic in `n_positions × n_items`.
    ///
    /// - `slates`: each `[n_positions]` item indexes below `n_items`
    /// - `probability`: one per slate, summing to 1
    ///
    /// # Errors
    /// If lengths differ, an item is out of range, or the probabilities are negative or do not sum to 1.
    pub fn new(slates: &[Vec<usize>], probability: &[f64], n_items: usize) -> Result<Self, EvalError> {
        let Some(first) = slates.first() else {
            return fail("number of slates".into(), "0".into(), "a policy shows at least one slate");
        };
        if slates.len() != probability.len() {
            return fail(
                "number of probabilities".into(),
                format!("{} for {} slates", probability.len(), slates.len()),
                "one per slate",
            );
        }
        let total: f64 = probability.iter().sum();
        if probability.iter().any(|p| !(0.0..=1.0).contains(p)) || (total - 1.0).abs() > 1e-9 {
            return fail("sum of slate probabilities".into(), total.to_string(), "probabilities sum to 1");
        }
        let n_positions = first.len();
        let d = n_positions * n_items;
        let mut gamma = vec![0.0; d * d];
        for (slate, &p) in slates.iter().zip(probability) {
            let pairs = Self::pairs(slate, n_positions, n_items)?;
            for &i in &pairs {
                for &j in &pairs {
                    gamma[i * d + j] += p;
                }
            }
        }
        let (values, vectors) = symmetric_eigen(&gamma, d);
        let largest = values.iter().copied().fold(0.0, f64::max);
        let (mut inverse, mut range) = (vec![0.0; d * d], vec![0.0; d * d]);
        for (k, &value) in values.iter().enumerate().filter(|(_, v)| **v > 1e-10 * largest) {
            for i in 0..d {
                for j in 0..d {
                    let outer = vectors[i * d + k] * vectors[j * d + k];
                    inverse[i * d + j] += outer / value;
                    range[i * d + j] += outer;
                }
            }
        }
        Ok(Self { n_items, n_positions, inverse, range })
    }

    fn pairs(slate: &[usize], n_positions: usize, n_items: usize) -> Result<Vec<usize>, EvalError> {
        if slate.len() != n_positions || slate.iter().any(|&a| a >= n_items) {
            return fail(
                "a slate".into(),
                format!("{slate:?}"),
                "every slate has the same number of positions and items below `n_items`",
            );
        }
        Ok(slate.iter().enumerate().map(|(k, &a)| k * n_items + a).collect())
    }

    /// `qᵀ Γ⁺ 1_s` of a logged slate; `q` is `[n_positions × n_items]`, the target policy's marginal
    /// probability of each item at each position.
    ///
    /// # Errors
    /// If shapes do not fit, or `q` is not in the range of `Γ`: then the target policy shows pairs, or
    /// combinations of them, of which the log can say nothing.
    pub fn weight(&self, q: &[f64], slate: &[usize]) -> Result<f64, EvalError> {
        let d = self.n_positions * self.n_items;
        if q.len() != d {
            return fail("length of `q`".into(), q.len().to_string(), "one per position and item");
        }
        let row = |m: &[f64], i: usize| -> f64 { m[i * d..][..d].iter().zip(q).map(|(m, q)| m * q).sum() };
        let outside: f64 = (0..d).map(|i| (q[i] - row(&self.range, i)).powi(2)).sum::<f64>().sqrt();
        if outside > 1e-8 {
            return fail(
                "part of the target policy outside the log's range".into(),
                outside.to_string(),
                "the logging policy has to show every pair that the target policy shows",
            );
        }
        let pairs = Self::pairs(slate, self.n_positions, self.n_items)?;
        Ok(pairs.into_iter().map(|i| row(&self.inverse, i)).sum())
    }
}

/// Eigenvalues `[d]` and eigenvectors `[d × d]` (columns) of a symmetric matrix by cyclic Jacobi rotations.
///
/// Source: Golub & Van Loan, "Matrix computations", 4th edition, 8.5.
fn symmetric_eigen(matrix: &[f64], d: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix.to_vec();
    let mut v: Vec<f64> = (0..d * d).map(|i| f64::from(u8::from(i / d == i % d))).collect();
    let size: f64 = a.iter().map(|x| x * x).sum();
    // Convergence is quadratic: a dozen sweeps bring any matrix to rounding.
    for _ in 0..60 {
        let off: f64 = (0..d * d).filter(|i| i / d != i % d).map(|i| a[i] * a[i]).sum();
        if off <= 1e-28 * size {
            break;
        }
        for p in 0..d {
            for q in p + 1..d {
                let apq = a[p * d + q];
                if apq == 0.0 {
                    continue;
                }
                let theta = (a[q * d + q] - a[p * d + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let t = if theta == 0.0 { 1.0 } else { t };
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for k in 0..d {
                    let (x, y) = (a[k * d + p], a[k * d + q]);
                    a[k * d + p] = c * x - s * y;
                    a[k * d + q] = s * x + c * y;
                }
                for k in 0..d {
                    let (x, y) = (a[p * d + k], a[q * d + k]);
                    a[p * d + k] = c * x - s * y;
                    a[q * d + k] = s * x + c * y;
                    let (x, y) = (v[k * d + p], v[k * d + q]);
                    v[k * d + p] = c * x - s * y;
                    v[k * d + q] = s * x + c * y;
                }
            }
        }
    }
    ((0..d).map(|i| a[i * d + i]).collect(), v)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normalised(x: &[f64]) -> Vec<f64> {
        let total: f64 = x.iter().sum();
        x.iter().map(|v| v / total).collect()
    }

    /// All slates of `n_positions` out of `n_items`, without repeats if asked.
    fn all_slates(n_items: usize, n_positions: usize, distinct: bool) -> Vec<Vec<usize>> {
        let mut out = vec![vec![]];
        for _ in 0..n_positions {
            out = out
                .into_iter()
                .flat_map(|s: Vec<usize>| (0..n_items).map(move |a| [s.clone(), vec![a]].concat()))
                .filter(|s| !distinct || s[..s.len() - 1].iter().all(|b| b != s.last().unwrap()))
                .collect();
        }
        out
    }

    fn marginals(slates: &[Vec<usize>], p: &[f64], n_items: usize) -> Vec<f64> {
        let mut q = vec![0.0; slates[0].len() * n_items];
        for (slate, p) in slates.iter().zip(p) {
            for (k, a) in slate.iter().enumerate() {
                q[k * n_items + a] += p;
            }
        }
        q
    }

    proptest! {
        /// Every slate counted with its probability: the expected estimate is the target's true value.
        #[test]
        fn unbiased_for_linear_rewards_even_without_replacement(
            logging in prop::collection::vec(0.1_f64..1.0, 12), target in prop::collection::vec(0.0_f64..1.0, 12),
            value in prop::collection::vec(-1.0_f64..2.0, 8),
        ) {
            let slates = all_slates(4, 2, true);
            prop_assume!(target.iter().sum::<f64>() > 0.1);
            let (logging, target) = (normalised(&logging), normalised(&target));
            let q = marginals(&slates, &target, 4);
            let pi = PseudoInverse::new(&slates, &logging, 4).unwrap();
            let reward = |s: &[usize]| s.iter().enumerate().map(|(k, a)| value[k * 4 + a]).sum::<f64>();
            let truth: f64 = slates.iter().zip(&target).map(|(s, p)| p * reward(s)).sum();
            let mut expected = 0.0;
            for (s, p) in slates.iter().zip(&logging) {
                expected += p * pi.weight(&q, s).unwrap() * reward(s);
            }
            prop_assert!((expected - truth).abs() < 1e-7, "{expected} {truth}");
        }

        #[test]
        fn independent_positions_have_the_closed_form(
            logging in prop::collection::vec(0.1_f64..1.0, 6), target in prop::collection::vec(0.1_f64..1.0, 6),
        ) {
            let at = |p: &[f64], k: usize| normalised(&p[3 * k..][..3]);
            let (lp, tp) = ([at(&logging, 0), at(&logging, 1)], [at(&target, 0), at(&target, 1)]);
            let slates = all_slates(3, 2, false);
            let product = |p: &[Vec<f64>; 2]| slates.iter().map(|s| p[0][s[0]] * p[1][s[1]]).collect::<Vec<f64>>();
            let pi = PseudoInverse::new(&slates, &product(&lp), 3).unwrap();
            let q = marginals(&slates, &product(&tp), 3);
            for s in &slates {
                let ratios = [tp[0][s[0]] / lp[0][s[0]], tp[1][s[1]] / lp[1][s[1]]];
                let (slow, fast) = (pi.weight(&q, s).unwrap(), pseudo_inverse_weight(&ratios));
                prop_assert!((slow - fast).abs() < 1e-7, "{slow} {fast}");
            }
        }
    }

    #[test]
    fn a_target_outside_the_logs_range_is_refused() {
        // Item 2 is never logged.
        let slates = vec![vec![0], vec![1]];
        let pi = PseudoInverse::new(&slates, &[0.5, 0.5], 3).unwrap();
        assert!((pi.weight(&[0.25, 0.75, 0.0], &[0]).unwrap() - 0.5).abs() < 1e-12);
        assert!(pi.weight(&[0.0, 0.5, 0.5], &[0]).unwrap_err().to_string().contains("range"));
        assert!(PseudoInverse::new(&slates, &[0.5, 0.6], 3).is_err());
        assert!(PseudoInverse::new(&slates, &[0.5], 3).is_err());
        assert!(PseudoInverse::new(&[vec![7]], &[1.0], 3).is_err());
        assert!(PseudoInverse::new(&[], &[], 3).is_err());
    }
}
