//! What a listener gets, above all when something is missing: a sensible page, never an error.

use segue_engine::config::ShelfConfig;
use segue_engine::{Engine, EngineConfig, EngineError};
use segue_types::api::SlateRequest;
use segue_types::{FeedbackKind, Item};

use crate::support::*;

#[test]
fn a_home_without_anything_gives_an_empty_page_with_a_reason() {
    let home = tempfile::tempdir().unwrap();
    let engine = Engine::open(home.path(), EngineConfig::default(), NOW).unwrap();
    for page in [engine.home(&request("nobody"), NOW), engine.now_playing(&request("nobody"), NOW)] {
        let slate = page.unwrap().slate;
        assert!(slate.shelves.is_empty());
        assert!(slate.empty_reason.unwrap().contains("segue prepare"));
    }
    assert!(engine.status(NOW).notes.iter().any(|n| n.contains("no snapshot yet")));
}

#[test]
fn strangers_and_unknown_listeners_get_what_is_popular() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    engine
        .ingest(
            (0..5).map(|i| play(&format!("e{i}"), "ada", 7, i * 300_000, 190_000)).collect(),
            NOW.plus_ms(9_000_000),
        )
        .unwrap();
    for asked in [SlateRequest::default(), request("never seen")] {
        let slate = engine.home(&asked, NOW.plus_ms(9_000_000)).unwrap().slate;
        let cards = all_cards(&slate);
        assert!(cards.contains(&"t7"), "{cards:?}");
        assert!(slate.empty_reason.is_none());
    }
    assert!(!engine.user("never seen", NOW).unwrap().is_known);
}

#[test]
fn the_next_page_reflects_plays_and_hides_at_once() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    engine
        .ingest(
            vec![play("e1", "ada", 5, 0, 190_000), play("e2", "ada", 6, 200_000, 3_000)],
            NOW.plus_ms(300_000),
        )
        .unwrap();
    let slate = engine.home(&request("ada"), NOW.plus_ms(300_000)).unwrap().slate;
    assert_eq!(shelf(&slate, "jump_back_in"), ["t5"], "the skipped track does not come back");
    let user = engine.user("ada", NOW.plus_ms(300_000)).unwrap();
    assert_eq!((user.n_plays, user.state_offset, user.recent.len()), (2, 2, 2));
    assert_eq!(user.recent[0].display.title, "Track 6");
    engine
        .ingest(vec![feedback("e3", "ada", "t5", FeedbackKind::Hide, 400_000)], NOW.plus_ms(400_000))
        .unwrap();
    engine
        .ingest(vec![feedback("e4", "ada", "artist-1", FeedbackKind::Hide, 400_000)], NOW.plus_ms(400_000))
        .unwrap();
    let slate = engine.home(&request("ada"), NOW.plus_ms(400_000)).unwrap().slate;
    let cards = all_cards(&slate);
    assert!(!cards.contains(&"t5"));
    assert!(
        cards.iter().all(|id| id[1..].parse::<usize>().unwrap() % 8 != 1),
        "artist-1 is hidden: {cards:?}"
    );
    let kinds: Vec<_> =
        engine.user("ada", NOW).unwrap().feedback.into_iter().map(|f| f.display.title).collect();
    assert_eq!(kinds, ["Artist 1", "Track 5"]);
}

