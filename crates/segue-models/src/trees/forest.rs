//! The trees as arrays: checked once, walked plainly, explained by path.

use std::ops::Range;

use super::bins::Bins;
use super::grow::BinTree;

/// Most leaves a tree may have: one bit each in the scorer's mask.
pub const MAX_LEAVES: usize = 64;

/// The arrays of a forest, as stored. Trees lie one after another.
///
/// # Shapes
/// - `node_offsets`, `leaf_offsets`: `[n_trees + 1]`, where each tree's nodes and leaves begin
/// - `feature`, `threshold`, `missing_left`, `left`, `right`, `node_value`: `[n_nodes]`
/// - `leaf_value`: `[n_leaves]`, log odds, learning rate applied
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ForestArrays {
    /// Log odds without any tree.
    pub base_score: f32,
    /// First node of each tree, and the number of nodes.
    pub node_offsets: Vec<u32>,
    /// First leaf of each tree, and the number of leaves.
    pub leaf_offsets: Vec<u32>,
    /// Column a node asks for.
    pub feature: Vec<u32>,
    /// A value at or below goes left.
    pub threshold: Vec<f32>,
    /// 1 if a missing value goes left, 0 if right.
    pub missing_left: Vec<u8>,
    /// Left child: a later node of the same tree, or the leaf `!child`, both counted from the tree's first.
    pub left: Vec<i32>,
    /// Right child, likewise.
    pub right: Vec<i32>,
    /// What a leaf at this node would have added; for explanations only.
    pub node_value: Vec<f32>,
    /// What a leaf adds to the score.
    pub leaf_value: Vec<f32>,
}

/// A checked forest. Its score is log odds: the base score plus one leaf of each tree.
///
/// A value goes left if it is at or below the threshold; a missing value (NaN) goes where the node
/// says; infinities count as the largest and smallest finite values.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    n_features: usize,
    arrays: ForestArrays,
}

impl Forest {
    /// A forest without trees.
    pub(crate) fn new(n_features: usize, base_score: f32) -> Self {
        let arrays = ForestArrays {
            base_score,
            node_offsets: vec![0],
            leaf_offsets: vec![0],
            ..ForestArrays::default()
        };
        Self { n_features, arrays }
    }

    /// Checks arrays that come from outside.
    ///
    /// # Errors
    /// A sentence naming the first array, tree or node that is not as [`ForestArrays`] says: lengths,
    /// offsets, a feature or child out of range, a node or leaf reached twice or never, a number that
    /// is not finite, more than [`MAX_LEAVES`] leaves in a tree.
    pub fn from_arrays(n_features: usize, arrays: ForestArrays) -> Result<Self, String> {
        check(n_features, &arrays)?;
        Ok(Self { n_features, arrays })
    }

    /// The arrays, to be stored.
    #[must_use]
    pub fn arrays(&self) -> &ForestArrays {
        &self.arrays
    }

    /// Number of columns it reads.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Number of trees.
    #[must_use]
    pub fn n_trees(&self) -> usize {
        self.arrays.node_offsets.len() - 1
    }

    /// Nodes of a tree, as indexes into the node arrays.
    #[must_use]
    pub fn nodes_of(&self, tree: usize) -> Range<usize> {
        self.arrays.node_offsets[tree] as usize..self.arrays.node_offsets[tree + 1] as usize
    }

    /// Leaf values of a tree.
    #[must_use]
    pub fn leaves_of(&self, tree: usize) -> &[f32] {
        let range = self.arrays.leaf_offsets[tree] as usize..self.arrays.leaf_offsets[tree + 1] as usize;
        &self.arrays.leaf_value[range]
    }

