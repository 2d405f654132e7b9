//! Co-listen neighbours: items heard beside the listener's recent ones, within sessions.
//!
//! `n_ab` counts the sessions in which `a` and `b` were played at most `window` plays apart (each
//! session once), `n_a` the sessions with `a`.
//! `similarity(a, b) = n_ab / (√(n_a · n_b) + shrinkage)`, the strongest `neighbours` kept per item;
//! `score(a | h) = Σ_j 2^(−j / half_life) · similarity(h_j, a)`, `j = 0` the newest play. Ties by item row.
//!
//! Skipped and sampled plays count neither as heard nor for the distance. Data without session
//! numbers counts each listener's whole history as one session.
//!
//! Source: item-to-item collaborative filtering, Linden, Smith & York, IEEE Internet Computing 2003,
//! on sessions instead of customers.

use serde::{Deserialize, Serialize};

use super::counts::{Targets, prune};
use super::item_model::{History, ItemModel, ItemModelConfig, check_setting};
use super::item_to_item::ItemToItem;
use super::kernel::{WeightTable, check_history};
use crate::sparse::Csr;
use crate::{FitInput, ModelError};

/// Settings of [`CoListen`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoListenConfig {
    /// Largest distance of two plays in a session, at least 1. Default 10.
    pub window: usize,
    /// Sessions two items must share, at least 1. Default 1.
    pub min_sessions: u32,
    /// Added to the denominator, so that rare coincidences say little; 0 or more. Default 5.
    pub shrinkage: f32,
    /// Neighbours kept per item, at least 1. Default 100.
    pub neighbours: usize,
    /// Newest plays looked at, 1 to 1000. Default 50.
    pub max_history: usize,
    /// Plays after which a play of the history counts half, above 0. Default 10.
    pub half_life_plays: f32,
    /// Which plays count as heard. Default `wanted`.
    pub targets: Targets,
}

impl Default for CoListenConfig {
    fn default() -> Self {
        Self {
            window: 10,
            min_sessions: 1,
            shrinkage: 5.0,
            neighbours: 100,
            max_history: 50,
            half_life_plays: 10.0,
            targets: Targets::default(),
        }
    }
}

/// Nearest neighbours of each item.
pub type CoListen = ItemModel<CoListenConfig>;

impl ItemModelConfig for CoListenConfig {
    const KIND: &'static str = "co_listen";
    const ABOUT: &'static str = "items heard in the same sessions as the recent ones";
    const SEARCH: &'static str = r#"
window = { low = 1, high = 50, log = true }
shrinkage = { low = 0.1, high = 50.0, log = true }
neighbours = { low = 20, high = 500, log = true }
half_life_plays = { low = 1.0, high = 50.0, log = true }
"#;

    fn history(&self) -> Result<History, ModelError> {
        check_history(Self::KIND, self.max_history)?;
        let range = |good, setting, value: f32, rule| check_setting(Self::KIND, good, setting, value, rule);
        let at_least_1 = |setting, n: usize, rule| check_setting(Self::KIND, n >= 1, setting, n, rule);
        let half_life = self.half_life_plays;
        let good = half_life.is_finite() && half_life > 0.0;
        range(good, "half_life_plays", half_life, "it is a number of plays above 0")?;
        at_least_1("window", self.window, "it is a distance in plays, at least 1")?;
        at_least_1("neighbours", self.neighbours, "it is the number of neighbours kept per item, at least 1")?;
        let good = self.shrinkage.is_finite() && self.shrinkage >= 0.0;
        range(good, "shrinkage", self.shrinkage, "it is a number of sessions, 0 or more")?;
        Ok(History::ByAge(WeightTable::new(self.max_history, |n| {
            (0..n).map(|age| (-(age as f32) / half_life).exp2()).collect()
        })))
    }

    fn matrix(&self, input: &FitInput<'_>) -> Result<ItemToItem, ModelError> {
        if input.sequences.n_plays() == 0 && input.profiles.is_some() {
            return Err(ModelError::NeedsData {
                model: Self::KIND,
                what: "plays (undated profiles have no sessions; `item_knn` takes them)",
            });
        }
        let plays = SessionPlays::index(input, self.targets);
        let n_sessions = |item: u32| f64::from(plays.n_sessions[item as usize]);
        let shrinkage = f64::from(self.shrinkage);
        Ok(ItemToItem::new(plays.shared_sessions(self.window, |source, row| {
            row.retain(|&(_, count)| count >= self.min_sessions as f32);
            for (other, count) in &mut *row {
                let norm = (n_sessions(source) * n_sessions(*other)).sqrt() + shrinkage;
                *count = (f64::from(*count) / norm) as f32;
            }
            prune(row, self.neighbours);
        })))
    }
}

/// Wanted plays in order, with the session each belongs to, indexed by item.
pub(super) struct SessionPlays {
    n_items: u32,
    /// `[n_plays]`.
    item: Vec<u32>,
    /// `[n_plays]`, numbered over all users.
    session: Vec<u32>,
    /// `[n_items + 1]` into `play`.
    offsets: Vec<usize>,
    /// `[n_plays]` play indexes by item, ascending.
    play: Vec<u32>,
    /// `[n_items]` sessions with the item.
    pub(super) n_sessions: Vec<u32>,
}

