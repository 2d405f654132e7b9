//! Boosting: rounds of trees, sampling, early stopping.

use rayon::prelude::*;

use super::bins::{BinnedRows, Bins};
use super::config::{Direction, TreesConfig};
use super::forest::Forest;
use super::gradient::{CHUNK_ROWS, Gradients, mean_log_loss};
use super::grow::{BinTree, GrowRule, Grower};
use super::histogram::LeafRow;
use super::random::{draw, falls_in};
use super::split::SplitRule;
use crate::ModelError;

/// A fitted forest and how its fit went.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The trees kept.
    pub forest: Forest,
    /// Mean log loss of the held-out rows with 0, 1, 2, … trees; empty without held-out rows.
    pub held_out_loss: Vec<f64>,
}

/// Fits a forest to labels by log loss.
///
/// With held-out rows the trees up to the least held-out loss are kept (the first of equals), and
/// growing stops once [`early_stopping_rounds`](TreesConfig::early_stopping_rounds) trees have not
/// lowered it. Training that can gain nothing more stops by itself.
///
/// The result depends on the rows, the configuration and its seed, and on nothing else: gradients are
/// integers, so the number of threads does not show.
///
/// # Shapes
/// - `columns`: `[n_features][n_all_rows]`, NaN for missing; infinities fall in the outer bins
/// - `labels`: `[n_all_rows]`
/// - `train`, `held_out`: row numbers; rows in neither are not looked at
/// - `directions`: `[n_features]`, or empty if no feature is held to a direction
///
/// # Errors
/// [`ModelError::Config`] for a setting outside its range; [`ModelError::NeedsData`] if `train` is
/// empty or all its labels are alike; [`ModelError::Shape`] for more than 2^30 rows.
pub fn fit(
    columns: &[&[f32]],
    labels: &[bool],
    train: &[u32],
    held_out: &[u32],
    directions: &[Option<Direction>],
    config: &TreesConfig,
) -> Result<Fitted, ModelError> {
    config.check()?;
    let n_positive = train.iter().filter(|&&row| labels[row as usize]).count();
    if n_positive == 0 || n_positive == train.len() {
        let what = "training rows with both labels";
        return Err(ModelError::NeedsData { model: "trees", what });
    }
    let bins = Bins::fit(columns, train, config.bins_for(train.len()), config.seed);
    let binned = BinnedRows::new(&bins, columns, train)?;
    let held_out_binned = BinnedRows::new(&bins, columns, held_out)?;
    let labels_of = |rows: &[u32]| rows.iter().map(|&row| labels[row as usize]).collect::<Vec<_>>();
    let (train_labels, held_out_labels) = (labels_of(train), labels_of(held_out));

    let rate = n_positive as f64 / train.len() as f64;
    let base_score = (rate / (1.0 - rate)).ln() as f32;
    let mut forest = Forest::new(columns.len(), base_score);
    let mut scores = vec![base_score; train.len()];
    let mut held_out_scores = vec![base_score; held_out.len()];
    let mut held_out_loss = Vec::new();
    if !held_out.is_empty() {
        held_out_loss.push(mean_log_loss(&held_out_scores, &held_out_labels));
    }

    let n_features = columns.len();
    let mut gradients = Gradients::new(train.len());
    let mut grower = Grower::new(&binned);
    let mut rows: Vec<LeafRow> = Vec::new();
    let mut leaf_of = vec![0u8; train.len()];
    let mut steps = vec![0f32];
    for round in 0..config.rounds {
        gradients.update(&mut scores, &train_labels, &leaf_of, &steps, config.seed, round);
        sample_rows(&gradients, train.len(), config, round, &mut rows);
        let allowed = sample_features(n_features, config, round);
        let rule = GrowRule {
            split: SplitRule::new(config.l2, config.min_leaf_hessian, config.min_gain, gradients.scale()),
            max_leaves: config.max_leaves,
            allowed: &allowed,
            directions,
        };
        let tree = grower.grow(&rule, &mut rows, &mut leaf_of);
        if tree.nodes.is_empty() {
            // Nothing to gain from these rows and features. Another sample may still gain.
            let is_sampled = config.row_share < 1.0 || config.feature_share < 1.0;
            if !is_sampled {
                break;
            }
        }
        if rows.len() < train.len() {
            place_other_rows(&tree, &binned, &mut leaf_of);
        }
        steps = tree.leaf_values.iter().map(|&v| (v * config.learning_rate) as f32).collect();
        forest.push(&tree, &bins, config.learning_rate);
        if !held_out.is_empty() {
            add_tree(&tree, &steps, &held_out_binned, &mut held_out_scores);
            held_out_loss.push(mean_log_loss(&held_out_scores, &held_out_labels));
            let since_best = held_out_loss.len() - 1 - best_round(&held_out_loss);
            if config.early_stopping_rounds > 0 && since_best >= config.early_stopping_rounds {
                break;
            }
        }
    }
    if config.early_stopping_rounds > 0 && !held_out_loss.is_empty() {
        forest.truncate(best_round(&held_out_loss));
    }
    Ok(Fitted { forest, held_out_loss })
}

