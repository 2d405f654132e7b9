//! Listeners: who there is, and what the next slate will know of one.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use segue_types::api::{ErrorResponse, UserResponse, UsersResponse};

use super::{Json, Shared, blocking};
use crate::error::ApiError;

/// Which listeners.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsersParams {
    /// Part of an id or name; empty lists all.
    #[serde(default)]
    query: String,
    /// 1 to 200; 50 where absent.
    #[serde(default = "fifty")]
    limit: u32,
}

fn fifty() -> u32 {
    50
}

/// Listeners whose id or name contains the query, most plays first.
#[utoipa::path(get, path = "/v1/users", params(UsersParams), responses(
    (status = 200, body = UsersResponse), (status = "4XX", body = ErrorResponse)))]
pub(crate) async fn users(
    State(app): Shared,
    params: Result<Query<UsersParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<UsersResponse>, ApiError> {
    let Query(params) = params.map_err(|e| ApiError::bad_field("query", "…", &e.body_text()))?;
    if !(1..=200).contains(&params.limit) {
        return Err(ApiError::bad_field(
            "limit",
            &params.limit.to_string(),
            "the number of listeners is 1 to 200",
        ));
    }
    let engine = Arc::clone(&app.engine);
    blocking(move || Ok(engine.users(&params.query, params.limit as usize))).await.map(Json)
}

/// The state the next slate of this listener will see; an unknown id is answered, not refused.
#[utoipa::path(get, path = "/v1/users/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = UserResponse), (status = "4XX", body = ErrorResponse)))]
pub(crate) async fn user(State(app): Shared, Path(id): Path<String>) -> Result<Json<UserResponse>, ApiError> {
    let now = app.clock.now();
    let engine = Arc::clone(&app.engine);
    blocking(move || engine.user(&id, now)).await.map(Json)
}
