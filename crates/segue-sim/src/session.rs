//! The log of one listener: sessions of runs of tracks, without any recommender but a plain Home.

use segue_types::{DAY_MS, Day, EndReason, HOUR_MS, SESSION_GAP_MS, StartReason, Surface, TimestampMs};

use crate::attention::LIST_LEN;
use crate::choice::{Context, Run};
use crate::ending::{end, next_start, react};
use crate::examination::examine;
use crate::listener::Listener;
use crate::memory::Memory;
use crate::mood::Course;
use crate::playback::listen;
use crate::rhythm::{SessionPlan, present_days, sessions_of};
use crate::rng::{Luck, Stream};
use crate::tape::{Tape, TapeFeedback, TapeImpression, TapePlay};
use crate::utility::{Moment, true_utility};
use crate::world::World;

/// Cards of a shelf of the fictional Home.
const SHELF_LEN: usize = 12;
/// First-sight appeal a card of the fictional Home must reach to be chosen.
const HOME_THRESHOLD: f64 = 2.7;
/// Longest session in plays; a guard, hardly ever reached.
const MAX_PLAYS: u64 = 2_000;

/// One listener in the middle of the log.
#[derive(Debug)]
pub struct Life<'a> {
    world: &'a World,
    /// Who.
    pub listener: Listener,
    /// What they remember.
    pub memory: Memory,
    /// End of the last play; a session cannot begin before.
    busy_until: TimestampMs,
}

/// What one step of a session asks of playback.
struct Step {
    item: u32,
    at: TimestampMs,
    start: StartReason,
    surface: Surface,
    slate: Option<(u32, u32)>,
}

impl<'a> Life<'a> {
    /// A listener on the eve of the log, with what they had heard before it.
    #[must_use]
    pub fn new(world: &'a World, user: u32) -> Self {
        let listener = world.listener(user);
        let mut memory = Memory::default();
        let chooser = world.chooser(&listener);
        let luck = &mut Luck::new(world.config().seed, u64::from(user), 0, 0, Stream::Prehistory);
        let start = world.config().start_day.start();
        let n_days = start.ms_since(listener.registered_at) as f64 / DAY_MS as f64;
        // Remember about three months of listening, less for those who registered lately.
        let n = (listener.plays_per_day * n_days.clamp(0.0, 90.0) * 0.5).clamp(0.0, 800.0) as usize;
        for i in 0..n {
            // Log-uniform ages, oldest first, from the registration (at most a year) to an hour ago.
            let age = (1.0 - i as f64 / n as f64) * (n_days.clamp(0.05, 365.0) * 24.0).ln();
            let at = start.plus_ms(-((age.exp() * HOUR_MS as f64) as i64));
            let old = if luck.chance(0.6) { chooser.repeat(&memory, at, luck) } else { None };
            if let Some(item) = old.or_else(|| chooser.explore(at.day(), luck)) {
                memory.note(item, at, true);
                if luck.chance(0.1) {
                    memory.keep(item);
                }
            }
        }
        Self { world, listener, memory, busy_until: TimestampMs(i64::MIN / 2) }
    }

    /// Lives the whole log.
    #[must_use]
    pub fn tape(mut self) -> Tape {
        let mut tape = Tape::default();
        self.live_until(self.world.config().end_day(), &mut tape);
        tape
    }

    /// Lives the days of the log before `until` and writes them on the tape.
    pub fn live_until(&mut self, until: Day, tape: &mut Tape) {
        let config = self.world.config();
        let n_days = (until.0 - config.start_day.0).max(0) as u32;
        for (i, present) in present_days(config, &self.listener, n_days).into_iter().enumerate() {
            if present {
                let day = Day(config.start_day.0 + i as i32);
                for plan in sessions_of(config, &self.listener, day) {
                    self.session(plan, tape);
                }
            }
        }
    }

