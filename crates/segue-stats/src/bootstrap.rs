//! Paired bootstrap of means: all columns see the same resampled users.
//!
//! Draw `d` resamples users by a counter-based stream keyed by `(seed, d)`. It needs no more than how
//! often each user was drawn, so all columns (metrics, models, their differences) are averaged over
//! one count vector: the draws are paired by construction. Draws are independent of each other and
//! of the number of threads.

use rayon::prelude::*;

use crate::StatsError;
use crate::distribution::normal;
use crate::error::share;
use crate::random::Stream;
use crate::summary::sum;

/// Draws that share one pass over the columns.
const LANES: usize = 8;

/// Means of every column under `draws` resamples of its rows: `[columns][draws]`.
///
/// A NaN is a row for which that column is not defined: the mean is over the others. A draw that
/// happens to hold no defined row is NaN. Rows are resampled with replacement, as many as there are.
///
/// # Shapes
/// - `columns`: each `[n_rows]`
///
/// # Errors
/// [`StatsError::LengthMismatch`] if columns differ in length, [`StatsError::TooFew`] without rows
/// or draws.
///
/// # Source
/// Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 6.
pub fn bootstrap_means(columns: &[&[f64]], draws: usize, seed: u64) -> Result<Vec<Vec<f64>>, StatsError> {
    let Some(first) = columns.first() else { return Ok(Vec::new()) };
    let n = first.len();
    for column in columns {
        if column.len() != n {
            return Err(StatsError::LengthMismatch {
                what: "bootstrap columns",
                expected: n,
                got: column.len(),
            });
        }
    }
    if n == 0 || draws == 0 {
        return Err(StatsError::TooFew { what: "bootstrap", got: 0, needed: 1 });
    }
    // A column with gaps needs a second sum, of the weights that count.
    let columns: Vec<Column> = columns.iter().map(|c| Column::new(c)).collect();
    if let [column] = columns.as_slice()
        && column.defined.is_empty()
    {
        // One column without gaps needs no counts: adding the drawn values up is one read per row.
        return Ok(vec![
            (0..draws).into_par_iter().map(|draw| column.drawn_mean(seed, draw as u64)).collect(),
        ]);
    }
    let batches: Vec<Vec<[f64; LANES]>> = (0..draws.div_ceil(LANES))
        .into_par_iter()
        .map_init(
            || vec![[0_i32; LANES]; n],
            |counts, batch| {
                counts.fill([0; LANES]);
                for lane in 0..LANES {
                    let mut stream = Stream::new(seed, (batch * LANES + lane) as u64);
                    for _ in 0..n {
                        counts[stream.next_below(n)][lane] += 1;
                    }
                }
                columns.iter().map(|column| column.means(counts)).collect()
            },
        )
        .collect();
    Ok((0..columns.len()).map(|c| (0..draws).map(|d| batches[d / LANES][c][d % LANES]).collect()).collect())
}

struct Column {
    /// Values with 0 in place of NaN.
    value: Vec<f64>,
    /// 1 where defined, else 0; empty if defined everywhere.
    defined: Vec<f64>,
}

impl Column {
    fn new(column: &[f64]) -> Self {
        let gaps = column.iter().any(|v| v.is_nan());
        Self {
            value: column.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect(),
            defined: if gaps {
                column.iter().map(|v| if v.is_nan() { 0.0 } else { 1.0 }).collect()
            } else {
                Vec::new()
            },
        }
    }

    /// The mean of one resample, added up as it is drawn, in blocks and four sums at a time.
    fn drawn_mean(&self, seed: u64, draw: u64) -> f64 {
        let n = self.value.len();
        let mut stream = Stream::new(seed, draw);
        let (mut total, mut left) = (0.0, n);
        while left > 0 {
            let block = left.min(1024);
            let mut sums = [0.0; 4];
            for _ in 0..block / 4 {
                for sum in &mut sums {
                    *sum += self.value[stream.next_below(n)];
                }
            }
            for _ in 0..block % 4 {
                sums[0] += self.value[stream.next_below(n)];
            }
            total += (sums[0] + sums[1]) + (sums[2] + sums[3]);
            left -= block;
        }
        total / n as f64
    }

