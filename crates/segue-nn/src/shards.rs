//! Sums over gradient shards in a fixed tree.

use rayon::prelude::*;

/// Adds the other shards to the first one: pairs, then pairs of pairs.
///
/// The order of the additions is that of the tree whatever the number of threads, since each
/// number is added by itself. Shards are `[len]` each, one after the other.
///
/// # Panics
/// If `shards` is no multiple of `len`.
pub fn reduce_shards(shards: &mut [f32], len: usize) {
    if len == 0 || shards.len() <= len {
        return;
    }
    assert_eq!(shards.len() % len, 0, "shards of {len} numbers");
    let n_shards = shards.len() / len;
    let mut step = 1;
    while step < n_shards {
        shards.par_chunks_mut(len * 2 * step).for_each(|pair| {
            if pair.len() > len * step {
                let (left, right) = pair.split_at_mut(len * step);
                left[..len]
                    .par_chunks_mut(1 << 14)
                    .zip(right[..len].par_chunks(1 << 14))
                    .for_each(|(left, right)| crate::simd::add(right, left));
            }
        });
        step *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_shards_adds_up() {
        for n_shards in 1..10_u32 {
            let len = 5;
            let mut shards: Vec<f32> =
                (0..n_shards).flat_map(|s| (0..len as u32).map(move |i| (s * 10 + i) as f32)).collect();
            reduce_shards(&mut shards, len);
            for i in 0..len as u32 {
                let want: u32 = (0..n_shards).map(|s| s * 10 + i).sum();
                assert_eq!(shards[i as usize], want as f32, "{n_shards} shards");
            }
        }
    }
}
