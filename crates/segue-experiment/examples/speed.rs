//! Our side of `benches/experiment_vs_confidence/run`: JSON to stdout.

// The numbers are the program's output.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use segue_experiment::{Allocation, Attributes, ExperimentSpec, Units};
use segue_stats::arm::{Alternative, ArmSums};
use segue_stats::group_sequential::{Sides, Spending, group_sequential_bounds};
use segue_stats::two_sample_z::two_sample_z;

fn main() -> Result<(), Box<dyn Error>> {
    // 10,000 metric × arm cells, the same numbers as the other side makes.
    let cells: Vec<(ArmSums, ArmSums)> = (0..10_000_u32)
        .map(|i| {
            let arm = |shift: f64| {
                let (n, mean, variance) = (1_000.0 + f64::from(i), 10.0 + shift, 4.0 + f64::from(i % 7));
                ArmSums { n: n as u64, sum: n * mean, sum_sq: (n - 1.0) * variance + n * mean * mean }
            };
            (arm(0.0), arm(f64::from(i % 100) / 500.0))
        })
        .collect();
    let start = Instant::now();
    let mut p = Vec::with_capacity(cells.len());
    for (c, t) in &cells {
        let (c, t) = ArmSums::pair(c, t)?;
        p.push(two_sample_z(&c, &t, 0.0, 0.05, Alternative::TwoSided)?.p_value);
    }
    let z_test_s = start.elapsed().as_secs_f64();
    let mut out = serde_json::json!({ "z_test_s": z_test_s, "p": p });
    for looks in [28_usize, 200] {
        let times: Vec<f64> = (1..=looks).map(|k| k as f64 / looks as f64).collect();
        let start = Instant::now();
        // The other side's two-sided bounds are upper bounds at half of the error.
        let b = group_sequential_bounds(&times, 0.025, Sides::One, Spending::Power(2.0))?;
        out[format!("gst_{looks}_s")] = start.elapsed().as_secs_f64().into();
        out[format!("gst_{looks}_z")] = b.z.into();
    }
    out["assignment_ns"] = assignment_ns()?.into();
    println!("{out}");
    Ok(())
}

/// Nanoseconds per assignment: a million listeners, one experiment with a market target, a ramp and three arms.
fn assignment_ns() -> Result<f64, Box<dyn Error>> {
    let spec: ExperimentSpec = serde_json::from_str(
        r#"{"name": "quieter-home", "ramp": 0.5, "target": {"market": ["SE", "NO"]},
            "arms": [{"name": "control"}, {"name": "quiet"}, {"name": "quieter", "weight": 2}]}"#,
    )?;
    let allocation = Allocation::solve(&[spec], &[])?;
    let experiment = allocation.experiment("quieter-home").ok_or("the experiment was solved")?;
    let users: Vec<String> = (0..1_000_000).map(|user| format!("listener-{user}")).collect();
    let attributes = Attributes { market: Some("NO"), ..Attributes::default() };
    let start = Instant::now();
    for user in &users {
        black_box(experiment.assign(&Units::user(black_box(user)), &attributes));
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / users.len() as f64)
}
