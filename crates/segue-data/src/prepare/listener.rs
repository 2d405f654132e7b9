//! One listener: what an earlier snapshot has of it, then its events through enrich, folds and labels.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use segue_types::{Action, Day, ItemKey, RejectReason, TimestampMs, UserKey};

use super::base::{BaseUser, Carried};
use super::bucket::{BucketOutput, BucketPlan, UserPlays};
use super::example_rows::{Wanted, label, read, want};
use super::record::{FEEDBACK, PLAY, Record};
use super::scan::{CandidateSeen, SlateSeen};
use crate::catalogue::ItemFacts;
use crate::enrich::{Enriched, Enricher, What};
use crate::error::DataError;
use crate::examples::ExamplesFrom;
use crate::folds::interactions::KeyHasher;
use crate::snapshot::times::{self, PlayTimes};
use crate::snapshot::{blocks, states};
use crate::user_state::UserState;

pub(super) fn listener(
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
        let session = state.enricher.session();
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
                let context = event.what.context().with_start(session != Some(event.session));
                out.plays.context.push(context.byte());
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
    label(plan, &scratch.wanted, &mut scratch.outcomes, first_row, &mut out.examples);
    running.write(out);
    scratch.times.end(plan, user_key, out);
    finish(user, before, out);
    Ok(())
}

#[derive(Default)]
pub(super) struct Scratch {
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
    out.plays.context.extend_from_slice(plays.context);
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