/// The number of trees with the least loss, the fewest of equals.
fn best_round(losses: &[f64]) -> usize {
    let mut best = 0;
    for (round, loss) in losses.iter().enumerate() {
        if loss < &losses[best] {
            best = round;
        }
    }
    best
}

/// Streams of [`draw`].
const ROW_STREAM: u64 = 0x1000_0000;
const FEATURE_STREAM: u64 = 0x2000_0000;

/// The rows of one tree with their rounded derivatives.
fn sample_rows(
    gradients: &Gradients,
    n_rows: usize,
    config: &TreesConfig,
    round: usize,
    rows: &mut Vec<LeafRow>,
) {
    rows.resize(n_rows, 0);
    rows.par_chunks_mut(CHUNK_ROWS)
        .enumerate()
        .for_each(|(i, chunk)| gradients.rounded(i * CHUNK_ROWS, chunk));
    if config.row_share < 1.0 {
        let stream = ROW_STREAM + round as u64;
        rows.retain(|&row| {
            falls_in(config.row_share, config.seed, stream, super::histogram::row_of(row) as u64)
        });
    }
}

/// The features one tree may split on: those with the smallest draws.
fn sample_features(n_features: usize, config: &TreesConfig, round: usize) -> Vec<bool> {
    let n_kept = ((n_features as f64 * config.feature_share).round() as usize).max(1);
    let mut order: Vec<usize> = (0..n_features).collect();
    if n_kept < n_features {
        let stream = FEATURE_STREAM + round as u64;
        order.sort_by_key(|&feature| (draw(config.seed, stream, feature as u64), feature));
    }
    let mut allowed = vec![false; n_features];
    order.iter().take(n_kept).for_each(|&feature| allowed[feature] = true);
    allowed
}

/// Finds the leaf of every row, those that the tree did not learn from included.
fn place_other_rows(tree: &BinTree, binned: &BinnedRows, leaf_of: &mut [u8]) {
    leaf_of.par_chunks_mut(CHUNK_ROWS).enumerate().for_each(|(i, chunk)| {
        for (k, leaf) in chunk.iter_mut().enumerate() {
            // A tree has at most 64 leaves.
            *leaf = tree.leaf_of(binned, i * CHUNK_ROWS + k) as u8;
        }
    });
}

