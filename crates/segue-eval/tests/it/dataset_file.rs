//! Benchmark files become evaluation data; a published split is used as it was published.

use std::path::PathBuf;

use segue_eval::{DatasetFile, NoObserver, OwnedPlays, Protocol, evaluate};

use crate::p_s3::folder;
use crate::support::ByScore;

fn written(texts: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = texts
        .iter()
        .map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
        .collect();
    (folder, paths)
}

#[test]
fn both_parts_share_users_and_items() {
    let (_folder, paths) = written(&[("train.txt", "0 10 2 10\n2 2\n"), ("test.txt", "0 7\n5 2\n2\n")]);
    let file = DatasetFile::parts(&paths[0], &paths[1]).unwrap();
    assert_eq!(
        (file.user_ids.as_slice(), file.item_ids.as_slice()),
        (&["0", "2", "5"].map(str::to_owned)[..], &["2", "7", "10"].map(str::to_owned)[..])
    );
    let OwnedPlays::Profiles(train) = &file.plays else { panic!("parts have no order") };
    assert_eq!(
        (train.view().user(0), train.view().user(1), train.view().user(2)),
        (&[0, 2][..], &[0][..], &[][..])
    );
    let test = file.test.as_ref().unwrap();
    assert_eq!((test.view().user(0), test.view().user(2)), (&[1][..], &[0][..]));
}

#[test]
fn a_fixed_split_is_evaluated_at_20_with_what_was_dropped() {
    // Item 9 has no train play; user 3 has no history.
    let (_folder, paths) =
        written(&[("train.txt", "0 1 2\n1 2 3\n2 3 1\n"), ("test.txt", "0 3 9\n1 1\n2 2\n3 1\n")]);
    let file = DatasetFile::parts(&paths[0], &paths[1]).unwrap();
    let by_row = ByScore(|_, item| item as f32);
    let report = evaluate(&Protocol::fixed(), &file.dataset(), &[("m", &by_row)], &NoObserver).unwrap();
    assert_eq!((report.split.n_test_users, report.split.dropped.n_users_cold), (3, 1));
    assert_eq!((report.split.dropped.n_items_cold, report.split.n_targets), (1, 3));
    assert_eq!(report.get("m", "recall", 20).unwrap().value, Some(1.0));
}

#[test]
fn plays_without_order_are_counted() {
    let (_folder, paths) = written(&[("x.txt", "u b a b\nv a\n")]);
    let file = DatasetFile::ordered(&paths[0]).unwrap().without_order();
    let OwnedPlays::Profiles(profiles) = &file.plays else { panic!("order was taken away") };
    assert_eq!((profiles.item.as_slice(), profiles.n_plays.as_slice()), (&[0, 1, 0][..], &[1, 2, 1][..]));
}

#[test]
fn gowalla_has_the_published_sizes() {
    let Some(folder) = folder("gowalla-lightgcn") else { return };
    let file = DatasetFile::parts(&folder.join("train.txt.zst"), &folder.join("test.txt.zst")).unwrap();
    assert_eq!((file.user_ids.len(), file.item_ids.len()), (29_858, 40_981));
    let data = file.dataset();
    let split = Protocol::fixed().split.split(&data, 0, true).unwrap();
    assert_eq!(
        (data.plays.n_rows(), data.test.unwrap().item.len(), split.n_cases()),
        (810_128, 217_242, 29_858)
    );
}
