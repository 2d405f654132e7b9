//! Trains one sequence model and prints each round.
//!
//! - On a file of sequences, also the final ranking quality (leave-one-out, whole training catalogue without
//!   seen items: protocol P-S3).
//! - On a Segue home, all plays of its snapshot, with their times and actions; the last line is the best
//!   validation.
//!
//! ```sh
//! cargo run --release -p segue-models --example sequence -- FILE 'kind="esasrec"' SEED
//! cargo run --release -p segue-models --example sequence -- HOME 'kind="hstu"' SEED
//! ```

use std::time::Instant;

use segue_data::{OwnedSequences, SequencesFile, Snapshot};
use segue_models::registry::Model;
use segue_models::sequence::settings::Objective;
use segue_models::sequence::{Architecture, ESasRec, Gru4Rec, Hstu, Network, SasRec, SequenceModel, Trainer};
use segue_models::{FitInput, ItemFilter, Query, Scored};

type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> AnyResult<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: sequence FILE|HOME SETTINGS [SEED]";
    let source = std::path::PathBuf::from(args.next().ok_or(usage)?);
    let mut settings: toml::Table = args.next().ok_or(usage)?.parse()?;
    let seed = args.next().map_or(Ok(1), |s| s.parse())?;
    let kind = settings.remove("kind").ok_or("`kind` is missing")?;
    let plan = plan(kind.as_str().unwrap_or_default(), settings)?;
    if source.is_dir() {
        let snapshot = Snapshot::open_current(&source)?;
        train(plan, &FitInput { seed, ..FitInput::of(snapshot.sequences()) })?;
    } else {
        leave_one_out(plan, &source, seed)?;
    }
    Ok(())
}

fn plan(kind: &str, settings: toml::Table) -> AnyResult<(Network, Objective)> {
    fn of<M: Model<Config: Architecture>>(settings: toml::Table) -> AnyResult<(Network, Objective)> {
        Ok(settings.try_into::<M::Config>()?.plan()?)
    }
    match kind {
        "sasrec" => of::<SasRec>(settings),
        "esasrec" => of::<ESasRec>(settings),
        "hstu" => of::<Hstu>(settings),
        "gru4rec" => of::<Gru4Rec>(settings),
        _ => Err("`kind` is sasrec, esasrec, hstu or gru4rec".into()),
    }
}

#[allow(clippy::print_stdout)]
fn leave_one_out(plan: (Network, Objective), file: &std::path::Path, seed: u64) -> AnyResult<()> {
    let all = SequencesFile::read(file)?.sequences;
    let mut train = OwnedSequences { n_items: all.n_items, ..OwnedSequences::default() };
    for user in all.view().iter() {
        train.push(user.head(user.len().saturating_sub(1)));
    }
    let model = self::train(plan, &FitInput { seed, ..FitInput::of(train.view()) })?;
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

#[allow(clippy::print_stdout)]
fn train((network, objective): (Network, Objective), input: &FitInput<'_>) -> AnyResult<SequenceModel> {
    let (began, cpu_began) = (Instant::now(), cpu_seconds());
    let mut trainer = Trainer::new(network, objective, input)?;
    while !trainer.is_done() {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        let r = trainer.round()?;
        println!(
            "round {:3} loss {:.4} validation {:.5}  tokens/s wall {:.0}, per CPU second {:.0}; so far {:.2} s, {:.2} CPU s, peak {:.0} MB",
            r.round,
            r.loss,
            r.validation_ndcg.unwrap_or(f64::NAN),
            r.n_tokens as f64 / wall.elapsed().as_secs_f64(),
            r.n_tokens as f64 / (cpu_seconds() - cpu),
            began.elapsed().as_secs_f64(),
            cpu_seconds() - cpu_began,
            peak_mb(),
        );
    }
    let best = trainer.checkpoint().best.as_ref();
    println!(
        "trained in {:.1} s wall, {:.1} CPU s; best validation {:.5} after round {}",
        began.elapsed().as_secs_f64(),
        cpu_seconds() - cpu_began,
        best.map_or(f64::NAN, |b| b.ndcg),
        best.map_or(0, |b| b.round),
    );
    Ok(trainer.finish())
}

/// The largest resident memory of this process so far, from the system's accounting; NaN where there is none.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).map_or(f64::NAN, |kb| kb / 1024.0)
}

/// CPU seconds of this process so far, from the system's accounting; NaN where there is none.
fn cpu_seconds() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return f64::NAN };
    let ticks = stat.rsplit(')').next().into_iter().flat_map(str::split_whitespace).skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}
