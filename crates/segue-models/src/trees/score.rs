//! The fast scorer: every node of a tree is tested for sixteen rows at once, and no branch depends on
//! the data.
//!
//! The leaves of a tree are numbered from left to right, one bit each. A node whose test fails sends
//! its row right, so no leaf of its left subtree can be the row's: those bits are cleared. When all
//! nodes are done, the row's leaf is the lowest bit still set. Which order the nodes come in does not
//! matter, so those that send missing values left come first, in a loop of their own: there the test
//! fails if `value > threshold`, elsewhere unless `value <= threshold`, and NaN falls right by itself.
//!
//! All nodes are tested where a walk would meet a few, and it is still several times faster: nothing
//! is mispredicted, nothing waits for a load, and comparisons run four or more to an instruction.
//!
//! # Source
//! Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
//! regression trees", SIGIR 2015, and its vectorised form, SIGIR 2016.

use super::forest::Forest;

/// Rows scored together.
const LANES: usize = 16;

/// A node's test: its column, its threshold, and the leaves left over if it fails.
#[derive(Debug, Clone, Copy)]
struct Test<M> {
    feature: u32,
    threshold: f32,
    kept: M,
}

/// The tests and leaves of one tree, as ranges into the scorer's arrays.
#[derive(Debug, Clone, Copy)]
struct Tree {
    /// Tests of nodes that send missing values left: `first..right`; the others: `right..end`.
    first: u32,
    right: u32,
    end: u32,
    first_leaf: u32,
}

/// Trees whose leaves fit a mask `M`.
#[derive(Debug, Clone)]
struct Masked<M> {
    trees: Vec<Tree>,
    tests: Vec<Test<M>>,
    leaves: Vec<f32>,
}

/// A forest laid out for scoring. Gives the same bits as [`Forest::score_by_walking`].
#[derive(Debug, Clone)]
pub struct Scorer {
    n_features: usize,
    base_score: f32,
    trees: Trees,
}

#[derive(Debug, Clone)]
enum Trees {
    /// At most 32 leaves per tree.
    Narrow(Masked<u32>),
    /// At most 64.
    Wide(Masked<u64>),
}

trait Mask: Copy {
    const ALL: Self;
    fn clear(leaves: std::ops::Range<u32>) -> Self;
    fn and_if_failed(self, fails: bool, kept: Self) -> Self;
    fn lowest(self) -> usize;
}

macro_rules! mask {
    ($ty:ty) => {
        impl Mask for $ty {
            const ALL: Self = Self::MAX;

            fn clear(leaves: std::ops::Range<u32>) -> Self {
                leaves.fold(Self::MAX, |mask, leaf| mask & !(1 << leaf))
            }

            #[inline]
            fn and_if_failed(self, fails: bool, kept: Self) -> Self {
                self & if fails { kept } else { Self::MAX }
            }

            #[inline]
            fn lowest(self) -> usize {
                self.trailing_zeros() as usize
            }
        }
    };
}
mask!(u32);
mask!(u64);

impl Scorer {
    /// Lays out a forest.
    #[must_use]
    pub fn new(forest: &Forest) -> Self {
        let most = (0..forest.n_trees()).map(|tree| forest.leaves_of(tree).len()).max().unwrap_or(0);
        let trees =
            if most <= 32 { Trees::Narrow(Masked::new(forest)) } else { Trees::Wide(Masked::new(forest)) };
        Self { n_features: forest.n_features(), base_score: forest.arrays().base_score, trees }
    }

    /// Log odds of each row.
    ///
    /// # Shapes
    /// - `rows`: `[out.len() * n_features]`, row-major, NaN for missing
    pub fn score(&self, rows: &[f32], out: &mut [f32]) {
        let n_features = self.n_features;
        assert_eq!(rows.len(), out.len() * n_features, "rows × {n_features} columns");
        self.score_columns(out, |row, feature| rows[row * n_features + feature]);
    }

    /// Log odds of each row, where `value(row, feature)` looks a value up.
    pub(crate) fn score_columns(&self, out: &mut [f32], value: impl Fn(usize, usize) -> f32) {
        let mut lanes = vec![[f32::NAN; LANES]; self.n_features];
        for (batch, out) in out.chunks_mut(LANES).enumerate() {
            let first = batch * LANES;
            // Lanes beyond the last row keep what an earlier batch left there; nobody reads them.
            for (feature, lanes) in lanes.iter_mut().enumerate() {
                for (k, lane) in lanes.iter_mut().take(out.len()).enumerate() {
                    *lane = value(first + k, feature).clamp(f32::MIN, f32::MAX);
                }
            }
            let scores = match &self.trees {
                Trees::Narrow(trees) => trees.score(&lanes, self.base_score),
                Trees::Wide(trees) => trees.score(&lanes, self.base_score),
            };
            out.copy_from_slice(&scores[..out.len()]);
        }
    }
}

