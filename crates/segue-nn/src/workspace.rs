//! Memory: one flat buffer per shard, planned per batch shape and cut into pieces.

use crate::Noise;

/// What every block of a pass shares.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// The parameter arena.
    pub params: &'a [f32],
    /// What [`Layout::pack`](crate::Layout::pack) made of it, or nothing: each product then turns its weight around.
    pub packed: &'a [f32],
    /// `[n_sequences + 1]`: sequence `s` owns tokens `offsets[s]..offsets[s + 1]`.
    pub offsets: &'a [u32],
    /// Random numbers while training; `None` switches dropout off.
    pub noise: Option<Noise>,
}

impl<'a> Pass<'a> {
    /// Parameters alone, for rows that belong to no sequence.
    #[must_use]
    pub fn of(params: &'a [f32]) -> Self {
        Self { params, packed: &[], offsets: &[], noise: None }
    }

    /// Tokens in the pass.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.offsets.last().map_or(0, |&n| n as usize)
    }

    /// Fills `last` `[n_sequences, d]` with the rows of `x` `[n_tokens, d]` of each sequence's last token; zeros
    /// for an empty sequence.
    pub fn gather_last(&self, d: usize, x: &[f32], last: &mut [f32]) {
        for (last, sequence) in last.chunks_exact_mut(d).zip(self.sequences()) {
            match sequence.is_empty() {
                true => last.fill(0.0),
                false => last.copy_from_slice(&x[(sequence.end - 1) * d..sequence.end * d]),
            }
        }
    }

    /// Token ranges of the sequences.
    pub fn sequences(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.offsets.windows(2).map(|w| w[0] as usize..w[1] as usize)
    }
}

/// Cuts a buffer into pieces from the front.
#[derive(Debug)]
pub struct Carve<'a>(&'a mut [f32]);

impl<'a> Carve<'a> {
    /// Starts with the whole buffer.
    pub fn new(buffer: &'a mut [f32]) -> Self {
        Self(buffer)
    }

    /// The next `n` numbers, with what they held before.
    ///
    /// # Panics
    /// If the plan was too small: `saved_len` and `forward` of a block disagree.
    pub fn take(&mut self, n: usize) -> &'a mut [f32] {
        let (piece, rest) = std::mem::take(&mut self.0).split_at_mut(n);
        self.0 = rest;
        piece
    }

    /// What is left.
    #[must_use]
    pub fn rest(self) -> &'a mut [f32] {
        self.0
    }
}

/// Cuts a buffer that is only read, in the same order as [`Carve`].
#[derive(Debug)]
pub struct CarveRef<'a>(&'a [f32]);

impl<'a> CarveRef<'a> {
    /// Starts with the whole buffer.
    #[must_use]
    pub fn new(buffer: &'a [f32]) -> Self {
        Self(buffer)
    }

    /// The next `n` numbers.
    ///
    /// # Panics
    /// If the plan was too small.
    pub fn take(&mut self, n: usize) -> &'a [f32] {
        let (piece, rest) = self.0.split_at(n);
        self.0 = rest;
        piece
    }
}
