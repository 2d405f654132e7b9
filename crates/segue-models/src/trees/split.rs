//! The best split of a leaf, from its sums per bin.
//!
//! A leaf with gradient sum `G` and second-derivative sum `H` lowers the loss by
//! `G² / (2 (H + l2))` when it steps to `−G / (H + l2)`; a split's gain is what its two children
//! lower it by together beyond their parent (the factor ½ is left out, as is usual).
//!
//! Candidates are tried in a fixed order and the first of equals wins: lower feature first; missing
//! values to the right before missing values to the left; lower threshold first.
//!
//! # Source
//! Chen & Guestrin, "XGBoost: a scalable tree boosting system", KDD 2016, equations 5 to 7 and the
//! sparsity-aware search for the side of missing values.

use super::config::Direction;
use super::gradient::Scale;
use super::histogram::{ColumnSums, Packed, Sums, unpack};

/// Gains below this are rounding of `f64`, not structure.
const LEAST_GAIN: f64 = 1e-7;

/// What decides a split, in units of the rounded derivatives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitRule {
    /// Penalty on leaf values, times the hessian scale.
    l2: f64,
    /// Least hessian of a child, times the hessian scale.
    min_hessian: f64,
    /// Least gain, in loss.
    min_gain: f64,
    /// Loss per unit of the scaled gain.
    gain_unit: f64,
    /// Leaf value per unit of the scaled value.
    value_unit: f64,
}

/// The values a leaf may take; narrowed below a split on a feature held to one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Bounds {
    /// Any value.
    pub(crate) const NONE: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// Bounds of the left and right child of a split with the given child values.
    pub(crate) fn divide(self, direction: Option<Direction>, left: f64, right: f64) -> (Self, Self) {
        let middle = 0.5 * (left + right);
        match direction {
            None => (self, self),
            Some(Direction::Increasing) => (Self { high: middle, ..self }, Self { low: middle, ..self }),
            Some(Direction::Decreasing) => (Self { low: middle, ..self }, Self { high: middle, ..self }),
        }
    }
}

/// Bounds of a leaf and the direction of a feature; `None` unless the model holds some feature to one.
pub(crate) type Monotone = Option<(Bounds, Option<Direction>)>;

/// A split: rows with `bin <= bin` go left, missing values where `missing_left` says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Split {
    /// Decrease of twice the loss beyond the parent's.
    pub(crate) gain: f64,
    pub(crate) feature: usize,
    pub(crate) bin: u8,
    pub(crate) missing_left: bool,
    pub(crate) left: Sums,
    pub(crate) right: Sums,
}

impl SplitRule {
    pub(crate) fn new(l2: f64, min_hessian: f64, min_gain: f64, scale: Scale) -> Self {
        Self {
            l2: l2 * scale.hessian,
            // A child without any hessian is no child, even if the setting allows it.
            min_hessian: (min_hessian * scale.hessian).max(1.0),
            min_gain: min_gain.max(LEAST_GAIN),
            gain_unit: scale.hessian / (scale.gradient * scale.gradient),
            value_unit: scale.hessian / scale.gradient,
        }
    }

    /// The leaf value of `sums`, before the learning rate, within `bounds`.
    pub(crate) fn value(&self, sums: Sums, bounds: Bounds) -> f64 {
        let value = -f64::from(sums.gradient) / (f64::from(sums.hessian) + self.l2) * self.value_unit;
        // With no hessian and no penalty there is nothing to divide by, and no step.
        if value.is_finite() { value.max(bounds.low).min(bounds.high) } else { 0.0 }
    }

    /// Whether a leaf holds enough for two children.
    pub(crate) fn may_split(&self, sums: Sums) -> bool {
        f64::from(sums.hessian) >= 2.0 * self.min_hessian
    }

    /// The gain of two children with the given score, if it is enough.
    pub(crate) fn gain(&self, score: f64, leaf: Sums, monotone: Monotone) -> Option<f64> {
        let gradient = f64::from(leaf.gradient);
        let parent = match monotone {
            None => gradient * gradient / (f64::from(leaf.hessian) + self.l2),
            Some((bounds, _)) => self.score_at(leaf, self.value(leaf, bounds)),
        };
        let gain = (score - parent) * self.gain_unit;
        // NaN, from a leaf without hessian, is not above anything.
        (gain > self.min_gain).then_some(gain)
    }

