//! The second pass: one bucket's listeners, one after the other, through enrich, folds and labels.
//!
//! Buckets share nothing, so they may run on any thread or machine. Memory is what the bucket
//! holds: its records, sorted, and the output of its listeners.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use segue_types::{Action, EventKey, ItemKey, RejectReason, TimestampMs};

use super::record::{FEEDBACK, IMPRESSION, NONE, PLAY, Record};
use super::resolve::Resolved;
use super::scan::{BucketInput, CandidateSeen, Rejects};
use crate::catalogue::ItemFacts;
use crate::enrich::{Enriched, Enricher, What};
use crate::error::DataError;
use crate::examples::ExamplesFrom;
use crate::features::{FeatureInput, FeatureSchema, SourceColumn};
use crate::folds::interactions::KeyHasher;
use crate::label::{HORIZON_MS, Shown};
use crate::labels;
use crate::user_state::UserState;

/// What every bucket needs to know of the run.
#[derive(Debug)]
pub(crate) struct BucketPlan<'a> {
    pub(crate) resolved: &'a Resolved,
    pub(crate) schema: &'a FeatureSchema,
    /// Number of a source's name → index in the schema, [`NONE`] if it has no columns.
    pub(crate) source_of: &'a [u32],
    pub(crate) examples_from: ExamplesFrom,
    /// Requests are kept if their group shifted right by 64 − `sample_bits` is 0.
    pub(crate) sample_bits: u32,
}

/// Packed plays of consecutive users.
#[derive(Debug, Default)]
pub(crate) struct PackedPlays {
    pub(crate) item: Vec<u32>,
    pub(crate) action: Vec<u8>,
    pub(crate) occurred_at: Vec<i64>,
    pub(crate) known_at: Vec<i64>,
    pub(crate) session: Vec<u32>,
    pub(crate) listened_ms: Vec<u32>,
}

/// A training row without its item columns.
#[derive(Debug)]
pub(crate) struct ExampleRows {
    pub(crate) group: Vec<u64>,
    pub(crate) requested_at: Vec<i64>,
    pub(crate) user: Vec<u32>,
    pub(crate) item: Vec<u32>,
    pub(crate) position: Vec<u32>,
    pub(crate) prefix_propensity: Vec<f64>,
    pub(crate) labels: Vec<[f32; 3]>,
    /// Row-major, all columns of the schema.
    pub(crate) values: Vec<f32>,
}

/// What a bucket gives.
#[derive(Debug)]
pub(crate) struct BucketOutput {
    pub(crate) plays: PackedPlays,
    /// User row and number of plays, ascending by row; users without events are not here.
    pub(crate) users: Vec<(u32, u64)>,
    /// Encoded states of these users and where each ends.
    pub(crate) states: Vec<u8>,
    pub(crate) state_ends: Vec<u64>,
    pub(crate) examples: ExampleRows,
    pub(crate) rejects: Rejects,
    pub(crate) n_feedback: u64,
    pub(crate) n_impressions: u64,
}

/// A row that waits for its request's moment.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    requested_at: i64,
    group: u64,
    item: u32,
    position: u32,
    /// For plays: the event itself is the outcome.
    event: u128,
}

pub(crate) fn run(plan: &BucketPlan<'_>, input: BucketInput) -> Result<BucketOutput, DataError> {
    let resolved = plan.resolved;
    let BucketInput { mut records, mut slates, mut candidates } = input;
    for r in &mut records {
        r.user = resolved.user_row[r.user as usize];
        r.item = resolved.target_of[r.item as usize];
    }
    for s in &mut slates {
        s.user = resolved.user_row[s.user as usize];
    }
    for c in &mut candidates {
        c.user = resolved.user_row[c.user as usize];
        c.item = resolved.target_of[c.item as usize];
    }
    // Parts are sorted already, so a stable merge sort finds long runs.
    records.sort_by(Record::order);
    slates.sort_unstable();
    slates.dedup_by_key(|s| (s.user, s.slate));
    candidates.sort_by(|a, b| {
        let key = |c: &CandidateSeen| (c.user, c.slate, c.item, c.position);
        key(a).cmp(&key(b)).then(a.prefix_propensity.total_cmp(&b.prefix_propensity))
    });

    let mut out = BucketOutput {
        plays: PackedPlays::default(),
        users: Vec::new(),
        states: Vec::new(),
        state_ends: Vec::new(),
        examples: ExampleRows {
            group: Vec::new(),
            requested_at: Vec::new(),
            user: Vec::new(),
            item: Vec::new(),
            position: Vec::new(),
            prefix_propensity: Vec::new(),
            labels: Vec::new(),
            values: Vec::new(),
        },
        rejects: Rejects::new(),
        n_feedback: 0,
        n_impressions: 0,
    };
    let mut scratch = Scratch::default();
    for records in records.chunk_by(|a, b| a.user == b.user) {
        let user = records[0].user;
        fn of_user<T>(all: &[T], user: u32, key: impl Fn(&T) -> u32) -> &[T] {
            let from = all.partition_point(|x| key(x) < user);
            let to = from + all[from..].partition_point(|x| key(x) == user);
            &all[from..to]
        }
        let slates = of_user(&slates, user, |s| s.user);
        let candidates = of_user(&candidates, user, |c| c.user);
        let composed_at = |slate: u64| {
            let at = slates.binary_search_by_key(&slate, |s| s.slate).ok()?;
            Some(slates[at].composed_at)
        };
        listener(plan, user, records, &composed_at, candidates, &mut scratch, &mut out);
    }
    Ok(out)
}

