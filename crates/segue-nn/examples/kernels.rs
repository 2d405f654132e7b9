//! What the kernels of one training step cost: billions of operations per CPU second of one thread.
//!
//! `cargo run --release -p segue-nn --example kernels`. CPU time, not wall time: other work on the
//! machine does not count. The shapes are those of SASRec at music lengths: d = 64, 3,416 items.

use segue_nn::loss::SoftmaxLoss;
use segue_nn::{Counter, Layout, Linear, Mat, Norm, NormKind, gelu, matmul};

fn random(n: usize) -> Vec<f32> {
    (0..n as u64).map(|i| Counter::new(1, 1).normal(i)).collect()
}

#[allow(clippy::print_stdout)]
fn measure(name: &str, operations: f64, mut f: impl FnMut()) {
    f();
    let (began, mut runs) = (cpu_seconds(), 0);
    while cpu_seconds() - began < 0.3 {
        f();
        runs += 1;
    }
    let seconds = (cpu_seconds() - began) / f64::from(runs);
    println!("{name:34} {:8.1} µs {:8.2} G/s", seconds * 1e6, operations / seconds / 1e9);
}

fn main() {
    let (n, d, m) = (1024, 64, 3416);
    let (h, table) = (random(n * d), random(m * d));
    let mut out = vec![0.0; n * m];
    let flops = |m: usize, n: usize, k: usize| 2.0 * (m * n * k) as f64;
    measure("logits = h tableᵀ", flops(n, m, d), || {
        matmul(&mut out, m, false, Mat::new(&h, n, d), Mat::new(&table, m, d).t());
    });
    let logits = random(150 * m);
    let mut dh = vec![0.0; 150 * d];
    measure("dh = p table", flops(150, m, d), || {
        matmul(&mut dh, d, false, Mat::new(&logits, 150, m), Mat::new(&table, m, d));
    });
    let mut d_table = vec![0.0; m * d];
    measure("d_table += pᵀ h", flops(150, m, d), || {
        matmul(&mut d_table, d, true, Mat::new(&logits, 150, m).t(), Mat::new(&h[..150 * d], 150, d));
    });
    let loss = SoftmaxLoss { n_items: m, d };
    let (mut scratch, mut dh) = (vec![0.0; loss.scratch_len()], vec![0.0; n * d]);
    let targets: Vec<u32> = (0..n as u32).collect();
    measure("softmax loss, both passes", 3.0 * flops(n, m, d), || {
        loss.forward_backward(&h, &targets, &table, 1.0, &mut scratch, &mut dh, &mut d_table);
    });
    let mut layout = Layout::default();
    let linear = Linear::new(&mut layout, "l", d, 4 * d, true);
    let norm = Norm::new(&mut layout, "n", d, NormKind::Layer);
    let (params, mut grads) = (layout.init(1), vec![0.0; layout.len()]);
    let mut y = vec![0.0; n * 4 * d];
    measure("linear forward", flops(n, 4 * d, d), || linear.forward(&params, &h, &mut y));
    measure("linear backward", 2.0 * flops(n, 4 * d, d), || {
        linear.backward(&params, &h, &y, &mut dh, false, &mut grads);
    });
    measure("norm forward (numbers)", (n * d) as f64, || norm.forward(&params, &h, &mut dh));
    let x = random(n * 4 * d);
    measure("gelu forward (numbers)", x.len() as f64, || gelu::forward(&x, &mut y));
}

/// CPU seconds of this process, from the scheduler's own count.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map_or(f64::NAN, |ns| ns / 1e9)
}