    /// Score of two children over one division; −∞ if either is too small.
    #[inline]
    pub(crate) fn pair_score(&self, left: Sums, right: Sums) -> f64 {
        let (gl, gr) = (f64::from(left.gradient), f64::from(right.gradient));
        let (hl, hr) = (f64::from(left.hessian), f64::from(right.hessian));
        let (dl, dr) = (hl + self.l2, hr + self.l2);
        let score = (gl * gl * dr + gr * gr * dl) / (dl * dr);
        // `&`, not `&&`: both comparisons are cheap and a branch would keep the loop from vectorising.
        if (hl >= self.min_hessian) & (hr >= self.min_hessian) { score } else { f64::NEG_INFINITY }
    }

    /// Score of two children whose values are held within bounds and to a direction.
    pub(crate) fn bounded_score(
        &self,
        left: Sums,
        right: Sums,
        bounds: Bounds,
        direction: Option<Direction>,
    ) -> f64 {
        if self.pair_score(left, right) == f64::NEG_INFINITY {
            return f64::NEG_INFINITY;
        }
        let (vl, vr) = (self.value(left, bounds), self.value(right, bounds));
        let allowed = match direction {
            None => true,
            Some(Direction::Increasing) => vl <= vr,
            Some(Direction::Decreasing) => vl >= vr,
        };
        if allowed { self.score_at(left, vl) + self.score_at(right, vr) } else { f64::NEG_INFINITY }
    }

    /// What a leaf gains by stepping to `value`: `−2 G v − (H + l2) v²`, in scaled units.
    fn score_at(&self, sums: Sums, value: f64) -> f64 {
        let value = value / self.value_unit;
        -2.0 * f64::from(sums.gradient) * value - (f64::from(sums.hessian) + self.l2) * value * value
    }
}

/// The best split of one feature, if any beats `min_gain`.
///
/// # Shapes
/// - `sums`: the first `n_bins` count, bin 0 is missing
pub(crate) fn best_split(
    rule: &SplitRule,
    feature: usize,
    sums: &ColumnSums,
    n_bins: usize,
    leaf: Sums,
    monotone: Monotone,
) -> Option<Split> {
    // Sums up to and including each bin, missing values apart.
    let mut below = [Sums::default(); 256];
    let mut running: Packed = 0;
    for bin in 1..n_bins {
        running = running.wrapping_add(sums[bin]);
        below[bin] = unpack(running);
    }
    let missing = unpack(sums[0]);
    let mut best: Option<(f64, u8, bool)> = None;
    let mut scores = [f64::NEG_INFINITY; 256];
    for missing_left in [false, true] {
        if sums[0] == 0 && missing_left {
            break;
        }
        let (extra, bins) = match (sums[0] == 0, missing_left) {
            (true, _) | (_, true) => (if missing_left { missing } else { Sums::default() }, 1..n_bins - 1),
            // With missing values on the right, "all that is known" is a left side too.
            (false, false) => (Sums::default(), 1..n_bins),
        };
        match monotone {
            None => {
                for (score, below) in scores[bins.clone()].iter_mut().zip(&below[bins.clone()]) {
                    let (left, right) = sides(*below, extra, leaf);
                    *score = rule.pair_score(left, right);
                }
            }
            Some((bounds, direction)) => {
                for (score, below) in scores[bins.clone()].iter_mut().zip(&below[bins.clone()]) {
                    let (left, right) = sides(*below, extra, leaf);
                    *score = rule.bounded_score(left, right, bounds, direction);
                }
            }
        }
        for bin in bins {
            if scores[bin] > best.map_or(f64::NEG_INFINITY, |(score, ..)| score) {
                best = Some((scores[bin], bin as u8, missing_left));
            }
        }
    }
    let (score, bin, mut missing_left) = best?;
    let gain = rule.gain(score, leaf, monotone)?;
    let extra = if missing_left { missing } else { Sums::default() };
    let (left, right) = sides(below[usize::from(bin)], extra, leaf);
    if sums[0] == 0 {
        // Nothing was learned about missing values here: they go where most of the rows go.
        missing_left = left.hessian >= right.hessian;
    }
    Some(Split { gain, feature, bin, missing_left, left, right })
}

#[inline]
fn sides(below: Sums, extra: Sums, leaf: Sums) -> (Sums, Sums) {
    let left = Sums { gradient: below.gradient + extra.gradient, hessian: below.hessian + extra.hessian };
    let right = Sums { gradient: leaf.gradient - left.gradient, hessian: leaf.hessian - left.hessian };
    (left, right)
}

