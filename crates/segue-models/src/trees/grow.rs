//! One tree, grown leaf by leaf: always the leaf whose best split gains most.
//!
//! Dividing a leaf fills histograms for the smaller child only; the larger child's are the parent's
//! minus those. One pass over the groups of columns does all of it (fill, subtract, search both), so
//! threads meet once per split.

use rayon::prelude::*;

use super::bins::BinnedRows;
use super::config::Direction;
use super::histogram::{ColumnSums, LeafRow, Sums, accumulate, row_of, subtract, total};
use super::split::{Bounds, Monotone, Split, SplitRule, best_split, better};

/// Below this many row × column additions a leaf is not worth waking other threads for.
const PARALLEL_WORK: usize = 40_000;
/// Leaves of fewer rows are divided by one thread.
const PARALLEL_ROWS: usize = 32_768;

/// A tree over bins. Children at or above 0 are nodes, below 0 the leaf `!child`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct BinTree {
    /// Inner nodes; a child has a larger index than its parent.
    pub(crate) nodes: Vec<BinNode>,
    /// `[n_leaves]`, before the learning rate.
    pub(crate) leaf_values: Vec<f64>,
}

/// An inner node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BinNode {
    pub(crate) feature: usize,
    pub(crate) bin: u8,
    pub(crate) missing_left: bool,
    pub(crate) left: i32,
    pub(crate) right: i32,
    /// The value a leaf here would have had.
    pub(crate) value: f64,
}

impl BinNode {
    fn sends_left(&self, bin: u8) -> bool {
        if bin == 0 { self.missing_left } else { bin <= self.bin }
    }
}

impl BinTree {
    /// The leaf of a row.
    pub(crate) fn leaf_of(&self, rows: &BinnedRows, row: usize) -> usize {
        let mut child = if self.nodes.is_empty() { !0 } else { 0 };
        while child >= 0 {
            let node = &self.nodes[child as usize];
            child = if node.sends_left(rows.column(node.feature)[row]) { node.left } else { node.right };
        }
        !child as usize
    }
}

/// What a tree may be.
#[derive(Debug, Clone)]
pub(crate) struct GrowRule<'a> {
    pub(crate) split: SplitRule,
    pub(crate) max_leaves: usize,
    /// `[n_features]`, whether this tree may split on it.
    pub(crate) allowed: &'a [bool],
    /// `[n_features]`, or empty if no feature is held to a direction.
    pub(crate) directions: &'a [Option<Direction>],
}

impl GrowRule<'_> {
    /// The best split of a leaf on one feature.
    pub(crate) fn best_split(
        &self,
        feature: usize,
        sums: &ColumnSums,
        n_bins: usize,
        leaf: Sums,
        bounds: Bounds,
    ) -> Option<Split> {
        if !self.allowed[feature] {
            return None;
        }
        best_split(&self.split, feature, sums, n_bins, leaf, self.monotone(feature, bounds))
    }

    pub(crate) fn monotone(&self, feature: usize, bounds: Bounds) -> Monotone {
        (!self.directions.is_empty()).then(|| (bounds, self.directions[feature]))
    }
}

/// A leaf of the growing tree.
#[derive(Debug)]
struct Leaf {
    /// Its rows are `rows[start..end]` of the grower.
    start: usize,
    end: usize,
    sums: Sums,
    bounds: Bounds,
    /// `[n_features]` sums per bin; empty for a leaf that will not be divided.
    histogram: Vec<ColumnSums>,
    best: Option<Split>,
    /// Node above and whether this is its left child; `None` at the root.
    parent: Option<(usize, bool)>,
}

/// Grows trees over one set of rows, keeping its buffers from tree to tree.
#[derive(Debug)]
pub(crate) struct Grower<'a> {
    binned: &'a BinnedRows,
    scratch: Vec<LeafRow>,
    /// Histograms of finished trees, to be used again.
    spare: Vec<Vec<ColumnSums>>,
}

