//! Counts over the tapes of a world, from which [`crate::marginals`] computes each figure.
//!
//! Everything is an integer, so the result is the same for any number of threads.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use segue_types::{DAY_MS, EndReason, FeedbackKind, HOUR_MS, StartReason, Surface};

use crate::catalogue::{Catalogue, GENRES};
use crate::listener::Listener;
use crate::rhythm::{Device, is_weekend};
use crate::tape::{Tape, TapePlay};
use crate::world::World;

/// A share as counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Cases that have the property.
    pub yes: u64,
    /// All cases.
    pub all: u64,
}

impl Share {
    /// Adds a case.
    pub fn add(&mut self, yes: bool) {
        self.yes += u64::from(yes);
        self.all += 1;
    }

    /// The share; NaN without cases.
    #[must_use]
    pub fn value(self) -> f64 {
        self.yes as f64 / self.all as f64
    }

    fn merge(&mut self, other: Self) {
        self.yes += other.yes;
        self.all += other.all;
    }
}

/// Bins of six minutes for gaps between sessions, up to 40 days.
const GAP_BINS: usize = 9_600;
/// Bins for the law of gaps: 4 per doubling.
const LAW_BINS: usize = 80;

macro_rules! tally {
    ($( $(#[$doc:meta])* $name:ident : $kind:tt $ty:ty = $init:expr, )*) => {
        /// Counts over the tapes of a world.
        #[derive(Debug, Clone)]
        pub struct Tally { $( $(#[$doc])* pub $name: $ty, )* }

        impl Default for Tally {
            fn default() -> Self { Self { $( $name: $init, )* } }
        }

        impl Tally {
            /// Adds the counts of other listeners, who come after those of this tally.
            pub fn merge(&mut self, other: Self) {
                $( tally!(@merge $kind self.$name, other.$name); )*
            }
        }
    };
    (@merge share $a:expr, $b:expr) => { $a.merge($b) };
    (@merge shares $a:expr, $b:expr) => {
        for (x, y) in $a.iter_mut().zip($b.iter()) { x.merge(*y); }
    };
    (@merge count $a:expr, $b:expr) => { $a += $b };
    (@merge counts $a:expr, $b:expr) => {{
        if $a.len() < $b.len() { $a.resize($b.len(), 0); }
        for (x, y) in $a.iter_mut().zip($b.iter()) { *x += *y; }
    }};
    (@merge list $a:expr, $b:expr) => { $a.extend($b) };
}

tally! {
    /// Plays.
    n_plays: count u64 = 0,
    /// Milliseconds heard.
    listened_ms: count i64 = 0,
    /// Left by 5 s, 10 s, 30 s, before the end.
    left_by: shares [Share; 4] = Default::default(),
    /// Left before the end: mobile, desktop, weekend.
    left_where: shares [Share; 3] = Default::default(),
    /// Heard at most 5 %, at most 16 %, more than half, at least 95 %.
    fraction: shares [Share; 4] = Default::default(),
    /// More than half heard: programmed, chosen by oneself.
    half_by_origin: shares [Share; 2] = Default::default(),
    /// Plays that were programmed.
    programmed: share Share = Share::default(),
    /// Window of the sequential-skip data: short, middle, long skip, not skipped.
    skip: shares [Share; 4] = Default::default(),
    /// Middle skip by surface code.
    skip_by_surface: shares [Share; 16] = Default::default(),
    /// Middle skip: free, premium.
    skip_by_plan: shares [Share; 2] = Default::default(),
    /// Middle skip: not shuffled, shuffled.
    skip_by_shuffle: shares [Share; 2] = Default::default(),
    /// Middle skip by local hour.
    skip_by_hour: shares [Share; 24] = Default::default(),
    /// Middle skip by place.
    skip_by_place: shares [Share; 20] = Default::default(),
    /// Middle skip after a finished, after a middle-skipped play.
    skip_after: shares [Share; 2] = Default::default(),
    /// Start reasons by code.
    starts: counts Vec<u64> = vec![0; 16],
    /// End reasons by code.
    ends: counts Vec<u64> = vec![0; 16],
    /// Surfaces by code.
    surfaces: counts Vec<u64> = vec![0; 16],
    /// Shuffled plays.
    shuffled: share Share = Share::default(),
    /// Heard 30 s, by earlier plays: none, one, 8–12, 40–60.
    stream_by_count: shares [Share; 4] = Default::default(),
    /// Heard 30 s, by gap: 3–8 min, 1–3 h, 20–28 h, 10–14 d.
    stream_by_gap: shares [Share; 4] = Default::default(),
    /// Sessions.
    n_sessions: count u64 = 0,
    /// Sessions by plays, the last entry for all longer ones.
    session_length: counts Vec<u64> = vec![0; 64],
    /// Listener-days with a play.
    active_days: count u64 = 0,
    /// Gaps between sessions, bins of six minutes.
    session_gaps: counts Vec<u64> = vec![0; GAP_BINS],
    /// Plays by local hour on Sundays.
    sunday_hours: counts Vec<u64> = vec![0; 24],
    /// Session arrivals by local hour on weekdays.
    weekday_arrivals: counts Vec<u64> = vec![0; 24],
    /// The same on weekends.
    weekend_arrivals: counts Vec<u64> = vec![0; 24],
    /// Second half of the log: track, artist heard before in the log.
    heard_before: shares [Share; 2] = Default::default(),
    /// Listener–track pairs of the first 30 days heard again within 30 days.
    again_in_month: share Share = Share::default(),
    /// Repeats by steps since the last play, 4 bins per doubling.
    step_law: counts Vec<u64> = vec![0; LAW_BINS],
    /// Repeats by hours since the last play, 4 bins per doubling.
    hour_law: counts Vec<u64> = vec![0; LAW_BINS],
    /// Plays by artist, each listener's fifty most played only.
    artist_plays: counts Vec<u64> = Vec::new(),
    /// Plays by track.
    item_plays: counts Vec<u64> = Vec::new(),
    /// Plays of tracks at most 18 months old.
    new_music: share Share = Share::default(),
    /// Plays per listener registered before the log.
    per_user: list Vec<u64> = Vec::new(),
    /// Share of the top artist in a listener's fifty, in thousandths.
    top_artist: list Vec<u64> = Vec::new(),
    /// Effective genres of a listener in the first and second half of the log, in thousandths.
    diversity: list Vec<(u64, u64)> = Vec::new(),
    /// Impressions of the fictional Home.
    n_impressions: count u64 = 0,
    /// Plays chosen on it.
    n_home_plays: count u64 = 0,
    /// Likes and saves, dislikes and hides, unsaves, adds to playlists.
    reactions: counts Vec<u64> = vec![0; 4],
    /// Active on day 1, 7, 30 after the first observed play.
    back: shares [Share; 3] = Default::default(),
    /// Listeners of the first 30 days without a play in the next 30.
    churned: share Share = Share::default(),
    /// Durations of plays in seconds.
    durations: counts Vec<u64> = vec![0; 1_801],
    /// Plays received more than an hour after they ended.
    late: share Share = Share::default(),
}

/// Whether a place programs what is played (the rest is the listener's own choice).
fn is_programmed(play: &TapePlay) -> bool {
    matches!(play.surface, Surface::Home | Surface::Radio | Surface::Editorial | Surface::Charts)
        || play.start == StartReason::Autoplay
}

/// Middle skip of the sequential-skip data, whose cut-offs are not disclosed: here left before 60 s.
fn is_skip_2(play: &TapePlay) -> bool {
    play.listened_ms < SKIP_CUTS_MS[1] && play.end != EndReason::TrackDone
}

/// Cut-offs read into skip_1 and skip_2, in milliseconds; skip_3 is left before 95 % of the duration.
pub const SKIP_CUTS_MS: [i64; 2] = [12_000, 60_000];

/// Skip of most of a track: left before 95 % of it.
fn is_skip_3(listened_ms: i64, duration_ms: i64) -> bool {
    listened_ms * 100 < duration_ms * 95
}

fn law_bin(x: f64) -> usize {
    ((x.max(1.0).log2() * 4.0) as usize).min(LAW_BINS - 1)
}

impl Tally {
    /// Counts over all listeners of a world; in parallel.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let users: Vec<u32> = (0..world.config().n_users).collect();
        let parts: Vec<Self> = users
            .par_chunks(64)
            .map(|chunk| {
                let mut tally = Self::default();
                tally.artist_plays.resize(world.catalogue().n_artists(), 0);
                tally.item_plays.resize(world.catalogue().n_items(), 0);
                for &user in chunk {
                    tally.add(world, &world.listener(user), &world.tape(user));
                }
                tally
            })
            .collect();
        let mut out = Self::default();
        for part in parts {
            out.merge(part);
        }
        out
    }

    fn add(&mut self, world: &World, listener: &Listener, tape: &Tape) {
        let catalogue = world.catalogue();
        for play in &tape.plays {
            self.add_play(catalogue, listener, tape, play);
        }
        self.add_sessions(catalogue, listener, tape);
        self.add_history(world, tape);
        self.add_profile(world, listener, tape);
        self.n_impressions += tape.impressions.len() as u64;
        self.n_home_plays += tape.plays.iter().filter(|p| p.slate.is_some()).count() as u64;
        for act in &tape.feedback {
            match act.kind {
                FeedbackKind::Like | FeedbackKind::Save => self.reactions[0] += 1,
                FeedbackKind::Dislike | FeedbackKind::Hide => self.reactions[1] += 1,
                FeedbackKind::Unsave => self.reactions[2] += 1,
                FeedbackKind::PlaylistAdd => self.reactions[3] += 1,
                _ => {}
            }
        }
    }

    fn add_play(&mut self, catalogue: &Catalogue, listener: &Listener, tape: &Tape, play: &TapePlay) {
        let plan = &tape.sessions[play.session as usize];
        let duration = i64::from(catalogue.duration_ms[play.item as usize]);
        let heard = play.listened_ms;
        let left = heard < duration;
        self.n_plays += 1;
        self.listened_ms += heard;
        for (share, limit) in self.left_by.iter_mut().zip([5_000, 10_000, 30_000, i64::MAX]) {
            share.add(left && heard < limit);
        }
        self.left_where[usize::from(plan.device == Device::Desktop)].add(left);
        if plan.is_weekend {
            self.left_where[2].add(left);
        }
        let per_mille = heard * 1_000 / duration.max(1);
        for (share, yes) in self.fraction.iter_mut().zip([
            per_mille <= 50,
            per_mille <= 160,
            per_mille > 500,
            per_mille >= 950,
        ]) {
            share.add(yes);
        }
        let programmed = is_programmed(play);
        self.half_by_origin[usize::from(!programmed)].add(per_mille > 500);
        self.programmed.add(programmed);
        let stream = heard >= 30_000;
        let by_count = match play.n_before {
            0 => Some(0),
            1 => Some(1),
            8..=12 => Some(2),
            40..=60 => Some(3),
            _ => None,
        };
        if let Some(bin) = by_count {
            self.stream_by_count[bin].add(stream);
        }
        let by_gap = play.gap_ms.and_then(|gap| {
            let hours = gap as f64 / HOUR_MS as f64;
            [(0.05, 0.133), (1.0, 3.0), (20.0, 28.0), (240.0, 336.0)]
                .iter()
                .position(|(low, high)| (*low..*high).contains(&hours))
        });
        if let Some(bin) = by_gap {
            self.stream_by_gap[bin].add(stream);
        }
        let local = play.at.0 + listener.market().utc_offset_h * HOUR_MS;
        if (local.div_euclid(DAY_MS) + 3).rem_euclid(7) == 6 {
            self.sunday_hours[(local.rem_euclid(DAY_MS) / HOUR_MS) as usize] += 1;
        }
        let age = play.at.day().0 - catalogue.release_day[play.item as usize];
        self.new_music.add(age <= 548);
        self.item_plays[play.item as usize] += 1;
        self.durations[((duration / 1_000) as usize).min(1_800)] += 1;
        self.late.add(play.received_at.ms_since(play.ended_at) > HOUR_MS);
    }

    fn add_sessions(&mut self, catalogue: &Catalogue, listener: &Listener, tape: &Tape) {
        let mut previous_end = None;
        let mut last_day = None;
        for plays in tape.plays.chunk_by(|a, b| a.session == b.session) {
            let (Some(first), Some(last)) = (plays.first(), plays.last()) else { continue };
            self.n_sessions += 1;
            self.session_length[plays.len().min(63)] += 1;
            if let Some(end) = previous_end {
                let bin = (first.at.ms_since(end) / (HOUR_MS / 10)) as usize;
                self.session_gaps[bin.min(GAP_BINS - 1)] += 1;
            }
            previous_end = Some(last.ended_at);
            let local = first.at.0 + listener.market().utc_offset_h * HOUR_MS;
            let hour = (local.rem_euclid(DAY_MS) / HOUR_MS) as usize;
            let arrivals = if is_weekend(local.div_euclid(DAY_MS)) {
                &mut self.weekend_arrivals
            } else {
                &mut self.weekday_arrivals
            };
            arrivals[hour] += 1;
            for play in plays {
                let day = play.at.day();
                if last_day.is_none_or(|d| day > d) {
                    self.active_days += 1;
                    last_day = Some(day);
                }
            }
            if plays.len() >= 10 {
                let hour = tape.sessions[first.session as usize].local_hour;
                self.add_window(catalogue, listener, hour, &plays[..plays.len().min(20)]);
            }
        }
    }

    /// The window of the sequential-skip data: sessions of ten plays or more, their first twenty.
    fn add_window(&mut self, catalogue: &Catalogue, listener: &Listener, hour: u8, plays: &[TapePlay]) {
        for (place, play) in plays.iter().enumerate() {
            let skip_2 = is_skip_2(play);
            let done = play.end == EndReason::TrackDone;
            self.skip[0].add(!done && play.listened_ms < SKIP_CUTS_MS[0]);
            self.skip[1].add(skip_2);
            let duration_ms = i64::from(catalogue.duration_ms[play.item as usize]);
            self.skip[2].add(!done && is_skip_3(play.listened_ms, duration_ms));
            self.skip[3].add(done);
            self.skip_by_surface[play.surface.code() as usize].add(skip_2);
            self.skip_by_plan[usize::from(listener.premium)].add(skip_2);
            self.skip_by_shuffle[usize::from(play.shuffle)].add(skip_2);
            self.skip_by_hour[hour as usize].add(skip_2);
            self.skip_by_place[place].add(skip_2);
            if let Some(before) = place.checked_sub(1).map(|i| &plays[i]) {
                if before.end == EndReason::TrackDone {
                    self.skip_after[0].add(skip_2);
                } else if is_skip_2(before) {
                    self.skip_after[1].add(skip_2);
                }
            }
            self.starts[play.start.code() as usize] += 1;
            self.ends[play.end.code() as usize] += 1;
            self.surfaces[play.surface.code() as usize] += 1;
            self.shuffled.add(play.shuffle);
        }
    }

    fn add_history(&mut self, world: &World, tape: &Tape) {
        let catalogue = world.catalogue();
        let start = world.config().start_day.start();
        let half = start.plus_ms(i64::from(world.config().n_days) * DAY_MS / 2);
        let end = world.config().end_day().start();
        let mut last: HashMap<u32, (usize, i64, bool)> = HashMap::new();
        let mut artists: HashSet<u32> = HashSet::new();
        for (step, play) in tape.plays.iter().enumerate() {
            let artist = catalogue.artist[play.item as usize];
            let before = last.get(&play.item).copied();
            if play.at >= half {
                self.heard_before[0].add(before.is_some());
                self.heard_before[1].add(artists.contains(&artist));
            }
            artists.insert(artist);
            if let Some((step_before, at_before, _)) = before {
                self.step_law[law_bin((step - step_before) as f64)] += 1;
                self.hour_law[law_bin((play.at.0 - at_before) as f64 / HOUR_MS as f64)] += 1;
            }
            let first_in_time = before.map_or(end.ms_since(play.at) >= 30 * DAY_MS, |b| b.2);
            // A pair counts once: at its second play, if that came within the month.
            if let (Some((_, at_before, true)), true) = (before, first_in_time) {
                let again = play.at.0 - at_before <= 30 * DAY_MS;
                self.again_in_month.yes += u64::from(again);
            }
            if before.is_none() && first_in_time {
                self.again_in_month.all += 1;
            }
            last.insert(play.item, (step, play.at.0, before.is_none() && first_in_time));
        }
        let day_of = |p: &TapePlay| (p.at.day().0 - world.config().start_day.0) as usize;
        let days: HashSet<usize> = tape.plays.iter().map(day_of).collect();
        let Some(first) = tape.plays.first().map(day_of) else { return };
        let n_days = world.config().n_days as usize;
        for (share, k) in self.back.iter_mut().zip([1, 7, 30]) {
            if first + k < n_days {
                share.add(days.contains(&(first + k)));
            }
        }
        if first < 30 && n_days >= 60 {
            self.churned.add(!(30..60).any(|d| days.contains(&d)));
        }
    }

    fn add_profile(&mut self, world: &World, listener: &Listener, tape: &Tape) {
        let catalogue = world.catalogue();
        if listener.registered_at >= world.config().start_day.start() {
            return;
        }
        self.per_user.push(tape.plays.len() as u64);
        let mut by_artist: HashMap<u32, u64> = HashMap::new();
        let mut by_genre = [[0_u64; GENRES.len()]; 2];
        for (i, play) in tape.plays.iter().enumerate() {
            *by_artist.entry(catalogue.artist[play.item as usize]).or_default() += 1;
            by_genre[usize::from(i * 2 >= tape.plays.len())][catalogue.genre(play.item) as usize] += 1;
        }
        let mut top: Vec<(u64, u32)> = by_artist.into_iter().map(|(a, n)| (n, a)).collect();
        top.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        top.truncate(50);
        let total: u64 = top.iter().map(|t| t.0).sum();
        for &(n, artist) in &top {
            self.artist_plays[artist as usize] += n;
        }
        if let Some(first) = top.first().filter(|_| tape.plays.len() >= 300) {
            self.top_artist.push(first.0 * 1_000 / total);
            let effective = |counts: &[u64]| {
                let total: u64 = counts.iter().sum();
                let entropy: f64 = counts
                    .iter()
                    .filter(|n| **n > 0)
                    .map(|&n| n as f64 / total as f64)
                    .map(|p| -p * p.ln())
                    .sum();
                (entropy.exp() * 1_000.0) as u64
            };
            self.diversity.push((effective(&by_genre[0]), effective(&by_genre[1])));
        }
    }
}
