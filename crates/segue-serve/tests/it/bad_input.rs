//! What a careless or hostile client gets: a 4xx with a stable code, never a panic, never a 500.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use segue_serve::{Clock, MAX_BODY_BYTES};
use segue_types::TimestampMs;
use serde_json::{Value, json};

use crate::{NOW, world};

fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or("")
}

#[tokio::test]
async fn each_mistake_has_its_stable_code() {
    let world = world(Clock::machine());
    let play = json!({"type": "play", "event_id": "e", "user_id": "u", "item_id": "i", "occurred_at": 0});
    for (route, body, status, want) in [
        ("/v1/home", "{".to_owned(), 400, "body_not_json"),
        ("/v1/home", "\"home\"".to_owned(), 422, "body_does_not_fit"),
        ("/v1/home", json!({"usr_id": "x"}).to_string(), 422, "body_does_not_fit"),
        ("/v1/home", json!({"limit": -1}).to_string(), 422, "body_does_not_fit"),
        ("/v1/home", json!({"limit": 0}).to_string(), 400, "bad_field"),
        ("/v1/home", json!({"limit": 101}).to_string(), 400, "bad_field"),
        ("/v1/home", json!({"now": 5}).to_string(), 400, "bad_field"),
        ("/v1/home", json!({"user_id": "x".repeat(300)}).to_string(), 400, "bad_field"),
        ("/v1/home", json!({"request_id": ""}).to_string(), 400, "bad_field"),
        ("/v1/events", json!({"events": vec![play; 1001]}).to_string(), 400, "bad_field"),
        ("/v1/events", json!({"events": [{"type": "dance"}]}).to_string(), 422, "body_does_not_fit"),
        ("/v1/nowhere", "{}".to_owned(), 404, "not_found"),
        ("/v1/slates/none/replay", String::new(), 404, "not_found"),
        ("/v1/slates/none/replay?recompute=perhaps", String::new(), 400, "bad_field"),
    ] {
        let (got, answer) = world.post(route, body.clone()).await;
        assert_eq!((got.as_u16(), code(&answer)), (status, want), "{route} {body:.80}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|m| !m.is_empty()));
    }
}

#[tokio::test]
async fn size_type_and_method_are_checked() {
    let world = world(Clock::machine());
    let (status, body) = world.post("/v1/events", vec![b' '; MAX_BODY_BYTES + 1]).await;
    assert_eq!((status, code(&body)), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
    let (status, _) = world.send(Request::post("/v1/home").body(Body::from("{}")).unwrap()).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, _) = world.get("/v1/home").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn an_event_from_the_future_is_rejected_with_its_reason() {
    let world = world(Clock::client(NOW));
    let far = NOW.plus_ms(segue_types::DAY_MS).0;
    let body = json!({"now": NOW.0, "events": [
        {"type": "play", "event_id": "e", "user_id": "u", "item_id": "i", "occurred_at": far}]});
    let (status, answer) = world.post("/v1/events", body.to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(answer["rejected"][0]["reason"], "future_timestamp");
}

#[tokio::test]
async fn the_console_serves_only_its_own_files() {
    let world = world(Clock::machine());
    for route in [
        "/console/../Cargo.toml",
        "/console/%2e%2e/Cargo.toml",
        "/console/test/journey.mjs",
        "/console/.hidden.js",
        "/console/",
    ] {
        assert_eq!(world.get(route).await.0, StatusCode::NOT_FOUND, "{route}");
    }
    assert_eq!(world.get("/").await.0, StatusCode::OK);
}

/// A small counter-based generator: the test repeats exactly.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[tokio::test]
async fn ten_thousand_mutated_bodies_never_panic_and_never_fail_the_server() {
    let world = world(Clock::client(TimestampMs(NOW.0)));
    let seeds = [
        json!({"user_id": "ada", "limit": 5, "market": "SE", "explain": true}).to_string(),
        json!({"events": [{"type": "play", "event_id": "e", "user_id": "u", "item_id": "i", "occurred_at": 1, "listened_ms": 3}]}).to_string(),
        json!({"events": [{"type": "impression", "event_id": "f", "user_id": "u", "item_id": "i", "slate_id": "s", "position": 0, "shown_at": 9}]}).to_string(),
        json!({"items": [{"item_id": "i", "title": "T", "tags": ["a"], "energy": 0.5}]}).to_string(),
    ];
    let tokens: [&[u8]; 12] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"null",
        b"-1",
        b"1e999",
        b"\\u0000",
        b"\xff\xfe",
        b"9223372036854775808",
        b",",
    ];
    let mut state = 42;
    for round in 0..10_000_u64 {
        let mut body = seeds[(round % 4) as usize].clone().into_bytes();
        for _ in 0..=draw(&mut state) % 4 {
            let at = draw(&mut state) as usize % (body.len() + 1);
            match draw(&mut state) % 4 {
                0 => body.truncate(at),
                1 => drop(
                    body.splice(at..at, tokens[draw(&mut state) as usize % tokens.len()].iter().copied()),
                ),
                2 if at < body.len() => body[at] = draw(&mut state) as u8,
                _ => drop(body.drain(at..(at + 3).min(body.len()))),
            }
        }
        let (route, method) = match round % 5 {
            0 => ("/v1/home", "POST"),
            1 => ("/v1/now-playing", "POST"),
            4 => ("/v1/items", "PUT"),
            _ => ("/v1/events", "POST"),
        };
        let request = Request::builder().method(method).uri(route).header("content-type", "application/json");
        let (status, bytes) = world.send(request.body(Body::from(body.clone())).unwrap()).await;
        assert!(!status.is_server_error(), "{route} {}: {bytes:?}", String::from_utf8_lossy(&body));
    }
}
