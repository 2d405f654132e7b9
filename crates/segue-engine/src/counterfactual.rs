//! What another configuration would have shown: its probability of a slate, from the slate's record alone.
//!
//! Shelf by shelf, the selector's choice is followed down the cards that were served: at each
//! position the same candidates are eligible as in serving (what is shown above and what a cap
//! excludes is not), and the other configuration gives each of them a probability. Supported are
//! changes of how shelves are filled from what was retrieved: selector, temperature, ε, pool, cap per
//! artist, the weights of the ranker's heads, another ranker over the features as served. Other sources,
//! filters or shelves need candidates the record does not have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use segue_models::{FeatureMatrix, Ranker};
use segue_pipeline::diversity::GroupCap;
use segue_pipeline::explore::choice_probabilities;
use segue_types::{CandidateRecord, Card, ItemKey, ShelfRecord, SlateRecord};
use serde::{Deserialize, Serialize};

use crate::compose::POOL_SLACK;
use crate::config::HeadWeight;

/// What is different on one shelf; what is absent stays as it was served.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShelfChange {
    /// `top` or `explore`.
    pub selector: Option<String>,
    /// Temperature of the softmax, above 0.
    pub temperature: Option<f64>,
    /// Share of uniform choice, in `[0, 1]`.
    pub epsilon: Option<f64>,
    /// How many of the best candidates may be drawn, at least 1.
    pub pool: Option<u32>,
    /// Most cards with the same main artist; 0 is no cap.
    pub max_per_artist: Option<u32>,
}

/// Another configuration.
#[derive(Clone, Default)]
pub struct Alternative {
    /// By shelf id.
    pub shelves: BTreeMap<String, ShelfChange>,
    /// Other weights of the ranker's heads.
    pub heads: Option<Vec<HeadWeight>>,
    /// Another ranker; its heads are weighed by `heads`, else alike.
    pub ranker: Option<Arc<dyn Ranker>>,
}

impl std::fmt::Debug for Alternative {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ranker = self.ranker.as_ref().map(|r| r.kind());
        f.debug_struct("Alternative")
            .field("shelves", &self.shelves)
            .field("heads", &self.heads)
            .field("ranker", &ranker)
            .finish()
    }
}

/// Bands of the logged rank in a shelf's pool: 0, 1–2, 3–6, 7–14, …; a coarse cell for reward models.
pub const N_BANDS: usize = 8;

/// One position of a served slate under another configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Chance {
    /// 0-based position, counted over shelves.
    pub position: u32,
    /// As logged.
    pub propensity: f64,
    /// The alternative's probability of the same card, given those above.
    pub target_probability: f64,
    /// The alternative's probability, given the cards above, of what could not have been served here.
    pub unsupported: f64,
    /// Band of the served card.
    pub band: usize,
    /// The alternative's probability of each band.
    pub target_bands: [f64; N_BANDS],
}

/// A served slate under another configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Counterfactual {
    /// One per card, from the top.
    pub chances: Vec<Chance>,
    /// Probability, given all cards, that the page would have gone on: 0 or 1.
    pub ends_short: f64,
}

/// Why a record cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The request was not in the logged sample of candidates; leaving it out changes nothing, since the
    /// sample is drawn independently.
    #[error("the candidates of this request were not kept")]
    NotSampled,
    /// The slate was composed without a ranker, and the alternative is about the ranker.
    #[error("the slate was composed without the ranker's heads or features")]
    NotRanked,
    /// The ranker of the alternative failed.
    #[error("the other ranker failed: {0}")]
    Ranker(String),
}

/// A selector and what it is told.
#[derive(Debug, Clone, Copy)]
struct Rule<'a> {
    selector: &'a str,
    temperature: f64,
    epsilon: f64,
    pool: usize,
    max_per_group: u32,
}

/// A candidate of a shelf.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: ItemKey,
    group: u64,
    /// Under the rule at hand.
    score: f32,
    /// Rank in the logged pool.
    rank: usize,
}

/// One selector on its way down a shelf.
struct Walk<'a> {
    rule: Rule<'a>,
    limit: usize,
    cap: GroupCap,
    left: Vec<Entry>,
    n_chosen: usize,
}

impl<'a> Walk<'a> {
    /// `entries` best first.
    fn new(rule: Rule<'a>, limit: usize, mut entries: Vec<Entry>) -> Self {
        if rule.selector == "explore" {
            entries.truncate(rule.pool);
        }
        Self { rule, limit, cap: GroupCap::new(rule.max_per_group), left: entries, n_chosen: 0 }
    }

