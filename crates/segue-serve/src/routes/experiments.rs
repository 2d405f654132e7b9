//! Experiments: which run, and their reports.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use segue_types::api::{ErrorResponse, ExperimentsResponse};

use super::{Json, Shared, blocking};
use crate::error::ApiError;

/// A report draws itself and may do nothing else: no scripts, no requests, no forms.
const REPORT_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox";

/// The experiments of this server: running, stopped and refused.
#[utoipa::path(get, path = "/v1/experiments", responses((status = 200, body = ExperimentsResponse)))]
pub(crate) async fn experiments(State(app): Shared) -> Result<Json<ExperimentsResponse>, ApiError> {
    let engine = Arc::clone(&app.engine);
    blocking(move || Ok(engine.experiments())).await.map(Json)
}

/// The report that `segue experiment report` wrote, as a page.
#[utoipa::path(get, path = "/v1/experiments/{name}/report", params(("name" = String, Path)), responses(
    (status = 200, body = String, content_type = "text/html"), (status = 404, body = ErrorResponse)))]
pub(crate) async fn report(
    State(app): Shared,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let engine = Arc::clone(&app.engine);
    let asked = name.clone();
    let html = blocking(move || engine.experiment_report(&asked)).await?.ok_or_else(|| {
        ApiError::not_found("report", &name).hint("`segue experiment report NAME` writes it")
    })?;
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, REPORT_POLICY)], html))
}
