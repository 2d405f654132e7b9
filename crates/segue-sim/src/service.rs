//! What simulated listeners listen through: anything that composes slates and takes events.

use std::time::Duration;

use segue_types::api::{ErrorResponse, EventsRequest, EventsResponse, SlateRequest, SlateResponse};
use segue_types::{Event, Slate, TimestampMs};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::SimError;

/// A recommender as a client meets it. Called from several threads.
pub trait SlateService: Sync {
    /// Composes a Home page.
    ///
    /// # Errors
    /// [`SimError::Service`]; the listener goes on without the page.
    fn home(&self, request: &SlateRequest) -> Result<Slate, SimError>;

    /// Composes the queue behind the current track.
    ///
    /// # Errors
    /// [`SimError::Service`]; the listener goes on without the queue.
    fn now_playing(&self, request: &SlateRequest) -> Result<Slate, SimError>;

    /// Takes events, at most 1,000, at the moment `now`.
    ///
    /// # Errors
    /// [`SimError::Service`]; the events may be sent again, they carry their ids.
    fn report(&self, events: Vec<Event>, now: TimestampMs) -> Result<EventsResponse, SimError>;
}

/// A running server, over plain HTTP with connections kept alive.
#[derive(Debug)]
pub struct HttpService {
    agent: ureq::Agent,
    base: String,
}

impl HttpService {
    /// The server at `url`, such as `http://127.0.0.1:8080`; requests give up after `timeout`.
    #[must_use]
    pub fn new(url: &str, timeout: Duration) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // It has no authorities to trust, so that it cannot be led on to https.
            .max_redirects(0)
            .proxy(None)
            .build()
            .new_agent();
        Self { agent, base: url.trim_end_matches('/').to_owned() }
    }

    fn post<B: Serialize, T: DeserializeOwned>(&self, path: &'static str, body: &B) -> Result<T, SimError> {
        let failed = |detail: String| SimError::Service { what: path, detail };
        let url = format!("{}{path}", self.base);
        if !url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
            return Err(failed(format!(
                "{url}: simulated listeners speak plain HTTP; name an http:// address"
            )));
        }
        let mut response = self.agent.post(&url).send_json(body).map_err(|e| failed(e.to_string()))?;
        let status = response.status();
        let text = response.body_mut().read_to_string().map_err(|e| failed(e.to_string()))?;
        if !status.is_success() {
            let detail = match serde_json::from_str::<ErrorResponse>(&text) {
                Ok(error) => format!("status {status}, {}: {}", error.code, error.message),
                Err(_) => format!("status {status}"),
            };
            return Err(failed(detail));
        }
        serde_json::from_str(&text)
            .map_err(|e| failed(format!("the answer is not the one of the contract: {e}")))
    }
}

impl SlateService for HttpService {
    fn home(&self, request: &SlateRequest) -> Result<Slate, SimError> {
        self.post::<_, SlateResponse>("/v1/home", request).map(|r| r.slate)
    }

    fn now_playing(&self, request: &SlateRequest) -> Result<Slate, SimError> {
        self.post::<_, SlateResponse>("/v1/now-playing", request).map(|r| r.slate)
    }

    fn report(&self, events: Vec<Event>, now: TimestampMs) -> Result<EventsResponse, SimError> {
        self.post("/v1/events", &EventsRequest { events, now: Some(now) })
    }
}