impl<'a> Grower<'a> {
    pub(crate) fn new(binned: &'a BinnedRows) -> Self {
        Self { binned, scratch: Vec::new(), spare: Vec::new() }
    }

    /// Grows one tree over `rows` and writes the leaf of each of them to `leaf_of`.
    ///
    /// # Shapes
    /// - `rows`: the rows this tree learns from; comes back ordered by leaf
    /// - `leaf_of`: `[binned.n_rows()]`; rows that are not in `rows` keep what they had
    pub(crate) fn grow(&mut self, rule: &GrowRule<'_>, rows: &mut [LeafRow], leaf_of: &mut [u8]) -> BinTree {
        assert!((2..=256).contains(&rule.max_leaves), "{} leaves; a row's leaf is a byte", rule.max_leaves);
        self.scratch.resize(rows.len(), 0);
        let mut tree = BinTree::default();
        let mut leaves = vec![self.root(rule, rows)];
        while leaves.len() < rule.max_leaves {
            // The first of equal gains: the leaf that has existed longest.
            let Some((parent, split)) = leaves
                .iter()
                .enumerate()
                .filter_map(|(i, leaf)| leaf.best.map(|split| (i, split)))
                .reduce(|a, b| if b.1.gain > a.1.gain { b } else { a })
            else {
                break;
            };
            let is_last = leaves.len() + 1 == rule.max_leaves;
            self.divide(rule, &mut tree, &mut leaves, parent, split, rows, is_last);
        }
        for (i, leaf) in leaves.iter_mut().enumerate() {
            tree.leaf_values.push(rule.split.value(leaf.sums, leaf.bounds));
            for &row in &rows[leaf.start..leaf.end] {
                leaf_of[row_of(row)] = i as u8;
            }
            self.give_back(std::mem::take(&mut leaf.histogram));
        }
        tree
    }

    fn root(&mut self, rule: &GrowRule<'_>, rows: &[LeafRow]) -> Leaf {
        let binned = self.binned;
        let sums = total(rows);
        let mut histogram = self.take_histogram();
        let work = rows.len() * binned.n_features();
        let best = if rule.split.may_split(sums) {
            per_group(binned, work, vec![&mut histogram], |group, parts| {
                fill(binned, group, rows, parts[0]);
                [search(rule, binned, group, parts[0], sums, Bounds::NONE)]
            })
        } else {
            [None]
        };
        Leaf { start: 0, end: rows.len(), sums, bounds: Bounds::NONE, histogram, best: best[0], parent: None }
    }

