//! Target policy and reward model as whole matrices: one pass over both gives the doubly robust estimate, or
//! the columns that every other estimator needs.

use rayon::prelude::*;

use super::{Estimate, LoggedRounds, Weighting, fail};
use crate::EvalError;

/// Largest distance of a row's probabilities from summing to 1, and largest part below 0.
const SUM_TOLERANCE: f64 = 1e-6;

/// Rows that are summed together; shards are merged in order, whatever thread read them.
const SHARD: usize = 512;

/// Logged rounds with the target policy's probability and the reward model's value of *every* action, as `f32`
/// or `f64`; sums are `f64` either way.
#[derive(Debug, Clone, Copy)]
pub struct MatrixRounds<'a, T> {
    /// `[n_rounds]` what the shown action earned.
    pub reward: &'a [f64],
    /// `[n_rounds]` in `(0, 1]`: the logging policy's probability of the shown action.
    pub propensity: &'a [f64],
    /// `[n_rounds]` below `n_actions`: the shown action.
    pub action: &'a [u32],
    /// `[n_rounds × n_actions]` the target policy, each row summing to 1.
    pub policy: &'a [T],
    /// `[n_rounds × n_actions]` the reward model.
    pub model: &'a [T],
    /// Number of actions.
    pub n_actions: usize,
}

/// Columns of [`LoggedRounds`] that come from matrices.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyColumns {
    /// `[n_rounds]` the target policy's probability of the shown action.
    pub target_probability: Vec<f64>,
    /// `[n_rounds]` the reward model's value of the shown action.
    pub model_reward: Vec<f64>,
    /// `[n_rounds]` the reward model's value under the target policy.
    pub model_value: Vec<f64>,
}

/// What one row of the matrices says.
#[derive(Clone, Copy)]
struct Row {
    target_probability: f64,
    model_reward: f64,
    model_value: f64,
}