#[derive(Default)]
struct Scratch {
    seen: HashSet<u128, BuildHasherDefault<KeyHasher>>,
    events: Vec<Record>,
    wanted: Vec<Wanted>,
    /// Plays that refer to a slate: slate, target, and the event.
    outcomes: Vec<(u64, u32, Enriched)>,
}

fn listener(
    plan: &BucketPlan<'_>,
    user: u32,
    records: &[Record],
    composed_at: &dyn Fn(u64) -> Option<i64>,
    candidates: &[CandidateSeen],
    scratch: &mut Scratch,
    out: &mut BucketOutput,
) {
    let resolved = plan.resolved;
    let user_key = resolved.user_key(user);
    let reject = |rejects: &mut Rejects, reason| *rejects.entry(reason).or_default() += 1;

    // Validate, then deduplicate over the whole history: the first to be known stays.
    scratch.seen.clear();
    scratch.events.clear();
    for record in records {
        let key = ItemKey(resolved.target_keys[record.item as usize]);
        let Some(raw) = record.raw(user_key, key) else {
            reject(&mut out.rejects, RejectReason::UnknownValue);
            continue;
        };
        if let Err(reason) = raw.check() {
            reject(&mut out.rejects, reason);
        } else if !scratch.seen.insert(record.event) {
            reject(&mut out.rejects, RejectReason::Duplicate);
        } else {
            scratch.events.push(*record);
        }
    }
    want(plan, &scratch.events, composed_at, &mut scratch.wanted);

    let mut state = UserState::default();
    scratch.outcomes.clear();
    let mut next = 0;
    let first_row = out.examples.group.len();
    let n_plays_before = out.plays.item.len();
    for record in &scratch.events {
        // A request sees what was known strictly before it.
        while next < scratch.wanted.len() && scratch.wanted[next].requested_at <= record.known_at {
            read(plan, user, &state, &scratch.wanted[next], candidates, &mut out.examples);
            next += 1;
        }
        let at = TimestampMs(record.known_at);
        let facts = resolved.facts(record.item, at);
        let key = ItemKey(resolved.target_keys[record.item as usize]);
        let Some(raw) = record.raw(user_key, key) else { continue };
        let Ok(event) = Enricher.enrich_new(&mut state.enricher, &raw, &facts) else { continue };
        state.folds.update(&event);
        match record.kind {
            PLAY => {
                let action = match event.what {
                    What::Play { action, .. } => action,
                    _ => Action::Played,
                };
                out.plays.item.push(record.item);
                out.plays.action.push(action.code());
                out.plays.occurred_at.push(record.occurred_at);
                out.plays.known_at.push(record.known_at);
                out.plays.session.push(event.session);
                out.plays.listened_ms.push(record.listened);
                let is_asked = match plan.examples_from {
                    ExamplesFrom::Impressions => record.slate != 0,
                    ExamplesFrom::Plays => true,
                    ExamplesFrom::Nothing => false,
                };
                if is_asked && !scratch.wanted.is_empty() {
                    scratch.outcomes.push((record.slate, record.item, event));
                }
            }
            FEEDBACK => out.n_feedback += 1,
            _ => out.n_impressions += 1,
        }
    }
    for wanted in &scratch.wanted[next..] {
        read(plan, user, &state, wanted, candidates, &mut out.examples);
    }
    label(plan, scratch, first_row, &mut out.examples);

    if scratch.events.is_empty() {
        return;
    }
    out.users.push((user, (out.plays.item.len() - n_plays_before) as u64));
    state.encode(&mut out.states);
    out.state_ends.push(out.states.len() as u64);
}

