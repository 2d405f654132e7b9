//! Queries taken together by attention: how their weights stand.

use crate::simd::LANES;

/// Queries taken at once; a multiple of [`LANES`].
pub(crate) const QUERY_BLOCK: usize = 32;

/// Queries `first..last` of a sequence; they look at keys `0..last`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryBlock {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl QueryBlock {
    /// The blocks of a sequence.
    pub(crate) fn of(len: usize) -> impl Iterator<Item = Self> {
        (0..len).step_by(QUERY_BLOCK).map(move |first| Self { first, last: len.min(first + QUERY_BLOCK) })
    }

    pub(crate) fn n_queries(self) -> usize {
        self.last - self.first
    }

    /// Numbers from key to key: whole registers. Those of queries that do not exist mean nothing.
    pub(crate) fn width(self) -> usize {
        self.n_queries().next_multiple_of(LANES)
    }

    /// Numbers of the block's weights.
    pub(crate) fn len(self) -> usize {
        self.last * self.width()
    }

    /// Of each register of queries: its first query, and the keys that one of them sees.
    #[inline(always)]
    pub(crate) fn registers(self) -> impl Iterator<Item = (usize, usize)> {
        (self.first..self.last).step_by(LANES).map(move |query| (query, self.last.min(query + LANES)))
    }
}
