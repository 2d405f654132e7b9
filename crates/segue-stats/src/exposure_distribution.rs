//! How evenly exposure is spread over artists or items.

use crate::StatsError;

/// Result of [`exposure_distribution`].
#[derive(Debug, Clone, PartialEq)]
pub struct ExposureDistribution {
    /// `Σ (2i − n − 1) x_(i) / (n Σx)` over ascending exposure: 0 is even.
    pub gini: f64,
    /// Entropy of the shares in nats.
    pub entropy: f64,
    /// `exp(entropy)`: how many equally exposed ones would look the same.
    pub effective_number: f64,
    /// Share with any exposure.
    pub coverage: f64,
    /// Largest share.
    pub top_share: f64,
}

/// Gini, entropy, effective number and coverage of exposure counts.
///
/// Gini and effective number depend on how much was played: compare them at equal totals.
///
/// # Errors
/// [`StatsError::Range`] for a negative exposure; [`StatsError::TooFew`] without any.
///
/// # Source
/// Gini, 1912; Hill, "Diversity and evenness", Ecology 1973.
pub fn exposure_distribution(exposure: &[f64]) -> Result<ExposureDistribution, StatsError> {
    for &x in exposure {
        if !(x >= 0.0 && x.is_finite()) {
            return Err(StatsError::Range {
                what: "exposure",
                value: x,
                rule: "it is at least 0 and finite",
            });
        }
    }
    let total: f64 = exposure.iter().sum();
    if total <= 0.0 {
        return Err(StatsError::TooFew { what: "exposures", got: 0, needed: 1 });
    }
    let mut sorted = exposure.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let ranked: f64 = (1..).zip(&sorted).map(|(i, x)| (2.0 * f64::from(i) - n - 1.0) * x).sum();
    let entropy: f64 = sorted
        .iter()
        .filter(|&&x| x > 0.0)
        .map(|x| {
            let share = x / total;
            -share * share.ln()
        })
        .sum();
    Ok(ExposureDistribution {
        gini: ranked / (n * total),
        entropy,
        effective_number: entropy.exp(),
        coverage: sorted.iter().filter(|&&x| x > 0.0).count() as f64 / n,
        top_share: sorted.last().copied().unwrap_or(0.0) / total,
    })
}

/// Share of the total exposure per group, groups in order of name.
///
/// # Errors
/// [`StatsError::LengthMismatch`], and as [`exposure_distribution`].
pub fn group_shares(exposure: &[f64], group: &[&str]) -> Result<Vec<(String, f64)>, StatsError> {
    if exposure.len() != group.len() {
        return Err(StatsError::LengthMismatch {
            what: "groups",
            expected: exposure.len(),
            got: group.len(),
        });
    }
    exposure_distribution(exposure)?;
    let total: f64 = exposure.iter().sum();
    let mut shares = std::collections::BTreeMap::<&str, f64>::new();
    for (x, g) in exposure.iter().zip(group) {
        *shares.entry(g).or_default() += x / total;
    }
    Ok(shares.into_iter().map(|(g, s)| (g.to_owned(), s)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_has_all_is_as_uneven_as_it_gets() {
        let d = exposure_distribution(&[0.0, 0.0, 0.0, 8.0]).unwrap();
        assert_eq!(
            (d.gini, d.entropy, d.effective_number, d.coverage, d.top_share),
            (0.75, 0.0, 1.0, 0.25, 1.0)
        );
        assert!(exposure_distribution(&[0.0]).is_err());
        assert!(exposure_distribution(&[-1.0, 2.0]).is_err());
        assert!(group_shares(&[1.0], &[]).is_err());
    }
}