    /// Probability of each eligible candidate; none where the shelf ends.
    fn next(&mut self) -> Vec<(Entry, f64)> {
        self.left.retain(|e| self.cap.admits(e.group));
        if self.n_chosen == self.limit || self.left.is_empty() {
            return Vec::new();
        }
        if self.rule.selector == "top" {
            return vec![(self.left[0], 1.0)];
        }
        let scores: Vec<f32> = self.left.iter().map(|e| e.score).collect();
        let all: Vec<usize> = (0..scores.len()).collect();
        let p = choice_probabilities(&scores, &all, self.rule.temperature, self.rule.epsilon);
        let one = p.len() == 1;
        self.left.iter().zip(p).map(|(e, p)| (*e, if one { 1.0 } else { p.min(1.0) })).collect()
    }

    fn choose(&mut self, key: ItemKey) {
        if let Some(at) = self.left.iter().position(|e| e.key == key) {
            self.cap.choose(self.left.remove(at).group);
        }
        self.n_chosen += 1;
    }

    /// Cards the shelf would get: decided by groups and limit alone.
    fn n_cards(&self) -> usize {
        let mut cap = self.cap.clone();
        let mut n = 0;
        for entry in &self.left {
            if n < self.limit && cap.admits(entry.group) {
                cap.choose(entry.group);
                n += 1;
            }
        }
        n
    }
}

/// Follows `alternative` down a served slate.
///
/// # Errors
/// [`Unusable`] says what the record lacks.
pub fn follow(record: &SlateRecord, alternative: &Alternative) -> Result<Counterfactual, Unusable> {
    let rescored = alternative.heads.is_some() || alternative.ranker.is_some();
    let scores = if rescored { Some(rescore(record, alternative)?) } else { None };
    let unchanged = ShelfChange::default();
    let mut shown: HashSet<ItemKey> = HashSet::new();
    let mut chances: Vec<Chance> = Vec::new();
    // Whether the alternative has left the path of the served page: from there on nothing is comparable.
    let mut left_path = false;
    for shelf in &record.shelves {
        let cards: &[Card] = record
            .slate
            .shelves
            .iter()
            .find(|s| s.shelf_id == shelf.shelf_id)
            .map_or(&[], |s| s.cards.as_slice());
        let change = alternative.shelves.get(&shelf.shelf_id).unwrap_or(&unchanged);
        let free = free_entries(shelf, &shown);
        let theirs = their_entries(record, shelf, change, &free, scores.as_ref(), &shown)?;
        let logged_rule = Rule {
            selector: &shelf.selector,
            temperature: shelf.temperature,
            epsilon: shelf.epsilon,
            pool: shelf.pool_size as usize,
            max_per_group: shelf.max_per_group,
        };
        let rule = Rule {
            selector: change.selector.as_deref().unwrap_or(&shelf.selector),
            temperature: change.temperature.unwrap_or(shelf.temperature),
            epsilon: change.epsilon.unwrap_or(shelf.epsilon),
            pool: change.pool.unwrap_or(shelf.pool_size) as usize,
            max_per_group: change.max_per_artist.unwrap_or(shelf.max_per_group),
        };
        let mut logged = Walk::new(logged_rule, shelf.limit as usize, free);
        let mut target = Walk::new(rule, shelf.limit as usize, theirs);
        let n = target.n_cards();
        let is_shown = n > 0 && n >= shelf.min_cards as usize;
        // A shelf that only one of the two shows.
        left_path |= is_shown == cards.is_empty();
        for card in cards {
            chances.push(step(card, &mut logged, &mut target, left_path));
            shown.insert(card.item_key);
        }
        left_path |= is_shown && !target.next().is_empty();
    }
    Ok(Counterfactual { chances, ends_short: f64::from(u8::from(left_path)) })
}

fn step(card: &Card, logged: &mut Walk<'_>, target: &mut Walk<'_>, left_path: bool) -> Chance {
    let possible: HashMap<ItemKey, f64> = logged.next().into_iter().map(|(e, p)| (e.key, p)).collect();
    let band = logged.left.iter().find(|e| e.key == card.item_key).map_or(N_BANDS - 1, |e| band_of(e.rank));
    let choices = if left_path { Vec::new() } else { target.next() };
    let mut chance = Chance {
        position: card.position,
        propensity: card.prefix_propensity,
        target_probability: 0.0,
        // Ending here, or having left the page, is not what was served either.
        unsupported: if choices.is_empty() { 1.0 } else { 0.0 },
        band,
        target_bands: [0.0; N_BANDS],
    };
    for (entry, p) in choices {
        if entry.key == card.item_key {
            chance.target_probability = p;
        }
        if possible.get(&entry.key).is_none_or(|&logged| logged <= 0.0) {
            chance.unsupported += p;
        }
        chance.target_bands[band_of(entry.rank)] += p;
    }
    logged.choose(card.item_key);
    target.choose(card.item_key);
    chance
}

