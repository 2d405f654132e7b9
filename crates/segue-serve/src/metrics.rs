//! `/metrics`: counters and latencies in the Prometheus text format.

use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: String,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Every metric of the server. Labels are route patterns and configured stage names, never ids.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RouteLabels, Histogram>,
    stages: Family<StageLabels, Histogram>,
    events: Family<OutcomeLabels, Counter>,
}

/// 50 µs to about 13 s.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 2.0, 19))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("segue");
        let requests = Family::<RouteLabels, Histogram>::new_with_constructor(latency);
        let stages = Family::<StageLabels, Histogram>::new_with_constructor(latency);
        let events = Family::<OutcomeLabels, Counter>::default();
        registry.register_with_unit(
            "request",
            "Time from request to answer",
            Unit::Seconds,
            requests.clone(),
        );
        registry.register_with_unit("stage", "Time of one stage of a slate", Unit::Seconds, stages.clone());
        registry.register("events", "Events received, by what became of them", events.clone());
        Self { registry: Mutex::new(registry), requests, stages, events }
    }

    pub(crate) fn request(&self, route: &str, status: u16, took: Duration) {
        let labels = RouteLabels { route: route.to_owned(), status };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn stage(&self, stage: &str, status: &str, took_us: u64) {
        let labels = StageLabels { stage: stage.to_owned(), status: status.to_owned() };
        self.stages.get_or_create(&labels).observe(took_us as f64 * 1e-6);
    }

    pub(crate) fn events(&self, n_accepted: u64, n_duplicates: u64, n_rejected: u64) {
        for (outcome, n) in [("accepted", n_accepted), ("duplicate", n_duplicates), ("rejected", n_rejected)]
        {
            self.events.get_or_create(&OutcomeLabels { outcome }).inc_by(n);
        }
    }

    /// The text of `/metrics`.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Writing into a string cannot fail.
        let _ = encode(&mut out, &registry);
        out
    }
}
