//! Whole commands: stdout, stderr and exit code, as snapshots with the volatile parts filtered.
//!
//! `INSTA_UPDATE=always cargo test --release -p segue-cli` writes them anew; read the diff.

mod certificates;
mod evaluate;
mod experiment;
mod model;
mod ope;
mod resume;
mod store_server;

use std::path::Path;
use std::process::{Command, Output};

struct Cli {
    folder: tempfile::TempDir,
}

impl Cli {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_segue"))
            .args(arguments)
            .current_dir(self.path())
            .env_remove("SEGUE_LOG")
            .output()
            .unwrap()
    }

    /// Exit code, stdout and stderr in one text, with paths and times taken out.
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = format!(
            "$ segue {}\nexit {}\n-- stdout\n{}-- stderr\n{}",
            arguments.join(" "),
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let text = text.replace(&self.path().display().to_string(), "FOLDER");
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn help_has_an_example_for_every_command() {
    let cli = Cli::new();
    insta::assert_snapshot!("help", cli.text(&["--help"]));
    for command in [
        "demo",
        "import",
        "prepare",
        "train",
        "model",
        "tune",
        "evaluate",
        "experiment",
        "serve",
        "sim",
        "sql",
        "replay",
        "ope",
        "doctor",
        "dev",
    ] {
        let text = cli.text(&[command, "--help"]);
        assert!(text.contains("exit 0"), "{text}");
        assert!(text.contains("Example"), "{text}");
    }
}

#[test]
fn misuse_exits_with_2() {
    let cli = Cli::new();
    for arguments in [&["dance"][..], &["sql"], &["import"], &["prepare", "--until", "soon"], &["replay"]] {
        assert_eq!(cli.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn an_empty_home_says_what_to_do() {
    let cli = Cli::new();
    insta::assert_snapshot!("empty_prepare", cli.text(&["prepare", "--home", "h"]));
    insta::assert_snapshot!("empty_train", cli.text(&["train", "--home", "h"]));
    insta::assert_snapshot!("empty_sql", cli.text(&["sql", "SELECT 1", "--home", "h"]));
    insta::assert_snapshot!("import_nothing", cli.text(&["import", "nowhere.csv", "--home", "h"]));
}

#[test]
fn a_wrong_setting_is_named_with_its_rule() {
    let cli = Cli::new();
    cli.write("h/segue.toml", "[evaluate]\ntest_share = 2.0\n");
    insta::assert_snapshot!("wrong_setting", cli.text(&["serve", "--home", "h"]));
    cli.write("h/segue.toml", "[model.x]\nkind = \"oracle\"\n");
    let text = cli.text(&["train", "--home", "h"]);
    assert!(text.contains("oracle") && text.contains("markov"), "{text}");
}

#[test]
fn a_small_log_goes_through_import_prepare_train_evaluate_and_sql() {
    let cli = Cli::new();
    let mut csv = String::from("user_id,item_id,occurred_at\n");
    for user in 0..20_u64 {
        for step in 0..30_u64 {
            let item = (user % 4) * 5 + step % 5;
            let at = 1_700_000_000_000 + (step * 20 + user) * 3_600_000;
            csv += &format!("u{user},i{item},{at}\n");
        }
    }
    cli.write("plays.csv", &csv);
    let dry = cli.text(&["import", "plays.csv", "--dry-run", "--home", "h"]);
    assert!(dry.contains("nothing was written") && dry.contains("exit 0"), "{dry}");
    assert!(!cli.path().join("h/log").exists());

    for command in [
        &["import", "plays.csv"][..],
        &["prepare"],
        &["train"],
        &["tune", "rules,markov", "--trials", "3", "--repeats"],
        &["evaluate"],
    ] {
        let mut arguments = command.to_vec();
        arguments.extend(["--home", "h", "--quiet", "--json"]);
        let output = cli.run(&arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    }
    insta::assert_snapshot!(
        "sql_counts",
        cli.text(&[
            "sql",
            "SELECT count(*) AS plays, count(DISTINCT user_id) AS listeners FROM plays",
            "--home",
            "h"
        ])
    );
    // A table is cut for people; a program gets all rows, or an error, and never a part unasked.
    let pairs = "SELECT a.item_id AS x FROM plays a CROSS JOIN (SELECT item_id FROM plays LIMIT 3) b";
    let rows = |arguments: &[&str]| -> usize {
        let output = cli.run(&[&["sql", pairs, "--home", "h", "--json", "--quiet"], arguments].concat());
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        rows.as_array().unwrap().len()
    };
    assert_eq!((rows(&[]), rows(&["--max-rows", "7"])), (1_800, 7));
    let table = cli.text(&["sql", pairs, "--home", "h"]);
    assert!(table.contains("only the first 1000 rows"), "{}", &table[table.len() - 300..]);
    let many = format!("SELECT 1 AS one FROM plays a CROSS JOIN ({pairs}) b");
    let refused = cli.text(&["sql", &many, "--home", "h", "--json"]);
    assert!(refused.contains("exit 1") && refused.contains("more than 1000000 rows"), "{refused}");
    let trials = std::fs::read_to_string(cli.folder.path().join("h/tune/rules.jsonl")).unwrap();
    assert_eq!(trials.lines().count(), 3);
    let doctor = cli.text(&["doctor", "--home", "h"]);
    assert!(doctor.contains("exit 0") && doctor.contains("600 plays"), "{doctor}");
}

/// An experiment over a team's own CSV files: 600 listeners, the treatment hears 20 % more.
#[test]
fn an_experiment_on_csv_files_is_designed_analysed_and_reported() {
    let cli = Cli::new();
    let (mut people, mut plays) = ("id,variant,seen\n".to_owned(), "id,at,minutes\n".to_owned());
    for user in 0..600_i64 {
        let treated = (user * 7919) % 2 == 1;
        let seen = 1_772_323_200_000 + (user % 5) * 86_400_000;
        let arm = if treated { "new" } else { "old" };
        people.push_str(&format!("u{user},{arm},{seen}\n"));
        for day in 0..3 {
            let minutes = (20 + (user * 31 + day * 17) % 23) * if treated { 6 } else { 5 };
            plays.push_str(&format!("u{user},{},{minutes}\n", seen + day * 86_400_000 + 1));
        }
    }
    cli.write("people.csv", &people);
    cli.write("plays.csv", &plays);
    cli.write(
        "test.toml",
        r#"
        name = "more-minutes"
        starts_on = "2026-03-01"
        ends_on = "2026-03-20"
        arms = [{ name = "old" }, { name = "new" }]
        [data]
        tables = { people = "people.csv", listening = "plays.csv" }
        exposures = "SELECT id AS unit, variant AS arm, seen AS at FROM people"
        [[metrics]]
        name = "minutes"
        kind = "mean"
        role = "success"
        direction = "increase"
        window_days = [0, 3]
        mde = 0.1
        baseline_mean = 450
        baseline_variance = 3600
        sql = "SELECT id AS unit, at, minutes AS value FROM listening"
        "#,
    );
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = cli.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let design = json(&["experiment", "design", "test.toml", "--json"]);
    assert!(design["planned_units"].as_u64().unwrap() > 50, "{design}");
    let analysis = json(&["experiment", "analyze", "test.toml", "--json"]);
    assert_eq!(analysis["arms"][1]["n_units"], 300);
    assert_eq!(analysis["comparisons"][0]["decision"]["action"], "ship", "{analysis}");
    let lift = analysis["comparisons"][0]["metrics"][0]["lift"].as_f64().unwrap();
    assert!((lift - 0.2).abs() < 0.05, "{lift}");
    json(&["experiment", "report", "test.toml", "--out", "out/page.html", "--json"]);
    let page = std::fs::read_to_string(cli.path().join("out/page.html")).unwrap();
    assert!(page.contains("more-minutes") && page.contains("z against its boundary"));
    let unknown = cli.text(&["experiment", "analyze", "no-such-trial"]);
    assert!(unknown.contains("no file `no-such-trial`") && unknown.contains("experiment list"), "{unknown}");
    // What is wrong is said with the name of the file.
    cli.write("bad.toml", "name = \"bad\"\narms = [{ name = \"a\", weight = -1 }, { name = \"b\" }]\n");
    let bad = cli.text(&["experiment", "analyze", "bad.toml"]);
    assert!(bad.contains("exit 1") && bad.contains("weight of an arm is -1"), "{bad}");
}