fn band_of(rank: usize) -> usize {
    (((rank + 1) as f64).log2() as usize).min(N_BANDS - 1)
}

fn free_entries(shelf: &ShelfRecord, shown: &HashSet<ItemKey>) -> Vec<Entry> {
    let entry = |(rank, e): (usize, &segue_types::PoolEntry)| Entry {
        key: ItemKey::of(&e.item_id),
        group: e.group,
        score: e.score,
        rank,
    };
    shelf.pool.iter().enumerate().map(entry).filter(|e| !shown.contains(&e.key)).collect()
}

/// The candidates as the alternative orders them.
///
/// A pool that was cut off when it was recorded may lack candidates that the alternative would put into its
/// own. Those are found among the request's candidates and enter without a group, which gives them
/// at least the probability they would have had: they count as unsupported, never in silence.
fn their_entries(
    record: &SlateRecord,
    shelf: &ShelfRecord,
    change: &ShelfChange,
    free: &[Entry],
    scores: Option<&HashMap<ItemKey, f32>>,
    shown: &HashSet<ItemKey>,
) -> Result<Vec<Entry>, Unusable> {
    let mut out = free.to_vec();
    let pool = change.pool.unwrap_or(shelf.pool_size) as usize;
    let was_cut = shelf.pool.len() >= shelf.pool_size as usize + POOL_SLACK;
    if let Some(scores) = scores {
        for entry in &mut out {
            entry.score = *scores.get(&entry.key).ok_or(Unusable::NotRanked)?;
        }
    }
    if was_cut && (scores.is_some() || pool > shelf.pool_size as usize + POOL_SLACK) {
        if record.candidates.is_empty() {
            return Err(Unusable::NotSampled);
        }
        let known: HashSet<ItemKey> = shelf.pool.iter().map(|e| ItemKey::of(&e.item_id)).collect();
        let sources: HashSet<&str> = shelf.pool.iter().map(|e| e.source.as_str()).collect();
        let lacks = |c: &&CandidateRecord| {
            c.removed_by.is_none()
                && !known.contains(&c.item_key)
                && !shown.contains(&c.item_key)
                && c.sources.iter().any(|s| sources.contains(s.source.as_str()))
        };
        for candidate in record.candidates.iter().filter(lacks) {
            let score = match scores {
                Some(scores) => scores.get(&candidate.item_key).copied(),
                None => candidate.score,
            };
            out.extend(score.map(|score| Entry {
                key: candidate.item_key,
                group: 0,
                score,
                rank: usize::MAX - 1,
            }));
        }
    }
    out.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.key.cmp(&b.key)));
    Ok(out)
}