    fn session(&mut self, plan: SessionPlan, tape: &mut Tape) {
        let config = self.world.config();
        let session = tape.sessions.len() as u32;
        let first_play = tape.plays.len();
        let mut at = self.earliest_start(&plan);
        let mut course = Course::new(config, self.listener.user, plan);
        let mut run: Option<Run> = None;
        let mut slate = None;
        if !plan.offline && course.luck(0, Stream::Outside).chance(config.behaviour.home_visit) {
            (run, slate) = self.visit_home(&plan, &mut at, tape);
        }
        tape.sessions.push(plan);
        let mut start = StartReason::Click;
        // What a second press on "back" would return to.
        let mut previous: Option<u32> = None;
        while course.n_played() < MAX_PLAYS {
            let k = course.n_played();
            let Some(item) = self.next_item(&mut run, &mut start, previous.take(), at, k, &course) else {
                break;
            };
            let surface = run.as_ref().map_or(Surface::Other, |r| r.surface);
            let step = Step { item, at, start, surface, slate: slate.take() };
            let ends = self.play(&step, run.as_ref(), session, &mut course, tape);
            let Some(done) = tape.plays.last() else { break };
            at = done.ended_at.plus_ms(400 + course.luck(k, Stream::Ending).below(1_200) as i64);
            if ends {
                break;
            }
            start = next_start(done.end);
            match done.end {
                EndReason::Back => {
                    let before = tape.plays.len().checked_sub(2).filter(|&i| i >= first_play);
                    previous = Some(before.map_or(item, |i| tape.plays[i].item));
                }
                EndReason::TrackDone | EndReason::Next => {}
                _ => run = None,
            }
        }
        if let Some(last) = tape.plays[first_play..].last() {
            self.busy_until = last.ended_at;
        }
        deliver(&plan, config.behaviour.offline_delay_days, &course, &mut tape.plays[first_play..]);
    }

    /// The plan's start, or 31 minutes after what came before.
    pub(crate) fn earliest_start(&self, plan: &SessionPlan) -> TimestampMs {
        plan.start.max(self.busy_until.plus_ms(SESSION_GAP_MS + 60_000))
    }

    /// End of the last play.
    pub(crate) fn busy_until(&self) -> TimestampMs {
        self.busy_until
    }

    /// Notes when the listener is free again.
    pub(crate) fn set_busy_until(&mut self, at: TimestampMs) {
        self.busy_until = at;
    }

    /// The next track: the one before after "back", the run's next, or a new run's first.
    fn next_item(
        &self,
        run: &mut Option<Run>,
        start: &mut StartReason,
        back_to: Option<u32>,
        at: TimestampMs,
        k: u64,
        course: &Course,
    ) -> Option<u32> {
        if back_to.is_some() && run.is_some() {
            return back_to;
        }
        let chooser = self.world.chooser(&self.listener);
        let mut luck = course.luck(k, Stream::Choice);
        for attempt in 0..4 {
            if run.is_none() {
                let mut luck = course.luck(k * 4 + attempt, Stream::Run);
                *run = chooser.start_run(&self.memory, at, &mut luck);
            }
            if let Some(item) = chooser.next(run.as_mut()?, &self.memory, at, &mut luck) {
                return Some(item);
            }
            // The context has ended: autoplay goes on with a station around its last track, or the
            // listener chooses something else.
            let last = self.memory.history().last().map(|h| h.1);
            let goes_on = luck.chance(self.world.config().behaviour.autoplay);
            *run = last.filter(|_| goes_on).map(|item| chooser.station_around(Surface::Radio, item));
            *start = if run.is_some() { StartReason::Autoplay } else { StartReason::Click };
        }
        None
    }

    /// Plays one track, presses what there is to press, remembers. Returns whether the session ends.
    fn play(
        &mut self,
        step: &Step,
        run: Option<&Run>,
        session: u32,
        course: &mut Course,
        tape: &mut Tape,
    ) -> bool {
        let world = self.world;
        let k = course.n_played();
        let shuffle = run.is_some_and(|r| r.shuffle);
        let heard = self.memory.of(step.item);
        let moment = Moment { at: step.at, energy: course.plan().energy };
        let appeal = true_utility(&self.listener, &self.memory, world.catalogue(), step.item, moment);
        let duration_ms = i64::from(world.catalogue().duration_ms[step.item as usize]);
        let mood = course.mood(step.surface, shuffle);
        let key = u64::from(step.item) + (k << 32);
        let listened = listen(mood, appeal, duration_ms, &mut course.luck(key, Stream::Playback));
        let ends = course.after(listened.finished);
        let ended = end(listened, ends, &mut course.luck(key, Stream::Ending));
        let ended_at = step.at.plus_ms(ended.listened_ms);
        let worth_repeating = ended.listened_ms >= 30_000;
        self.memory.note(step.item, step.at, worth_repeating);
        let adds = world.config().behaviour.playlist_adds_per_mille / 1_000.0;
        let mut luck = course.luck(key, Stream::Feedback);
        let act = react(&mut self.memory, step.item, appeal, ended.listened_ms, ended.end, adds, &mut luck);
        if let Some(kind) = act {
            let at = step.at.plus_ms((luck.uniform() * ended.listened_ms as f64) as i64);
            tape.feedback.push(TapeFeedback { play: tape.plays.len() as u32, kind, at });
        }
        tape.plays.push(TapePlay {
            item: step.item,
            session,
            place: k as u32,
            at: step.at,
            ended_at,
            received_at: ended_at,
            listened_ms: ended.listened_ms,
            start: step.start,
            end: ended.end,
            surface: step.surface,
            context: run.map_or(Context::Single, |r| r.context),
            shuffle,
            slate: step.slate,
            n_before: heard.map_or(0, |h| h.n_plays),
            gap_ms: heard.map(|h| step.at.ms_since(h.last_at)),
            appeal,
        });
        ends
    }

