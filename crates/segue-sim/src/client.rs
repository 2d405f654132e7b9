//! Listeners who use a recommender: they ask for slates, look, choose, listen, skip, and report.
//!
//! A session opens Home. What the listener looks at depends on position alone ([`crate::examination`]);
//! of that they choose the card that looks best, unless something of their own is better. Behind the
//! chosen track they let Now Playing go on; they go back to Home when they choose something else or
//! after three skips in a row. Plans, moods and luck are keyed by listener and planned session, so
//! the same sessions happen under every policy and differences are due to the slates.

use std::sync::Mutex;
use std::time::Duration;

use segue_types::api::SlateRequest;
use segue_types::{
    Day, EndReason, Event, Feedback, FeedbackKind, Impression, Outcome, Play, Slate, StartReason, Surface,
    TimestampMs,
};
use serde::{Deserialize, Serialize};

use crate::SimError;
use crate::catalogue::Catalogue;
use crate::choice::{Chooser, Context, Run};
use crate::config::WorldConfig;
use crate::ending::{end, next_start, react};
use crate::examination::examine;
use crate::listener::Listener;
use crate::mood::Course;
use crate::playback::listen;
use crate::report::{LoopCounts, LoopReport, MAX_MESSAGES, SessionOutcome};
use crate::rhythm::{SessionPlan, present_days, sessions_of};
use crate::rng::{Luck, Stream};
use crate::service::{HttpService, SlateService};
use crate::session::Life;
use crate::tape::Tape;
use crate::utility::{Moment, play_utility, true_utility};
use crate::world::World;

/// First-sight appeal of what the listener would play by themself, on average (a logit).
const OUTSIDE_MEAN: f64 = 1.2;
const OUTSIDE_SIGMA: f64 = 0.8;
/// Skips in a row after which a listener goes back to Home.
const PATIENCE: u32 = 3;
/// Skips in a row from which a session may be given up, and the probability per further skip.
const GIVE_UP_AFTER: u32 = 4;
const GIVE_UP: f64 = 0.2;
/// Tracks of a queue after which a fresh one is asked for.
const QUEUE_TRACKS: u32 = 5;
/// Events per call.
const CHUNK: usize = 500;
const MAX_PLAYS: u64 = 2_000;

/// Which listeners live which days against a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionsConfig {
    /// Listeners `0..n_users` of the world (at most as many as it has).
    pub n_users: u32,
    /// First day.
    pub from: Day,
    /// Number of days.
    pub n_days: u32,
    /// Seed of plans and luck; equal seeds make runs comparable session by session.
    pub seed: u64,
    /// Name of this run, at most 64 bytes: part of request and event ids, so that several runs can meet one server.
    pub run: String,
    /// Whether listeners remember what the world's log says of the days before `from`.
    pub remember_log: bool,
    /// Threads that call the service.
    pub n_threads: usize,
    /// Cards per shelf asked for; the service's default where absent.
    pub limit: Option<u32>,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            n_users: 200,
            from: WorldConfig::default().end_day(),
            n_days: 7,
            seed: 1,
            run: "r1".to_owned(),
            remember_log: true,
            n_threads: 2,
            limit: None,
        }
    }
}

impl SessionsConfig {
    fn validate(&self, world: &World) -> Result<(), SimError> {
        let error = |field, value: String, rule| Err(SimError::Config { field, value, rule });
        if self.n_users > world.config().n_users {
            return error("sessions.n_users", self.n_users.to_string(), "at most the world's `n_users`");
        }
        if self.from < world.config().start_day {
            return error("sessions.from", self.from.to_iso(), "not before the world's `start_day`");
        }
        if self.n_days > 3_650 {
            return error("sessions.n_days", self.n_days.to_string(), "at most 3,650");
        }
        if self.n_threads == 0 || self.n_threads > 256 {
            return error("sessions.n_threads", self.n_threads.to_string(), "a number from 1 to 256");
        }
        if self.run.is_empty() || self.run.len() > 64 || self.run.chars().any(char::is_control) {
            return error("sessions.run", self.run.clone(), "1 to 64 bytes without control characters");
        }
        Ok(())
    }
}