    /// How many nodes split on each column, `[n_features]`.
    #[must_use]
    pub fn split_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.n_features];
        self.arrays.feature.iter().for_each(|&feature| counts[feature as usize] += 1);
        counts
    }

    /// Log odds of one row by walking each tree from its root: the plain form of
    /// [`Scorer`](super::Scorer), which gives the same bits.
    ///
    /// # Shapes
    /// - `row`: `[n_features]`, NaN for missing
    #[must_use]
    pub fn score_by_walking(&self, row: &[f32]) -> f32 {
        let mut score = self.arrays.base_score;
        for tree in 0..self.n_trees() {
            score += self.walk(tree, row, |_, _, _| {});
        }
        score
    }

    /// What each column added to a row's log odds: at each node on the row's path, the value after the
    /// step minus the value before it, given to the node's column. They sum to the score minus the
    /// returned bias, up to rounding.
    ///
    /// Cheap, and fair to a single path; unlike Shapley values it favours columns near the leaves.
    ///
    /// # Shapes
    /// - `row`: `[n_features]`
    /// - `out`: `[n_features]`, overwritten
    ///
    /// # Source
    /// A. Saabas, "Interpreting random forests", 2014.
    pub fn explain(&self, row: &[f32], out: &mut [f32]) -> f32 {
        assert_eq!(out.len(), self.n_features, "one contribution per column");
        out.fill(0.0);
        let mut bias = self.arrays.base_score;
        for tree in 0..self.n_trees() {
            match self.nodes_of(tree).next() {
                Some(root) => bias += self.arrays.node_value[root],
                None => bias += self.leaves_of(tree)[0],
            }
            self.walk(tree, row, |feature, before, after| out[feature] += after - before);
        }
        bias
    }

    /// Walks one tree, telling `step` the column and the values before and after each node.
    fn walk(&self, tree: usize, row: &[f32], mut step: impl FnMut(usize, f32, f32)) -> f32 {
        assert_eq!(row.len(), self.n_features, "one value per column");
        let arrays = &self.arrays;
        let first = arrays.node_offsets[tree] as usize;
        let leaves = self.leaves_of(tree);
        let mut child = if self.nodes_of(tree).is_empty() { !0 } else { 0 };
        while child >= 0 {
            let node = first + child as usize;
            let feature = arrays.feature[node] as usize;
            let value = row[feature].clamp(f32::MIN, f32::MAX);
            let goes_left =
                if value.is_nan() { arrays.missing_left[node] == 1 } else { value <= arrays.threshold[node] };
            child = if goes_left { arrays.left[node] } else { arrays.right[node] };
            let after =
                if child >= 0 { arrays.node_value[first + child as usize] } else { leaves[!child as usize] };
            step(feature, arrays.node_value[node], after);
        }
        leaves[!child as usize]
    }

    /// Appends a tree, its bins turned to thresholds and its values scaled.
    pub(crate) fn push(&mut self, tree: &BinTree, bins: &Bins, learning_rate: f64) {
        let arrays = &mut self.arrays;
        for node in &tree.nodes {
            arrays.feature.push(node.feature as u32);
            arrays.threshold.push(bins.threshold(node.feature, node.bin));
            arrays.missing_left.push(u8::from(node.missing_left));
            arrays.left.push(node.left);
            arrays.right.push(node.right);
            arrays.node_value.push((node.value * learning_rate) as f32);
        }
        arrays.leaf_value.extend(tree.leaf_values.iter().map(|&value| (value * learning_rate) as f32));
        arrays.node_offsets.push(arrays.feature.len() as u32);
        arrays.leaf_offsets.push(arrays.leaf_value.len() as u32);
    }

    /// Keeps the first `n_trees` trees.
    pub(crate) fn truncate(&mut self, n_trees: usize) {
        if n_trees >= self.n_trees() {
            return;
        }
        let arrays = &mut self.arrays;
        let n_nodes = arrays.node_offsets[n_trees] as usize;
        let n_leaves = arrays.leaf_offsets[n_trees] as usize;
        arrays.node_offsets.truncate(n_trees + 1);
        arrays.leaf_offsets.truncate(n_trees + 1);
        arrays.feature.truncate(n_nodes);
        arrays.threshold.truncate(n_nodes);
        arrays.missing_left.truncate(n_nodes);
        arrays.left.truncate(n_nodes);
        arrays.right.truncate(n_nodes);
        arrays.node_value.truncate(n_nodes);
        arrays.leaf_value.truncate(n_leaves);
    }
}

