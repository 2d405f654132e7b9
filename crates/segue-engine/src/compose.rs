//! From one request to a slate and its record. Replay shares [`assemble`].

use std::collections::HashMap;
use std::sync::Arc;

use segue_pipeline::{ExploreConfig, Outcome, Runner, ShelfPool, SlateRng, compose_shelves};
use segue_types::api::SlateRequest;
use segue_types::slate::{HeadScore, ItemDisplay, SourceScore};
use segue_types::{
    CandidateRecord, Card, Degraded, ItemKey, PoolEntry, Shelf, ShelfRecord, Slate, SlateRecord, StageTrace,
    Surface, TimestampMs,
};

use crate::deployment::{ShelfPlan, SurfacePlan};
use crate::query::Query;
use crate::sources::similar::anchor;
use crate::words;

/// Version of the slate record's layout.
pub const RECORD_VERSION: u32 = 1;
/// Candidates of a shelf that are kept in its pool, beyond what an exploring selector draws from:
/// room for those that shelves above take away and that caps pass over.
pub(crate) const POOL_SLACK: usize = 150;

/// What a slate says besides its shelves.
#[derive(Debug, Clone)]
pub struct SlateHead {
    /// Id of the slate.
    pub slate_id: String,
    /// Which surface.
    pub surface: Surface,
    /// External id of the listener.
    pub user_id: Option<String>,
    /// The request's moment.
    pub composed_at: TimestampMs,
    /// Stages that did not contribute.
    pub degraded: Vec<Degraded>,
    /// Why there is no card, if there is none.
    pub empty_reason: Option<String>,
}

/// Runs the selectors of `shelves` and lays the slate out. A pure function of its arguments: with
/// the same records, seed and displays it gives the same slate. `display` is asked for chosen
/// items only.
#[must_use]
pub fn assemble(
    head: SlateHead,
    shelves: &[ShelfRecord],
    seed: u64,
    display: impl Fn(&str) -> ItemDisplay,
) -> Slate {
    let pools: Vec<ShelfPool> = shelves
        .iter()
        .map(|shelf| ShelfPool {
            shelf_id: shelf.shelf_id.clone(),
            selector: shelf.selector.clone(),
            limit: shelf.limit as usize,
            min_cards: shelf.min_cards as usize,
            explore: ExploreConfig {
                temperature: shelf.temperature,
                epsilon: shelf.epsilon,
                pool_size: shelf.pool_size as usize,
                max_per_group: shelf.max_per_group,
            },
            items: shelf.pool.iter().map(|entry| ItemKey::of(&entry.item_id)).collect(),
            scores: shelf.pool.iter().map(|entry| entry.score).collect(),
            groups: shelf.pool.iter().map(|entry| entry.group).collect(),
        })
        .collect();
    let mut position = 0;
    let mut slate_propensity = 1.0;
    let mut out = Vec::new();
    for (shelf, picks) in shelves.iter().zip(compose_shelves(&pools, seed)) {
        if picks.is_empty() {
            continue;
        }
        let mut cards = Vec::with_capacity(picks.len());
        for pick in picks {
            let entry = &shelf.pool[pick.index];
            slate_propensity *= pick.prefix_propensity;
            cards.push(Card {
                item_id: entry.item_id.clone(),
                item_key: ItemKey::of(&entry.item_id),
                position,
                source: entry.source.clone(),
                reason: entry.reason.clone(),
                score: entry.score,
                prefix_propensity: pick.prefix_propensity,
                display: display(&entry.item_id),
            });
            position += 1;
        }
        out.push(Shelf {
            shelf_id: shelf.shelf_id.clone(),
            title: shelf.title.clone(),
            why: shelf.why.clone(),
            cards,
        });
    }
    Slate {
        slate_id: head.slate_id,
        surface: head.surface,
        user_id: head.user_id,
        composed_at: head.composed_at,
        shelves: out,
        degraded: head.degraded,
        empty_reason: if position == 0 { head.empty_reason } else { None },
        slate_propensity,
    }
}

