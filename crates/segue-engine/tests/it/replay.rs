//! A slate is recomposed from its record alone, byte for byte.

use std::sync::Arc;

use segue_engine::EngineConfig;
use segue_engine::replay::{differences, recompose, served_bytes};
use segue_types::SlateRecord;
use segue_types::api::SlateRequest;

use crate::support::*;

/// A thousand slates of both surfaces while events and items come in and stages run out of time
/// at random: every one is recomposed to the same bytes, before and after a restart.
#[test]
fn a_thousand_slates_are_recomposed_byte_for_byte_time_outs_included() {
    let home = tempfile::tempdir().unwrap();
    publish_markov(home.path(), &vec![(0..40).collect::<Vec<u32>>(); 3]);
    let mut config = EngineConfig::default();
    config.serving.candidate_sampling_rate = 0.1;
    let engine = open_with(home.path(), config.clone(), Arc::new(JumpyClock::new()));
    let mut served: Vec<(String, String)> = Vec::new();
    let (mut n_timed_out, mut n_explored) = (0, 0);
    for i in 0..1_000_i64 {
        let now = NOW.plus_ms(i * 60_000);
        let user = ["ada", "bo", "kid", "zoe"][i as usize % 4];
        let asked = SlateRequest {
            request_id: Some(format!("request-{i}")),
            current_item_id: (i % 3 == 0).then(|| format!("t{}", i % 40)),
            limit: (i % 7 == 0).then_some(5),
            ..request(user)
        };
        let response = if i % 2 == 0 { engine.home(&asked, now) } else { engine.now_playing(&asked, now) };
        let slate = response.unwrap().slate;
        n_timed_out += usize::from(slate.degraded.iter().any(|d| d.cause == "timeout"));
        n_explored += usize::from(slate.slate_propensity < 1.0);
        served.push((slate.slate_id.clone(), serde_json::to_string(&slate).unwrap()));
        let track = (i * 7 % 40) as usize;
        engine.ingest(vec![play(&format!("e{i}"), user, track, i * 60_000, 1_000 * (i % 200))], now).unwrap();
        if i % 100 == 0 {
            engine.put_items(vec![item(track)], now).unwrap();
        }
    }
    assert!(n_timed_out > 100, "{n_timed_out} slates met a time-out");
    assert!(n_explored > 300, "{n_explored} slates explored");
    let check = |engine: &segue_engine::Engine, every: usize| {
        for (id, bytes) in served.iter().step_by(every) {
            let replay = engine.replay(id, false).unwrap().expect("the record is kept");
            assert!(replay.is_identical, "{id}: {:?}", replay.differences);
            let record = engine.slate(id).unwrap().unwrap();
            assert_eq!(serde_json::to_string(&recompose(&record)).unwrap(), *bytes, "{id}");
        }
    };
    check(&engine, 1);
    engine.shutdown().unwrap();
    drop(engine);
    // From the log now: each look-up reads a row group of a day, so a sample.
    check(&open(home.path(), config), 20);
}

fn one_record() -> SlateRecord {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    engine.ingest(vec![play("e1", "ada", 5, 0, 190_000)], NOW).unwrap();
    let others = (0..30).map(|i| play(&format!("z{i}"), "zoe", i, 0, 190_000)).collect();
    engine.ingest(others, NOW).unwrap();
    let id = engine.home(&request("ada"), NOW).unwrap().slate.slate_id;
    engine.slate(&id).unwrap().unwrap()
}

#[test]
fn a_record_that_was_changed_is_found_out() {
    let good = one_record();
    // Numbers read from JSON may be off by their last bit, which is why replay compares with the
    // bytes that were served; here the recomposed slate is the measure.
    let slate = recompose(&good);
    assert_eq!(all_cards(&slate), all_cards(&good.slate));
    let mut changes: Vec<SlateRecord> = vec![good.clone(); 4];
    changes[0].seed ^= 1;
    let explored = changes[1].shelves.iter().position(|s| s.selector == "explore").unwrap();
    changes[1].shelves[explored].temperature = 5.0;
    changes[2].shelves[0].pool[0].score = 0.0;
    changes[2].shelves[0].pool[0].reason = Some("another".to_owned());
    changes[3].shelves.pop();
    for (i, changed) in changes.iter().enumerate() {
        assert!(!differences(&slate, &recompose(changed)).is_empty(), "change {i} was not seen");
    }
}

#[test]
fn the_served_bytes_are_cut_out_of_the_record_whatever_the_ids_hold() {
    let mut record = one_record();
    record.request.session_id = Some(",\"slate\":{\"slate_id\":".to_owned());
    record.slate.slate_id = "},\"slate\":{\"slate_id\":\"x\"}}".to_owned();
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(served_bytes(&json), Some(serde_json::to_string(&record.slate).unwrap().as_str()));
    assert_eq!(served_bytes("{}"), None);
}

#[test]
fn running_the_stages_again_gives_the_same_slate_until_something_is_learned() {
    let home = tempfile::tempdir().unwrap();
    publish_markov(home.path(), &vec![(0..40).collect::<Vec<u32>>(); 3]);
    let engine = open(home.path(), EngineConfig::default());
    engine.ingest(vec![play("e1", "ada", 5, 0, 190_000)], NOW).unwrap();
    for i in 0..50 {
        let asked = SlateRequest { request_id: Some(format!("r{i}")), ..request("ada") };
        let id = engine.home(&asked, NOW.plus_ms(i)).unwrap().slate.slate_id;
        let replay = engine.replay(&id, true).unwrap().unwrap();
        assert!(replay.is_identical, "{:?}", replay.differences);
    }
    engine.ingest(vec![play("e2", "ada", 6, 0, 190_000)], NOW.plus_ms(100)).unwrap();
    let replay = engine.replay("r7", true).unwrap().unwrap();
    assert!(!replay.is_identical);
    assert!(replay.differences[0].contains("offset 1, it is at 2 now"), "{:?}", replay.differences);
    assert!(engine.replay("r7", false).unwrap().unwrap().is_identical);
    assert!(engine.replay("never served", false).unwrap().is_none());
}
