//! One training step: fixed gradient shards side by side, then one update.

use rayon::prelude::*;
use segue_nn::loss::{NegativeSampler, Negatives, SampledLoss, SampledObjective, SoftmaxLoss};
use segue_nn::optim::{Adam, AdamW, RowAdam, clip_factor, square_sum};
use segue_nn::{Carve, Counter, Embedding, Noise, Pass, RowGradient, reduce_shards, simd};

use crate::ModelError;
use crate::sequence::item_features::FeatureRows;
use crate::sequence::network::Network;
use crate::sequence::settings::{Loss, Objective};
use crate::sequence::windows::{Batch, Chunk};

/// The stream of the random numbers of negatives; dropout has others.
pub const NEGATIVES: u64 = 0x6E_6567;

/// Tokens of a shard that pass through the network at one time, so that what is kept for the backward
/// pass stays in the cache of a core: 9 kB per token at d = 64 and 2 blocks.
const CHUNK: usize = 128;

/// Parameters and what the optimisers remember: all that changes from step to step.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// The arena of the network.
    pub params: Vec<f32>,
    /// The item table, and the values of features after it.
    pub table: Embedding,
    /// Moments of the arena.
    pub adam: AdamW,
    /// Moments of the table.
    pub table_adam: TableAdam,
}

/// How the table is updated.
#[derive(Debug, Clone, PartialEq)]
pub enum TableAdam {
    /// Every row has a gradient: full softmax.
    All(AdamW),
    /// Only the rows of the batch: sampled losses.
    Rows(RowAdam),
}

impl State {
    /// Before the first step; the table has `n_rows` rows: items, then values of their features.
    #[must_use]
    pub fn new(network: &Network, objective: &Objective, n_rows: usize, seed: u64) -> Self {
        let t = &objective.training;
        let params = network.layout.init(seed);
        let table = network.new_table(n_rows, seed);
        let adam = Adam { weight_decay: t.weight_decay, ..Adam::default() };
        let for_table = Adam { weight_decay: t.table_decay, ..Adam::default() };
        let table_adam = if objective.loss == Loss::Softmax {
            TableAdam::All(AdamW::new(table.table.len(), for_table))
        } else {
            TableAdam::Rows(RowAdam::new(n_rows, table.d, for_table))
        };
        Self { step: 0, adam: AdamW::new(params.len(), adam), params, table, table_adam }
    }
}

/// The memory of a gradient shard.
#[derive(Debug, Default)]
struct Shard {
    /// Activations and scratch of a chunk.
    buffer: Vec<f32>,
    /// Where the sequences of a chunk begin.
    offsets: Vec<u32>,
    /// `[n_tokens, d]` gradients of the input rows.
    d_input: Vec<f32>,
    /// `[n_targets, d]` gradients of the target rows, for sampled losses.
    d_target: Vec<f32>,
    /// `[k, d]` gradients of the negatives, for sampled losses.
    d_negative: Vec<f32>,
    /// `[n_labels, d]` gradients of the rows whose completion is told.
    d_label: Vec<f32>,
    loss: f64,
    completion_loss: f64,
}

/// Memory and constants of the steps of a training; holds nothing that a resumed training needs.
#[derive(Debug)]
pub struct Stepper {
    network: Network,
    objective: Objective,
    seed: u64,
    sampler: Option<NegativeSampler>,
    features: FeatureRows,
    /// Vectors of the items, if they are sums: those of the step at hand.
    sums: Embedding,
    /// Rows of values, one list per kind and part of the gradient.
    value_rows: Vec<Vec<u32>>,
    /// `[content rows, d]` gradients of the rows of content.
    d_content: Vec<f32>,
    /// `[n_rows, d]`, for the full softmax with features.
    d_whole: Vec<f32>,
    /// The tokens of each shard; the caller fills them.
    pub batches: Vec<Batch>,
    shards: Vec<Shard>,
    /// Weights of the step at hand as products read them.
    packed: Vec<f32>,
    /// `[n_shards, params]`.
    grads: Vec<f32>,
    /// `[n_shards, n_items, d]`, for the full softmax.
    d_table: Vec<f32>,
    rows: RowGradient,
    negatives: Negatives,
    negative_rows: Vec<f32>,
    targets: Vec<u32>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean loss of the targets.
    pub loss: f64,
    /// Input tokens.
    pub n_tokens: usize,
}

