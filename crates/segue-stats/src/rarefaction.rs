//! Concentration at equal plays: Gini and effective number after thinning to the same total.
//!
//! Both depend on how much was played: a control of 90 % of the listeners looks more diverse than a treatment
//! of 10 % although nothing differs. Each play is kept with probability `kept`, independently, so that both
//! arms have the same expected total; the expectations over that thinning are computed, not drawn.

use crate::StatsError;
use crate::distribution::gamma::ln_gamma;
use crate::distribution::normal;

/// Result of [`rarefied`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rarefied {
    /// Expected mean absolute difference over twice the mean: the Gini of the thinned plays.
    pub gini: f64,
    /// `exp` of the expected entropy of the thinned plays.
    pub effective_number: f64,
}

/// Beyond this variance a binomial is taken as a normal with continuity correction.
const NORMAL_FROM: f64 = 400.0;

/// Concentration of `plays` per artist when thinned to an expected total of `to`.
///
/// With `X_i ~ Binomial(x_i, to/Σx)`: `gini = Σ_{i≠j} E|X_i − X_j| / (2 n² E X̄)`, where
/// `Σ_{i≠j} E|X_i − X_j| = 2 Σ_c [S(c)(n − S(c)) − Σ_i F_i(c)(1 − F_i(c))]`, `F_i` the distribution function and `S` the sum
/// of all; entropy `Σ_i E[−(X_i/to) ln(X_i/to)]`. Without thinning both are those of
/// [`crate::exposure_distribution`]. Time grows with the number of different counts and their spread, not with
/// the number of plays.
///
/// # Errors
/// [`StatsError::TooFew`] without plays; [`StatsError::Range`] if `to` is not above 0 or more than there is.
///
/// # Source
/// Hurlbert, "The nonconcept of species diversity", Ecology 1971 (rarefaction); Gini's mean difference.
pub fn rarefied(plays: &[u64], to: f64) -> Result<Rarefied, StatsError> {
    let total = plays.iter().map(|&x| x as f64).sum::<f64>();
    if total <= 0.0 {
        return Err(StatsError::TooFew { what: "plays", got: 0, needed: 1 });
    }
    if !(to > 0.0 && to <= total * (1.0 + 1e-12)) {
        return Err(StatsError::Range {
            what: "total to rarefy to",
            value: to,
            rule: "it is above 0 and at most the plays there are",
        });
    }
    let kept = (to / total).min(1.0);
    let mut sorted = plays.to_vec();
    sorted.sort_unstable();
    let n = plays.len() as f64;
    let top = sorted.last().copied().unwrap_or(0);
    // S(c) = Σ_i F_i(c) as a part that is exactly 1 from some c on, kept as steps, and the windows in between.
    let mut partial = vec![0.0; top as usize + 1];
    let mut whole = vec![0.0; top as usize + 2];
    let mut own = 0.0;
    let mut entropy = 0.0;
    let mut at = 0;
    while at < sorted.len() {
        let x = sorted[at];
        let same = sorted[at..].partition_point(|&y| y == x);
        let weight = same as f64;
        at += same;
        let (first, masses) = binomial(x, kept);
        let mut below = 0.0;
        for (offset, mass) in masses.iter().enumerate() {
            let c = first as usize + offset;
            below = f64::min(below + mass, 1.0);
            partial[c] += weight * below;
            own += weight * below * (1.0 - below);
            if c > 0 {
                let share = c as f64 / to;
                entropy -= weight * mass * share * share.ln();
            }
        }
        whole[first as usize + masses.len()] += weight;
    }
    let (mut settled, mut cross) = (0.0, 0.0);
    for c in 0..=top as usize {
        settled += whole[c];
        let s = settled + partial[c];
        cross += s * (n - s);
    }
    let gini = 2.0 * (cross - own) / (2.0 * n * to);
    Ok(Rarefied { gini: gini.max(0.0), effective_number: entropy.exp() })
}

