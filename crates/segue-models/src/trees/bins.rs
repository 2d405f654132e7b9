//! Quantile bins: each column becomes bytes, 0 for missing, 1 and up for values in order.

use rayon::prelude::*;

use super::random::draw;
use crate::ModelError;

/// The bin of a missing value.
pub const MISSING_BIN: u8 = 0;

/// Rows looked at to place the edges of a column.
const SAMPLE_ROWS: usize = 200_000;

/// Where the bins of every column end.
///
/// A value `x` falls in bin `1 + #{edges < x}`, so `bin <= b` says exactly `x <= edges[b - 1]`: a
/// tree grown on bins and the same tree with thresholds agree on every value.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    edges: Vec<Vec<f32>>,
}

impl Bins {
    /// Places at most `max_bins` value bins per column, from the values of `rows`.
    ///
    /// A column with few distinct values gets a bin for each. Otherwise bins hold about equally many
    /// rows, and a value common enough to fill a bin has one of its own. Of more than 200,000 rows
    /// an evenly spread sample is looked at.
    ///
    /// # Shapes
    /// - `columns`: `[n_features][n_all_rows]`, NaN for missing; infinities count as missing here
    /// - `rows`: row numbers
    #[must_use]
    pub fn fit(columns: &[&[f32]], rows: &[u32], max_bins: usize, seed: u64) -> Self {
        assert!((2..=255).contains(&max_bins), "max_bins is {max_bins}; bins are numbered in one byte");
        let sample = sample_rows(rows, seed);
        let edges = columns.par_iter().map(|column| place_edges(column, &sample, max_bins)).collect();
        Self { edges }
    }

    /// Number of columns.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.edges.len()
    }

    /// Number of bins of a column, the bin of missing values included: 2 to 256.
    #[must_use]
    pub fn n_bins(&self, feature: usize) -> usize {
        self.edges[feature].len() + 2
    }

    /// The bin of a value.
    #[must_use]
    pub fn bin_of(&self, feature: usize, value: f32) -> u8 {
        bin_of(&self.edges[feature], value)
    }

    /// The largest value that falls in `bin` or below; `f32::MAX` for the last one.
    #[must_use]
    pub fn threshold(&self, feature: usize, bin: u8) -> f32 {
        self.edges[feature].get(usize::from(bin) - 1).copied().unwrap_or(f32::MAX)
    }
}

/// Up to eight neighbouring columns, their bytes side by side in one word per row: one load feeds
/// eight histograms.
#[derive(Debug, Clone)]
pub(crate) struct ColumnGroup {
    /// First column.
    pub(crate) first: usize,
    /// Number of columns, 1 to 8.
    pub(crate) width: usize,
    /// `[n_rows]`; byte `k` is the bin of column `first + k`.
    pub(crate) words: Vec<u64>,
}

/// Rows as bins, by column (to divide a leaf) and by group of columns (to fill histograms).
#[derive(Debug, Clone)]
pub struct BinnedRows {
    n_rows: usize,
    n_bins: Vec<usize>,
    columns: Vec<Vec<u8>>,
    pub(crate) groups: Vec<ColumnGroup>,
}

impl BinnedRows {
    /// Bins the given rows of the columns.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if there are more than 2^30 rows (sums would not fit their 32 bits).
    pub fn new(bins: &Bins, columns: &[&[f32]], rows: &[u32]) -> Result<Self, ModelError> {
        assert_eq!(columns.len(), bins.n_features(), "columns and bins come from the same features");
        const MAX_ROWS: usize = 1 << 30;
        if rows.len() > MAX_ROWS {
            let what = "training rows (sample them down)".into();
            return Err(ModelError::Shape { what, expected: MAX_ROWS, got: rows.len() });
        }
        let binned: Vec<Vec<u8>> = bins
            .edges
            .par_iter()
            .zip(columns)
            .map(|(edges, column)| rows.iter().map(|&row| bin_of(edges, column[row as usize])).collect())
            .collect();
        let groups = group_columns(columns.len(), rayon::current_num_threads())
            .into_par_iter()
            .map(|(first, width)| {
                let mut words = vec![0u64; rows.len()];
                for (k, column) in binned[first..first + width].iter().enumerate() {
                    for (word, &bin) in words.iter_mut().zip(column) {
                        *word |= u64::from(bin) << (8 * k);
                    }
                }
                ColumnGroup { first, width, words }
            })
            .collect();
        let n_bins = (0..columns.len()).map(|f| bins.n_bins(f)).collect();
        Ok(Self { n_rows: rows.len(), n_bins, columns: binned, groups })
    }

    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.columns.len()
    }

    /// Number of bins of a column, the bin of missing values included.
    #[must_use]
    pub fn n_bins(&self, feature: usize) -> usize {
        self.n_bins[feature]
    }

    /// The bins of a column, `[n_rows]`.
    #[must_use]
    pub fn column(&self, feature: usize) -> &[u8] {
        &self.columns[feature]
    }
}

