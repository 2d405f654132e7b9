//! Error answers: JSON with a stable code, a message and the next step.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use segue_types::api::ErrorResponse;

/// An error answer. The code is part of the contract; the message is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl ApiError {
    /// An error answer with a stable code.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: None }
    }

    /// Adds the next step.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Something asked for does not exist.
    pub(crate) fn not_found(what: &str, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("no {what} `{}`", shorten(id)))
    }

    /// A field of the request is wrong.
    pub(crate) fn bad_field(field: &str, value: &str, rule: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_field", format!("`{field}` is `{}`; {rule}", shorten(value)))
    }

    /// The server failed; the cause goes to the log, not to the client.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed; its log says why")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorResponse { code: self.code.to_owned(), message: self.message, hint: self.hint };
        (self.status, Json(body)).into_response()
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::JsonDataError(e) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "body_does_not_fit", e.body_text())
                    .hint("GET /openapi.json describes every body")
            }
            JsonRejection::JsonSyntaxError(e) => {
                Self::new(StatusCode::BAD_REQUEST, "body_not_json", e.body_text())
            }
            JsonRejection::MissingJsonContentType(_) => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content_type_not_json",
                "the body is not marked as JSON",
            )
            .hint("send the header `content-type: application/json`"),
            other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", other.body_text())
                    .hint("send smaller batches")
            }
            other => Self::new(other.status(), "body_unreadable", other.body_text()),
        }
    }
}

/// At most 80 characters of text from outside, for messages.
fn shorten(text: &str) -> String {
    let mut out: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_from_outside_are_cut_and_escaped() {
        assert_eq!(shorten("a\u{0}b"), "a\\0b");
        assert!(shorten(&"x".repeat(500)).chars().count() == 81);
    }
}
