//! Weights by distance: how much an offset counts in training, and a play of the history at request time.
//!
//! All in `f32`, in the order of operations of the published implementations, so that scores (and
//! ties between them) come out the same.

use serde::{Deserialize, Serialize};

use crate::{ModelError, Query};

/// A weight for each age `0, 1, 2, …` (or distance minus one), newest first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case", deny_unknown_fields)]
pub enum Kernel {
    /// 1 for the newest, 0 for the rest.
    Last,
    /// `base^age`.
    Exp {
        /// In `(0, 1]`.
        base: f32,
    },
    /// `1 / (age + 1)^power`.
    Inv {
        /// At least 0.
        power: f32,
    },
    /// The newest `head` plays get the mass `mass · base^age`, normalised to `mass`; the others
    /// share `1 − mass` evenly. With no others, the newest get all of it.
    Tail {
        /// At least 1.
        head: usize,
        /// In `(0, 1]`.
        mass: f64,
        /// In `(0, 1]`.
        base: f32,
    },
}

impl Kernel {
    /// Checks the parameters; `setting` names the kernel in messages.
    pub(crate) fn check(&self, model: &'static str, setting: &'static str) -> Result<(), ModelError> {
        let unit = |x: f64| x > 0.0 && x <= 1.0;
        let good = match *self {
            Self::Last => true,
            Self::Exp { base } => unit(base.into()),
            Self::Inv { power } => power.is_finite() && power >= 0.0,
            Self::Tail { head, mass, base } => head >= 1 && unit(mass) && unit(base.into()),
        };
        if good {
            Ok(())
        } else {
            Err(ModelError::Config {
                model,
                setting,
                value: format!("{self:?}"),
                rule: "bases and masses lie in (0, 1], powers are 0 or more, heads 1 or more",
            })
        }
    }

    /// Weights of ages `0..n`, as they are.
    pub(crate) fn weights(&self, n: usize) -> Vec<f32> {
        match *self {
            Self::Last => (0..n).map(|age| if age == 0 { 1.0 } else { 0.0 }).collect(),
            Self::Exp { base } => (0..n).map(|age| base.powf(age as f32)).collect(),
            Self::Inv { power } => (0..n).map(|age| 1.0 / (age as f32 + 1.0).powf(power)).collect(),
            Self::Tail { head, mass, base } => {
                let head = head.min(n);
                let recent: Vec<f32> = (0..head).map(|age| base.powf(age as f32)).collect();
                let total: f32 = recent.iter().sum();
                let others = ((1.0 - mass) / (n - head).max(1) as f64) as f32;
                let mut out: Vec<f32> = recent.iter().map(|r| mass as f32 * r / total).collect();
                out.resize(n, others);
                out
            }
        }
    }

    /// Weights of ages `0..n` that add up to 1.
    pub(crate) fn normalised(&self, n: usize) -> Vec<f32> {
        let mut weights = self.weights(n);
        let total: f32 = weights.iter().sum();
        for w in &mut weights {
            *w /= total;
        }
        weights
    }
}

/// Precomputed weights for every history length up to a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightTable {
    /// Entry `n` holds the weights of a history of `n` plays, newest first.
    by_length: Vec<Vec<f32>>,
}

impl WeightTable {
    /// Weights of histories of `0..=max_history` plays.
    pub(crate) fn new(max_history: usize, weights: impl Fn(usize) -> Vec<f32>) -> Self {
        Self { by_length: (0..=max_history).map(weights).collect() }
    }

    /// The newest plays of `query` with their weights: `(history_idx, item, weight)`, newest first.
    /// Plays of unknown items are passed over and take no place.
    pub(crate) fn weigh<'a>(
        &'a self,
        query: &'a Query<'_>,
        n_items: u32,
    ) -> impl Iterator<Item = (usize, u32, f32)> + 'a {
        let longest = self.by_length.len() - 1;
        let n = query.newest_first(n_items).take(longest).count();
        query.newest_first(n_items).zip(&self.by_length[n]).map(|((at, item), &weight)| (at, item, weight))
    }
}

/// Checks a history limit.
pub(crate) fn check_history(model: &'static str, value: usize) -> Result<(), ModelError> {
    if (1..=1000).contains(&value) {
        Ok(())
    } else {
        Err(ModelError::Config {
            model,
            setting: "max_history",
            value: value.to_string(),
            rule: "it is the number of newest plays looked at, 1 to 1000",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_its_mass_on_the_newest() {
        let w = Kernel::Tail { head: 2, mass: 0.8, base: 0.5 }.normalised(4);
        let want = [0.8 * 2.0 / 3.0, 0.8 / 3.0, 0.1, 0.1];
        assert!(w.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{w:?}");
        let short = Kernel::Tail { head: 9, mass: 0.8, base: 1.0 }.normalised(2);
        assert_eq!(short, [0.5, 0.5]);
    }

    #[test]
    fn kernels_out_of_range_are_refused() {
        for kernel in [
            Kernel::Exp { base: 0.0 },
            Kernel::Exp { base: f32::NAN },
            Kernel::Inv { power: -1.0 },
            Kernel::Tail { head: 0, mass: 0.5, base: 0.5 },
            Kernel::Tail { head: 1, mass: 1.5, base: 0.5 },
        ] {
            assert!(kernel.check("m", "kernel").is_err(), "{kernel:?}");
        }
    }
}