/// Splits `n_features` columns into groups of at most eight, as many groups as a multiple of the
/// threads where that keeps them busy alike. Sums are exact, so the grouping changes no result.
fn group_columns(n_features: usize, n_threads: usize) -> Vec<(usize, usize)> {
    if n_features == 0 {
        return Vec::new();
    }
    let least = n_features.div_ceil(8);
    let n_groups = if n_threads <= 8 { least.next_multiple_of(n_threads.max(1)) } else { least };
    let n_groups = n_groups.min(n_features);
    let start = |g: usize| g * n_features / n_groups;
    (0..n_groups).map(|g| (start(g), start(g + 1) - start(g))).collect()
}

fn bin_of(edges: &[f32], value: f32) -> u8 {
    if value.is_nan() {
        return MISSING_BIN;
    }
    // At most 254 edges, so the sum fits a byte.
    1 + edges.partition_point(|&edge| edge < value) as u8
}

/// All rows, or an evenly spread sample with one random row per stretch.
fn sample_rows(rows: &[u32], seed: u64) -> Vec<u32> {
    if rows.len() <= SAMPLE_ROWS {
        return rows.to_vec();
    }
    let start = |i: usize| i * rows.len() / SAMPLE_ROWS;
    (0..SAMPLE_ROWS)
        .map(|i| {
            let stretch = start(i + 1) - start(i);
            rows[start(i) + (draw(seed, STREAM, i as u64) % stretch as u64) as usize]
        })
        .collect()
}

/// Stream of [`draw`] for bin samples.
const STREAM: u64 = 0xb175;

fn place_edges(column: &[f32], rows: &[u32], max_bins: usize) -> Vec<f32> {
    // Adding 0 turns −0 into 0, which compare equal and must not become two distinct values.
    let mut keys: Vec<u32> = rows
        .iter()
        .map(|&row| column[row as usize] + 0.0)
        .filter(|value| value.is_finite())
        .map(order_key)
        .collect();
    keys.sort_unstable();
    let mut values: Vec<f32> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    for chunk in keys.chunk_by(|a, b| a == b) {
        values.push(value_of_key(chunk[0]));
        counts.push(chunk.len());
    }
    let ends = if values.len() <= max_bins {
        (0..values.len().saturating_sub(1)).collect()
    } else {
        bin_ends(&counts, keys.len(), max_bins)
    };
    ends.into_iter().map(|i: usize| between(values[i], values[i + 1])).collect()
}

/// Indexes of the distinct values that end a bin, fewer than `max_bins` of them.
///
/// Values as common as a bin's fair share have a bin kept for each; the others fill the remaining bins
/// evenly. A bin of rare values ends when it is full and before a common value, as long as another is
/// left for the rare values to come.
fn bin_ends(counts: &[usize], n_rows: usize, max_bins: usize) -> Vec<usize> {
    let is_common = |count: usize| count * max_bins >= n_rows;
    let n_common = counts.iter().filter(|&&count| is_common(count)).count();
    let mut rare_rows: usize = counts.iter().filter(|&&count| !is_common(count)).sum();
    let mut rare_bins = max_bins.saturating_sub(n_common);
    let mut ends = Vec::new();
    let mut filled = 0;
    let mut target = rare_rows as f64 / rare_bins.max(1) as f64;
    for i in 0..counts.len() - 1 {
        let common = is_common(counts[i]);
        filled += counts[i];
        if !common {
            rare_rows -= counts[i];
        }
        let is_full = filled as f64 >= target || is_common(counts[i + 1]);
        if common || (is_full && (rare_bins > 1 || rare_rows == 0)) {
            ends.push(i);
            filled = 0;
            if !common {
                rare_bins = rare_bins.saturating_sub(1);
                target = rare_rows as f64 / rare_bins.max(1) as f64;
            }
        }
    }
    ends.truncate(max_bins - 1);
    ends
}