/// Lets listeners live against the server at `url`. See [`run_sessions_with`].
///
/// # Errors
/// [`SimError::Config`] if the configuration breaks a rule. Failing calls are counted, not returned.
pub fn run_sessions(world: &World, url: &str, config: &SessionsConfig) -> Result<LoopReport, SimError> {
    run_sessions_with(world, &HttpService::new(url, Duration::from_secs(10)), config)
}

/// Lets listeners live against any service, day after day, and returns the true utility of their sessions.
///
/// Listeners are spread over `n_threads` threads; one listener's sessions stay in order. For a service whose
/// answers depend only on the request and that listener's own events the report is the same for any
/// number of threads.
///
/// # Errors
/// [`SimError::Config`] if the configuration breaks a rule.
pub fn run_sessions_with(
    world: &World,
    service: &dyn SlateService,
    config: &SessionsConfig,
) -> Result<LoopReport, SimError> {
    config.validate(world)?;
    // Plans and luck of the loop have their own seed; who the listeners are stays with the world.
    let luck_config = WorldConfig {
        seed: Luck::new(world.config().seed, config.seed, 0, 0, Stream::Schedule).bits(),
        ..world.config().clone()
    };
    let loop_ = Loop { world, service, config, luck_config: &luck_config };
    let n_threads = config.n_threads.min(config.n_users.max(1) as usize);
    let parts: Vec<Mutex<Part>> = (0..n_threads).map(|_| Mutex::new(Part::default())).collect();
    std::thread::scope(|scope| {
        for (thread, part) in parts.iter().enumerate() {
            let loop_ = &loop_;
            scope.spawn(move || {
                let done = loop_.live(thread, n_threads);
                *part.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = done;
            });
        }
    });
    let mut report = LoopReport::default();
    for part in parts {
        let part = part.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        report.sessions.extend(part.sessions);
        report.counts.add(&part.counts);
        report.messages.extend(part.messages);
    }
    report.sessions.sort_by_key(|s| (s.user, s.planned_start_ms));
    report.messages.truncate(MAX_MESSAGES);
    Ok(report)
}

/// What one thread brings home.
#[derive(Debug, Default)]
struct Part {
    sessions: Vec<SessionOutcome>,
    counts: LoopCounts,
    messages: Vec<String>,
}

struct Loop<'a> {
    world: &'a World,
    service: &'a dyn SlateService,
    config: &'a SessionsConfig,
    luck_config: &'a WorldConfig,
}

/// A listener in the loop: life, presence and events not yet sent.
struct Member<'a> {
    life: Life<'a>,
    present: Vec<bool>,
    outbox: Vec<Event>,
    n_events: u64,
}

/// A track about to be played and where it comes from.
struct Next {
    item: u32,
    start: StartReason,
    surface: Surface,
    context: Context,
    shuffle: bool,
    slate: Option<(String, u32)>,
}

impl Loop<'_> {
    fn live(&self, thread: usize, n_threads: usize) -> Part {
        let mut part = Part::default();
        let start_day = self.world.config().start_day;
        let first = (self.config.from.0 - start_day.0).max(0) as u32;
        let mut members: Vec<Member<'_>> = (0..self.config.n_users)
            .filter(|u| *u as usize % n_threads == thread)
            .map(|user| {
                let mut life = Life::new(self.world, user);
                if self.config.remember_log {
                    life.live_until(self.config.from, &mut Tape::default());
                }
                let present = present_days(self.luck_config, &life.listener, first + self.config.n_days);
                Member { life, present, outbox: Vec::new(), n_events: 0 }
            })
            .collect();
        for d in 0..self.config.n_days {
            let day = Day(self.config.from.0 + d as i32);
            let mut today: Vec<(SessionPlan, usize)> = Vec::new();
            for (m, member) in members.iter().enumerate() {
                if member.present[(first + d) as usize] {
                    let plans = sessions_of(self.luck_config, &member.life.listener, day);
                    today.extend(plans.into_iter().map(|p| (p, m)));
                }
            }
            today.sort_by_key(|(plan, m)| (plan.start, *m));
            for (plan, m) in today {
                Visit::new(self, &mut members[m], &mut part, plan).run();
            }
        }
        for member in &mut members {
            let end = Day(self.config.from.0 + self.config.n_days as i32).start();
            let at = end.max(member.life.busy_until());
            self.send(member, at, &mut part);
        }
        part
    }

    /// Sends what is in the outbox; a failed call is tried once more, then its events are given up.
    fn send(&self, member: &mut Member<'_>, at: TimestampMs, part: &mut Part) {
        let mut events = std::mem::take(&mut member.outbox);
        events.iter_mut().for_each(|e| e.set_received_at(at));
        for chunk in events.chunks(CHUNK) {
            let mut answer = self.service.report(chunk.to_vec(), at);
            if let Err(error) = &answer {
                part.error(error);
                answer = self.service.report(chunk.to_vec(), at);
            }
            match answer {
                Ok(answer) => {
                    part.counts.n_events_accepted += u64::from(answer.n_accepted);
                    part.counts.n_events_rejected += answer.rejected.len() as u64;
                    for rejected in answer.rejected {
                        part.message(format!("event refused, {}: {}", rejected.reason, rejected.message));
                    }
                }
                Err(error) => {
                    part.error(&error);
                    part.counts.n_events_lost += chunk.len() as u64;
                }
            }
        }
    }
}

