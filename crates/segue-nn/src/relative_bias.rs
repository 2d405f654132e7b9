//! Relative position and time bias of attention, as HSTU has them (Zhai et al. 2024).
//!
//! Query `i` asks what comes next, at the moment of its request; key `j` is an event before it:
//!
//! ```text
//! bias(i, j) = position[i - j] + time[bucket(request_at[i] - occurred_at[j])]
//! ```
//!
//! Both tables are learned, one number per entry, shared by the heads of a layer. Gaps are counted in
//! whole seconds and bucketed twice per doubling.

use crate::query_block::QueryBlock;
use crate::simd::vectorised;
use crate::{Init, Layout, Param};

/// Buckets of gaps: none at all, then two per doubling of seconds up to 2³².
pub const N_GAPS: usize = 66;

/// Moments of the tokens of a pass, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Times<'a> {
    /// `[n_tokens]` when each event occurred.
    pub occurred_at: &'a [u32],
    /// `[n_tokens]` when it was asked what follows the event: for all but the newest event of a
    /// sequence when the next one occurred.
    pub request_at: &'a [u32],
}

impl<'a> Times<'a> {
    /// Those of some tokens.
    #[must_use]
    pub fn of(self, tokens: std::ops::Range<usize>) -> Self {
        Self { occurred_at: &self.occurred_at[tokens.clone()], request_at: &self.request_at[tokens] }
    }
}

/// The bucket of a gap in seconds: 0 for none, else `1 + 2 ⌊log₂ s⌋`, and one more from 1.5 times that
/// power of two on.
///
/// It is read off the exponent and the first bit of the fraction of `s` as an `f32`.
#[inline(always)]
#[must_use]
pub fn gap_bucket(seconds: u32) -> usize {
    // 1 has the bits 254 up there.
    ((seconds as f32).to_bits() >> 22).max(253) as usize - 253
}

/// The tables of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelativeBias {
    /// `[max_len]` by distance.
    pub position: Param,
    /// `[N_GAPS]` by bucket, if there is a time bias.
    pub time: Option<Param>,
}

impl RelativeBias {
    /// Adds `NAME.position` and, `with_time`, `NAME.time` to the layout; sequences have at most `max_len`
    /// tokens.
    pub fn new(layout: &mut Layout, name: &str, max_len: usize, with_time: bool) -> Self {
        Self {
            position: layout.vector(format!("{name}.position"), max_len, Init::Zeros),
            time: with_time.then(|| layout.vector(format!("{name}.time"), N_GAPS, Init::Zeros)),
        }
    }

    /// Fills `bias` `[keys, width]` of a block where a query sees the key, and leaves the rest. `times`
    /// are those of the sequence; without them there is no time bias.
    pub(crate) fn fill(&self, params: &[f32], times: Option<Times<'_>>, block: QueryBlock, bias: &mut [f32]) {
        let position = self.position.of(params);
        let time = self.time.zip(times).map(|(time, times)| (time.of(params), times));
        vectorised(
            #[inline(always)]
            || {
                for (key, bias) in bias.chunks_exact_mut(block.width()).take(block.last).enumerate() {
                    let query = key.max(block.first);
                    let bias = &mut bias[query - block.first..block.n_queries()];
                    bias.copy_from_slice(&position[query - key..block.last - key]);
                    if let Some((time, times)) = time {
                        let occurred_at = times.occurred_at[key];
                        for (b, request_at) in bias.iter_mut().zip(&times.request_at[query..block.last]) {
                            *b += time[gap_bucket(request_at.saturating_sub(occurred_at))];
                        }
                    }
                }
            },
        );
    }

    /// Adds the gradients `d_bias` `[keys, width]` of a block to those of the tables.
    pub(crate) fn backward(
        &self,
        times: Option<Times<'_>>,
        block: QueryBlock,
        d_bias: &[f32],
        grads: &mut [f32],
    ) {
        for (key, d_bias) in d_bias.chunks_exact(block.width()).take(block.last).enumerate() {
            let query = key.max(block.first);
            let d_bias = &d_bias[query - block.first..block.n_queries()];
            let by_distance = &mut self.position.of_mut(grads)[query - key..block.last - key];
            for (g, d) in by_distance.iter_mut().zip(d_bias) {
                *g += d;
            }
            if let Some((time, times)) = self.time.zip(times) {
                let by_gap = time.of_mut(grads);
                let occurred_at = times.occurred_at[key];
                for (d, request_at) in d_bias.iter().zip(&times.request_at[query..block.last]) {
                    by_gap[gap_bucket(request_at.saturating_sub(occurred_at))] += d;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_two_per_doubling() {
        let expected = [
            (0, 0),
            (1, 1),
            (2, 3),
            (3, 4),
            (4, 5),
            (5, 5),
            (6, 6),
            (7, 6),
            (8, 7),
            (59, 12),
            (3600, 24),
            (86_400, 33),
            (u32::MAX, N_GAPS - 1),
        ];
        for (seconds, bucket) in expected {
            assert_eq!(gap_bucket(seconds), bucket, "{seconds} s");
        }
        for seconds in 1..100_000_u32 {
            let whole = seconds.ilog2();
            let upper = u32::from(f64::from(seconds) >= 1.5 * f64::from(whole).exp2());
            assert_eq!(gap_bucket(seconds), (1 + 2 * whole + upper) as usize, "{seconds} s");
        }
    }
}