    /// A look at the fictional Home: two shelves (popular, new), the same for everybody on a day. Returns the
    /// run of the chosen card, if one was chosen, with its slate and position.
    fn visit_home(
        &self,
        plan: &SessionPlan,
        at: &mut TimestampMs,
        tape: &mut Tape,
    ) -> (Option<Run>, Option<(u32, u32)>) {
        let world = self.world;
        let config = world.config();
        let day = at.day();
        let shelves = world.plain_home(day);
        let lens: Vec<usize> = shelves.iter().map(Vec::len).collect();
        let slate = tape.n_slates;
        tape.n_slates += 1;
        let mut best: Option<(f64, u32, u32)> = None;
        let moment = Moment { at: *at, energy: plan.energy };
        let seen = examine(&config.behaviour, config.seed, self.listener.user, plan.start.0, 0, &lens);
        for on_screen in &seen {
            let item = shelves[on_screen.shelf][on_screen.card];
            let position = (lens[..on_screen.shelf].iter().sum::<usize>() + on_screen.card) as u32;
            *at = at.plus_ms(350);
            let received_at = at.plus_ms(15_000);
            let visible_ms = 1_500 + 400 * seen.len() as i64;
            let shelf = on_screen.shelf as u8;
            tape.impressions.push(TapeImpression {
                item,
                slate,
                shelf,
                position,
                at: *at,
                visible_ms,
                received_at,
            });
            if on_screen.looked_at && !self.memory.is_refused(item) {
                let glance = glance(world, &self.listener, &self.memory, plan, item, moment);
                if glance > HOME_THRESHOLD && best.is_none_or(|b| glance > b.0) {
                    best = Some((glance, item, position));
                }
            }
        }
        *at = at.plus_ms(1_000);
        match best {
            Some((_, item, position)) => (Some(Run::single(Surface::Home, item)), Some((slate, position))),
            None => (None, None),
        }
    }
}

/// How attractive a card looks at first sight: true appeal with noise of its own (a logit).
#[must_use]
pub fn glance(
    world: &World,
    listener: &Listener,
    memory: &Memory,
    plan: &SessionPlan,
    item: u32,
    moment: Moment,
) -> f64 {
    let user = u64::from(listener.user);
    let mut luck = Luck::new(world.config().seed, user, plan.start.0, u64::from(item), Stream::Glance);
    true_utility(listener, memory, world.catalogue(), item, moment) + 0.9 * luck.normal()
}

/// Sets when the server got the plays of a session: seconds later, or days for an offline one.
fn deliver(plan: &SessionPlan, delay_days: f64, course: &Course, plays: &mut [TapePlay]) {
    let mut luck = course.luck(u64::MAX, Stream::Delivery);
    let online_again = plays
        .last()
        .map_or(plan.start, |p| p.ended_at)
        .plus_ms((luck.exponential() * delay_days * DAY_MS as f64) as i64 + 10 * 60_000);
    for play in plays {
        play.received_at =
            if plan.offline { online_again } else { play.ended_at.plus_ms(150 + luck.below(1_850) as i64) };
    }
}

/// The two shelves of the fictional Home on a day: a rotating part of the chart, and new releases.
pub(crate) fn plain_home(world: &World, day: Day) -> Vec<Vec<u32>> {
    let rotate = |list: &[u32]| -> Vec<u32> {
        let n = list.len().min(LIST_LEN);
        let first = (day.0.rem_euclid(4) * 3) as usize;
        (0..SHELF_LEN.min(n)).map(|i| list[(i + first) % n]).collect()
    };
    let released = |list: &[u32]| -> Vec<u32> {
        list.iter().copied().filter(|&i| world.catalogue().is_released(i, day)).collect()
    };
    let popular = rotate(&released(world.attention().chart(day)));
    let new: Vec<u32> = rotate(&released(world.attention().fresh(day)))
        .into_iter()
        .filter(|i| !popular.contains(i))
        .collect();
    vec![popular, new]
}
