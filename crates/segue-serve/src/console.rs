//! The console: a folder of plain files, embedded at compile time, replaceable in development.

use std::path::{Path, PathBuf};

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use include_dir::{Dir, include_dir};

use crate::error::ApiError;

// The page's own folders by name, not the whole of `console/`: its browser test installs packages
// beside itself, and those must not end up in the binary.
static STYLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../console/css");
static SCRIPTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../console/js");
static INDEX: &[u8] = include_bytes!("../../../console/index.html");
static ICON: &[u8] = include_bytes!("../../../console/icon.svg");

/// Nothing may come from elsewhere, and nothing inline: strings from outside stay text. The one thing
/// framed is an experiment's report, which comes with a policy of its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where the page's files come from.
#[derive(Debug, Clone, Default)]
pub struct Console {
    /// A folder to read instead of the embedded files, so that an edit shows on reload.
    pub folder: Option<PathBuf>,
}

impl Console {
    /// The file at `path` (no leading slash), or a 404.
    pub(crate) fn file(&self, path: &str) -> Response {
        // Tests and notes lie beside the page; they are not part of it.
        let is_plain =
            path.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\\'));
        let Some(content_type) = content_type(path).filter(|_| is_plain && !path.starts_with("test/")) else {
            return ApiError::not_found("page", path).into_response();
        };
        let bytes = match &self.folder {
            Some(folder) => std::fs::read(folder.join(Path::new(path))).ok(),
            None => embedded(path).map(<[u8]>::to_vec),
        };
        match bytes {
            Some(bytes) => (headers(content_type), bytes).into_response(),
            None => ApiError::not_found("page", path).into_response(),
        }
    }
}

fn embedded(path: &str) -> Option<&'static [u8]> {
    match path.split_once('/') {
        Some(("css", name)) => STYLES.get_file(name).map(include_dir::File::contents),
        Some(("js", name)) => SCRIPTS.get_file(name).map(include_dir::File::contents),
        None if path == "index.html" => Some(INDEX),
        None if path == "icon.svg" => Some(ICON),
        _ => None,
    }
}

fn headers(content_type: &'static str) -> [(HeaderName, &'static str); 4] {
    [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-cache"),
    ]
}

fn content_type(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "webmanifest" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}
