//! Items: the live catalogue and its neighbours.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use segue_types::api::{ErrorResponse, ItemsRequest, ItemsResponse, NamedItemsResponse, SimilarResponse};

use super::{Json, Shared, blocking};
use crate::MAX_BATCH;
use crate::error::ApiError;

/// Most ids of one look-up.
const MAX_NAMED: usize = 500;

/// Puts facts about items into the live catalogue; the next request sees them.
#[utoipa::path(put, path = "/v1/items", request_body = ItemsRequest, responses(
    (status = 200, body = ItemsResponse), (status = "4XX", body = ErrorResponse)))]
pub(crate) async fn put_items(
    State(app): Shared,
    Json(request): Json<ItemsRequest>,
) -> Result<Json<ItemsResponse>, ApiError> {
    if request.items.len() > MAX_BATCH {
        return Err(ApiError::bad_field(
            "items",
            &request.items.len().to_string(),
            "a batch has at most 1,000 items",
        ));
    }
    let now = app.clock.of_request(None)?;
    let engine = Arc::clone(&app.engine);
    blocking(move || engine.put_items(request.items, now)).await.map(Json)
}

/// Which items.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemsParams {
    /// External ids joined by commas, at most 500.
    ids: String,
}

/// Names and facts of items, as a page draws them; ids the catalogue does not know are left out.
#[utoipa::path(get, path = "/v1/items", params(ItemsParams), responses(
    (status = 200, body = NamedItemsResponse), (status = "4XX", body = ErrorResponse)))]
pub(crate) async fn items(
    State(app): Shared,
    params: Result<Query<ItemsParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<NamedItemsResponse>, ApiError> {
    let Query(params) = params.map_err(|e| ApiError::bad_field("query", "…", &e.body_text()))?;
    if params.ids.split(',').count() > MAX_NAMED {
        let n = params.ids.split(',').count().to_string();
        return Err(ApiError::bad_field("ids", &n, "at most 500 ids in one call"));
    }
    let now = app.clock.now();
    let engine = Arc::clone(&app.engine);
    blocking(move || Ok(engine.items(&params.ids.split(',').collect::<Vec<_>>(), now))).await.map(Json)
}

/// How many neighbours.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimilarParams {
    /// 1 to 100; 20 where absent.
    #[serde(default = "twenty")]
    k: u32,
}

fn twenty() -> u32 {
    20
}

/// Items like this one.
#[utoipa::path(get, path = "/v1/items/{id}/similar", params(("id" = String, Path), SimilarParams), responses(
    (status = 200, body = SimilarResponse), (status = 404, body = ErrorResponse)))]
pub(crate) async fn similar(
    State(app): Shared,
    Path(id): Path<String>,
    params: Result<Query<SimilarParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<SimilarResponse>, ApiError> {
    let Query(params) = params.map_err(|e| ApiError::bad_field("query", "…", &e.body_text()))?;
    if !(1..=100).contains(&params.k) {
        return Err(ApiError::bad_field("k", &params.k.to_string(), "the number of neighbours is 1 to 100"));
    }
    let now = app.clock.now();
    let engine = Arc::clone(&app.engine);
    let asked = id.clone();
    blocking(move || Ok(engine.similar(&asked, params.k as usize, now)))
        .await?
        .map(Json)
        .ok_or_else(|| ApiError::not_found("item", &id).hint("no model of this deployment knows the item"))
}
