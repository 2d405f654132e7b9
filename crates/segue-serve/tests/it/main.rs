//! The HTTP contract without a socket: answers, error codes, and 10,000 hostile bodies.

mod bad_input;
mod contract;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode};
use segue_engine::{Engine, EngineConfig};
use segue_serve::{Clock, Console, Server};
use segue_types::TimestampMs;
use serde_json::Value;
use tower::ServiceExt;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// A server over an empty home; the folder goes with it.
struct World {
    router: Router,
    home: tempfile::TempDir,
}

fn world(clock: Clock) -> World {
    let home = tempfile::tempdir().unwrap();
    let engine = Engine::open(home.path(), EngineConfig::default(), NOW).unwrap();
    let router = Server::new(Arc::new(engine), clock, Console::default()).router();
    World { router, home }
}

impl World {
    async fn send(&self, request: Request<Body>) -> (StatusCode, Bytes) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        (status, to_bytes(response.into_body(), 64 << 20).await.unwrap())
    }

    async fn post(&self, route: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let request =
            Request::post(route).header("content-type", "application/json").body(body.into()).unwrap();
        let (status, bytes) = self.send(request).await;
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn get(&self, route: &str) -> (StatusCode, Bytes) {
        self.send(Request::get(route).body(Body::empty()).unwrap()).await
    }
}
