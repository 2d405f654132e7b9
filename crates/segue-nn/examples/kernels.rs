//! What the kernels of one training step cost, beside what the core can do: billions of operations per
//! CPU second of one thread.
//!
//! `cargo run --release -p segue-nn --example kernels`. CPU time, not wall time: other work on the
//! machine does not count, though it takes caches away. The shapes are those of SASRec at music lengths:
//! chunks of 128 tokens, d = 64, 3,416 items.

use segue_nn::loss::{NegativeSampler, Negatives, SampledLoss, SampledObjective, SoftmaxLoss};
use segue_nn::{
    Activation, Block, BlockConfig, CausalAttention, Counter, Dropout, Embedding, Layout, Linear, Mat, Noise,
    Norm, NormKind, Pass, gelu, matmul,
};

fn random(n: usize) -> Vec<f32> {
    (0..n as u64).map(|i| Counter::new(1, 1).normal(i)).collect()
}

#[allow(clippy::print_stdout)]
fn measure(name: &str, operations: f64, mut f: impl FnMut()) {
    f();
    // Asking for the time costs as much as a small kernel: many runs per question.
    let (mut runs, mut seconds) = (1, 0.0);
    while seconds < 0.2 {
        runs *= 2;
        let began = cpu_seconds();
        (0..runs).for_each(|_| f());
        seconds = cpu_seconds() - began;
    }
    let seconds = seconds / f64::from(runs);
    println!("{name:34} {:8.1} µs {:8.2} G/s", seconds * 1e6, operations / seconds / 1e9);
}