impl Part {
    fn error(&mut self, error: &SimError) {
        self.counts.n_errors += 1;
        self.message(error.to_string());
    }

    fn message(&mut self, text: String) {
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(text);
        }
    }
}

/// One session of one listener.
struct Visit<'l, 'w> {
    loop_: &'l Loop<'w>,
    member: &'l mut Member<'w>,
    part: &'l mut Part,
    course: Course,
    at: TimestampMs,
    outcome: SessionOutcome,
    n_requests: u64,
    skips_in_a_row: u32,
}

/// What the listener plays from.
enum Playing {
    /// Nothing: the session opens, or the listener came back to Home.
    Home,
    /// A queue of Now Playing: its cards not yet met.
    Queue { slate_id: String, cards: std::vec::IntoIter<(u32, u32)>, n_met: u32 },
    /// Behind a track that came from a slate; the queue is yet to be asked for.
    Behind,
    /// Something of their own.
    Own(Run),
}

impl<'l, 'w> Visit<'l, 'w> {
    fn new(loop_: &'l Loop<'w>, member: &'l mut Member<'w>, part: &'l mut Part, plan: SessionPlan) -> Self {
        let at = member.life.earliest_start(&plan);
        let user = member.life.listener.user;
        let outcome = SessionOutcome {
            user,
            planned_start_ms: plan.start.0,
            utility_min: 0.0,
            slate_utility_min: 0.0,
            listened_min: 0.0,
            n_plays: 0,
            n_slate_plays: 0,
            n_skips: 0,
        };
        let course = Course::new(loop_.luck_config, user, plan);
        Self { loop_, member, part, course, at, outcome, n_requests: 0, skips_in_a_row: 0 }
    }

    fn offline(&self) -> bool {
        self.course.plan().offline
    }

    fn run(mut self) {
        let mut playing = Playing::Home;
        let mut start = StartReason::Click;
        let mut last: Option<u32> = None;
        let mut back_to: Option<u32> = None;
        while self.course.n_played() < MAX_PLAYS {
            let Some(next) = self.next(&mut playing, start, last, back_to.take()) else { break };
            let (ended, ends) = self.play(&next);
            if ends {
                break;
            }
            start = next_start(ended);
            match ended {
                EndReason::Back => back_to = Some(last.unwrap_or(next.item)),
                EndReason::TrackDone | EndReason::Next => {}
                _ => playing = Playing::Home,
            }
            let from_slate = matches!(playing, Playing::Queue { .. } | Playing::Behind);
            if from_slate && self.skips_in_a_row > 0 && self.skips_in_a_row.is_multiple_of(PATIENCE) {
                playing = Playing::Home;
                start = StartReason::Click;
            }
            last = Some(next.item);
        }
        self.member.life.set_busy_until(self.at);
        if self.offline() {
            self.part.counts.n_offline_sessions += 1;
        } else {
            self.loop_.send(self.member, self.at, self.part);
            self.part.sessions.push(self.outcome);
        }
    }

