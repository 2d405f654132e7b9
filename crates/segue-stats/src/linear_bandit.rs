//! Linear bandits: ridge regression with an upper confidence bound (LinUCB) or a normal posterior
//! (LinTS).

use crate::StatsError;
use crate::distribution::normal;
use crate::error::positive;
use crate::linear::{Cholesky, dot};
use crate::random::Stream;

/// Ridge regression kept up to date one observation at a time.
///
/// `A = λ I + Σ x xᵀ`, `b = Σ r x`; `A⁻¹` by Sherman–Morrison, in `O(d²)` per observation.
///
/// # Source
/// Li, Chu, Langford & Schapire, "A contextual-bandit approach to personalized news article
/// recommendation", WWW 2010; Agrawal & Goyal, "Thompson sampling for contextual bandits with linear
/// payoffs", ICML 2013.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearBandit {
    n_features: usize,
    /// `A⁻¹`, row-major.
    inverse: Vec<f64>,
    b: Vec<f64>,
}

impl LinearBandit {
    /// Before any observation.
    ///
    /// # Errors
    /// [`StatsError::Range`] for a `lambda` that is not above 0.
    pub fn new(n_features: usize, lambda: f64) -> Result<Self, StatsError> {
        positive("lambda", lambda)?;
        let mut inverse = vec![0.0; n_features * n_features];
        for i in 0..n_features {
            inverse[i * n_features + i] = 1.0 / lambda;
        }
        Ok(Self { n_features, inverse, b: vec![0.0; n_features] })
    }

    /// Learns that features `x` earned `reward`.
    ///
    /// # Errors
    /// [`StatsError::LengthMismatch`].
    pub fn observe(&mut self, x: &[f64], reward: f64) -> Result<(), StatsError> {
        let u = self.transform(x)?;
        let scale = 1.0 / (1.0 + dot(x, &u));
        for i in 0..self.n_features {
            for j in 0..self.n_features {
                self.inverse[i * self.n_features + j] -= scale * u[i] * u[j];
            }
            self.b[i] += reward * x[i];
        }
        Ok(())
    }

    /// `θ = A⁻¹ b`, the mean of the posterior `N(θ, σ² A⁻¹)`.
    #[must_use]
    pub fn theta(&self) -> Vec<f64> {
        self.inverse.chunks(self.n_features.max(1)).map(|row| dot(row, &self.b)).collect()
    }

    /// `xᵀ A⁻¹ x`: times the noise variance, the posterior variance of the score of `x`.
    ///
    /// # Errors
    /// [`StatsError::LengthMismatch`].
    pub fn uncertainty(&self, x: &[f64]) -> Result<f64, StatsError> {
        Ok(dot(x, &self.transform(x)?))
    }

    /// `x·θ + alpha √(xᵀ A⁻¹ x)`.
    ///
    /// # Errors
    /// [`StatsError::LengthMismatch`].
    pub fn ucb(&self, x: &[f64], alpha: f64) -> Result<f64, StatsError> {
        Ok(dot(x, &self.theta()) + alpha * self.uncertainty(x)?.max(0.0).sqrt())
    }

    /// LinTS: one draw of `θ` from `N(θ, sigma² A⁻¹)`; score every candidate of a request with the same draw.
    ///
    /// # Errors
    /// [`StatsError::Range`] for a `sigma` that is not above 0; [`StatsError::NoVariance`] if rounding has left
    /// no positive definite posterior.
    pub fn draw_theta(&self, sigma: f64, seed: u64, request: u64) -> Result<Vec<f64>, StatsError> {
        positive("sigma", sigma)?;
        let factor = Cholesky::new(&self.inverse, self.n_features, "posterior of a linear bandit")?;
        let mut stream = Stream::new(seed, request);
        let noise: Vec<f64> =
            (0..self.n_features).map(|_| normal::quantile(stream.next_f64().max(1e-300))).collect();
        let step = factor.times(&noise);
        Ok(self.theta().iter().zip(step).map(|(t, s)| t + sigma * s).collect())
    }

    /// `A⁻¹ x`.
    fn transform(&self, x: &[f64]) -> Result<Vec<f64>, StatsError> {
        if x.len() != self.n_features {
            return Err(StatsError::LengthMismatch {
                what: "features of a bandit",
                expected: self.n_features,
                got: x.len(),
            });
        }
        Ok(self.inverse.chunks(self.n_features.max(1)).map(|row| dot(row, x)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linear::Cholesky;

    proptest! {
        #[test]
        fn updates_agree_with_solving_from_scratch(
            rows in proptest::collection::vec((proptest::array::uniform3(-2.0..2.0_f64), -1.0..1.0_f64), 0..30),
        ) {
            let mut bandit = LinearBandit::new(3, 0.7).unwrap();
            let mut a = vec![0.7, 0.0, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0, 0.7];
            let mut b = vec![0.0; 3];
            for (x, r) in &rows {
                bandit.observe(x, *r).unwrap();
                for i in 0..3 {
                    b[i] += r * x[i];
                    for j in 0..3 {
                        a[i * 3 + j] += x[i] * x[j];
                    }
                }
            }
            let want = Cholesky::new(&a, 3, "test").unwrap().solve(&b);
            for (got, want) in bandit.theta().iter().zip(want) {
                prop_assert!((got - want).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn wrong_shapes_are_refused() {
        assert!(LinearBandit::new(2, 0.0).is_err());
        assert!(LinearBandit::new(2, 1.0).unwrap().observe(&[1.0], 1.0).is_err());
    }

    #[test]
    fn draws_of_theta_spread_as_the_posterior_does() {
        let mut bandit = LinearBandit::new(2, 1.0).unwrap();
        for (x, r) in [([1.0, 0.0], 1.0), ([1.0, 1.0], 3.0), ([0.0, 1.0], 1.5)] {
            bandit.observe(&x, r).unwrap();
        }
        let (x, runs) = ([2.0, -1.0], 20_000);
        let scores: Vec<f64> = (0..runs).map(|r| dot(&x, &bandit.draw_theta(0.5, 1, r).unwrap())).collect();
        let summary = crate::summary::Summary::of(&scores).unwrap();
        let want = 0.25 * bandit.uncertainty(&x).unwrap();
        assert!((summary.mean - dot(&x, &bandit.theta())).abs() < 4.0 * summary.standard_error());
        assert!((summary.variance / want - 1.0).abs() < 0.05, "{} {want}", summary.variance);
        assert!(bandit.draw_theta(0.0, 1, 1).is_err());
    }
}
