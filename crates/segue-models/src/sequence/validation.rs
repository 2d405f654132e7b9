//! Validation: the rank of each held-out play among all trained items.

use rayon::prelude::*;
use segue_nn::{Embedding, Mat, Pass, matmul};

use crate::sequence::model::encode_last;
use crate::sequence::network::Network;
use crate::sequence::windows::{Batch, HeldOut, Windows};

/// Listeners whose scores exist at one time.
const CHUNK: usize = 32;

/// Mean NDCG@10 of the held-out plays over the trained catalogue; `None` if nothing was held out.
///
/// Plays of the history are left out of the ranking, unless the held-out play is a repeat itself.
/// Items with an equal score rank before the target. A target that no training play holds counts 0.
#[must_use]
pub fn ndcg_at_10(
    network: &Network,
    params: &[f32],
    table: &Embedding,
    windows: &Windows<'_>,
) -> Option<f64> {
    if windows.held_out.is_empty() {
        return None;
    }
    let mut packed = Vec::new();
    network.layout.pack(params, &mut packed);
    let weights = Pass { packed: &packed, ..Pass::of(params) };
    let gains: Vec<f64> = windows
        .held_out
        .par_chunks(CHUNK)
        .map(|chunk| chunk_gain(network, &weights, table, windows, chunk))
        .collect();
    Some(gains.iter().sum::<f64>() / windows.held_out.len() as f64)
}

fn chunk_gain(
    network: &Network,
    weights: &Pass<'_>,
    table: &Embedding,
    windows: &Windows<'_>,
    chunk: &[HeldOut],
) -> f64 {
    let mut batch = Batch::default();
    for held in chunk {
        let n_history = held.n_history as usize;
        // The target tells when it was asked for, and nothing else.
        let plays = windows.user(held.user).head(n_history + 1).tail(network.config.max_history + 1);
        let events = plays.head(plays.len() - 1);
        if let Some(code) = windows.user_token(held.user, events) {
            batch.begin(code, events, plays.occurred_at);
        }
        batch.push(events, plays.occurred_at);
    }
    let pass = Pass { offsets: &batch.offsets, ..*weights };
    let users = encode_last(network, &pass, table, batch.events(0..batch.item.len()));
    let (n, m, d) = (chunk.len(), table.n_rows(), table.d);
    let mut scores = vec![0.0; n * m];
    matmul(&mut scores, m, false, Mat::new(&users, n, d), Mat::new(&table.table, m, d).t());
    let mut gain = 0.0;
    for (held, scores) in chunk.iter().zip(scores.chunks_exact_mut(m)) {
        let target = held.item as usize;
        if windows.counts[target] == 0 {
            continue;
        }
        let own = scores[target];
        let seen = windows.user(held.user).head(held.n_history as usize).item;
        if !seen.contains(&held.item) {
            for &item in seen {
                scores[item as usize] = f32::NEG_INFINITY;
            }
        }
        let before = scores.iter().zip(&windows.counts).filter(|&(&s, &c)| c > 0 && s >= own).count();
        // The target is among them.
        if before <= 10 {
            gain += 1.0 / (before as f64 + 1.0).log2();
        }
    }
    gain
}
