//! Skewness of a difference of two means, and a statistic without it.
//!
//! Minutes, streams and money are skewed: where one arm is small, its mean and its variance rise together, so a
//! statistic of the right size is found less often above a boundary than below it. Hall's transformation takes
//! the skewness out and leaves the size. With arms of equal size there is nothing to take out.

/// Sums of a pair of values up to third order, as a stream: skewness of any `a·y + b·x`.
///
/// A mean has no second value (`b = 0`); a ratio has its denominator (`a = 1`, `b = −ratio`), an adjusted mean its
/// covariate (`b = −slope`).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SkewSums {
    n: u64,
    /// The first pair: values far from 0 keep their digits.
    origin: [f64; 2],
    /// `Σ y, x`.
    first: [f64; 2],
    /// `Σ y², yx, x²`.
    second: [f64; 3],
    /// `Σ y³, y²x, yx², x³`.
    third: [f64; 4],
}

impl SkewSums {
    /// Adds a unit.
    pub fn add(&mut self, y: f64, x: f64) {
        if self.n == 0 {
            self.origin = [y, x];
        }
        let (y, x) = (y - self.origin[0], x - self.origin[1]);
        let (yy, yx, xx) = (y * y, y * x, x * x);
        self.n += 1;
        self.first = [self.first[0] + y, self.first[1] + x];
        self.second = [self.second[0] + yy, self.second[1] + yx, self.second[2] + xx];
        let t = &mut self.third;
        *t = [t[0] + yy * y, t[1] + yy * x, t[2] + y * xx, t[3] + xx * x];
    }

    /// Units.
    #[must_use]
    pub const fn n(&self) -> u64 {
        self.n
    }

    /// `E(v − v̄)³ / sd³` of `v = a·y + b·x`; 0 without variance.
    #[must_use]
    pub fn skewness(&self, a: f64, b: f64) -> f64 {
        let n = self.n as f64;
        let mean = (a * self.first[0] + b * self.first[1]) / n;
        let [yy, yx, xx] = self.second;
        let square = (a * a * yy + 2.0 * a * b * yx + b * b * xx) / n;
        let [yyy, yyx, yxx, xxx] = self.third;
        let cube = (a * a * a * yyy + 3.0 * a * a * b * yyx + 3.0 * a * b * b * yxx + b * b * b * xxx) / n;
        let variance = square - mean * mean;
        let out = (cube - 3.0 * mean * square + 2.0 * mean * mean * mean) / (variance * variance.sqrt());
        // No spread but for rounding is none.
        if variance > 1e-12 * square && out.is_finite() { out } else { 0.0 }
    }
}

/// Skewness of `treatment mean − control mean`, if the values of both arms had the same shape and spread.
///
/// - `n`: units of the control and of the treatment
/// - `skewness`: of their values
///
/// `γ (1/n_t² − 1/n_c²) / (1/n_t + 1/n_c)^{3/2}` with `γ` the mean over all units, within ±1, which no sample
/// exceeds. One shape for both, because the skewness of a small arm is little more than its largest value, which moved
/// the mean as well; where the arms do differ the correction errs by a part of what it corrects, and
/// vanishes with the units as it does.
#[must_use]
pub fn skewness_of_difference(n: [f64; 2], skewness: [f64; 2]) -> f64 {
    let [c, t] = n;
    let shape = (c * skewness[0] + t * skewness[1]) / (c + t);
    let of_difference = shape * (1.0 / (t * t) - 1.0 / (c * c)) / (1.0 / t + 1.0 / c).powf(1.5);
    if of_difference.is_finite() { of_difference.clamp(-1.0, 1.0) } else { 0.0 }
}

/// A studentised statistic made as if its estimate had no skewness: `t + a t²/3 + a² t³/27 + a/6`, which rises
/// with `t`.
///
/// # Source
/// Hall, "On the removal of skewness by transformation", JRSS B 1992; for two samples Zhou & Dinh,
/// "Nonparametric confidence intervals for the one- and two-sample problems", Biostatistics 2005.
#[must_use]
pub fn without_skewness(statistic: f64, skewness: f64) -> f64 {
    let at = skewness * statistic;
    statistic * (1.0 + at / 3.0 + at * at / 27.0) + skewness / 6.0
}

