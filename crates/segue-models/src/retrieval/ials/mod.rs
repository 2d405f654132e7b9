//! iALS: vectors of listeners and items whose products say what is played.
//!
//! Minimises, by turns over users `w_u` and items `h_i`,
//! `Σ_(u,i)∈S c_ui (w_u·h_i − 1)² + a Σ_u Σ_i (w_u·h_i)² + Σ_u r(|I_u|, |I|) ‖w_u‖² + Σ_i r(|U_i|, |U|) ‖h_i‖²`
//! with `S` the pairs that were played, `c` their term frequency, `a` the `unobserved_weight`, and
//! `r(n, N) = l2 · (n + a N)^frequency_scaling`: vectors with more plays are held back more.
//!
//! Only item vectors are kept. A listener is *folded in* when asked: the minimum for their history, in closed form
//! (`factors²` operations per item of the history and `factors³ / 6`), so a play counts at once.
//! `score(a | h) = w·h_a`; ties by item row. Needs no order.
//!
//! With `frequency_scaling = 0` and binary plays the optimum is that of `benfred/implicit` with `alpha = c` and
//! `regularization = λ` at `unobserved_weight = 1 / (c − 1)` and `l2 = λ / c`, up to one factor on all vectors.
//!
//! Source: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008; Rendle et al.,
//! "Revisiting the Performance of iALS on Item Recommendation Benchmarks", RecSys 2022 (the regulariser); Takács et al.,
//! "Applications of the conjugate gradient method for implicit feedback collaborative filtering", RecSys 2011; Rendle et
//! al., "iALS++: Speeding up Matrix Factorization with Subspace Optimization", 2021 (blocks).

mod solver;

use std::cell::RefCell;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use solver::Solver;

use self::solver::{Row, Scratch, System};
use super::counts::Targets;
use super::factors::{Factors, padded};
use super::interactions::{Interactions, Reading, RowsOf, TermFrequency};
use super::item_model::check_setting;
use super::kernel::check_history;
use crate::linalg::gram::gram;
use crate::linalg::tile::ROWS;
use crate::linalg::vector::dot;
use crate::sparse::Csr;
use crate::{
    Contribution, FitInput, ItemFilter, Model, ModelError, ModelParts, Query, Recommender, Scored, Tensors, Vectors,
};

/// Settings of [`Ials`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IalsConfig {
    /// Numbers per vector, 1 to 2048. Default 64.
    pub factors: usize,
    /// Passes over both sides, at least 1. Default 16.
    pub iterations: usize,
    /// `a`: weight of every pair, played or not, above 0. Default 0.1.
    pub unobserved_weight: f32,
    /// Weight of the regulariser, above 0. Default 0.003.
    pub l2: f32,
    /// Exponent of the regulariser: 0 holds all vectors alike, 1 by their plays. Default 1.
    pub frequency_scaling: f32,
    /// How systems are solved while fitting. Default `auto`.
    pub solver: Solver,
    /// Steps of `cg` per system, at least 1. Default 3.
    pub cg_steps: usize,
    /// Coordinates in a block of `block`, at least 1; rounded up to a multiple of 32. Default 64.
    pub block: usize,
    /// What plays of an item amount to. Default `binary`.
    pub tf: TermFrequency,
    /// Newest plays looked at when asked, 1 to 1000. Default 200.
    pub max_history: usize,
    /// Items per user that are learnt from, at least 1: the newest (of profiles, the most played). Default 2,000.
    pub max_user_items: usize,
    /// Which plays count. Default `wanted`.
    pub targets: Targets,
}

impl Default for IalsConfig {
    fn default() -> Self {
        Self {
            factors: 64,
            iterations: 16,
            unobserved_weight: 0.1,
            l2: 0.003,
            frequency_scaling: 1.0,
            solver: Solver::default(),
            cg_steps: 3,
            block: 64,
            tf: TermFrequency::default(),
            max_history: 200,
            max_user_items: 2000,
            targets: Targets::default(),
        }
    }
}