#[test]
fn explicit_market_and_consent_are_kept_whatever_the_configuration_says() {
    let home = tempfile::tempdir().unwrap();
    let mut config = EngineConfig::default();
    config.surface.home.filters.clear();
    let engine = open(home.path(), config);
    let is_explicit = |id: &&str| id[1..].parse::<usize>().unwrap() % 10 == 3;
    let cards = |user: &str| {
        let slate = engine.home(&SlateRequest { limit: Some(40), ..request(user) }, NOW).unwrap().slate;
        all_cards(&slate).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(cards("ada").iter().any(|id| is_explicit(&id.as_str())));
    assert!(!cards("kid").iter().any(|id| is_explicit(&id.as_str())));
    engine.put_items(vec![Item { markets: vec!["DE".to_owned()], ..item(2) }], NOW).unwrap();
    assert!(!cards("ada").contains(&"t2".to_owned()));
    let in_germany = SlateRequest { market: Some("DE".to_owned()), limit: Some(40), ..request("ada") };
    let slate = engine.home(&in_germany, NOW).unwrap().slate;
    assert!(all_cards(&slate).contains(&"t2"));
    // Without consent the history is not looked at: no shelf is personal.
    engine.ingest(vec![play("e1", "bo", 5, 0, 190_000)], NOW).unwrap();
    let slate = engine.home(&request("bo"), NOW).unwrap().slate;
    assert!(slate.shelves.iter().flat_map(|s| &s.cards).all(|card| card.source == "popular"), "{slate:?}");
}

#[test]
fn a_put_item_is_on_the_next_page_and_a_withdrawn_one_is_not() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    let new = Item { release_day: Some(NOW.day()), artist_ids: vec!["artist-5".to_owned()], ..item(99) };
    engine.ingest(vec![play("e1", "ada", 5, 0, 190_000)], NOW).unwrap();
    assert_eq!(engine.put_items(vec![new], NOW).unwrap().n_accepted, 1);
    let slate = engine.home(&request("ada"), NOW).unwrap().slate;
    assert!(shelf(&slate, "new_from_artists").contains(&"t99"), "{slate:?}");
    engine
        .put_items(vec![Item { available: false, valid_from: Some(NOW.plus_ms(10)), ..item(99) }], NOW)
        .unwrap();
    let slate = engine.home(&request("ada"), NOW.plus_ms(20)).unwrap().slate;
    assert!(!all_cards(&slate).contains(&"t99"));
}

#[test]
fn a_market_without_items_gets_an_empty_page_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    let engine = Engine::open(home.path(), EngineConfig::default(), NOW).unwrap();
    engine.put_items(vec![Item { markets: vec!["DE".to_owned()], ..item(1) }], NOW).unwrap();
    let asked = SlateRequest { market: Some("JP".to_owned()), ..SlateRequest::default() };
    let slate = engine.home(&asked, NOW).unwrap().slate;
    assert!(slate.empty_reason.unwrap().contains("market `JP`"));
}

#[test]
fn the_queue_goes_on_from_the_current_track_and_never_repeats_it() {
    let home = tempfile::tempdir().unwrap();
    let chain: Vec<Vec<u32>> = (0..5).map(|_| (0..20).collect()).collect();
    publish_markov(home.path(), &chain);
    let engine = open(home.path(), EngineConfig::default());
    let asked = SlateRequest { current_item_id: Some("t4".to_owned()), limit: Some(10), ..request("ada") };
    let slate = engine.now_playing(&asked, NOW).unwrap().slate;
    let queue = shelf(&slate, "queue");
    assert!(queue.contains(&"t5") && !queue.contains(&"t4"), "{queue:?}");
    let card = slate.shelves[0].cards.iter().find(|c| c.item_id == "t5").unwrap();
    assert_eq!(card.reason.as_deref(), Some("Goes with Track 4"));
    assert!(card.prefix_propensity > 0.0 && card.prefix_propensity < 1.0);
}

#[test]
fn because_names_the_track_it_rests_on() {
    let home = tempfile::tempdir().unwrap();
    let sessions: Vec<Vec<u32>> = (0..6).map(|_| vec![5, 11, 12, 14]).collect();
    publish_markov(home.path(), &sessions);
    let mut config = EngineConfig::default();
    config.surface.home.shelf = vec![ShelfConfig {
        id: "because".to_owned(),
        title: "Because you listened to {because}".to_owned(),
        sources: vec!["markov".to_owned()],
        ..ShelfConfig::default()
    }];
    let engine = open(home.path(), config);
    engine.ingest(vec![play("e1", "ada", 5, 0, 190_000)], NOW).unwrap();
    let slate = engine.home(&request("ada"), NOW).unwrap().slate;
    assert_eq!(slate.shelves[0].title, "Because you listened to Track 5");
    assert_eq!(slate.shelves[0].cards[0].item_id, "t11");
    assert_eq!(slate.shelves[0].cards[0].reason.as_deref(), Some("Because you played Track 5"));
}