    /// Replaces a leaf by a node with two leaves: the left keeps the parent's place, the right is last.
    fn divide(
        &mut self,
        rule: &GrowRule<'_>,
        tree: &mut BinTree,
        leaves: &mut Vec<Leaf>,
        parent_at: usize,
        split: Split,
        rows: &mut [LeafRow],
        is_last: bool,
    ) {
        let binned = self.binned;
        let right_at = leaves.len();
        let parent = &mut leaves[parent_at];
        let node_at = tree.nodes.len();
        if let Some((above, is_left)) = parent.parent {
            let above = &mut tree.nodes[above];
            *(if is_left { &mut above.left } else { &mut above.right }) = node_at as i32;
        }
        let node = BinNode {
            feature: split.feature,
            bin: split.bin,
            missing_left: split.missing_left,
            left: !(parent_at as i32),
            right: !(right_at as i32),
            value: rule.split.value(parent.sums, parent.bounds),
        };
        tree.nodes.push(node);

        let (start, end) = (parent.start, parent.end);
        let n_left = partition(
            &mut rows[start..end],
            &mut self.scratch[start..end],
            binned.column(split.feature),
            &node,
        );
        let middle = start + n_left;
        let (left_bounds, right_bounds) = parent.bounds.divide(
            rule.directions.get(split.feature).copied().flatten(),
            rule.split.value(split.left, parent.bounds),
            rule.split.value(split.right, parent.bounds),
        );
        let mut left = Leaf {
            start,
            end: middle,
            sums: split.left,
            bounds: left_bounds,
            histogram: Vec::new(),
            best: None,
            parent: Some((node_at, true)),
        };
        let mut right = Leaf {
            start: middle,
            end,
            sums: split.right,
            bounds: right_bounds,
            histogram: Vec::new(),
            best: None,
            parent: Some((node_at, false)),
        };
        let mut inherited = std::mem::take(&mut parent.histogram);
        let may = |leaf: &Leaf| rule.split.may_split(leaf.sums);
        if is_last || !(may(&left) || may(&right)) {
            self.give_back(inherited);
        } else {
            let left_is_small = left.end - left.start <= right.end - right.start;
            let (small, large) =
                if left_is_small { (&mut left, &mut right) } else { (&mut right, &mut left) };
            let mut filled = self.take_histogram();
            let small_rows = &rows[small.start..small.end];
            let work = small_rows.len() * binned.n_features();
            let (search_small, search_large) = (may(small), may(large));
            let (small_leaf, large_leaf) = ((small.sums, small.bounds), (large.sums, large.bounds));
            let best = per_group(binned, work, vec![&mut filled, &mut inherited], |group, parts| {
                let (first, rest) = parts.split_at_mut(1);
                let (small, large) = (&mut *first[0], &mut *rest[0]);
                fill(binned, group, small_rows, small);
                for (k, (large, small)) in large.iter_mut().zip(small.iter()).enumerate() {
                    subtract(large, small, binned.n_bins(binned.groups[group].first + k));
                }
                let of = |sums: &[ColumnSums], (leaf, bounds): (Sums, Bounds), wanted: bool| {
                    if wanted { search(rule, binned, group, sums, leaf, bounds) } else { None }
                };
                [of(small, small_leaf, search_small), of(large, large_leaf, search_large)]
            });
            [small.best, large.best] = best;
            small.histogram = filled;
            large.histogram = inherited;
        }
        leaves[parent_at] = left;
        leaves.push(right);
    }

    fn take_histogram(&mut self) -> Vec<ColumnSums> {
        self.spare.pop().unwrap_or_else(|| vec![[0; 256]; self.binned.n_features()])
    }

    fn give_back(&mut self, histogram: Vec<ColumnSums>) {
        if !histogram.is_empty() {
            self.spare.push(histogram);
        }
    }
}

/// Runs `work` on each group of columns with its part of every histogram, and keeps the best splits
/// in column order.
fn per_group<const N: usize>(
    binned: &BinnedRows,
    n_additions: usize,
    histograms: Vec<&mut Vec<ColumnSums>>,
    work: impl Fn(usize, &mut [&mut [ColumnSums]]) -> [Option<Split>; N] + Sync,
) -> [Option<Split>; N] {
    let mut tasks: Vec<Vec<&mut [ColumnSums]>> = binned.groups.iter().map(|_| Vec::new()).collect();
    for histogram in histograms {
        let mut rest = histogram.as_mut_slice();
        for (task, group) in tasks.iter_mut().zip(&binned.groups) {
            let part;
            (part, rest) = rest.split_at_mut(group.width);
            task.push(part);
        }
    }
    let best: Vec<[Option<Split>; N]> = if n_additions < PARALLEL_WORK {
        tasks.into_iter().enumerate().map(|(group, mut parts)| work(group, &mut parts)).collect()
    } else {
        tasks.into_par_iter().enumerate().map(|(group, mut parts)| work(group, &mut parts)).collect()
    };
    best.into_iter().fold([None; N], |kept, new| std::array::from_fn(|i| better(kept[i], new[i])))
}

/// Sums of one group of columns from nothing.
fn fill(binned: &BinnedRows, group: usize, rows: &[LeafRow], sums: &mut [ColumnSums]) {
    let group = &binned.groups[group];
    for (k, column) in sums.iter_mut().enumerate() {
        column[..binned.n_bins(group.first + k)].fill(0);
    }
    accumulate(rows, group, sums);
}