/// Scores under other heads or another ranker, as the engine would have computed them.
fn rescore(record: &SlateRecord, alternative: &Alternative) -> Result<HashMap<ItemKey, f32>, Unusable> {
    if record.candidates.is_empty() {
        return Err(Unusable::NotSampled);
    }
    let kept: Vec<&CandidateRecord> = record.candidates.iter().filter(|c| c.score.is_some()).collect();
    let weight_of = |head: &str| match &alternative.heads {
        Some(heads) => heads.iter().find(|h| h.head == head).map_or(0.0, |h| h.weight),
        None => 1.0,
    };
    let (names, values) = match &alternative.ranker {
        Some(ranker) => {
            let width = record.feature_names.len();
            if width == 0 || kept.iter().any(|c| c.features.len() != width) {
                return Err(Unusable::NotRanked);
            }
            let features: Vec<f32> =
                kept.iter().flat_map(|c| c.features.iter().map(|f| f.unwrap_or(f32::NAN))).collect();
            let mut values = Vec::new();
            ranker
                .score(&FeatureMatrix { values: &features, names: &record.feature_names }, &mut values)
                .map_err(|e| Unusable::Ranker(e.to_string()))?;
            (ranker.heads().to_vec(), values)
        }
        None => {
            let names: Vec<String> =
                kept.first().map_or_else(Vec::new, |c| c.heads.iter().map(|h| h.head.clone()).collect());
            if names.is_empty() || kept.iter().any(|c| c.heads.len() != names.len()) {
                return Err(Unusable::NotRanked);
            }
            let values = kept.iter().flat_map(|c| c.heads.iter().map(|h| h.probability)).collect();
            (names, values)
        }
    };
    let weights: Vec<f64> = names.iter().map(|name| weight_of(name)).collect();
    let total: f64 = weights.iter().sum();
    if total <= 0.0 || values.len() != kept.len() * names.len() {
        return Err(Unusable::Ranker(format!("none of its heads ({}) has a weight", names.join(", "))));
    }
    let mean =
        |row: &[f32]| (row.iter().zip(&weights).map(|(&p, w)| f64::from(p) * w).sum::<f64>() / total) as f32;
    Ok(kept.iter().zip(values.chunks_exact(names.len())).map(|(c, row)| (c.item_key, mean(row))).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_types::api::SlateRequest;
    use segue_types::slate::ItemDisplay;
    use segue_types::{PoolEntry, Surface, TimestampMs};

    use super::*;
    use crate::compose::{SlateHead, assemble};

    fn shelf(id: &str, selector: &str, items: std::ops::Range<u32>, limit: u32) -> ShelfRecord {
        let entry = |i: u32| PoolEntry {
            item_id: format!("t{i}"),
            score: 1.0 - i as f32 / 20.0,
            group: u64::from(i % 3),
            source: "markov".to_owned(),
            reason: None,
        };
        ShelfRecord {
            shelf_id: id.to_owned(),
            title: String::new(),
            why: String::new(),
            selector: selector.to_owned(),
            limit,
            min_cards: 1,
            max_per_group: 2,
            temperature: 0.2,
            epsilon: 0.1,
            pool_size: 5,
            pool: items.map(entry).collect(),
        }
    }

    /// A page with a deterministic shelf above an exploring one that shares items with it.
    fn record(seed: u64, shelves: Vec<ShelfRecord>) -> SlateRecord {
        let head = SlateHead {
            slate_id: seed.to_string(),
            surface: Surface::Home,
            user_id: None,
            composed_at: TimestampMs(0),
            degraded: Vec::new(),
            empty_reason: None,
        };
        let slate = assemble(head, &shelves, seed, |_| ItemDisplay::default());
        SlateRecord {
            version: 1,
            request: SlateRequest::default(),
            user_key: None,
            now: TimestampMs(0),
            deployment_id: String::new(),
            user_state_offset: 0,
            seed,
            arms: Vec::new(),
            feature_names: Vec::new(),
            candidates: Vec::new(),
            candidate_sampling_rate: 1.0,
            shelves,
            stages: Vec::new(),
            slate,
        }
    }

    fn page() -> Vec<ShelfRecord> {
        vec![shelf("above", "top", 0..4, 2), shelf("explored", "explore", 1..10, 4)]
    }

    fn change(id: &str, change: ShelfChange) -> Alternative {
        Alternative { shelves: BTreeMap::from([(id.to_owned(), change)]), ..Alternative::default() }
    }

    proptest! {
        #[test]
        fn the_configuration_itself_has_the_logged_propensities(seed: u64) {
            let record = record(seed, page());
            let again = follow(&record, &Alternative::default()).unwrap();
            prop_assert_eq!(again.ends_short, 0.0);
            prop_assert_eq!(again.chances.len(), 6);
            for chance in again.chances {
                prop_assert_eq!(chance.propensity, chance.target_probability);
                prop_assert_eq!(chance.unsupported, 0.0);
                prop_assert!((chance.target_bands.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }

        /// The reference: serve the page under the alternative and read what it logs for the same cards.
        #[test]
        fn a_page_served_by_the_alternative_logs_the_probabilities_computed_for_it(
            seed: u64, epsilon in 0.0_f64..1.0, temperature in 0.05_f64..2.0,
        ) {
            let mut changed = page();
            (changed[1].epsilon, changed[1].temperature) = (epsilon, temperature);
            let served = record(seed, changed);
            // The same cards, said to be logged under the first configuration.
            let logged = SlateRecord { shelves: page(), ..served.clone() };
            let alternative = change("explored", ShelfChange {
                epsilon: Some(epsilon), temperature: Some(temperature), ..ShelfChange::default()
            });
            for (chance, wanted) in follow(&logged, &alternative).unwrap().chances.iter()
                .zip(served.slate.shelves.iter().flat_map(|s| &s.cards)) {
                prop_assert!((chance.target_probability - wanted.prefix_propensity).abs() < 1e-12);
            }
        }
    }

    /// Weights of many served pages: their mean is 1 and they estimate how often the alternative shows `t3`.
    #[test]
    fn weights_average_one_and_estimate_what_the_alternative_shows() {
        let alternative = change("explored", ShelfChange { epsilon: Some(0.5), ..ShelfChange::default() });
        let mut changed = page();
        changed[1].epsilon = 0.5;
        let has =
            |r: &SlateRecord| f64::from(u8::from(r.slate.shelves[1].cards.iter().any(|c| c.item_id == "t3")));
        let (mut weight, mut estimate, mut truth) = (0.0, 0.0, 0.0);
        let n = 20_000;
        for seed in 0..n {
            let logged = record(seed, page());
            let w: f64 = follow(&logged, &alternative)
                .unwrap()
                .chances
                .iter()
                .map(|c| c.target_probability / c.propensity)
                .product();
            weight += w;
            estimate += w * has(&logged);
            truth += has(&record(seed + n, changed.clone()));
        }
        let n = n as f64;
        assert!((weight / n - 1.0).abs() < 0.05, "{}", weight / n);
        assert!((estimate / n - truth / n).abs() < 0.05, "{} {}", estimate / n, truth / n);
    }

    #[test]
    fn what_the_log_cannot_have_served_is_unsupported() {
        let logged = record(7, page());
        // The best first: t0 and t1 stay, the explored shelf becomes deterministic.
        let top =
            change("explored", ShelfChange { selector: Some("top".to_owned()), ..ShelfChange::default() });
        assert!(follow(&logged, &top).unwrap().chances.iter().all(|c| c.unsupported == 0.0));
        // A deterministic shelf that explores has chances the log never had.
        let explored =
            change("above", ShelfChange { selector: Some("explore".to_owned()), ..ShelfChange::default() });
        let first = &follow(&logged, &explored).unwrap().chances[0];
        assert!(first.unsupported > 0.3 && first.target_probability < 0.7, "{first:?}");
        // A larger pool reaches items that could not be drawn.
        let wider =
            change("explored", ShelfChange { pool: Some(8), epsilon: Some(1.0), ..ShelfChange::default() });
        assert!(follow(&logged, &wider).unwrap().chances[2].unsupported > 0.2);
        // One card per artist: the second of an artist (`t2` and `t5` share one) has no chance.
        let capped = change("explored", ShelfChange { max_per_artist: Some(1), ..ShelfChange::default() });
        for seed in 0..50 {
            let logged = record(seed, page());
            let chances = follow(&logged, &capped).unwrap().chances;
            let ids: Vec<&str> = logged.slate.shelves[1].cards.iter().map(|c| c.item_id.as_str()).collect();
            let both = ids.contains(&"t2") && ids.contains(&"t5");
            assert_eq!(both, chances[2..].iter().any(|c| c.target_probability == 0.0), "{ids:?}");
        }
    }

    #[test]
    fn other_heads_need_the_candidates() {
        let heads = Some(vec![HeadWeight { head: "stream".to_owned(), weight: 1.0 }]);
        let alternative = Alternative { heads, ..Alternative::default() };
        let mut logged = record(7, page());
        assert_eq!(follow(&logged, &alternative).unwrap_err(), Unusable::NotSampled);
        let candidate = |i: u32| CandidateRecord {
            item_id: format!("t{i}"),
            item_key: ItemKey::of(&format!("t{i}")),
            sources: Vec::new(),
            features: Vec::new(),
            heads: vec![
                segue_types::slate::HeadScore {
                    head: "stream".to_owned(),
                    probability: 1.0 - i as f32 / 20.0,
                },
                segue_types::slate::HeadScore { head: "other".to_owned(), probability: i as f32 / 20.0 },
            ],
            score: Some(0.0),
            rank: None,
            position: None,
            prefix_propensity: None,
            removed_by: None,
        };
        logged.candidates = (0..10).map(candidate).collect();
        // The stream head alone gives the scores that were served.
        let same = follow(&logged, &alternative).unwrap();
        assert!(same.chances.iter().all(|c| (c.target_probability - c.propensity).abs() < 1e-12));
        // The other head turns the order around: the deterministic shelf would show other items.
        let heads = Some(vec![HeadWeight { head: "other".to_owned(), weight: 1.0 }]);
        let turned = follow(&logged, &Alternative { heads, ..Alternative::default() }).unwrap();
        assert_eq!((turned.chances[0].target_probability, turned.chances[0].unsupported), (0.0, 1.0));
        logged.candidates[0].heads.clear();
        assert_eq!(follow(&logged, &alternative).unwrap_err(), Unusable::NotRanked);
    }
}
