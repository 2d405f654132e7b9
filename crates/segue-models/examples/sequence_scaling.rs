//! How the training speed of eSASRec (sampled softmax, 256 shared negatives) scales: catalogue, length of
//! histories, threads, and size of vectors, one at a time from 100,000 items, 200 plays, 1 thread, d = 64.
//!
//! Listeners play random items, popular ones more often (a power law with exponent 1); all histories of a line have one
//! length. Real input tokens per wall second and per CPU second of whole training steps, after a round to warm up.
//!
//! ```sh
//! cargo run --release -p segue-models --example sequence_scaling -- [SECONDS PER LINE]
//! ```

use std::time::Instant;

use segue_data::OwnedSequences;
use segue_models::FitInput;
use segue_models::sequence::esasrec::ESasRecConfig;
use segue_models::sequence::{Architecture, Trainer, Training};
use segue_nn::Counter;

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Clone, Copy)]
struct Line {
    n_items: u32,
    history: usize,
    threads: usize,
    d: usize,
}

#[allow(clippy::print_stdout)]
fn main() -> AnyResult<()> {
    let seconds: f64 = std::env::args().nth(1).map_or(Ok(5.0), |s| s.parse())?;
    let base = Line { n_items: 100_000, history: 200, threads: 1, d: 64 };
    let lines = [
        Line { n_items: 10_000, ..base },
        base,
        Line { n_items: 1_000_000, ..base },
        Line { history: 50, ..base },
        Line { history: 1000, ..base },
        Line { threads: 2, ..base },
        Line { d: 128, ..base },
        Line { d: 256, ..base },
    ];
    println!("| items | history | threads | d | tokens/s | tokens per CPU second |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for line in lines {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(line.threads).build()?;
        let (wall, cpu) = pool.install(|| measure(line, seconds))?;
        let Line { n_items, history, threads, d } = line;
        println!("| {n_items} | {history} | {threads} | {d} | {wall:.0} | {cpu:.0} |");
    }
    Ok(())
}

/// Tokens per wall and per CPU second.
fn measure(line: Line, seconds: f64) -> Result<(f64, f64), segue_models::ModelError> {
    // 25,600 tokens a step whatever the length.
    let batch = (25_600 / line.history).max(1);
    let draws = Counter::new(1, 0x5CA1E);
    let users = (0..4 * batch as u64).map(|u| {
        let draws = draws.fork(u);
        (0..=line.history as u64).map(|i| zipf(draws.bits(i), line.n_items)).collect()
    });
    let plays = OwnedSequences::from_items(line.n_items, users);
    let training = Training { batch, round_steps: 4, validation_share: 0.0, ..Training::default() };
    let config = ESasRecConfig {
        d: line.d,
        hidden: 4 * line.d,
        max_history: line.history,
        actions: false,
        training,
        ..Default::default()
    };
    let (network, objective) = config.plan()?;
    let mut trainer = Trainer::new(network, objective, &FitInput::of(plays.view()))?;
    trainer.round()?;
    let (began, cpu, mut tokens) = (Instant::now(), cpu_seconds(), 0);
    while began.elapsed().as_secs_f64() < seconds {
        tokens += trainer.round()?.n_tokens;
    }
    Ok((tokens as f64 / began.elapsed().as_secs_f64(), tokens as f64 / (cpu_seconds() - cpu)))
}

/// An item below `n`, item `i` in proportion to about `1 / (i + 1)`.
fn zipf(bits: u64, n: u32) -> u32 {
    let uniform = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    ((f64::from(n).ln() * uniform).exp() as u32 - 1).min(n - 1)
}

/// CPU seconds of this process so far, from the system's accounting; NaN where there is none.
fn cpu_seconds() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return f64::NAN };
    let ticks = stat.rsplit(')').next().into_iter().flat_map(str::split_whitespace).skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}