/// The best split of one group of columns.
fn search(
    rule: &GrowRule<'_>,
    binned: &BinnedRows,
    group: usize,
    sums: &[ColumnSums],
    leaf: Sums,
    bounds: Bounds,
) -> Option<Split> {
    let first = binned.groups[group].first;
    sums.iter().enumerate().fold(None, |best, (k, sums)| {
        let feature = first + k;
        better(best, rule.best_split(feature, sums, binned.n_bins(feature), leaf, bounds))
    })
}

/// Moves the rows that go left to the front and returns how many they are.
fn partition(rows: &mut [LeafRow], scratch: &mut [LeafRow], column: &[u8], node: &BinNode) -> usize {
    let mut goes_left = [0u8; 256];
    for (bin, goes) in goes_left.iter_mut().enumerate() {
        *goes = u8::from(node.sends_left(bin as u8));
    }
    if rows.len() < PARALLEL_ROWS || rayon::current_num_threads() == 1 {
        let n_left = partition_chunk(rows, scratch, column, &goes_left);
        rows.copy_from_slice(scratch);
        return n_left;
    }
    let chunk = rows.len().div_ceil(rayon::current_num_threads());
    let n_left: Vec<usize> = rows
        .par_chunks(chunk)
        .zip(scratch.par_chunks_mut(chunk))
        .map(|(rows, scratch)| partition_chunk(rows, scratch, column, &goes_left))
        .collect();
    // All left parts, then all right parts, each copied to its place.
    let parts = scratch.chunks(chunk).zip(&n_left);
    let sources = parts.clone().map(|(c, &n)| &c[..n]).chain(parts.map(|(c, &n)| &c[n..]));
    let mut rest = rows;
    let mut copies = Vec::with_capacity(2 * n_left.len());
    for source in sources {
        let target;
        (target, rest) = rest.split_at_mut(source.len());
        copies.push((source, target));
    }
    copies.into_par_iter().for_each(|(source, target)| target.copy_from_slice(source));
    n_left.iter().sum()
}

