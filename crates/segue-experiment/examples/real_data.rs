//! Three public data sets of experiments: `benches/experiments_on_real_data/run`.
//!
//! `real_data FOLDER` with the folders `cookie-cats`, `asos-digital-experiments` and `upworthy-exploratory` in it.

// The table is the program's output.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use segue_stats::arm::{Alternative, ArmSums, Moments};
use segue_stats::asymptotic_cs::asymptotic_cs;
use segue_stats::distribution::normal;
use segue_stats::group_sequential::{Sides, Spending, group_sequential_bounds};
use segue_stats::multiple_testing::{Correction, adjust};
use segue_stats::srm::srm_chi2;
use segue_stats::two_proportion_chi2::two_proportion_chi2;
use segue_stats::two_sample_z::two_sample_z;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: real_data FOLDER")?;
    let folder = Path::new(&folder);
    cookie_cats(&folder.join("cookie-cats/cookie_cats.csv.zst"))?;
    asos(&folder.join("asos-digital-experiments/asos_digital_experiments_dataset.csv.zst"))?;
    upworthy(&folder.join("upworthy-exploratory/upworthy_clean.csv.zst"))
}

/// Rows of a compressed CSV file, by column name.
fn rows(path: &Path) -> Result<Vec<BTreeMap<String, String>>, Box<dyn Error>> {
    let bytes = zstd::decode_all(std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    Ok(reader.deserialize().collect::<Result<_, _>>()?)
}

fn cookie_cats(path: &Path) -> Result<(), Box<dyn Error>> {
    let rows = rows(path)?;
    let arm = |name: &str, metric: &str| {
        let of: Vec<_> = rows.iter().filter(|r| r["version"] == name).collect();
        let hits = of.iter().filter(|r| r[metric].eq_ignore_ascii_case("true") || r[metric] == "1").count();
        (hits as u64, of.len() as u64)
    };
    let (a, b) = (arm("gate_30", "retention_1"), arm("gate_40", "retention_1"));
    let srm = srm_chi2(&[a.1, b.1], &[1.0, 1.0])?;
    println!("cookie-cats: {} / {} players, sample-ratio mismatch p = {:.4}", a.1, b.1, srm.p_value);
    for metric in ["retention_1", "retention_7"] {
        let (a, b) = (arm("gate_30", metric), arm("gate_40", metric));
        let t = two_proportion_chi2(a, b, 0.05)?;
        println!(
            "  {metric}: {:.4} against {:.4}, difference {:+.4} [{:+.4}, {:+.4}], p = {:.4}",
            a.0 as f64 / a.1 as f64,
            b.0 as f64 / b.1 as f64,
            t.difference,
            t.interval[0],
            t.interval[1],
            t.p_value
        );
    }
    Ok(())
}

/// Experiment, variant and metric.
type SeriesKey = (String, String, String);

/// What one rule did over all series.
#[derive(Default)]
struct Replay {
    stopped: u32,
    share_of_time: f64,
    disagrees_with_end: u32,
    flips: u32,
}

fn asos(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut series: BTreeMap<SeriesKey, Vec<(f64, Moments, Moments)>> = BTreeMap::new();
    for r in rows(path)? {
        let f = |k: &str| r[k].parse::<f64>().ok().filter(|v| v.is_finite());
        let read = || {
            let m = |n: &str, mean: &str, variance: &str| {
                Some(Moments { n: f(n)?, mean: f(mean)?, variance: f(variance)? })
            };
            Some((
                f("time_since_start")?,
                m("count_c", "mean_c", "variance_c")?,
                m("count_t", "mean_t", "variance_t")?,
            ))
        };
        if let Some(row) = read() {
            let key = (r["experiment_id"].clone(), r["variant_id"].clone(), r["metric_id"].clone());
            series.entry(key).or_default().push(row);
        }
    }
    let n_experiments = series.keys().map(|k| &k.0).collect::<std::collections::BTreeSet<_>>().len();
    let names = ["fixed, looked at each time", "GST O'Brien-Fleming", "GST Pocock", "always valid"];
    let mut replays: [Replay; 4] = Default::default();
    let (mut n_series, mut n_end) = (0_u32, 0_u32);
    let mut solved: BTreeMap<Vec<u64>, [Vec<f64>; 2]> = BTreeMap::new();
    for rows in series.values_mut() {
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Looks with new units and some variance; a look that shrinks (data were withdrawn) is left out.
        let mut looks: Vec<(f64, f64, f64, f64)> = Vec::new();
        for (at, c, t) in rows.iter() {
            let (n, se) = (c.n + t.n, (c.variance_of_mean() + t.variance_of_mean()).sqrt());
            if c.n >= 2.0 && t.n >= 2.0 && se > 0.0 && looks.last().is_none_or(|l| n > l.1) {
                looks.push((*at, n, t.mean - c.mean, se));
            }
        }
        let Some(&(end, planned, ..)) = looks.last() else { continue };
        n_series += 1;
        let times: Vec<f64> = looks.iter().map(|l| l.1 / planned).collect();
        let z: Vec<f64> = looks.iter().map(|l| l.2 / l.3).collect();
        let fixed = normal::upper_quantile(0.025);
        let truth = z.last().is_some_and(|z| z.abs() >= fixed);
        n_end += u32::from(truth);
        // The metrics of an experiment are read at the same looks: their boundaries are solved once.
        let key: Vec<u64> = times.iter().map(|t| t.to_bits()).collect();
        let [obf, pocock] = match solved.get(&key) {
            Some(known) => known.clone(),
            None => {
                let of = |spending| group_sequential_bounds(&times, 0.05, Sides::Two, spending).map(|b| b.z);
                let new = [of(Spending::ObrienFleming)?, of(Spending::Pocock)?];
                solved.insert(key, new.clone());
                new
            }
        };
        let always: Vec<f64> = looks
            .iter()
            .map(|l| asymptotic_cs(l.2, l.3, l.1, 0.05, planned).map(|c| c.half_width / l.3))
            .collect::<Result<_, _>>()?;
        let bounds = [vec![fixed; z.len()], obf, pocock, always];
        for (replay, bounds) in replays.iter_mut().zip(&bounds) {
            let over: Vec<bool> = z.iter().zip(bounds).map(|(z, b)| z.abs() >= *b).collect();
            let first = over.iter().position(|o| *o);
            replay.stopped += u32::from(first.is_some());
            replay.share_of_time += first.map_or(0.0, |k| looks[k].0 / end);
            replay.disagrees_with_end += u32::from(first.is_some() != truth);
            replay.flips += over.windows(2).filter(|w| w[0] != w[1]).count() as u32;
        }
    }
    println!(
        "asos: {} experiments, {n_series} series of looks; {n_end} differ at the end (p < .05, plain)",
        n_experiments
    );
    println!(
        "  {:<28} {:>8} {:>22} {:>20} {:>8}",
        "rule", "stops", "at share of the time", "other than the end", "flips"
    );
    for (name, r) in names.iter().zip(&replays) {
        println!(
            "  {name:<28} {:>8} {:>22.2} {:>20} {:>8}",
            r.stopped,
            r.share_of_time / f64::from(r.stopped.max(1)),
            r.disagrees_with_end,
            r.flips
        );
    }
    Ok(())
}

fn upworthy(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut tests: BTreeMap<String, (u32, Vec<(u64, u64)>)> = BTreeMap::new();
    for r in rows(path)? {
        let (Ok(clicks), Ok(impressions)) = (r["clicks"].parse::<f64>(), r["impressions"].parse::<f64>())
        else {
            continue;
        };
        let week = r["test_week"].parse::<f64>().unwrap_or(0.0) as u32;
        let test = tests.entry(r["clickability_test_id"].clone()).or_insert((week, Vec::new()));
        test.1.push((clicks as u64, impressions as u64));
    }
    // The archive's authors say that these weeks were probably not randomised per user.
    let doubtful = |week: u32| (201_326..=201_402).contains(&week);
    let (mut all, mut plain, mut corrected, mut fdr_input) = (0, 0, 0, Vec::new());
    let mut mismatch = [[0_u32; 2]; 2];
    for (week, arms) in tests.values() {
        let mut arms: Vec<(u64, u64)> = arms.iter().copied().filter(|a| a.1 > 0 && a.0 <= a.1).collect();
        if arms.len() < 2 {
            continue;
        }
        let counts: Vec<u64> = arms.iter().map(|a| a.1).collect();
        let srm = srm_chi2(&counts, &vec![1.0; counts.len()])?.p_value < 0.001;
        mismatch[usize::from(doubtful(*week))][usize::from(srm)] += 1;
        if doubtful(*week) || srm {
            continue;
        }
        all += 1;
        // Every other arm against the first as given.
        let first = arms.remove(0);
        let moments =
            |(clicks, n): (u64, u64)| ArmSums { n, sum: clicks as f64, sum_sq: clicks as f64 }.moments(true);
        let p: Vec<f64> = arms
            .iter()
            .map(|&arm| {
                Ok(two_sample_z(&moments(first)?, &moments(arm)?, 0.0, 0.05, Alternative::TwoSided)?.p_value)
            })
            .collect::<Result<_, segue_stats::StatsError>>()?;
        plain += u32::from(p.iter().any(|&p| p <= 0.05));
        let holm = adjust(&p, Correction::Holm, 0.05)?;
        corrected += u32::from(holm.rejected.iter().any(|&r| r));
        fdr_input.push(holm.p_values.iter().copied().fold(1.0, f64::min));
    }
    let bh = adjust(&fdr_input, Correction::FdrBh, 0.05)?;
    let found = bh.rejected.iter().filter(|r| **r).count();
    println!(
        "upworthy: {} tests; sample-ratio mismatch (p < .001) in {} of {} tests, and in {} of {} of the weeks its authors doubt",
        tests.len(),
        mismatch[0][1],
        mismatch[0][0] + mismatch[0][1],
        mismatch[1][1],
        mismatch[1][0] + mismatch[1][1]
    );
    println!(
        "  of {all} sound tests an arm differs from the first in {plain} (uncorrected), {corrected} (Holm within the test), {found} (and BH over tests)"
    );
    Ok(())
}