#[test]
fn three_models_of_different_kinds_are_shelves_of_home_by_a_line_each() {
    let home = tempfile::tempdir().unwrap();
    // Two tastes, even and odd tracks; each listener played ten of the twenty.
    let histories: Vec<Vec<u32>> = (0..60)
        .map(|u| (0..10).map(|i| (u / 2 * 7 + i * [1, 3, 7][u as usize / 20]) % 20 * 2 + u % 2).collect())
        .collect();
    let kinds = [
        ("factors", "kind = \"ials\"\nfactors = 8"),
        ("ranked", "kind = \"bpr\"\nfactors = 8"),
        ("walk", "kind = \"rp3_beta\""),
    ];
    let mut config = EngineConfig::default();
    config.surface.home.shelf.clear();
    for (name, settings) in kinds {
        publish_model(home.path(), name, settings, &histories);
        let shelf = ShelfConfig {
            id: name.to_owned(),
            title: name.to_owned(),
            sources: vec![name.to_owned()],
            limit: 4,
            ..ShelfConfig::default()
        };
        config.surface.home.shelf.push(shelf);
    }
    let engine = open(home.path(), config);
    let plays = [("ada", 0), ("bo2", 1)].into_iter().flat_map(|(user, first)| {
        (0..5).map(move |i| play(&format!("{user}-{i}"), user, 6 * i + first, i as i64 * 200_000, 190_000))
    });
    let now = NOW.plus_ms(9_000_000);
    engine.ingest(plays.collect(), now).unwrap();
    for (user, taste) in [("ada", 0), ("bo2", 1)] {
        let slate = engine.home(&request(user), now).unwrap().slate;
        for (name, _) in kinds {
            let cards = shelf(&slate, name);
            assert_eq!(cards.len(), 4, "`{name}` for {user}: {slate:?}");
            let is_theirs = |id: &&str| id[1..].parse::<usize>().unwrap() % 2 == taste;
            assert!(cards.iter().all(is_theirs), "`{name}` for {user}: {cards:?}");
        }
    }
}

#[test]
fn warming_up_leaves_no_trace() {
    let home = tempfile::tempdir().unwrap();
    publish_markov(home.path(), &vec![vec![1, 2, 3]; 4]);
    let engine = open(home.path(), EngineConfig::default());
    engine.ingest(vec![play("e1", "ada", 1, 0, 190_000)], NOW).unwrap();
    let before = (engine.status(NOW), engine.user("ada", NOW).unwrap());
    engine.warm_up(NOW).unwrap();
    assert_eq!((engine.status(NOW), engine.user("ada", NOW).unwrap()), before);
    assert_eq!(engine.drain().unwrap(), (1, 0), "one event and no slate");
    Engine::open(tempfile::tempdir().unwrap().path(), EngineConfig::default(), NOW)
        .unwrap()
        .warm_up(NOW)
        .unwrap();
}

#[test]
fn requests_outside_their_range_are_refused_with_the_rule() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    for (asked, field) in [
        (SlateRequest { limit: Some(0), ..SlateRequest::default() }, "limit"),
        (SlateRequest { limit: Some(101), ..SlateRequest::default() }, "limit"),
        (request(&"x".repeat(257)), "user_id"),
        (SlateRequest { request_id: Some("a\nb".to_owned()), ..SlateRequest::default() }, "request_id"),
    ] {
        let error = engine.home(&asked, NOW).unwrap_err();
        assert!(matches!(error, EngineError::Request { field: f, .. } if f == field), "{error}");
    }
    let many = (0..1_001).map(|i| play(&format!("e{i}"), "ada", 1, 0, 1_000)).collect();
    assert!(engine.ingest(many, NOW).unwrap_err().to_string().contains("1001 in one call"));
}

