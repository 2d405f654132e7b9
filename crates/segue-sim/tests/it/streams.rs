//! The log of a world: the same for any number of threads, valid, and fine when there is nothing.

use std::collections::HashSet;

use segue_sim::{EventBatch, SimError, World, WorldConfig, WorldSink};
use segue_types::{DAY_MS, Feedback, Impression, Item, Play, TimestampMs, User};

#[derive(Default, PartialEq)]
struct Everything {
    items: Vec<Item>,
    users: Vec<User>,
    plays: Vec<Play>,
    feedback: Vec<Feedback>,
    impressions: Vec<Impression>,
    /// Sizes of the calls, in order.
    calls: Vec<usize>,
    stop_after: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
#[error("disk full")]
struct Full;

impl WorldSink for Everything {
    type Error = Full;

    fn items(&mut self, items: Vec<Item>) -> Result<(), Full> {
        self.calls.push(items.len());
        self.items.extend(items);
        Ok(())
    }

    fn users(&mut self, users: Vec<User>) -> Result<(), Full> {
        self.calls.push(users.len());
        self.users.extend(users);
        Ok(())
    }

    fn events(&mut self, batch: EventBatch) -> Result<(), Full> {
        if self.stop_after.is_some_and(|n| self.calls.len() >= n) {
            return Err(Full);
        }
        self.calls.push(batch.plays.len());
        self.plays.extend(batch.plays);
        self.feedback.extend(batch.feedback);
        self.impressions.extend(batch.impressions);
        Ok(())
    }
}

fn generate(config: WorldConfig, n_threads: usize) -> Everything {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    pool.install(|| {
        let mut sink = Everything::default();
        let world = World::new(config).unwrap();
        let summary = world.generate(&mut sink).unwrap();
        assert_eq!(summary.n_plays, sink.plays.len() as u64);
        assert_eq!(summary.n_impressions, sink.impressions.len() as u64);
        sink
    })
}

#[test]
fn one_and_three_threads_give_the_same_rows() {
    let config = WorldConfig { n_users: 120, ..WorldConfig::smoke(5) };
    let (one, three) = (generate(config.clone(), 1), generate(config, 3));
    assert!(one.plays.len() > 5_000 && !one.feedback.is_empty() && !one.impressions.is_empty());
    assert!(one == three);
}

#[test]
fn another_seed_is_another_world() {
    let plays = |seed| generate(WorldConfig { n_users: 20, ..WorldConfig::smoke(seed) }, 1).plays;
    assert!(plays(1) == plays(1) && plays(1) != plays(2));
}

#[test]
fn every_row_is_valid_and_ids_are_unique() {
    let config = WorldConfig::smoke(3);
    let world = generate(config.clone(), 2);
    // Offline plays may reach the server long after the log's last day.
    let now = TimestampMs(config.end_day().start().0 + 60 * DAY_MS);
    world.items.iter().for_each(|i| i.validate().unwrap());
    world.users.iter().for_each(|u| u.validate().unwrap());
    let items: HashSet<&str> = world.items.iter().map(|i| i.item_id.as_str()).collect();
    let users: HashSet<&str> = world.users.iter().map(|u| u.user_id.as_str()).collect();
    assert_eq!((items.len(), users.len()), (1_000, 200));
    let mut ids = HashSet::new();
    for play in &world.plays {
        play.validate(now).unwrap();
        assert!(items.contains(play.item_id.as_str()) && users.contains(play.user_id.as_str()));
        assert!(ids.insert(&play.event_id));
        assert!(play.listened_ms <= play.duration_ms && play.received_at >= play.ended_at);
    }
    for act in &world.feedback {
        act.validate(now).unwrap();
        assert!(ids.insert(&act.event_id));
    }
    for impression in &world.impressions {
        impression.validate(now).unwrap();
        assert!(items.contains(impression.item_id.as_str()) && ids.insert(&impression.event_id));
    }
    let shown: HashSet<(&str, u32)> =
        world.impressions.iter().map(|i| (i.slate_id.as_str(), i.position)).collect();
    let chosen: Vec<_> =
        world.plays.iter().filter_map(|p| Some((p.slate_id.as_deref()?, p.position?))).collect();
    assert!(!chosen.is_empty() && chosen.iter().all(|c| shown.contains(c)), "a chosen card was on screen");
    let late = world.plays.iter().filter(|p| p.received_at > p.ended_at.map(|e| e.plus_ms(DAY_MS)));
    assert!(late.clone().count() > 0 && late.clone().all(|p| p.offline == Some(true)));
}

#[test]
fn a_listeners_plays_follow_each_other_and_nothing_plays_before_its_release_or_registration() {
    let world = generate(WorldConfig::smoke(4), 2);
    for pair in world.plays.windows(2).filter(|w| w[0].user_id == w[1].user_id) {
        assert!(pair[0].ended_at.unwrap() <= pair[1].occurred_at);
    }
    let release = |id: &str| world.items.iter().find(|i| i.item_id == id).unwrap().release_day.unwrap();
    for play in world.plays.iter().step_by(7) {
        assert!(release(&play.item_id) <= play.occurred_at.day());
    }
    for user in &world.users {
        let registered = user.registered_at.unwrap();
        assert!(
            world.plays.iter().filter(|p| p.user_id == user.user_id).all(|p| p.occurred_at >= registered)
        );
    }
}

#[test]
fn worlds_without_listeners_items_or_days_have_an_empty_log() {
    for (n_users, n_items, n_days) in [(0, 100, 5), (10, 0, 5), (10, 100, 0), (0, 0, 0), (3, 1, 3)] {
        let out = generate(WorldConfig { n_users, n_items, n_days, ..WorldConfig::smoke(1) }, 2);
        assert_eq!((out.users.len(), out.items.len()), (n_users as usize, n_items as usize));
        if n_users * n_items * n_days == 0 {
            assert!(out.plays.is_empty() && out.impressions.is_empty() && out.feedback.is_empty());
        }
    }
}

#[test]
fn an_error_of_the_sink_ends_the_generation_and_is_kept() {
    let world = World::new(WorldConfig::smoke(1)).unwrap();
    let mut sink = Everything { stop_after: Some(2), ..Everything::default() };
    let error = world.generate(&mut sink).unwrap_err();
    assert!(matches!(error, SimError::Sink { table: "events", .. }));
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "disk full");
}
