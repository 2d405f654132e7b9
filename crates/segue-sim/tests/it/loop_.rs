//! Listeners in the loop with services whose worth is known beforehand.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use segue_sim::client::{SessionsConfig, run_sessions_with};
use segue_sim::utility::lasting_appeal;
use segue_sim::{LoopReport, SimError, SlateService, World, WorldConfig};
use segue_types::api::{EventsResponse, SlateRequest};
use segue_types::slate::ItemDisplay;
use segue_types::{Card, Event, ItemKey, Shelf, Slate, Surface, TimestampMs};

/// The tracks for a listener, by external id.
type ListOf<'a> = Box<dyn Fn(&str) -> Vec<u32> + Sync + 'a>;

/// Serves a fixed list per listener and keeps the events.
struct Lists<'a> {
    list_of: ListOf<'a>,
    events: Mutex<Vec<Event>>,
    n_calls: AtomicU64,
    /// Every n-th call fails; 0 for none.
    fail_every: u64,
}

pub(crate) fn slate(request: &SlateRequest, surface: Surface, lists: &[Vec<u32>]) -> Slate {
    let mut position = 0;
    let mut shelf = |name: usize, items: &[u32]| Shelf {
        shelf_id: format!("s{name}"),
        title: String::new(),
        why: String::new(),
        cards: items
            .iter()
            .map(|&item| {
                let item_id = segue_sim::catalogue::Catalogue::item_id(item);
                position += 1;
                Card {
                    item_key: ItemKey::of(&item_id),
                    item_id,
                    position: position - 1,
                    source: "test".to_owned(),
                    reason: None,
                    score: 0.0,
                    prefix_propensity: 1.0,
                    display: ItemDisplay::default(),
                }
            })
            .collect(),
    };
    Slate {
        slate_id: request.request_id.clone().unwrap_or_default(),
        surface,
        user_id: request.user_id.clone(),
        composed_at: request.now.unwrap_or_default(),
        shelves: lists.iter().enumerate().map(|(n, items)| shelf(n, items)).collect(),
        degraded: Vec::new(),
        empty_reason: None,
        slate_propensity: 1.0,
    }
}

impl Lists<'_> {
    fn compose(&self, request: &SlateRequest, surface: Surface) -> Result<Slate, SimError> {
        let n = self.n_calls.fetch_add(1, Ordering::Relaxed);
        if self.fail_every > 0 && n.is_multiple_of(self.fail_every) {
            return Err(SimError::Service { what: "test", detail: "down".to_owned() });
        }
        let list = (self.list_of)(request.user_id.as_deref().unwrap_or_default());
        // A queue turns with the requests, so that it does not play one thing for ever.
        let turn = request.request_id.as_ref().map_or(0, |id| ItemKey::of(id).0 as usize) % list.len().max(1);
        let turned: Vec<u32> = list.iter().cycle().skip(turn).take(list.len().min(12)).copied().collect();
        Ok(slate(request, surface, &[turned]))
    }
}

impl SlateService for Lists<'_> {
    fn home(&self, request: &SlateRequest) -> Result<Slate, SimError> {
        self.compose(request, Surface::Home)
    }

    fn now_playing(&self, request: &SlateRequest) -> Result<Slate, SimError> {
        assert!(request.current_item_id.is_some(), "Now Playing says what plays");
        self.compose(request, Surface::NowPlaying)
    }

    fn report(&self, events: Vec<Event>, now: TimestampMs) -> Result<EventsResponse, SimError> {
        let n_accepted = events.len() as u32;
        assert!(events.iter().all(|e| e.occurred_at() <= now && e.known_at() == now));
        self.events.lock().unwrap().extend(events);
        Ok(EventsResponse { n_accepted, n_duplicates: 0, rejected: Vec::new() })
    }
}

fn service<'a>(list_of: impl Fn(&str) -> Vec<u32> + Sync + 'a) -> Lists<'a> {
    Lists {
        list_of: Box::new(list_of),
        events: Mutex::new(Vec::new()),
        n_calls: AtomicU64::new(0),
        fail_every: 0,
    }
}

fn world() -> World {
    World::new(WorldConfig::smoke(8)).unwrap()
}

fn config(world: &World) -> SessionsConfig {
    SessionsConfig { n_users: 150, from: world.config().end_day(), n_days: 4, ..SessionsConfig::default() }
}

fn popular(world: &World) -> Vec<u32> {
    world.attention().chart(world.config().end_day()).to_vec()
}

/// The released tracks with the highest lasting appeal, per listener.
fn best(world: &World, n_users: u32) -> HashMap<String, Vec<u32>> {
    let day = world.config().end_day();
    (0..n_users)
        .map(|user| {
            let listener = world.listener(user);
            let mut items: Vec<(f64, u32)> = (0..world.catalogue().n_items() as u32)
                .filter(|&i| world.catalogue().is_released(i, day))
                .map(|i| (lasting_appeal(&listener, world.catalogue(), i), i))
                .collect();
            items.sort_by(|a, b| b.0.total_cmp(&a.0));
            (segue_sim::listener::Listener::user_id(user), items.into_iter().take(60).map(|x| x.1).collect())
        })
        .collect()
}

