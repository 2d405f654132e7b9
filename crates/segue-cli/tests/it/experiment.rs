//! `segue experiment analyze` on the home's own log: every metric of the catalogue, executed over a world made
//! here and held against plain code over the same rows.

use std::collections::{BTreeMap, BTreeSet};

use segue_data::log::{LogWriter, SlateRow, WriterOptions};
use segue_experiment::analysis::equal_plays;
use segue_experiment::metric::MetricKind;
use segue_types::{EndReason, Feedback, FeedbackKind, Impression, Item, ItemKey, Play, TimestampMs, UserKey};

use crate::Cli;
use crate::ope::slate;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// 2026-03-01.
const START: i64 = 1_772_323_200_000;
const USERS: u64 = 120;
const ITEMS: u64 = 40;

/// A number below `n` that depends on what it is for.
fn luck(what: &str, user: u64, k: u64, n: u64) -> u64 {
    ItemKey::of(&format!("{what}-{user}-{k}")).0 % n
}

fn item(n: u64) -> String {
    format!("t{n}")
}

/// The artist of an item; the last ten items have none and stand for themselves.
fn artist(item: &str) -> String {
    let n: u64 = item[1..].parse().unwrap();
    if n < ITEMS - 10 { format!("a{}", n % 7) } else { item.to_owned() }
}

/// Users 2k and 2k + 1 live alike, but that the second, treated, hears other items, longer, saves more and
/// seldom comes back on the eighth day.
struct World {
    /// `[USERS]` moment of the first slate.
    exposed: Vec<i64>,
    plays: Vec<(u64, Play)>,
    saves: Vec<(u64, Feedback)>,
    impressions: Vec<(u64, Impression)>,
}

fn world() -> World {
    let mut w = World { exposed: Vec::new(), plays: Vec::new(), saves: Vec::new(), impressions: Vec::new() };
    for user in 0..USERS {
        let (life, treated) = (user / 2, user % 2 == 1);
        let exposed = START + (life % 3) as i64 * DAY + luck("seen", life, 0, 20) as i64 * HOUR;
        w.exposed.push(exposed);
        let name = format!("u{user}");
        let mut add = |id: String, at: i64, heard: &str, k: u64| {
            let mut play = Play::new(&id, &name, heard, TimestampMs(at));
            play.duration_ms = (luck("known", life, k, 9) > 0).then_some(200_000);
            let full = luck("full", life, k, 3) > 0;
            let listened = if full { 190_000 } else { 10_000 + 20_000 * luck("part", life, k, 4) as i64 };
            let longer = if treated && listened >= 30_000 { 4_000 } else { 0 };
            play.listened_ms = (luck("heard", life, k, 11) > 0).then_some(listened + longer);
            play.end_reason = Some(match luck("why", life, k, 5) {
                _ if full => EndReason::TrackDone,
                0 => EndReason::Crash,
                1 => EndReason::Stop,
                _ => EndReason::Next,
            });
            play.ended_at = Some(TimestampMs(at + 200_000));
            w.plays.push((user, play));
        };
        for k in 0..40 {
            let since = if k == 0 && life % 20 > 0 {
                // Nearly everybody plays on the first day.
                60_000 * (1 + luck("first", life, 0, 600) as i64)
            } else {
                luck("when", life, k, 38 * 24 * 6) as i64 * 600_000 + 1_000 * k as i64
            };
            if treated && (7 * DAY..8 * DAY).contains(&since) && life % 3 > 0 {
                continue;
            }
            let n = luck("what", life, k, ITEMS);
            let heard = item(if treated { n / 2 } else { n });
            add(format!("{user}-{k}"), exposed + since, &heard, k);
            // Some plays are followed by another, and some items are heard again after three weeks.
            if k % 3 == 0 {
                add(format!("{user}-{k}-next"), exposed + since + 9 * 60_000, &heard, k + 100);
            }
            if k % 4 == 1 && since < 7 * DAY {
                add(format!("{user}-{k}-again"), exposed + since + 22 * DAY, &heard, k + 200);
            }
        }
        for k in 0..12 {
            let at = exposed + luck("show", life, k, 9 * 24) as i64 * HOUR;
            let shown = luck("shown", life, k, ITEMS);
            let id = format!("i{user}-{k}");
            w.impressions.push((
                user,
                Impression {
                    event_id: id.clone(),
                    user_id: name.clone(),
                    item_id: item(if treated { shown / 3 } else { shown }),
                    slate_id: format!("slate-{user}"),
                    shelf_id: None,
                    position: k as u32,
                    shown_at: TimestampMs(at),
                    received_at: None,
                    visible_ms: None,
                },
            ));
            let kind = if k % 3 == 0 && !treated { FeedbackKind::Like } else { FeedbackKind::Save };
            w.saves.push((
                user,
                Feedback {
                    event_id: format!("f{user}-{k}"),
                    user_id: name.clone(),
                    target_id: item(shown),
                    kind,
                    occurred_at: TimestampMs(at + HOUR / 2),
                    received_at: None,
                    slate_id: None,
                    position: None,
                },
            ));
        }
    }
    w
}

