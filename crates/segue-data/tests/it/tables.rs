//! The folds' text tables: tiny event tables in, expected rows out.
//!
//! `SEGUE_REFILL=1 cargo test --release -p segue-data tables` writes what the folds give into the
//! files; read the difference before you commit it. Also here: one golden file per fold and
//! version, which never changes once released, and hostile bytes.
//!
//! A table is lines of `item ID key=value…`, `KIND ID key=value…` (play, impression, or a
//! feedback kind) and `read ID at=…` or `read - at=…` (no item), below which the expected columns
//! stand indented. Times are `1d2h3m4s` after 2023-11-14T00:00:00Z, a Tuesday; `known` defaults
//! to `at` plus `heard`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use segue_data::folds::FoldStates;
use segue_data::{Catalogue, ItemCatalogue, ItemContext, UserState};
use segue_types::{
    DAY_MS, EndReason, Event, Feedback, FeedbackKind, HOUR_MS, Impression, Item, ItemKey, MINUTE_MS, Play,
    Surface, TimestampMs,
};

const START: i64 = 1_699_920_000_000;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn is_refill() -> bool {
    std::env::var_os("SEGUE_REFILL").is_some_and(|v| v == "1")
}

fn duration(text: &str) -> i64 {
    let (mut ms, mut n) = (0, 0);
    for c in text.chars() {
        match c {
            '0'..='9' => n = n * 10 + i64::from(c as u8 - b'0'),
            'd' => (ms, n) = (ms + n * DAY_MS, 0),
            'h' => (ms, n) = (ms + n * HOUR_MS, 0),
            'm' => (ms, n) = (ms + n * MINUTE_MS, 0),
            's' => (ms, n) = (ms + n * 1_000, 0),
            _ => panic!("`{text}` is not a duration such as 1h30m"),
        }
    }
    ms
}

struct Line<'a> {
    what: &'a str,
    id: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        let what = words.next().unwrap_or_default();
        let id = words.next().unwrap_or_default();
        let pairs = words.map(|w| w.split_once('=').unwrap_or_else(|| panic!("`{w}` in `{line}`")));
        Self { what, id, pairs: pairs.collect() }
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|p| p.0 == key).map(|p| p.1)
    }

    fn time(&self, key: &str) -> Option<TimestampMs> {
        self.get(key).map(|t| TimestampMs(START + duration(t)))
    }
}

/// The table with its expected rows as the folds give them now.
fn refilled(text: &str, columns: &[&str]) -> String {
    let all = FoldStates::columns();
    let (mut out, mut items, mut state, mut n) =
        (String::new(), ItemCatalogue::default(), UserState::default(), 0);
    for line in text.lines() {
        if line.starts_with(' ') {
            continue;
        }
        writeln!(out, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        n += 1;
        let line = Line::parse(line);
        let at = line.time("at");
        let event_id = line.get("id").map_or(format!("e{n}"), str::to_owned);
        match line.what {
            "item" => items.insert(&Item {
                artist_ids: line.get("artist").map(str::to_owned).into_iter().collect(),
                tags: line.get("tag").map(str::to_owned).into_iter().collect(),
                duration_ms: line.get("duration").map(duration),
                ..Item::new(line.id)
            }),
            "read" => {
                let at = at.expect("`read` says when");
                let key = ItemKey::of(line.id);
                let facts = items.facts(key, at);
                let context = ItemContext { item: key, artist: facts.artist, tag: facts.tag };
                let mut row = vec![0.0; all.len()];
                state.folds().read((line.id != "-").then_some(&context), at, &mut row);
                for (name, value) in all.iter().zip(row) {
                    if columns.contains(name) {
                        writeln!(out, "  {name} = {value}").unwrap();
                    }
                }
            }
            kind => {
                let at = at.expect("an event says when");
                let heard = line.get("heard").map(duration);
                let known = line.time("known").unwrap_or(at.plus_ms(heard.unwrap_or(0)));
                let (user_id, id) = ("u".to_owned(), line.id.to_owned());
                let event = match kind {
                    "play" => Event::Play(Play {
                        listened_ms: heard,
                        received_at: Some(known),
                        end_reason: line.get("end").map(|e| EndReason::parse(e).unwrap()),
                        ..Play::new(&event_id, &user_id, &id, at)
                    }),
                    "impression" => Event::Impression(Impression {
                        event_id,
                        user_id,
                        item_id: id,
                        slate_id: "s".into(),
                        shelf_id: None,
                        position: 0,
                        shown_at: at,
                        received_at: Some(known),
                        visible_ms: None,
                    }),
                    kind => Event::Feedback(Feedback {
                        event_id,
                        user_id,
                        target_id: id,
                        kind: FeedbackKind::parse(kind).unwrap_or_else(|| panic!("`{kind}`")),
                        occurred_at: at,
                        received_at: Some(known),
                        slate_id: None,
                        position: None,
                    }),
                };
                if let Err(e) = state.update(&event, &items) {
                    writeln!(out, "  {e}").unwrap();
                }
            }
        }
    }
    out
}

#[test]
fn every_fold_gives_the_rows_of_its_table() {
    for (name, _, columns) in FoldStates::registry() {
        let path = folder("tables").join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("fold `{name}` needs a table {}: {e}", path.display()));
        assert!(text.contains("\nread "), "{name}: a table without `read` shows nothing");
        let now = refilled(&text, columns);
        if is_refill() {
            std::fs::write(&path, now).unwrap();
        } else {
            assert_eq!(text, now, "{name}: SEGUE_REFILL=1 fills in what the fold gives now");
        }
    }
}