fn main() {
    let (n, d, m): (usize, usize, usize) = (128, 64, 3416);
    let (h, table) = (random(n * d), random(m * d));
    let flops = |m: usize, n: usize, k: usize| 2.0 * (m * n * k) as f64;
    let (a, b, mut c) = (random(14 * 256), random(256 * 32), vec![0.0; 14 * 32]);
    measure("peak: a product within the L1 cache", flops(14, 32, 256), || {
        matmul(&mut c, 32, false, Mat::new(&a, 14, 256), Mat::new(&b, 256, 32));
    });
    let loss = SoftmaxLoss { n_items: m, d };
    let (mut scratch, mut dh) = (vec![0.0; loss.scratch_len()], vec![0.0; n * d]);
    let mut d_table = vec![0.0; m * d];
    let targets: Vec<u32> = (0..n as u32).collect();
    measure("softmax loss over 3,416 items", 3.0 * flops(n, m, d), || {
        loss.forward_backward(&h, &targets, &table, 1.0, &mut scratch, &mut dh, &mut d_table);
    });
    let k = 256;
    let loss = SampledLoss { objective: SampledObjective::Softmax { log_q: true }, k, d };
    let mut negatives = Negatives::default();
    NegativeSampler::new(&vec![1; m], 0.0, 0.0).draw(Counter::new(1, 1), k, &targets, &mut negatives);
    let table = Embedding { table, d };
    let mut rows = vec![0.0; k * d];
    table.gather(&negatives.ids, 1.0, &mut rows);
    let mut scratch = vec![0.0; loss.scratch_len()];
    let (mut d_target, mut d_negative) = (vec![0.0; n * d], vec![0.0; k * d]);
    measure("softmax loss over 256 negatives", 3.0 * flops(n, k, d), || {
        loss.forward_backward(
            &h,
            &targets,
            &table,
            &negatives,
            &rows,
            1.0,
            &mut scratch,
            &mut dh,
            &mut d_target,
            &mut d_negative,
        );
    });

    let mut layout = Layout::default();
    let linears = [(d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)]
        .map(|(n_in, n_out)| Linear::new(&mut layout, "l", n_in, n_out, true));
    let norm = Norm::new(&mut layout, "n", d, NormKind::Layer);
    let (params, mut grads) = (layout.init(1), vec![0.0; layout.len()]);
    let mut packed = Vec::new();
    layout.pack(&params, &mut packed);
    let weights = Pass { packed: &packed, ..Pass::of(&params) };
    let (x, dy) = (random(n * 4 * d), random(n * 4 * d));
    let (mut y, mut dx) = (vec![0.0; n * 4 * d], vec![0.0; n * 4 * d]);
    for linear in linears {
        let (n_in, n_out) = (linear.n_in(), linear.n_out());
        let (x, y, dy, dx) = (&x[..n * n_in], &mut y[..n * n_out], &dy[..n * n_out], &mut dx[..n * n_in]);
        let work = flops(n, n_out, n_in);
        measure(&format!("linear {n_in} to {n_out}, forward"), work, || linear.forward(&weights, x, y));
        measure(&format!("linear {n_in} to {n_out}, backward"), 2.0 * work, || {
            linear.backward(&params, x, dy, dx, false, &mut grads);
        });
    }
    let (x, dy) = (&x[..], &dy[..]);
    let rows = n * d;
    measure("norm, forward (numbers)", rows as f64, || norm.forward(&params, &h, &mut y[..rows]));
    measure("norm, backward (numbers)", rows as f64, || {
        norm.backward(&params, &h, &dy[..rows], &mut dx[..rows], &mut grads);
    });
    measure("GELU, forward (numbers)", x.len() as f64, || gelu::forward(x, &mut y));
    measure("GELU, backward (numbers)", x.len() as f64, || {
        dx.copy_from_slice(dy);
        gelu::backward(x, &mut dx);
    });
    measure("dropout (numbers)", x.len() as f64, || {
        y.copy_from_slice(x);
        Dropout::new(0.2).apply(1, 0, &mut y);
    });

    // Histories of a music service: 38 events on average.
    let offsets = [0_u32, 11, 23, 61, 128];
    let pass = Pass { params: &params, packed: &[], offsets: &offsets, noise: None };
    let attention = CausalAttention { d, n_heads: 2, dropout: Dropout::new(0.0), site: 0 };
    let pairs: usize = pass.sequences().map(|s| s.len() * (s.len() + 1) / 2).sum();
    let qkv = random(n * 3 * d);
    let mut saved = vec![0.0; attention.saved_len(&offsets)];
    let mut scratch = vec![0.0; attention.scratch_len(&offsets)];
    let mut d_qkv = vec![0.0; n * 3 * d];
    measure("attention, forward", 4.0 * (pairs * d) as f64, || {
        attention.forward(&pass, &qkv, &mut saved, &mut scratch, &mut y[..rows]);
    });
    measure("attention, backward", 8.0 * (pairs * d) as f64, || {
        attention.backward(&pass, &qkv, &saved, &dy[..rows], &mut scratch, &mut d_qkv);
    });

    for (name, activation, gated) in
        [("block of SASRec", Activation::Gelu, false), ("block of eSASRec", Activation::SwiGlu, true)]
    {
        let mut layout = Layout::default();
        let config = BlockConfig {
            d,
            n_heads: 2,
            hidden: 4 * d,
            activation,
            norm: NormKind::Layer,
            gated,
            dropout: 0.2,
            attention_dropout: 0.0,
        };
        let block = Block::new(&mut layout, "b", 0, config);
        let (params, mut grads) = (layout.init(1), vec![0.0; layout.len()]);
        let mut saved = vec![0.0; block.saved_len(&offsets)];
        let mut scratch = vec![0.0; block.scratch_len(&offsets)];
        let mut d = random(rows);
        let pass = Pass { params: &params, packed: &[], offsets: &offsets, noise: Some(Noise::new(1, 1, 1)) };
        let work = 6.0 * (n * layout.len()) as f64;
        measure(&format!("{name}, both passes"), work, || {
            block.forward(&pass, None, &h, &mut saved, &mut scratch, &mut y[..rows]);
            d.copy_from_slice(&dy[..rows]);
            block.backward(&pass, None, &h, &saved, &mut d, &mut scratch, &mut grads);
        });
    }
}

/// CPU seconds of this process, from the scheduler's own count.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map_or(f64::NAN, |ns| ns / 1e9)
}
