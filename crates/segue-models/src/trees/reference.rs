//! The plain grower the fast one is tested against: no histograms, no subtraction, no threads.
//!
//! For every leaf, column, side for missing values and bin it adds up the rows anew. It shares with
//! the fast path only the score of a pair of sums, so that ties fall alike.

use super::bins::BinnedRows;
use super::grow::{BinNode, BinTree, GrowRule};
use super::histogram::{LeafRow, Sums, derivatives_of, row_of, unpack};
use super::split::{Bounds, Split};

struct Leaf {
    rows: Vec<LeafRow>,
    bounds: Bounds,
    parent: Option<(usize, bool)>,
}

fn sum(rows: &[LeafRow]) -> Sums {
    rows.iter().fold(Sums::default(), |sum, &row| {
        let one = unpack(derivatives_of(row));
        Sums { gradient: sum.gradient + one.gradient, hessian: sum.hessian + one.hessian }
    })
}

fn sends_left(split: &Split, bin: u8) -> bool {
    if bin == 0 { split.missing_left } else { bin <= split.bin }
}

/// The best split by trying each.
fn best_split(binned: &BinnedRows, rule: &GrowRule<'_>, leaf: &Leaf) -> Option<Split> {
    let all = sum(&leaf.rows);
    let mut best: Option<Split> = None;
    if !rule.split.may_split(all) {
        return None;
    }
    for feature in (0..binned.n_features()).filter(|&f| rule.allowed[f]) {
        let column = binned.column(feature);
        let monotone = rule.monotone(feature, leaf.bounds);
        let mut best_here: Option<(f64, Split)> = None;
        for missing_left in [false, true] {
            for bin in 1..binned.n_bins(feature) {
                let bin = bin as u8;
                let mut split = Split { gain: 0.0, feature, bin, missing_left, left: all, right: all };
                let side = |wanted: bool| {
                    let of_side = |row: &&LeafRow| sends_left(&split, column[row_of(**row)]) == wanted;
                    sum(&leaf.rows.iter().filter(of_side).copied().collect::<Vec<_>>())
                };
                let (left, right) = (side(true), side(false));
                let score = match monotone {
                    None => rule.split.pair_score(left, right),
                    Some((bounds, direction)) => rule.split.bounded_score(left, right, bounds, direction),
                };
                if score > best_here.map_or(f64::NEG_INFINITY, |(best, _)| best) {
                    (split.left, split.right) = (left, right);
                    best_here = Some((score, split));
                }
            }
        }
        let mut best_here = best_here.and_then(|(score, split)| {
            rule.split.gain(score, all, monotone).map(|gain| Split { gain, ..split })
        });
        if let Some(split) = best_here.as_mut() {
            // Where no missing row weighs anything, the larger side takes those to come.
            let missing: Vec<LeafRow> =
                leaf.rows.iter().filter(|&&row| column[row_of(row)] == 0).copied().collect();
            if sum(&missing) == Sums::default() {
                split.missing_left = split.left.hessian >= split.right.hessian;
            }
        }
        best = match (best, best_here) {
            (Some(a), Some(b)) if b.gain > a.gain => Some(b),
            (None, b) => b,
            (a, _) => a,
        };
    }
    best
}

/// Grows one tree.
pub(crate) fn grow(binned: &BinnedRows, rule: &GrowRule<'_>, rows: &[LeafRow]) -> BinTree {
    let mut tree = BinTree::default();
    let mut leaves = vec![Leaf { rows: rows.to_vec(), bounds: Bounds::NONE, parent: None }];
    while leaves.len() < rule.max_leaves {
        let mut chosen: Option<(usize, Split)> = None;
        for (i, leaf) in leaves.iter().enumerate() {
            if let Some(split) = best_split(binned, rule, leaf)
                && chosen.is_none_or(|(_, best)| split.gain > best.gain)
            {
                chosen = Some((i, split));
            }
        }
        let Some((at, split)) = chosen else { break };
        let node_at = tree.nodes.len();
        let right_at = leaves.len();
        let leaf = &leaves[at];
        if let Some((above, is_left)) = leaf.parent {
            let above = &mut tree.nodes[above];
            *(if is_left { &mut above.left } else { &mut above.right }) = node_at as i32;
        }
        tree.nodes.push(BinNode {
            feature: split.feature,
            bin: split.bin,
            missing_left: split.missing_left,
            left: !(at as i32),
            right: !(right_at as i32),
            value: rule.split.value(sum(&leaf.rows), leaf.bounds),
        });
        let (left_bounds, right_bounds) = leaf.bounds.divide(
            rule.directions.get(split.feature).copied().flatten(),
            rule.split.value(split.left, leaf.bounds),
            rule.split.value(split.right, leaf.bounds),
        );
        let column = binned.column(split.feature);
        let (left, right): (Vec<LeafRow>, Vec<LeafRow>) =
            leaf.rows.iter().partition(|&&row| sends_left(&split, column[row_of(row)]));
        leaves[at] = Leaf { rows: left, bounds: left_bounds, parent: Some((node_at, true)) };
        leaves.push(Leaf { rows: right, bounds: right_bounds, parent: Some((node_at, false)) });
    }
    tree.leaf_values = leaves.iter().map(|leaf| rule.split.value(sum(&leaf.rows), leaf.bounds)).collect();
    tree
}