fn write(w: &World, home: &std::path::Path) {
    let mut writer = LogWriter::new(home, "test", WriterOptions::default()).unwrap();
    let slates: Vec<SlateRow> = w
        .exposed
        .iter()
        .enumerate()
        .flat_map(|(user, &at)| [(user, at, 0), (user, at + 5 * HOUR, 1)])
        .map(|(user, at, again)| {
            let mut record = slate(user as u64 * 2 + again, 0.5);
            record.slate.user_id = Some(format!("u{user}"));
            record.request.user_id = Some(format!("u{user}"));
            record.slate.composed_at = TimestampMs(at);
            record.now = TimestampMs(at);
            record.arms = vec![
                format!("trial={}", if user % 2 == 1 { "new" } else { "old" }),
                "another=trial=new".to_owned(),
            ];
            SlateRow::of(&record, None)
        })
        .collect();
    writer.write(&slates).unwrap();
    let items: Vec<Item> = (0..ITEMS - 10)
        .map(|n| {
            let mut known = Item::new(&item(n));
            known.artist_ids = vec![artist(&item(n))];
            known
        })
        .collect();
    writer.write(&items).unwrap();
    writer.write(&w.plays.iter().map(|(_, p)| p.clone()).collect::<Vec<_>>()).unwrap();
    writer.write(&w.saves.iter().map(|(_, f)| f.clone()).collect::<Vec<_>>()).unwrap();
    writer.write(&w.impressions.iter().map(|(_, i)| i.clone()).collect::<Vec<_>>()).unwrap();
    writer.finish(TimestampMs(START + 60 * DAY), "test", true).unwrap();
}

/// What each metric of the catalogue should be in `arm`, from the rows themselves.
fn expected(w: &World, arm: u64) -> BTreeMap<&'static str, f64> {
    let users: Vec<u64> = (0..USERS).filter(|u| u % 2 == arm).collect();
    let n = users.len() as f64;
    let since = |user: u64, at: TimestampMs| at.0 - w.exposed[user as usize];
    let week = |user: u64, at: TimestampMs| (0..7 * DAY).contains(&since(user, at));
    let plays = || w.plays.iter().filter(|(user, _)| user % 2 == arm);
    let in_week = || plays().filter(|(user, p)| week(*user, p.occurred_at)).map(|(_, p)| p);
    let mut out = BTreeMap::new();
    let heard = |p: &Play| p.listened_ms.unwrap_or(0) as f64 / 60_000.0;
    out.insert("minutes_per_listener", in_week().map(heard).sum::<f64>() / n);

    let is_full = |p: &Play| p.listened_ms.unwrap() as f64 >= 0.9 * p.duration_ms.unwrap() as f64;
    let known = || {
        in_week().filter(|p| {
            let told = p.duration_ms.is_some() && p.listened_ms.is_some();
            told && (is_full(p) || p.end_reason != Some(EndReason::Crash))
        })
    };
    let all = known().count() as f64;
    out.insert("completion_rate", known().filter(|p| is_full(p)).count() as f64 / all);
    out.insert("skip_rate", known().filter(|p| !is_full(p)).count() as f64 / all);

    let saved = w
        .saves
        .iter()
        .filter(|(user, f)| user % 2 == arm && f.kind == FeedbackKind::Save && week(*user, f.occurred_at));
    out.insert("saves", saved.count() as f64 / n);

    // Sessions over a listener's whole life; the one that begins within the week counts.
    let (mut sessions, mut good) = (0.0, 0.0);
    let mut first_play = Vec::new();
    let (mut back, mut kept) = (0.0, 0.0);
    for &user in &users {
        let mut own: Vec<&Play> = plays().filter(|(u, _)| *u == user).map(|(_, p)| p).collect();
        own.sort_by_key(|p| p.occurred_at);
        let mut at = 0;
        while at < own.len() {
            let mut end = at + 1;
            while end < own.len() && own[end].occurred_at.0 - own[end - 1].occurred_at.0 < HOUR / 2 {
                end += 1;
            }
            if week(user, own[at].occurred_at) {
                sessions += 1.0;
                let streamed = own[at..end].iter().any(|p| p.listened_ms.unwrap_or(0) >= 30_000);
                good += f64::from(u8::from(streamed));
            }
            at = end;
        }
        let within_day = own.iter().map(|p| since(user, p.occurred_at)).find(|s| (0..DAY).contains(s));
        first_play.push(within_day.map_or(f64::INFINITY, |s| s as f64 / 1_000.0));
        let eighth = own.iter().any(|p| (7 * DAY..8 * DAY).contains(&since(user, p.occurred_at)));
        back += f64::from(u8::from(eighth));
        for heard in own.iter().map(|p| &p.item_id).collect::<BTreeSet<_>>() {
            let mut of_item = own.iter().filter(|p| p.item_id == *heard);
            let first = of_item.clone().next().unwrap().occurred_at.0;
            let again = of_item.find(|p| {
                (21 * DAY..=28 * DAY).contains(&(p.occurred_at.0 - first))
                    && p.listened_ms.unwrap_or(0) >= 30_000
            });
            kept += f64::from(u8::from(
                again.is_some_and(|p| (21 * DAY..35 * DAY).contains(&since(user, p.occurred_at))),
            ));
        }
    }
    out.insert("session_success", good / sessions);
    first_play.sort_by(f64::total_cmp);
    out.insert("time_to_first_play_p50", first_play[(n * 0.5).ceil() as usize - 1]);
    out.insert("time_to_first_play_p90", first_play[(n * 0.9).ceil() as usize - 1]);
    out.insert("d7_return", back / n);
    out.insert("discoveries_kept_28d", kept / n);
    let streams = || in_week().filter(|p| p.listened_ms.unwrap_or(0) >= 30_000);
    out.insert("streams", streams().count() as f64 / n);

    // The kernel has a reference of its own; here its input is counted from the rows: plays of each group of
    // listeners per key, and what only the other arm met is there with 0.
    let spread = |rows: &[(u64, String)], kind| {
        let keys: BTreeSet<&String> = rows.iter().map(|(_, key)| key).collect();
        let groups = [0, 1].map(|a| {
            let mut groups = vec![vec![0_u64; keys.len()]; 64];
            for (user, key) in rows.iter().filter(|(user, _)| user % 2 == a) {
                let group = (UserKey::of(&format!("u{user}")).0 >> 64) as usize % 64;
                groups[group][keys.iter().position(|k| *k == key).unwrap()] += 1;
            }
            groups
        });
        equal_plays(&groups[0], &groups[1], kind).unwrap().estimates[arm as usize]
    };
    let played: Vec<(u64, String)> = w
        .plays
        .iter()
        .filter(|(u, p)| week(*u, p.occurred_at) && p.listened_ms.unwrap_or(0) >= 30_000)
        .map(|(u, p)| (*u, artist(&p.item_id)))
        .collect();
    let shown: Vec<(u64, String)> = w
        .impressions
        .iter()
        .filter(|(u, i)| week(*u, i.shown_at))
        .map(|(u, i)| (*u, i.item_id.clone()))
        .collect();
    out.insert("effective_artists", spread(&played, MetricKind::EffectiveNumber));
    out.insert("exposure_gini", spread(&shown, MetricKind::Gini));
    out
}