fn run(world: &World, service: &dyn SlateService, config: &SessionsConfig) -> LoopReport {
    run_sessions_with(world, service, config).unwrap()
}

#[test]
fn the_same_sessions_happen_under_two_policies_and_the_better_one_is_worth_more() {
    let world = world();
    let config = config(&world);
    let (chart, best) = (popular(&world), best(&world, 150));
    let plain = run(&world, &service(|_| chart.clone()), &config);
    let oracle = run(&world, &service(|user| best[user].clone()), &config);
    let keys = |r: &LoopReport| r.sessions.iter().map(|s| (s.user, s.planned_start_ms)).collect::<Vec<_>>();
    assert_eq!(keys(&plain), keys(&oracle));
    let differences = plain.paired_differences(&oracle);
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let sd = (differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    assert!(mean > 3.0 * sd / n.sqrt(), "mean {mean}, standard error {}", sd / n.sqrt());
    assert!(oracle.counts.n_clicks > plain.counts.n_clicks);
}

#[test]
fn the_report_is_the_same_for_any_number_of_threads() {
    let world = world();
    let chart = popular(&world);
    let with =
        |n_threads| run(&world, &service(|_| chart.clone()), &SessionsConfig { n_threads, ..config(&world) });
    let (one, four) = (with(1), with(4));
    assert_eq!(one.sessions, four.sessions);
    assert_eq!(one.counts, four.counts);
    let other = run(&world, &service(|_| chart.clone()), &SessionsConfig { seed: 2, ..config(&world) });
    assert_ne!(one.sessions, other.sessions);
}

#[test]
fn what_is_reported_is_valid_refers_to_slates_and_matches_the_counts() {
    let world = world();
    let chart = popular(&world);
    let service = service(|_| chart.clone());
    let report = run(&world, &service, &config(&world));
    let events = service.events.into_inner().unwrap();
    let now = TimestampMs(i64::MAX / 2);
    let mut ids = HashSet::new();
    let (mut n_plays, mut n_slate_plays, mut n_impressions) = (0, 0, 0);
    let mut met = HashSet::new();
    for event in &events {
        event.validate(now).unwrap();
        assert!(ids.insert(event.event_id().to_owned()), "{}", event.event_id());
        match event {
            Event::Impression(i) => {
                n_impressions += 1;
                met.insert((i.slate_id.clone(), i.position, i.item_id.clone()));
            }
            Event::Play(p) => {
                n_plays += 1;
                if let (Some(slate), Some(position)) = (&p.slate_id, p.position) {
                    n_slate_plays += 1;
                    assert!(met.contains(&(slate.clone(), position, p.item_id.clone())), "met before played");
                }
            }
            Event::Feedback(_) => {}
        }
    }
    let counts = report.counts;
    assert_eq!(
        (counts.n_plays, counts.n_slate_plays, counts.n_impressions),
        (n_plays, n_slate_plays, n_impressions)
    );
    assert!(n_slate_plays > 100 && counts.n_events_accepted == events.len() as u64);
    assert_eq!((counts.n_errors, counts.n_unknown_cards), (0, 0));
    assert!(report.sessions.iter().all(|s| s.n_skips <= s.n_plays && s.utility_min.is_finite()));
}

#[test]
fn failing_calls_unknown_cards_and_empty_slates_are_counted_and_sessions_go_on() {
    let world = world();
    let chart = popular(&world);
    let mut failing = service(|_| chart.clone());
    failing.fail_every = 3;
    let report = run(&world, &failing, &config(&world));
    assert!(report.counts.n_errors > 10 && !report.messages.is_empty() && report.counts.n_plays > 100);
    let empty = run(&world, &service(|_| Vec::new()), &config(&world));
    assert!(empty.counts.n_empty_slates > 10 && empty.counts.n_clicks == 0 && empty.counts.n_plays > 100);
    let unknown = run(&world, &service(|_| vec![5_000_000, 5_000_001]), &config(&world));
    assert!(unknown.counts.n_unknown_cards > 10 && unknown.counts.n_plays > 100);
}

#[test]
fn a_configuration_that_breaks_a_rule_is_refused_with_the_field() {
    let world = world();
    let error = |change: fn(&mut SessionsConfig)| {
        let mut config = config(&world);
        change(&mut config);
        run_sessions_with(&world, &service(|_| Vec::new()), &config).unwrap_err().to_string()
    };
    assert_eq!(
        error(|c| c.n_users = 999),
        "world: `sessions.n_users` is 999; it is at most the world's `n_users`"
    );
    assert!(error(|c| c.n_threads = 0).contains("sessions.n_threads"));
    assert!(error(|c| c.run = String::new()).contains("sessions.run"));
    assert!(error(|c| c.from = segue_types::Day(0)).contains("sessions.from"));
    let nothing = run(&world, &service(|_| Vec::new()), &SessionsConfig { n_users: 0, ..config(&world) });
    assert!(nothing.sessions.is_empty() && nothing.counts.n_plays == 0);
    let no_days = run(&world, &service(|_| Vec::new()), &SessionsConfig { n_days: 0, ..config(&world) });
    assert!(no_days.sessions.is_empty());
}