impl<T: Copy + Into<f64> + Sync> MatrixRounds<'_, T> {
    /// Reads the shown action out of both matrices and sums `Σ_a π_e(a|x) q̂(x, a)` row by row, rows in parallel.
    ///
    /// # Errors
    /// If shapes do not fit, or a row of `policy` has a negative probability or does not sum to 1; the message
    /// names the row.
    pub fn columns(&self) -> Result<PolicyColumns, EvalError> {
        self.check_shapes()?;
        let rows: Vec<Option<Row>> =
            (0..self.action.len()).into_par_iter().with_min_len(SHARD).map(|i| self.row(i)).collect();
        if let Some(at) = rows.iter().position(Option::is_none) {
            return self.no_policy(at);
        }
        let column = |of: fn(&Row) -> f64| rows.iter().flatten().map(of).collect();
        Ok(PolicyColumns {
            target_probability: column(|r| r.target_probability),
            model_reward: column(|r| r.model_reward),
            model_value: column(|r| r.model_value),
        })
    }

    /// [`doubly_robust`](super::doubly_robust) in one pass over the matrices, without columns in between: as
    /// fast as memory gives them out. Mean and spread of a shard's terms are merged with those before it.
    ///
    /// # Errors
    /// As [`columns`](Self::columns), and if a propensity, reward or model value is out of range.
    ///
    /// # Source
    /// Chan, Golub & LeVeque, "Algorithms for computing the sample variance", The American Statistician 1983
    /// (merging of means and squared deviations).
    pub fn doubly_robust(&self, weighting: Weighting) -> Result<Estimate, EvalError> {
        self.check_shapes()?;
        let n = self.action.len();
        let shards: Vec<Result<Moments, usize>> = (0..n.div_ceil(SHARD))
            .into_par_iter()
            .map(|shard| self.shard(shard * SHARD..n.min((shard + 1) * SHARD), weighting))
            .collect();
        let mut all = Moments { n: 0.0, mean: 0.0, squares: 0.0 };
        for shard in shards {
            match shard {
                Ok(part) => all = all.and(part),
                Err(row) => return self.unfit(row),
            }
        }
        if all.n == 0.0 {
            return fail("number of rounds".into(), "0".into(), "there is nothing to estimate from");
        }
        let variance = if all.n > 1.0 { all.squares / (all.n - 1.0) } else { 0.0 };
        Ok(Estimate { value: all.mean, standard_error: (variance / all.n).sqrt() })
    }

    /// Moments of the terms of some rounds, or the first round that does not fit.
    fn shard(&self, rows: std::ops::Range<usize>, weighting: Weighting) -> Result<Moments, usize> {
        let mut terms = [0.0; SHARD];
        let n = rows.len();
        for (term, i) in terms.iter_mut().zip(rows) {
            let row = self.row(i).ok_or(i)?;
            let propensity = self.propensity[i];
            let weight = weighting.apply(row.target_probability / propensity);
            *term = row.model_value + weight * (self.reward[i] - row.model_reward);
            let fits = propensity > 0.0 && propensity <= 1.0 && (0.0..=1.0).contains(&row.target_probability);
            if !(fits && term.is_finite()) {
                return Err(i);
            }
        }
        let terms = &terms[..n];
        let mean = terms.iter().sum::<f64>() / n as f64;
        Ok(Moments { n: n as f64, mean, squares: terms.iter().map(|t| (t - mean) * (t - mean)).sum() })
    }

    /// One row; `None` if it is no policy.
    #[inline(always)]
    fn row(&self, at: usize) -> Option<Row> {
        let k = self.n_actions;
        let (p, q) = (&self.policy[at * k..(at + 1) * k], &self.model[at * k..(at + 1) * k]);
        let (model_value, total, size) = dot(p, q);
        let shown = self.action[at] as usize;
        ((total - 1.0).abs() <= SUM_TOLERANCE && size - total <= SUM_TOLERANCE).then(|| Row {
            target_probability: p[shown].into(),
            model_reward: q[shown].into(),
            model_value,
        })
    }

    fn check_shapes(&self) -> Result<(), EvalError> {
        let n = self.action.len();
        for (name, matrix) in [("policy", self.policy), ("model", self.model)] {
            if self.n_actions == 0 || matrix.len() != n * self.n_actions {
                return fail(
                    format!("size of `{name}`"),
                    matrix.len().to_string(),
                    "it has a row for each round and a column for each of at least one action",
                );
            }
        }
        for (name, column) in [("reward", self.reward), ("propensity", self.propensity)] {
            if column.len() != n {
                return fail(
                    format!("length of `{name}`"),
                    format!("{} for {n} actions", column.len()),
                    "one per round",
                );
            }
        }
        if let Some(row) = self.action.iter().position(|&a| a as usize >= self.n_actions) {
            return fail(
                format!("action of round {row}"),
                self.action[row].to_string(),
                "actions are numbered from 0",
            );
        }
        Ok(())
    }

    fn no_policy<R>(&self, row: usize) -> Result<R, EvalError> {
        let total: f64 =
            self.policy[row * self.n_actions..][..self.n_actions].iter().map(|&p| p.into()).sum();
        fail(
            format!("sum of the target policy's probabilities in round {row}"),
            total.to_string(),
            "they are not negative and sum to 1",
        )
    }

    /// Says what is wrong with a round that [`shard`](Self::shard) stopped at.
    fn unfit(&self, at: usize) -> Result<Estimate, EvalError> {
        let Some(row) = self.row(at) else { return self.no_policy(at) };
        let (p, e, r) = (self.propensity[at], row.target_probability, self.reward[at]);
        if !(p > 0.0 && p <= 1.0) {
            return fail(
                format!("propensity of round {at}"),
                p.to_string(),
                "propensities are above 0 and at most 1",
            );
        }
        if !(0.0..=1.0).contains(&e) {
            return fail(
                format!("target probability of round {at}"),
                e.to_string(),
                "probabilities lie between 0 and 1",
            );
        }
        let (name, value) = if r.is_finite() { ("model value", row.model_value) } else { ("reward", r) };
        fail(format!("{name} of round {at}"), value.to_string(), "it has to be finite")
    }
}

