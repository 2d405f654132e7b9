//! Experiments while requests are served: arms compose with their own configuration, ramps and
//! stops need no restart, replay honours the arm.

use std::collections::BTreeSet;
use std::path::Path;

use segue_engine::experiments::{ExperimentFile, FOLDER};
use segue_engine::{Engine, EngineConfig};
use segue_types::TimestampMs;
use segue_types::api::SlateRequest;

use crate::support::*;

const FILE: &str = r#"
[experiment]
name = "short-page"
ramp = 0.5

[[experiment.arms]]
name = "control"

[[experiment.arms]]
name = "short"
[experiment.arms.config.surface.home]
shelf = ["popular"]
"#;

fn file() -> ExperimentFile {
    ExperimentFile::parse(FILE).unwrap()
}

fn write(home: &Path, file: &ExperimentFile) {
    let folder = home.join(FOLDER);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{}.toml", file.experiment.name));
    std::fs::write(path, toml::to_string(file).unwrap()).unwrap();
}

/// `(listener, arm, shelves, deployment)` of Home for 200 listeners with one play each.
fn pages(engine: &Engine, round: &str) -> Vec<(String, Option<String>, Vec<String>, String)> {
    (0..200)
        .map(|i| {
            let user = format!("u{i}");
            let asked = SlateRequest {
                explain: true,
                request_id: Some(format!("{round}-{i}")),
                market: Some("SE".to_owned()),
                ..request(&user)
            };
            let record = engine.home(&asked, NOW).unwrap().record.unwrap();
            assert!(record.arms.len() <= 1);
            let shelves = record.shelves.iter().map(|s| s.shelf_id.clone()).collect();
            (user, record.arms.first().cloned(), shelves, record.deployment_id)
        })
        .collect()
}

#[test]
fn an_arm_composes_with_its_own_configuration_and_a_ramp_moves_nobody() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    assert!(pages(&engine, "before").iter().all(|p| p.1.is_none()));
    let mut running = file();
    running.life.started_at = Some(NOW);
    write(home.path(), &running);
    engine.reload(NOW).unwrap();
    let half = pages(&engine, "half");
    let n_in = half.iter().filter(|p| p.1.is_some()).count();
    assert!((60..140).contains(&n_in), "{n_in} of 200 at a ramp of .5");
    for (user, arm, shelves, _) in &half {
        let is_short = arm.as_deref() == Some("short-page=short");
        assert_eq!(is_short, *shelves == ["popular"], "{user} {arm:?} {shelves:?}");
    }
    let ids: BTreeSet<(bool, &String)> =
        half.iter().map(|p| (p.1.as_deref() == Some("short-page=short"), &p.3)).collect();
    assert_eq!(ids.len(), 2, "control and everybody else share the server's own deployment: {ids:?}");

    running.set_ramp(1.0, NOW.plus_ms(1)).unwrap();
    write(home.path(), &running);
    engine.reload(NOW).unwrap();
    let all = pages(&engine, "all");
    assert!(all.iter().all(|p| p.1.is_some()));
    for (before, after) in half.iter().zip(&all).filter(|(before, _)| before.1.is_some()) {
        assert_eq!(before.1, after.1);
    }
    let status = engine.experiments().experiments;
    assert_eq!((status[0].status.as_str(), status[0].ramp), ("running", 1.0));

    running.stop(NOW.plus_ms(2)).unwrap();
    write(home.path(), &running);
    engine.reload(NOW).unwrap();
    assert!(pages(&engine, "after").iter().all(|p| p.1.is_none()));
    assert_eq!(engine.experiments().experiments[0].status, "stopped");
}

