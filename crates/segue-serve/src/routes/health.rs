//! Health: alive, ready, what serves, and figures for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use segue_types::api::StatusResponse;

use super::{Json, Shared, blocking};
use crate::App;
use crate::error::ApiError;

/// The process answers.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests are served as configured; 503 while a model is missing, with the same body.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = StatusResponse), (status = 503, body = StatusResponse)))]
pub(crate) async fn readyz(State(app): Shared) -> impl IntoResponse {
    let status = of(&app);
    let code = if status.is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(status))
}

/// What serves, and what start-up found.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = StatusResponse)))]
pub(crate) async fn status(State(app): Shared) -> Json<StatusResponse> {
    Json(of(&app))
}

/// Loads the artifacts that are current now and swaps them in; a bad one keeps its predecessor.
#[utoipa::path(post, path = "/v1/reload", responses((status = 200, body = StatusResponse)))]
pub(crate) async fn reload(State(app): Shared) -> Result<Json<StatusResponse>, ApiError> {
    let now = app.clock.now();
    let engine = Arc::clone(&app.engine);
    blocking(move || engine.reload(now)).await?;
    Ok(Json(of(&app)))
}

fn of(app: &App) -> StatusResponse {
    StatusResponse { client_clock: app.clock.is_client(), ..app.engine.status(app.clock.now()) }
}

/// Counters and latencies in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(app): Shared) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], app.metrics.text())
}