impl Stepper {
    /// Plans for `counts.len()` items, where `counts` are plays in training.
    #[must_use]
    pub fn new(network: &Network, objective: &Objective, counts: &[u64], seed: u64) -> Self {
        let n = objective.training.shards;
        let sampled = objective.loss != Loss::Softmax;
        let negatives = &objective.negatives;
        Self {
            network: network.clone(),
            objective: *objective,
            seed,
            sampler: sampled.then(|| NegativeSampler::new(counts, negatives.popular, negatives.in_batch)),
            sums: Embedding { table: Vec::new(), d: network.config.d },
            value_rows: Vec::new(),
            d_content: Vec::new(),
            d_whole: Vec::new(),
            features: FeatureRows::none(counts.len()),
            batches: vec![Batch::default(); n],
            shards: (0..n).map(|_| Shard::default()).collect(),
            packed: Vec::new(),
            grads: vec![0.0; n * network.layout.len()],
            d_table: if sampled { Vec::new() } else { vec![0.0; n * counts.len() * network.config.d] },
            rows: RowGradient::default(),
            negatives: Negatives::default(),
            negative_rows: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// The same for items whose vectors are sums.
    #[must_use]
    pub fn with_features(mut self, features: FeatureRows) -> Self {
        if !features.is_empty() {
            self.sums.table.resize(features.n_items() * self.sums.d, 0.0);
        }
        Self { features, ..self }
    }

    /// One step on the batches at hand with learning rate `lr`. If a number stops being finite, `state`
    /// stays as it was.
    ///
    /// # Errors
    /// [`ModelError::Diverged`] names the step and the parameter group.
    pub fn step(&mut self, state: &mut State, lr: f32) -> Result<StepReport, ModelError> {
        let d = self.network.config.d;
        let n_targets: usize = self.batches.iter().map(|b| b.target.len()).sum();
        let n_tokens: usize = self.batches.iter().map(|b| b.item.len()).sum();
        let n_labels = match self.network.completion() {
            Some(_) => self.batches.iter().map(|b| b.label.len()).sum::<usize>().max(1),
            None => 1,
        };
        let weight = self.network.config.completion.weight;
        let scale = 1.0 / n_targets.max(1) as f32;
        let label_scale = weight / n_labels as f32;
        let k = self.draw_negatives(state);
        let mut sums = std::mem::replace(&mut self.sums, Embedding { table: Vec::new(), d });
        let table = self.vectors(&state.table, &mut sums);
        self.negative_rows.resize(k * d, 0.0);
        table.gather(&self.negatives.ids, 1.0, &mut self.negative_rows);
        let sampled = self.sampled_loss(k, table.n_rows());

        self.network.layout.pack(&state.params, &mut self.packed);
        let (network, seed) = (&self.network, self.seed);
        let weights = Pass { packed: &self.packed, ..Pass::of(&state.params) };
        let (negatives, negative_rows) = (&self.negatives, &self.negative_rows);
        let n_params = network.layout.len();
        let table_len = if sampled.is_some() { 0 } else { table.table.len() };
        // `chunks_mut` of an empty slice has no chunks: shards without a dense table get an empty one.
        let mut tables: Vec<&mut [f32]> = if table_len == 0 {
            self.shards.iter().map(|_| &mut [][..]).collect()
        } else {
            self.d_table.chunks_mut(table_len).collect()
        };
        let work =
            self.shards.par_iter_mut().zip(&self.batches).zip(self.grads.par_chunks_mut(n_params.max(1)));
        work.zip(&mut tables).enumerate().for_each(|(index, (((shard, batch), grads), d_table))| {
            let noise = Noise::new(seed, state.step, index as u64);
            let loss = match &sampled {
                Some(loss) => LossPart::Sampled { loss, negatives, negative_rows },
                None => LossPart::Whole { d_table },
            };
            shard.run(network, weights, noise, batch, table, loss, [scale, label_scale], grads);
        });
        drop(tables);

        let of_shards = |loss: fn(&Shard) -> f64| self.shards.iter().map(loss).sum::<f64>();
        let loss = of_shards(|s| s.loss) / n_targets.max(1) as f64
            + f64::from(weight) * of_shards(|s| s.completion_loss) / n_labels as f64;
        reduce_shards(&mut self.grads, n_params);
        let inputs = self.shards.iter().zip(&self.batches).map(|(s, b)| (&b.item[..], &s.d_input[..]));
        // Without a second output there are no gradients of labels.
        let labels = self.shards.iter().zip(&self.batches).map(|(s, b)| {
            let rows = if s.d_label.is_empty() { &[][..] } else { &b.label_item[..] };
            (rows, &s.d_label[..])
        });
        let table_squares = if sampled.is_some() {
            let targets =
                self.shards.iter().zip(&self.batches).map(|(s, b)| (&b.target[..], &s.d_target[..]));
            let drawn = self.shards.iter().map(|s| (&negatives.ids[..], &s.d_negative[..]));
            let parts: Vec<(&[u32], &[f32])> = inputs.chain(targets).chain(drawn).chain(labels).collect();
            // What an item's vector should be is what each of its terms should be.
            self.value_rows.resize(self.features.n_kinds() * parts.len(), Vec::new());
            for (at, rows) in self.value_rows.iter_mut().enumerate() {
                rows.clear();
                rows.extend(self.features.rows_of(at / parts.len(), parts[at % parts.len()].0));
            }
            self.features.content_gradient(parts.iter().copied(), d, &mut self.d_content);
            let content = (self.features.content_rows(), &self.d_content[..]);
            let values =
                self.value_rows.iter().zip(parts.iter().cycle()).map(|(rows, part)| (&rows[..], part.1));
            self.rows.sum(d, parts.iter().copied().chain(values).chain([content]));
            square_sum(&self.rows.values)
        } else {
            reduce_shards(&mut self.d_table, table_len);
            self.rows.sum(d, inputs.chain(labels));
            for (&row, g) in self.rows.rows.iter().zip(self.rows.values.chunks_exact(d)) {
                simd::add(g, &mut self.d_table[row as usize * d..(row as usize + 1) * d]);
            }
            if !self.features.is_empty() {
                self.d_whole.resize(state.table.table.len(), 0.0);
                self.features.spread(&self.d_table[..table_len], d, &mut self.d_whole);
            }
            square_sum(self.d_dense(table_len))
        };
        self.sums = sums;
        let grads = &self.grads[..n_params];
        let squares = square_sum(grads) + table_squares;
        if !(loss.is_finite() && squares.is_finite()) {
            return Err(self.diverged(state, loss, table_squares));
        }
        let clip = clip_factor(squares, self.objective.training.clip);
        state.step += 1;
        state.adam.step(&self.network.layout, &mut state.params, grads, lr, clip);
        match &mut state.table_adam {
            TableAdam::All(adam) => adam.step_all(&mut state.table.table, self.d_dense(table_len), lr, clip),
            TableAdam::Rows(adam) => adam.step(&mut state.table, &self.rows, lr, clip),
        }
        Ok(StepReport { loss, n_tokens })
    }

    /// Draws the negatives of this step, if the loss has any; their number.
    fn draw_negatives(&mut self, state: &State) -> usize {
        let Some(sampler) = &self.sampler else { return 0 };
        let k = self.objective.negatives.count;
        self.targets.clear();
        self.targets.extend(self.batches.iter().flat_map(|b| &b.target));
        let stream = Counter::new(self.seed, NEGATIVES).fork(state.step);
        sampler.draw(stream, k, &self.targets, &mut self.negatives);
        k
    }

    /// The vectors of the items: the table itself, or sums, of which those of this step are brought up to
    /// date.
    fn vectors<'a>(&self, table: &'a Embedding, sums: &'a mut Embedding) -> &'a Embedding {
        if self.features.is_empty() {
            return table;
        }
        if self.sampler.is_none() {
            *sums = self.features.sums(table);
        } else {
            let batch = self.batches.iter().flat_map(|b| b.item.iter().chain(&b.target).chain(&b.label_item));
            self.features.refresh(table, batch.chain(&self.negatives.ids).copied(), sums);
        }
        sums
    }

    /// The gradient of the whole table under the full softmax.
    fn d_dense(&self, table_len: usize) -> &[f32] {
        if self.features.is_empty() { &self.d_table[..table_len] } else { &self.d_whole }
    }

    fn sampled_loss(&self, k: usize, n_items: usize) -> Option<SampledLoss> {
        let negatives = &self.objective.negatives;
        let objective = match self.objective.loss {
            Loss::Softmax => return None,
            Loss::SampledSoftmax => SampledObjective::Softmax { log_q: negatives.log_q },
            Loss::Gbce => SampledObjective::gbce(negatives.calibration, k, n_items),
            Loss::Bce => SampledObjective::Bce { beta: 1.0 },
        };
        Some(SampledLoss { objective, k, d: self.network.config.d })
    }

    /// Finds what is not finite: weights first, since they make everything else so.
    fn diverged(&self, state: &State, loss: f64, table_squares: f64) -> ModelError {
        let layout = &self.network.layout;
        let weights = layout.check_finite("weight", &state.params);
        let grads = layout.check_finite("gradient", &self.grads[..layout.len()]);
        let what = if !simd::all_finite(&state.table.table) {
            "weight of parameter group `item table` is not finite".to_owned()
        } else if let Err(e) = weights.and(grads) {
            e.to_string()
        } else if !table_squares.is_finite() {
            "gradient of parameter group `item table` is not finite".to_owned()
        } else {
            format!("the loss is {loss}")
        };
        ModelError::Diverged { model: self.objective.model, step: state.step, what }
    }
}

/// The loss of a shard and where its gradient of the table goes.
enum LossPart<'a, 'b> {
    Whole { d_table: &'a mut &'b mut [f32] },
    Sampled { loss: &'a SampledLoss, negatives: &'a Negatives, negative_rows: &'a [f32] },
}

impl Shard {
    /// Forward pass, loss and backward pass of a shard, a chunk of its sequences at a time.
    fn run(
        &mut self,
        network: &Network,
        weights: Pass<'_>,
        noise: Noise,
        batch: &Batch,
        table: &Embedding,
        mut loss: LossPart<'_, '_>,
        scales: [f32; 2],
        grads: &mut [f32],
    ) {
        let d = table.d;
        self.d_input.resize(batch.item.len() * d, 0.0);
        match &mut loss {
            LossPart::Whole { d_table } => d_table.fill(0.0),
            LossPart::Sampled { loss, .. } => {
                self.d_target.resize(batch.target.len() * d, 0.0);
                self.d_negative.clear();
                self.d_negative.resize(loss.k * d, 0.0);
            }
        }
        grads.fill(0.0);
        (self.loss, self.completion_loss) = (0.0, 0.0);
        self.d_label.resize(network.completion().map_or(0, |_| batch.label.len() * d), 0.0);
        let mut first = 0;
        for index in 0_u64.. {
            let Some(chunk) = batch.chunk(first, CHUNK) else { break };
            first = chunk.sequences.end;
            let begin = chunk.tokens.start as u32;
            self.offsets.clear();
            self.offsets.extend(batch.offsets[chunk.sequences.start..=first].iter().map(|&at| at - begin));
            // Moved out and back: the offsets are read while the other fields are written.
            let offsets = std::mem::take(&mut self.offsets);
            let pass = Pass { offsets: &offsets, noise: Some(noise.part(index)), ..weights };
            self.chunk(network, &pass, batch, &chunk, table, &mut loss, scales, grads);
            self.offsets = offsets;
        }
    }

    fn chunk(
        &mut self,
        network: &Network,
        pass: &Pass<'_>,
        batch: &Batch,
        chunk: &Chunk,
        table: &Embedding,
        loss: &mut LossPart<'_, '_>,
        [scale, label_scale]: [f32; 2],
        grads: &mut [f32],
    ) {
        let d = table.d;
        let (n, n_targets) = (chunk.tokens.len(), chunk.targets.len());
        let completion = network.completion();
        let n_labels = completion.map_or(0, |_| chunk.labels.len());
        let loss_scratch = match loss {
            LossPart::Whole { .. } => SoftmaxLoss { n_items: table.n_rows(), d }.scratch_len(),
            LossPart::Sampled { loss, .. } => loss.scratch_len(),
        };
        let saved_len = network.saved_len(pass.offsets);
        let label_scratch = completion.map_or(0, |head| head.scratch_len(n_labels));
        let scratch_len = network.scratch_len(pass.offsets).max(loss_scratch).max(label_scratch);
        let needed = saved_len + scratch_len + n * d + 2 * n_targets * d + 3 * n_labels * d;
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0.0);
        }
        let mut carve = Carve::new(&mut self.buffer);
        let saved = carve.take(saved_len);
        let d_hidden = carve.take(n * d);
        let h = carve.take(n_targets * d);
        let dh = carve.take(n_targets * d);
        let [label_h, label_item, label_dh] = [(); 3].map(|()| carve.take(n_labels * d));
        let scratch = carve.take(scratch_len);
        let targets = &batch.target[chunk.targets.clone()];
        // The rows of the chunk that predict each target, and each completion.
        let first = chunk.tokens.start;
        let place = |&token: &u32| (token as usize - first) * d..(token as usize - first + 1) * d;
        let places = batch.target_token[chunk.targets.clone()].iter().map(place);
        let label_places = batch.label_token[chunk.labels.clone()].iter().map(place);
        let events = batch.events(chunk.tokens.clone());

        network.forward(pass, events, table, saved, scratch);
        let hidden = network.hidden(saved, n);
        for (place, h) in places.clone().zip(h.chunks_exact_mut(d)) {
            h.copy_from_slice(&hidden[place]);
        }
        self.loss += match loss {
            LossPart::Whole { d_table } => {
                let loss = SoftmaxLoss { n_items: table.n_rows(), d };
                loss.forward_backward(h, targets, &table.table, scale, scratch, dh, d_table)
            }
            LossPart::Sampled { loss, negatives, negative_rows } => loss.forward_backward(
                h,
                targets,
                table,
                negatives,
                negative_rows,
                scale,
                scratch,
                dh,
                &mut self.d_target[chunk.targets.start * d..chunk.targets.end * d],
                &mut self.d_negative,
            ),
        };
        d_hidden.fill(0.0);
        for (place, dh) in places.zip(dh.chunks_exact(d)) {
            d_hidden[place].copy_from_slice(dh);
        }
        if let Some(head) = completion {
            for (place, h) in label_places.clone().zip(label_h.chunks_exact_mut(d)) {
                h.copy_from_slice(&hidden[place]);
            }
            table.gather(&batch.label_item[chunk.labels.clone()], 1.0, label_item);
            self.completion_loss += head.forward_backward(
                pass.params,
                label_h,
                label_item,
                &batch.label[chunk.labels.clone()],
                label_scale,
                scratch,
                label_dh,
                &mut self.d_label[chunk.labels.start * d..chunk.labels.end * d],
                grads,
            );
            for (place, dh) in label_places.zip(label_dh.chunks_exact(d)) {
                simd::add(dh, &mut d_hidden[place]);
            }
        }
        let d_input = &mut self.d_input[chunk.tokens.start * d..chunk.tokens.end * d];
        network.backward(pass, events, saved, d_hidden, d_input, scratch, grads);
    }
}
