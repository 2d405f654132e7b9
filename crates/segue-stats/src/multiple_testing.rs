//! Corrections for many tests at once, as adjusted p-values.

use crate::StatsError;
use crate::error::share;
use crate::holm::holm;

/// Which correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// `m p`. Family-wise, any dependence.
    Bonferroni,
    /// `1 − (1 − p)^m`. Family-wise, independent tests.
    Sidak,
    /// Step-down Bonferroni. Family-wise, any dependence, never worse than Bonferroni.
    Holm,
    /// Step-down Šidák.
    HolmSidak,
    /// Step-up `min_{j ≥ i} (m − j + 1) p_(j)`. Family-wise under positive dependence.
    SimesHochberg,
    /// Hommel's closed test over Simes.
    Hommel,
    /// Benjamini–Hochberg. False discovery rate, positive dependence.
    FdrBh,
    /// Benjamini–Yekutieli. False discovery rate, any dependence.
    FdrBy,
    /// Two-stage Benjamini–Hochberg: the number of true nulls estimated by a first pass at `alpha`.
    FdrTsbh,
}

impl Correction {
    /// Every correction with its usual name.
    pub const ALL: [(&'static str, Self); 9] = [
        ("bonferroni", Self::Bonferroni),
        ("sidak", Self::Sidak),
        ("holm", Self::Holm),
        ("holm-sidak", Self::HolmSidak),
        ("simes-hochberg", Self::SimesHochberg),
        ("hommel", Self::Hommel),
        ("fdr_bh", Self::FdrBh),
        ("fdr_by", Self::FdrBy),
        ("fdr_tsbh", Self::FdrTsbh),
    ];

    /// The correction of that name.
    ///
    /// # Errors
    /// [`StatsError::Unknown`].
    pub fn named(name: &str) -> Result<Self, StatsError> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, c)| *c).ok_or_else(|| StatsError::Unknown {
            what: "correction",
            value: name.to_owned(),
            known: "bonferroni, sidak, holm, holm-sidak, simes-hochberg, hommel, fdr_bh, fdr_by, fdr_tsbh",
        })
    }
}

/// Result of [`adjust`].
#[derive(Debug, Clone, PartialEq)]
pub struct Adjusted {
    /// Adjusted p-values in input order, at most 1.
    pub p_values: Vec<f64>,
    /// Whether each is at or below `alpha`.
    pub rejected: Vec<bool>,
}

/// Adjusts p-values.
///
/// # Errors
/// [`StatsError::Range`] for a p-value outside `[0, 1]` (NaN included) or `alpha` outside `(0, 1)`.
///
/// # Source
/// Wright, "Adjusted p-values for simultaneous inference", Biometrics 1992; Benjamini, Krieger &
/// Yekutieli, "Adaptive linear step-up procedures", Biometrika 2006.
pub fn adjust(p_values: &[f64], correction: Correction, alpha: f64) -> Result<Adjusted, StatsError> {
    share("alpha", alpha)?;
    for &p in p_values {
        if !(0.0..=1.0).contains(&p) {
            return Err(StatsError::Range { what: "p-value", value: p, rule: "it lies between 0 and 1" });
        }
    }
    let m = p_values.len();
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let sorted: Vec<f64> = order.iter().map(|&i| p_values[i]).collect();
    let adjusted: Vec<f64> = match correction {
        Correction::Bonferroni => sorted.iter().map(|p| p * m as f64).collect(),
        Correction::Sidak => sorted.iter().map(|&p| sidak(p, m)).collect(),
        Correction::Holm => holm(&sorted),
        Correction::HolmSidak => running_max(sorted.iter().enumerate().map(|(i, &p)| sidak(p, m - i))),
        Correction::SimesHochberg => step_up(&sorted, |i| (m - i) as f64),
        Correction::Hommel => hommel(&sorted),
        Correction::FdrBh => benjamini_hochberg(&sorted, 1.0),
        Correction::FdrBy => benjamini_hochberg(&sorted, (1..=m).map(|k| 1.0 / k as f64).sum()),
        Correction::FdrTsbh => two_stage(&sorted, alpha),
    };
    let mut out = vec![0.0; m];
    for (&i, p) in order.iter().zip(adjusted) {
        out[i] = p.min(1.0);
    }
    let rejected = out.iter().map(|&p| p <= alpha).collect();
    Ok(Adjusted { p_values: out, rejected })
}

