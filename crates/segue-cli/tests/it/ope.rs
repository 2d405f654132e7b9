//! `segue ope` as a whole: a table of one's own, and the home's own slates, whose truth is known here.

use segue_data::log::{LogWriter, SlateRow, WriterOptions};
use segue_engine::compose::{SlateHead, assemble};
use segue_types::api::SlateRequest;
use segue_types::slate::ItemDisplay;
use segue_types::{ItemKey, Play, PoolEntry, ShelfRecord, SlateRecord, Surface, TimestampMs};

use crate::Cli;

const TABLE: &str =
    "[table]\npath = \"log.csv\"\nreward = \"click\"\npropensity = \"p\"\naction = \"item\"\n";

fn json(cli: &Cli, arguments: &[&str]) -> serde_json::Value {
    let output = cli.run(arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_table_is_judged_and_a_refused_target_has_no_number() {
    let cli = Cli::new();
    let mut csv = String::from("item,click,p\n");
    for i in 0..4_000_u32 {
        let (item, p) = if i % 4 < 3 { ("a", 0.75) } else { ("b", 0.25) };
        csv += &format!("{item},{},{p}\n", u32::from(i % 5 == 0));
    }
    cli.write("log.csv", &csv);
    cli.write("policy.csv", "action,probability\na,0.2\nnew,0.8\n");
    cli.write(
        "ope.toml",
        &format!(
            "{TABLE}[[target]]\nname = \"even\"\nuniform = true\n[[target]]\nname = \"unknown\"\nfile = \"policy.csv\"\n"
        ),
    );
    let answer = json(&cli, &["ope", "ope.toml", "--json", "--html", "page.html"]);
    let verdict = |i: usize| &answer["targets"][i]["families"][0]["verdict"];
    let value = verdict(0)["estimable"]["headline"]["value"].as_f64().unwrap();
    assert!((value - 0.2).abs() < 0.01, "{value}");
    assert!(verdict(1)["not_estimable"]["more_data"]["kind"] == "none_would", "{}", verdict(1));
    assert!(!verdict(1).to_string().contains("\"value\""), "{}", verdict(1));
    let people = cli.text(&["ope", "ope.toml"]);
    assert!(
        people.contains("estimable (sndr)") && people.contains("no amount of this log would do"),
        "{people}"
    );
    let page = std::fs::read_to_string(cli.path().join("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("not estimable"));
}

#[test]
fn mistakes_in_the_file_or_the_log_are_named() {
    let cli = Cli::new();
    cli.write("log.csv", "item,click,p\na,1,0\n");
    let target = "[[target]]\nname = \"even\"\nuniform = true\n";
    cli.write("zero.toml", &format!("{TABLE}{target}"));
    let text = cli.text(&["ope", "zero.toml"]);
    assert!(text.contains("exit 1") && text.contains("propensity of round 0 is 0"), "{text}");
    cli.write("both.toml", &format!("{TABLE}[log]\nsurface = \"home\"\n{target}"));
    assert!(cli.text(&["ope", "both.toml"]).contains("one of `[table]`"));
    cli.write("odd.toml", &format!("{TABLE}{target}[gate]\nmax_wait = 3\n"));
    assert!(cli.text(&["ope", "odd.toml"]).contains("max_wait"));
    cli.write("empty.toml", "[log]\nsurface = \"home\"\n[[target]]\nname = \"x\"\n");
    let text = cli.text(&["ope", "empty.toml", "--home", "h"]);
    assert!(text.contains("no slate of surface `home`"), "{text}");
}

/// A slate of three out of six tracks, explored with `epsilon`.
pub(crate) fn slate(i: u64, epsilon: f64) -> SlateRecord {
    let entry = |t: u32| PoolEntry {
        item_id: format!("t{t}"),
        score: 1.0 - t as f32 / 10.0,
        group: 0,
        source: "markov".to_owned(),
        reason: None,
    };
    let shelves = vec![ShelfRecord {
        shelf_id: "made_for_you".to_owned(),
        title: String::new(),
        why: String::new(),
        selector: "explore".to_owned(),
        limit: 3,
        min_cards: 1,
        max_per_group: 0,
        temperature: 0.1,
        epsilon,
        pool_size: 6,
        pool: (0..6).map(entry).collect(),
    }];
    let user_id = Some(format!("u{}", i % 700));
    let head = SlateHead {
        slate_id: format!("s{i}-{epsilon}"),
        surface: Surface::Home,
        user_id: user_id.clone(),
        composed_at: TimestampMs(1_700_000_000_000 + i as i64 * 1_000),
        degraded: Vec::new(),
        empty_reason: None,
    };
    let seed = ItemKey::of(&i.to_string()).0;
    let slate = assemble(head, &shelves, seed, |_| ItemDisplay::default());
    SlateRecord {
        version: 1,
        request: SlateRequest { user_id, ..SlateRequest::default() },
        user_key: None,
        now: slate.composed_at,
        deployment_id: "d".to_owned(),
        user_state_offset: 0,
        seed,
        arms: Vec::new(),
        feature_names: Vec::new(),
        candidates: Vec::new(),
        candidate_sampling_rate: 1.0,
        shelves,
        stages: Vec::new(),
        slate,
    }
}

/// Positions whose card is streamed: tracks low in the ranking are liked, by some.
fn liked(record: &SlateRecord) -> Vec<u32> {
    let cards = record.slate.shelves.iter().flat_map(|s| &s.cards);
    let likes = |item: &str, n: u64| {
        item.as_bytes()[1] >= b'3' && ItemKey::of(&format!("{}-{n}", record.seed)).0.is_multiple_of(3)
    };
    cards.filter(|c| likes(&c.item_id, u64::from(c.position))).map(|c| c.position).collect()
}

#[test]
fn our_own_slates_estimate_what_another_exploration_earns() {
    let cli = Cli::new();
    let home = cli.path().join("h");
    let mut writer = LogWriter::new(&home, "test", WriterOptions::default()).unwrap();
    let (mut slates, mut plays) = (Vec::new(), Vec::new());
    for i in 0..3_000 {
        let record = slate(i, 0.5);
        for position in liked(&record) {
            let slate = &record.slate;
            let user = slate.user_id.clone().unwrap();
            let mut play =
                Play::new(&format!("{}-{position}", slate.slate_id), &user, "t", slate.composed_at);
            play.slate_id = Some(slate.slate_id.clone());
            play.position = Some(position);
            play.listened_ms = Some(60_000);
            play.ended_at = Some(slate.composed_at.plus_ms(60_000));
            plays.push(play);
        }
        slates.push(SlateRow::of(&record, Some(serde_json::to_string(&record).unwrap())));
    }
    writer.write(&slates).unwrap();
    writer.write(&plays).unwrap();
    writer.finish(TimestampMs(1_800_000_000_000), "test", true).unwrap();
    let truth = (0..20_000).map(|i| liked(&slate(1_000_000 + i, 0.3)).len()).sum::<usize>() as f64 / 20_000.0;
    let target = |shelf: &str, change: &str| {
        cli.write(
            "ope.toml",
            &format!(
                "[log]\nsurface = \"home\"\n[[target]]\nname = \"same\"\n[[target]]\nname = \"less\"\n[target.shelf.{shelf}]\n{change}\n"
            ),
        );
        cli.text(&["ope", "ope.toml", "--home", "h"])
    };
    let text = target("made_for_you", "epsilon = 0.3");
    assert!(text.contains("exit 0"), "{text}");
    let answer = json(&cli, &["ope", "ope.toml", "--home", "h", "--json"]);
    for family in answer["targets"][1]["families"].as_array().unwrap() {
        let headline = &family["verdict"]["estimable"]["headline"];
        let (low, high) =
            (headline["interval"][0].as_f64().unwrap(), headline["interval"][1].as_f64().unwrap());
        assert!(low < truth && truth < high, "{}: {low} {high}, truth {truth}", family["family"]);
        assert_eq!(family["weights"]["unsupported_mass"], 0.0);
    }
    // The configuration itself: the plain mean, and nothing gained.
    let same = &answer["targets"][0];
    let value = same["families"][0]["verdict"]["estimable"]["headline"]["value"].as_f64().unwrap();
    assert!((value - same["logged_mean"].as_f64().unwrap()).abs() < 1e-9);
    assert!(target("made_for_us", "epsilon = 0.3").contains("the log has made_for_you"));
    cli.write(
        "heads.toml",
        "[log]\nsurface = \"home\"\n[[target]]\nname = \"heads\"\n[target.ranker]\nheads = [{ head = \"stream\", weight = 1.0 }]\n",
    );
    let text = cli.text(&["ope", "heads.toml", "--home", "h"]);
    assert!(text.contains("3000 without candidates"), "{text}");
}
