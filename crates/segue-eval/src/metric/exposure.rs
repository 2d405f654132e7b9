//! How evenly exposure is spread over the candidates: Gini coefficient and entropy.

use super::{Compute, Metric, Shown};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "gini",
        about: "Gini coefficient of exposure over the candidates: 0 all alike, towards 1 a few have all",
        compute: Compute::Overall(gini),
    },
    Metric {
        name: "entropy",
        about: "entropy of exposure in bits: log2 of the number of items that would be as even",
        compute: Compute::Overall(entropy),
    },
];

/// `Σ_i (2 i − n − 1) x_i / (n Σ x)` over the candidates in ascending order of exposure `x`, `i` from
/// 1; candidates nobody was shown count. NaN if nobody was shown anything.
///
/// Source: Gini 1912; for recommendations Fleder & Hosanagar, Management Science 2009.
fn gini(shown: &Shown<'_>) -> f64 {
    let mut exposure: Vec<u32> = shown.n_shown.iter().copied().filter(|&n| n > 0).collect();
    exposure.sort_unstable();
    let n = f64::from(shown.catalogue.n_candidates);
    let n_unseen = n - exposure.len() as f64;
    let total: f64 = exposure.iter().map(|&x| f64::from(x)).sum();
    let weighted: f64 = exposure
        .iter()
        .enumerate()
        // The unseen come first and add nothing.
        .map(|(i, &x)| (2.0 * (n_unseen + (i + 1) as f64) - n - 1.0) * f64::from(x))
        .sum();
    weighted / (n * total)
}

/// `−Σ p log2 p` with `p` an item's share of all exposure. NaN if nobody was shown anything.
///
/// Source: Shannon 1948.
fn entropy(shown: &Shown<'_>) -> f64 {
    let total: f64 = shown.n_shown.iter().map(|&n| f64::from(n)).sum();
    if total == 0.0 {
        return f64::NAN;
    }
    let shares = shown.n_shown.iter().filter(|&&n| n > 0).map(|&n| f64::from(n) / total);
    shares.map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::{entropy, gini};
    use crate::metric::check::is;
    use crate::metric::{Catalogue, Shown};

    fn both(n_shown: &[u32], n_candidates: u32) -> (f64, f64) {
        let users = vec![1; n_shown.len()];
        let catalogue = Catalogue::new(&users, 3, n_candidates);
        let shown = Shown { n_shown, k: 2, catalogue: &catalogue };
        (gini(&shown), entropy(&shown))
    }

    #[test]
    fn even_exposure_has_no_inequality() {
        let (g, h) = both(&[3, 3, 3, 3], 4);
        is(g, 0.0);
        is(h, 2.0);
    }

    #[test]
    fn one_item_has_all() {
        let (g, h) = both(&[0, 8, 0, 0], 4);
        is(g, 0.75);
        is(h, 0.0);
    }

    #[test]
    fn by_hand_with_a_candidate_that_nobody_saw() {
        // Sorted 0, 1, 3: (−2·0 + 0·1 + 2·3) / (3·4).
        let (g, h) = both(&[1, 0, 3], 3);
        is(g, 0.5);
        is(h, 0.25 * 2.0 + 0.75 * (4.0_f64 / 3.0).log2());
        assert!(both(&[0, 0], 2).0.is_nan() && both(&[0, 0], 2).1.is_nan());
    }
}
