//! Paired bootstrap of means: all columns see the same resampled users.
//!
//! Draw `d` resamples users by a counter-based stream keyed by `(seed, d)`, block by block
//! (`resample.rs`). It needs no more than how often each user was drawn, so all columns (metrics, models,
//! their differences) are averaged over one count vector: the draws are paired by construction. Draws are
//! independent of each other and of the number of threads.

use rayon::prelude::*;

use crate::StatsError;
use crate::distribution::normal;
use crate::error::share;
use crate::resample::{BLOCK, PER_WORD, Resample};
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
    let batches: Vec<Vec<[f64; LANES]>> = (0..draws.div_ceil(LANES))
        .into_par_iter()
        .map(|batch| {
            let draws = std::array::from_fn(|lane| Resample::new(seed, (batch * LANES + lane) as u64, n));
            match columns.as_slice() {
                // One column without gaps needs no counts: adding the picked values up is one read per row.
                [column] if column.defined.is_empty() => vec![column.picked_means(draws)],
                columns => counted_means(columns, draws, n),
            }
        })
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

    /// Means of the picked values, added up as they are picked, five sums at a time.
    fn picked_means(&self, mut draws: [Resample; LANES]) -> [f64; LANES] {
        let mut totals = [0.0; LANES];
        for block in self.value.chunks(BLOCK) {
            for (total, draw) in totals.iter_mut().zip(&mut draws) {
                let mut sums = [0.0; PER_WORD];
                // With its length known, rows of a whole block need no check.
                if let Ok(whole) = <&[f64; BLOCK]>::try_from(block) {
                    draw.next_block(BLOCK, |k, row| sums[k] += whole[row]);
                } else {
                    draw.next_block(block.len(), |k, row| sums[k] += block[row]);
                }
                *total += sums.iter().sum::<f64>();
            }
        }
        totals.map(|total| total / self.value.len() as f64)
    }
}

/// Means of every column over how often each row was picked.
fn counted_means(columns: &[Column], mut draws: [Resample; LANES], n: usize) -> Vec<[f64; LANES]> {
    let mut totals = vec![[0.0; LANES]; columns.len()];
    let mut weights = vec![[0.0; LANES]; columns.len()];
    let mut counts = vec![[0_i32; LANES]; BLOCK.min(n)];
    for from in (0..n).step_by(BLOCK) {
        let len = BLOCK.min(n - from);
        let counts = &mut counts[..len];
        counts.fill([0; LANES]);
        for (lane, draw) in draws.iter_mut().enumerate() {
            if let Ok(whole) = <&mut [[i32; LANES]; BLOCK]>::try_from(&mut *counts) {
                draw.next_block(BLOCK, |_, row| whole[row][lane] += 1);
            } else {
                draw.next_block(len, |_, row| counts[row][lane] += 1);
            }
        }
        for (c, column) in columns.iter().enumerate() {
            add_weighted(&mut totals[c], &column.value[from..from + len], counts);
            if !column.defined.is_empty() {
                add_weighted(&mut weights[c], &column.defined[from..from + len], counts);
            }
        }
    }
    for (c, column) in columns.iter().enumerate() {
        for lane in 0..LANES {
            totals[c][lane] /= if column.defined.is_empty() { n as f64 } else { weights[c][lane] };
        }
    }
    totals
}

/// `total[lane] += Σ_i counts[i][lane] · values[i]` over one block, so that rounding does not grow with the length.
fn add_weighted(total: &mut [f64; LANES], values: &[f64], counts: &[[i32; LANES]]) {
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
    use crate::random::Stream;

    /// One draw the plain way: write down the picked values one by one and average what is defined.
    fn plain(column: &[f64], draw: usize, seed: u64) -> f64 {
        let mut resample = Resample::new(seed, draw as u64, column.len());
        let mut picked = Vec::new();
        for block in column.chunks(BLOCK) {
            resample.next_block(block.len(), |_, row| picked.push(block[row]));
        }
        assert_eq!(picked.len(), column.len());
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
    fn blocks_of_rows_give_what_picking_rows_gives() {
        for n in [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 700] {
            let a: Vec<f64> = (0..n).map(|i| f64::sin(i as f64)).collect();
            let b: Vec<f64> = a.iter().map(|v| if *v < -0.5 { f64::NAN } else { v * v }).collect();
            let got = bootstrap_means(&[&a, &b], 9, 4).unwrap();
            let alone = bootstrap_means(&[&a], 9, 4).unwrap();
            for d in 0..9 {
                assert!(
                    (got[0][d] - plain(&a, d, 4)).abs() < 1e-12 && (alone[0][d] - got[0][d]).abs() < 1e-12
                );
                assert!((got[1][d] - plain(&b, d, 4)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let a: Vec<f64> = (0..9_500).map(|i| f64::from(i % 7)).collect();
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