#[test]
fn replay_and_recompute_honour_the_arm() {
    let home = tempfile::tempdir().unwrap();
    let mut running = file();
    running.experiment.ramp = 1.0;
    write(home.path(), &running);
    let engine = open(home.path(), EngineConfig::default());
    let pages = pages(&engine, "r");
    assert!(pages.iter().any(|p| p.1.as_deref() == Some("short-page=short")));
    for i in 0..pages.len() {
        for recompute in [false, true] {
            let replay = engine.replay(&format!("r-{i}"), recompute).unwrap().unwrap();
            assert!(replay.is_identical, "{:?} {:?}", pages[i], replay.differences);
        }
    }
    // Stopped since: a recomputation still runs the arm that the slate was in.
    running.stop(NOW).unwrap();
    write(home.path(), &running);
    engine.reload(NOW).unwrap();
    for i in 0..pages.len() {
        assert!(engine.replay(&format!("r-{i}"), true).unwrap().unwrap().is_identical, "{:?}", pages[i]);
    }
}

#[test]
fn an_experiment_of_the_configuration_runs_from_the_start_and_only_where_it_can_matter() {
    let home = tempfile::tempdir().unwrap();
    let mut spec = file().experiment;
    spec.ramp = 1.0;
    let config = EngineConfig { experiment: vec![spec], ..EngineConfig::default() };
    let engine = open(home.path(), config);
    assert!(pages(&engine, "c").iter().all(|p| p.1.is_some()));
    let queue = SlateRequest { explain: true, current_item_id: Some("t4".to_owned()), ..request("u1") };
    assert!(engine.now_playing(&queue, NOW).unwrap().record.unwrap().arms.is_empty());
    let stranger = SlateRequest { explain: true, ..SlateRequest::default() };
    assert!(engine.home(&stranger, NOW).unwrap().record.unwrap().arms.is_empty(), "no listener, no arm");
}

#[test]
fn a_file_that_cannot_be_used_is_said_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(FOLDER);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("torn.toml"), "[experiment]\nname = \"to").unwrap();
    let mut wrong = file();
    wrong.experiment.name = "wrong".to_owned();
    wrong.experiment.arms[1].config.insert("state".to_owned(), serde_json::json!({"segment_bytes": 1}));
    write(home.path(), &wrong);
    let engine = open(home.path(), EngineConfig::default());
    let notes = engine.status(NOW).notes.join("\n");
    assert!(notes.contains("torn.toml") && notes.contains("`wrong`: refused"), "{notes}");
    assert!(pages(&engine, "w").iter().all(|p| p.1.is_none()));
    let listed = engine.experiments().experiments;
    assert_eq!((listed[0].status.as_str(), listed.len()), ("refused", 1));
    assert!(listed[0].detail.as_deref().unwrap().contains("whole server"));
}

#[test]
fn a_source_explains_which_plays_made_its_score() {
    let home = tempfile::tempdir().unwrap();
    publish_markov(home.path(), &vec![vec![1, 2, 3]; 4]);
    let engine = open(home.path(), EngineConfig::default());
    engine.ingest(vec![play("e1", "ada", 1, 0, 190_000)], NOW).unwrap();
    let asked = SlateRequest { request_id: Some("x".to_owned()), explain: true, ..request("ada") };
    let record = engine.home(&asked, TimestampMs(NOW.0 + 1_000)).unwrap().record.unwrap();
    let proposed = record.candidates.iter().find(|c| c.item_id == "t2").unwrap();
    assert!(proposed.sources.iter().any(|s| s.source == "markov"));
    let why = engine.explanation("x", "t2").unwrap().unwrap();
    assert!(why.is_current);
    let markov = why.sources.iter().find(|s| s.source == "markov").unwrap();
    assert_eq!(markov.plays.len(), 1);
    assert_eq!((markov.plays[0].item_id.as_str(), markov.plays[0].display.title.as_str()), ("t1", "Track 1"));
    assert!((markov.plays[0].amount - markov.score).abs() < 1e-5, "{markov:?}");
    // What is known of the listener has moved on: the answer says so.
    engine.ingest(vec![play("e2", "ada", 5, 2_000, 190_000)], NOW.plus_ms(300_000)).unwrap();
    assert!(!engine.explanation("x", "t2").unwrap().unwrap().is_current);
    assert!(engine.explanation("x", "nothing").unwrap().is_none());
    assert!(engine.explanation("nothing", "t2").unwrap().is_none());
}