impl IalsConfig {
    fn check(&self) -> Result<(), ModelError> {
        let kind = Ials::KIND;
        check_history(kind, self.max_history)?;
        let rule = "it is the length of a vector, 1 to 2048";
        check_setting(kind, (1..=2048).contains(&self.factors), "factors", self.factors, rule)?;
        for (setting, n) in [
            ("iterations", self.iterations),
            ("cg_steps", self.cg_steps),
            ("block", self.block),
            ("max_user_items", self.max_user_items),
        ] {
            check_setting(kind, n >= 1, setting, n, "it is a number of something, at least 1")?;
        }
        for (setting, value) in [("unobserved_weight", self.unobserved_weight), ("l2", self.l2)] {
            let good = value.is_finite() && value > 0.0;
            check_setting(kind, good, setting, value, "it is a weight in the loss, above 0")?;
        }
        let exponent = self.frequency_scaling;
        let rule = "it is the exponent of a number of plays, 0 or more";
        check_setting(kind, exponent.is_finite() && exponent >= 0.0, "frequency_scaling", exponent, rule)
    }

    /// The regulariser of a vector with `n` entries of `n_other` there could be.
    fn l2_of(&self, n: usize, n_other: usize) -> f32 {
        let plays = n as f64 + f64::from(self.unobserved_weight) * n_other as f64;
        (f64::from(self.l2) * plays.powf(f64::from(self.frequency_scaling))) as f32
    }
}

/// Both sides while they are being fitted.
pub struct Factorization<'a> {
    config: &'a IalsConfig,
    plays: Interactions,
    /// Its transpose: items × users.
    plays_by_item: Csr,
    /// `[n_users, width]`.
    users: Vec<f32>,
    /// `[n_items, width]`.
    items: Vec<f32>,
    /// Users and items with plays.
    n_active: [usize; 2],
}

impl<'a> Factorization<'a> {
    /// Before the first pass: small random item vectors, users at zero.
    ///
    /// # Errors
    /// If a setting is out of range.
    pub fn new(config: &'a IalsConfig, input: &FitInput<'_>) -> Result<Self, ModelError> {
        config.check()?;
        let reading = Reading {
            rows_of: RowsOf::Users,
            tf: config.tf,
            max_row_items: config.max_user_items,
            targets: config.targets,
        };
        let mut plays = Interactions::of(input, &reading);
        let plays_by_item = Csr::build(plays.n_items, || (), |(), item, out| {
            out.extend(plays.of_item(item).iter().map(|&(user, at)| (user, plays.weight[at as usize])));
        });
        plays.entry = Vec::new(); // its work is done, and it is as large as the plays
        let width = padded(config.factors);
        let n_active = [
            (0..plays.n_users()).filter(|&u| !plays.of_user(u).is_empty()).count(),
            (0..plays.n_items).filter(|&i| !plays_by_item.row(i).0.is_empty()).count(),
        ];
        let mut items = vec![0.0; plays.n_items as usize * width];
        // Even in ±√3 · 0.1 / √factors: as many-sided as a normal variable of deviation 0.1 / √factors.
        let reach = 0.2 * (3.0 / config.factors as f64).sqrt();
        for (item, row) in (0..).zip(items.chunks_exact_mut(width)) {
            if !plays_by_item.row(item).0.is_empty() {
                for (factor, value) in row[..config.factors].iter_mut().enumerate() {
                    *value = (reach * (unit(input.seed, u64::from(item), factor as u64) - 0.5)) as f32;
                }
            }
        }
        Ok(Self { config, users: vec![0.0; plays.n_users() * width], items, plays, plays_by_item, n_active })
    }

    /// One pass over users, then items.
    ///
    /// # Errors
    /// If a system cannot be solved in `f32` with this regulariser.
    pub fn iterate(&mut self) -> Result<(), ModelError> {
        let [n_users, n_items] = self.n_active;
        let of_user = |user: usize| {
            let range = self.plays.of_user(user);
            (&self.plays.item[range.clone()], &self.plays.weight[range])
        };
        half(self.config, of_user, &self.items, n_items, &mut self.users)?;
        let of_item = |item: usize| self.plays_by_item.row(item as u32);
        half(self.config, of_item, &self.users, n_users, &mut self.items)
    }

