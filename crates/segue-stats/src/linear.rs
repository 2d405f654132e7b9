//! Small dense linear algebra: Cholesky for symmetric positive definite systems.

use crate::StatsError;

/// A symmetric positive definite matrix, factored as `L Lᵀ`.
#[derive(Debug, Clone)]
pub(crate) struct Cholesky {
    n: usize,
    /// Lower triangle, row-major `[n * n]`.
    l: Vec<f64>,
}

impl Cholesky {
    /// Factors a row-major `[n * n]` matrix.
    ///
    /// # Errors
    /// [`StatsError::NoVariance`] names `what` if the matrix is not positive definite.
    pub(crate) fn new(a: &[f64], n: usize, what: &'static str) -> Result<Self, StatsError> {
        let mut l = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let dot: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
                let rest = a[i * n + j] - dot;
                if i == j {
                    // Relative to the diagonal: a column that is a combination of others leaves only rounding.
                    if rest.is_nan() || rest <= 1e-13 * a[i * n + i].abs() {
                        return Err(StatsError::NoVariance { what });
                    }
                    l[i * n + i] = rest.sqrt();
                } else {
                    l[i * n + j] = rest / l[j * n + j];
                }
            }
        }
        Ok(Self { n, l })
    }

    /// `A⁻¹ b`.
    pub(crate) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let (n, l) = (self.n, &self.l);
        let mut x = b.to_vec();
        for i in 0..n {
            let dot: f64 = (0..i).map(|k| l[i * n + k] * x[k]).sum();
            x[i] = (x[i] - dot) / l[i * n + i];
        }
        for i in (0..n).rev() {
            let dot: f64 = (i + 1..n).map(|k| l[k * n + i] * x[k]).sum();
            x[i] = (x[i] - dot) / l[i * n + i];
        }
        x
    }
}

impl Cholesky {
    /// `L x`.
    pub(crate) fn times(&self, x: &[f64]) -> Vec<f64> {
        (0..self.n).map(|i| (0..=i).map(|k| self.l[i * self.n + k] * x[k]).sum()).collect()
    }
}

/// `Σ a_i b_i`.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solution_solves_and_a_singular_matrix_is_refused() {
        let a = [4.0, 2.0, 2.0, 3.0];
        let x = Cholesky::new(&a, 2, "test").unwrap().solve(&[8.0, 7.0]);
        assert!(
            (4.0 * x[0] + 2.0 * x[1] - 8.0).abs() < 1e-12 && (2.0 * x[0] + 3.0 * x[1] - 7.0).abs() < 1e-12
        );
        assert!(Cholesky::new(&[1.0, 1.0, 1.0, 1.0], 2, "test").is_err());
    }
}
