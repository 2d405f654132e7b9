//! The Rust side of `benches/linear_vs_implicit`: fits a registered model on a file of users × items and
//! writes everybody's list.
//!
//! ```text
//! linear_bench DATA N_THREADS KIND K [SETTING=VALUE]… > result.json
//! ```
//!
//! `DATA` holds three little-endian `u64` (users, items, entries), `u64` offsets `[users + 1]` and `u32` items.
//! `DATA.KIND.lists` is written as `u32` `[users, K]`, without what the user plays, `u32::MAX` where there is no more.
//! The line on stdout is JSON: seconds and CPU seconds (all threads, Linux) of the fit and of the lists. For `ials` the
//! seconds of each pass too, and the lists are those of the vectors of the last pass: no folding in, as `implicit` does
//! it; the time with folding in stands beside. `fold_in_us` is the mean over users one by one. `passes` as KIND is `ials`
//! without any lists.

use std::io::Write;
use std::time::Instant;

use segue_data::OwnedSequences;
use segue_models::retrieval::ials::{Factorization, IalsConfig};
use segue_models::{FitInput, ItemFilter, Query, Recommender, Scored, fit_recommender};

type Fail = Box<dyn std::error::Error>;

fn main() -> Result<(), Fail> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, n_threads, kind, k, settings @ ..] = args.as_slice() else {
        return Err("usage: linear_bench DATA N_THREADS KIND K [SETTING=VALUE]…".into());
    };
    let k: usize = k.parse()?;
    rayon::ThreadPoolBuilder::new().num_threads(n_threads.parse()?).build_global()?;
    let mut settings: toml::Table = settings.join("\n").parse()?;
    // The whole matrix counts on both sides.
    for limit in ["max_user_items", "max_history"] {
        settings.entry(limit).or_insert(if limit == "max_history" { 1000 } else { 1_000_000 }.into());
    }
    let plays = read(path)?;
    let input = FitInput::of(plays.view());
    if kind == "passes" {
        let config: IalsConfig = settings.try_into()?;
        let (mut result, _) = passes(&config, &input)?;
        result["peak_mb"] = peak_mb().into();
        writeln!(std::io::stdout(), "{result}")?;
        return Ok(());
    }
    let users = plays.view();
    let filters: Vec<ItemFilter<'_>> =
        users.iter().map(|u| ItemFilter { exclude: u.item, allow: None }).collect();
    let queries: Vec<Query<'_>> = users.iter().map(|history| Query { history, ..Query::default() }).collect();

    let (lists, mut result) = if kind == "ials" {
        ials(settings, &input, &queries, k, &filters)?
    } else {
        settings.insert("kind".to_owned(), kind.as_str().into());
        let (model, fit) = timed(|| fit_recommender(&settings, &input));
        let model = model?;
        let (lists, asked) = timed(|| model.recommend_batch(&queries, k, &filters));
        (
            lists?,
            serde_json::json!({ "fit": fit, "lists": asked, "n_bytes": model.parts().tensors.n_bytes() }),
        )
    };
    let mut bytes = Vec::with_capacity(lists.len() * k * 4);
    for list in &lists {
        for at in 0..k {
            bytes.extend(list.get(at).map_or(u32::MAX, |s| s.item).to_le_bytes());
        }
    }
    std::fs::write(format!("{path}.{kind}.lists"), bytes)?;
    result["peak_mb"] = peak_mb().into();
    writeln!(std::io::stdout(), "{result}")?;
    Ok(())
}

fn ials(
    settings: toml::Table,
    input: &FitInput<'_>,
    queries: &[Query<'_>],
    k: usize,
    filters: &[ItemFilter<'_>],
) -> Result<(Vec<Vec<Scored>>, serde_json::Value), Fail> {
    let config: IalsConfig = settings.try_into()?;
    let (mut result, factorization) = passes(&config, input)?;
    let users = factorization.users().to_vec();
    let model = factorization.finish()?;
    let (lists, asked) = timed(|| model.items().top_k_batch(&users, k, filters));
    let (folded, asked_anew) = timed(|| model.recommend_batch(queries, k, filters));
    folded?;
    let some = &queries[..queries.len().min(10_000)];
    let start = Instant::now();
    let n_known = some.iter().filter(|query| model.fold_in(query).is_some()).count();
    let fold_in_us = start.elapsed().as_secs_f64() * 1e6 / n_known.max(1) as f64;
    result["lists"] = serde_json::json!(asked);
    result["lists_with_fold_in"] = serde_json::json!(asked_anew);
    result["fold_in_us"] = fold_in_us.into();
    result["n_bytes"] = model.parts().tensors.n_bytes().into();
    Ok((lists, result))
}

/// Fits; the time to read the plays and that of each pass.
fn passes<'a>(
    config: &'a IalsConfig,
    input: &FitInput<'_>,
) -> Result<(serde_json::Value, Factorization<'a>), Fail> {
    let (factorization, read) = timed(|| Factorization::new(config, input));
    let mut factorization = factorization?;
    let mut passes = Vec::new();
    for _ in 0..config.iterations {
        let (done, pass) = timed(|| factorization.iterate());
        done?;
        passes.push(pass);
    }
    Ok((serde_json::json!({ "read": read, "passes": passes }), factorization))
}

fn read(path: &str) -> Result<OwnedSequences, Fail> {
    let bytes = std::fs::read(path)?;
    let (head, rest) = bytes.split_at_checked(24).ok_or("the file has no header")?;
    let [n_users, n_items, n] =
        [0, 8, 16].map(|at| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default()));
    let offsets_bytes = (n_users as usize + 1) * 8;
    if rest.len() != offsets_bytes + n as usize * 4 {
        return Err(
            format!("{path} has {} bytes after its header; its sizes ask for others", rest.len()).into()
        );
    }
    let (offsets, items) = rest.split_at(offsets_bytes);
    Ok(OwnedSequences {
        offsets: offsets
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default()))
            .collect(),
        item: items.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap_or_default())).collect(),
        n_items: u32::try_from(n_items)?,
        ..OwnedSequences::default()
    })
}

/// What `run` gives, and `[seconds, CPU seconds]`.
fn timed<T>(run: impl FnOnce() -> T) -> (T, [f64; 2]) {
    let (start, cpu) = (Instant::now(), cpu_s());
    let out = run();
    (out, [start.elapsed().as_secs_f64(), cpu_s() - cpu])
}

/// CPU seconds of this process so far, all threads: fields 14 and 15 of `/proc/self/stat`, in ticks of
/// 10 ms; NaN where the system does not tell.
fn cpu_s() -> f64 {
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let after_name = stat.rsplit_once(") ")?.1;
        let ticks = |field: usize| after_name.split(' ').nth(field)?.parse::<f64>().ok();
        Some(ticks(11)? + ticks(12)?)
    };
    ticks().map_or(f64::NAN, |ticks| ticks / 100.0)
}

/// Most memory this process has held, in MB; NaN where the system does not tell.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).map_or(f64::NAN, |kb| kb / 1024.0)
}
