//! Which of several normal posteriors is the best.

use crate::StatsError;
use crate::distribution::normal;
use crate::error::{finite, positive};
use crate::quadrature::{gauss_legendre, gauss_legendre_on};

/// `P(arm i is the largest)` for independent normals: `∫ pdf_i ∏_{j ≠ i} cdf_j`.
///
/// The range is cut at every standard deviation of every arm, so that arms of very different spread
/// are all resolved.
///
/// # Errors
/// [`StatsError::LengthMismatch`]; [`StatsError::TooFew`] without arms; [`StatsError::Range`] for a
/// deviation that is not above 0.
pub fn probability_best(mean: &[f64], sd: &[f64]) -> Result<Vec<f64>, StatsError> {
    if sd.len() != mean.len() {
        return Err(StatsError::LengthMismatch {
            what: "deviations of arms",
            expected: mean.len(),
            got: sd.len(),
        });
    }
    if mean.is_empty() {
        return Err(StatsError::TooFew { what: "arms", got: 0, needed: 1 });
    }
    for (&m, &s) in mean.iter().zip(sd) {
        finite("mean of an arm", m)?;
        positive("deviation of an arm", s)?;
    }
    let mut cuts: Vec<f64> =
        mean.iter().zip(sd).flat_map(|(m, s)| (-10..=10).map(move |k| m + f64::from(k) * s)).collect();
    cuts.sort_unstable_by(f64::total_cmp);
    let rule = gauss_legendre(16);
    let points: Vec<(f64, f64)> =
        cuts.windows(2).filter(|w| w[1] > w[0]).flat_map(|w| gauss_legendre_on(&rule, w[0], w[1])).collect();
    Ok((0..mean.len())
        .map(|i| {
            points
                .iter()
                .map(|&(x, weight)| {
                    let others: f64 = (0..mean.len())
                        .filter(|&j| j != i)
                        .map(|j| normal::cdf((x - mean[j]) / sd[j]))
                        .product();
                    weight * normal::pdf((x - mean[i]) / sd[i]) / sd[i] * others
                })
                .sum()
        })
        .collect())
}

/// Shares of traffic that follow the probabilities, each at least `floor`:
/// `floor + (1 − n floor) p_i / Σp`.
///
/// # Errors
/// [`StatsError::Range`] for a negative floor, or one that leaves nothing to share.
pub fn allocation(probability_best: &[f64], floor: f64) -> Result<Vec<f64>, StatsError> {
    let n = probability_best.len() as f64;
    if !(floor >= 0.0 && n * floor <= 1.0) {
        return Err(StatsError::Range {
            what: "floor of an allocation",
            value: floor,
            rule: "it is at least 0 and at most one over the number of arms",
        });
    }
    let total = positive("sum of probabilities", probability_best.iter().sum())?;
    Ok(probability_best.iter().map(|p| floor + (1.0 - n * floor) * p / total).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_arms_match_the_closed_form_and_equal_arms_share() {
        // P(A > B) = Φ((μ_A − μ_B) / √(σ_A² + σ_B²)).
        let p = probability_best(&[1.0, 0.0], &[0.5, 2.0]).unwrap();
        assert!((p[0] - normal::cdf(1.0 / 4.25_f64.sqrt())).abs() < 1e-12);
        let p = probability_best(&[3.0; 4], &[0.1; 4]).unwrap();
        assert!(p.iter().all(|p| (p - 0.25).abs() < 1e-12));
        assert_eq!(allocation(&[0.25; 4], 0.25).unwrap(), [0.25; 4]);
        assert!(allocation(&[0.5; 2], 0.6).is_err());
        assert!(probability_best(&[1.0], &[0.0]).is_err());
    }
}