/// Composes the slate of a request and everything that decided it.
#[must_use]
pub fn compose(
    runner: &Runner,
    query: &Arc<Query>,
    request: SlateRequest,
    user_state_offset: u64,
) -> SlateRecord {
    let deployment = Arc::clone(&query.deployment);
    let surface: &SurfacePlan = match query.surface {
        Surface::NowPlaying => &deployment.now_playing,
        _ => &deployment.home,
    };
    let zero_us = runner.clock().now_us();
    let mut outcome = runner.run(&surface.plan, query);
    let mut shelf_removed: Vec<Option<String>> = vec![None; outcome.kept.len()];
    let mut offered = vec![false; outcome.kept.len()];
    let mut shelves = Vec::with_capacity(surface.shelves.len());
    for shelf in &surface.shelves {
        let rows: Vec<usize> = (0..outcome.kept.len())
            .filter(|&row| outcome.kept.best_source(row, |s| shelf.takes[s]).is_some())
            .collect();
        let verdicts = if shelf.filters.is_empty() {
            vec![None; rows.len()]
        } else {
            let batch = outcome.kept.take(&rows);
            runner.run_filters(&shelf.filters, query, &batch, zero_us, &mut outcome)
        };
        let mut stay = Vec::with_capacity(rows.len());
        for (row, verdict) in rows.into_iter().zip(verdicts) {
            match verdict {
                Some(rule) => shelf_removed[row] = Some(rule),
                None => {
                    offered[row] = true;
                    stay.push(row);
                }
            }
        }
        shelves.push(shelf_record(shelf, query, &outcome, stay, request.limit));
    }
    let request_id = request.request_id.clone().unwrap_or_default();
    let seed = SlateRng::seed_of(&request_id);
    let head = SlateHead {
        slate_id: request_id,
        surface: query.surface,
        user_id: request.user_id.clone(),
        composed_at: query.now,
        degraded: outcome.degraded.clone(),
        empty_reason: Some(empty_reason(query, &outcome)),
    };
    let selector_started_us = runner.clock().now_us();
    let slate = assemble(head, &shelves, seed, |item_id| {
        query.catalogue.item(ItemKey::of(item_id), query.now).map_or_else(
            || ItemDisplay { title: item_id.to_owned(), ..ItemDisplay::default() },
            |item| (&**item).into(),
        )
    });
    let n_cards = slate.shelves.iter().map(|s| s.cards.len()).sum::<usize>();
    outcome.stages.push(StageTrace {
        stage: "compose".to_owned(),
        kind: "selector".to_owned(),
        n_in: shelves.iter().map(|s| s.pool.len()).sum::<usize>() as u32,
        n_out: n_cards as u32,
        started_us: selector_started_us.saturating_sub(zero_us),
        took_us: runner.clock().now_us().saturating_sub(selector_started_us),
        budget_us: 0,
        status: "ok".to_owned(),
    });
    let rate = deployment.config.serving.candidate_sampling_rate;
    let is_sampled = SlateRng::for_shelf(seed, "candidate_sampling").next_f64() < rate;
    for (removed, offered) in shelf_removed.iter_mut().zip(&offered) {
        if *offered {
            *removed = None; // another shelf had it on offer
        }
    }
    let candidates =
        if is_sampled { candidate_records(query, &outcome, &shelf_removed, &slate) } else { Vec::new() };
    SlateRecord {
        version: RECORD_VERSION,
        user_key: query.user,
        now: query.now,
        deployment_id: deployment.id.clone(),
        user_state_offset,
        seed,
        arms: query.arms.clone(),
        feature_names: outcome.kept.feature_names.clone(),
        candidates,
        candidate_sampling_rate: rate,
        shelves,
        stages: outcome.stages,
        request,
        slate,
    }
}

fn shelf_record(
    shelf: &ShelfPlan,
    query: &Query,
    outcome: &Outcome,
    mut rows: Vec<usize>,
    limit: Option<u32>,
) -> ShelfRecord {
    let config = &shelf.config;
    let kept = &outcome.kept;
    rows.sort_unstable_by(|&a, &b| {
        outcome.scores[b].total_cmp(&outcome.scores[a]).then(kept.items[a].cmp(&kept.items[b]))
    });
    rows.truncate(config.pool as usize + POOL_SLACK);
    let entry = |row: usize| {
        let key = kept.items[row];
        let item = query.catalogue.item(key, query.now);
        let source = kept.best_source(row, |s| shelf.takes[s]).map_or("", |(s, _)| &*kept.sources[s]);
        PoolEntry {
            item_id: item.map_or_else(|| key.to_string(), |item| item.item_id.clone()),
            score: outcome.scores[row],
            group: item.and_then(|i| i.artist_ids.first()).map_or(0, |artist| ItemKey::of(artist).0),
            source: source.to_owned(),
            reason: words::reason(query, source, key, kept.because[row]),
        }
    };
    let anchor = anchor(query);
    ShelfRecord {
        shelf_id: config.id.clone(),
        title: words::fill(&config.title, query, anchor),
        why: words::fill(&config.why, query, anchor),
        selector: config.selector.clone(),
        limit: limit.unwrap_or(config.limit),
        min_cards: config.min_cards,
        max_per_group: config.max_per_artist,
        temperature: config.temperature,
        epsilon: config.epsilon,
        pool_size: config.pool,
        pool: rows.into_iter().map(entry).collect(),
    }
}

