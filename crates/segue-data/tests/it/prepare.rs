//! `prepare` from a written log: what was served is what was learned from, same bytes for any
//! number of threads, nothing from after `until`, damaged snapshots refused.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use segue_data::enrich::slate_key;
use segue_data::features::aggregates_day;
use segue_data::log::{LogWriter, SlateRow, WriterOptions};
use segue_data::progress::NoProgress;
use segue_data::{
    Catalogue, ExamplesFrom, FeatureInput, FeatureSchema, ItemCatalogue, PrepareConfig, Snapshot, UserState,
    prepare,
};
use segue_types::{
    DAY_MS, Day, EndReason, Event, Feedback, FeedbackKind, HOUR_MS, Impression, Item, ItemKey, MINUTE_MS,
    Play, Surface, TimestampMs, User, UserKey,
};

const NOW: TimestampMs = TimestampMs(1_800_000_000_000);
const START: i64 = 1_700_000_000_000;

fn write_log(home: &Path, events: &[Event], items: &[Item], users: &[User], n_imports: usize) {
    // Several imports: parts overlap in time, as with late deliveries.
    for import in 0..n_imports {
        let mut writer = LogWriter::new(home, &format!("t{import}"), WriterOptions::default()).unwrap();
        let part: Vec<Event> = events.iter().skip(import).step_by(n_imports).cloned().collect();
        writer.write_events(&part).unwrap();
        if import == 0 {
            writer.write(items).unwrap();
            writer.write(users).unwrap();
        }
        writer.finish(TimestampMs(NOW.0 + import as i64), &format!("import{import}"), false).unwrap();
    }
}

fn run(home: &Path, config: &PrepareConfig) -> Snapshot {
    let report = prepare(home, config, NOW, &NoProgress).unwrap();
    let snapshot = Snapshot::open_current(home).unwrap();
    assert_eq!(snapshot.id(), report.snapshot_id);
    snapshot
}

fn catalogue() -> Vec<Item> {
    (0..8)
        .map(|i| Item {
            artist_ids: if i == 7 { Vec::new() } else { vec![format!("artist{}", i % 3)] },
            tags: vec![format!("tag{}", i % 2)],
            duration_ms: (i % 4 != 3).then_some(60_000 + i * 20_000),
            release_day: Some(Day(19_000 + i as i32)),
            // One item changes its artist half-way.
            valid_from: None,
            ..Item::new(&format!("i{i}"))
        })
        .chain([Item {
            artist_ids: vec!["artist9".into()],
            duration_ms: Some(99_000),
            valid_from: Some(TimestampMs(START + DAY_MS)),
            ..Item::new("i1")
        }])
        .collect()
}

/// One random thing that happens to a listener.
#[derive(Debug, Clone)]
enum Step {
    /// Item, listened, end reason, minutes until the server hears of it.
    Play(u8, Option<i64>, Option<EndReason>, i64),
    Feedback(u8, FeedbackKind),
    /// A slate of items; how many of them are played at once.
    Slate(Vec<u8>, u8),
    /// An earlier event is sent again.
    Again(u8),
    /// Minutes pass.
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop::option::of(prop::sample::select(EndReason::ALL));
    prop_oneof![
        4 => (0..9_u8, prop::option::of(0..200_000_i64), end, prop_oneof![Just(0), Just(1), -5..0_i64, 0..3_000_i64])
            .prop_map(|(i, l, e, d)| Step::Play(i, l, e, d)),
        1 => (0..9_u8, prop::sample::select(FeedbackKind::ALL)).prop_map(|(i, k)| Step::Feedback(i, k)),
        2 => (prop::collection::vec(0..9_u8, 1..5), 0..3_u8).prop_map(|(s, n)| Step::Slate(s, n)),
        1 => any::<u8>().prop_map(Step::Again),
        2 => prop_oneof![0..10_i64, 20..40_i64, 60..2_000_i64].prop_map(Step::Wait),
    ]
}

/// A request the server answered: who asked, when, the slate, its items, features as served.
struct Served {
    user: String,
    at: TimestampMs,
    slate: String,
    item: String,
    position: u32,
    features: Vec<f32>,
}

