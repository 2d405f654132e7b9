//! Trains one sequence model on a file of sequences and prints each round and the final ranking
//! quality (leave-one-out, whole training catalogue without seen items: protocol P-S3).
//!
//! ```sh
//! cargo run --release -p segue-models --example sequence -- FILE 'kind="esasrec"' SEED
//! ```

use std::time::Instant;

use segue_data::{OwnedSequences, SequencesFile};
use segue_models::sequence::{Architecture, ESasRec, SasRec, Trainer};
use segue_models::{FitInput, ItemFilter, Query, Scored};

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

#[allow(clippy::print_stdout)]
fn main() -> AnyResult<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: sequence FILE SETTINGS [SEED]";
    let file = args.next().ok_or(usage)?;
    let mut settings: toml::Table = args.next().ok_or(usage)?.parse()?;
    let seed = args.next().map_or(Ok(1), |s| s.parse())?;
    let all = SequencesFile::read(file.as_ref())?.sequences;
    let mut train = OwnedSequences { n_items: all.n_items, ..OwnedSequences::default() };
    for user in all.view().iter() {
        train.push(user.head(user.len().saturating_sub(1)));
    }
    let kind = settings.remove("kind").ok_or("`kind` is missing")?;
    let (network, objective) = match kind.as_str() {
        Some("sasrec") => settings.try_into::<<SasRec as segue_models::registry::Model>::Config>()?.plan()?,
        Some("esasrec") => {
            settings.try_into::<<ESasRec as segue_models::registry::Model>::Config>()?.plan()?
        }
        _ => return Err("`kind` is sasrec or esasrec".into()),
    };
    let input = FitInput { seed, ..FitInput::of(train.view()) };
    let mut trainer = Trainer::new(network, objective, &input)?;
    let (began, cpu_began) = (Instant::now(), cpu_seconds());
    while !trainer.is_done() {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        let r = trainer.round()?;
        println!(
            "round {:3} loss {:.4} validation {:.5}  tokens/s wall {:.0}, per CPU second {:.0}",
            r.round,
            r.loss,
            r.validation_ndcg.unwrap_or(f64::NAN),
            r.n_tokens as f64 / wall.elapsed().as_secs_f64(),
            r.n_tokens as f64 / (cpu_seconds() - cpu),
        );
    }
    println!(
        "trained in {:.1} s wall, {:.1} CPU s",
        began.elapsed().as_secs_f64(),
        cpu_seconds() - cpu_began
    );
    let model = trainer.finish();
    let mut trained = vec![false; all.n_items as usize];
    train.item.iter().for_each(|&i| trained[i as usize] = true);
    let (mut n, mut ndcg, mut recall) = (0, 0.0, 0.0);
    let mut out: Vec<Scored> = Vec::new();
    for (user, plays) in all.view().iter().enumerate() {
        let Some((&target, history)) = plays.item.split_last() else { continue };
        if !trained[target as usize] || history.contains(&target) {
            continue;
        }
        let mut seen = history.to_vec();
        seen.sort_unstable();
        let query = Query { history: train.view().user(user), ..Query::default() };
        model.recommend(&query, 10, &ItemFilter { exclude: &seen, allow: None }, &mut out);
        n += 1;
        if let Some(at) = out.iter().position(|s| s.item == target) {
            ndcg += 1.0 / (at as f64 + 2.0).log2();
            recall += 1.0;
        }
    }
    println!(
        "test: {n} listeners, NDCG@10 {:.5}, Recall@10 {:.5}",
        ndcg / f64::from(n),
        recall / f64::from(n)
    );
    Ok(())
}

/// CPU seconds of this process so far, from the system's accounting; NaN where there is none.
fn cpu_seconds() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return f64::NAN };
    let ticks = stat.rsplit(')').next().into_iter().flat_map(str::split_whitespace).skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}
