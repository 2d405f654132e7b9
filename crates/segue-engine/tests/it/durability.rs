//! What is acknowledged is there after a restart, and reaches the log once.

use std::collections::BTreeMap;

use segue_data::log::{LogReader, LogWriter, SlateRow, WriterOptions};
use segue_data::progress::NoProgress;
use segue_data::{PrepareConfig, prepare};
use segue_engine::{Engine, EngineConfig};
use segue_types::{DAY_MS, Feedback, FeedbackKind, Play};

use crate::support::*;

fn small_segments() -> EngineConfig {
    let mut config = EngineConfig::default();
    config.state.segment_bytes = 4_096;
    config.state.checkpoint_events = 25;
    config
}

/// Event ids in the log, with how often each is there.
fn logged(home: &std::path::Path) -> BTreeMap<String, u32> {
    let reader = LogReader::new(home);
    let mut ids = BTreeMap::new();
    for row in reader.rows::<Play>(None).unwrap() {
        *ids.entry(row.unwrap().event_id).or_default() += 1;
    }
    for row in reader.rows::<Feedback>(None).unwrap() {
        *ids.entry(row.unwrap().event_id).or_default() += 1;
    }
    ids
}

#[test]
fn an_engine_that_was_not_shut_down_finds_everything_again() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    for i in 0..100 {
        let events = vec![play(&format!("e{i}"), "ada", i % 40, i as i64 * 1_000, 190_000)];
        assert_eq!(engine.ingest(events, NOW.plus_ms(i as i64 * 1_000)).unwrap().n_accepted, 1);
    }
    let at = NOW.plus_ms(200_000);
    let before = engine.user("ada", at).unwrap();
    engine.put_items(vec![item(77)], at).unwrap();
    drop(engine);
    let engine = open(home.path(), EngineConfig::default());
    assert_eq!(engine.user("ada", at).unwrap(), before);
    let again = vec![play("e5", "ada", 5, 5_000, 190_000)];
    assert_eq!(engine.ingest(again, at).unwrap().n_duplicates, 1);
    assert!(engine.similar("t77", 3, at).is_some(), "the item that was put is known");
}

#[test]
fn every_event_reaches_the_log_once_with_its_moment_of_receipt() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), small_segments());
    for i in 0..120_i64 {
        let id = format!("e{i}");
        let event = if i % 4 == 0 {
            feedback(&id, "kid", "t3", FeedbackKind::Like, i)
        } else {
            play(&id, "ada", (i % 40) as usize, i, 190_000)
        };
        engine.ingest(vec![event], NOW.plus_ms(i)).unwrap();
        if i == 60 {
            engine.drain().unwrap();
        }
    }
    engine.shutdown().unwrap();
    let ids = logged(home.path());
    assert_eq!(ids.len(), 120);
    assert!(ids.values().all(|&n| n == 1), "{ids:?}");
    let rows: Vec<Play> =
        LogReader::new(home.path()).rows::<Play>(None).unwrap().map(Result::unwrap).collect();
    assert!(rows.iter().all(|p| p.received_at.is_some_and(|at| at >= NOW)));
    assert!(engine.ingest(vec![play("late", "ada", 1, 0, 1_000)], NOW).is_err(), "it is shut down");
    drop(engine);
    // Offsets go on after the drained segments, so nothing is numbered twice.
    let engine = open(home.path(), small_segments());
    engine.ingest(vec![play("e200", "ada", 1, 0, 190_000)], NOW.plus_ms(500)).unwrap();
    assert_eq!(engine.user("ada", NOW.plus_ms(500)).unwrap().state_offset, 121);
    engine.shutdown().unwrap();
    assert_eq!(logged(home.path()).len(), 121);
}

#[test]
fn slates_reach_the_log_with_their_candidates_and_are_found_there() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    let ids: Vec<String> =
        (0..10).map(|i| engine.home(&request("ada"), NOW.plus_ms(i)).unwrap().slate.slate_id).collect();
    let stranger = engine.home(&Default::default(), NOW).unwrap().slate.slate_id;
    let (_, n_slates) = engine.drain().unwrap();
    assert_eq!(n_slates, 11);
    for id in ids.iter().chain([&stranger]) {
        assert!(engine.replay(id, false).unwrap().expect("found in the log").is_identical);
    }
    let rows: Vec<SlateRow> = LogReader::new(home.path()).rows(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 11);
    assert_eq!(engine.drain().unwrap(), (0, 0));
}

#[test]
fn many_callers_share_the_disk_and_none_is_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), small_segments());
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let engine = &engine;
            scope.spawn(move || {
                for i in 0..25 {
                    let id = format!("e{caller}-{i}");
                    let user = format!("u{}", caller % 3);
                    let answer = engine.ingest(vec![play(&id, &user, i, i as i64, 190_000)], NOW).unwrap();
                    assert_eq!(answer.n_accepted, 1);
                }
            });
        }
    });
    let n: u64 = (0..3).map(|u| engine.user(&format!("u{u}"), NOW).unwrap().n_plays).sum();
    assert_eq!(n, 200);
    engine.shutdown().unwrap();
    let ids = logged(home.path());
    assert_eq!((ids.len(), ids.values().max()), (200, Some(&1)));
}

/// The whole way round: served, drained, prepared, served again. Folds offline give the states the
/// server had; where years of history were imported meanwhile, the snapshot knows more.
#[test]
fn a_prepared_log_gives_the_states_the_server_had_and_imports_are_taken_over() {
    let home = tempfile::tempdir().unwrap();
    let engine = Engine::open(home.path(), small_segments(), NOW).unwrap();
    engine.put_items((0..40).map(item).collect(), NOW).unwrap();
    for i in 0..60_i64 {
        let user = ["ada", "bo"][i as usize % 2];
        let at = i * 400_000;
        let mut events = vec![play(&format!("e{i}"), user, (i * 7 % 40) as usize, at, 1_000 * (i % 7) * 30)];
        if i % 9 == 0 {
            events.push(feedback(&format!("f{i}"), user, "t3", FeedbackKind::Like, at));
        }
        engine.ingest(events, NOW.plus_ms(at + 200_000)).unwrap();
    }
    let later = NOW.plus_ms(DAY_MS);
    let (ada, bo) = (engine.user("ada", later).unwrap(), engine.user("bo", later).unwrap());
    engine.shutdown().unwrap();
    drop(engine);
    let mut log = LogWriter::new(home.path(), "import", WriterOptions::default()).unwrap();
    let old = |i: i64| Play::new(&format!("old{i}"), "ada", "t30", NOW.plus_ms(-(i + 1) * DAY_MS));
    log.write(&(0..25).map(old).collect::<Vec<_>>()).unwrap();
    log.finish(NOW, "import-1", true).unwrap();
    prepare(home.path(), &PrepareConfig { n_threads: 1, ..PrepareConfig::default() }, later, &NoProgress)
        .unwrap();
    let engine = Engine::open(home.path(), small_segments(), later).unwrap();
    let notes = engine.status(later).notes;
    assert!(notes.iter().any(|n| n.contains("knows more of 1 listeners")), "{notes:?}");
    let ada_now = engine.user("ada", later).unwrap();
    assert_eq!((ada.n_plays, ada_now.n_plays), (30, 55));
    assert_eq!(ada_now.state_offset, ada.state_offset);
    assert_eq!(engine.user("bo", later).unwrap().features, bo.features);
    let slate = engine.home(&request("bo"), later).unwrap().slate;
    assert!(slate.empty_reason.is_none());
    assert_eq!(engine.users("", 10).n_total, 2);
}
