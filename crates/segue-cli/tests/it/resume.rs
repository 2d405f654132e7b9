//! Shows that a training killed in the middle goes on where it was and ends with the artifact of an
//! uninterrupted one, byte for byte, and that checkpoints that do not fit are passed over with a reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use segue_data::vectors_file::IdVectors;

use crate::Cli;

const TRAIN: [&str; 5] = ["train", "--models", "next", "--quiet", "--json"];

/// A home with a prepared log and a small sequence model.
fn prepared(learning_rate: &str) -> Cli {
    let cli = Cli::new();
    let mut csv = String::from("user_id,item_id,occurred_at\n");
    for user in 0..30_u64 {
        for step in 0..20_u64 {
            let item = (user * 7 + step * (1 + user % 3)) % 40;
            csv += &format!("u{user},i{item},{}\n", 1_700_000_000_000 + (step * 20 + user) * 3_600_000);
        }
    }
    cli.write("plays.csv", &csv);
    cli.write(
        "h/segue.toml",
        &format!(
            "[model.next]\nkind = \"esasrec\"\nd = 16\nn_blocks = 1\nhidden = 32\nmax_history = 10\n\
             training = {{ rounds = 8, round_steps = 50, patience = 8, batch = 16, learning_rate = {learning_rate} }}\n"
        ),
    );
    for command in [&["import", "plays.csv"][..], &["prepare"]] {
        let output = cli.run(&[command, &["--home", "h", "--quiet"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    cli
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Trains to the end; the note about the training.
fn train(cli: &Cli, home: &str, more: &[&str]) -> String {
    let output = cli.run(&[&TRAIN, &["--home", home][..], more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trained: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!trained[0]["training"]["rounds"].as_array().unwrap().is_empty(), "{trained}");
    trained[0]["note"].as_str().unwrap_or_default().to_owned()
}

/// Every file of the model's folder by its path there.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            let name = PathBuf::from(entry.file_name());
            out.extend(files(&entry.path()).into_iter().map(|(path, bytes)| (name.join(path), bytes)));
        } else {
            out.insert(entry.file_name().into(), fs::read(entry.path()).unwrap());
        }
    }
    out
}

/// Trains with a checkpoint after each step and kills the process once there have been a few.
fn train_and_kill(cli: &Cli, home: &str, n_checkpoints: usize) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_segue"))
        .args(TRAIN)
        .args(["--home", home, "--checkpoint-seconds", "0"])
        .current_dir(cli.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let checkpoint = cli.path().join(home).join("artifacts/next/checkpoint");
    let (began, mut seen) = (Instant::now(), Vec::new());
    while seen.len() < n_checkpoints {
        assert!(began.elapsed() < Duration::from_secs(60), "no checkpoint");
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        // The head and the step: what a reader sees at any moment is a whole file.
        if let Ok(bytes) = fs::read(&checkpoint)
            && !seen.contains(&bytes[bytes.len() - 32..].to_vec())
        {
            seen.push(bytes[bytes.len() - 32..].to_vec());
        }
    }
    // SIGKILL: the process gets no chance to tidy up.
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None);
    assert!(!cli.path().join(home).join("artifacts/next/current").exists(), "nothing is published yet");
}

#[test]
fn a_training_killed_twice_ends_with_the_artifact_of_an_uninterrupted_one() {
    let cli = prepared("0.01");
    for home in ["killed", "damaged", "other"] {
        copy(&cli.path().join("h"), &cli.path().join(home));
    }
    assert_eq!(train(&cli, "h", &[]), "");
    let want = files(&cli.path().join("h/artifacts/next"));
    assert_eq!(want.len(), 5, "four files and the name of the one that serves: {:?}", want.keys());

    train_and_kill(&cli, "killed", 3);
    for home in ["damaged", "other"] {
        copy(&cli.path().join("killed"), &cli.path().join(home));
    }
    train_and_kill(&cli, "killed", 5);
    let note = train(&cli, "killed", &[]);
    assert!(note.starts_with("resumed in round "), "{note}");
    assert!(files(&cli.path().join("killed/artifacts/next")) == want, "the artifacts differ");

    let checkpoint = cli.path().join("damaged/artifacts/next/checkpoint");
    let mut bytes = fs::read(&checkpoint).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&checkpoint, bytes).unwrap();
    let note = train(&cli, "damaged", &[]);
    assert!(note.contains("checkpoint: expected SHA-256 ") && note.contains(", got "), "{note}");
    assert!(files(&cli.path().join("damaged/artifacts/next")) == want, "the artifacts differ");

    let note = train(&cli, "other", &["--seed", "5"]);
    assert!(note.contains("expected a training with seed 5, got seed 0"), "{note}");
}

#[test]
fn a_number_that_is_none_names_step_batch_and_group_and_leaves_the_last_good_checkpoint() {
    let cli = prepared("1e30");
    let output = cli.run(&[&TRAIN[..], &["--home", "h", "--checkpoint-seconds", "0"]].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["diverged in step ", "parameter group `", "in batch ", "its last good checkpoint stays in "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let folder = cli.path().join("h/artifacts/next");
    assert_eq!(files(&folder).keys().collect::<Vec<_>>(), [Path::new("checkpoint")]);
}

#[test]
fn a_warm_start_goes_on_from_the_artifact_that_serves() {
    let cli = prepared("0.01");
    train(&cli, "h", &[]);
    let mut csv = String::from("user_id,item_id,occurred_at\n");
    for user in 20..40_u64 {
        for step in 0..6_u64 {
            let at = 1_700_000_000_000 + (600 + step * 20 + user) * 3_600_000;
            csv += &format!("u{user},i{},{at}\n", 30 + (user * 7 + step) % 15);
        }
    }
    cli.write("more.csv", &csv);
    for command in [&["import", "more.csv"][..], &["prepare"]] {
        let output = cli.run(&[command, &["--home", "h", "--quiet"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let note = train(&cli, "h", &["--warm-start"]);
    assert!(note.starts_with("starts from artifact ") && note.ends_with(": 40 items kept, 5 new"), "{note}");
    assert!(cli.text(&["model", "show", "next", "--home", "h"]).contains("started from the weights of "));
    vectors_are_exported_and_turned(&cli);
}

/// Exports the vectors of the artifact that serves, and those of another seed turned onto them.
fn vectors_are_exported_and_turned(cli: &Cli) {
    let export = |more: &[&str]| {
        let output = cli.run(&[&["model", "embeddings", "next", "--home", "h", "--json"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let told = export(&["--out", "vectors"]);
    assert_eq!(told["d"], 16);
    let read = |folder: &str| {
        let path = |file: &str| cli.path().join(folder).join(file);
        let items = IdVectors::read(&path("items.parquet"), "item_id").unwrap();
        let users = IdVectors::read(&path("users.parquet"), "user_id").unwrap();
        (items, users)
    };
    let (items, users) = read("vectors");
    assert_eq!((items.id.len(), users.id.len(), items.d(), users.d()), (45, 40, 16, 16));
    assert_eq!(told["files"][0]["n_rows"], 45);
    let at = users.id.iter().position(|id| id == "u25").unwrap();
    assert_eq!(users.n_plays[at], 26);

    train(cli, "h", &["--seed", "8"]);
    export(&["--out", "unaligned"]);
    let told = export(&["--out", "aligned", "--align-to", "vectors"]);
    let number = |name: &str| told["alignment"][name].as_f64().unwrap();
    assert_eq!(number("n_items"), 45.0);
    assert!(number("cosine") > number("cosine_before") + 0.1, "{told}");
    let ((items, users), (turned_items, turned_users)) = (read("unaligned"), read("aligned"));
    assert_eq!(items.id, turned_items.id);
    let score = |items: &IdVectors, users: &IdVectors, row: usize| -> f32 {
        items.vector[row * 16..(row + 1) * 16].iter().zip(&users.vector[..16]).map(|(a, b)| a * b).sum()
    };
    for row in 0..45 {
        let (before, after) = (score(&items, &users, row), score(&turned_items, &turned_users, row));
        assert!((before - after).abs() < 1e-4 * (1.0 + before.abs()), "item {row}: {before}, {after}");
    }
    let one_file = cli.text(&["model", "embeddings", "next", "--home", "h", "--out", "x.parquet"]);
    assert!(one_file.contains("exit 1") && one_file.contains("--only items"), "{one_file}");
}

#[test]
fn listeners_without_dates_have_vectors_too() {
    let cli = Cli::new();
    let mut csv = String::from("user_id,item_id,n_plays\n");
    for user in 0..12 {
        for item in 0..4 {
            csv += &format!("u{user},i{},{}\n", (user * 5 + item * 3) % 9, 1 + (user + item) % 5);
        }
    }
    cli.write("profiles.csv", &csv);
    cli.write("h/segue.toml", "[model.factors]\nkind = \"ials\"\nfactors = 4\n");
    for command in [
        &["import", "profiles.csv"][..],
        &["prepare"],
        &["train"],
        &["model", "embeddings", "factors", "--out", "vectors"],
    ] {
        let output = cli.run(&[command, &["--home", "h", "--quiet"]].concat());
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let users = IdVectors::read(&cli.path().join("vectors/users.parquet"), "user_id").unwrap();
    let items = IdVectors::read(&cli.path().join("vectors/items.parquet"), "item_id").unwrap();
    assert_eq!((users.id.len(), items.id.len()), (12, 9));
    let plays: u64 = (0..12).flat_map(|u| (0..4).map(move |i| 1 + (u + i) % 5)).sum();
    assert_eq!((users.n_plays.iter().sum::<u64>(), items.n_plays.iter().sum::<u64>()), (plays, plays));
}
