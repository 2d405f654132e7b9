//! Models come and go while requests are served.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use segue_engine::config::ShelfConfig;
use segue_engine::{Engine, EngineConfig};
use segue_types::api::SlateRequest;

use crate::support::*;

fn one_shelf() -> EngineConfig {
    let mut config = EngineConfig::default();
    config.surface.home.shelf = vec![ShelfConfig {
        id: "next".to_owned(),
        title: "Next".to_owned(),
        sources: vec!["markov".to_owned()],
        limit: 1,
        ..ShelfConfig::default()
    }];
    config.surface.now_playing.queue.sources = vec!["markov".to_owned(), "popular".to_owned()];
    config
}

/// After `t1` comes `next`, says the model.
fn publish(home: &std::path::Path, next: u32) -> String {
    publish_markov(home, &vec![vec![1, next]; 4])
}

fn status_of(engine: &Engine, name: &str) -> (String, Option<String>) {
    let model = engine.status(NOW).models.into_iter().find(|m| m.name == name).unwrap();
    (model.status, model.detail)
}

#[test]
fn no_request_sees_half_of_a_swap() {
    let home = tempfile::tempdir().unwrap();
    publish(home.path(), 2);
    let engine = open(home.path(), one_shelf());
    engine.ingest(vec![play("e1", "ada", 1, 0, 190_000)], NOW).unwrap();
    let is_done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = BTreeSet::new();
                    while !is_done.load(Ordering::SeqCst) {
                        let asked = SlateRequest { explain: true, ..request("ada") };
                        let record = engine.home(&asked, NOW).unwrap().record.unwrap();
                        let card = &record.slate.shelves[0].cards[0];
                        seen.insert((record.deployment_id.clone(), card.item_id.clone()));
                    }
                    seen
                })
            })
            .collect();
        for i in 0..20 {
            publish(home.path(), if i % 2 == 0 { 3 } else { 2 });
            engine.reload(NOW).unwrap();
        }
        is_done.store(true, Ordering::SeqCst);
        readers.into_iter().flat_map(|r| r.join().unwrap()).collect::<BTreeSet<_>>()
    });
    let ids: BTreeSet<&String> = seen.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 2, "{seen:?}");
    assert_eq!(seen.len(), 2, "each deployment shows its own model's track only: {seen:?}");
}

#[test]
fn a_corrupt_artifact_keeps_the_last_good_one_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    publish(home.path(), 2);
    let engine = open(home.path(), one_shelf());
    engine.ingest(vec![play("e1", "ada", 1, 0, 190_000)], NOW).unwrap();
    assert_eq!(status_of(&engine, "markov").0, "serving");
    let id = publish(home.path(), 3);
    let file = home.path().join("artifacts/markov").join(id).join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 0xff;
    std::fs::write(&file, &bytes).unwrap();
    engine.reload(NOW).unwrap();
    let (status, detail) = status_of(&engine, "markov");
    assert_eq!(status, "kept_previous");
    assert!(detail.unwrap().contains("model.safetensors"));
    let slate = engine.home(&request("ada"), NOW).unwrap().slate;
    assert_eq!(all_cards(&slate), ["t2"]);
    assert!(slate.degraded.iter().all(|d| d.stage != "markov"));
    // A server that starts now has no last good one: it serves without the model, and says so.
    drop(engine);
    let engine = open(home.path(), one_shelf());
    assert_eq!(status_of(&engine, "markov").0, "corrupt");
    let queue = engine.now_playing(&request("ada"), NOW).unwrap().slate;
    assert!(!queue.shelves.is_empty(), "what is popular is always there");
    let degraded: Vec<_> = queue.degraded.iter().map(|d| (d.stage.as_str(), d.cause.as_str())).collect();
    assert!(degraded.contains(&("markov", "missing_model")), "{degraded:?}");
}

#[test]
fn a_missing_artifact_is_served_without_and_taken_in_when_it_comes() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), one_shelf());
    engine.ingest(vec![play("e1", "ada", 1, 0, 190_000)], NOW).unwrap();
    let (status, detail) = status_of(&engine, "markov");
    assert_eq!(status, "missing");
    assert!(detail.unwrap().contains("segue train"));
    assert!(engine.home(&request("ada"), NOW).unwrap().slate.empty_reason.is_some());
    publish(home.path(), 2);
    let before = engine.status(NOW).deployment_id;
    let after = engine.reload(NOW).unwrap();
    assert_ne!(before, after.deployment_id);
    assert_eq!(all_cards(&engine.home(&request("ada"), NOW).unwrap().slate), ["t2"]);
    let similar = engine.similar("t1", 5, NOW).unwrap();
    assert_eq!((similar.model.as_str(), similar.items[0].item_id.as_str()), ("markov", "t2"));
    assert!(engine.similar("never heard of", 5, NOW).is_none());
}