    fn means(&self, counts: &[[i32; LANES]]) -> [f64; LANES] {
        let total = weighted(&self.value, counts);
        let weight = if self.defined.is_empty() {
            [counts.len() as f64; LANES]
        } else {
            weighted(&self.defined, counts)
        };
        std::array::from_fn(|lane| total[lane] / weight[lane])
    }
}

/// `Σ_i counts[i][lane] · values[i]`, in blocks so that rounding does not grow with the length.
fn weighted(values: &[f64], counts: &[[i32; LANES]]) -> [f64; LANES] {
    let mut total = [0.0; LANES];
    for (values, counts) in values.chunks(1024).zip(counts.chunks(1024)) {
        let mut block = [0.0; LANES];
        for (value, counts) in values.iter().zip(counts) {
            for lane in 0..LANES {
                block[lane] += value * f64::from(counts[lane]);
            }
        }
        for lane in 0..LANES {
            total[lane] += block[lane];
        }
    }
    total
}

/// Percentile interval: the `(1 ∓ confidence) / 2` quantiles of the draws, NaN draws left out.
///
/// # Errors
/// [`StatsError::Range`] for a confidence outside `(0, 1)`, [`StatsError::TooFew`] if no draw is
/// defined.
pub fn percentile_interval(draws: &[f64], confidence: f64) -> Result<[f64; 2], StatsError> {
    share("confidence", confidence)?;
    let sorted = defined_sorted(draws)?;
    let tail = 0.5 * (1.0 - confidence);
    Ok([quantile_of_sorted(&sorted, tail), quantile_of_sorted(&sorted, 1.0 - tail)])
}

/// Bias-corrected and accelerated interval of a mean.
///
/// - `values`: `[n]` the sample whose mean was resampled (NaN = not defined)
/// - `draws`: means of its resamples, from [`bootstrap_means`]
///
/// The acceleration comes from the jackknife of a mean, which has a closed form:
/// `a = Σ(x − x̄)³ / (6 (Σ(x − x̄)²)^1.5)`. Falls back to the percentile interval where the bias
/// correction is not finite (all draws on one side of the mean, or all equal).
///
/// # Errors
/// As [`percentile_interval`].
///
/// # Source
/// Efron, "Better bootstrap confidence intervals", JASA 1987.
pub fn bca_interval(values: &[f64], draws: &[f64], confidence: f64) -> Result<[f64; 2], StatsError> {
    share("confidence", confidence)?;
    let sorted = defined_sorted(draws)?;
    let values: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    if values.is_empty() {
        return Err(StatsError::TooFew { what: "bootstrap sample", got: 0, needed: 1 });
    }
    let mean = sum(&values) / values.len() as f64;
    let squares: f64 = sum(&values.iter().map(|v| (v - mean).powi(2)).collect::<Vec<_>>());
    let cubes: f64 = sum(&values.iter().map(|v| (v - mean).powi(3)).collect::<Vec<_>>());
    let acceleration = if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 };
    // Ties count half: a mean of few distinct values would otherwise look biased.
    let below = sorted.partition_point(|&d| d < mean) as f64;
    let at_most = sorted.partition_point(|&d| d <= mean) as f64;
    let bias = normal::quantile(0.5 * (below + at_most) / sorted.len() as f64);
    if !bias.is_finite() {
        return percentile_interval(draws, confidence);
    }
    let tail = 0.5 * (1.0 - confidence);
    let corrected = |z: f64| normal::cdf(bias + (bias + z) / (1.0 - acceleration * (bias + z)));
    let z = normal::upper_quantile(tail);
    Ok([quantile_of_sorted(&sorted, corrected(-z)), quantile_of_sorted(&sorted, corrected(z))])
}

