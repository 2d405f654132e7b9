//! `segue evaluate` on files, without a home: tables, JSON, the page, and what odd input gets.

use std::path::PathBuf;

use serde_json::Value;

use crate::Cli;

/// 60 users who walk a ring of 12 items from different places, with a jump now and then.
fn ring() -> String {
    let line = |u: u64| {
        let items = (0..6 + u % 5).map(|i| ((u * 7 + i + (u * i) % 3) % 12).to_string());
        format!("{} {}\n", u + 1, items.collect::<Vec<_>>().join(" "))
    };
    (0..60).map(line).collect()
}

fn json(cli: &Cli, arguments: &[&str]) -> Value {
    let mut all = vec!["evaluate", "--quiet", "--json"];
    all.extend(arguments);
    let output = cli.run(&all);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn value(found: &Value, model: &str, metric: &str) -> f64 {
    let named = |list: &Value, key: &str, name: &str| {
        list.as_array().unwrap().iter().find(|m| m[key] == name).unwrap_or(&Value::Null).clone()
    };
    let model = named(&found["retrieval"]["models"], "name", model);
    named(&model["metrics"], "metric", metric)["value"].as_f64().unwrap()
}

#[test]
fn the_published_values_come_out_of_one_command() {
    let root = std::env::var_os("SEGUE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let file = root.join("amazon-2014-s3rec/Beauty.txt.zst");
    if !file.is_file() {
        eprintln!("skipped: {} not found", file.display());
        return;
    }
    let cli = Cli::new();
    let path = std::path::absolute(&file).unwrap().display().to_string();
    let found = json(&cli, &["--protocol", "p-s3", "--data", &path, "--models", "mc,seqrules,pctm"]);
    assert_eq!(found["retrieval"]["split"]["n_test_users"], 22_311);
    for (model, ndcg, recall) in
        [("mc", "0.0492", "0.0723"), ("seqrules", "0.0605", "0.0956"), ("pctm", "0.0635", "0.0998")]
    {
        assert_eq!(format!("{:.4}", value(&found, model, "ndcg")), ndcg, "{model}");
        assert_eq!(format!("{:.4}", value(&found, model, "recall")), recall, "{model}");
    }
    assert!(!cli.path().join("segue-home").exists(), "no home is needed and none is made");
}

#[test]
fn a_file_is_compared_with_slices_seeds_a_page_and_somebody_elses_lists() {
    let cli = Cli::new();
    cli.write("ring.txt", &ring());
    let mut lists = String::from("user_id,item_id,rank\n");
    for user in 1..=60 {
        for item in 0..12 {
            lists += &format!("{user},{item},{}\n", item + 1);
        }
    }
    cli.write("lists.csv", &lists);
    let arguments = [
        "--data",
        "ring.txt",
        "--models",
        "mc,knn,trending",
        "--recommendations",
        "theirs=lists.csv",
        "--metrics",
        "ndcg,recall,diversity,gini,serendipity",
        "--k",
        "3,5",
        "--seeds",
        "1,2",
        "--slices",
        "history_length,item_popularity",
        "--report",
        "out/report.html",
    ];
    let found = json(&cli, &arguments);
    let report = &found["retrieval"];
    let names: Vec<&str> =
        report["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["mc", "knn", "theirs"], "trending needs dates");
    assert_eq!(report["left_out"][0]["model"], "trending");
    assert_eq!(report["slices"].as_array().unwrap().len(), 2);
    assert_eq!(report["differences"].as_array().unwrap().len(), 3 * 8);
    assert_eq!(report["models"][0]["seeds"], serde_json::json!([1, 2]));
    assert!(value(&found, "mc", "ndcg") > value(&found, "theirs", "ndcg"));
    let page = std::fs::read_to_string(cli.path().join("out/report.html")).unwrap();
    for part in ["Evaluation: ring.txt", "trending", "By history_length", "p (Holm)", "untuned", "Dropped"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains("NaN"));

    let text =
        cli.text(&["evaluate", "--data", "ring.txt", "--models", "mc,knn", "--slices", "history_length"]);
    for part in ["exit 0", "ndcg@10 against mc", "p (Holm)", "history_length", "peak memory"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn somebody_elses_lists_are_judged_alone() {
    let cli = Cli::new();
    cli.write("ring.txt", &ring());
    cli.write("lists.tsv", "user_id\titem_id\trank\n1\t5\t1\n2\t6\t1\n");
    let found = json(&cli, &["--data", "ring.txt", "--recommendations", "theirs=lists.tsv"]);
    let models = found["retrieval"]["models"].as_array().unwrap();
    assert_eq!((models.len(), &models[0]["name"]), (1, &Value::from("theirs")));
    let nameless = cli.text(&["evaluate", "--data", "ring.txt", "--recommendations", "lists.tsv"]);
    assert!(nameless.contains("exit 1") && nameless.contains("NAME=FILE"), "{nameless}");
}

#[test]
fn a_published_split_is_two_files() {
    let cli = Cli::new();
    cli.write("train.txt", "0 1 2 3\n1 2 3 4\n2 3 4 1\n3 4 1 2\n");
    cli.write("test.txt", "0 4\n1 1\n2 2\n3 3 9\n");
    let arguments =
        ["--protocol", "fixed", "--train", "train.txt", "--test", "test.txt", "--models", "item_knn"];
    let found = json(&cli, &arguments);
    assert_eq!(found["retrieval"]["split"]["kind"], "fixed");
    assert_eq!(found["retrieval"]["split"]["dropped"]["n_items_cold"], 1);
    assert_eq!(value(&found, "item_knn", "recall"), 1.0);
    let half = cli.text(&["evaluate", "--protocol", "fixed", "--train", "train.txt"]);
    assert!(half.contains("exit 2") && half.contains("--test"), "{half}");
}

#[test]
fn a_protocol_of_your_own_is_a_file() {
    let cli = Cli::new();
    cli.write("ring.txt", &ring());
    cli.write(
        "mine.toml",
        "metrics = [\"mrr\"]\nk = [4]\ndraws = 200\n[split]\nkind = \"fold_in\"\nuser_share = 0.5\n",
    );
    let found = json(&cli, &["--protocol", "mine.toml", "--data", "ring.txt", "--models", "mc"]);
    assert_eq!(found["retrieval"]["split"]["kind"], "fold_in");
    assert_eq!(found["retrieval"]["models"][0]["metrics"][0]["k"], 4);
    cli.write("bad.toml", "metric = [\"mrr\"]\n");
    let bad = cli.text(&["evaluate", "--protocol", "bad.toml", "--data", "ring.txt"]);
    assert!(bad.contains("exit 1") && bad.contains("bad.toml") && bad.contains("metric"), "{bad}");
    let unknown = cli.text(&["evaluate", "--protocol", "mondays", "--data", "ring.txt"]);
    assert!(unknown.contains("mondays") && unknown.contains("leave-one-out"), "{unknown}");
}

#[test]
fn odd_files_get_a_clear_answer() {
    let cli = Cli::new();
    for (name, text, word) in [
        ("empty.txt", "", "no plays"),
        ("blank.txt", "\n\n", "no plays"),
        ("one_user.txt", "1 1 2 3 4\n", "leaves no user to test"),
        ("one_play_each.txt", "1 1\n2 1\n3 2\n", "leaves no user to test"),
        ("one_item.txt", "1 7 7\n2 7 7 7\n", "leaves no user to test"),
        ("twice.txt", "1 1 2\n1 2 3\n", "user `1` again on line 2"),
    ] {
        cli.write(name, text);
        let answer = cli.text(&["evaluate", "--protocol", "p-s3", "--data", name]);
        assert!(answer.contains("exit 1") && answer.contains(word), "{answer}");
        assert!(!answer.contains("panicked"), "{answer}");
    }
    for protocol in ["time", "sessions", "fixed"] {
        cli.write("ring.txt", &ring());
        let answer = cli.text(&["evaluate", "--protocol", protocol, "--data", "ring.txt"]);
        assert!(answer.contains("exit 1") && answer.contains("needs"), "{answer}");
    }
    // One item that may be heard again, and scores that are all equal: numbers, not an error.
    let again = json(&cli, &["--data", "one_item.txt", "--repeats", "--models", "mc"]);
    assert_eq!(value(&again, "mc", "repeat_recall"), 1.0);
    cli.write(
        "even.txt",
        &(0..12).map(|u| format!("{u} {} {}\n", u % 4, (u + 1 + u / 4) % 4)).collect::<String>(),
    );
    let even = json(&cli, &["--data", "even.txt", "--models", "knn,mc"]);
    assert!(value(&even, "knn", "recall").is_finite());
}

/// 24 listeners, 20 tracks: two circles of friends who play five tracks each, on 30 days.
fn home(cli: &Cli) {
    let mut plays = String::from("user_id,item_id,occurred_at\n");
    for user in 0..24_u64 {
        for step in 0..30_u64 {
            let item = (user % 4) * 5 + (step * (1 + user % 3) + user) % 5;
            let at = 1_700_000_000_000 + step * 86_400_000 + user * 60_000;
            plays += &format!("u{user},i{item},{at}\n");
        }
    }
    cli.write("plays.csv", &plays);
    let items = (0..20).map(|i| format!("i{i},Song {i},Band {},{}\n", i / 5, ["rock", "jazz"][i % 2]));
    cli.write("items.csv", &format!("item_id,title,artist_names,tags\n{}", items.collect::<String>()));
    let users = (0..24).map(|u| format!("u{u},{},{}\n", ["se", "br"][u % 2], ["free", "paid"][u / 12]));
    cli.write("users.csv", &format!("user_id,market,plan\n{}", users.collect::<String>()));
    for command in [&["import", "plays.csv", "items.csv", "users.csv"][..], &["prepare"]] {
        let output = cli.run(&[command, &["--home", "h", "--quiet"]].concat());
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn any_column_of_users_and_items_parts_the_numbers() {
    let cli = Cli::new();
    home(&cli);
    let of_home = |slices: &str| {
        ["--home", "h", "--models", "knn,markov", "--repeats", "--slices", slices].map(str::to_owned)
    };
    let found =
        json(&cli, &of_home("user:market,user:plan,item:tags,item:title").each_ref().map(String::as_str));
    let slices = found["retrieval"]["slices"].as_array().unwrap();
    let groups = |at: usize| -> Vec<&str> {
        slices[at]["groups"].as_array().unwrap().iter().map(|g| g["group"].as_str().unwrap()).collect()
    };
    assert_eq!(groups(0), ["br", "se"]);
    assert_eq!(groups(1), ["free", "paid"]);
    assert_eq!(groups(2), ["jazz", "rock"]);
    assert_eq!(groups(3).len(), 20, "twenty titles are twenty groups");
    let n_users = |at: usize| -> u64 {
        slices[at]["groups"].as_array().unwrap().iter().map(|g| g["n_users"].as_u64().unwrap()).sum()
    };
    assert_eq!(n_users(0), found["retrieval"]["split"]["n_test_users"].as_u64().unwrap());
    assert_eq!(n_users(1), n_users(0), "every listener has a plan");

    let unknown =
        cli.text(&[&["evaluate"][..], &of_home("user:shoe_size").each_ref().map(String::as_str)].concat());
    assert!(unknown.contains("exit 1") && unknown.contains("shoe_size"), "{unknown}");
}

#[test]
fn examples_name_what_a_few_listeners_play_and_would_be_shown() {
    let cli = Cli::new();
    home(&cli);
    let arguments =
        ["--home", "h", "--models", "knn,markov", "--repeats", "--show-users", "3", "--report", "r.html"];
    let found = json(&cli, &arguments);
    let examples = found["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let user: usize = example["user"].as_str().unwrap()[1..].parse().unwrap();
        let band = format!("– Band {}", user % 4);
        let history = example["history"].as_array().unwrap();
        assert_eq!(example["n_items"], 5);
        let plays: Vec<u64> = history.iter().map(|h| h["n_plays"].as_u64().unwrap()).collect();
        assert!(plays.is_sorted_by(|a, b| a >= b) && plays[0] > 1, "{plays:?}");
        assert!(history.iter().all(|h| h["title"].as_str().unwrap().ends_with(&band)), "{example}");
        let lists = example["lists"].as_array().unwrap();
        assert_eq!(lists.len(), 2);
        // Who has only ever heard one band is shown that band, and plays it on.
        let items = lists[0]["items"].as_array().unwrap();
        assert!(items[0]["title"].as_str().unwrap().ends_with(&band), "{example}");
        assert!(items.iter().any(|i| i["is_hit"] == true), "{example}");
        let hits = items.iter().filter(|i| i["is_hit"] == true);
        assert!(hits.clone().all(|i| i["title"].as_str().unwrap().ends_with(&band)), "{example}");
    }
    assert_eq!(json(&cli, &arguments)["examples"], found["examples"], "the same listeners again");
    let page = std::fs::read_to_string(cli.path().join("r.html")).unwrap();
    let title = examples[0]["history"][0]["title"].as_str().unwrap();
    for part in ["Examples", "Listener u", title, "✓"] {
        assert!(page.contains(part), "{part}");
    }
    let text = cli.text(&["evaluate", "--home", "h", "--models", "knn", "--repeats", "--show-users", "1"]);
    assert!(text.contains("listener u") && text.contains("in the test part"), "{text}");
    let without = json(&cli, &["--home", "h", "--models", "knn", "--repeats"]);
    assert_eq!(without["examples"].as_array().unwrap().len(), 0);
}

#[test]
fn undated_listeners_of_whom_facts_are_known_are_evaluated_too() {
    let cli = Cli::new();
    let row =
        |(user, item): (u32, u32)| format!("u{user},i{},{}\n", (user * 5 + item * 3) % 20, 1 + user % 4);
    let rows = (0..12).flat_map(|user| (0..12).map(move |item| (user, item))).map(row);
    cli.write("profiles.csv", &format!("user_id,item_id,n_plays\n{}", rows.collect::<String>()));
    let users = (0..12).map(|u| format!("u{u},se\n"));
    cli.write("users.csv", &format!("user_id,market\n{}", users.collect::<String>()));
    for command in [&["import", "profiles.csv", "users.csv"][..], &["prepare"]] {
        let output = cli.run(&[command, &["--home", "h", "--quiet"]].concat());
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let found = json(&cli, &["--home", "h", "--models", "item_knn,ease", "--k", "5"]);
    assert!(value(&found, "item_knn", "ndcg") > 0.0, "{found}");
}
