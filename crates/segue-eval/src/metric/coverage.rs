//! Catalogue coverage: how much of the catalogue anybody was shown.

use super::{Compute, Metric, Shown};

pub(super) const METRICS: &[Metric] = &[Metric {
    name: "coverage",
    about: "share of the candidate items that are in the top k of at least one user",
    compute: Compute::Overall(coverage),
}];

/// Depends on the number of users asked: compare it only at the same split.
fn coverage(shown: &Shown<'_>) -> f64 {
    let n_shown = shown.n_shown.iter().filter(|&&n| n > 0).count();
    n_shown as f64 / f64::from(shown.catalogue.n_candidates)
}

#[cfg(test)]
mod tests {
    use super::coverage;
    use crate::metric::{Catalogue, Shown};

    #[test]
    fn items_shown_to_many_count_once() {
        let catalogue = Catalogue::new(&[1; 5], 3, 4);
        let shown = Shown { n_shown: &[7, 0, 1, 0, 0], k: 2, catalogue: &catalogue };
        assert_eq!(coverage(&shown), 0.5);
    }
}
