//! From listeners' plays to training windows and batches. Nothing is copied but the batch at hand.

use std::ops::Range;

use segue_data::{Sequence, Sequences};
use segue_nn::{Counter, Times};
use segue_types::TimestampMs;

use crate::retrieval::Targets;
use crate::sequence::completion::label_of;
use crate::sequence::network::Events;
use crate::sequence::settings::Training;
use crate::sequence::user_features::{NO_USER, user_code};
use crate::{FitInput, UserFeatures};

/// Marks a token without a target.
pub const NO_TARGET: u32 = u32::MAX;

/// A run of a listener's plays: every play but the last is an input, every play but the first a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    user: u32,
    first: u32,
    last: u32,
}

/// A listener whose last wanted play is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldOut {
    /// Row of the listener.
    pub user: u32,
    /// Plays before the target.
    pub n_history: u32,
    /// The target.
    pub item: u32,
}

/// Training windows and held-out plays of a data set.
#[derive(Debug, Clone)]
pub struct Windows<'a> {
    sequences: Sequences<'a>,
    targets: Targets,
    windows: Vec<Window>,
    /// Held-out plays, by listener.
    pub held_out: Vec<HeldOut>,
    /// `[n_items]` plays in training.
    pub counts: Vec<u64>,
    /// When the system knew the newest play, held-out ones included; `None` for undated data.
    pub newest_play: Option<TimestampMs>,
    users: UserFeatures<'a>,
    has_user_tokens: bool,
}

impl<'a> Windows<'a> {
    /// Cuts every listener's plays known before `input.until`, newest first, into windows of at most
    /// `max_history` inputs. The last window of a listener may be held out: see [`Training`].
    #[must_use]
    pub fn new(input: &FitInput<'a>, targets: Targets, max_history: usize, training: &Training) -> Self {
        Self::newer(input, targets, max_history, training, None)
    }

    /// As [`new`](Self::new), but leaves out windows and held-out plays without a play known after `since`.
    /// All plays are counted. Undated data is taken as a whole.
    #[must_use]
    pub fn newer(
        input: &FitInput<'a>,
        targets: Targets,
        max_history: usize,
        training: &Training,
        since: Option<TimestampMs>,
    ) -> Self {
        let is_new = |plays: Sequence<'_>, at: usize| {
            since.is_none_or(|since| plays.known_at.get(at).is_none_or(|&known_at| known_at > since.0))
        };
        let mut out = Self {
            sequences: input.sequences,
            targets,
            windows: Vec::new(),
            held_out: Vec::new(),
            counts: vec![0; input.n_items() as usize],
            newest_play: None,
            users: input.user_features,
            has_user_tokens: false,
        };
        let held_out = |plays: Sequence<'_>| last_target(plays, targets).filter(|&at| is_new(plays, at));
        // With nothing but newer plays to validate on, only listeners who have one are drawn.
        let can_be_held_out = |plays: Sequence<'_>| since.is_none() || held_out(plays).is_some();
        let chosen = out.choose(input, training, can_be_held_out);
        let mut next = chosen.iter().peekable();
        for (user, plays) in (0_u32..).zip(input.users()) {
            let newest = plays.known_at.last().map(|&known_at| TimestampMs(known_at));
            out.newest_play = out.newest_play.max(newest);
            let mut end = plays.len();
            if next.next_if(|&&u| u == user).is_some()
                && let Some(at) = held_out(plays)
            {
                out.held_out.push(HeldOut { user, n_history: at as u32, item: plays.item[at] });
                end = at;
            }
            for &item in &plays.item[..end] {
                out.counts[item as usize] += 1;
            }
            while end >= 2 {
                let first = end.saturating_sub(max_history + 1);
                let wanted = |at: usize| targets.admits(plays.action.get(at).copied());
                if (first + 1..end).any(wanted) && is_new(plays, end - 1) {
                    out.windows.push(Window { user, first: first as u32, last: end as u32 });
                }
                end = if first == 0 { 0 } else { first + 1 };
            }
        }
        out
    }

    /// Whether a sequence begins with what is known of its listener.
    #[must_use]
    pub fn with_user_tokens(self, has_user_tokens: bool) -> Self {
        Self { has_user_tokens, ..self }
    }

    /// The code of a listener as known when the first of some plays became known, if sequences begin with
    /// it.
    #[must_use]
    pub fn user_token(&self, user: u32, plays: Sequence<'_>) -> Option<u32> {
        let known_at = plays.known_at.first().copied().unwrap_or(i64::MAX);
        let (market, plan, birth_year) = self.users.known_at(user as usize, known_at);
        self.has_user_tokens.then(|| user_code(market, plan, birth_year))
    }

    /// Listeners to hold out of: a seeded sample of those with at least three plays.
    fn choose(
        &self,
        input: &FitInput<'a>,
        training: &Training,
        can_be: impl Fn(Sequence<'_>) -> bool,
    ) -> Vec<u32> {
        let draws = Counter::new(input.seed, 0x4E1D_0007);
        let mut able: Vec<(u64, u32)> = (0_u32..)
            .zip(input.users())
            .filter(|(_, plays)| plays.len() >= 3 && can_be(*plays))
            .map(|(user, _)| (draws.bits(u64::from(user)), user))
            .collect();
        able.sort_unstable();
        let n = (able.len() as f64 * f64::from(training.validation_share)).ceil() as usize;
        let mut chosen: Vec<u32> =
            able.into_iter().take(n.min(training.validation_listeners)).map(|(_, user)| user).collect();
        chosen.sort_unstable();
        chosen
    }

    /// Number of windows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether there is nothing to learn from.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Input tokens of all windows.
    #[must_use]
    pub fn n_tokens(&self) -> u64 {
        self.windows.iter().map(|w| u64::from(w.last - 1 - w.first)).sum()
    }

    /// Plays of a listener.
    #[must_use]
    pub fn user(&self, user: u32) -> Sequence<'a> {
        self.sequences.user(user as usize)
    }

    /// Fills shards with the windows `rows`: each goes to the shard that has the fewest tokens so far.
    pub fn fill(&self, rows: &[u32], shards: &mut [Batch]) {
        shards.iter_mut().for_each(Batch::clear);
        for &row in rows {
            let w = self.windows[row as usize];
            let plays = self.user(w.user);
            let Some(shard) = shards.iter_mut().min_by_key(|s| s.item.len()) else { return };
            let inputs = w.first as usize..w.last as usize - 1;
            let window = plays.head(w.last as usize).tail((w.last - w.first) as usize);
            if let Some(code) = self.user_token(w.user, window) {
                shard.begin(code, window, window.occurred_at);
            }
            let begin = shard.item.len();
            shard.push(window.head(inputs.len()), window.occurred_at);
            for at in inputs.start + 1..=inputs.end {
                let wanted = self.targets.admits(plays.action.get(at).copied());
                if wanted {
                    shard.target_token.push((begin + at - 1 - inputs.start) as u32);
                    shard.target.push(plays.item[at]);
                }
                if let Some(label) = plays.action.get(at).copied().and_then(label_of) {
                    shard.label_token.push((begin + at - 1 - inputs.start) as u32);
                    shard.label_item.push(plays.item[at]);
                    shard.label.push(label);
                }
            }
        }
    }
}

