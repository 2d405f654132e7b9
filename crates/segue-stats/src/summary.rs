//! Sums, means and variances with a fixed order of addition.

use crate::StatsError;
use crate::error::finite;

/// Sum by halving: the same tree for the same length, whatever the machine does in parallel.
///
/// The error grows with `log n` rather than `n`.
/// Source: Higham, "The accuracy of floating point summation", 1993.
#[must_use]
pub fn sum(values: &[f64]) -> f64 {
    if values.len() <= 64 {
        values.iter().sum()
    } else {
        let (left, right) = values.split_at(values.len() / 2);
        sum(left) + sum(right)
    }
}

/// Number, mean and spread of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Observations.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Variance with divisor `n − 1`; 0 for a single observation.
    pub variance: f64,
}

impl Summary {
    /// Of finite observations, in two passes.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] without observations; [`StatsError::Range`] names a value that is not
    /// finite.
    pub fn of(values: &[f64]) -> Result<Self, StatsError> {
        if values.is_empty() {
            return Err(StatsError::TooFew { what: "sample", got: 0, needed: 1 });
        }
        for &v in values {
            finite("an observation", v)?;
        }
        let n = values.len();
        let mean = sum(values) / n as f64;
        let squares: Vec<f64> = values.iter().map(|v| (v - mean) * (v - mean)).collect();
        let variance = if n > 1 { sum(&squares) / (n - 1) as f64 } else { 0.0 };
        Ok(Self { n, mean, variance })
    }

    /// Standard error of the mean.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        (self.variance / self.n as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_sample_matches_its_hand_computed_moments() {
        let s = Summary::of(&[1.0, 2.0, 4.0]).unwrap();
        assert_eq!(s.n, 3);
        assert!((s.mean - 7.0 / 3.0).abs() < 1e-15);
        assert!((s.variance - 7.0 / 3.0).abs() < 1e-14);
        assert_eq!(Summary::of(&[5.0]).unwrap().variance, 0.0);
        assert!(Summary::of(&[]).is_err());
        assert!(Summary::of(&[1.0, f64::NAN]).is_err());
    }

    proptest! {
        #[test]
        fn the_tree_adds_what_a_loop_adds(values in proptest::collection::vec(-1e6..1e6_f64, 0..1000)) {
            let plain: f64 = values.iter().sum();
            prop_assert!((sum(&values) - plain).abs() < 1e-4);
        }
    }
}