/// `1 − (1 − p)^n` without cancellation for tiny `p`.
fn sidak(p: f64, n: usize) -> f64 {
    -(n as f64 * (-p).ln_1p()).exp_m1()
}

fn running_max(values: impl Iterator<Item = f64>) -> Vec<f64> {
    values
        .scan(0.0_f64, |max, v| {
            *max = max.max(v);
            Some(*max)
        })
        .collect()
}

/// `min_{j ≥ i} factor(j) p_(j)` over ascending p-values.
fn step_up(sorted: &[f64], factor: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut out = vec![0.0; sorted.len()];
    let mut min = f64::INFINITY;
    for i in (0..sorted.len()).rev() {
        min = min.min(factor(i) * sorted[i]);
        out[i] = min;
    }
    out
}

fn benjamini_hochberg(sorted: &[f64], scale: f64) -> Vec<f64> {
    let m = sorted.len() as f64;
    // p / (rank / m), in this order of operations: a p-value of exactly alpha stays exactly alpha.
    let mut out = vec![0.0; sorted.len()];
    let mut min = f64::INFINITY;
    for i in (0..sorted.len()).rev() {
        min = min.min(sorted[i] / ((i + 1) as f64 / m / scale));
        out[i] = min;
    }
    out
}

/// Hommel's adjusted p-values (Wright 1992, algorithm 4).
fn hommel(sorted: &[f64]) -> Vec<f64> {
    let n = sorted.len();
    let mut a = sorted.to_vec();
    for m in (2..=n).rev() {
        let from = n - m;
        let simes =
            (0..m).map(|i| m as f64 * sorted[from + i] / (i + 1) as f64).fold(f64::INFINITY, f64::min);
        for v in &mut a[from..] {
            *v = v.max(simes);
        }
        for (v, &p) in a[..from].iter_mut().zip(sorted) {
            *v = v.max((m as f64 * p).min(simes));
        }
    }
    a
}

fn two_stage(sorted: &[f64], alpha: f64) -> Vec<f64> {
    let m = sorted.len();
    let first = benjamini_hochberg(sorted, 1.0);
    let rejected = first.iter().filter(|&&p| p <= alpha).count();
    if rejected == 0 || rejected == m {
        return first;
    }
    let nulls = (m - rejected) as f64 / m as f64;
    first.iter().map(|p| p.min(1.0) * nulls).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Adjusted values keep the order of the raw ones and are never below them (two-stage FDR
        /// excepted, which may shrink them); stronger control adjusts more.
        #[test]
        fn corrections_are_ordered(p in proptest::collection::vec(0.0..1.0_f64, 1..12)) {
            let of = |c| adjust(&p, c, 0.05).unwrap().p_values;
            for (name, correction) in Correction::ALL {
                let a = of(correction);
                for i in 0..p.len() {
                    prop_assert!((0.0..=1.0).contains(&a[i]));
                    prop_assert!(correction == Correction::FdrTsbh || a[i] >= p[i] - 1e-12, "{name}");
                    for j in 0..p.len() {
                        prop_assert!(p[i] > p[j] || a[i] <= a[j] + 1e-12, "{name}");
                    }
                }
            }
            for (strong, weak) in [
                (Correction::Bonferroni, Correction::Holm),
                (Correction::Holm, Correction::SimesHochberg),
                (Correction::SimesHochberg, Correction::Hommel),
                (Correction::Hommel, Correction::FdrBh),
                (Correction::FdrBy, Correction::FdrBh),
            ] {
                for (s, w) in of(strong).iter().zip(of(weak)) {
                    prop_assert!(*s >= w - 1e-12);
                }
            }
        }
    }

    #[test]
    fn bad_p_values_and_names_are_refused() {
        assert!(adjust(&[0.1, f64::NAN], Correction::Holm, 0.05).is_err());
        assert!(adjust(&[1.1], Correction::Holm, 0.05).is_err());
        assert!(Correction::named("tukey").is_err());
        assert_eq!(adjust(&[], Correction::Hommel, 0.05).unwrap().p_values, []);
    }
}