fn candidate_records(
    query: &Query,
    outcome: &Outcome,
    shelf_removed: &[Option<String>],
    slate: &Slate,
) -> Vec<CandidateRecord> {
    let batch = &outcome.batch;
    let kept_at: HashMap<usize, usize> =
        outcome.kept_rows.iter().enumerate().map(|(at, &row)| (row, at)).collect();
    let mut order: Vec<usize> = (0..outcome.kept.len()).collect();
    order.sort_unstable_by(|&a, &b| {
        let keys = (outcome.kept.items[a], outcome.kept.items[b]);
        outcome.scores[b].total_cmp(&outcome.scores[a]).then(keys.0.cmp(&keys.1))
    });
    let mut rank = vec![0_u32; order.len()];
    for (i, &at) in order.iter().enumerate() {
        rank[at] = i as u32 + 1;
    }
    let cards: HashMap<ItemKey, &Card> =
        slate.shelves.iter().flat_map(|s| &s.cards).map(|card| (card.item_key, card)).collect();
    (0..batch.len())
        .map(|row| {
            let key = batch.items[row];
            let at = kept_at.get(&row).copied();
            let card = cards.get(&key);
            let sources = batch.ranks(row).iter().zip(batch.scores(row)).zip(&batch.sources);
            let heads = &outcome.kept.heads;
            let head_of = |at: usize, h: usize| HeadScore {
                head: heads[h].clone(),
                probability: outcome.kept.head_values[at * heads.len() + h],
            };
            let finite = |v: &f32| v.is_finite().then_some(*v);
            CandidateRecord {
                item_id: query
                    .catalogue
                    .item(key, query.now)
                    .map_or_else(|| key.to_string(), |item| item.item_id.clone()),
                item_key: key,
                sources: sources
                    .filter(|((rank, _), _)| **rank > 0)
                    .map(|((&rank, &score), source)| SourceScore { source: source.to_string(), score, rank })
                    .collect(),
                features: at
                    .map_or_else(Vec::new, |at| outcome.kept.features(at).iter().map(finite).collect()),
                heads: at.map_or_else(Vec::new, |at| (0..heads.len()).map(|h| head_of(at, h)).collect()),
                score: at.map(|at| outcome.scores[at]),
                rank: at.map(|at| rank[at]),
                position: card.map(|c| c.position),
                prefix_propensity: card.map(|c| c.prefix_propensity),
                removed_by: match at {
                    None => outcome.removed[row].clone(),
                    Some(at) => shelf_removed[at].clone(),
                },
            }
        })
        .collect()
}

/// Why there is nothing to show, by what the operator can do about it.
fn empty_reason(query: &Query, outcome: &Outcome) -> String {
    let market = query.market.as_deref().unwrap_or("unknown");
    if query.catalogue.is_empty() {
        return if query.deployment.snapshot.is_none() {
            "there is no snapshot and no catalogue yet; run `segue prepare`, or PUT /v1/items".to_owned()
        } else {
            "the catalogue is empty; import items, or PUT /v1/items".to_owned()
        };
    }
    if let Some(removed) = outcome.removed.iter().flatten().find(|r| r.ends_with(":filter_failed")) {
        let filter = removed.split(':').next().unwrap_or_default();
        return format!("the filter `{filter}` failed, and it protects: nothing is shown without it");
    }
    if outcome.batch.is_empty() {
        let playable = query
            .catalogue
            .keys()
            .any(|key| query.item(key).is_some_and(|item| item.is_in_market(query.market.as_deref())));
        return if playable {
            "no source proposed anything; see `degraded`".to_owned()
        } else {
            format!("no item of the catalogue may be played in market `{market}` now")
        };
    }
    "every candidate was removed by a filter, or no shelf reached its `min_cards`".to_owned()
}