#[test]
fn listeners_are_found_by_id_or_name_most_plays_first() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    let plays = vec![
        play("e1", "kid", 1, 0, 190_000),
        play("e2", "zoe", 1, 0, 190_000),
        play("e3", "zoe", 2, 0, 190_000),
    ];
    engine.ingest(plays, NOW).unwrap();
    let ids = |q: &str| engine.users(q, 10).users.into_iter().map(|u| u.user_id).collect::<Vec<_>>();
    assert_eq!(ids(""), ["zoe", "kid", "ada", "bo"]);
    assert_eq!(ids("ADA l"), ["ada"]);
    assert_eq!(engine.users("", 2).n_total, 4);
}

#[test]
fn candidates_say_where_they_came_from_and_what_became_of_them() {
    let home = tempfile::tempdir().unwrap();
    let engine = open(home.path(), EngineConfig::default());
    engine.ingest(vec![feedback("e1", "ada", "t7", FeedbackKind::Hide, 0)], NOW).unwrap();
    let asked = SlateRequest { explain: true, ..request("ada") };
    let response = engine.home(&asked, NOW).unwrap();
    let record = response.record.unwrap();
    assert_eq!(record.slate, response.slate);
    let hidden = record.candidates.iter().find(|c| c.item_id == "t7").unwrap();
    assert_eq!(hidden.removed_by.as_deref(), Some("hidden:hidden_item"));
    assert_eq!((hidden.score, hidden.position), (None, None));
    let shown = record.candidates.iter().find(|c| c.position == Some(0)).unwrap();
    assert_eq!(shown.features.len(), record.feature_names.len());
    assert!(!shown.sources.is_empty() && shown.rank.is_some());
    let kinds: Vec<&str> = record.stages.iter().map(|s| s.kind.as_str()).collect();
    for kind in ["source", "filter", "hydrator", "scorer", "selector"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

#[test]
fn a_saved_track_stands_on_its_shelf_and_a_late_skip_takes_it_off() {
    let home = tempfile::tempdir().unwrap();
    let shelf_of = |filters: &[&str]| ShelfConfig {
        id: "collection".to_owned(),
        title: "Your collection".to_owned(),
        sources: vec!["saved".to_owned()],
        filters: filters.iter().map(|&f| f.to_owned()).collect(),
        ..ShelfConfig::default()
    };
    let mut config = EngineConfig::default();
    config.surface.home.shelf = vec![shelf_of(&["recently_skipped"])];
    let engine = open(home.path(), config);
    engine
        .ingest(
            vec![
                feedback("s1", "ada", "t4", FeedbackKind::Save, 0),
                feedback("s2", "ada", "t5", FeedbackKind::Save, 1_000),
                feedback("s3", "ada", "t6", FeedbackKind::Save, 2_000),
                feedback("s4", "ada", "t6", FeedbackKind::Unsave, 3_000),
            ],
            NOW.plus_ms(10_000),
        )
        .unwrap();
    let cards = |at_ms: i64| {
        let slate = engine.home(&request("ada"), NOW.plus_ms(at_ms)).unwrap().slate;
        let mut cards: Vec<String> = all_cards(&slate).into_iter().map(str::to_owned).collect();
        cards.sort();
        cards
    };
    assert_eq!(cards(20_000), ["t4", "t5"]);
    engine.ingest(vec![play("p1", "ada", 4, 30_000, 3_000)], NOW.plus_ms(60_000)).unwrap();
    assert_eq!(cards(60_000), ["t5"], "skipped just now");
    assert_eq!(cards(100 * 3_600_000), ["t4", "t5"], "the skip is long ago");
}
