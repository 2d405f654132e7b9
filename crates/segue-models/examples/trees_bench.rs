//! The Rust side of `benches/trees_vs_lightgbm`: fits and scores a forest on a file of columns.
//!
//! ```text
//! trees_bench DATA N_TRAIN N_TEST N_FEATURES N_THREADS [SETTING=VALUE]… > result.json
//! ```
//!
//! `DATA` holds `N_FEATURES` columns of little-endian `f32` (training rows, then test rows), then the
//! labels as bytes. Scores of the test rows are written to `DATA.scores` as `f32`. The line on stdout
//! is JSON: seconds to fit from columns (binning included), CPU seconds of that over all threads where
//! the system tells (Linux), best of three times to score, and trees.

use std::io::Write;
use std::time::Instant;

use segue_models::trees::{self, Scorer, TreesConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, n_train, n_test, n_features, n_threads, settings @ ..] = args.as_slice() else {
        return Err("usage: trees_bench DATA N_TRAIN N_TEST N_FEATURES N_THREADS [SETTING=VALUE]…".into());
    };
    let (n_train, n_test): (usize, usize) = (n_train.parse()?, n_test.parse()?);
    let n_features: usize = n_features.parse()?;
    rayon::ThreadPoolBuilder::new().num_threads(n_threads.parse()?).build_global()?;

    let mut config = TreesConfig { early_stopping_rounds: 0, held_out_share: 0.0, ..Default::default() };
    for setting in settings {
        match setting.split_once('=') {
            Some(("rounds", value)) => config.rounds = value.parse()?,
            Some(("max_bins", value)) => config.max_bins = value.parse()?,
            Some(("min_leaf_hessian", value)) => config.min_leaf_hessian = value.parse()?,
            Some(("l2", value)) => config.l2 = value.parse()?,
            _ => return Err(format!("`{setting}` is no setting of this bench").into()),
        }
    }

    let n_rows = n_train + n_test;
    let bytes = std::fs::read(path)?;
    let expected = n_features * n_rows * 4 + n_rows;
    if bytes.len() != expected {
        return Err(format!("{path} has {} bytes; {expected} expected", bytes.len()).into());
    }
    let (values, labels) = bytes.split_at(n_features * n_rows * 4);
    let values: Vec<f32> =
        values.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let labels: Vec<bool> = labels.iter().map(|&label| label == 1).collect();
    let columns: Vec<&[f32]> = values.chunks_exact(n_rows).collect();
    let train: Vec<u32> = (0..n_train as u32).collect();

    let cpu_before = cpu_s();
    let start = Instant::now();
    let fitted = trees::fit(&columns, &labels, &train, &[], &[], &config)?;
    let train_s = start.elapsed().as_secs_f64();
    let train_cpu_s = cpu_s().zip(cpu_before).map(|(after, before)| after - before);

    let test: Vec<f32> =
        (n_train..n_rows).flat_map(|row| columns.iter().map(move |column| column[row])).collect();
    let scorer = Scorer::new(&fitted.forest);
    let mut scores = vec![0.0; n_test];
    let score_us_per_1000 = (0..3)
        .map(|_| {
            let start = Instant::now();
            scorer.score(&test, &mut scores);
            start.elapsed().as_secs_f64() * 1e9 / n_test as f64
        })
        .fold(f64::INFINITY, f64::min);
    let bytes: Vec<u8> = scores.iter().flat_map(|score| score.to_le_bytes()).collect();
    std::fs::write(format!("{path}.scores"), bytes)?;
    let line = serde_json::json!({
        "train_s": train_s,
        "train_cpu_s": train_cpu_s,
        "score_us_per_1000": score_us_per_1000,
        "n_trees": fitted.forest.n_trees(),
        "max_bins": config.bins_for(n_train),
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

/// CPU seconds of this process so far, all threads: fields 14 and 15 of `/proc/self/stat`, in ticks of
/// 10 ms.
fn cpu_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let after_name = stat.rsplit_once(") ")?.1;
    let ticks = |field: usize| after_name.split(' ').nth(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}
