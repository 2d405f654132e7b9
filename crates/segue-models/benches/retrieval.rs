//! Time to fit and to answer, for every registered retrieval model with its default settings.
//!
//! Data: made-up listening, seeded: 200,000 items whose popularity follows Zipf's law (exponent 0.9), 40,000
//! users with 50 plays each; nine of ten plays are close to the one before (items in the same block of 64), so
//! that rows of the models overlap as they do in real listening.
//! Asked: the best 100 from a history of 50 plays that is excluded itself, one query at a time, one thread.
//!
//! ```text
//! cargo bench -p segue-models --bench retrieval              # every model
//! cargo bench -p segue-models --bench retrieval -- pctm ials  # some
//! ```
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use segue_data::OwnedSequences;
use segue_models::{FitInput, ItemFilter, Query, RECOMMENDERS};

const N_ITEMS: u32 = 200_000;
const N_USERS: u32 = 40_000;
const N_PLAYS: usize = 50;
const K: usize = 100;
const N_QUERIES: usize = 5_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn item(&mut self, last: Option<u32>) -> u32 {
        match last {
            Some(last) if self.unit() < 0.9 => (last & !63) | (self.unit() * 64.0) as u32,
            // The inverse of Zipf's cumulative share for exponent 0.9: (n^0.1 − 1) grows evenly.
            _ => {
                let top = f64::from(N_ITEMS).powf(0.1) - 1.0;
                ((self.unit() * top + 1.0).powi(10) as u32).wrapping_mul(2_654_435_761)
            }
        }
        .rem_euclid(N_ITEMS)
    }
}

fn main() {
    // `cargo test --benches` only wants to see that this compiles and starts.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let mut random = Random(1);
    let users = (0..N_USERS).map(|_| {
        let mut last = None;
        (0..N_PLAYS)
            .map(|_| {
                last = Some(random.item(last));
                last.unwrap_or_default()
            })
            .collect()
    });
    let plays = OwnedSequences::from_items(N_ITEMS, users);
    println!("{:<20} {:>8} {:>10} {:>9} {:>9} {:>9}", "model", "fit s", "MB", "p50 µs", "p99 µs", "items");
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    // Trained networks have a bench of their own: `examples/sequence.rs`.
    let networks = ["sasrec", "esasrec", "hstu", "gru4rec"];
    let wanted = |kind: &str| {
        if asked.is_empty() { !networks.contains(&kind) } else { asked.iter().any(|a| a == kind) }
    };
    for line in RECOMMENDERS.iter().filter(|line| wanted(line.kind)) {
        let start = Instant::now();
        let model = match line.fit(&toml::Table::new(), &FitInput::of(plays.view())) {
            Ok(model) => model,
            Err(e) => {
                println!("{:<20} {e}", line.kind);
                continue;
            }
        };
        let fit = start.elapsed();
        let megabytes = model.parts().tensors.n_bytes() as f64 / 1e6;
        let mut out = Vec::new();
        let mut n_items = 0;
        let mut times: Vec<Duration> = (0..N_QUERIES)
            .map(|i| {
                let history = plays.view().user(i * 7 % N_USERS as usize);
                let mut seen = history.item.to_vec();
                seen.sort_unstable();
                let filter = ItemFilter { exclude: &seen, allow: None };
                let query = Query { history, ..Query::default() };
                let start = Instant::now();
                model.recommend(&query, K, &filter, &mut out).unwrap_or_else(|e| panic!("{e}"));
                n_items += out.len();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let micros = |share: f64| times[(N_QUERIES as f64 * share) as usize].as_secs_f64() * 1e6;
        println!(
            "{:<20} {:>8.2} {:>10.1} {:>9.1} {:>9.1} {:>9.1}",
            line.kind,
            fit.as_secs_f64(),
            megabytes,
            micros(0.5),
            micros(0.99),
            n_items as f64 / N_QUERIES as f64,
        );
    }
}
