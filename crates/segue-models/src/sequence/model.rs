//! A trained network as a retrieval model: encode the history, score every item, keep the best.

use std::cell::RefCell;
use std::ops::Range;

use segue_data::Sequence;
use segue_nn::params::Group;
use segue_nn::{Embedding, Param, Pass, simd};

use crate::item_scan::{CHUNK, best, score_f32};
use crate::sequence::network::{Events, Network};
use crate::sequence::user_features::code_of_query;
use crate::sequence::windows::Batch;
use crate::top_k::TopK;
use crate::{ItemFilter, ModelError, Query, Scored, Tensors, Vectors};

/// Weights that answer. Items of which training knew nothing are never recommended: neither a play nor,
/// where features are summed, a value that a play holds.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceModel {
    network: Network,
    params: Vec<f32>,
    /// Weights as products read them.
    packed: Vec<f32>,
    table: Embedding,
    /// `[n_items]` whether the item's vector means something.
    trained: Vec<bool>,
}

impl SequenceModel {
    /// Puts weights together.
    ///
    /// # Panics
    /// If the lengths do not fit the network.
    #[must_use]
    pub fn new(network: Network, params: Vec<f32>, table: Embedding, trained: Vec<bool>) -> Self {
        assert_eq!(params.len(), network.layout.len(), "parameters of the network");
        assert_eq!(table.n_rows(), trained.len(), "rows of the item table");
        let mut packed = Vec::new();
        network.layout.pack(&params, &mut packed);
        Self { network, params, packed, table, trained }
    }

    /// Rebuilds it from its arrays.
    ///
    /// # Errors
    /// [`ModelError::Artifact`] if an array is missing, of another shape, not finite, or not asked for.
    pub fn load(network: Network, mut tensors: Tensors) -> Result<Self, ModelError> {
        let mut params = vec![0.0; network.layout.len()];
        for group in network.layout.groups() {
            let values = tensors.take_finite_shape(&group.name, &shape(group))?;
            params[group.param.range()].copy_from_slice(&values);
        }
        let trained: Vec<bool> = tensors.take::<u8>("item.trained")?.into_iter().map(|t| t != 0).collect();
        let d = network.config.d;
        let table = tensors.take_finite_shape("item.weight", &[trained.len(), d])?;
        tensors.finish()?;
        Ok(Self::new(network, params, Embedding { table, d }, trained))
    }

