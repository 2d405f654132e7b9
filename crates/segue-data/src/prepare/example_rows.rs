//! Training rows of a listener on the way through the bucket: which are asked for, what was known at the
//! request, and what became of it. Their item columns come once all listeners are through.

use segue_types::{EventKey, ItemKey, TimestampMs};

use super::bucket::BucketPlan;
use super::record::{IMPRESSION, NONE, PLAY, Record};
use super::scan::{CandidateSeen, SlateSeen};
use crate::catalogue::ItemFacts;
use crate::enrich::Enriched;
use crate::examples::ExamplesFrom;
use crate::features::{FeatureInput, SourceColumn};
use crate::label::{HORIZON_MS, Shown};
use crate::labels;
use crate::user_state::UserState;

/// A training row without its item columns.
#[derive(Debug, Default)]
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

/// A row that waits for its request's moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) requested_at: i64,
    pub(super) group: u64,
    pub(super) item: u32,
    pub(super) position: u32,
    /// For plays: the event itself is the outcome.
    pub(super) event: u128,
}

impl ExampleRows {
    pub(super) fn clear(&mut self) {
        self.group.clear();
        self.requested_at.clear();
        self.user.clear();
        self.item.clear();
        self.position.clear();
        self.prefix_propensity.clear();
        self.labels.clear();
        self.values.clear();
    }
}

/// The training rows this listener asks for, ordered by request, group and position.
pub(super) fn want(plan: &BucketPlan<'_>, events: &[Record], slates: &[SlateSeen], wanted: &mut Vec<Wanted>) {
    wanted.clear();
    let composed_at = |slate: u64| {
        let at = slates.binary_search_by_key(&slate, |s| s.slate).ok()?;
        Some(slates[at].composed_at)
    };
    let is_sampled = |group: u64| plan.sample_bits == 0 || group >> (64 - plan.sample_bits) == 0;
    // What became known later than this is neither shown nor an outcome, so a day's rows are final
    // a day later. Impressions from before the log's first slate ask at their own moment each.
    let in_time = |known_at: i64, requested: i64| known_at.saturating_sub(requested) <= HORIZON_MS;
    // A clock that runs ahead does not make a request come after what became of it.
    let own_moment = |r: &Record| r.occurred_at.min(r.known_at);
    let is_new = |requested: i64| TimestampMs(requested).day() > plan.base_day;
    match plan.examples_from {
        ExamplesFrom::Nothing => {}
        ExamplesFrom::Plays => {
            for r in events.iter().filter(|r| r.kind == PLAY && in_time(r.known_at, own_moment(r))) {
                let group = (r.event >> 64) as u64;
                if is_sampled(group) && is_new(own_moment(r)) {
                    let (requested_at, item, position) = (own_moment(r), r.item, r.position);
                    wanted.push(Wanted { requested_at, group, item, position, event: r.event });
                }
            }
        }
        ExamplesFrom::Impressions => {
            for r in events.iter().filter(|r| r.kind == IMPRESSION && is_sampled(r.slate)) {
                let has_slates = plan.slates_from.is_some_and(|first| TimestampMs(r.known_at).day() >= first);
                let requested = if has_slates { composed_at(r.slate) } else { Some(own_moment(r)) };
                let Some(requested_at) = requested else { continue };
                if in_time(r.known_at, requested_at) && is_new(requested_at) {
                    let (group, item, position) = (r.slate, r.item, r.position);
                    wanted.push(Wanted { requested_at, group, item, position, event: 0 });
                }
            }
            let card =
                |w: &Wanted| (w.group, w.item, w.position, TimestampMs(w.requested_at).day(), w.requested_at);
            wanted.sort_unstable_by_key(card);
            // A card met twice is one row; days are kept apart so that they can be continued.
            wanted.dedup_by(|next, kept| {
                let (a, b) = (card(next), card(kept));
                (a.0, a.1, a.2, a.3) == (b.0, b.1, b.2, b.3)
            });
        }
    }
    wanted.sort_unstable_by_key(|w| (w.requested_at, w.group, w.position, w.item, w.event));
}

/// Reads one row's features; its item columns are filled once all listeners are through.
pub(super) fn read(
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
pub(super) fn label(
    plan: &BucketPlan<'_>,
    wanted: &[Wanted],
    outcomes: &mut [(u64, u32, Enriched)],
    first_row: usize,
    out: &mut ExampleRows,
) {
    if wanted.is_empty() {
        return;
    }
    let shown = |out: &ExampleRows, row: usize| {
        let requested_at = TimestampMs(out.requested_at[row]);
        let facts = plan.resolved.facts(out.item[row], requested_at);
        Shown { requested_at, has_duration: facts.duration_ms.is_some() }
    };
    if plan.examples_from == ExamplesFrom::Plays {
        // Rows follow the order of `wanted`; each is its own play.
        outcomes.sort_unstable_by_key(|o| o.2.event);
        for (i, wanted) in wanted.iter().enumerate() {
            let row = first_row + i;
            let found = outcomes.binary_search_by_key(&EventKey(wanted.event), |o| o.2.event);
            if let Ok(at) = found {
                out.labels[row] = labels::read(&shown(out, row), &[outcomes[at].2]);
            }
        }
        return;
    }
    outcomes.sort_unstable_by_key(|(slate, item, e)| (*slate, *item, e.occurred_at, e.event));
    let mut plays: Vec<Enriched> = Vec::new();
    for row in first_row..out.group.len() {
        let shown = shown(out, row);
        let key = (out.group[row], out.item[row]);
        let from = outcomes.partition_point(|o| (o.0, o.1) < key);
        plays.clear();
        plays.extend(
            outcomes[from..]
                .iter()
                .take_while(|o| (o.0, o.1) == key)
                .map(|o| o.2)
                .filter(|e| e.known_at.ms_since(shown.requested_at) <= HORIZON_MS)
                .filter(|e| e.position == NONE || out.position[row] == e.position),
        );
        out.labels[row] = labels::read(&shown, &plays);
    }
}
