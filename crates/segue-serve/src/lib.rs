//! The HTTP API and the console over one [`Engine`].
//!
//! Routes parse, leave the async threads, call the engine and answer; they hold no logic of their
//! own. Every error is JSON with a stable code. `/openapi.json` is generated from the types.
//!
//! ```no_run
//! use std::sync::Arc;
//! use segue_engine::{Engine, EngineConfig};
//! use segue_serve::{Clock, Console, Server};
//! use segue_types::TimestampMs;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::open("segue-home".as_ref(), EngineConfig::default(), TimestampMs(0))?;
//! let server = Server::new(Arc::new(engine), Clock::machine(), Console::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//! server.run(listener, std::future::pending()).await?;
//! # Ok(()) }
//! ```

mod clock;
mod console;
mod error;
mod metrics;
mod openapi;
mod routes;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use segue_engine::Engine;
use tokio::net::TcpListener;

pub use clock::Clock;
pub use console::Console;
pub use error::ApiError;
pub use openapi::openapi_json;

/// Bodies above this many bytes are refused: 1,000 events or items with room to spare.
pub const MAX_BODY_BYTES: usize = 8 << 20;
/// Events or items per call.
pub const MAX_BATCH: usize = 1_000;

/// What every route can reach.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Clock,
    pub(crate) console: Console,
    pub(crate) metrics: metrics::Metrics,
}

/// One engine behind HTTP.
#[derive(Debug, Clone)]
pub struct Server {
    app: Arc<App>,
}

impl Server {
    /// A server over an open engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>, clock: Clock, console: Console) -> Self {
        Self { app: Arc::new(App { engine, clock, console, metrics: metrics::Metrics::new() }) }
    }

    /// All routes; tests call it without a socket.
    pub fn router(&self) -> Router {
        routes::router(Arc::clone(&self.app))
    }

    /// Serves until `stop` resolves, then finishes the requests in flight.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn run(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(stop).await
    }
}