impl<M: Mask> Masked<M> {
    fn new(forest: &Forest) -> Self {
        let arrays = forest.arrays();
        let mut masked = Self { trees: Vec::new(), tests: Vec::new(), leaves: Vec::new() };
        for tree in 0..forest.n_trees() {
            let nodes = forest.nodes_of(tree);
            let first_leaf = masked.leaves.len() as u32;
            let mut tests = Vec::with_capacity(nodes.len());
            lay_out(
                forest,
                tree,
                if nodes.is_empty() { !0 } else { 0 },
                first_leaf,
                &mut masked.leaves,
                &mut |node, left_leaves| {
                    let test = Test {
                        feature: arrays.feature[node],
                        threshold: arrays.threshold[node],
                        kept: M::clear(left_leaves),
                    };
                    tests.push((arrays.missing_left[node], test));
                },
            );
            let first = masked.tests.len() as u32;
            let of_side = |side: u8| tests.iter().filter(move |t| t.0 == side).map(|t| t.1);
            masked.tests.extend(of_side(1));
            let right = masked.tests.len() as u32;
            masked.tests.extend(of_side(0));
            masked.trees.push(Tree { first, right, end: masked.tests.len() as u32, first_leaf });
        }
        masked
    }

    /// Scores of one batch of rows.
    ///
    /// # Shapes
    /// - `lanes`: `[n_features][LANES]`, no infinities
    fn score(&self, lanes: &[[f32; LANES]], base_score: f32) -> [f32; LANES] {
        let mut scores = [base_score; LANES];
        for tree in &self.trees {
            let mut masks = [M::ALL; LANES];
            for test in &self.tests[tree.first as usize..tree.right as usize] {
                let values = &lanes[test.feature as usize];
                for (mask, &value) in masks.iter_mut().zip(values) {
                    *mask = mask.and_if_failed(value > test.threshold, test.kept);
                }
            }
            for test in &self.tests[tree.right as usize..tree.end as usize] {
                let values = &lanes[test.feature as usize];
                for (mask, &value) in masks.iter_mut().zip(values) {
                    // Not `value > threshold`: that would send NaN left.
                    #[allow(clippy::neg_cmp_op_on_partial_ord)]
                    let fails = !(value <= test.threshold);
                    *mask = mask.and_if_failed(fails, test.kept);
                }
            }
            let leaves = &self.leaves[tree.first_leaf as usize..];
            for (score, mask) in scores.iter_mut().zip(masks) {
                *score += leaves[mask.lowest()];
            }
        }
        scores
    }
}

/// Lays the leaves below `child` out from left to right and tells each node the bits of its left
/// subtree. A tree has at most 64 leaves, so the recursion is at most 63 deep.
fn lay_out(
    forest: &Forest,
    tree: usize,
    child: i32,
    first_leaf: u32,
    leaves: &mut Vec<f32>,
    node: &mut impl FnMut(usize, std::ops::Range<u32>),
) {
    if child < 0 {
        leaves.push(forest.leaves_of(tree)[!child as usize]);
        return;
    }
    let at = forest.nodes_of(tree).start + child as usize;
    let before = leaves.len() as u32 - first_leaf;
    lay_out(forest, tree, forest.arrays().left[at], first_leaf, leaves, node);
    node(at, before..leaves.len() as u32 - first_leaf);
    lay_out(forest, tree, forest.arrays().right[at], first_leaf, leaves, node);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::forest::tests::any_forest;
    use super::*;

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => (-4i32..4).prop_map(|i| i as f32),
            2 => Just(f32::NAN),
            1 => Just(f32::INFINITY),
            1 => Just(f32::NEG_INFINITY),
            2 => any::<f32>(),
        ]
    }

    proptest! {
        #[test]
        fn the_scorer_gives_the_bits_of_the_plain_walk(
            forest in prop_oneof![any_forest(5, 31), any_forest(5, 64), any_forest(5, 3)],
            rows in prop::collection::vec(prop::array::uniform5(value()), 0..40),
        ) {
            let flat: Vec<f32> = rows.iter().flatten().copied().collect();
            let mut scores = vec![0.0; rows.len()];
            Scorer::new(&forest).score(&flat, &mut scores);
            for (row, score) in rows.iter().zip(scores) {
                prop_assert_eq!(score.to_bits(), forest.score_by_walking(row).to_bits());
            }
        }
    }
}
