//! Latency of one request to a sequence model on one thread: the encoding of a history of 200 events by
//! each kind, and with it the exact best 100 of a million items from tables in 32, 16 and 8 bits a number (d = 64).
//!
//! Weights are those of an untrained network with seed 1. Item vectors are normal numbers whose lengths
//! vary by a factor of e (one standard deviation), listeners' vectors are encoded from random histories: no real
//! catalogue, and hard on rounding, since a million random vectors stand close together. p50 and p99 of wall time over
//! requests, after a tenth of them to warm up; the overlap is the mean share of the f32 list that is in the other.
//!
//! ```sh
//! cargo run --release -p segue-models --example sequence_latency -- [ITEMS] [REQUESTS]
//! ```

use std::time::Instant;

use segue_models::registry::Model;
use segue_models::sequence::{Architecture, ESasRec, Gru4Rec, Hstu, SasRec, SequenceModel};
use segue_models::{ItemTable, Query, Scored};
use segue_nn::{ByteTable, Counter, Embedding, HalfTable};

const HISTORY: usize = 200;
const D: usize = 64;

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> AnyResult<()> {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<usize>());
    let n_items = args.next().transpose()?.unwrap_or(1_000_000);
    let n_requests = args.next().transpose()?.unwrap_or(300).max(10);
    measure(n_items, n_requests)
}

/// Nothing below starts a second thread.
#[allow(clippy::print_stdout)]
fn measure(n_items: usize, n_requests: usize) -> AnyResult<()> {
    let draws = Counter::new(1, 0x1A7E);
    let mut vectors: Vec<f32> = (0..(n_items * D) as u64).map(|i| draws.normal(i)).collect();
    for (item, vector) in (0..).zip(vectors.chunks_exact_mut(D)) {
        let length = draws.fork(1).normal(item).exp();
        vector.iter_mut().for_each(|x| *x *= 0.02 * length);
    }
    let model = |network: segue_models::sequence::Network| {
        let params = network.layout.init(1);
        let table = Embedding { table: vectors.clone(), d: D };
        SequenceModel::new(network, params, table, vec![true; n_items])
    };
    let histories: Vec<Vec<u32>> = (0..n_requests as u64)
        .map(|r| {
            let draws = draws.fork(2 + r);
            (0..HISTORY as u64).map(|i| (draws.bits(i) % n_items as u64) as u32).collect()
        })
        .collect();
    println!("| request | p50 ms | p99 ms | overlap@100 with f32 |");
    println!("|---|---:|---:|---:|");
    for (name, network) in [
        ("`sasrec`", <SasRec as Model>::Config::default().plan()?.0),
        ("`hstu`", <Hstu as Model>::Config::default().plan()?.0),
        ("`gru4rec`", <Gru4Rec as Model>::Config::default().plan()?.0),
    ] {
        encode(name, &model(network), &histories);
    }
    let esasrec = model(<ESasRec as Model>::Config::default().plan()?.0);
    encode("`esasrec`", &esasrec, &histories);

    let mut exact: Vec<Vec<Scored>> = Vec::new();
    for name in ["f32", "f16", "i8"] {
        let table = match name {
            "f32" => ItemTable::F32(vectors.clone(), D),
            "f16" => ItemTable::F16(HalfTable::new(&vectors, D)),
            _ => ItemTable::I8(ByteTable::new(&vectors, D)),
        };
        let mut lists = Vec::new();
        let times = measured(&histories, |history| {
            let user = esasrec.user_vector(&Query::of_items(history)).unwrap_or_default();
            let mut out = Vec::new();
            table.best(&user, 100, |_| true, &mut out);
            lists.push(out);
        });
        let lists = lists.split_off(lists.len() - histories.len());
        if exact.is_empty() {
            exact.clone_from(&lists);
        }
        let shared = exact
            .iter()
            .zip(&lists)
            .map(|(a, b)| a.iter().filter(|x| b.iter().any(|y| y.item == x.item)).count());
        let overlap = shared.sum::<usize>() as f64 / exact.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        println!("| encode and best 100 of {n_items}, {name} | {} | {overlap:.4} |", figures(times));
    }
    Ok(())
}

#[allow(clippy::print_stdout)]
fn encode(name: &str, model: &SequenceModel, histories: &[Vec<u32>]) {
    // Encoding is short: each history several times.
    let many: Vec<Vec<u32>> = (0..10).flat_map(|_| histories.iter().cloned()).collect();
    let times = measured(&many, |history| {
        std::hint::black_box(model.user_vector(&Query::of_items(history)));
    });
    println!("| encode {HISTORY} events, {name} | {} | |", figures(times));
}

/// Milliseconds of each request, sorted.
fn measured(histories: &[Vec<u32>], mut request: impl FnMut(&[u32])) -> Vec<f64> {
    histories.iter().take(histories.len() / 10).for_each(|history| request(history));
    let mut times: Vec<f64> = histories
        .iter()
        .map(|history| {
            let began = Instant::now();
            request(history);
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn figures(times: Vec<f64>) -> String {
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    format!("{:.3} | {:.3}", at(0.5), at(0.99))
}