/// A value `e` with `low <= e < high`, near the middle.
fn between(low: f32, high: f32) -> f32 {
    let middle = (0.5 * (f64::from(low) + f64::from(high))) as f32;
    if middle >= high || middle < low { low } else { middle }
}

/// Bits whose unsigned order is the order of the finite values.
fn order_key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn value_of_key(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fit(column: &[f32], max_bins: usize) -> Bins {
        let rows: Vec<u32> = (0..column.len() as u32).collect();
        Bins::fit(&[column], &rows, max_bins, 0)
    }

    #[test]
    fn few_distinct_values_get_a_bin_each_and_nan_the_first() {
        let bins = fit(&[3.0, 1.0, f32::NAN, 2.0, 1.0, -0.0, 0.0], 255);
        let of = |v| bins.bin_of(0, v);
        assert_eq!([of(f32::NAN), of(0.0), of(-0.0), of(1.0), of(2.0), of(3.0)], [0, 1, 1, 2, 3, 4]);
        assert_eq!(bins.n_bins(0), 5);
    }

    #[test]
    fn values_outside_the_training_range_fall_in_the_outer_bins() {
        let bins = fit(&[1.0, 2.0, 3.0], 255);
        assert_eq!(bins.bin_of(0, f32::NEG_INFINITY), 1);
        assert_eq!(bins.bin_of(0, -1e30), 1);
        assert_eq!(bins.bin_of(0, f32::INFINITY), 3);
    }

    #[test]
    fn a_column_of_nothing_or_of_one_value_has_one_value_bin() {
        for column in [vec![f32::NAN; 4], vec![7.5; 4], vec![]] {
            assert_eq!(fit(&column, 255).n_bins(0), 2, "{column:?}");
        }
    }

    #[test]
    fn a_common_value_has_a_bin_of_its_own() {
        // Half of the rows are zero, the rest all different.
        let column: Vec<f32> = (0..2000).map(|i| if i % 2 == 0 { 0.0 } else { i as f32 - 1000.0 }).collect();
        let bins = fit(&column, 16);
        let zero = bins.bin_of(0, 0.0);
        let others = column.iter().filter(|&&v| v != 0.0 && bins.bin_of(0, v) == zero).count();
        assert_eq!(others, 0);
        assert!(bins.n_bins(0) <= 17);
    }

    #[test]
    fn bins_hold_about_equally_many_rows() {
        let column: Vec<f32> = (0..10_000).map(|i| (i as f32).powi(3)).collect();
        let bins = fit(&column, 100);
        let mut sizes = vec![0; bins.n_bins(0)];
        column.iter().for_each(|&v| sizes[usize::from(bins.bin_of(0, v))] += 1);
        assert_eq!(sizes.len(), 101);
        assert!(sizes[1..].iter().all(|&s| (90..=110).contains(&s)), "{sizes:?}");
    }

    #[test]
    fn groups_cover_every_column_once() {
        for n_features in 1..70 {
            for n_threads in [1, 2, 3, 8, 64] {
                let groups = group_columns(n_features, n_threads);
                let covered: Vec<usize> =
                    groups.iter().flat_map(|&(first, width)| first..first + width).collect();
                assert_eq!(covered, (0..n_features).collect::<Vec<_>>());
                assert!(groups.iter().all(|&(_, width)| (1..=8).contains(&width)));
            }
        }
    }

    proptest! {
        #[test]
        fn a_bin_comparison_says_what_the_threshold_says(
            column in prop::collection::vec(
                prop_oneof![any::<f32>(), (-4i32..4).prop_map(|i| i as f32), Just(f32::NAN)], 1..300),
            max_bins in 2usize..=255,
            probe in any::<f32>(),
        ) {
            let bins = fit(&column, max_bins);
            prop_assert!(bins.n_bins(0) <= max_bins + 1);
            for &value in column.iter().chain([&probe]).filter(|v| v.is_finite()) {
                for bin in 1..bins.n_bins(0) as u8 {
                    prop_assert_eq!(bins.bin_of(0, value) <= bin, value <= bins.threshold(0, bin));
                }
            }
        }
    }
}