/// Whole seconds since 1970 of milliseconds since then; moments before 1970 and after 2106 are cut off.
fn seconds(ms: i64) -> u32 {
    ms.div_euclid(1000).clamp(0, i64::from(u32::MAX)) as u32
}

fn last_target(plays: Sequence<'_>, targets: Targets) -> Option<usize> {
    (1..plays.len()).rev().find(|&at| targets.admits(plays.action.get(at).copied()))
}

/// The tokens of one gradient shard.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[n_sequences + 1]`.
    pub offsets: Vec<u32>,
    /// `[n_tokens]` item rows.
    pub item: Vec<u32>,
    /// `[n_tokens]` action codes, or empty.
    pub action: Vec<u8>,
    /// `[n_tokens]` bytes of [`PlayContext`](segue_data::PlayContext), or empty.
    pub context: Vec<u8>,
    /// `[n_tokens]` seconds since 1970 when each event occurred, or empty.
    pub occurred_at: Vec<u32>,
    /// `[n_tokens]` seconds since 1970 when it was asked what follows the event, or empty.
    pub request_at: Vec<u32>,
    /// `[n_tokens]` codes of listeners' tokens and [`NO_USER`] for events, or empty.
    pub user: Vec<u32>,
    /// `[n_targets]` the token that predicts each target.
    pub target_token: Vec<u32>,
    /// `[n_targets]` item rows.
    pub target: Vec<u32>,
    /// `[n_labels]` the token before each play whose completion is known.
    pub label_token: Vec<u32>,
    /// `[n_labels]` item rows of these plays.
    pub label_item: Vec<u32>,
    /// `[n_labels]` 1 completed, 0 skipped.
    pub label: Vec<f32>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            item: vec![],
            action: vec![],
            context: vec![],
            occurred_at: vec![],
            request_at: vec![],
            user: vec![],
            target_token: vec![],
            target: vec![],
            label_token: vec![],
            label_item: vec![],
            label: vec![],
        }
    }
}