/// The other way: the statistic that [`without_skewness`] takes to `value`.
#[must_use]
pub fn with_skewness(value: f64, skewness: f64) -> f64 {
    if skewness == 0.0 {
        return value;
    }
    // Below, the cube root would lose the digits that the two terms share; the next term is of order a².
    if skewness.abs() < 1e-7 {
        return value - skewness * (value * value / 3.0 + 1.0 / 6.0);
    }
    3.0 / skewness * ((1.0 + skewness * (value - skewness / 6.0)).cbrt() - 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        // A 0/1 value with mean .1: (1 − .2) / √.09.
        let mut binary = SkewSums::default();
        (0..100).for_each(|i| binary.add(f64::from(u8::from(i % 10 == 0)), 0.0));
        assert!((binary.skewness(1.0, 0.0) - 0.8 / 0.3).abs() < 1e-12);
        assert!((binary.skewness(-5.0, 0.0) + 0.8 / 0.3).abs() < 1e-12, "scale free, turned by the sign");
        // 900 and 100 units: (1/100² − 1/900²) / (1/100 + 1/900)^1.5 = 8/90.
        let a = skewness_of_difference([900.0, 100.0], [2.0, 2.0]);
        assert!((a - 2.0 * (1e-4 - 1.0 / 810_000.0) / (10.0_f64 / 900.0).powf(1.5)).abs() < 1e-15, "{a}");
        assert_eq!(skewness_of_difference([500.0, 500.0], [9.0, 3.0]), 0.0, "equal arms");
        assert_eq!(skewness_of_difference([1e6, 4.0], [1e3, 1.0]), 1.0, "never above 1");
        // By hand: 2 + .3·4/3 + .09·8/27 + .05.
        assert!((without_skewness(2.0, 0.3) - (2.0 + 0.4 + 0.72 / 27.0 + 0.05)).abs() < 1e-14);
    }

    #[test]
    fn without_variance_there_is_no_skewness() {
        let mut same = SkewSums::default();
        assert_eq!(same.skewness(1.0, 0.0), 0.0);
        (0..9).for_each(|_| same.add(0.1, 3.0));
        assert_eq!((same.n(), same.skewness(1.0, 0.0)), (9, 0.0));
    }

    proptest! {
        #[test]
        fn sums_agree_with_two_passes(
            rows in proptest::collection::vec((-1e3..1e3_f64, -1e3..1e3_f64), 3..60),
            (a, b, far) in (0.1..3.0_f64, -3.0..3.0_f64, -1e6..1e6_f64),
        ) {
            let mut sums = SkewSums::default();
            rows.iter().for_each(|&(y, x)| sums.add(y + far, x));
            let v: Vec<f64> = rows.iter().map(|&(y, x)| a * y + b * x).collect();
            let n = v.len() as f64;
            let mean = v.iter().sum::<f64>() / n;
            let m = |k: i32| v.iter().map(|v| (v - mean).powi(k)).sum::<f64>() / n;
            prop_assume!(m(2) > 1.0);
            let want = m(3) / m(2).powf(1.5);
            prop_assert!((sums.skewness(a, b) - want).abs() < 1e-6 * (1.0 + want.abs()));
        }

        #[test]
        fn there_and_back(value in -9.0..9.0_f64, skewness in -1.0..1.0_f64, exponent in 0..12_i32) {
            let skewness = skewness * 10.0_f64.powi(-exponent);
            let t = with_skewness(value, skewness);
            prop_assert!((without_skewness(t, skewness) - value).abs() < 1e-6, "{t}");
            prop_assert!(with_skewness(value + 0.01, skewness) > t);
            prop_assert!((without_skewness(-value, -skewness) + without_skewness(value, skewness)).abs() < 1e-12);
        }
    }
}
