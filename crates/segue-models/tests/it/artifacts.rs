//! Shows that an artifact folder is all or nothing, and that no damage to it goes unnoticed.

use std::fs;
use std::path::{Path, PathBuf};

use segue_data::OwnedSequences;
use segue_models::{FitInput, KeyedRecommender, ModelError, ModelParts, artifact, fit_recommender};
use segue_types::ItemKey;

const FILES: [&str; 3] = ["config.json", "model.safetensors", "manifest.json"];

fn parts() -> ModelParts {
    let plays = OwnedSequences::from_items(3, [vec![0, 1, 2], vec![1, 0]]);
    let table = "kind = \"pctm\"".parse().unwrap();
    fit_recommender(&table, &FitInput::of(plays.view())).unwrap().parts()
}

fn keys() -> Vec<ItemKey> {
    ["a", "b", "c"].map(ItemKey::of).to_vec()
}

fn saved(root: &Path) -> PathBuf {
    let id = artifact::save(root, "next", &parts(), &keys(), &artifact::ArtifactMeta::default()).unwrap();
    root.join("next").join(id)
}

fn message(folder: &Path) -> String {
    match KeyedRecommender::load(folder) {
        Err(e @ (ModelError::Artifact { .. } | ModelError::Io { .. })) => e.to_string(),
        Err(e) => panic!("not an error of the artifact: {e}"),
        Ok(_) => panic!("a damaged artifact was loaded"),
    }
}

#[test]
fn any_changed_byte_in_any_file_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let folder = saved(root.path());
    for file in FILES {
        let path = folder.join(file);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x15;
            fs::write(&path, &bad).unwrap();
            message(&folder);
        }
        fs::write(&path, &good).unwrap();
    }
    KeyedRecommender::load(&folder).unwrap();
}

#[test]
fn a_truncated_grown_or_missing_file_is_named() {
    let root = tempfile::tempdir().unwrap();
    let folder = saved(root.path());
    for file in FILES {
        let path = folder.join(file);
        let good = fs::read(&path).unwrap();
        for bad in
            [&good[..0], &good[..good.len() / 2], &good[..good.len() - 1], &[&good[..], b"{}"].concat()]
        {
            fs::write(&path, bad).unwrap();
            assert!(message(&folder).contains(file));
        }
        fs::remove_file(&path).unwrap();
        assert!(message(&folder).contains(file));
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn metrics_come_back_as_they_were_saved() {
    let root = tempfile::tempdir().unwrap();
    let metrics = [("ndcg@10", 0.063_516_694_411_681_59), ("third", 1.0 / 3.0), ("tiny", 5e-324)];
    let metrics = metrics.map(|(name, value)| (name.to_owned(), value)).into();
    let meta = artifact::ArtifactMeta { metrics, ..Default::default() };
    let id = artifact::save(root.path(), "next", &parts(), &keys(), &meta).unwrap();
    let loaded = artifact::load(&root.path().join("next").join(id)).unwrap();
    for (name, value) in &meta.metrics {
        assert!((loaded.manifest.meta.metrics[name] - value).abs() <= 1e-12 * value.abs());
    }
}

#[test]
fn another_format_version_says_both_versions() {
    let root = tempfile::tempdir().unwrap();
    let folder = saved(root.path());
    let path = folder.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"format_version\": 1", "\"format_version\": 2");
    fs::write(&path, text).unwrap();
    let message = message(&folder);
    assert!(message.contains("expected format version 1, got 2"), "{message}");
}

#[test]
fn the_same_model_is_the_same_artifact_and_a_broken_copy_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let folder = saved(root.path());
    assert_eq!(saved(root.path()), folder);
    fs::write(folder.join("config.json"), "{}").unwrap();
    assert_eq!(saved(root.path()), folder);
    KeyedRecommender::load(&folder).unwrap();
    // Nothing but the artifact is left behind.
    let names: Vec<_> =
        fs::read_dir(root.path().join("next")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [folder.file_name().unwrap()]);
}

#[test]
fn current_points_only_at_artifacts_that_load() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(artifact::current(root.path(), "next").unwrap(), None);
    let folder = saved(root.path());
    let id = folder.file_name().unwrap().to_str().unwrap();
    artifact::publish(root.path(), "next", id).unwrap();
    assert_eq!(artifact::current(root.path(), "next").unwrap(), Some(folder.clone()));

    fs::write(folder.join("model.safetensors"), "x").unwrap();
    assert!(artifact::publish(root.path(), "next", id).is_err());
    assert!(artifact::publish(root.path(), "next", &"0".repeat(64)).is_err());
    assert!(artifact::publish(root.path(), "next", "../next").is_err());
    assert!(artifact::save(root.path(), "../x", &parts(), &keys(), &Default::default()).is_err());
    fs::write(root.path().join("next/current"), "../../elsewhere").unwrap();
    assert!(artifact::current(root.path(), "next").is_err());
}

#[test]
fn a_key_table_that_does_not_fit_the_model_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let id = artifact::save(root.path(), "next", &parts(), &keys()[..2], &Default::default()).unwrap();
    let error = KeyedRecommender::load(&root.path().join("next").join(id)).unwrap_err();
    assert!(matches!(error, ModelError::Shape { expected: 3, got: 2, .. }), "{error}");
}