/// Default settings for small logs.
fn small() -> PrepareConfig {
    PrepareConfig { min_impressions: 1, ..PrepareConfig::default() }
}

/// Plays the steps against online states: what the server would hold, serve and log.
struct Server {
    states: BTreeMap<String, UserState>,
    catalogue: ItemCatalogue,
    schema: FeatureSchema,
    events: Vec<Event>,
    served: Vec<Served>,
    clock: i64,
    n: u32,
}

impl Server {
    fn receive(&mut self, mut event: Event) {
        let state = self.states.entry(event.user_id().to_owned()).or_default();
        let at = state.next_known_at(TimestampMs(self.clock));
        event.set_received_at(at);
        // Duplicates reach the log, too: the server may have crashed between the two.
        let _ = state.update(&event, &self.catalogue);
        self.events.push(event);
    }

    fn id(&mut self) -> String {
        self.n += 1;
        format!("e{}", self.n)
    }

    fn step(&mut self, user: &str, step: &Step) {
        match step {
            Step::Wait(minutes) => self.clock += minutes * MINUTE_MS,
            Step::Play(item, listened, end, delay) => {
                let id = self.id();
                // A late arrival began long before it is heard of; a clock that runs ahead says later.
                let began = TimestampMs(self.clock - delay * MINUTE_MS);
                let play = Play {
                    listened_ms: *listened,
                    end_reason: *end,
                    ..Play::new(&id, user, &format!("i{item}"), began)
                };
                self.receive(Event::Play(play));
            }
            Step::Feedback(item, kind) => {
                let event_id = self.id();
                self.receive(Event::Feedback(Feedback {
                    event_id,
                    user_id: user.to_owned(),
                    target_id: format!("i{item}"),
                    kind: *kind,
                    occurred_at: TimestampMs(self.clock),
                    received_at: None,
                    slate_id: None,
                    position: None,
                }));
            }
            Step::Again(which) => {
                let mine: Vec<Event> = self.events.iter().filter(|e| e.user_id() == user).cloned().collect();
                if !mine.is_empty() {
                    self.receive(mine[usize::from(*which) % mine.len()].clone());
                }
            }
            Step::Slate(items, n_played) => self.slate(user, items, *n_played),
        }
    }

    fn slate(&mut self, user: &str, items: &[u8], n_played: u8) {
        let slate = self.id();
        let state = self.states.entry(user.to_owned()).or_default().clone();
        let at = state.next_known_at(TimestampMs(self.clock));
        let mut items = items.to_vec();
        items.dedup();
        for (position, item) in items.iter().enumerate() {
            let item = format!("i{item}");
            let key = ItemKey::of(&item);
            let facts = self.catalogue.facts(key, at);
            let mut features = vec![0.0; self.schema.len()];
            let input =
                FeatureInput { state: &state, item: key, facts, stats: None, as_of: at, sources: &[] };
            self.schema.fill(&input, &mut features);
            let (user, slate) = (user.to_owned(), slate.clone());
            self.served.push(Served { user, at, slate, item, position: position as u32, features });
        }
        for (position, item) in items.iter().enumerate() {
            let event_id = self.id();
            self.receive(Event::Impression(Impression {
                event_id,
                user_id: user.to_owned(),
                item_id: format!("i{item}"),
                slate_id: slate.clone(),
                shelf_id: None,
                position: position as u32,
                shown_at: at,
                received_at: None,
                visible_ms: None,
            }));
        }
        for (position, item) in items.iter().enumerate().take(usize::from(n_played)) {
            let id = self.id();
            let play = Play {
                listened_ms: Some(45_000),
                slate_id: Some(slate.clone()),
                position: Some(position as u32),
                ..Play::new(&id, user, &format!("i{item}"), TimestampMs(self.clock))
            };
            self.clock += MINUTE_MS;
            self.receive(Event::Play(play));
        }
    }
}

fn server() -> Server {
    Server {
        states: BTreeMap::new(),
        catalogue: ItemCatalogue::from_items(&catalogue()),
        schema: FeatureSchema::new::<&str>(&[]),
        events: Vec::new(),
        served: Vec::new(),
        clock: START,
        n: 0,
    }
}