/// Whole sequences of a [`Batch`] that stand one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Which sequences.
    pub sequences: Range<usize>,
    /// Their tokens.
    pub tokens: Range<usize>,
    /// Their targets.
    pub targets: Range<usize>,
    /// Their plays whose completion is known.
    pub labels: Range<usize>,
}

impl Batch {
    /// The sequences from `first` on, as many as have at most `n_tokens` tokens together, and at least
    /// one. `None` after the last.
    #[must_use]
    pub fn chunk(&self, first: usize, n_tokens: usize) -> Option<Chunk> {
        let begin = *self.offsets.get(first).filter(|_| first + 1 < self.offsets.len())?;
        let fit = self.offsets[first + 1..].partition_point(|&end| (end - begin) as usize <= n_tokens);
        let sequences = first..first + fit.max(1);
        let end = self.offsets[sequences.end];
        let before = |tokens: &[u32], token: u32| tokens.partition_point(|&t| t < token);
        let between = |tokens: &[u32]| before(tokens, begin)..before(tokens, end);
        Some(Chunk {
            sequences,
            tokens: begin as usize..end as usize,
            targets: between(&self.target_token),
            labels: between(&self.label_token),
        })
    }

    /// Begins the next sequence, which is `events` and not empty, with a token for its listener. It stands at the
    /// moment of the first event, and names its item, so that no other row of the table is touched.
    pub fn begin(&mut self, code: u32, events: Sequence<'_>, moments: &[i64]) {
        self.user.resize(self.item.len(), NO_USER);
        self.user.push(code);
        self.item.extend(events.item.first());
        self.action.extend(events.action.first().map(|_| 0));
        self.context.extend(events.context.first().map(|_| 0));
        for column in [&mut self.occurred_at, &mut self.request_at] {
            column.extend(moments.first().map(|&at| seconds(at)));
        }
    }

    /// Adds a sequence without targets. `moments`, in milliseconds, are those of its events and of the
    /// request at its end, or empty: what follows an event is asked for when the next one occurs.
    pub fn push(&mut self, events: Sequence<'_>, moments: &[i64]) {
        self.item.extend_from_slice(events.item);
        self.action.extend_from_slice(events.action);
        self.context.extend_from_slice(events.context);
        if let [before @ .., _] = moments {
            self.occurred_at.extend(before.iter().map(|&at| seconds(at)));
            self.request_at.extend(moments[1..].iter().map(|&at| seconds(at)));
        }
        if !self.user.is_empty() {
            self.user.resize(self.item.len(), NO_USER);
        }
        self.offsets.push(self.item.len() as u32);
    }

    /// The events of some tokens.
    #[must_use]
    pub fn events(&self, tokens: Range<usize>) -> Events<'_> {
        let times = Times { occurred_at: &self.occurred_at, request_at: &self.request_at };
        Events {
            item: &self.item[tokens.clone()],
            action: self.action.get(tokens.clone()).unwrap_or_default(),
            context: self.context.get(tokens.clone()).unwrap_or_default(),
            user: self.user.get(tokens.clone()).unwrap_or_default(),
            times: (!self.occurred_at.is_empty()).then(|| times.of(tokens)),
        }
    }

    /// Empties it and keeps the memory.
    pub fn clear(&mut self) {
        self.offsets.clear();
        self.offsets.push(0);
        self.item.clear();
        self.action.clear();
        self.context.clear();
        self.occurred_at.clear();
        self.request_at.clear();
        self.user.clear();
        self.target_token.clear();
        self.target.clear();
        self.label_token.clear();
        self.label_item.clear();
        self.label.clear();
    }
}

#[cfg(test)]
mod tests {
    use segue_data::OwnedSequences;
    use segue_types::Action;

    use super::*;