#[test]
fn every_metric_of_the_catalogue_says_of_our_own_log_what_plain_code_says() {
    let cli = Cli::new();
    let w = world();
    write(&w, &cli.path().join("h"));
    let want = [expected(&w, 0), expected(&w, 1)];
    let mut file = String::from(
        r#"
        name = "trial"
        starts_on = "2026-03-01"
        ends_on = "2026-04-09"
        arms = [{ name = "old" }, { name = "new" }]
        sequential = { rule = "fixed" }
        "#,
    );
    for name in want[0].keys() {
        file += &format!("[[metrics]]\nfrom = \"{name}\"\n");
    }
    // The last play tells how far the log reaches: every window has closed by then.
    let last =
        w.plays.iter().map(|(_, p)| p.occurred_at.0).filter(|&at| at < START + 39 * DAY).max().unwrap();
    assert!(last > w.exposed.iter().max().unwrap() + 35 * DAY, "{}", (last - START) / DAY);
    cli.write("trial.toml", &file);
    let output = cli.run(&["experiment", "analyze", "trial.toml", "--home", "h", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["arms"][0]["n_units"], USERS / 2);
    assert_eq!(answer["checks"]["exposures"]["n_rows"], 2 * USERS, "{}", answer["checks"]);
    let metrics = answer["comparisons"][0]["metrics"].as_array().unwrap();
    let catalogue = cli.text(&["experiment", "metrics"]).matches("[[metrics]]").count();
    assert_eq!(metrics.len(), catalogue, "the catalogue has a metric that this test does not know");
    for (metric, name) in metrics.iter().zip(want[0].keys()) {
        assert_eq!(metric["name"], *name);
        let look =
            metric["estimates"].as_array().and_then(|e| e.last()).unwrap_or_else(|| panic!("{metric}"));
        for (arm, want) in ["control", "treatment"].iter().zip(&want) {
            let (got, want) = (look[arm].as_f64().unwrap(), want[name]);
            assert!((got - want).abs() < 1e-9 * (1.0 + want.abs()), "{name} of {arm}: {got}, plain {want}");
            assert!(want > 0.0, "{name}: a world in which it is 0 shows nothing");
        }
    }
}
