//! Sums by unit in bounded memory, and the estimators that are functions of their totals.
//!
//! Every estimator of this module is a sum of ratios of column totals. Kept by unit (a listener), the
//! sums give standard errors that know that a listener's rounds are alike: the influence of a unit on
//! the estimate is the derivative of the estimate with respect to that unit's weight, and the variance is
//! the spread of the influences (the infinitesimal jackknife, or linearisation; Efron, "The jackknife,
//! the bootstrap and other resampling plans", 1982, chapter 6). For a ratio `Σa / Σb` it is the delta
//! method: `√(Σ (a − θb)²) / Σb`, which is 0 for a constant reward.

use std::collections::HashMap;

use segue_stats::random::mix;
use segue_stats::summary::sum;

/// Column sums of groups of units. The first `limit` units are groups of their own; later ones share
/// these groups by hash, so that memory is bounded whatever the log's length. Groups of independent
/// units are independent, so the standard errors stay right; there are merely fewer degrees of freedom.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    n_columns: usize,
    limit: usize,
    group_of: HashMap<u64, u32>,
    /// `[n_groups × n_columns]`.
    sums: Vec<f64>,
    n_rows: u64,
}

impl Groups {
    pub(super) fn new(n_columns: usize, limit: usize) -> Self {
        Self { n_columns, limit: limit.max(1), group_of: HashMap::new(), sums: Vec::new(), n_rows: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.sums.len() / self.n_columns
    }

    pub(super) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// The sums of the unit's group, to be added to. Without a unit the row is its own.
    pub(super) fn row(&mut self, unit: Option<u64>) -> &mut [f64] {
        let len = self.len();
        let shared = |key: u64| (mix(key) % self.limit as u64) as usize;
        let group = match unit {
            None if len < self.limit => len,
            None => shared(self.n_rows),
            Some(unit) => match self.group_of.get(&unit) {
                Some(&group) => group as usize,
                None if len < self.limit => {
                    self.group_of.insert(unit, len as u32);
                    len
                }
                None => shared(unit),
            },
        };
        self.n_rows += 1;
        if group == len {
            self.sums.resize(self.sums.len() + self.n_columns, 0.0);
        }
        &mut self.sums[group * self.n_columns..][..self.n_columns]
    }

    /// One column, `[n_groups]`.
    pub(super) fn column(&self, column: usize) -> Vec<f64> {
        self.sums.iter().skip(column).step_by(self.n_columns).copied().collect()
    }

    /// Totals of all columns, added in a fixed order.
    pub(super) fn totals(&self) -> Vec<f64> {
        (0..self.n_columns).map(|c| sum(&self.column(c))).collect()
    }
}

/// `(Σa / Σb) (Σc / Σd)` of four columns; `c / d` may be absent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ratio {
    pub(super) a: usize,
    pub(super) b: usize,
    pub(super) share: Option<(usize, usize)>,
    /// 1, or −1 for a term that is taken away.
    pub(super) sign: f64,
}

/// An estimator: a sum of ratios of totals.
#[derive(Debug, Clone, Default)]
pub(super) struct Functional(pub(super) Vec<Ratio>);

impl Functional {
    pub(super) fn ratio(a: usize, b: usize) -> Self {
        Self(vec![Ratio { a, b, share: None, sign: 1.0 }])
    }

    pub(super) fn plus(mut self, a: usize, b: usize) -> Self {
        self.0.push(Ratio { a, b, share: None, sign: 1.0 });
        self
    }

    pub(super) fn minus(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().map(|r| Ratio { sign: -r.sign, ..*r }));
        self
    }

    /// Columns it reads, ascending.
    pub(super) fn columns(&self) -> Vec<usize> {
        let mut out: Vec<usize> = self
            .0
            .iter()
            .flat_map(|r| [r.a, r.b].into_iter().chain(r.share.into_iter().flat_map(|(c, d)| [c, d])))
            .collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    /// Its value; NaN if a denominator is 0.
    pub(super) fn value(&self, total: impl Fn(usize) -> f64) -> f64 {
        let one = |r: &Ratio| {
            let share = r.share.map_or(1.0, |(c, d)| total(c) / total(d));
            r.sign * (total(r.a) / total(r.b) * share)
        };
        self.0.iter().map(one).sum()
    }

    /// `[n_groups]` how much each group's presence moves the value; sums to 0.
    pub(super) fn influence(&self, groups: &Groups, totals: &[f64]) -> Vec<f64> {
        let n = groups.n_columns;
        let mut slope = vec![0.0; n];
        for r in &self.0 {
            let (a, b) = (totals[r.a], totals[r.b]);
            let (c, d) = r.share.map_or((1.0, 1.0), |(c, d)| (totals[c], totals[d]));
            let value = a / b * (c / d);
            slope[r.a] += r.sign * c / (b * d);
            slope[r.b] -= r.sign * value / b;
            if let Some((c_at, d_at)) = r.share {
                slope[c_at] += r.sign * a / (b * d);
                slope[d_at] -= r.sign * value / d;
            }
        }
        let used: Vec<(usize, f64)> = self.columns().into_iter().map(|c| (c, slope[c])).collect();
        groups.sums.chunks_exact(n).map(|row| used.iter().map(|&(c, s)| s * row[c]).sum()).collect()
    }
}

/// Standard error from influences: `√(G / (G − 1) Σ d²)`; infinite for a single group, of which
/// nothing can be said.
pub(super) fn standard_error(influence: &[f64]) -> f64 {
    let n = influence.len() as f64;
    if influence.len() < 2 {
        return f64::INFINITY;
    }
    let squares: Vec<f64> = influence.iter().map(|d| d * d).collect();
    (n / (n - 1.0) * sum(&squares)).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The derivative, taken the slow way: recompute the value with a group weighted a little more.
        #[test]
        fn influence_is_the_derivative_by_a_groups_weight(
            rows in prop::collection::vec(prop::array::uniform4(0.1_f64..3.0), 2..20),
        ) {
            let mut groups = Groups::new(4, 100);
            for row in &rows {
                groups.row(None).copy_from_slice(row);
            }
            let f = Functional(vec![
                Ratio { a: 0, b: 1, share: Some((2, 3)), sign: 1.0 },
                Ratio { a: 3, b: 2, share: None, sign: -1.0 },
            ]);
            let totals = groups.totals();
            let influence = f.influence(&groups, &totals);
            for (g, row) in rows.iter().enumerate() {
                let nudged = |h: f64| f.value(|c| totals[c] + h * row[c]);
                let slope = (nudged(1e-5) - nudged(-1e-5)) / 2e-5;
                prop_assert!((slope - influence[g]).abs() < 1e-6 * (1.0 + slope.abs()), "{slope} {}", influence[g]);
            }
            prop_assert!(sum(&influence).abs() < 1e-9 * influence.len() as f64);
        }

        #[test]
        fn totals_do_not_depend_on_how_units_share_groups(
            rows in prop::collection::vec((0_u64..50, -3.0_f64..3.0), 1..200), limit in 1_usize..60,
        ) {
            let mut groups = Groups::new(1, limit);
            for &(unit, x) in &rows {
                groups.row(Some(unit))[0] += x;
            }
            prop_assert!(groups.len() <= limit);
            let plain: f64 = rows.iter().map(|r| r.1).sum();
            prop_assert!((groups.totals()[0] - plain).abs() < 1e-9);
            if limit >= 50 {
                let units: std::collections::HashSet<u64> = rows.iter().map(|r| r.0).collect();
                prop_assert_eq!(groups.len(), units.len());
            }
        }
    }
}
