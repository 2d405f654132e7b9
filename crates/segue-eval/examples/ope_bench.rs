//! The kernels of off-policy evaluation on columns from files, timed: `benches/ope_vs_obp` runs it.
//!
//! `ope_bench FOLDER N N_ACTIONS DRAWS`: the folder holds little-endian `reward.f64`, `propensity.f64`,
//! `action.u32` (each `[N]`), `policy.f64` and `model.f64` (each `[N × N_ACTIONS]`). Prints one JSON line.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use segue_eval::off_policy::{MatrixRounds, Weighting, ips, snips};
use segue_stats::bootstrap::{bootstrap_means, percentile_interval};

fn floats(path: &Path) -> std::io::Result<Vec<f64>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect())
}

/// CPU seconds of this process so far, all threads (Linux; 0 elsewhere).
fn cpu_s() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let of = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(|task| of(task.path())).sum::<f64>() / 1e9
}

/// Runs `f` `times` times; its last answer, and wall and CPU seconds per run.
fn timed<T>(times: u32, mut f: impl FnMut() -> T) -> (T, f64, f64) {
    let mut last = f();
    let (cpu, wall) = (cpu_s(), Instant::now());
    for _ in 0..times {
        last = f();
    }
    let per_run = f64::from(times);
    (last, wall.elapsed().as_secs_f64() / per_run, (cpu_s() - cpu) / per_run)
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, n, n_actions, draws] = arguments.as_slice() else {
        return Err("usage: ope_bench FOLDER N N_ACTIONS DRAWS".into());
    };
    let (n, n_actions, draws): (usize, usize, usize) = (n.parse()?, n_actions.parse()?, draws.parse()?);
    let folder = Path::new(folder);
    let (reward, propensity) = (floats(&folder.join("reward.f64"))?, floats(&folder.join("propensity.f64"))?);
    let (policy, model) = (floats(&folder.join("policy.f64"))?, floats(&folder.join("model.f64"))?);
    let bytes = std::fs::read(folder.join("action.u32"))?;
    let action: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
    if action.len() != n {
        return Err(format!("action.u32 has {} rows, not {n}", action.len()).into());
    }
    let matrices = MatrixRounds {
        reward: &reward,
        propensity: &propensity,
        action: &action,
        policy: &policy,
        model: &model,
        n_actions,
    };
    let (estimate, dr_wall, dr_cpu) = timed(5, || matrices.doubly_robust(Weighting::Plain));
    let c = matrices.columns()?;
    let rounds = c.rounds(&reward, &propensity);
    let terms: Vec<f64> = rounds
        .weights()?
        .iter()
        .enumerate()
        .map(|(i, w)| c.model_value[i] + w * (reward[i] - c.model_reward[i]))
        .collect();
    let (means, boot_wall, boot_cpu) = timed(1, || bootstrap_means(&[&terms], draws, 1));
    let [low, high] = percentile_interval(&means?[0], 0.95)?;
    println!(
        "{{\"dr\":{:.17e},\"ips\":{:.17e},\"snips\":{:.17e},\"dr_wall_s\":{dr_wall},\"dr_cpu_s\":{dr_cpu},\"low\":{low:.17e},\"high\":{high:.17e},\"boot_wall_s\":{boot_wall},\"boot_cpu_s\":{boot_cpu}}}",
        estimate?.value,
        ips(&rounds, Weighting::Plain)?.value,
        snips(&rounds)?.value,
    );
    Ok(())
}