    fn next(
        &mut self,
        playing: &mut Playing,
        start: StartReason,
        last: Option<u32>,
        back_to: Option<u32>,
    ) -> Option<Next> {
        if let (Some(item), false) = (back_to, matches!(playing, Playing::Home)) {
            let (surface, context, shuffle) = match playing {
                Playing::Own(run) => (run.surface, run.context, run.shuffle),
                _ => (Surface::NowPlaying, Context::Single, false),
            };
            return Some(Next { item, start, surface, context, shuffle, slate: None });
        }
        for _ in 0..4 {
            match playing {
                Playing::Home => {
                    if let Some(next) = self.look_at_home(start) {
                        *playing = Playing::Behind;
                        return Some(next);
                    }
                    *playing = Playing::Own(self.own_run()?);
                }
                Playing::Behind => *playing = self.ask_for_queue(last),
                Playing::Queue { slate_id, cards, n_met } => {
                    if *n_met < QUEUE_TRACKS
                        && let Some((item, position)) = cards.next()
                    {
                        *n_met += 1;
                        let slate = Some((slate_id.clone(), position));
                        let next = Next {
                            item,
                            start,
                            surface: Surface::NowPlaying,
                            context: Context::Single,
                            shuffle: false,
                            slate,
                        };
                        self.meet(&next, None);
                        return Some(next);
                    }
                    *playing = if *n_met == 0 { Playing::Own(self.own_run()?) } else { Playing::Behind };
                }
                Playing::Own(run) => {
                    let k = self.course.n_played();
                    let mut luck = self.course.luck(k, Stream::Choice);
                    let life = &self.member.life;
                    let chooser = Chooser {
                        catalogue: self.loop_.world.catalogue(),
                        attention: self.loop_.world.attention(),
                        listener: &life.listener,
                    };
                    if let Some(item) = chooser.next(run, &life.memory, self.at, &mut luck) {
                        let (surface, context, shuffle) = (run.surface, run.context, run.shuffle);
                        return Some(Next { item, start, surface, context, shuffle, slate: None });
                    }
                    // A context of their own has ended: the player goes on behind its last track.
                    let goes_on = luck.chance(self.loop_.world.config().behaviour.autoplay) && last.is_some();
                    *playing = if goes_on && !self.offline() { Playing::Behind } else { Playing::Home };
                }
            }
        }
        None
    }

    fn own_run(&self) -> Option<Run> {
        let life = &self.member.life;
        let mut luck = self.course.luck(self.course.n_played(), Stream::Run);
        self.loop_.world.chooser(&life.listener).start_run(&life.memory, self.at, &mut luck)
    }

    fn request(&mut self, current: Option<u32>) -> SlateRequest {
        let user = self.member.life.listener.user;
        let n = self.n_requests;
        self.n_requests += 1;
        let planned = self.course.plan().start.0;
        let run = &self.loop_.config.run;
        SlateRequest {
            request_id: Some(format!("{run}-{user}-{planned}-{n}")),
            user_id: Some(Listener::user_id(user)),
            limit: self.loop_.config.limit,
            current_item_id: current.map(Catalogue::item_id),
            session_id: Some(format!("{run}-{user}-{planned}")),
            now: Some(self.at),
            ..SlateRequest::default()
        }
    }

    fn count_slate(&mut self, answer: Result<Slate, SimError>) -> Option<Slate> {
        match answer {
            Ok(slate) => {
                let counts = &mut self.part.counts;
                counts.n_slates += 1;
                counts.n_degraded_slates += u64::from(!slate.degraded.is_empty());
                counts.n_empty_slates += u64::from(slate.shelves.iter().all(|s| s.cards.is_empty()));
                Some(slate)
            }
            Err(error) => {
                self.part.error(&error);
                None
            }
        }
    }

