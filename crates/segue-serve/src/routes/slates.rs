//! Slates: compose, look up, replay.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use segue_engine::{Engine, EngineError};
use segue_types::SlateRecord;
use segue_types::TimestampMs;
use segue_types::api::{ErrorResponse, ExplanationResponse, ReplayResponse, SlateRequest, SlateResponse};

use super::{Json, Shared, blocking};
use crate::App;
use crate::error::ApiError;

/// Composes Home for a listener.
#[utoipa::path(post, path = "/v1/home", request_body = SlateRequest, responses(
    (status = 200, body = SlateResponse), (status = "4XX", body = ErrorResponse)))]
pub(crate) async fn home(
    State(app): Shared,
    Json(request): Json<SlateRequest>,
) -> Result<Json<SlateResponse>, ApiError> {
    compose(app, request, Engine::home).await
}

/// Composes the queue behind the current item.
#[utoipa::path(post, path = "/v1/now-playing", request_body = SlateRequest, responses(
    (status = 200, body = SlateResponse), (status = "4XX", body = ErrorResponse)))]
pub(crate) async fn now_playing(
    State(app): Shared,
    Json(request): Json<SlateRequest>,
) -> Result<Json<SlateResponse>, ApiError> {
    compose(app, request, Engine::now_playing).await
}

type Compose = fn(&Engine, &SlateRequest, TimestampMs) -> Result<SlateResponse, EngineError>;

async fn compose(
    app: Arc<App>,
    mut request: SlateRequest,
    compose: Compose,
) -> Result<Json<SlateResponse>, ApiError> {
    let now = app.clock.of_request(request.now)?;
    let wants_record = std::mem::replace(&mut request.explain, true);
    let engine = Arc::clone(&app.engine);
    let mut response = blocking(move || compose(&engine, &request, now)).await?;
    if let Some(record) = &response.record {
        for stage in &record.stages {
            app.metrics.stage(&stage.stage, &stage.status, stage.took_us);
        }
    }
    if !wants_record {
        response.record = None;
    }
    Ok(Json(response))
}

/// The record of a slate: everything that decided it.
#[utoipa::path(get, path = "/v1/slates/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = SlateRecord), (status = 404, body = ErrorResponse)))]
pub(crate) async fn slate(State(app): Shared, Path(id): Path<String>) -> Result<Json<SlateRecord>, ApiError> {
    let engine = Arc::clone(&app.engine);
    let asked = id.clone();
    blocking(move || engine.slate(&asked)).await?.map(Json).ok_or_else(|| ApiError::not_found("slate", &id))
}

/// Which candidate.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplanationParams {
    /// External id of a candidate of the slate.
    item_id: String,
}

/// Which plays of the listener made each source propose an item.
#[utoipa::path(get, path = "/v1/slates/{id}/explanation", params(("id" = String, Path), ExplanationParams), responses(
    (status = 200, body = ExplanationResponse), (status = 404, body = ErrorResponse)))]
pub(crate) async fn explanation(
    State(app): Shared,
    Path(id): Path<String>,
    params: Result<Query<ExplanationParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<ExplanationResponse>, ApiError> {
    let Query(params) = params.map_err(|e| ApiError::bad_field("query", "…", &e.body_text()))?;
    let engine = Arc::clone(&app.engine);
    let (slate, item) = (id.clone(), params.item_id.clone());
    blocking(move || engine.explanation(&slate, &item)).await?.map(Json).ok_or_else(|| {
        ApiError::not_found("candidate", &format!("{id}/{}", params.item_id))
            .hint("GET /v1/slates/{id} lists the candidates of a slate, where it kept them")
    })
}

/// How to replay.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayParams {
    /// Runs the stages again instead of recomposing from the record.
    #[serde(default)]
    recompute: bool,
}

/// Recomposes a slate from its record and compares it with what was served.
#[utoipa::path(post, path = "/v1/slates/{id}/replay", params(("id" = String, Path), ReplayParams), responses(
    (status = 200, body = ReplayResponse), (status = 404, body = ErrorResponse)))]
pub(crate) async fn replay(
    State(app): Shared,
    Path(id): Path<String>,
    params: Result<Query<ReplayParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<ReplayResponse>, ApiError> {
    let Query(params) = params.map_err(|e| ApiError::bad_field("query", "…", &e.body_text()))?;
    let engine = Arc::clone(&app.engine);
    let asked = id.clone();
    blocking(move || engine.replay(&asked, params.recompute))
        .await?
        .map(Json)
        .ok_or_else(|| ApiError::not_found("slate", &id))
}