    #[test]
    fn windows_cover_all_plays_and_skips_are_inputs_but_no_targets() {
        let mut plays = OwnedSequences::from_items(9, [vec![0, 1, 2, 3, 4, 5, 6], vec![7], vec![]]);
        plays.action = vec![Action::Completed.code(); 8];
        plays.action[3] = Action::Skipped.code();
        let none = Training { validation_share: 0.0, ..Training::default() };
        let windows = Windows::new(&FitInput::of(plays.view()), Targets::Wanted, 4, &none);
        assert_eq!(windows.len(), 2);
        let mut shards = vec![Batch::default()];
        windows.fill(&[0, 1], &mut shards);
        assert_eq!(shards[0].item, [2, 3, 4, 5, 0, 1]);
        assert_eq!(shards[0].offsets, [0, 4, 6]);
        assert_eq!(shards[0].target, [4, 5, 6, 1, 2]);
        assert_eq!(shards[0].target_token, [1, 2, 3, 4, 5]);
        assert_eq!(shards[0].label_token, [0, 1, 2, 3, 4, 5], "a skip has no target and a label");
        assert_eq!(shards[0].label_item, [3, 4, 5, 6, 1, 2]);
        assert_eq!(shards[0].label, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(windows.counts, [1, 1, 1, 1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn what_follows_an_event_is_asked_for_when_the_next_one_occurs() {
        let mut plays = OwnedSequences::from_items(9, [vec![0, 1, 2, 3], vec![4, 5]]);
        plays.occurred_at = vec![-5, 1_999, 7_000, i64::MAX, 10_000, 8_000];
        plays.known_at = vec![0, 2_000, 8_000, 9_000, 10_000, 11_000];
        let none = Training { validation_share: 0.0, ..Training::default() };
        let windows = Windows::new(&FitInput::of(plays.view()), Targets::All, 4, &none);
        let mut shards = vec![Batch::default()];
        windows.fill(&[0, 1], &mut shards);
        assert_eq!(shards[0].occurred_at, [0, 1, 7, 10]);
        assert_eq!(shards[0].request_at, [1, 7, u32::MAX, 8]);
        let times = shards[0].events(2..4).times.unwrap();
        assert_eq!((times.occurred_at, times.request_at), (&[7, 10][..], &[u32::MAX, 8][..]));
    }

    #[test]
    fn chunks_are_whole_sequences_and_cover_the_batch() {
        let batch = Batch {
            offsets: vec![0, 2, 4, 9, 9, 10],
            target_token: vec![1, 3, 4, 8, 9],
            target: vec![0; 5],
            ..Batch::default()
        };
        let of = |first| batch.chunk(first, 4).map(|c| (c.sequences, c.tokens, c.targets));
        assert_eq!(of(0), Some((0..2, 0..4, 0..2)));
        assert_eq!(of(2), Some((2..3, 4..9, 2..4)), "longer than asked for, and alone");
        assert_eq!(of(3), Some((3..5, 9..10, 4..5)));
        assert_eq!(of(5), None);
        assert_eq!(Batch::default().chunk(0, 4), None);
    }

    #[test]
    fn a_held_out_play_is_no_input_no_target_and_not_counted() {
        let plays = OwnedSequences::from_items(4, [vec![0, 1, 2, 3]]);
        let all = Training { validation_share: 1.0, ..Training::default() };
        let windows = Windows::new(&FitInput::of(plays.view()), Targets::All, 10, &all);
        assert_eq!(windows.held_out, [HeldOut { user: 0, n_history: 3, item: 3 }]);
        let mut shards = vec![Batch::default(), Batch::default()];
        windows.fill(&[0], &mut shards);
        assert_eq!(shards[0].item, [0, 1]);
        assert_eq!(shards[0].target, [1, 2]);
        assert!(shards[1].item.is_empty());
        assert_eq!(windows.counts, [1, 1, 1, 0]);
    }

    #[test]
    fn with_an_earlier_model_only_windows_with_a_newer_play_are_learnt_from() {
        let mut plays = OwnedSequences::from_items(9, [vec![0, 1, 2, 3, 4], vec![5, 6, 7], vec![7, 8]]);
        plays.known_at = vec![1, 2, 3, 4, 5, 1, 2, 3, 4, 9];
        let input = FitInput::of(plays.view());
        let none = Training { validation_share: 0.0, ..Training::default() };
        let newer = |since| Windows::newer(&input, Targets::All, 2, &none, since);
        let windows = newer(Some(TimestampMs(4)));
        let mut shards = vec![Batch::default()];
        assert_eq!(windows.len(), 2);
        windows.fill(&[0, 1], &mut shards);
        assert_eq!(shards[0].target, [3, 4, 8]);
        assert_eq!(windows.counts, [1, 1, 1, 1, 1, 1, 1, 2, 1], "all plays are counted");
        assert_eq!(windows.newest_play, Some(TimestampMs(9)));
        assert_eq!(newer(None).len(), 4);
        assert!(newer(Some(TimestampMs(9))).is_empty());
        let all = Training { validation_share: 1.0, ..Training::default() };
        let windows = Windows::newer(&input, Targets::All, 2, &all, Some(TimestampMs(4)));
        assert_eq!(
            windows.held_out,
            [HeldOut { user: 0, n_history: 4, item: 4 }],
            "a newer play, and three in all"
        );
    }
}