    /// Its arrays in PyTorch's shapes: matrices `[n_out, n_in]` and vectors of the parameter groups,
    /// the item table `[n_items, d]`, and which items were trained `[n_items]`.
    #[must_use]
    pub fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::new();
        for group in self.network.layout.groups() {
            tensors = tensors.with_shape(&group.name, &shape(group), group.param.of(&self.params));
        }
        let trained: Vec<u8> = self.trained.iter().map(|&t| u8::from(t)).collect();
        let table = [self.trained.len(), self.table.d];
        tensors.with_shape("item.weight", &table, &self.table.table).with("item.trained", &trained)
    }

    /// Rows of the catalogue.
    #[must_use]
    pub fn n_items(&self) -> u32 {
        self.trained.len() as u32
    }

    /// Whether an item was in a training play. Others are never recommended.
    ///
    /// # Panics
    /// If there is no such item.
    #[must_use]
    pub fn is_trained(&self, item: u32) -> bool {
        self.trained[item as usize]
    }

    /// Vectors of all items `[n_items, d]`.
    #[must_use]
    pub fn item_vectors(&self) -> &Embedding {
        &self.table
    }

    /// The network, for its configuration and its parameter groups.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The arena of the network's parameters, as its layout says.
    #[must_use]
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// The listener's vector `[d]`: what the items' vectors are multiplied with. `None` if the model
    /// knows no play of the history.
    #[must_use]
    pub fn user_vector(&self, query: &Query<'_>) -> Option<Vec<f32>> {
        let history = &query.history;
        let newest = query.newest_first(self.n_items()).take(self.network.config.max_history);
        let (mut at, mut item): (Vec<usize>, Vec<u32>) = newest.unzip();
        if item.is_empty() {
            return None;
        }
        at.reverse();
        item.reverse();
        let action: Vec<u8> = at.iter().map(|&at| history.action.get(at).copied().unwrap_or(0)).collect();
        let context: Vec<u8> = at.iter().map(|&at| history.context.get(at).copied().unwrap_or(0)).collect();
        let mut moments = Vec::new();
        if let Some(&last) = history.occurred_at.last() {
            // Without a moment of the request it is that of the newest event; what plays now began then too.
            let now = query.now.map_or(last, |now| now.0);
            moments.extend(at.iter().map(|&at| history.occurred_at.get(at).copied().unwrap_or(now)));
            moments.push(now);
        }
        let mut batch = Batch::default();
        let plays = Sequence { item: &item, action: &action, context: &context, ..Sequence::default() };
        if !self.network.config.user_features.are_off() {
            batch.begin(code_of_query(query), plays, &moments);
        }
        batch.push(plays, &moments);
        let events = batch.events(0..batch.item.len());
        let pass = Pass { params: &self.params, packed: &self.packed, offsets: &batch.offsets, noise: None };
        Some(encode_last(&self.network, &pass, &self.table, events))
    }

    /// Vectors of many histories, each its own `Query`, in order; `None` as in
    /// [`user_vector`](Self::user_vector).
    #[must_use]
    pub fn user_vectors(&self, queries: &[Query<'_>]) -> Vec<Option<Vec<f32>>> {
        use rayon::prelude::*;
        queries.par_iter().map(|query| self.user_vector(query)).collect()
    }

    /// See [`Recommender::recommend`](crate::Recommender::recommend).
    pub fn recommend(&self, query: &Query<'_>, k: usize, filter: &ItemFilter<'_>, out: &mut Vec<Scored>) {
        out.clear();
        if k == 0 {
            return;
        }
        if let Some(user) = self.user_vector(query) {
            let admits = |item: u32| self.trained[item as usize] && filter.admits(item);
            let (n, table, d) = (self.table.n_rows(), &self.table.table, self.table.d);
            let score = |rows: Range<usize>, scores: &mut [f32]| score_f32(table, d, &user, rows, scores);
            match self.network.completion().filter(|_| self.network.config.completion.in_score) {
                None => best(n, k, admits, out, score),
                Some(head) => {
                    let vector = head.vector(&self.params, &user);
                    best(n, k, admits, out, |rows: Range<usize>, scores: &mut [f32]| {
                        let mut log_p = [0.0; CHUNK];
                        let log_p = &mut log_p[..rows.len()];
                        let vectors = &table[rows.start * d..rows.end * d];
                        head.log_probabilities(&self.params, &vector, vectors, log_p);
                        score(rows, scores);
                        simd::add(log_p, scores);
                    });
                }
            }
        }
    }

    /// The probability that the listener completes each item if it comes next; `None` without this output, or if
    /// the model knows no play of the history.
    ///
    /// # Panics
    /// If there is no such item.
    #[must_use]
    pub fn completion(&self, query: &Query<'_>, items: &[u32]) -> Option<Vec<f32>> {
        let head = self.network.completion()?;
        let vector = head.vector(&self.params, &self.user_vector(query)?);
        let mut out = vec![0.0; items.len()];
        for (out, &item) in out.chunks_exact_mut(1).zip(items) {
            head.log_probabilities(&self.params, &vector, self.table.row(item), out);
            out[0] = out[0].exp();
        }
        Some(out)
    }

    /// Items whose vectors point most nearly the same way (cosine), best first.
    #[must_use]
    pub fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        let mut out = Vec::new();
        if item < self.n_items() && self.trained[item as usize] {
            let row = self.table.row(item);
            let scale = 1.0 / norm(row).max(f32::MIN_POSITIVE);
            let unit: Vec<f32> = row.iter().map(|x| x * scale).collect();
            let mut top = TopK::default();
            top.reset(k);
            for other in (0..self.n_items()).filter(|&o| o != item && self.trained[o as usize]) {
                let row = self.table.row(other);
                top.offer(
                    simd::vectorised(
                        #[inline(always)]
                        || simd::dot(&unit, row),
                    ) / norm(row).max(f32::MIN_POSITIVE),
                    other,
                );
            }
            top.finish(|item| item, &mut out);
        }
        out
    }
}

impl Vectors for SequenceModel {
    fn size(&self) -> usize {
        self.table.d
    }

    fn item_vector(&self, item: u32, out: &mut Vec<f32>) -> bool {
        let is_known = self.trained.get(item as usize).is_some_and(|&t| t);
        if is_known {
            out.extend_from_slice(self.table.row(item));
        }
        is_known
    }

    fn user_vector(&self, query: &Query<'_>, out: &mut Vec<f32>) -> bool {
        SequenceModel::user_vector(self, query).map(|vector| out.extend(vector)).is_some()
    }
}

/// The shape of a group's array: weight decay applies to matrices and to nothing else.
fn shape(group: &Group) -> Vec<usize> {
    let Param { rows, cols, .. } = group.param;
    if group.decays { vec![rows, cols] } else { vec![cols] }
}

fn norm(x: &[f32]) -> f32 {
    simd::vectorised(
        #[inline(always)]
        || simd::dot(x, x),
    )
    .sqrt()
}

/// The hidden vector of each sequence's last event: `[n_sequences, d]`; zeros for an empty sequence.
#[must_use]
pub fn encode_last(network: &Network, pass: &Pass<'_>, table: &Embedding, events: Events<'_>) -> Vec<f32> {
    let mut out = vec![0.0; (pass.offsets.len() - 1) * network.config.d];
    let needed = network.last_len(pass.offsets);
    SPACE.with_borrow_mut(|space| {
        if space.len() < needed {
            space.resize(needed, 0.0);
        }
        network.forward_last(pass, events, table, &mut space[..needed], &mut out);
    });
    out
}

thread_local! {
    /// Space of [`encode_last`]: fresh pages for each request would take longer than a layer does.
    static SPACE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}