fn check(n_features: usize, arrays: &ForestArrays) -> Result<(), String> {
    let require = |ok: bool, message: &dyn Fn() -> String| if ok { Ok(()) } else { Err(message()) };
    let n_nodes = arrays.feature.len();
    for (name, len) in [
        ("threshold", arrays.threshold.len()),
        ("missing_left", arrays.missing_left.len()),
        ("left", arrays.left.len()),
        ("right", arrays.right.len()),
        ("node_value", arrays.node_value.len()),
    ] {
        require(len == n_nodes, &|| format!("`{name}` has {len} values for {n_nodes} nodes"))?;
    }
    check_offsets("node_offsets", &arrays.node_offsets, n_nodes)?;
    check_offsets("leaf_offsets", &arrays.leaf_offsets, arrays.leaf_value.len())?;
    let (trees, leaf_trees) = (arrays.node_offsets.len(), arrays.leaf_offsets.len());
    require(trees == leaf_trees, &|| format!("{trees} node offsets, {leaf_trees} leaf offsets"))?;
    require(arrays.base_score.is_finite(), &|| format!("`base_score` is {}", arrays.base_score))?;
    for (name, values) in [
        ("threshold", &arrays.threshold),
        ("node_value", &arrays.node_value),
        ("leaf_value", &arrays.leaf_value),
    ] {
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(format!("`{name}` {i} is {}, not finite", values[i]));
        }
    }
    if let Some(i) = arrays.feature.iter().position(|&f| f as usize >= n_features) {
        return Err(format!("node {i} reads column {} of {n_features}", arrays.feature[i]));
    }
    if let Some(i) = arrays.missing_left.iter().position(|&m| m > 1) {
        return Err(format!("`missing_left` {i} is {}, not 0 or 1", arrays.missing_left[i]));
    }
    for tree in 0..trees - 1 {
        let nodes = arrays.node_offsets[tree] as usize..arrays.node_offsets[tree + 1] as usize;
        let n_leaves = (arrays.leaf_offsets[tree + 1] - arrays.leaf_offsets[tree]) as usize;
        check_tree(&arrays.left[nodes.clone()], &arrays.right[nodes], n_leaves)
            .map_err(|what| format!("tree {tree}: {what}"))?;
    }
    Ok(())
}

fn check_offsets(name: &str, offsets: &[u32], end: usize) -> Result<(), String> {
    if offsets.first() != Some(&0) || offsets.last().map(|&last| last as usize) != Some(end) {
        return Err(format!("`{name}` does not run from 0 to {end}"));
    }
    match offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        Some(i) => Err(format!("`{name}` falls after {i}")),
        None => Ok(()),
    }
}

