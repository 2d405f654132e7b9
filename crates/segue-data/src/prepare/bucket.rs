//! The second pass: one bucket's listeners, one after the other, through enrich, folds and labels.
//!
//! Buckets share nothing, so they may run on any thread or machine. Memory is what the bucket
//! holds: its records, sorted, and the output of its listeners.

use std::collections::BTreeMap;

use segue_types::{Day, UserKey};

use super::base::{Base, BaseCursor, Carried, CheckpointPart, PlayRange};
use super::example_rows::ExampleRows;
use super::listener::{Scratch, listener};
use super::record::{FEEDBACK, PLAY, Record};
use super::resolve::Resolved;
use super::scan::{BucketInput, CandidateSeen, Rejects};
use crate::error::DataError;
use crate::examples::ExamplesFrom;
use crate::features::FeatureSchema;
use crate::log::N_BUCKETS;
use crate::snapshot::by_key::ByKeyPart;
use crate::snapshot::states;
use crate::snapshot::times::PlayTimes;

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
    /// The first received day with a slate: from it on requests are slates of the log, before it every
    /// impression is a request of its own moment.
    pub(crate) slates_from: Option<Day>,
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
    pub(super) fn keeps_times(&self, block: i32) -> bool {
        self.base.is_some_and(|base| base.keeps_times(block))
    }
}

/// Packed plays of consecutive users.
#[derive(Debug, Default)]
pub(crate) struct PackedPlays {
    pub(crate) item: Vec<u32>,
    pub(crate) action: Vec<u8>,
    /// Bytes of [`PlayContext`](crate::PlayContext), starts of sessions marked.
    pub(crate) context: Vec<u8>,
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

impl PackedPlays {
    fn clear(&mut self) {
        self.item.clear();
        self.action.clear();
        self.context.clear();
        self.new.item.clear();
        self.new.action.clear();
        self.new.known_at.clear();
        self.new.listened_ms.clear();
    }
}

impl BucketOutput {
    /// Counts an accepted event.
    pub(super) fn count(&mut self, kind: u8, is_closed: bool) {
        let (all, closed) = match kind {
            PLAY => return,
            FEEDBACK => (&mut self.n_feedback, &mut self.checkpoint.n_feedback),
            _ => (&mut self.n_impressions, &mut self.checkpoint.n_impressions),
        };
        *all += 1;
        *closed += u64::from(is_closed);
    }

    /// Takes note of a play known after the base's checkpoint.
    pub(super) fn note(&mut self, play: &PlayTimes, closed_until: i64) {
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