    /// Opens Home, looks, and chooses a card; `None` if something of their own is better.
    fn look_at_home(&mut self, start: StartReason) -> Option<Next> {
        if self.offline() {
            return None;
        }
        let visit = self.n_requests;
        let plan = *self.course.plan();
        self.loop_.send(self.member, self.at, self.part);
        let request = self.request(None);
        let answer = self.loop_.service.home(&request);
        let slate = self.count_slate(answer)?;
        let lens: Vec<usize> = slate.shelves.iter().map(|s| s.cards.len()).collect();
        let world = self.loop_.world;
        let (seed, user) = (self.loop_.luck_config.seed, self.member.life.listener.user);
        let seen = examine(&world.config().behaviour, seed, user, plan.start.0, visit, &lens);
        let mut best: Option<(f64, Next)> = None;
        for on_screen in &seen {
            let shelf = &slate.shelves[on_screen.shelf];
            let card = &shelf.cards[on_screen.card];
            self.at = self.at.plus_ms(350);
            let Some(item) = world.catalogue().item_of(&card.item_id) else {
                self.part.counts.n_unknown_cards += 1;
                continue;
            };
            let next = Next {
                item,
                start,
                surface: Surface::Home,
                context: Context::Single,
                shuffle: false,
                slate: Some((slate.slate_id.clone(), card.position)),
            };
            self.meet(&next, Some(&shelf.shelf_id));
            if on_screen.looked_at && !self.member.life.memory.is_refused(item) {
                let value = self.glance(item);
                if best.as_ref().is_none_or(|b| value > b.0) {
                    best = Some((value, next));
                }
            }
        }
        self.at = self.at.plus_ms(1_000);
        let outside = OUTSIDE_MEAN + OUTSIDE_SIGMA * self.course.luck(visit, Stream::Outside).normal();
        let chosen = best.filter(|b| b.0 > outside).map(|b| b.1);
        self.part.counts.n_clicks += u64::from(chosen.is_some());
        chosen
    }

    /// How attractive a card looks at first sight (a logit).
    fn glance(&self, item: u32) -> f64 {
        let life = &self.member.life;
        let plan = self.course.plan();
        let user = u64::from(life.listener.user);
        let noise =
            Luck::new(self.loop_.luck_config.seed, user, plan.start.0, u64::from(item), Stream::Glance)
                .normal();
        self.appeal(item) + 0.9 * noise
    }

    fn appeal(&self, item: u32) -> f64 {
        let life = &self.member.life;
        let moment = Moment { at: self.at, energy: self.course.plan().energy };
        true_utility(&life.listener, &life.memory, self.loop_.world.catalogue(), item, moment)
    }

    /// Asks for the queue behind a track; without one the listener plays something of their own.
    fn ask_for_queue(&mut self, current: Option<u32>) -> Playing {
        self.loop_.send(self.member, self.at, self.part);
        let request = self.request(current);
        let answer = self.loop_.service.now_playing(&request);
        let Some(slate) = self.count_slate(answer) else {
            return self.own_run().map_or(Playing::Home, Playing::Own);
        };
        let mut cards = Vec::new();
        for card in slate.shelves.iter().flat_map(|s| &s.cards) {
            match self.loop_.world.catalogue().item_of(&card.item_id) {
                Some(item) => cards.push((item, card.position)),
                None => self.part.counts.n_unknown_cards += 1,
            }
        }
        Playing::Queue { slate_id: slate.slate_id, cards: cards.into_iter(), n_met: 0 }
    }

    fn event_id(&mut self, kind: char) -> String {
        let n = self.member.n_events;
        self.member.n_events += 1;
        format!("{}-{kind}{}-{n}", self.loop_.config.run, self.member.life.listener.user)
    }

    /// Reports that a card came on screen or a track of a queue began to sound.
    fn meet(&mut self, next: &Next, shelf_id: Option<&str>) {
        let Some((slate_id, position)) = next.slate.clone() else { return };
        let event_id = self.event_id('i');
        self.part.counts.n_impressions += 1;
        self.member.outbox.push(Event::Impression(Impression {
            event_id,
            user_id: Listener::user_id(self.member.life.listener.user),
            item_id: Catalogue::item_id(next.item),
            slate_id,
            shelf_id: shelf_id.map(str::to_owned),
            position,
            shown_at: self.at,
            received_at: None,
            visible_ms: None,
        }));
    }