impl PolicyColumns {
    /// These columns with what was logged.
    #[must_use]
    pub fn rounds<'a>(&'a self, reward: &'a [f64], propensity: &'a [f64]) -> LoggedRounds<'a> {
        LoggedRounds {
            reward,
            propensity,
            target_probability: &self.target_probability,
            model_reward: &self.model_reward,
            model_value: &self.model_value,
        }
    }
}

/// Number, mean and squared deviations of some terms.
#[derive(Clone, Copy)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn and(self, other: Self) -> Self {
        let n = self.n + other.n;
        let apart = other.mean - self.mean;
        Self {
            n,
            mean: self.mean + apart * (other.n / n),
            squares: self.squares + other.squares + apart * apart * (self.n * other.n / n),
        }
    }
}

/// `Σ p q`, `Σ p` and `Σ |p|` (larger than the sum where something is negative), in eight lanes so that the
/// additions overlap.
#[inline(always)]
fn dot<T: Copy + Into<f64>>(p: &[T], q: &[T]) -> (f64, f64, f64) {
    const LANES: usize = 8;
    let (mut value, mut total, mut size) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    let (p_chunks, q_chunks) = (p.chunks_exact(LANES), q.chunks_exact(LANES));
    let (p_rest, q_rest) = (p_chunks.remainder(), q_chunks.remainder());
    for (p, q) in p_chunks.zip(q_chunks) {
        ask_ahead(p);
        ask_ahead(q);
        for lane in 0..LANES {
            let (p, q): (f64, f64) = (p[lane].into(), q[lane].into());
            value[lane] += p * q;
            total[lane] += p;
            size[lane] += p.abs();
        }
    }
    for (lane, (&p, &q)) in p_rest.iter().zip(q_rest).enumerate() {
        let (p, q): (f64, f64) = (p.into(), q.into());
        value[lane] += p * q;
        total[lane] += p;
        size[lane] += p.abs();
    }
    let sum = |x: [f64; LANES]| ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
    (sum(value), sum(total), sum(size))
}

