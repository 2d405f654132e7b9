//! What a well-meaning client gets, on a server that knows nobody.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use segue_serve::Clock;
use segue_types::api::{EventsResponse, SlateResponse, StatusResponse, UserResponse};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{NOW, world};

#[tokio::test]
async fn a_stranger_on_an_empty_catalogue_gets_an_empty_page_with_a_reason() {
    let world = world(Clock::client(NOW));
    for route in ["/v1/home", "/v1/now-playing"] {
        let (status, body) = world.post(route, json!({"user_id": "nobody"}).to_string()).await;
        assert_eq!(status, StatusCode::OK, "{route}: {body}");
        let slate: SlateResponse = serde_json::from_value(body).unwrap();
        assert!(slate.slate.shelves.iter().all(|s| s.cards.is_empty()));
        assert!(slate.slate.empty_reason.is_some());
        assert!(slate.record.is_none(), "the record comes only when asked for");
    }
}

#[tokio::test]
async fn an_event_is_acknowledged_once_and_shows_in_the_listeners_state() {
    let world = world(Clock::client(NOW));
    let play = json!({"events": [
        {"type": "play", "event_id": "e1", "user_id": "ada", "item_id": "t1", "occurred_at": NOW.0 - 60_000},
        {"type": "play", "event_id": "", "user_id": "ada", "item_id": "t1", "occurred_at": NOW.0},
    ]});
    let (status, body) = world.post("/v1/events", play.to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let first: EventsResponse = serde_json::from_value(body).unwrap();
    assert_eq!((first.n_accepted, first.n_duplicates), (1, 0));
    assert_eq!((first.rejected[0].index, first.rejected[0].reason.as_str()), (1, "missing_column"));

    let (_, body) = world.post("/v1/events", play.to_string()).await;
    let again: EventsResponse = serde_json::from_value(body).unwrap();
    assert_eq!((again.n_accepted, again.n_duplicates), (0, 1));

    let (status, bytes) = world.get("/v1/users/ada").await;
    assert_eq!(status, StatusCode::OK);
    let user: UserResponse = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((user.is_known, user.n_plays, user.recent.len()), (true, 1, 1));
}

#[tokio::test]
async fn a_slate_can_be_looked_up_and_replayed() {
    let world = world(Clock::client(NOW));
    let (_, slate) = world.post("/v1/home", json!({"user_id": "ada", "request_id": "r-1"}).to_string()).await;
    assert_eq!(slate["slate_id"], "r-1");
    let (status, bytes) = world.get("/v1/slates/r-1").await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&bytes));
    let (status, replay) = world.post("/v1/slates/r-1/replay", "").await;
    assert_eq!(status, StatusCode::OK, "{replay}");
    assert_eq!(replay["is_identical"], true, "{replay}");
}

#[tokio::test]
async fn status_metrics_and_openapi_answer() {
    let world = world(Clock::client(NOW));
    let (_, bytes) = world.get("/v1/status").await;
    let status: StatusResponse = serde_json::from_slice(&bytes).unwrap();
    assert!(status.client_clock);
    assert_eq!(status.now, NOW);
    world.post("/v1/home", "{}").await;
    let (_, text) = world.get("/metrics").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("segue_request_seconds_count{route=\"/v1/home\",status=\"200\"} 1"), "{text}");
    let (_, bytes) = world.get("/openapi.json").await;
    let api: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(api["paths"]["/v1/events"]["post"].is_object());
    assert!(api["components"]["schemas"]["SlateResponse"].is_object());
    assert_eq!(world.get("/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn items_are_named_and_unknown_ones_left_out() {
    let world = world(Clock::client(NOW));
    let put = r#"{"items": [{"item_id": "t1", "kind": "track", "title": "One"}, {"item_id": "t2", "kind": "track"}]}"#;
    let request =
        Request::put("/v1/items").header("content-type", "application/json").body(put.into()).unwrap();
    assert_eq!(world.send(request).await.0, StatusCode::OK);
    let (status, body) = world.get("/v1/items?ids=t2,nothing,t1").await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::OK);
    let ids: Vec<_> =
        body["items"].as_array().unwrap().iter().map(|i| i["item_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["t2", "t1"]);
    assert_eq!(body["items"][1]["display"]["title"], "One");
    let (status, _) = world.get(&format!("/v1/items?ids={}", "a,".repeat(600))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn experiments_are_listed_and_reports_are_pages_that_may_do_nothing() {
    let world = world(Clock::client(NOW));
    let (status, body) = world.get("/v1/experiments").await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, body["experiments"].as_array().unwrap().len()), (StatusCode::OK, 0));
    assert_eq!(world.get("/v1/experiments/none/report").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.get("/v1/experiments/..%2Fsegue/report").await.0, StatusCode::NOT_FOUND);
    let folder = world.home.path().join("experiments");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("shelf.html"), "<h1>shelf</h1>").unwrap();
    let request = Request::get("/v1/experiments/shelf/report").body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
}

#[tokio::test]
async fn an_explanation_of_what_is_not_there_is_a_404() {
    let world = world(Clock::client(NOW));
    assert_eq!(world.get("/v1/slates/none/explanation?item_id=t1").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.get("/v1/slates/none/explanation").await.0, StatusCode::BAD_REQUEST);
}
