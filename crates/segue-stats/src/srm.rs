//! Sample-ratio mismatch: whether units were split as planned, at one look and at any time.

use crate::StatsError;
use crate::distribution::chi2;
use crate::distribution::gamma::ln_gamma;
use crate::error::positive;

/// Result of [`srm_chi2`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Srm {
    /// Pearson's statistic.
    pub chi2: f64,
    /// Arms with a positive weight, minus one.
    pub dof: u32,
    /// Upper tail. Alert below a small threshold, such as .001.
    pub p_value: f64,
}

/// Pearson's test of counts against weights. An arm of weight 0 adds no degree of freedom.
///
/// # Errors
/// [`StatsError::LengthMismatch`]; [`StatsError::Range`] for a negative weight, or units in an arm of
/// weight 0; [`StatsError::TooFew`] without units or with fewer than two arms of positive weight.
///
/// # Source
/// Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments", KDD 2019.
pub fn srm_chi2(counts: &[u64], weights: &[f64]) -> Result<Srm, StatsError> {
    if counts.len() != weights.len() {
        return Err(StatsError::LengthMismatch {
            what: "weights of arms",
            expected: counts.len(),
            got: weights.len(),
        });
    }
    for (&count, &weight) in counts.iter().zip(weights) {
        if !(weight >= 0.0 && weight.is_finite()) {
            return Err(StatsError::Range {
                what: "weight of an arm",
                value: weight,
                rule: "it is at least 0 and finite",
            });
        }
        if weight == 0.0 && count > 0 {
            return Err(StatsError::Range {
                what: "units in an arm of weight 0",
                value: count as f64,
                rule: "an arm that is switched off gets none",
            });
        }
    }
    let arms = weights.iter().filter(|&&w| w > 0.0).count();
    if arms < 2 {
        return Err(StatsError::TooFew { what: "arms with a positive weight", got: arms, needed: 2 });
    }
    let n = counts.iter().sum::<u64>() as f64;
    if n == 0.0 {
        return Err(StatsError::TooFew { what: "units", got: 0, needed: 1 });
    }
    let total: f64 = weights.iter().sum();
    let statistic = counts
        .iter()
        .zip(weights)
        .filter(|(_, w)| **w > 0.0)
        .map(|(&observed, &w)| {
            let expected = w / total * n;
            (observed as f64 - expected).powi(2) / expected
        })
        .sum();
    let dof = (arms - 1) as u32;
    Ok(Srm { chi2: statistic, dof, p_value: chi2::sf(statistic, f64::from(dof)) })
}

/// One look of [`sequential_srm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequentialSrm {
    /// Log Bayes factor against the planned split.
    pub log_bayes_factor: f64,
    /// Running minimum of `min(1, 1 / BF)`: valid at every look at once.
    pub p_value: f64,
}

/// Anytime-valid mismatch test over looks.
///
/// - `increments`: `[n_looks][n_arms]` units that arrived since the last look
/// - `planned`: `[n_arms]` planned shares, summing to 1
/// - `concentration`: of the Dirichlet prior around the planned shares
///
/// `ln BF = lnΓ(A) − lnΓ(A + N) + Σ [lnΓ(a_i + n_i) − lnΓ(a_i)] − Σ n_i ln θ_i`.
///
/// # Errors
/// [`StatsError::Range`] for shares that are not above 0 or do not sum to 1, or a concentration that is
/// not above 0; [`StatsError::LengthMismatch`].
///
/// # Source
/// Lindon & Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.
pub fn sequential_srm(
    increments: &[Vec<u64>],
    planned: &[f64],
    concentration: f64,
) -> Result<Vec<SequentialSrm>, StatsError> {
    positive("concentration", concentration)?;
    for &share in planned {
        positive("planned share of an arm", share)?;
    }
    let total: f64 = planned.iter().sum();
    if (total - 1.0).abs() > 1e-9 {
        return Err(StatsError::Range {
            what: "sum of planned shares",
            value: total,
            rule: "it has to be 1",
        });
    }
    let mut counts = vec![0_u64; planned.len()];
    let mut p_value = 1.0_f64;
    let mut looks = Vec::with_capacity(increments.len());
    for look in increments {
        if look.len() != planned.len() {
            return Err(StatsError::LengthMismatch {
                what: "arms of a look",
                expected: planned.len(),
                got: look.len(),
            });
        }
        for (count, more) in counts.iter_mut().zip(look) {
            *count += more;
        }
        let n = counts.iter().sum::<u64>() as f64;
        let mut log = ln_gamma(concentration) - ln_gamma(concentration + n);
        for (&count, &share) in counts.iter().zip(planned) {
            let (a, count) = (concentration * share, count as f64);
            log += ln_gamma(a + count) - ln_gamma(a) - count * share.ln();
        }
        p_value = p_value.min((-log).exp()).min(1.0);
        looks.push(SequentialSrm { log_bayes_factor: log, p_value });
    }
    Ok(looks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_mismatch_is_found_and_bad_weights_are_refused() {
        // Cookie Cats: 44,700 against 45,489 units; p = .0086 is the number its readers quote.
        let s = srm_chi2(&[44_700, 45_489], &[1.0, 1.0]).unwrap();
        assert!((s.p_value - 0.0086).abs() < 5e-5, "{}", s.p_value);
        assert!(srm_chi2(&[1, 2], &[1.0, -1.0]).is_err());
        assert!(srm_chi2(&[1, 2], &[1.0, 0.0]).is_err());
        assert!(srm_chi2(&[1, 2], &[1.0]).is_err());
        assert!(srm_chi2(&[0, 0], &[1.0, 1.0]).is_err());
    }

    #[test]
    fn the_anytime_p_value_never_rises() {
        let looks =
            sequential_srm(&[vec![100, 150], vec![100, 100], vec![100, 100]], &[0.5, 0.5], 100.0).unwrap();
        assert!(looks.windows(2).all(|w| w[1].p_value <= w[0].p_value));
        assert!(sequential_srm(&[vec![1]], &[0.5, 0.5], 1.0).is_err());
        assert!(sequential_srm(&[], &[0.5, 0.6], 1.0).is_err());
    }
}