fn bits(row: &[f32]) -> Vec<u32> {
    row.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Late, doubled and out-of-order arrivals: the features a request was served with are the
    /// training row's, bit for bit, and the server's states are the snapshot's.
    #[test]
    fn what_was_served_is_what_is_learned_from(
        steps in prop::collection::vec((0..3_u8, step()), 1..80),
    ) {
        let mut server = server();
        for (user, step) in &steps {
            server.step(&format!("u{user}"), step);
        }
        let home = tempfile::tempdir().unwrap();
        write_log(home.path(), &server.events, &catalogue(), &[], 3);
        if server.events.is_empty() {
            return Ok(());
        }
        let snapshot = run(home.path(), &PrepareConfig { n_threads: 2, ..small() });
        for (user, state) in &server.states {
            let row = snapshot.user_row(UserKey::of(user));
            let offline = row.and_then(|row| snapshot.user_state(row));
            let is_empty = state.last_known_at().is_none();
            prop_assert_eq!(offline, (!is_empty).then(|| state.clone()), "state of {}", user);
        }
        let examples = snapshot.examples().unwrap();
        if server.served.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(snapshot.examples_from(), ExamplesFrom::Impressions);
        let mut n_found = 0;
        for served in &server.served {
            let user = snapshot.user_row(UserKey::of(&served.user)).unwrap();
            let item = snapshot.item_row(ItemKey::of(&served.item)).unwrap();
            let row = (0..examples.len()).find(|&r| {
                examples.group[r] == slate_key(&served.slate)
                    && examples.item[r] == item
                    && examples.position[r] == served.position
            });
            let row = row.expect("every slate was seen at once, so each of its cards is a row");
            n_found += 1;
            prop_assert_eq!(examples.user[row], user);
            prop_assert_eq!(examples.requested_at[row], served.at.0);
            // The server's aggregates are those of the day before, from this very snapshot.
            let stats = snapshot.item_stats(item, aggregates_day(served.at));
            let mut expected = served.features.clone();
            for (i, name) in server.schema.names().iter().enumerate() {
                let stats = stats.unwrap_or_default();
                match name.as_str() {
                    "item.plays" => expected[i] = stats.plays as f32,
                    "item.plays_decayed" => {
                        expected[i] = stats.plays_decayed_at(aggregates_day(served.at));
                    }
                    "item.listener_days" => expected[i] = stats.listener_days as f32,
                    "item.stream_share" | "item.completion_share" | "item.skip_share" => {
                        expected[i] = examples.features(row)[i];
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(bits(examples.features(row)), bits(&expected), "{:?}", server.schema.names());
        }
        prop_assert_eq!(n_found, examples.len());
    }
}

/// Writes the events known on days after `from` and up to `to`, and the slates composed then, if any
/// are kept by that day. Of `late` events each day one in that many reaches the log a day after it was known: into a day that
/// a snapshot may have been made of.
fn write_days(
    home: &Path,
    server: &Server,
    slates_from: Option<Day>,
    late: Option<usize>,
    from: Day,
    to: Day,
) {
    let mut writer = LogWriter::new(home, "days", WriterOptions::default()).unwrap();
    let is_new = |at: TimestampMs| at.day() > from && at.day() <= to;
    let comes = |(n, event): &(usize, &Event)| {
        let is_late = late.is_some_and(|one_in| n % one_in == 0);
        is_new(if is_late { event.known_at().plus_ms(DAY_MS) } else { event.known_at() })
    };
    let events: Vec<Event> = server.events.iter().enumerate().filter(comes).map(|e| e.1.clone()).collect();
    writer.write_events(&events).unwrap();
    if let Some(first) = slates_from {
        let is_kept = |at: TimestampMs| is_new(at) && at.day() >= first;
        for s in server.served.iter().filter(|s| s.position == 0 && is_kept(s.at)) {
            let row = SlateRow {
                user_id: Some(s.user.clone()),
                slate_id: s.slate.clone(),
                surface: Surface::Home,
                composed_at: s.at,
                deployment_id: None,
                n_cards: None,
                slate_propensity: None,
                candidate_sampling_rate: None,
                empty_reason: None,
                degraded: Vec::new(),
                arms: Vec::new(),
                feature_names: Vec::new(),
                record: None,
            };
            writer.write(&[row]).unwrap();
        }
    }
    if from == Day(i32::MIN) {
        writer.write(&catalogue()).unwrap();
        writer.write(&users()).unwrap();
    }
    writer.finish(TimestampMs(NOW.0 + i64::from(to.0)), &format!("to{}", to.0), false).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    /// However the days are cut, and whatever comes late into a day that is not closed, continuing
    /// snapshot after snapshot ends in the bytes of a rebuild, with one thread as with two.
    #[test]
    fn continued_snapshots_equal_a_full_rebuild(
        steps in prop::collection::vec((0..4_u8, step(), 0..900_i64), 30..120),
        cuts in prop::collection::vec(1..4_i32, 2..6),
        slates_after in prop::option::of(0..20_i32),
        late in prop::option::of(2..9_usize),
    ) {
        let mut server = server();
        for (user, step, wait) in &steps {
            server.clock += wait * MINUTE_MS;
            server.step(&format!("u{user}"), step);
        }
        let last = server.events.iter().map(|e| e.known_at().day()).max();
        let (Some(last), first) = (last, TimestampMs(START).day()) else { return Ok(()) };
        let slates_from = slates_after.map(|days| Day(first.0 + days));
        let home = tempfile::tempdir().unwrap();
        let mut from = Day(i32::MIN);
        let mut to = Day(first.0 + 3);
        let mut cuts = cuts.into_iter().cycle();
        let mut n_continued = 0;
        for n_threads in [1, 2].into_iter().cycle() {
            write_days(home.path(), &server, slates_from, late, from, to);
            let config = PrepareConfig { n_threads, ..small() };
            let report = prepare(home.path(), &config, NOW, &NoProgress).unwrap();
            n_continued += u32::from(report.incremental);
            if to > last {
                break;
            }
            from = to;
            to = Day(to.0 + cuts.next().unwrap_or(1));
        }
        let snapshot = Snapshot::open_current(home.path()).unwrap();
        let continued = content(home.path(), &snapshot);
        let dir = home.path().join("snapshots").join(snapshot.id());
        drop(snapshot);
        std::fs::remove_dir_all(dir).unwrap();
        let full = PrepareConfig { full: true, ..small() };
        let report = prepare(home.path(), &full, NOW, &NoProgress).unwrap();
        prop_assert!(!report.incremental);
        let rebuilt = content(home.path(), &Snapshot::open_current(home.path()).unwrap());
        for (name, bytes) in &rebuilt {
            prop_assert!(continued.get(name) == Some(bytes), "{} differs after {} steps", name, n_continued);
        }
        prop_assert_eq!(continued.len(), rebuilt.len());
    }
}

#[test]
fn rows_of_impressions_from_before_the_first_slate_stay_when_serving_begins() {
    let mut server = server();
    let first = TimestampMs(START).day();
    for n in 0..48_u8 {
        server.clock += 6 * HOUR_MS;
        server.slate(&format!("u{}", n % 3), &[n % 5, 5 + n % 4], 1);
    }
    let home = tempfile::tempdir().unwrap();
    // Impressions are imported through day 6; from day 7 on slates are kept, as a server does.
    let serving = Day(first.0 + 7);
    write_days(home.path(), &server, Some(serving), None, Day(i32::MIN), Day(first.0 + 6));
    let imported = prepare(home.path(), &small(), NOW, &NoProgress).unwrap();
    assert!(imported.rows["examples"] > 40, "{:?}", imported.rows);
    for day in 7..10 {
        write_days(home.path(), &server, Some(serving), None, Day(first.0 + day - 1), Day(first.0 + day));
        let report = prepare(home.path(), &small(), NOW, &NoProgress).unwrap();
        assert!(report.incremental);
        assert!(report.rows["examples"] > imported.rows["examples"], "day {day}: {:?}", report.rows);
    }
    let continued = Snapshot::open_current(home.path()).unwrap();
    let examples = continued.examples().unwrap();
    // Each card has one row: at its impression's moment before serving began, at its slate's since.
    let n_cards = server.served.iter().filter(|s| s.at.day() < Day(first.0 + 10)).count();
    assert_eq!(examples.len(), n_cards);
    let full = PrepareConfig { full: true, ..small() };
    let report = prepare(home.path(), &full, NOW, &NoProgress).unwrap();
    assert_eq!(report.snapshot_id, continued.id());
}

#[test]
fn a_snapshot_is_continued_until_something_old_changes() {
    let mut server = server();
    for n in 0..200_u8 {
        server.clock += HOUR_MS;
        server.step(&format!("u{}", n % 3), &Step::Play(n % 5, Some(50_000), None, 0));
    }
    let home = tempfile::tempdir().unwrap();
    let first = TimestampMs(START).day();
    let again = |from: i32, to: i32| {
        write_days(home.path(), &server, None, None, Day(from), Day(to));
        prepare(home.path(), &small(), NOW, &NoProgress).unwrap()
    };
    assert!(!again(i32::MIN, first.0 + 4).incremental);
    let second = again(first.0 + 4, first.0 + 5);
    assert!(second.incremental);
    // The day is new, and the two before it were open.
    assert_eq!(second.n_days_read, 3);
    // An item gets another artist for all time: what folds saw is no longer true.
    let mut writer = LogWriter::new(home.path(), "late", WriterOptions::default()).unwrap();
    writer.write(&[Item { artist_ids: vec!["other".into()], ..Item::new("i2") }]).unwrap();
    writer.finish(TimestampMs(NOW.0 + 9_000_000), "late", false).unwrap();
    assert!(!again(first.0 + 5, first.0 + 6).incremental);
    // A late import into an old day.
    assert!(again(first.0 + 6, first.0 + 7).incremental);
    let mut writer = LogWriter::new(home.path(), "old", WriterOptions::default()).unwrap();
    writer.write(&[Play::new("old", "u1", "i1", TimestampMs(START))]).unwrap();
    writer.finish(TimestampMs(NOW.0 + 9_000_001), "old", false).unwrap();
    assert!(!again(first.0 + 7, first.0 + 8).incremental);
}

#[test]
fn a_listener_who_moves_takes_old_plays_along_and_a_first_length_is_seen_everywhere() {
    let mut server = server();
    for n in 0..300_u16 {
        server.clock += HOUR_MS;
        // Nobody says how long they listened until day 11.
        let listened = (n > 270).then_some(50_000);
        server.step(&format!("u{}", n % 3), &Step::Play((n % 7) as u8, listened, None, 0));
    }
    let home = tempfile::tempdir().unwrap();
    let first = TimestampMs(START).day();
    let again = |from: i32, to: i32| {
        write_days(home.path(), &server, None, None, Day(from), Day(to));
        prepare(home.path(), &small(), NOW, &NoProgress).unwrap().incremental
    };
    let rebuilt = || {
        let snapshot = Snapshot::open_current(home.path()).unwrap();
        let continued = content(home.path(), &snapshot);
        std::fs::remove_dir_all(home.path().join("snapshots").join(snapshot.id())).unwrap();
        let full = PrepareConfig { full: true, ..small() };
        let snapshot = run(home.path(), &full);
        assert!(continued == content(home.path(), &snapshot));
        snapshot
    };
    assert!(!again(i32::MIN, first.0 + 9));
    let before = rebuilt();
    let in_market = |s: &Snapshot, market: &str| -> u32 {
        s.market_days(market, Day(i32::MAX)).map(|day| day.plays.iter().sum::<u32>()).sum()
    };
    let row = before.user_row(UserKey::of("u1")).unwrap();
    let market = before.users()[row as usize].market.clone().unwrap_or_default();
    let n_there = in_market(&before, &market);
    let mut writer = LogWriter::new(home.path(), "moved", WriterOptions::default()).unwrap();
    let moved = User { user_id: "u1".into(), market: Some("NZ".into()), ..User::default() };
    writer.write(&[User { valid_from: Some(TimestampMs(START)), ..moved }]).unwrap();
    writer.finish(TimestampMs(NOW.0 + 9_000_000), "moved", false).unwrap();
    assert!(again(first.0 + 9, first.0 + 10));
    let after = rebuilt();
    assert_eq!(in_market(&after, "NZ") as usize, after.n_plays(row));
    assert!(in_market(&after, &market) < n_there);
    assert_eq!(after.interactions(row).map(|i| i.n_plays as usize).sum::<usize>(), after.n_plays(row));
    let last = after.sequences().user(row as usize).occurred_at.iter().max().copied();
    assert_eq!(after.last_played_at(row).map(|at| at.0), last);
    // Now lengths are known: what was counted without them is counted anew.
    assert!(!again(first.0 + 10, first.0 + 12));
    rebuilt();
}

/// A few hundred events of twenty listeners over five days.
fn some_events() -> Vec<Event> {
    let mut events = Vec::new();
    let mut x = 12_345_u64;
    let mut random = move |n: u64| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % n
    };
    for n in 0..600 {
        let at = START + (random(5 * 24 * 60) as i64) * MINUTE_MS;
        let play = Play {
            received_at: Some(TimestampMs(at + 200_000 + (random(50) as i64) * HOUR_MS / 10)),
            listened_ms: Some(random(200_000) as i64),
            duration_ms: Some(180_000),
            end_reason: Some(EndReason::ALL[random(9) as usize]),
            ..Play::new(
                &format!("p{n}"),
                &format!("u{}", random(20)),
                &format!("i{}", random(12)),
                TimestampMs(at),
            )
        };
        events.push(Event::Play(play));
    }
    events
}

fn users() -> Vec<User> {
    (0..20)
        .map(|u| User {
            user_id: format!("u{u}"),
            market: Some(if u % 2 == 0 { "SE" } else { "DE" }.to_owned()),
            ..User::default()
        })
        .collect()
}

/// Every file of a snapshot but the timings.
fn content(home: &Path, snapshot: &Snapshot) -> BTreeMap<String, Vec<u8>> {
    let dir = home.join("snapshots").join(snapshot.id());
    let names = snapshot.manifest().files.keys().cloned().chain(["manifest.json".to_owned()]);
    names.map(|name| (name.clone(), std::fs::read(dir.join(&name)).unwrap())).collect()
}

#[test]
fn one_and_two_threads_write_the_same_bytes() {
    let mut all = Vec::new();
    for n_threads in [1, 2, 3] {
        let home = tempfile::tempdir().unwrap();
        write_log(home.path(), &some_events(), &catalogue(), &users(), 2);
        let snapshot = run(home.path(), &PrepareConfig { n_threads, ..small() });
        all.push(content(home.path(), &snapshot));
    }
    assert!(all[0].len() > 20);
    assert!(all[0] == all[1] && all[1] == all[2]);
}

#[test]
fn a_snapshot_until_a_moment_holds_nothing_known_later() {
    let home = tempfile::tempdir().unwrap();
    let events = some_events();
    write_log(home.path(), &events, &[], &users(), 1);
    let until = TimestampMs(START + 2 * DAY_MS);
    let config = PrepareConfig { until: Some(until), ..small() };
    let snapshot = run(home.path(), &config);
    let n_before = events.iter().filter(|e| e.known_at() < until).count();
    assert!(n_before > 0 && n_before < events.len());
    assert_eq!(snapshot.sequences().n_plays(), n_before);
    assert!(snapshot.sequences().known_at.iter().all(|&at| at < until.0));
    // Popularity by market adds up to the item statistics.
    let by_market: u64 = ["SE", "DE"]
        .iter()
        .flat_map(|m| snapshot.market_days(m, until.day()))
        .map(|d| d.plays.iter().map(|&n| u64::from(n)).sum::<u64>())
        .sum();
    let by_item: u64 = (0..snapshot.n_items())
        .filter_map(|i| snapshot.item_stats(i, until.day()))
        .map(|s| u64::from(s.plays))
        .sum();
    assert_eq!((by_market, by_item), (n_before as u64, n_before as u64));
    assert_eq!(snapshot.examples_from(), ExamplesFrom::Plays);
    assert_eq!(snapshot.examples().unwrap().len(), n_before);
}

#[test]
fn a_damaged_snapshot_is_refused_with_what_was_expected() {
    let home = tempfile::tempdir().unwrap();
    write_log(home.path(), &some_events(), &catalogue(), &users(), 1);
    let snapshot = run(home.path(), &small());
    let dir = home.path().join("snapshots").join(snapshot.id());
    let names: Vec<String> = snapshot.manifest().files.keys().cloned().collect();
    drop(snapshot);
    for name in names {
        let path = dir.join(&name);
        let whole = std::fs::read(&path).unwrap();
        if whole.is_empty() {
            continue;
        }
        let refused = |bytes: &[u8]| {
            // A new file: the old one may still be mapped somewhere.
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let message = Snapshot::open(&dir).unwrap_err().to_string();
            assert!(message.contains("expected") && message.contains("got"), "{name}: {message}");
        };
        refused(&whole[..whole.len() / 2]);
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x40;
        refused(&flipped);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(Snapshot::open(&dir).is_ok());
}

/// What is damaged is built anew, with a new day or without: the same rows have the same id, and the
/// damaged folder makes way.
#[test]
fn a_damaged_snapshot_is_built_anew() {
    let mut server = server();
    for n in 0..330_u16 {
        server.clock += HOUR_MS;
        server.step(&format!("u{}", n % 7), &Step::Play((n % 5) as u8, Some(50_000), None, 0));
    }
    let home = tempfile::tempdir().unwrap();
    let first = TimestampMs(START).day();
    let again = || prepare(home.path(), &small(), NOW, &NoProgress).unwrap();
    write_days(home.path(), &server, None, None, Day(i32::MIN), Day(first.0 + 11));
    again();
    let damage = |table: &str| {
        let snapshot = Snapshot::open_current(home.path()).unwrap();
        let mut files = snapshot.manifest().files.iter();
        let (name, _) = files.find(|(name, file)| name.starts_with(table) && file.n_bytes > 8).unwrap();
        let path = home.path().join("snapshots").join(snapshot.id()).join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        // A new file: the one that was there is mapped and may be shared.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        snapshot.id().to_owned()
    };
    for (at, table) in ["states/class", "plays/times", "co_listens/", "items.parquet"].into_iter().enumerate()
    {
        let before = damage(table);
        assert!(Snapshot::open_current(home.path()).is_err());
        let report = again();
        assert!(!report.incremental && report.snapshot_id == before, "{table}");
        Snapshot::open_current(home.path()).unwrap();
        damage(table);
        let day = first.0 + 11 + at as i32;
        write_days(home.path(), &server, None, None, Day(day), Day(day + 1));
        assert!(!again().incremental, "{table}");
        Snapshot::open_current(home.path()).unwrap();
    }
}

#[test]
fn a_snapshot_of_another_format_is_refused_and_built_anew() {
    let home = tempfile::tempdir().unwrap();
    write_log(home.path(), &some_events(), &catalogue(), &users(), 1);
    let snapshot = run(home.path(), &small());
    let format = snapshot.manifest().format;
    let snapshots = home.path().join("snapshots");
    std::fs::rename(snapshots.join(snapshot.id()), snapshots.join("old")).unwrap();
    std::fs::write(snapshots.join("current"), "old").unwrap();
    let path = snapshots.join("old/manifest.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let older = before.replace(&format!("\"format\": {format},"), "\"format\": 2,");
    assert!(older != before);
    std::fs::write(&path, older).unwrap();
    let message = Snapshot::open_current(home.path()).unwrap_err().to_string();
    assert!(message.contains(&format!("format {format}")) && message.contains("got 2"), "{message}");
    assert!(!prepare(home.path(), &small(), NOW, &NoProgress).unwrap().incremental);
    assert!(Snapshot::open_current(home.path()).is_ok());
}

#[test]
fn an_empty_home_says_what_to_do_first() {
    let home = tempfile::tempdir().unwrap();
    let message = prepare(home.path(), &small(), NOW, &NoProgress).unwrap_err().to_string();
    assert!(message.contains("segue import"), "{message}");
    let message = Snapshot::open_current(home.path()).unwrap_err().to_string();
    assert!(message.contains("segue prepare"), "{message}");
}