/// The training rows this listener asks for, ordered by request, group and position.
fn want(
    plan: &BucketPlan<'_>,
    events: &[Record],
    composed_at: &dyn Fn(u64) -> Option<i64>,
    wanted: &mut Vec<Wanted>,
) {
    wanted.clear();
    let is_sampled = |group: u64| plan.sample_bits == 0 || group >> (64 - plan.sample_bits) == 0;
    match plan.examples_from {
        ExamplesFrom::Nothing => {}
        ExamplesFrom::Plays => {
            for r in events.iter().filter(|r| r.kind == PLAY) {
                let group = (r.event >> 64) as u64;
                if is_sampled(group) {
                    let (item, position) = (r.item, r.position);
                    wanted.push(Wanted {
                        requested_at: r.occurred_at,
                        group,
                        item,
                        position,
                        event: r.event,
                    });
                }
            }
        }
        ExamplesFrom::Impressions => {
            for r in events.iter().filter(|r| r.kind == IMPRESSION && is_sampled(r.slate)) {
                let (group, item, position) = (r.slate, r.item, r.position);
                // For now the moment it was shown; the slate's own moment follows.
                wanted.push(Wanted { requested_at: r.occurred_at, group, item, position, event: 0 });
            }
            wanted.sort_unstable_by_key(|w| (w.group, w.requested_at, w.position, w.item));
            let known_by = |event_at: i64, requested: i64| event_at.saturating_sub(requested) <= HORIZON_MS;
            for rows in wanted.chunk_by_mut(|a, b| a.group == b.group) {
                // Without the slate's record, the first thing shown tells when it was asked for.
                let requested = composed_at(rows[0].group).unwrap_or(rows[0].requested_at);
                for row in rows {
                    let in_time = known_by(row.requested_at, requested);
                    row.requested_at = if in_time { requested } else { i64::MIN };
                }
            }
            wanted.retain(|w| w.requested_at != i64::MIN);
            wanted.sort_unstable_by_key(|w| (w.group, w.item, w.position));
            wanted.dedup_by_key(|w| (w.group, w.item, w.position));
        }
    }
    wanted.sort_unstable_by_key(|w| (w.requested_at, w.group, w.position, w.item, w.event));
}

/// Reads one row's features; its item columns are filled once all listeners are through.
fn read(
    plan: &BucketPlan<'_>,
    user: u32,
    state: &UserState,
    wanted: &Wanted,
    candidates: &[CandidateSeen],
    out: &mut ExampleRows,
) {
    let as_of = TimestampMs(wanted.requested_at);
    let facts: ItemFacts = plan.resolved.facts(wanted.item, as_of);
    let candidate = if plan.examples_from == ExamplesFrom::Impressions {
        let key = |c: &CandidateSeen| (c.slate, c.item);
        let from = candidates.partition_point(|c| key(c) < (wanted.group, wanted.item));
        let same = candidates[from..].iter().take_while(|c| key(c) == (wanted.group, wanted.item));
        // An item may stand on two shelves: its own position first, any other else.
        same.clone().find(|c| c.position == wanted.position).or_else(|| same.clone().next())
    } else {
        None
    };
    let sources: Vec<SourceColumn> = candidate
        .into_iter()
        .flat_map(|c| &c.sources)
        .filter_map(|&(number, score, rank)| {
            let source_idx = plan.source_of.get(number as usize).copied().filter(|&i| i != NONE)?;
            Some(SourceColumn { source_idx: source_idx as usize, score, rank })
        })
        .collect();
    let input = FeatureInput {
        state,
        item: ItemKey(plan.resolved.target_keys[wanted.item as usize]),
        facts,
        stats: None,
        as_of,
        sources: &sources,
    };
    let from = out.values.len();
    out.values.resize(from + plan.schema.len(), f32::NAN);
    plan.schema.fill(&input, &mut out.values[from..]);
    out.group.push(wanted.group);
    out.requested_at.push(wanted.requested_at);
    out.user.push(user);
    out.item.push(wanted.item);
    out.position.push(wanted.position);
    out.prefix_propensity.push(candidate.map_or(f64::NAN, |c| c.prefix_propensity));
    out.labels.push([f32::NAN; 3]);
}

/// Joins the rows from `first_row` on with their outcome.
fn label(plan: &BucketPlan<'_>, scratch: &mut Scratch, first_row: usize, out: &mut ExampleRows) {
    if scratch.wanted.is_empty() {
        return;
    }
    let shown = |out: &ExampleRows, row: usize| {
        let requested_at = TimestampMs(out.requested_at[row]);
        let facts = plan.resolved.facts(out.item[row], requested_at);
        Shown { requested_at, has_duration: facts.duration_ms.is_some() }
    };
    if plan.examples_from == ExamplesFrom::Plays {
        // Rows follow the order of `wanted`; each is its own play.
        scratch.outcomes.sort_unstable_by_key(|o| o.2.event);
        for (i, wanted) in scratch.wanted.iter().enumerate() {
            let row = first_row + i;
            let found = scratch.outcomes.binary_search_by_key(&EventKey(wanted.event), |o| o.2.event);
            if let Ok(at) = found {
                out.labels[row] = labels::read(&shown(out, row), &[scratch.outcomes[at].2]);
            }
        }
        return;
    }
    scratch.outcomes.sort_unstable_by_key(|(slate, item, e)| (*slate, *item, e.occurred_at, e.event));
    let mut plays: Vec<Enriched> = Vec::new();
    for row in first_row..out.group.len() {
        let shown = shown(out, row);
        let key = (out.group[row], out.item[row]);
        let from = scratch.outcomes.partition_point(|o| (o.0, o.1) < key);
        plays.clear();
        plays.extend(
            scratch.outcomes[from..]
                .iter()
                .take_while(|o| (o.0, o.1) == key)
                .map(|o| o.2)
                .filter(|e| e.known_at.ms_since(shown.requested_at) <= HORIZON_MS)
                .filter(|e| e.position == NONE || out.position[row] == e.position),
        );
        out.labels[row] = labels::read(&shown, &plays);
    }
}