/// The better of two splits, the first if their gains are equal.
pub(crate) fn better(first: Option<Split>, second: Option<Split>) -> Option<Split> {
    match (first, second) {
        (Some(a), Some(b)) => Some(if b.gain > a.gain { b } else { a }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::pack;
    use super::*;

    const SCALE: Scale = Scale { gradient: 1.0, hessian: 4.0 };

    fn column(sums: &[(i32, u32)]) -> (ColumnSums, Sums) {
        let mut column = [0; 256];
        for (slot, &(g, h)) in column.iter_mut().zip(sums) {
            *slot = pack(g, h);
        }
        let leaf =
            Sums { gradient: sums.iter().map(|s| s.0).sum(), hessian: sums.iter().map(|s| s.1 as i32).sum() };
        (column, leaf)
    }

    fn best(sums: &[(i32, u32)], rule: &SplitRule) -> Option<Split> {
        let (column, leaf) = column(sums);
        best_split(rule, 3, &column, sums.len(), leaf, None)
    }

    #[test]
    fn the_gain_is_the_one_worked_out_by_hand() {
        // Real hessians 1, 1, 2; l2 = 1. Splits: {-4 | +4+4} and {-4+4 | +4}.
        let rule = SplitRule::new(1.0, 0.0, 0.0, SCALE);
        let split = best(&[(0, 0), (-4, 4), (4, 4), (4, 8)], &rule).expect("a gain exists");
        assert_eq!((split.bin, split.feature), (1, 3));
        // 16 / 2 + 64 / 4 − 16 / 5.
        assert!((split.gain - (8.0 + 16.0 - 3.2)).abs() < 1e-12, "{}", split.gain);
        let value = rule.value(split.left, Bounds::NONE);
        assert!((value - 2.0).abs() < 1e-12, "{value}");
    }

    #[test]
    fn missing_values_go_to_the_side_that_they_resemble() {
        let rule = SplitRule::new(1.0, 0.0, 0.0, SCALE);
        let left = best(&[(-40, 40), (-4, 4), (4, 4)], &rule).expect("gain");
        assert!(left.missing_left && left.bin == 1);
        let right = best(&[(40, 40), (-4, 4), (4, 4)], &rule).expect("gain");
        assert!(!right.missing_left && right.bin == 1);
        // Alone against all known values.
        let alone = best(&[(40, 40), (-4, 4), (-4, 4)], &rule).expect("gain");
        assert!(!alone.missing_left && alone.bin == 2);
    }

    #[test]
    fn without_missing_values_in_the_leaf_they_follow_the_larger_side() {
        let rule = SplitRule::new(1.0, 0.0, 0.0, SCALE);
        assert!(best(&[(0, 0), (-4, 40), (4, 4)], &rule).expect("gain").missing_left);
        assert!(!best(&[(0, 0), (-4, 4), (4, 40)], &rule).expect("gain").missing_left);
    }

    #[test]
    fn a_side_below_the_least_hessian_is_no_side() {
        let rule = SplitRule::new(1.0, 2.0, 0.0, SCALE);
        assert_eq!(best(&[(0, 0), (-4, 4), (4, 40)], &rule), None);
    }

    #[test]
    fn a_constant_column_has_no_split() {
        let rule = SplitRule::new(1.0, 0.0, 0.0, SCALE);
        assert_eq!(best(&[(0, 0), (-4, 40)], &rule), None);
        assert_eq!(best(&[(3, 40), (0, 0)], &rule), None);
    }

    #[test]
    fn the_first_of_equal_splits_wins() {
        let rule = SplitRule::new(1.0, 0.0, 0.0, SCALE);
        // An empty bin between: thresholds 1 and 2 say the same.
        assert_eq!(best(&[(0, 0), (-4, 4), (0, 0), (4, 4)], &rule).expect("gain").bin, 1);
        let split = best(&[(0, 0), (-4, 4), (4, 4)], &rule);
        assert_eq!(better(split, split.map(|s| Split { feature: 9, ..s })), split);
    }

    #[test]
    fn a_direction_forbids_the_opposite_split_and_bounds_hold_its_children() {
        let rule = SplitRule::new(1.0, 0.0, 0.0, SCALE);
        let (column, leaf) = column(&[(0, 0), (-4, 4), (4, 4)]);
        let with = |direction| best_split(&rule, 0, &column, 3, leaf, Some((Bounds::NONE, direction)));
        // The left value is above the right one.
        assert_eq!(with(Some(Direction::Increasing)), None);
        let falling = with(Some(Direction::Decreasing)).expect("allowed");
        assert_eq!(Some(falling), with(None));
        let (left, right) = Bounds::NONE.divide(Some(Direction::Decreasing), 2.0, -2.0);
        assert_eq!((left.low, right.high), (0.0, 0.0));
    }
}