/// Asks for the memory 4 KiB further on. The processor's own prefetcher stops at the end of a page; with this
/// a core reads the matrices at 16 GB/s instead of 12, and wider registers add nothing.
#[inline(always)]
fn ask_ahead<T>(at: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let ahead = at.as_ptr().cast::<i8>().wrapping_add(4096);
        // SAFETY: a prefetch is a hint: it reads nothing into the program and an address outside of the
        // allocation, or unmapped, is ignored.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::off_policy::doubly_robust;

    /// Rounds over 7 actions: probabilities to be normalised, model values; the action, reward and propensity.
    type Rows = Vec<(Vec<(f64, f64)>, u32, f64, f64)>;

    fn some_rows(most: usize) -> impl Strategy<Value = Rows> {
        let row = (
            prop::collection::vec((0.01_f64..1.0, -2.0_f64..2.0), 7),
            0_u32..7,
            -1.0_f64..3.0,
            0.05_f64..1.0,
        );
        prop::collection::vec(row, 1..most)
    }

    struct Owned {
        reward: Vec<f64>,
        propensity: Vec<f64>,
        action: Vec<u32>,
        policy: Vec<f64>,
        model: Vec<f64>,
    }

    impl Owned {
        fn of(rows: &Rows) -> Self {
            let (mut policy, mut model) = (Vec::new(), Vec::new());
            for (row, ..) in rows {
                let total: f64 = row.iter().map(|x| x.0).sum();
                policy.extend(row.iter().map(|x| x.0 / total));
                model.extend(row.iter().map(|x| x.1));
            }
            Self {
                reward: rows.iter().map(|r| r.2).collect(),
                propensity: rows.iter().map(|r| r.3).collect(),
                action: rows.iter().map(|r| r.1).collect(),
                policy,
                model,
            }
        }

        fn rounds(&self) -> MatrixRounds<'_, f64> {
            let Self { reward, propensity, action, policy, model } = self;
            MatrixRounds { reward, propensity, action, policy, model, n_actions: 7 }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn lanes_give_what_a_plain_loop_gives(rows in some_rows(20)) {
            let m = Owned::of(&rows);
            let got = m.rounds().columns().unwrap();
            for i in 0..rows.len() {
                let plain: f64 = (0..7).map(|a| m.policy[i * 7 + a] * m.model[i * 7 + a]).sum();
                prop_assert!((got.model_value[i] - plain).abs() < 1e-12);
                prop_assert_eq!(got.target_probability[i], m.policy[i * 7 + m.action[i] as usize]);
                prop_assert_eq!(got.model_reward[i], m.model[i * 7 + m.action[i] as usize]);
            }
        }

        #[test]
        fn one_pass_gives_what_columns_give(rows in some_rows(3 * SHARD), limit in 0.5_f64..20.0) {
            let m = Owned::of(&rows);
            let columns = m.rounds().columns().unwrap();
            for weighting in [Weighting::Plain, Weighting::Switch(limit), Weighting::Shrink(limit)] {
                let want = doubly_robust(&columns.rounds(&m.reward, &m.propensity), weighting).unwrap();
                let got = m.rounds().doubly_robust(weighting).unwrap();
                prop_assert!((got.value - want.value).abs() < 1e-12 * (1.0 + want.value.abs()), "{got:?} {want:?}");
                prop_assert!((got.standard_error - want.standard_error).abs() < 1e-12 * (1.0 + want.standard_error));
            }
            // Half the digits of the input move the answer by no more than those digits.
            let half = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
            let (policy, model) = (half(&m.policy), half(&m.model));
            let narrow = MatrixRounds {
                reward: &m.reward, propensity: &m.propensity, action: &m.action, policy: &policy, model: &model, n_actions: 7,
            };
            let (wide, narrow) =
                (m.rounds().doubly_robust(Weighting::Plain).unwrap(), narrow.doubly_robust(Weighting::Plain).unwrap());
            prop_assert!((wide.value - narrow.value).abs() < 1e-4, "{wide:?} {narrow:?}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let rows: Rows = (0..4 * SHARD as u32 + 9)
            .map(|i| {
                let x = f64::from(i % 101) / 101.0;
                (
                    (0..7).map(|a| (0.1 + x * f64::from(a), x - f64::from(a))).collect(),
                    i % 7,
                    x,
                    0.2 + 0.7 * x,
                )
            })
            .collect();
        let m = Owned::of(&rows);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| m.rounds().doubly_robust(Weighting::Plain).unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn a_row_that_does_not_fit_is_named() {
        let fine = [0.5, 0.5, 0.25, 0.75];
        let message = |action: &[u32], policy: &[f64], model: &[f64]| {
            let m = MatrixRounds {
                reward: &[1.0, 0.0],
                propensity: &[0.5; 2],
                action,
                policy,
                model,
                n_actions: 2,
            };
            let one_pass = m.doubly_robust(Weighting::Plain).unwrap_err().to_string();
            assert_eq!(m.columns().unwrap_err().to_string(), one_pass);
            one_pass
        };
        assert!(message(&[0, 1], &[0.5, 0.5, 0.25, 0.7], &fine).contains("in round 1 is 0.95"));
        assert!(message(&[0, 1], &[0.5, 0.5, 1.5, -0.5], &fine).contains("round 1"));
        assert!(message(&[0, 1], &[f64::NAN, 0.5, 0.5, 0.5], &fine).contains("round 0"));
        assert!(message(&[0, 2], &fine, &fine).contains("action of round 1"));
        assert!(message(&[0, 1], &fine, &fine[..2]).contains("size of `model`"));
        let logged = |reward: &[f64], propensity: &[f64], model: &[f64]| {
            MatrixRounds { reward, propensity, action: &[0, 1], policy: &fine, model, n_actions: 2 }
                .doubly_robust(Weighting::Plain)
                .unwrap_err()
                .to_string()
        };
        assert!(logged(&[1.0, 0.0], &[0.5, 0.0], &fine).contains("propensity of round 1"));
        assert!(logged(&[1.0, f64::NAN], &[0.5; 2], &fine).contains("reward of round 1"));
        assert!(
            logged(&[1.0, 0.0], &[0.5; 2], &[f64::INFINITY, 0.0, 0.0, 0.0])
                .contains("model value of round 0")
        );
        assert!(logged(&[1.0], &[0.5; 2], &fine).contains("length of `reward`"));
    }
}
