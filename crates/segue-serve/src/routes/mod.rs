//! The routes, one file per noun.

pub(crate) mod events;
pub(crate) mod experiments;
pub(crate) mod health;
pub(crate) mod items;
pub(crate) mod slates;
pub(crate) mod users;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, MatchedPath, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use segue_engine::EngineError;

use crate::error::ApiError;
use crate::{App, MAX_BODY_BYTES, openapi_json};

pub(crate) type Shared = State<Arc<App>>;

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/home", post(slates::home))
        .route("/v1/now-playing", post(slates::now_playing))
        .route("/v1/slates/{id}", get(slates::slate))
        .route("/v1/slates/{id}/replay", post(slates::replay))
        .route("/v1/slates/{id}/explanation", get(slates::explanation))
        .route("/v1/events", post(events::events))
        .route("/v1/items", get(items::items).put(items::put_items))
        .route("/v1/items/{id}/similar", get(items::similar))
        .route("/v1/users", get(users::users))
        .route("/v1/users/{id}", get(users::user))
        .route("/v1/experiments", get(experiments::experiments))
        .route("/v1/experiments/{name}/report", get(experiments::report))
        .route("/v1/status", get(health::status))
        .route("/v1/reload", post(health::reload))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(|| async { ([(CONTENT_TYPE, "application/json")], openapi_json()) }))
        .route("/", get(async |State(app): Shared| app.console.file("index.html")))
        .route(
            "/console/{*path}",
            get(async |State(app): Shared, Path(path): Path<String>| app.console.file(&path)),
        )
        .fallback(async |request: Request| ApiError::not_found("route", request.uri().path()))
        .method_not_allowed_fallback(async |request: Request| {
            let message = format!("{} is not a method of `{}`", request.method(), request.uri().path());
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
                .hint("GET /openapi.json lists the routes and their methods")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&app), measure))
        .with_state(app)
}

/// Times every request under its route pattern.
async fn measure(State(app): Shared, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let began = Instant::now();
    let response = next.run(request).await;
    app.metrics.request(&route, response.status().as_u16(), began.elapsed());
    response
}

/// `axum::Json` whose rejections are this API's errors.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Runs engine work, which may touch the disk, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(out)) => Ok(out),
        Ok(Err(error)) => Err(from_engine(&error)),
        Err(panic) => Err(ApiError::internal(&panic)),
    }
}

fn from_engine(error: &EngineError) -> ApiError {
    match error {
        EngineError::Request { .. } => ApiError::new(StatusCode::BAD_REQUEST, "bad_field", error.to_string()),
        EngineError::NotDurable(_) => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_durable", error.to_string())
                .hint("none of the batch was acknowledged; send the same events again")
        }
        other => ApiError::internal(other),
    }
}
