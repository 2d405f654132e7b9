//! A reward model fitted across folds: what an action earns on average in its cell.

use segue_stats::random::mix;

use crate::EvalError;

/// Shrunken means of the reward by cell, never read by the rounds they were learned from.
///
/// Units (listeners) are dealt into folds by a seeded hash. For a round of fold `f` the model is
///
/// `q(cell) = (Σ_{fold ≠ f} r + m · r̄) / (n + m)`
///
/// with `n` the rounds of that cell and `r̄` the mean reward, both outside fold `f`. One fold is the
/// same as no cross-fitting: the model then has seen every round it is asked about, and the doubly robust
/// correction is too small by about `cells / n`.
///
/// A cell is whatever the caller numbers: an action, an action at a position, a position and a band of
/// scores. Fitting is a sum, so a log of any length needs `cells × folds` numbers and one pass.
///
/// # Source
/// Chernozhukov et al., "Double/debiased machine learning", Econometrics Journal 2018 (cross-fitting).
#[derive(Debug, Clone)]
pub struct CellMeans {
    n_folds: usize,
    seed: u64,
    prior_weight: f64,
    /// `[n_cells × n_folds]` sum and number.
    sums: Vec<(f64, f64)>,
    /// `[n_folds]`.
    totals: Vec<(f64, f64)>,
}

impl CellMeans {
    /// An empty model of `n_cells` cells; `prior_weight` is `m`, in rounds.
    ///
    /// # Errors
    /// If there is no fold, or `prior_weight` is not above 0.
    pub fn new(n_cells: usize, n_folds: usize, seed: u64, prior_weight: f64) -> Result<Self, EvalError> {
        if n_folds == 0 {
            return super::fail(
                "number of folds".into(),
                "0".into(),
                "it is at least 1; 1 is no cross-fitting",
            );
        }
        if !(prior_weight > 0.0 && prior_weight.is_finite()) {
            return super::fail(
                "prior weight".into(),
                prior_weight.to_string(),
                "it lies above 0 and is finite",
            );
        }
        Ok(Self {
            n_folds,
            seed,
            prior_weight,
            sums: vec![(0.0, 0.0); n_cells * n_folds],
            totals: vec![(0.0, 0.0); n_folds],
        })
    }

    /// The fold of a unit.
    #[must_use]
    pub fn fold_of(&self, unit: u64) -> usize {
        (mix(self.seed ^ mix(unit)) % self.n_folds as u64) as usize
    }

    /// Adds a round; a cell not yet there is added.
    pub fn learn(&mut self, cell: usize, unit: u64, reward: f64) {
        let fold = self.fold_of(unit);
        let needed = (cell + 1) * self.n_folds;
        if self.sums.len() < needed {
            self.sums.resize(needed, (0.0, 0.0));
        }
        for sums in [&mut self.sums[cell * self.n_folds + fold], &mut self.totals[fold]] {
            sums.0 += reward;
            sums.1 += 1.0;
        }
    }

    /// `[n_cells]` the values for rounds of `fold`: learned from the other folds alone.
    #[must_use]
    pub fn values(&self, fold: usize) -> Vec<f64> {
        let mean = self.prior(fold);
        self.sums
            .chunks_exact(self.n_folds)
            .map(|cell| {
                let (reward, n) = self.outside(cell, fold);
                (reward + self.prior_weight * mean) / (n + self.prior_weight)
            })
            .collect()
    }

    /// The value, for rounds of `fold`, of a cell nothing was learned of: the mean reward outside it.
    #[must_use]
    pub fn prior(&self, fold: usize) -> f64 {
        let (reward, n) = self.outside(&self.totals, fold);
        if n > 0.0 { reward / n } else { 0.0 }
    }

    fn outside(&self, by_fold: &[(f64, f64)], fold: usize) -> (f64, f64) {
        let others = by_fold.iter().enumerate().filter(|(f, _)| *f != fold || self.n_folds == 1);
        others.fold((0.0, 0.0), |sum, (_, s)| (sum.0 + s.0, sum.1 + s.1))
    }

    /// `[n_folds][n_cells]` the values of every fold.
    #[must_use]
    pub fn all_values(&self) -> Vec<Vec<f64>> {
        (0..self.n_folds).map(|fold| self.values(fold)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The plain reference: throw the fold's rounds away and average what is left.
        #[test]
        fn a_fold_is_answered_by_a_model_fitted_without_it(
            rounds in prop::collection::vec((0_usize..4, 0_u64..30, 0.0_f64..2.0), 1..100),
            n_folds in 2_usize..6, seed: u64,
        ) {
            let mut model = CellMeans::new(4, n_folds, seed, 2.0).unwrap();
            for &(cell, unit, reward) in &rounds {
                model.learn(cell, unit, reward);
            }
            for fold in 0..n_folds {
                let rest: Vec<_> = rounds.iter().filter(|r| model.fold_of(r.1) != fold).collect();
                let mean = if rest.is_empty() { 0.0 } else { rest.iter().map(|r| r.2).sum::<f64>() / rest.len() as f64 };
                let values = model.values(fold);
                for cell in 0..4 {
                    let here: Vec<f64> = rest.iter().filter(|r| r.0 == cell).map(|r| r.2).collect();
                    let want = (here.iter().sum::<f64>() + 2.0 * mean) / (here.len() as f64 + 2.0);
                    prop_assert!((values[cell] - want).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn folds_are_seeded_and_about_equal() {
        let of = |seed| {
            let model = CellMeans::new(1, 5, seed, 1.0).unwrap();
            (0..10_000).map(|unit| model.fold_of(unit)).collect::<Vec<_>>()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        for fold in 0..5 {
            let n = of(3).iter().filter(|f| **f == fold).count();
            assert!((1_800..2_200).contains(&n), "{n}");
        }
        assert!(CellMeans::new(1, 0, 0, 1.0).is_err());
        assert!(CellMeans::new(1, 2, 0, 0.0).is_err());
    }
}