fn add_tree(tree: &BinTree, steps: &[f32], binned: &BinnedRows, scores: &mut [f32]) {
    scores.par_chunks_mut(CHUNK_ROWS).enumerate().for_each(|(i, chunk)| {
        for (k, score) in chunk.iter_mut().enumerate() {
            *score += steps[tree.leaf_of(binned, i * CHUNK_ROWS + k)];
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::gradient::sigmoid;
    use super::super::score::Scorer;
    use super::*;

    /// A world of `n` rows: the label follows columns 0 and 1 together, column 2 is noise, a fifth of
    /// column 0 is missing and then the label is mostly 1.
    fn world(n: usize, seed: u64) -> (Vec<Vec<f32>>, Vec<bool>) {
        let unit = |stream, i| (draw(seed, stream, i as u64) >> 40) as f32 / (1u64 << 24) as f32;
        let a: Vec<f32> = (0..n).map(|i| if unit(9, i) < 0.2 { f32::NAN } else { unit(0, i) }).collect();
        let b: Vec<f32> = (0..n).map(|i| unit(1, i)).collect();
        let c: Vec<f32> = (0..n).map(|i| unit(2, i)).collect();
        let labels = (0..n).map(|i| unit(3, i) < chance(a[i], b[i])).collect();
        (vec![a, b, c], labels)
    }

    fn chance(a: f32, b: f32) -> f32 {
        if a.is_nan() { 0.85 } else { sigmoid(6.0 * (a - 0.5) * if b > 0.5 { 1.0 } else { -1.0 }) }
    }

    fn slices(columns: &[Vec<f32>]) -> Vec<&[f32]> {
        columns.iter().map(Vec::as_slice).collect()
    }

    fn all(n: usize) -> Vec<u32> {
        (0..n as u32).collect()
    }

    fn config() -> TreesConfig {
        TreesConfig { rounds: 60, max_leaves: 15, early_stopping_rounds: 10, ..Default::default() }
    }

    #[test]
    fn it_learns_the_probabilities_that_made_the_labels() {
        let (columns, labels) = world(20_000, 1);
        let (train, held_out) = (all(16_000), (16_000..20_000).collect::<Vec<u32>>());
        let fitted = fit(&slices(&columns), &labels, &train, &held_out, &[], &config()).expect("fits");
        let (fresh, _) = world(4000, 2);
        let rows: Vec<f32> = (0..4000).flat_map(|i| [fresh[0][i], fresh[1][i], fresh[2][i]]).collect();
        let mut scores = vec![0.0; 4000];
        Scorer::new(&fitted.forest).score(&rows, &mut scores);
        let error: f32 =
            (0..4000).map(|i| (sigmoid(scores[i]) - chance(fresh[0][i], fresh[1][i])).abs()).sum();
        assert!(error / 4000.0 < 0.045, "mean error {}", error / 4000.0);
        let losses = &fitted.held_out_loss;
        assert!(losses[best_round(losses)] < 0.8 * losses[0], "{losses:?}");
        assert_eq!(fitted.forest.n_trees(), best_round(losses));
    }

    #[test]
    fn one_thread_and_three_give_the_same_forest() {
        let (columns, labels) = world(60_000, 3);
        let settings = TreesConfig { rounds: 8, row_share: 0.8, feature_share: 0.7, ..config() };
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let held_out: Vec<u32> = (50_000..60_000).collect();
            pool.install(|| {
                fit(&slices(&columns), &labels, &all(50_000), &held_out, &[], &settings).expect("fits")
            })
        };
        let (one, three) = (on(1), on(3));
        assert_eq!(one.forest, three.forest);
        assert_eq!(one.held_out_loss, three.held_out_loss);
    }

    #[test]
    fn a_direction_holds_over_the_whole_range() {
        let (columns, labels) = world(5000, 4);
        for direction in [Direction::Increasing, Direction::Decreasing] {
            let directions = [Some(direction), None, None];
            let fitted = fit(&slices(&columns), &labels, &all(5000), &[], &directions, &config());
            let forest = fitted.expect("fits").forest;
            for b in [0.1, 0.4, 0.6, 0.9] {
                for c in [0.2, 0.8] {
                    let at = |a: f32| forest.score_by_walking(&[a, b, c]);
                    for step in 0..100 {
                        let (low, high) = (at(step as f32 / 100.0), at((step + 1) as f32 / 100.0));
                        match direction {
                            Direction::Increasing => assert!(low <= high + 1e-5),
                            Direction::Decreasing => assert!(low >= high - 1e-5),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn hostile_columns_neither_fail_nor_are_split_on() {
        let (mut columns, labels) = world(2000, 5);
        columns.push(vec![f32::NAN; 2000]);
        columns.push(vec![3.5; 2000]);
        let infinite = (0..2000).map(|i| [f32::INFINITY, f32::NEG_INFINITY, 0.0][i % 3]).collect();
        columns.push(infinite);
        let forest = fit(&slices(&columns), &labels, &all(2000), &[], &[], &config()).expect("fits").forest;
        let used = forest.split_counts();
        assert_eq!(used[3..], [0, 0, 0], "{used:?}");
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            assert!(forest.score_by_walking(&[value; 6]).is_finite());
        }
    }

    #[test]
    fn rows_that_cannot_be_learned_from_are_an_error_that_says_so() {
        let column = [1.0f32, 2.0, 3.0];
        let one_class = fit(&[&column], &[true; 3], &all(3), &[], &[], &config());
        let nothing = fit(&[&column], &[true; 3], &[], &[], &[], &config());
        let one_row = fit(&[&column], &[true, false, true], &[1], &[], &[], &config());
        for result in [one_class, nothing, one_row] {
            let message = result.expect_err("no two classes").to_string();
            assert!(message.contains("both labels"), "{message}");
        }
    }

    #[test]
    fn two_rows_give_the_base_rate_or_a_split_and_finite_scores() {
        let column = [1.0f32, 2.0];
        let forest = fit(&[&column], &[true, false], &all(2), &[], &[], &config()).expect("fits").forest;
        assert!(forest.score_by_walking(&[1.5]).is_finite());
    }

    #[test]
    fn noise_alone_stops_early() {
        let (columns, _) = world(4000, 6);
        let labels: Vec<bool> = (0..4000).map(|i| draw(8, 8, i) & 1 == 1).collect();
        let held_out: Vec<u32> = (3000..4000).collect();
        let fitted = fit(&slices(&columns), &labels, &all(3000), &held_out, &[], &config()).expect("fits");
        assert!(fitted.forest.n_trees() < 10, "{}", fitted.forest.n_trees());
        assert!(fitted.held_out_loss.len() < 30);
    }
}
