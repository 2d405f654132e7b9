//! The second pass: one bucket's listeners, one after the other, through enrich, folds and labels.
//!
//! Buckets share nothing, so they may run on any thread or machine. Memory is what the bucket
//! holds: its records, sorted, and the output of its listeners.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasherDefault;

use segue_types::{Action, Day, EventKey, ItemKey, RejectReason, TimestampMs, UserKey};

use super::base::{Base, BaseCursor, BaseUser, Carried, CheckpointPart, PlayRange};
use super::record::{FEEDBACK, IMPRESSION, NONE, PLAY, Record};
use super::resolve::Resolved;
use super::scan::{BucketInput, CandidateSeen, Rejects, SlateSeen};
use crate::catalogue::ItemFacts;
use crate::enrich::{Enriched, Enricher, What};
use crate::error::DataError;
use crate::examples::ExamplesFrom;
use crate::features::{FeatureInput, FeatureSchema, SourceColumn};
use crate::folds::interactions::KeyHasher;
use crate::label::{HORIZON_MS, Shown};
use crate::labels;
use crate::log::N_BUCKETS;
use crate::snapshot::by_key::ByKeyPart;
use crate::snapshot::times::{self, PlayTimes};
use crate::snapshot::{blocks, states};
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
    /// Requests are slates of the log; else every impression is a request of its own moment.
    pub(crate) requests_from_slates: bool,
    /// The snapshot that is continued, and its item rows in this run.
    pub(crate) base: Option<&'a Base>,
    pub(crate) base_items: &'a [u32],
    /// Requests on this day or before are in the base already.
    pub(crate) base_day: Day,
    /// What holds for listeners without events after the base's last day.
    pub(crate) carried: Option<&'a Carried>,
    /// The base has files of events through this day.
    pub(crate) events_through: Day,
    /// The last day that is closed, the checkpoint's.
    pub(crate) closed: Day,
}

impl BucketPlan<'_> {
    /// The day through which this run writes states of a class; `None` if the base has that file.
    pub(crate) fn writes_states(&self, class: u32) -> Option<Day> {
        let day = states::class_day(class, self.closed);
        (self.base.is_none() || states::class_day(class, self.base_day) != day).then_some(day)
    }

    /// Whether the base's file of a block of moments is kept.
    fn keeps_times(&self, block: i32) -> bool {
        self.base.is_some_and(|base| base.keeps_times(block))
    }
}

/// Packed plays of consecutive users.
#[derive(Debug, Default)]
pub(crate) struct PackedPlays {
    pub(crate) item: Vec<u32>,
    pub(crate) action: Vec<u8>,
    pub(crate) session: Vec<u32>,
    /// Plays that this run folded: all of them, unless it continues a snapshot.
    pub(crate) new: NewPlays,
}

/// Plays to be summed.
#[derive(Debug, Default)]
pub(crate) struct NewPlays {
    /// Item and action, left out where all plays are new.
    pub(crate) item: Vec<u32>,
    pub(crate) action: Vec<u8>,
    pub(crate) known_at: Vec<i64>,
    pub(crate) listened_ms: Vec<u32>,
}

/// How many plays a listener has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserPlays {
    /// User row.
    pub(crate) user: u32,
    pub(crate) n_plays: u64,
    /// Of them new ones, see [`PackedPlays::new`].
    pub(crate) n_new: u64,
}

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