/// Every node but the root and every leaf is a child exactly once, and a child node comes after its
/// parent: then the walk ends.
fn check_tree(left: &[i32], right: &[i32], n_leaves: usize) -> Result<(), String> {
    if n_leaves != left.len() + 1 || n_leaves > MAX_LEAVES {
        return Err(format!(
            "{n_leaves} leaves for {} nodes; a tree has one leaf more than nodes, at most {MAX_LEAVES}",
            left.len()
        ));
    }
    let mut node_seen = vec![false; left.len()];
    let mut leaf_seen = vec![false; n_leaves];
    for parent in 0..left.len() {
        for child in [left[parent], right[parent]] {
            let seen = if child < 0 {
                leaf_seen.get_mut(!child as usize)
            } else if child as usize > parent {
                node_seen.get_mut(child as usize)
            } else {
                None
            };
            match seen {
                Some(seen) if !*seen => *seen = true,
                Some(_) => return Err(format!("node {parent}: child {child} has another parent")),
                None => return Err(format!("node {parent}: child {child} is out of range")),
            }
        }
    }
    // n nodes have 2 n child places, and n − 1 nodes with n + 1 leaves fill them: none is left over.
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A tree of two nodes: column 0 at 1.0, then on its right column 1 at −2.0, missing to the left.
    fn two_nodes() -> ForestArrays {
        ForestArrays {
            base_score: 0.5,
            node_offsets: vec![0, 2],
            leaf_offsets: vec![0, 3],
            feature: vec![0, 1],
            threshold: vec![1.0, -2.0],
            missing_left: vec![0, 1],
            left: vec![!0, !1],
            right: vec![1, !2],
            node_value: vec![0.0, 3.0],
            leaf_value: vec![-1.0, 2.0, 4.0],
        }
    }

    #[test]
    fn a_row_walks_by_threshold_missing_side_and_clamped_infinity() {
        let forest = Forest::from_arrays(2, two_nodes()).expect("well-formed");
        let of = |a, b| forest.score_by_walking(&[a, b]);
        assert_eq!(of(1.0, 0.0), -0.5);
        assert_eq!(of(f32::NEG_INFINITY, 0.0), -0.5);
        assert_eq!(of(1.5, -2.0), 2.5);
        assert_eq!(of(1.5, f32::INFINITY), 4.5);
        assert_eq!(of(f32::NAN, f32::NAN), 2.5);
    }

    #[test]
    fn contributions_add_up_to_the_score() {
        let forest = Forest::from_arrays(2, two_nodes()).expect("well-formed");
        let mut out = [9.0; 2];
        assert_eq!(forest.explain(&[2.0, 0.0], &mut out), 0.5);
        assert_eq!(out, [3.0, 1.0]);
    }

    #[test]
    fn arrays_that_are_no_forest_are_refused() {
        type Spoil = fn(&mut ForestArrays);
        let cases: [(&str, Spoil); 15] = [
            ("column 2 of 2", |a| a.feature[1] = 2),
            ("`threshold` 0 is NaN", |a| a.threshold[0] = f32::NAN),
            ("`threshold` 1 is inf", |a| a.threshold[1] = f32::INFINITY),
            ("`leaf_value` 2 is", |a| a.leaf_value[2] = f32::NEG_INFINITY),
            ("`base_score` is", |a| a.base_score = f32::NAN),
            ("not 0 or 1", |a| a.missing_left[0] = 2),
            ("out of range", |a| a.right[0] = 2),
            ("out of range", |a| a.right[0] = 0),
            ("out of range", |a| a.left[1] = !3),
            ("out of range", |a| a.left[1] = i32::MIN),
            ("another parent", |a| a.left[1] = !0),
            ("`left` has 1 values", |a| {
                a.left.pop();
            }),
            ("3 leaves for 1 nodes", |a| {
                a.node_offsets = vec![0, 1, 2];
                a.leaf_offsets = vec![0, 3, 3];
            }),
            ("does not run from 0 to 3", |a| a.leaf_offsets = vec![0, 2]),
            ("does not run from 0 to 2", |a| a.node_offsets = vec![]),
        ];
        for (expected, spoil) in cases {
            let mut arrays = two_nodes();
            spoil(&mut arrays);
            let message = Forest::from_arrays(2, arrays).expect_err(expected);
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }

    #[test]
    fn truncating_keeps_whole_trees() {
        let forest = Forest::from_arrays(2, two_nodes()).expect("well-formed");
        let mut cut = forest.clone();
        cut.truncate(5);
        assert_eq!(cut, forest);
        cut.truncate(0);
        assert_eq!(cut, Forest::new(2, 0.5));
    }

    /// A random forest over `n_features` columns, trees of up to `max_leaves` leaves.
    pub(crate) fn any_forest(n_features: usize, max_leaves: usize) -> impl Strategy<Value = Forest> {
        let node = (any::<prop::sample::Index>(), 0..n_features as u32, -3i32..3, any::<bool>());
        let tree = prop::collection::vec(node, 0..max_leaves);
        (prop::collection::vec(tree, 0..6), -1f32..1.0).prop_map(move |(trees, base_score)| {
            let mut arrays = ForestArrays { base_score, ..Forest::new(n_features, 0.0).arrays };
            for tree in &trees {
                let first = arrays.feature.len();
                // Grow like the grower: split a random leaf, its left child keeps the place.
                let mut parent_of_leaf: Vec<Option<(usize, bool)>> = vec![None];
                for (i, &(leaf, feature, threshold, missing_left)) in tree.iter().enumerate() {
                    let leaf = leaf.index(parent_of_leaf.len());
                    if let Some((parent, is_left)) = parent_of_leaf[leaf] {
                        let side = if is_left { &mut arrays.left } else { &mut arrays.right };
                        side[first + parent] = i as i32;
                    }
                    arrays.feature.push(feature);
                    arrays.threshold.push(threshold as f32);
                    arrays.missing_left.push(u8::from(missing_left));
                    arrays.left.push(!(leaf as i32));
                    arrays.right.push(!(parent_of_leaf.len() as i32));
                    arrays.node_value.push(0.0);
                    parent_of_leaf[leaf] = Some((i, true));
                    parent_of_leaf.push(Some((i, false)));
                }
                for leaf in 0..parent_of_leaf.len() {
                    arrays.leaf_value.push((first + leaf) as f32 * 0.37 - 1.0);
                }
                arrays.node_offsets.push(arrays.feature.len() as u32);
                arrays.leaf_offsets.push(arrays.leaf_value.len() as u32);
            }
            Forest::from_arrays(n_features, arrays).expect("built well-formed")
        })
    }
}
