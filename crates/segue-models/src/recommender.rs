//! The trait of every retrieval model: history in, best items with scores out.

use rayon::prelude::*;
use segue_data::Sequence;
use segue_types::TimestampMs;

use crate::vectors::Vectors;
use crate::{FitInput, ModelError, ModelParts};

/// What a model may know of the request. Item rows are rows of the model's own catalogue.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a> {
    /// The listener's plays the system knows, oldest first.
    pub history: Sequence<'a>,
    /// Moment of the request; absent for undated data.
    pub now: Option<TimestampMs>,
    /// Market of the request.
    pub market: Option<&'a str>,
    /// Plan of the listener.
    pub plan: Option<&'a str>,
    /// First year of the five in which the listener was born.
    pub birth_year: Option<i32>,
    /// The item that plays now, for Now Playing. It is also the last thing models condition on.
    pub current: Option<u32>,
}

impl Query<'_> {
    /// A query that knows only the item history.
    #[must_use]
    pub fn of_items(item: &[u32]) -> Query<'_> {
        Query { history: Sequence { item, ..Sequence::default() }, ..Query::default() }
    }

    /// What models condition on, newest first: `current` (unless it is already the last of the
    /// history), then the history backwards, without rows at or above `n_items`. Yields
    /// `(history_idx, item)`; `current` has the index after the last play.
    pub fn newest_first(&self, n_items: u32) -> impl Iterator<Item = (usize, u32)> + '_ {
        let items = self.history.item;
        self.current
            .filter(|c| items.last() != Some(c))
            .map(|item| (items.len(), item))
            .into_iter()
            .chain(items.iter().copied().enumerate().rev())
            .filter(move |&(_, item)| item < n_items)
    }
}

/// Which items may be returned: a bitmap over item rows plus a seen-list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ItemFilter<'a> {
    /// Rows never to return, sorted ascending. Usually the history or hidden items.
    pub exclude: &'a [u32],
    /// If given, only rows whose bit is set may be returned; bit `r` is `allow[r / 64] >> (r % 64)`.
    pub allow: Option<&'a [u64]>,
}

impl ItemFilter<'_> {
    /// Whether `item` may be returned.
    #[must_use]
    pub fn admits(&self, item: u32) -> bool {
        self.exclude.binary_search(&item).is_err() && self.allows(item)
    }

    /// Whether the bitmap, if there is one, holds `item`.
    #[must_use]
    pub fn allows(&self, item: u32) -> bool {
        self.allow
            .is_none_or(|bits| bits.get(item as usize / 64).is_some_and(|word| word >> (item % 64) & 1 == 1))
    }
}

/// An item row with a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Row in the model's catalogue.
    pub item: u32,
    /// Higher is better; always finite.
    pub score: f32,
}

/// How much one play of the history contributed to a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution {
    /// Index in the history of the query; its length stands for [`Query::current`].
    pub history_idx: usize,
    /// Share of the score, in the score's own unit.
    pub amount: f32,
}

/// A retrieval model over one catalogue.
///
/// # Contract
/// - `recommend` clears `out` and fills it with at most `k` items that the filter admits, best
///   first, no item twice, every score finite. Fewer than `k` means the model has no more to say.
/// - Ties are broken by the rule the model's page states (item row ascending unless said otherwise).
/// - Histories may be empty, repeat items, and be longer than what the model looks at; item rows at
///   or above [`n_items`](Recommender::n_items) are ignored.
/// - Deterministic: same model, same query, same answer, on any thread.
pub trait Recommender: Send + Sync {
    /// Registered kind, such as `markov`.
    fn kind(&self) -> &'static str;

    /// Number of item rows of its catalogue.
    fn n_items(&self) -> u32;

    /// Fills `out` with the best `k` items for the query.
    ///
    /// # Errors
    /// [`ModelError::NeedsDates`] or another variant if the query lacks what the model needs.
    fn recommend(
        &self,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError>;

    /// The lists of many queries, a filter each: those that [`recommend`](Self::recommend) gives, in parallel. Models
    /// with a faster way to answer many at once override it.
    ///
    /// # Errors
    /// As `recommend`, for the first query in order that fails.
    ///
    /// # Panics
    /// If there are not as many filters as queries.
    fn recommend_batch(
        &self,
        queries: &[Query<'_>],
        k: usize,
        filters: &[ItemFilter<'_>],
    ) -> Result<Vec<Vec<Scored>>, ModelError> {
        assert_eq!(queries.len(), filters.len(), "a filter for each query");
        let answers: Vec<Result<Vec<Scored>, ModelError>> = queries
            .par_iter()
            .zip(filters)
            .map(|(query, filter)| {
                let mut out = Vec::new();
                self.recommend(query, k, filter, &mut out).map(|()| out)
            })
            .collect();
        answers.into_iter().collect()
    }

    /// The model with the plays of `input` added that became known at or after `from`: bit by bit the model that
    /// a fit on all of `input` gives, if this one was fitted on what was known before. `input` holds earlier plays
    /// too, of which only those next to new ones are read; item `i` of this model is row `rows[i]` there.
    ///
    /// # Errors
    /// [`ModelError::CannotAdd`] if the model is not one of counts that add up, or has not kept them;
    /// [`ModelError::NeedsDates`] if the plays have none; [`ModelError::Shape`] if `rows` is no map into the
    /// catalogue of `input`.
    fn add_plays(
        &self,
        input: &FitInput<'_>,
        from: TimestampMs,
        rows: &[u32],
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let _ = (input, from, rows);
        Err(ModelError::CannotAdd { model: self.kind() })
    }

    /// Its settings and arrays, from which the registry rebuilds a model that answers the same.
    fn parts(&self) -> ModelParts;

    /// Its vectors of listeners and items; `None` if scores are no products of two vectors.
    fn vectors(&self) -> Option<&dyn Vectors> {
        None
    }

    /// Items most like `item`, best first; empty if the model knows no such notion.
    fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        let _ = (item, k);
        Vec::new()
    }

    /// Which plays of the history made `item` score; empty if the score does not decompose.
    fn explain(&self, query: &Query<'_>, item: u32) -> Vec<Contribution> {
        let _ = (query, item);
        Vec::new()
    }
}
