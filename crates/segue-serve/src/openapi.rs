//! `/openapi.json`, generated from the routes and the types.

use utoipa::OpenApi;

use crate::routes::{events, experiments, health, items, slates, users};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Segue",
        description = "Home and Now Playing from a play log.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        slates::home,
        slates::now_playing,
        slates::slate,
        slates::replay,
        slates::explanation,
        events::events,
        items::items,
        items::put_items,
        items::similar,
        experiments::experiments,
        experiments::report,
        users::users,
        users::user,
        health::healthz,
        health::readyz,
        health::status,
        health::reload,
        health::metrics,
    )
)]
struct Api;

/// The OpenAPI description as JSON text.
#[must_use]
pub fn openapi_json() -> String {
    // The description is built from constants; serialising it cannot fail.
    Api::openapi().to_json().unwrap_or_default()
}