    /// Plays a track and reports it. Returns how it ended and whether the session ends.
    fn play(&mut self, next: &Next) -> (EndReason, bool) {
        let world = self.loop_.world;
        let k = self.course.n_played();
        let appeal = self.appeal(next.item);
        let duration_ms = i64::from(world.catalogue().duration_ms[next.item as usize]);
        let mood = self.course.mood(next.surface, next.shuffle);
        // Keyed by track and place: the same track at the same place meets the same luck.
        let key = u64::from(next.item) + (k << 32);
        let listened = listen(mood, appeal, duration_ms, &mut self.course.luck(key, Stream::Playback));
        let mut ends = self.course.after(listened.finished);
        self.skips_in_a_row = if listened.finished { 0 } else { self.skips_in_a_row + 1 };
        if self.skips_in_a_row >= GIVE_UP_AFTER {
            ends |= self.course.luck(k, Stream::Outside).chance(GIVE_UP);
        }
        let ended = end(listened, ends, &mut self.course.luck(key, Stream::Ending));
        let began_at = self.at;
        let ended_at = began_at.plus_ms(ended.listened_ms);
        self.at = ended_at.plus_ms(800);
        let outcome = Outcome::of(Some(ended.listened_ms), Some(duration_ms), Some(ended.end));
        let was_skipped = outcome.skip == Some(true);
        let value = play_utility(world.config(), appeal, ended.listened_ms, was_skipped);
        self.outcome.utility_min += value;
        self.outcome.listened_min += ended.listened_ms as f64 / 60_000.0;
        self.outcome.n_plays += 1;
        self.outcome.n_skips += u32::from(was_skipped);
        let counts = &mut self.part.counts;
        counts.n_plays += 1;
        counts.n_streams += u64::from(outcome.stream == Some(true));
        counts.n_completions += u64::from(outcome.completion == Some(true));
        counts.n_skips += u64::from(was_skipped);
        if next.slate.is_some() {
            self.outcome.slate_utility_min += value;
            self.outcome.n_slate_plays += 1;
            counts.n_slate_plays += 1;
        }
        self.member.life.memory.note(next.item, began_at, ended.listened_ms >= 30_000);
        self.report_play(next, began_at, duration_ms, ended.listened_ms, ended.end);
        let adds = world.config().behaviour.playlist_adds_per_mille / 1_000.0;
        let mut luck = self.course.luck(key, Stream::Feedback);
        let memory = &mut self.member.life.memory;
        let act = react(memory, next.item, appeal, ended.listened_ms, ended.end, adds, &mut luck);
        if let Some(kind) = act {
            self.report_act(next, kind, ended_at);
        }
        (ended.end, ends)
    }

    fn report_play(
        &mut self,
        next: &Next,
        at: TimestampMs,
        duration_ms: i64,
        listened_ms: i64,
        end: EndReason,
    ) {
        let event_id = self.event_id('p');
        let user_id = Listener::user_id(self.member.life.listener.user);
        self.member.outbox.push(Event::Play(Play {
            ended_at: Some(at.plus_ms(listened_ms)),
            listened_ms: Some(listened_ms),
            duration_ms: Some(duration_ms),
            start_reason: Some(next.start),
            end_reason: Some(end),
            surface: Some(next.surface),
            slate_id: next.slate.as_ref().map(|s| s.0.clone()),
            position: next.slate.as_ref().map(|s| s.1),
            shuffle: Some(next.shuffle),
            offline: Some(self.offline()),
            context_id: next.context.id(),
            ..Play::new(&event_id, &user_id, &Catalogue::item_id(next.item), at)
        }));
    }

    fn report_act(&mut self, next: &Next, kind: FeedbackKind, at: TimestampMs) {
        let event_id = self.event_id('f');
        let catalogue = self.loop_.world.catalogue();
        let target_id = match kind {
            FeedbackKind::Follow => Catalogue::artist_id(catalogue.artist[next.item as usize]),
            _ => Catalogue::item_id(next.item),
        };
        self.part.counts.n_feedback += 1;
        self.member.outbox.push(Event::Feedback(Feedback {
            event_id,
            user_id: Listener::user_id(self.member.life.listener.user),
            target_id,
            kind,
            occurred_at: at,
            received_at: None,
            slate_id: next.slate.as_ref().map(|s| s.0.clone()),
            position: next.slate.as_ref().map(|s| s.1),
        }));
    }
}
