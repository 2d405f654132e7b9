//! Shows that a training step of a planned shape allocates nothing: forward pass, loss, backward
//! pass and optimiser, counted by the allocator of this test binary.

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::cell::Cell;

use segue_nn::loss::{NegativeSampler, Negatives, SampledLoss, SampledObjective, SoftmaxLoss};
use segue_nn::optim::{Adam, AdamW};
use segue_nn::{Activation, Block, BlockConfig, Carve, Counter, Embedding, Layout, Noise, NormKind, Pass};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    /// Allocations so far.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes taken and not given back, of any kind.
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the count is a thread-local integer
// that is initialised in a constant expression and so allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        let _ = LIVE.try_with(|n| n.set(n.get() + layout.size() as i64));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: MemoryLayout) {
        let _ = LIVE.try_with(|n| n.set(n.get() - layout.size() as i64));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations so far, and bytes alive.
fn state() -> (u64, i64) {
    (ALLOCATIONS.with(Cell::get), LIVE.with(Cell::get))
}

#[test]
fn a_step_of_a_known_shape_allocates_nothing_and_keeps_nothing() {
    let (d, n_items, k) = (32, 500, 64);
    let config = BlockConfig {
        d,
        n_heads: 2,
        hidden: 64,
        activation: Activation::SwiGlu,
        norm: NormKind::Layer,
        gated: true,
        dropout: 0.2,
        attention_dropout: 0.1,
    };
    let mut layout = Layout::default();
    let block = Block::new(&mut layout, "block", 0, config);
    let mut params = layout.init(1);
    let table = Embedding::new(n_items, d, 0.1, 2);
    let offsets = [0_u32, 0, 1, 40, 77];
    let n = 77;
    let ids: Vec<u32> = (0..n as u32).map(|i| i * 7 % n_items as u32).collect();
    let sampler = NegativeSampler::new(&vec![1; n_items], 0.5, 0.1);
    let softmax = SoftmaxLoss { n_items, d };
    let sampled = SampledLoss { objective: SampledObjective::Softmax { log_q: true }, k, d };

    // The plan.
    let scratch_len = block.scratch_len(&offsets).max(softmax.scratch_len()).max(sampled.scratch_len());
    let mut buffer = vec![0.0; 5 * n * d + block.saved_len(&offsets) + 2 * k * d + scratch_len];
    let mut grads = vec![0.0; params.len()];
    let mut d_table = vec![0.0; n_items * d];
    let mut optimiser = AdamW::new(params.len(), Adam::default());
    let mut negatives = Negatives::default();

    let mut before = (0, 0);
    for step in 0..4_u64 {
        if step == 2 {
            before = state();
        }
        let mut carve = Carve::new(&mut buffer);
        let x = carve.take(n * d);
        let y = carve.take(n * d);
        let dy = carve.take(n * d);
        let dy_sampled = carve.take(n * d);
        let d_target = carve.take(n * d);
        let saved = carve.take(block.saved_len(&offsets));
        let negative_rows = carve.take(k * d);
        let d_negative = carve.take(k * d);
        let scratch = carve.take(scratch_len);
        grads.fill(0.0);
        d_table.fill(0.0);
        d_negative.fill(0.0);
        let pass =
            Pass { params: &params, packed: &[], offsets: &offsets, noise: Some(Noise::new(1, step, 0)) };
        table.gather(&ids, 1.0, x);
        sampler.draw(Counter::new(1, step), k, &ids, &mut negatives);
        table.gather(&negatives.ids, 1.0, negative_rows);
        block.forward(&pass, None, x, saved, scratch, y);
        let scale = 1.0 / n as f32;
        let loss = softmax.forward_backward(y, &ids, &table.table, scale, scratch, dy, &mut d_table);
        let loss_sampled = sampled.forward_backward(
            y,
            &ids,
            &table,
            &negatives,
            negative_rows,
            scale,
            scratch,
            dy_sampled,
            d_target,
            d_negative,
        );
        assert!(loss.is_finite() && loss_sampled.is_finite());
        block.backward(&pass, None, x, saved, dy, scratch, &mut grads);
        optimiser.step(&layout, &mut params, &grads, 1e-3, 1.0);
    }
    assert_eq!(state(), before, "allocations and live bytes in two steps after the first two");
}