    /// Vectors of the users, `[n_users, padded(factors)]`, as of the last pass.
    #[must_use]
    pub fn users(&self) -> &[f32] {
        &self.users
    }

    /// The model as of the last pass.
    ///
    /// # Errors
    /// If the vectors have grown beyond `f32`.
    pub fn finish(self) -> Result<Ials, ModelError> {
        let config = self.config.clone();
        let factors = Factors::new(config.factors, self.items);
        Ials::new(config, factors).map_err(|()| too_small(self.config))
    }
}

/// Fits the vectors `x` of one side to the `table` of the other, `n_other` of whose rows have plays.
/// `plays_of` gives the rows of the table that a row of `x` goes with, and their weights.
fn half<'p>(
    config: &IalsConfig,
    plays_of: impl Fn(usize) -> (&'p [u32], &'p [f32]) + Sync,
    table: &[f32],
    n_other: usize,
    x: &mut [f32],
) -> Result<(), ModelError> {
    const ROWS_PER_PART: usize = 64;
    let width = padded(config.factors);
    let mut gram = gram(table, width);
    gram.iter_mut().for_each(|g| *g *= config.unobserved_weight);
    let system = System { table, gram: &gram, width };
    let block = config.block.next_multiple_of(32);
    let solver = config.solver.resolve(config.factors);
    let solved = x
        .par_chunks_mut(ROWS_PER_PART * width)
        .enumerate()
        .map_init(<(Scratch, Vec<f32>)>::default, |(scratch, group), (part, x)| {
            // Rows without entries stay at zero, where they begin.
            let rows: Vec<(usize, Row<'_>)> = (0..x.len() / width)
                .map(|at| (at, plays_of(part * ROWS_PER_PART + at)))
                .filter(|(_, (index, _))| !index.is_empty())
                .map(|(at, (index, weight))| (at, Row { index, weight, l2: config.l2_of(index.len(), n_other) }))
                .collect();
            let mut solved = true;
            match solver {
                Solver::Cholesky | Solver::Block => {
                    for &(at, Row { index, weight, l2 }) in &rows {
                        let x = &mut x[at * width..(at + 1) * width];
                        solved &= match solver {
                            Solver::Block => system.solve_blocks(index, weight, l2, block, x, scratch),
                            _ => system.solve(index, weight, l2, x, scratch),
                        };
                    }
                }
                Solver::Cg | Solver::Auto => {
                    for rows in rows.chunks(ROWS) {
                        group.clear();
                        rows.iter().for_each(|(at, _)| group.extend_from_slice(&x[at * width..(at + 1) * width]));
                        let systems: Vec<Row<'_>> = rows.iter().map(|row| row.1).collect();
                        system.descend(&systems, config.cg_steps, group, scratch);
                        for ((at, _), solution) in rows.iter().zip(group.chunks_exact(width)) {
                            x[at * width..(at + 1) * width].copy_from_slice(solution);
                        }
                    }
                }
            }
            solved
        })
        .reduce(|| true, |a, b| a && b);
    if solved { Ok(()) } else { Err(too_small(config)) }
}

fn too_small(config: &IalsConfig) -> ModelError {
    ModelError::Config {
        model: Ials::KIND,
        setting: "l2",
        value: config.l2.to_string(),
        rule: "it is too small for this data: a system has no solution in f32",
    }
}

/// A number in `[0, 1)` of its own for each seed, row and column: SplitMix64.
fn unit(seed: u64, row: u64, column: u64) -> f64 {
    let mut z = seed ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ column.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for _ in 0..2 {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
    }
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

/// Item vectors, and what folding in a listener needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Ials {
    config: IalsConfig,
    items: Factors,
    /// `a · HᵀH`: `[width, width]`.
    gram: Vec<f32>,
    /// Items with a vector.
    n_active: usize,
}

thread_local! {
    static ASKED: RefCell<Asked> = RefCell::default();
}

/// Room for one question.
#[derive(Default)]
struct Asked {
    history: Vec<(u32, usize)>,
    index: Vec<u32>,
    weight: Vec<f32>,
    user: Vec<f32>,
    scratch: Scratch,
}

impl Ials {
    /// Fails if products of the vectors are beyond `f32`.
    fn new(config: IalsConfig, items: Factors) -> Result<Self, ()> {
        let mut gram = gram(items.rows(), items.width());
        gram.iter_mut().for_each(|g| *g *= config.unobserved_weight);
        if gram.iter().any(|g| !g.is_finite()) {
            return Err(());
        }
        let n_active =
            items.rows().chunks_exact(items.width()).filter(|row| row.iter().any(|&v| v != 0.0)).count();
        Ok(Self { config, items, gram, n_active })
    }

    /// The vectors of the items.
    #[must_use]
    pub fn items(&self) -> &Factors {
        &self.items
    }

    /// The vector of a listener with this history, `[width]`; `None` if no play of it says anything.
    #[must_use]
    pub fn fold_in(&self, query: &Query<'_>) -> Option<Vec<f32>> {
        ASKED.with_borrow_mut(|asked| self.solve_for(query, asked).then(|| asked.user.clone()))
    }

    /// Folds in; false if there is nothing to say.
    fn solve_for(&self, query: &Query<'_>, asked: &mut Asked) -> bool {
        let Asked { history, index, weight, user, scratch } = asked;
        history.clear();
        history.extend(query.newest_first(self.n_items()).take(self.config.max_history).map(|(at, item)| (item, at)));
        // One entry per item, with the newest of its plays.
        history.sort_unstable_by_key(|&(item, at)| (item, std::cmp::Reverse(at)));
        history.dedup_by_key(|e| e.0);
        index.clear();
        index.extend(history.iter().map(|&(item, _)| item));
        weight.clear();
        weight.resize(index.len(), 1.0);
        if self.config.tf == TermFrequency::Log {
            for (_, item) in query.newest_first(self.n_items()).take(self.config.max_history) {
                if let Ok(at) = index.binary_search(&item) {
                    weight[at] += 1.0;
                }
            }
            weight.iter_mut().for_each(|w| *w = w.ln()); // ln(1 + plays)
        }
        let system = System { table: self.items.rows(), gram: &self.gram, width: self.items.width() };
        user.clear();
        user.resize(system.width, 0.0);
        !index.is_empty()
            && system.solve(index, weight, self.config.l2_of(index.len(), self.n_active), user, scratch)
            && user.iter().all(|v| v.is_finite())
            && user.iter().any(|&v| v != 0.0)
    }
}

impl Model for Ials {
    type Config = IalsConfig;

    const KIND: &'static str = "ials";
    const ABOUT: &'static str = "vectors of listeners and items, by alternating least squares";
    const SEARCH: &'static str = r#"
factors = [32, 64, 128, 256]
unobserved_weight = { low = 0.01, high = 1.0, log = true }
l2 = { low = 0.0005, high = 0.05, log = true }
"#;

    fn fit(config: &IalsConfig, input: &FitInput<'_>) -> Result<Self, ModelError> {
        let mut factorization = Factorization::new(config, input)?;
        for _ in 0..config.iterations {
            factorization.iterate()?;
        }
        factorization.finish()
    }

    fn load(config: IalsConfig, mut parts: ModelParts) -> Result<Self, ModelError> {
        config.check()?;
        let items = Factors::load("item", config.factors, &mut parts.tensors)?;
        let wrong = |()| parts.tensors.wrong("vectors with finite products in `item`".into(), "larger ones".into());
        Self::new(config, items).map_err(wrong)
    }
}

impl Vectors for Ials {
    fn size(&self) -> usize {
        self.items.n_factors()
    }

    fn item_vector(&self, item: u32, out: &mut Vec<f32>) -> bool {
        let row = if item < self.n_items() { self.items.row(item) } else { &[] };
        let is_known = row.iter().any(|&v| v != 0.0);
        if is_known {
            out.extend_from_slice(&row[..self.size()]);
        }
        is_known
    }

    fn user_vector(&self, query: &Query<'_>, out: &mut Vec<f32>) -> bool {
        self.fold_in(query).map(|vector| out.extend_from_slice(&vector[..self.size()])).is_some()
    }
}

impl Recommender for Ials {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn n_items(&self) -> u32 {
        self.items.n_items()
    }

    fn recommend(
        &self,
        query: &Query<'_>,
        k: usize,
        filter: &ItemFilter<'_>,
        out: &mut Vec<Scored>,
    ) -> Result<(), ModelError> {
        out.clear();
        ASKED.with_borrow_mut(|asked| {
            if self.solve_for(query, asked) {
                self.items.top_k(&asked.user, k, filter, out);
            }
        });
        Ok(())
    }

    fn recommend_batch(
        &self,
        queries: &[Query<'_>],
        k: usize,
        filters: &[ItemFilter<'_>],
    ) -> Result<Vec<Vec<Scored>>, ModelError> {
        let width = self.items.width();
        let mut users = vec![0.0; queries.len() * width];
        let known: Vec<bool> = users
            .par_chunks_exact_mut(width)
            .zip(queries)
            .map(|(user, query)| {
                let vector = self.fold_in(query);
                vector.inspect(|vector| user.copy_from_slice(vector)).is_some()
            })
            .collect();
        let mut out = self.items.top_k_batch(&users, k, filters);
        out.iter_mut().zip(known).filter(|(_, known)| !known).for_each(|(list, _)| list.clear());
        Ok(out)
    }

    fn parts(&self) -> ModelParts {
        ModelParts::new(Self::KIND, &self.config, self.items.store("item", Tensors::new()))
    }

    fn similar_items(&self, item: u32, k: usize) -> Vec<Scored> {
        self.items.similar_items(item, k)
    }

    fn vectors(&self) -> Option<&dyn Vectors> {
        Some(self)
    }

    /// `w·h_a = Σ_j c_j (A⁻¹ h_a)·h_j`: the share of each play of the history.
    fn explain(&self, query: &Query<'_>, item: u32) -> Vec<Contribution> {
        if item >= self.n_items() {
            return Vec::new();
        }
        ASKED.with_borrow_mut(|asked| {
            if !self.solve_for(query, asked) {
                return Vec::new();
            }
            let system = System { table: self.items.rows(), gram: &self.gram, width: self.items.width() };
            let l2 = self.config.l2_of(asked.index.len(), self.n_active);
            let mut z = self.items.row(item).to_vec();
            if !system.apply_inverse(&asked.index, &asked.weight, l2, &mut z, &mut asked.scratch) {
                return Vec::new();
            }
            let mut out: Vec<Contribution> = (asked.history.iter().zip(&asked.weight))
                .map(|(&(source, history_idx), weight)| Contribution {
                    history_idx,
                    amount: weight * dot(&z, self.items.row(source)),
                })
                .filter(|c| c.amount != 0.0 && c.amount.is_finite())
                .collect();
            out.sort_unstable_by_key(|c| std::cmp::Reverse(c.history_idx));
            out
        })
    }
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;

    use super::*;

    fn plays() -> OwnedSequences {
        let users = (0..60_u32).map(|u| (0..u % 9).map(|i| (u * 7 + i * i * (1 + u % 2)) % 40).collect());
        OwnedSequences::from_items(41, users)
    }

    /// The loss as it is written at the top of the file, in `f64`.
    fn loss(f: &Factorization<'_>) -> f64 {
        let width = padded(f.config.factors);
        let mut total = 0.0;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        for (u, user) in (0..).zip(f.users.chunks_exact(width)) {
            let (items, weights) = (&f.plays.item[f.plays.of_user(u)], &f.plays.weight[f.plays.of_user(u)]);
            for item in f.items.chunks_exact(width) {
                total += f64::from(f.config.unobserved_weight) * dot(user, item).powi(2);
            }
            for (&i, &w) in items.iter().zip(weights) {
                let item: &[f32] = &f.items[i as usize * width..][..width];
                total += f64::from(w) * (dot(user, item) - 1.0).powi(2);
            }
            total += f64::from(f.config.l2_of(items.len(), f.n_active[1])) * dot(user, user);
        }
        for (i, item) in (0..).zip(f.items.chunks_exact(width)) {
            let n = f.plays_by_item.row(i).0.len();
            total += f64::from(f.config.l2_of(n, f.n_active[0])) * dot(item, item);
        }
        total
    }

    #[test]
    fn every_solver_lowers_the_loss_in_every_pass_and_all_end_near_the_same() {
        let plays = plays();
        let mut ends = Vec::new();
        for solver in [Solver::Cholesky, Solver::Cg, Solver::Block] {
            let config = IalsConfig { solver, factors: 40, block: 32, l2: 0.05, ..IalsConfig::default() };
            let mut f = Factorization::new(&config, &FitInput::of(plays.view())).unwrap();
            f.iterate().unwrap();
            let mut before = loss(&f);
            for _ in 0..30 {
                f.iterate().unwrap();
                let after = loss(&f);
                assert!(after <= before * (1.0 + 1e-6), "{solver:?}: {after} after {before}");
                before = after;
            }
            ends.push(before);
        }
        assert!(ends.iter().all(|e| (e / ends[0] - 1.0).abs() < 0.02), "{ends:?}");
    }

    #[test]
    fn a_listener_folded_in_has_the_vector_of_the_next_pass() {
        let plays = plays();
        let config = IalsConfig { solver: Solver::Cholesky, iterations: 3, ..IalsConfig::default() };
        let input = FitInput::of(plays.view());
        let mut f = Factorization::new(&config, &input).unwrap();
        (0..3).for_each(|_| f.iterate().unwrap());
        let model = Ials::fit(&config, &input).unwrap();
        let n_items = f.n_active[1];
        let of_user = |user: usize| (&f.plays.item[f.plays.of_user(user)], &f.plays.weight[f.plays.of_user(user)]);
        half(&config, of_user, &f.items, n_items, &mut f.users).unwrap();
        for user in 0..plays.view().n_users() {
            let history = plays.view().user(user);
            let got = model.fold_in(&Query { history, ..Query::default() });
            let want = &f.users[user * 64..][..64];
            assert_eq!(got.as_deref(), (!history.is_empty()).then_some(want), "user {user}");
        }
    }

    #[test]
    fn contributions_add_up_to_the_score_and_repeats_count_with_log() {
        let plays = plays();
        let config = IalsConfig { tf: TermFrequency::Log, ..IalsConfig::default() };
        let model = Ials::fit(&config, &FitInput::of(plays.view())).unwrap();
        let history = [3, 17, 3, 24, 3];
        let query = Query::of_items(&history);
        let mut out = Vec::new();
        model.recommend(&query, 41, &ItemFilter::default(), &mut out).unwrap();
        assert_eq!(out.len(), 41);
        for s in out {
            let why = model.explain(&query, s.item);
            let sum: f32 = why.iter().map(|c| c.amount).sum();
            assert!((sum - s.score).abs() < 1e-4, "item {}: {sum} is not {}", s.item, s.score);
            assert!(why.iter().all(|c| [1, 3, 4].contains(&c.history_idx)), "{why:?}");
        }
        let once = model.fold_in(&Query::of_items(&[3, 17, 24])).unwrap();
        assert_ne!(model.fold_in(&query).unwrap(), once);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let plays = plays();
        let ok = IalsConfig::default;
        for (setting, config) in [
            ("factors", IalsConfig { factors: 0, ..ok() }),
            ("factors", IalsConfig { factors: 4000, ..ok() }),
            ("iterations", IalsConfig { iterations: 0, ..ok() }),
            ("cg_steps", IalsConfig { cg_steps: 0, ..ok() }),
            ("block", IalsConfig { block: 0, ..ok() }),
            ("l2", IalsConfig { l2: 0.0, ..ok() }),
            ("unobserved_weight", IalsConfig { unobserved_weight: f32::NAN, ..ok() }),
            ("frequency_scaling", IalsConfig { frequency_scaling: -1.0, ..ok() }),
            ("max_history", IalsConfig { max_history: 0, ..ok() }),
            ("max_user_items", IalsConfig { max_user_items: 0, ..ok() }),
        ] {
            let error = Ials::fit(&config, &FitInput::of(plays.view())).unwrap_err().to_string();
            assert!(error.contains(&format!("`ials`: `{setting}`")), "{error}");
        }
    }
}