/// Writes left rows to the front of `out` and right rows to its back, without a branch that depends
/// on the data: every row is written to both places and one of them is kept.
fn partition_chunk(rows: &[LeafRow], out: &mut [LeafRow], column: &[u8], goes_left: &[u8; 256]) -> usize {
    assert_eq!(rows.len(), out.len(), "as much room as rows");
    let (mut front, mut back) = (0, rows.len());
    for &row in rows {
        let left = usize::from(goes_left[usize::from(column[row_of(row)])]);
        out[front] = row;
        out[back - 1] = row;
        front += left;
        back -= 1 - left;
    }
    front
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bins::Bins;
    use super::super::gradient::Scale;
    use super::super::histogram::leaf_row;
    use super::super::reference;
    use super::*;

    /// Columns, one gradient pair per row, and a rule.
    #[derive(Debug, Clone)]
    struct Case {
        columns: Vec<Vec<f32>>,
        derivatives: Vec<(i16, u16)>,
        max_leaves: usize,
        min_hessian: f64,
        l2: f64,
        directions: Vec<Option<Direction>>,
        allowed: Vec<bool>,
    }

    fn case() -> impl Strategy<Value = Case> {
        let value = prop_oneof![3 => (-6i32..6).prop_map(|i| i as f32), 1 => Just(f32::NAN), 3 => -1f32..1.0];
        let direction = prop_oneof![
            3 => Just(None),
            1 => Just(Some(Direction::Increasing)),
            1 => Just(Some(Direction::Decreasing))
        ];
        (1usize..12, 0usize..400).prop_flat_map(move |(n_features, n_rows)| {
            (
                prop::collection::vec(prop::collection::vec(value.clone(), n_rows), n_features),
                prop::collection::vec((-500i16..500, 0u16..300), n_rows),
                2usize..34,
                prop_oneof![Just(0.0), Just(1.0), Just(40.0)],
                prop_oneof![Just(0.0), Just(1.0), Just(10.0)],
                prop_oneof![Just(Vec::new()), prop::collection::vec(direction.clone(), n_features)],
                prop::collection::vec(prop::bool::weighted(0.8), n_features),
            )
                .prop_map(
                    |(columns, derivatives, max_leaves, min_hessian, l2, directions, allowed)| Case {
                        columns,
                        derivatives,
                        max_leaves,
                        min_hessian,
                        l2,
                        directions,
                        allowed,
                    },
                )
        })
    }

    impl Case {
        fn binned(&self) -> BinnedRows {
            let columns: Vec<&[f32]> = self.columns.iter().map(Vec::as_slice).collect();
            let rows: Vec<u32> = (0..self.derivatives.len() as u32).collect();
            BinnedRows::new(&Bins::fit(&columns, &rows, 20, 0), &columns, &rows).expect("few rows")
        }

        fn rule(&self) -> GrowRule<'_> {
            let scale = Scale { gradient: 128.0, hessian: 256.0 };
            GrowRule {
                split: SplitRule::new(self.l2, self.min_hessian / 10.0, 0.0, scale),
                max_leaves: self.max_leaves,
                allowed: &self.allowed,
                directions: &self.directions,
            }
        }

        fn rows(&self) -> Vec<LeafRow> {
            let rows = self.derivatives.iter().enumerate();
            rows.map(|(i, &(g, h))| leaf_row(i as u32, g, h)).collect()
        }
    }

    proptest! {
        #[test]
        fn the_tree_is_the_one_the_plain_reference_grows(case in case()) {
            let binned = case.binned();
            let mut rows = case.rows();
            let mut leaf_of = vec![0; rows.len()];
            let tree = Grower::new(&binned).grow(&case.rule(), &mut rows, &mut leaf_of);
            let plain = reference::grow(&binned, &case.rule(), &case.rows());
            prop_assert_eq!(&tree, &plain);
            for row in 0..rows.len() {
                prop_assert_eq!(usize::from(leaf_of[row]), tree.leaf_of(&binned, row));
            }
            prop_assert_eq!(tree.leaf_values.len(), tree.nodes.len() + 1);
            prop_assert!(tree.leaf_values.len() <= case.max_leaves);
            prop_assert!(tree.leaf_values.iter().all(|v| v.is_finite()));
        }

        #[test]
        fn a_partition_keeps_every_row_once(
            bins in prop::collection::vec(any::<u8>(), 0..300),
            bin in any::<u8>(),
            missing_left in any::<bool>(),
        ) {
            let node = BinNode { feature: 0, bin, missing_left, left: 0, right: 0, value: 0.0 };
            let mut rows: Vec<LeafRow> = (0..bins.len()).map(|i| leaf_row(i as u32, 0, 0)).collect();
            let n_left = partition(&mut rows.clone(), &mut rows.clone(), &bins, &node);
            let mut scratch = rows.clone();
            partition(&mut rows, &mut scratch, &bins, &node);
            let goes = |&row: &LeafRow| node.sends_left(bins[row_of(row)]);
            prop_assert!(rows[..n_left].iter().all(goes));
            prop_assert!(!rows[n_left..].iter().any(goes));
            rows.sort_unstable();
            prop_assert!(rows.iter().enumerate().all(|(i, &row)| row_of(row) == i));
        }
    }

    #[test]
    fn a_partition_over_threads_divides_as_one_thread_does() {
        let n = 3 * PARALLEL_ROWS + 17;
        let bins: Vec<u8> = (0..n).map(|i| (i * 7919 % 251) as u8).collect();
        let node = BinNode { feature: 0, bin: 90, missing_left: true, left: 0, right: 0, value: 0.0 };
        let divide = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let mut rows: Vec<LeafRow> = (0..n).map(|i| leaf_row(i as u32, 0, 0)).collect();
            let mut scratch = rows.clone();
            let n_left = pool.install(|| partition(&mut rows, &mut scratch, &bins, &node));
            rows[..n_left].sort_unstable();
            rows[n_left..].sort_unstable();
            (n_left, rows)
        };
        assert_eq!(divide(1), divide(3));
    }
}
