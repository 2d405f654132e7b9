//! From whole distributions to columns: what estimators need of a target policy and a reward model.

use rayon::prelude::*;

use super::fail;
use crate::EvalError;

/// Largest distance of a row's probabilities from summing to 1, and largest part below 0.
const SUM_TOLERANCE: f64 = 1e-6;

/// Columns of [`LoggedRounds`](super::LoggedRounds) that come from matrices.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyColumns {
    /// `[n_rounds]` the target policy's probability of the shown action.
    pub target_probability: Vec<f64>,
    /// `[n_rounds]` the reward model's value of the shown action.
    pub model_reward: Vec<f64>,
    /// `[n_rounds]` the reward model's value under the target policy.
    pub model_value: Vec<f64>,
}

/// Reads the shown action out of both matrices and sums `Σ_a π_e(a|x) q̂(x, a)` row by row, rows in parallel.
///
/// - `action`: `[n_rounds]` below `n_actions`
/// - `policy`: `[n_rounds × n_actions]` the target policy, each row summing to 1
/// - `model`: `[n_rounds × n_actions]` the reward model
///
/// # Errors
/// If shapes do not fit, or a row of `policy` has a negative probability or does not sum to 1; the message
/// names the row.
pub fn policy_columns(
    action: &[u32],
    policy: &[f64],
    model: &[f64],
    n_actions: usize,
) -> Result<PolicyColumns, EvalError> {
    let n = action.len();
    for (name, matrix) in [("policy", policy), ("model", model)] {
        if n_actions == 0 || matrix.len() != n * n_actions {
            return fail(
                format!("size of `{name}`"),
                matrix.len().to_string(),
                "it has a row for each round and a column for each of at least one action",
            );
        }
    }
    if let Some(row) = action.iter().position(|&a| a as usize >= n_actions) {
        return fail(
            format!("action of round {row}"),
            action[row].to_string(),
            "actions are numbered from 0",
        );
    }
    let rows: Vec<(f64, f64, f64, bool)> = policy
        .par_chunks_exact(n_actions)
        .zip(model.par_chunks_exact(n_actions))
        .zip(action)
        .with_min_len(256)
        .map(|((p, q), &a)| {
            let (value, total, size) = dot(p, q);
            let is_policy = (total - 1.0).abs() <= SUM_TOLERANCE && size - total <= SUM_TOLERANCE;
            (p[a as usize], q[a as usize], value, is_policy)
        })
        .collect();
    if let Some(row) = rows.iter().position(|r| !r.3) {
        let total: f64 = policy[row * n_actions..][..n_actions].iter().sum();
        return fail(
            format!("sum of the target policy's probabilities in round {row}"),
            total.to_string(),
            "they are not negative and sum to 1",
        );
    }
    Ok(PolicyColumns {
        target_probability: rows.iter().map(|r| r.0).collect(),
        model_reward: rows.iter().map(|r| r.1).collect(),
        model_value: rows.iter().map(|r| r.2).collect(),
    })
}

/// `Σ p q`, `Σ p` and `Σ |p|` (larger than the sum where something is negative), in four lanes so that the
/// additions overlap.
fn dot(p: &[f64], q: &[f64]) -> (f64, f64, f64) {
    const LANES: usize = 4;
    let (mut value, mut total, mut size) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    let (p_chunks, q_chunks) = (p.chunks_exact(LANES), q.chunks_exact(LANES));
    let (p_rest, q_rest) = (p_chunks.remainder(), q_chunks.remainder());
    for (p, q) in p_chunks.zip(q_chunks) {
        for lane in 0..LANES {
            value[lane] += p[lane] * q[lane];
            total[lane] += p[lane];
            size[lane] += p[lane].abs();
        }
    }
    for (lane, (p, q)) in p_rest.iter().zip(q_rest).enumerate() {
        value[lane] += p * q;
        total[lane] += p;
        size[lane] += p.abs();
    }
    let sum = |x: [f64; LANES]| (x[0] + x[1]) + (x[2] + x[3]);
    (sum(value), sum(total), sum(size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lanes_give_what_a_plain_loop_gives(
            rows in prop::collection::vec((prop::collection::vec((0.01_f64..1.0, -2.0_f64..2.0), 7), 0_u32..7), 1..20),
        ) {
            let mut policy = Vec::new();
            let mut model = Vec::new();
            for (row, _) in &rows {
                let total: f64 = row.iter().map(|x| x.0).sum();
                policy.extend(row.iter().map(|x| x.0 / total));
                model.extend(row.iter().map(|x| x.1));
            }
            let action: Vec<u32> = rows.iter().map(|r| r.1).collect();
            let got = policy_columns(&action, &policy, &model, 7).unwrap();
            for i in 0..rows.len() {
                let plain: f64 = (0..7).map(|a| policy[i * 7 + a] * model[i * 7 + a]).sum();
                prop_assert!((got.model_value[i] - plain).abs() < 1e-12);
                prop_assert_eq!(got.target_probability[i], policy[i * 7 + action[i] as usize]);
                prop_assert_eq!(got.model_reward[i], model[i * 7 + action[i] as usize]);
            }
        }
    }

    #[test]
    fn a_row_that_is_no_policy_is_named() {
        let message = |action: &[u32], policy: &[f64], model: &[f64]| {
            policy_columns(action, policy, model, 2).unwrap_err().to_string()
        };
        let fine = [0.5, 0.5, 0.25, 0.75];
        assert!(message(&[0, 1], &[0.5, 0.5, 0.25, 0.7], &fine).contains("in round 1 is 0.95"));
        assert!(message(&[0, 1], &[0.5, 0.5, 1.5, -0.5], &fine).contains("round 1"));
        assert!(message(&[0, 1], &[f64::NAN, 0.5, 0.5, 0.5], &fine).contains("round 0"));
        assert!(message(&[0, 2], &fine, &fine).contains("action of round 1"));
        assert!(message(&[0, 1], &fine, &fine[..2]).contains("size of `model`"));
    }
}