/// A state with something in every part.
fn golden_state() -> UserState {
    let mut items = ItemCatalogue::default();
    items.insert(&Item {
        artist_ids: vec!["artist".into()],
        tags: vec!["tag".into()],
        duration_ms: Some(180_000),
        ..Item::new("a")
    });
    let mut state = UserState::default();
    for (n, heard) in [(1, 180_000), (2, 20_000)] {
        let play = Play {
            listened_ms: Some(heard),
            end_reason: Some(EndReason::Next),
            ..Play::new(&format!("e{n}"), "u", "a", TimestampMs(START + n * HOUR_MS))
        };
        state.update(&Event::Play(play), &items).unwrap();
    }
    let save = Feedback {
        event_id: "f".into(),
        user_id: "u".into(),
        target_id: "a".into(),
        kind: FeedbackKind::Save,
        occurred_at: TimestampMs(START + DAY_MS),
        received_at: None,
        slate_id: None,
        position: None,
    };
    state.update(&Event::Feedback(save), &items).unwrap();
    state
}

/// A state of many plays over several sessions, with items that come back and others that are only shown.
fn long_state() -> UserState {
    let mut items = ItemCatalogue::default();
    for n in 0..7 {
        let artist_ids = vec![format!("artist{}", n % 3)];
        let tags = if n == 5 { vec![] } else { vec![format!("tag{}", n % 2)] };
        items.insert(&Item { artist_ids, tags, duration_ms: Some(180_000), ..Item::new(&format!("i{n}")) });
    }
    let mut state = UserState::default();
    for n in 0..40_i64 {
        let at = TimestampMs(START + n * 11 * 60_000 + n / 9 * DAY_MS);
        let item = format!("i{}", n * n % 7);
        let event = if n % 6 == 5 {
            Event::Impression(Impression {
                event_id: format!("e{n}"),
                user_id: "u".into(),
                item_id: format!("i{}", n % 7),
                slate_id: "s".into(),
                shelf_id: None,
                position: 0,
                shown_at: at,
                received_at: None,
                visible_ms: None,
            })
        } else {
            let heard = [180_000, 20_000, 90_000][n as usize % 3];
            let surface = [None, Some(Surface::Home), Some(Surface::Radio)][n as usize % 3];
            Event::Play(Play {
                listened_ms: Some(heard),
                surface,
                ..Play::new(&format!("e{n}"), "u", &item, at)
            })
        };
        state.update(&event, &items).unwrap();
    }
    state
}

#[test]
fn a_long_state_reads_back() {
    let state = long_state();
    let mut bytes = Vec::new();
    state.encode(&mut bytes);
    assert_eq!(UserState::decode(&bytes), Some(state));
}

fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(32).map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

#[test]
fn every_released_state_still_reads_and_writes_the_same_bytes() {
    let state = golden_state();
    let parts = state.folds().encode_each();
    let mut golden = Vec::new();
    for ((name, version, _), bytes) in FoldStates::registry().iter().zip(&parts) {
        let path = folder("golden").join(format!("{name}-v{version}.hex"));
        if is_refill() && !path.exists() {
            std::fs::write(&path, hex(bytes)).unwrap();
        }
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("fold `{name}` v{version} needs a golden file: {e}"));
        assert_eq!(text, hex(bytes), "{name}: another layout is another version");
        golden.push(unhex(&text));
    }
    assert_eq!(FoldStates::decode_each(&golden).as_ref(), Some(state.folds()));
}

proptest! {
    /// Any bytes, and any damage to good bytes, are refused or read; nothing panics.
    #[test]
    fn hostile_states_do_not_panic(noise in prop::collection::vec(any::<u8>(), 0..300), at in any::<usize>(), bit in 0..8_u8, cut in any::<usize>(), is_long in any::<bool>()) {
        let _ = UserState::decode(&noise);
        let mut bytes = Vec::new();
        if is_long { long_state() } else { golden_state() }.encode(&mut bytes);
        prop_assert!(bytes.len() <= UserState::MAX_BYTES);
        let _ = UserState::decode(&bytes[..cut % bytes.len()]);
        let i = at % bytes.len();
        bytes[i] ^= 1 << bit;
        if let Some(state) = UserState::decode(&bytes) {
            // What is read is a state: it encodes to what was read.
            let mut again = Vec::new();
            state.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}