/// What a bucket gives.
#[derive(Debug, Default)]
pub(crate) struct BucketOutput {
    pub(crate) plays: PackedPlays,
    /// Ascending by row.
    pub(crate) users: Vec<UserPlays>,
    /// Moments of plays by block of days, where this run writes the block.
    pub(crate) times: BTreeMap<i32, ByKeyPart>,
    /// Of plays known after the base's checkpoint.
    pub(crate) range: PlayRange,
    /// States of the bucket's class, if this run writes that file.
    pub(crate) class: u32,
    pub(crate) states: ByKeyPart,
    /// Events by day that states do not hold yet.
    pub(crate) events: BTreeMap<Day, ByKeyPart>,
    pub(crate) examples: ExampleRows,
    pub(crate) rejects: Rejects,
    pub(crate) n_feedback: u64,
    pub(crate) n_impressions: u64,
    pub(crate) checkpoint: CheckpointPart,
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

impl PackedPlays {
    fn clear(&mut self) {
        self.item.clear();
        self.action.clear();
        self.session.clear();
        self.new.item.clear();
        self.new.action.clear();
        self.new.known_at.clear();
        self.new.listened_ms.clear();
    }
}

impl ExampleRows {
    fn clear(&mut self) {
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

impl BucketOutput {
    /// Counts an accepted event.
    fn count(&mut self, kind: u8, is_closed: bool) {
        let (all, closed) = match kind {
            PLAY => return,
            FEEDBACK => (&mut self.n_feedback, &mut self.checkpoint.n_feedback),
            _ => (&mut self.n_impressions, &mut self.checkpoint.n_impressions),
        };
        *all += 1;
        *closed += u64::from(is_closed);
    }

    /// Takes note of a play known after the base's checkpoint.
    fn note(&mut self, play: &PlayTimes, closed_until: i64) {
        self.range.add(play);
        if play.known_at < closed_until {
            self.checkpoint.plays.add(play);
        }
    }

    /// Forgets a bucket and keeps the memory for the next.
    fn clear(&mut self) {
        self.plays.clear();
        self.users.clear();
        self.times.values_mut().for_each(ByKeyPart::clear);
        self.range = PlayRange::default();
        self.states.clear();
        self.events.values_mut().for_each(ByKeyPart::clear);
        self.examples.clear();
        self.rejects.clear();
        (self.n_feedback, self.n_impressions) = (0, 0);
        self.checkpoint.clear();
    }
}

/// Folds one bucket; `out` holds its result and nothing else afterwards.
pub(crate) fn run(
    plan: &BucketPlan<'_>,
    bucket: u32,
    input: &mut BucketInput,
    out: &mut BucketOutput,
) -> Result<(), DataError> {
    out.clear();
    let resolved = plan.resolved;
    let BucketInput { records, slates, candidates, .. } = input;
    for r in &mut *records {
        r.user = resolved.user_row[r.user as usize];
        r.item = resolved.target_of[r.item as usize];
    }
    for s in &mut *slates {
        s.user = resolved.user_row[s.user as usize];
    }
    for c in &mut *candidates {
        c.user = resolved.user_row[c.user as usize];
        c.item = resolved.target_of[c.item as usize];
    }
    slates.sort_unstable();
    slates.dedup_by_key(|s| (s.user, s.slate));
    candidates.sort_by(|a, b| {
        let key = |c: &CandidateSeen| (c.user, c.slate, c.item, c.position);
        key(a).cmp(&key(b)).then(a.prefix_propensity.total_cmp(&b.prefix_propensity))
    });

    let mut scratch = Scratch::default();
    fn of_user<T>(all: &[T], user: u32, key: impl Fn(&T) -> u32) -> &[T] {
        let from = all.partition_point(|x| key(x) < user);
        let to = from + all[from..].partition_point(|x| key(x) == user);
        &all[from..to]
    }
    let bucket_of = |key: &u128| UserKey(*key).bucket(N_BUCKETS);
    let first = resolved.user_keys.partition_point(|key| bucket_of(key) < bucket);
    let last = resolved.user_keys.partition_point(|key| bucket_of(key) <= bucket);
    let (starts, mut order) = by_user(&records[..], first as u32..last as u32);
    out.class = states::class_of(bucket);
    let mut base = match (plan.base, resolved.user_keys.get(first)) {
        (Some(base), Some(&key)) => Some(base.from(bucket, UserKey(key))),
        _ => None,
    };
    let mut of_listener = Vec::new();
    for user in first as u32..last as u32 {
        let at = (user - first as u32) as usize;
        let order = &mut order[starts[at]..starts[at + 1]];
        // Parts come nearly in order, so a stable merge sort finds long runs.
        order.sort_by(|&a, &b| records[a as usize].order(&records[b as usize]));
        of_listener.clear();
        of_listener.extend(order.iter().map(|&at| records[at as usize]));
        let records = &of_listener;
        let slates = of_user(&slates[..], user, |s| s.user);
        let candidates = of_user(&candidates[..], user, |c| c.user);
        let base = base.as_mut().and_then(|base: &mut BaseCursor<'_>| base.user(resolved.user_key(user)));
        listener(plan, user, base, records, slates, candidates, &mut scratch, out)?;
    }
    Ok(())
}

/// Places of records by user, each user's in the order they came in: where each of `users` begins,
/// and the places.
fn by_user(records: &[Record], users: std::ops::Range<u32>) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0_usize; users.len() + 1];
    for r in records {
        starts[(r.user - users.start) as usize + 1] += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    let mut next = starts.clone();
    let mut order = vec![0_u32; records.len()];
    for (at, r) in (0..).zip(records) {
        let next = &mut next[(r.user - users.start) as usize];
        order[*next] = at;
        *next += 1;
    }
    (starts, order)
}

#[derive(Default)]
struct Scratch {
    /// Of this run's events, those that come first.
    seen: HashSet<u64, BuildHasherDefault<KeyHasher>>,
    /// Of this run's events, those the base has.
    doubled: HashSet<u64, BuildHasherDefault<KeyHasher>>,
    events: Vec<Record>,
    wanted: Vec<Wanted>,
    times: BlockOfTimes,
    /// Plays that refer to a slate: slate, target, and the event.
    outcomes: Vec<(u64, u32, Enriched)>,
}

/// What deduplication compares within one listener: the event key's halves, folded.
fn fingerprint(event: u128) -> u64 {
    (event >> 64) as u64 ^ event as u64
}

/// Takes over the plays of the base known before a moment, which is not before `base_until`.
fn plays_before(
    plan: &BucketPlan<'_>,
    user: UserKey,
    base: &BaseUser<'_>,
    until: i64,
    base_until: i64,
    closed_until: i64,
    out: &mut BucketOutput,
) {
    let Some(snapshot) = plan.base.map(|b| &b.snapshot) else { return };
    let plays = snapshot.undated_sequences().user(base.row as usize);
    let mut n_plays = plays.len();
    for &(block, bytes) in &base.times {
        let before = times::before(block, bytes, until);
        n_plays -= (bytes.len() - before.len()) / times::BYTES;
        for play in times::plays(block, before).rev().take_while(|play| play.known_at >= base_until) {
            out.note(&play, closed_until);
        }
        if !plan.keeps_times(block) {
            out.times.entry(block).or_default().add(user.0, |out| out.extend_from_slice(before));
        }
    }
    let plays = plays.head(n_plays);
    out.plays.item.extend(plays.item.iter().map(|&row| plan.base_items[row as usize]));
    out.plays.action.extend_from_slice(plays.action);
    out.plays.session.extend_from_slice(plays.session);
}

/// Moments of a listener's plays on their way into blocks of days: plays ascend by the moment they
/// became known.
#[derive(Default)]
struct BlockOfTimes {
    block: i32,
    /// The first moment after the block.
    until: i64,
    bytes: Vec<u8>,
}

impl BlockOfTimes {
    fn add(&mut self, plan: &BucketPlan<'_>, user: UserKey, play: &PlayTimes, out: &mut BucketOutput) {
        if play.known_at >= self.until || self.bytes.is_empty() {
            self.end(plan, user, out);
            self.block = blocks::block_of(TimestampMs(play.known_at).day());
            self.until = Day(blocks::last_day(self.block).0.saturating_add(1)).start().0;
        }
        times::put(self.block, play, &mut self.bytes);
    }

    /// Gives away what is gathered.
    fn end(&mut self, plan: &BucketPlan<'_>, user: UserKey, out: &mut BucketOutput) {
        if !self.bytes.is_empty() && !plan.keeps_times(self.block) {
            out.times.entry(self.block).or_default().add(user.0, |out| out.extend_from_slice(&self.bytes));
        }
        self.bytes.clear();
    }
}

/// A listener's state on its way through the events, written when its class's day is over.
struct Running {
    user: UserKey,
    state: UserState,
    is_known: bool,
    /// The first moment after the state to be written; `None` once that is done.
    write_at: Option<i64>,
}

impl Running {
    /// Comes to an event known at `at`.
    fn reach(&mut self, at: i64, out: &mut BucketOutput) {
        if self.write_at.is_some_and(|from| at >= from) {
            self.write(out);
        }
    }

    /// Writes the state unless that is done.
    fn write(&mut self, out: &mut BucketOutput) {
        if self.write_at.take().is_some() && self.is_known {
            out.states.add(self.user.0, |bytes| self.state.encode(bytes));
        }
    }
}

/// The state through the base's checkpoint. `None` if no event has to be folded onto it: then
/// everything about it is written, from events of the base through `last_day`.
fn resume(
    plan: &BucketPlan<'_>,
    user: UserKey,
    base: Option<&BaseUser<'_>>,
    folds_on: bool,
    last_day: Day,
    out: &mut BucketOutput,
) -> Result<Option<Running>, DataError> {
    let through = plan.writes_states(out.class);
    let write_at = through.map(|day| Day(day.0.saturating_add(1)).start().0);
    let mut running = Running { user, state: UserState::default(), is_known: false, write_at };
    let Some(kept) = base.map(|b| &b.kept) else { return Ok(Some(running)) };
    if !folds_on {
        // Only the class may ask for the state, and only through its day.
        let Some(through) = through else { return Ok(None) };
        if !kept.days.iter().any(|(day, _)| *day <= through.min(last_day)) {
            out.states.add(user.0, |bytes| bytes.extend_from_slice(kept.state));
            return Ok(None);
        }
    }
    let damaged = || DataError::corrupt("states", "states and events of this version", "other bytes");
    running.state = kept.state().ok_or_else(damaged)?;
    running.is_known = !kept.state.is_empty();
    for (day, events) in kept.days.iter().take_while(|(day, _)| *day <= last_day) {
        running.reach(day.start().0, out);
        if !folds_on && running.write_at.is_none() {
            return Ok(None);
        }
        states::fold_events(&mut running.state, user, events).ok_or_else(damaged)?;
        running.is_known = true;
    }
    if !folds_on {
        running.write(out);
        return Ok(None);
    }
    Ok(Some(running))
}

fn listener(
    plan: &BucketPlan<'_>,
    user: u32,
    base: Option<BaseUser<'_>>,
    records: &[Record],
    slates: &[SlateSeen],
    candidates: &[CandidateSeen],
    scratch: &mut Scratch,
    out: &mut BucketOutput,
) -> Result<(), DataError> {
    let resolved = plan.resolved;
    let user_key = resolved.user_key(user);
    let before = (out.plays.item.len(), out.plays.new.known_at.len());
    if let Some(base) = &base {
        for (block, seen) in &base.open_seen {
            out.checkpoint.seen(*block).add(user_key.0, |bytes| bytes.extend_from_slice(seen));
        }
    }
    // Where no event came after the base's last day, all but the count of rejects is known.
    let is_over = |until: i64| {
        records.iter().all(|r| r.known_at < until) && slates.iter().all(|s| s.composed_at < until)
    };
    let carried = plan.carried.filter(|c| base.is_some() && !records.is_empty() && is_over(c.until));
    let base_until = Day(plan.base_day.0.saturating_add(1)).start().0;
    let closed_until = Day(plan.closed.0.saturating_add(1)).start().0;
    if let Some(base) = &base {
        let until = carried.map_or(base_until, |c| c.until);
        plays_before(plan, user_key, base, until, base_until, closed_until, out);
    }
    let folds_on = carried.is_none() && !records.is_empty();
    let last_day = if carried.is_some() { Day(i32::MAX) } else { plan.base_day };
    let running = resume(plan, user_key, base.as_ref(), folds_on, last_day, out)?;
    if records.is_empty() {
        finish(user, before, out);
        return Ok(());
    }
    scratch.seen.clear();
    scratch.doubled.clear();
    scratch.events.clear();
    if let Some(base) = &base {
        // The few new ones are looked up, not the many old.
        scratch.seen.extend(records.iter().map(|r| fingerprint(r.event)));
        for old in base.seen.iter().flat_map(|bytes| bytes.chunks_exact(8)) {
            let old = u64::from_le_bytes(old.try_into().unwrap_or_default());
            if scratch.seen.contains(&old) {
                scratch.doubled.insert(old);
            }
        }
        scratch.seen.clear();
    }

    // Validate, then deduplicate over the whole history: the first to be known stays.
    for record in records {
        let is_frozen = record.known_at < closed_until;
        let key = ItemKey(resolved.target_keys[record.item as usize]);
        let reason = match record.raw(user_key, key).map(|raw| raw.check()) {
            None => Some(RejectReason::UnknownValue),
            Some(Err(reason)) => Some(reason),
            Some(Ok(())) => {
                let event = fingerprint(record.event);
                let is_new = !scratch.doubled.contains(&event) && scratch.seen.insert(event);
                (!is_new).then_some(RejectReason::Duplicate)
            }
        };
        if let Some(reason) = reason {
            *out.rejects.entry(reason).or_default() += 1;
            if is_frozen {
                *out.checkpoint.rejects.entry(reason).or_default() += 1;
            }
            continue;
        }
        scratch.events.push(*record);
        if is_frozen {
            let block = blocks::block_of(TimestampMs(record.known_at).day());
            let event = fingerprint(record.event).to_le_bytes();
            out.checkpoint.seen(block).add(user_key.0, |bytes| bytes.extend_from_slice(&event));
        }
    }
    let Some(mut running) = running else {
        carry(user, carried, &scratch.events, closed_until, out);
        finish(user, before, out);
        return Ok(());
    };
    want(plan, &scratch.events, slates, &mut scratch.wanted);

    scratch.outcomes.clear();
    let mut next = 0;
    let kept_from = states::first_kept_day(plan.closed).start().0;
    let first_row = out.examples.group.len();
    for record in &scratch.events {
        let is_frozen = record.known_at < closed_until;
        running.reach(record.known_at, out);
        let state = &mut running.state;
        // A request sees what was known strictly before it.
        while next < scratch.wanted.len() && scratch.wanted[next].requested_at <= record.known_at {
            read(plan, user, state, &scratch.wanted[next], candidates, &mut out.examples);
            next += 1;
        }
        let at = TimestampMs(record.known_at);
        let facts = resolved.facts(record.item, at);
        let key = ItemKey(resolved.target_keys[record.item as usize]);
        let Some(raw) = record.raw(user_key, key) else { continue };
        let Ok(event) = Enricher.enrich_new(&mut state.enricher, &raw, &facts) else { continue };
        state.folds.update(&event);
        running.is_known = true;
        if record.known_at >= kept_from && at.day() > plan.events_through {
            let day = out.events.entry(at.day()).or_default();
            // A feedback's target may become an item later, with other facts; no fold asks for them.
            let facts = if record.kind == FEEDBACK { ItemFacts::default() } else { facts };
            day.add(user_key.0, |bytes| states::put_event(record, key, &facts, bytes));
        }
        match record.kind {
            PLAY => {
                let action = match event.what {
                    What::Play { action, .. } => action,
                    _ => Action::Played,
                };
                out.plays.item.push(record.item);
                out.plays.action.push(action.code());
                out.plays.session.push(event.session);
                let new = &mut out.plays.new;
                if plan.base.is_some() {
                    new.item.push(record.item);
                    new.action.push(action.code());
                }
                new.known_at.push(record.known_at);
                new.listened_ms.push(record.listened);
                let (known_at, occurred_at) = (record.known_at, record.occurred_at);
                let play = PlayTimes { known_at, occurred_at, listened_ms: record.listened };
                out.note(&play, closed_until);
                scratch.times.add(plan, user_key, &play, out);
                let is_asked = match plan.examples_from {
                    ExamplesFrom::Impressions => record.slate != 0,
                    ExamplesFrom::Plays => true,
                    ExamplesFrom::Nothing => false,
                };
                if is_asked && !scratch.wanted.is_empty() {
                    scratch.outcomes.push((record.slate, record.item, event));
                }
            }
            kind => out.count(kind, is_frozen),
        }
    }
    for wanted in &scratch.wanted[next..] {
        read(plan, user, &running.state, wanted, candidates, &mut out.examples);
    }
    label(plan, scratch, first_row, &mut out.examples);
    running.write(out);
    scratch.times.end(plan, user_key, out);
    finish(user, before, out);
    Ok(())
}

/// Takes over what the base has of a listener without later events: its training rows that are not
/// final. Its events were counted through the checkpoint only.
fn carry(user: u32, carried: Option<&Carried>, events: &[Record], closed_until: i64, out: &mut BucketOutput) {
    for event in events {
        out.count(event.kind, event.known_at < closed_until);
    }
    for rows in carried.iter().flat_map(|c| &c.days) {
        let from = rows.user.partition_point(|&u| u < user);
        let to = from + rows.user[from..].partition_point(|&u| u == user);
        let out = &mut out.examples;
        out.group.extend_from_slice(&rows.group[from..to]);
        out.requested_at.extend_from_slice(&rows.requested_at[from..to]);
        out.user.extend_from_slice(&rows.user[from..to]);
        out.item.extend_from_slice(&rows.item[from..to]);
        out.position.extend_from_slice(&rows.position[from..to]);
        out.prefix_propensity.extend_from_slice(&rows.prefix_propensity[from..to]);
        for row in from..to {
            out.labels.push([0, 1, 2].map(|label| rows.labels[label][row]));
            out.values.extend_from_slice(rows.features(row));
        }
    }
}

/// Ends a listener that began after so many plays, and new plays, of the bucket.
fn finish(user: u32, before: (usize, usize), out: &mut BucketOutput) {
    let n_plays = (out.plays.item.len() - before.0) as u64;
    let n_new = (out.plays.new.known_at.len() - before.1) as u64;
    out.users.push(UserPlays { user, n_plays, n_new });
}

/// The training rows this listener asks for, ordered by request, group and position.
fn want(plan: &BucketPlan<'_>, events: &[Record], slates: &[SlateSeen], wanted: &mut Vec<Wanted>) {
    wanted.clear();
    let composed_at = |slate: u64| {
        let at = slates.binary_search_by_key(&slate, |s| s.slate).ok()?;
        Some(slates[at].composed_at)
    };
    let is_sampled = |group: u64| plan.sample_bits == 0 || group >> (64 - plan.sample_bits) == 0;
    // What became known later than this is neither shown nor an outcome, so a day's rows are final
    // a day later. Without slates in the log, each impression asks at its own moment.
    let in_time = |known_at: i64, requested: i64| known_at.saturating_sub(requested) <= HORIZON_MS;
    let is_new = |requested: i64| TimestampMs(requested).day() > plan.base_day;
    match plan.examples_from {
        ExamplesFrom::Nothing => {}
        ExamplesFrom::Plays => {
            for r in events.iter().filter(|r| r.kind == PLAY && in_time(r.known_at, r.occurred_at)) {
                let group = (r.event >> 64) as u64;
                if is_sampled(group) && is_new(r.occurred_at) {
                    let (requested_at, item, position) = (r.occurred_at, r.item, r.position);
                    wanted.push(Wanted { requested_at, group, item, position, event: r.event });
                }
            }
        }
        ExamplesFrom::Impressions => {
            for r in events.iter().filter(|r| r.kind == IMPRESSION && is_sampled(r.slate)) {
                let requested =
                    if plan.requests_from_slates { composed_at(r.slate) } else { Some(r.occurred_at) };
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
