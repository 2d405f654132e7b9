//! Events: what listeners did. An acknowledged event is on disk.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use segue_types::Event;
use segue_types::api::{ErrorResponse, EventsRequest, EventsResponse};

use super::{Json, Shared, blocking};
use crate::MAX_BATCH;
use crate::error::ApiError;

/// Takes plays, feedback and impressions; idempotent by `event_id`. 202 is sent after the disk has them.
#[utoipa::path(post, path = "/v1/events", request_body = EventsRequest, responses(
    (status = 202, body = EventsResponse), (status = 503, body = ErrorResponse), (status = "4XX", body = ErrorResponse)))]
pub(crate) async fn events(
    State(app): Shared,
    Json(request): Json<EventsRequest>,
) -> Result<(StatusCode, Json<EventsResponse>), ApiError> {
    if request.events.len() > MAX_BATCH {
        return Err(ApiError::bad_field(
            "events",
            &request.events.len().to_string(),
            "a batch has at most 1,000 events",
        ));
    }
    let named = match request.now {
        None if app.clock.is_client() => request.events.iter().map(Event::known_at).max(),
        named => named,
    };
    let now = app.clock.of_request(named)?;
    let engine = Arc::clone(&app.engine);
    let response = blocking(move || engine.ingest(request.events, now)).await?;
    app.metrics.events(
        u64::from(response.n_accepted),
        u64::from(response.n_duplicates),
        response.rejected.len() as u64,
    );
    Ok((StatusCode::ACCEPTED, Json(response)))
}