fn defined_sorted(draws: &[f64]) -> Result<Vec<f64>, StatsError> {
    let mut sorted: Vec<f64> = draws.iter().copied().filter(|d| !d.is_nan()).collect();
    if sorted.is_empty() {
        return Err(StatsError::TooFew { what: "defined bootstrap draws", got: 0, needed: 1 });
    }
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(sorted)
}

/// Linear interpolation between order statistics at `p (n − 1)` (Hyndman & Fan's type 7).
fn quantile_of_sorted(sorted: &[f64], p: f64) -> f64 {
    let at = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    let share = at - low as f64;
    sorted[low] + share * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One draw the plain way: pick rows one by one and average what is defined.
    fn plain(column: &[f64], draw: usize, seed: u64) -> f64 {
        let mut stream = Stream::new(seed, draw as u64);
        let picked: Vec<f64> = (0..column.len()).map(|_| column[stream.next_below(column.len())]).collect();
        let defined: Vec<f64> = picked.into_iter().filter(|v| !v.is_nan()).collect();
        defined.iter().sum::<f64>() / defined.len() as f64
    }

    proptest! {
        #[test]
        fn counts_give_what_picking_rows_gives(
            rows in proptest::collection::vec((-5.0..5.0_f64, proptest::option::weighted(0.8, 0.0..1.0_f64)), 1..50),
            seed in any::<u64>(),
        ) {
            let a: Vec<f64> = rows.iter().map(|r| r.0).collect();
            let b: Vec<f64> = rows.iter().map(|r| r.1.unwrap_or(f64::NAN)).collect();
            let got = bootstrap_means(&[&a, &b], 11, seed).unwrap();
            let alone = bootstrap_means(&[&a], 11, seed).unwrap();
            for d in 0..11 {
                prop_assert!((got[0][d] - plain(&a, d, seed)).abs() < 1e-12);
                prop_assert!((alone[0][d] - got[0][d]).abs() < 1e-12);
                let want = plain(&b, d, seed);
                prop_assert!((got[1][d] - want).abs() < 1e-12 || (got[1][d].is_nan() && want.is_nan()));
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let a: Vec<f64> = (0..500).map(|i| f64::from(i % 7)).collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bootstrap_means(&[&a], 200, 3).unwrap())
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(5));
    }

    /// 1,000 samples of 40 exponential values: the 90 % interval holds the mean about 90 % of the
    /// time. The sample is skewed and small, so both fall a little short.
    #[test]
    fn intervals_cover_about_as_often_as_they_say() {
        let runs = 1_000;
        let (mut percentile, mut bca) = (0, 0);
        for run in 0..runs {
            let mut stream = Stream::new(99, run);
            let sample: Vec<f64> = (0..40).map(|_| -(1.0 - stream.next_f64()).ln()).collect();
            let draws = bootstrap_means(&[&sample], 400, run).unwrap().remove(0);
            let holds = |i: [f64; 2]| i32::from(i[0] <= 1.0 && 1.0 <= i[1]);
            percentile += holds(percentile_interval(&draws, 0.9).unwrap());
            bca += holds(bca_interval(&sample, &draws, 0.9).unwrap());
        }
        assert!((830..=915).contains(&percentile), "{percentile}");
        assert!((835..=920).contains(&bca), "{bca}");
    }

    #[test]
    fn degenerate_samples_give_a_point() {
        let draws = bootstrap_means(&[&[0.25; 9]], 100, 0).unwrap().remove(0);
        assert_eq!(percentile_interval(&draws, 0.95).unwrap(), [0.25, 0.25]);
        assert_eq!(bca_interval(&[0.25; 9], &draws, 0.95).unwrap(), [0.25, 0.25]);
        let one = bootstrap_means(&[&[3.0]], 100, 0).unwrap().remove(0);
        assert_eq!(percentile_interval(&one, 0.95).unwrap(), [3.0, 3.0]);
        assert!(percentile_interval(&[f64::NAN], 0.95).is_err());
        assert!(bootstrap_means(&[&[]], 100, 0).is_err());
        assert!(bootstrap_means(&[&[1.0], &[1.0, 2.0]], 100, 0).is_err());
    }
}