impl SessionPlays {
    pub(super) fn index(input: &FitInput<'_>, targets: Targets) -> Self {
        let n = input.n_items() as usize;
        let (mut item, mut session) = (Vec::new(), Vec::new());
        let mut n_seen = 0_u32;
        for user in input.users() {
            let mut last = None;
            for (at, &i) in user.item.iter().enumerate() {
                let number = user.session.get(at).copied();
                if last != Some(number) {
                    last = Some(number);
                    n_seen += 1;
                }
                if targets.admits(user.action.get(at).copied()) {
                    item.push(i);
                    session.push(n_seen);
                }
            }
        }
        let mut offsets = vec![0_usize; n + 1];
        for &i in &item {
            offsets[i as usize + 1] += 1;
        }
        for i in 0..n {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut play = vec![0_u32; item.len()];
        let mut last_session = vec![0_u32; n];
        let mut n_sessions = vec![0_u32; n];
        for (p, &i) in (0..).zip(&item) {
            let i = i as usize;
            play[next[i]] = p;
            next[i] += 1;
            if std::mem::replace(&mut last_session[i], session[p as usize]) != session[p as usize] {
                n_sessions[i] += 1;
            }
        }
        Self { n_items: n as u32, item, session, offsets, play, n_sessions }
    }

    /// Sessions that each item shares with each other, at most `window` plays apart; `finish(source, row)`
    /// turns a row of counts (columns ascend, itself excepted) into what is kept.
    pub(super) fn shared_sessions(
        &self,
        window: usize,
        finish: impl Fn(u32, &mut Vec<(u32, f32)>) + Sync + Send,
    ) -> Csr {
        let n = self.n_items as usize;
        let scratch = || Beside { last_session: vec![0; n], count: vec![0; n], touched: Vec::new() };
        Csr::build(self.n_items, scratch, |beside, source, out| {
            for &p in &self.play[self.offsets[source as usize]..self.offsets[source as usize + 1]] {
                let p = p as usize;
                let session = self.session[p];
                let (before, after) = (&self.item[..p], &self.item[p + 1..]);
                let same = |s: &&u32| **s == session;
                let n_before = self.session[..p].iter().rev().take(window).take_while(same).count();
                let n_after = self.session[p + 1..].iter().take(window).take_while(same).count();
                for &other in before[p - n_before..].iter().chain(&after[..n_after]) {
                    beside.heard(other, session);
                }
            }
            for other in beside.touched.drain(..) {
                beside.last_session[other as usize] = 0;
                let count = std::mem::take(&mut beside.count[other as usize]);
                if other != source {
                    out.push((other, count as f32));
                }
            }
            out.sort_unstable_by_key(|e| e.0);
            finish(source, out);
        })
    }
}

/// Sessions shared with one source item, by item.
struct Beside {
    /// Session that was counted last; 0 is none.
    last_session: Vec<u32>,
    count: Vec<u32>,
    touched: Vec<u32>,
}

impl Beside {
    fn heard(&mut self, item: u32, session: u32) {
        let last = std::mem::replace(&mut self.last_session[item as usize], session);
        if last != session {
            self.count[item as usize] += 1;
            if last == 0 {
                self.touched.push(item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use segue_data::OwnedSequences;

    use super::*;
    use crate::{Model, Recommender, Scored};

    #[test]
    fn items_of_one_session_are_neighbours_and_those_of_the_next_are_not() {
        let mut plays = OwnedSequences::from_items(4, [vec![0, 1, 0, 2, 3]]);
        plays.session = vec![0, 0, 0, 1, 1];
        let config = CoListenConfig { shrinkage: 0.0, ..CoListenConfig::default() };
        let model = CoListen::fit(&config, &FitInput::of(plays.view())).unwrap();
        // Heard twice beside item 0, but in one session: counted once.
        assert_eq!(model.similar_items(0, 9), [Scored { item: 1, score: 1.0 }]);
        assert_eq!(model.similar_items(3, 9), [Scored { item: 2, score: 1.0 }]);
    }

    proptest! {
        /// The reference compares every pair of plays.
        #[test]
        fn similarities_equal_a_loop_over_pairs(
            users in prop::collection::vec(prop::collection::vec((0_u32..6, any::<bool>()), 0..12), 0..6),
            window in 1_usize..4,
        ) {
            let mut plays = OwnedSequences::from_items(6, users.iter().map(|u| u.iter().map(|p| p.0).collect()));
            for user in &users {
                let mut session = 0;
                plays.session.extend(user.iter().map(|p| { session += u32::from(p.1); session }));
            }
            let (mut with, mut both) = (BTreeMap::new(), BTreeMap::new());
            for (u, user) in plays.view().iter().enumerate() {
                for from in 0..user.len() {
                    let session = (u, user.session[from]);
                    with.entry(user.item[from]).or_insert_with(BTreeSet::new).insert(session);
                    for to in 0..user.len() {
                        if user.session[to] == user.session[from] && from.abs_diff(to) <= window {
                            both.entry((user.item[from], user.item[to])).or_insert_with(BTreeSet::new).insert(session);
                        }
                    }
                }
            }
            let config = CoListenConfig { window, shrinkage: 1.0, ..CoListenConfig::default() };
            let model = CoListen::fit(&config, &FitInput::of(plays.view())).unwrap();
            for a in 0..6 {
                for b in 0..6 {
                    let n = |i| with.get(&i).map_or(0, BTreeSet::len) as f64;
                    let n_ab = both.get(&(a, b)).filter(|_| a != b).map_or(0, BTreeSet::len) as f64;
                    let want = (n_ab / ((n(a) * n(b)).sqrt() + 1.0)) as f32;
                    prop_assert_eq!(model.items().matrix.get(a, b), want);
                }
            }
        }
    }
}