/// First count and the masses of a binomial, tails below about 1e-15 left out; the masses sum to 1.
fn binomial(x: u64, kept: f64) -> (u64, Vec<f64>) {
    if kept >= 1.0 || x == 0 {
        return (x, vec![1.0]);
    }
    let mean = x as f64 * kept;
    let variance = mean * (1.0 - kept);
    let sd = variance.sqrt();
    // The lower tail of a small mean is bounded by 0, its upper tail is Poisson-like and needs the constant.
    let low = (mean - 8.0 * sd - 2.0).max(0.0).floor() as u64;
    let high = ((mean + 8.0 * sd + 20.0).ceil() as u64).min(x);
    let mut masses: Vec<f64> = if variance > NORMAL_FROM {
        let cdf = |c: f64| normal::cdf((c + 0.5 - mean) / sd);
        (low..=high).map(|c| cdf(c as f64) - cdf(c as f64 - 1.0)).collect()
    } else {
        let odds = kept / (1.0 - kept);
        let n = x as f64;
        let start = low as f64;
        let log = ln_gamma(n + 1.0) - ln_gamma(start + 1.0) - ln_gamma(n - start + 1.0)
            + start * kept.ln()
            + (n - start) * (-kept).ln_1p();
        let mut mass = log.exp();
        (low..=high)
            .map(|c| {
                let now = mass;
                mass *= (n - c as f64) / (c as f64 + 1.0) * odds;
                now
            })
            .collect()
    };
    let total: f64 = masses.iter().sum();
    masses.iter_mut().for_each(|m| *m /= total);
    (low, masses)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exposure_distribution::exposure_distribution;
    use crate::random::Stream;

    proptest! {
        #[test]
        fn without_thinning_it_is_the_plain_concentration(plays in proptest::collection::vec(0..60_u64, 1..40)) {
            prop_assume!(plays.iter().sum::<u64>() > 0);
            let total = plays.iter().sum::<u64>() as f64;
            let plain: Vec<f64> = plays.iter().map(|&x| x as f64).collect();
            let want = exposure_distribution(&plain).unwrap();
            let got = rarefied(&plays, total).unwrap();
            prop_assert!((got.gini - want.gini).abs() < 1e-12, "{} {}", got.gini, want.gini);
            prop_assert!((got.effective_number - want.effective_number).abs() < 1e-9);
        }
    }

    /// The expectation against 400 thinnings drawn one by one; 2,000 plays of one artist take the normal path.
    #[test]
    fn the_expectation_is_the_mean_over_drawn_thinnings() {
        let plays = [2_000, 300, 40, 40, 7, 3, 1, 1, 0];
        let total = plays.iter().sum::<u64>() as f64;
        let to = 0.3 * total;
        let (runs, mut gini) = (400, 0.0);
        for run in 0..runs {
            let mut stream = Stream::new(3, run);
            let kept: Vec<f64> =
                plays.iter().map(|&x| (0..x).filter(|_| stream.next_f64() < 0.3).count() as f64).collect();
            let d = exposure_distribution(&kept).unwrap();
            // The definition divides by the expected total.
            gini += d.gini * kept.iter().sum::<f64>() / to / runs as f64;
        }
        let got = rarefied(&plays, to).unwrap();
        assert!((got.gini - gini).abs() < 1.5e-3, "{} {gini}", got.gini);
    }

    #[test]
    fn two_arms_of_one_world_agree_at_equal_plays_and_only_there() {
        let big: Vec<u64> = (0..400).map(|i| 1_800 / (i + 1)).collect();
        let small: Vec<u64> = big.iter().map(|x| x / 9).collect();
        let m = small.iter().sum::<u64>() as f64;
        let (a, b) = (rarefied(&big, m).unwrap(), rarefied(&big, big.iter().sum::<u64>() as f64).unwrap());
        let c = rarefied(&small, m).unwrap();
        assert!((a.gini - c.gini).abs() < (b.gini - c.gini).abs());
        assert!(
            rarefied(&[0, 0], 1.0).is_err() && rarefied(&[1], 2.0).is_err() && rarefied(&[1], 0.0).is_err()
        );
    }
}
