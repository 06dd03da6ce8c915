//! What the server counts about itself, for Prometheus. Counting costs an atomic addition; labels are bounded,
//! and never hold an id that a client can choose.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The media type of what `encode` returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Most Services with a label of their own; the rest share `other`.
const MAX_SERVICES: usize = 200;
/// The label of those beyond.
const OTHER: &str = "other";

type Label = [(&'static str, String); 1];
type ByLabel = Family<Label, Counter>;
type Durations = Family<Label, Histogram, fn() -> Histogram>;

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    /// Pushes that were taken in.
    pub pushes_accepted: Counter,
    /// How long after it was due an attempt was started.
    lateness: Histogram,
    families: Families,
    services: RwLock<HashMap<String, Arc<ServiceMetrics>>>,
    waiting: Gauge,
    running: Gauge,
    requests: [Counter; 5],
}

struct Families {
    accepted: ByLabel,
    delivered: ByLabel,
    failed: ByLabel,
    retried: ByLabel,
    revoked: ByLabel,
    attempts: Durations,
}

/// What is counted of one Service.
#[derive(Debug, Clone)]
pub struct ServiceMetrics {
    /// Tasks that were taken in.
    pub accepted: Counter,
    /// Tasks that arrived.
    pub delivered: Counter,
    /// Tasks that were given up.
    pub failed: Counter,
    /// Attempts that another one will follow.
    pub retried: Counter,
    /// Tasks that were taken back in time.
    pub revoked: Counter,
    attempts: Histogram,
}

impl ServiceMetrics {
    /// Records how long an attempt took.
    pub fn attempt_took(&self, time: Duration) {
        self.attempts.observe(time.as_secs_f64());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Starts counting at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("fanfare");
        let pushes_accepted = Counter::default();
        registry.register("pushes_accepted", "Pushes that were taken in", pushes_accepted.clone());
        let lateness = Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0]);
        let help = "How long after it was due an attempt was started";
        registry.register_with_unit("delivery_lateness", help, Unit::Seconds, lateness.clone());
        let families = Families::register(&mut registry);
        let states = Family::<Label, Gauge>::default();
        registry.register("tasks", "Tasks by state, now", states.clone());
        let state = |word: &str| states.get_or_create_owned(&[("state", word.to_owned())]);
        let classes = ByLabel::default();
        registry.register("http_requests", "HTTP requests by class of status", classes.clone());
        let requests = ["1xx", "2xx", "3xx", "4xx", "5xx"]
            .map(|class| classes.get_or_create_owned(&[("status", class.to_owned())]));
        let (waiting, running) = (state("waiting"), state("running"));
        let services = RwLock::default();
        Self { registry, pushes_accepted, lateness, families, services, waiting, running, requests }
    }

    /// The counters of a Service; keep them where they are used often.
    pub fn service(&self, id: &str) -> Arc<ServiceMetrics> {
        let known = self.services.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        known.unwrap_or_else(|| self.new_service(id))
    }

    fn new_service(&self, id: &str) -> Arc<ServiceMetrics> {
        let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
        let id = if services.len() < MAX_SERVICES { id } else { OTHER };
        services.entry(id.to_owned()).or_insert_with(|| Arc::new(self.families.of(id))).clone()
    }

    /// Records how long after it was due an attempt was started.
    pub fn started_late_by(&self, time: Duration) {
        self.lateness.observe(time.as_secs_f64());
    }

    /// Records how many tasks there are in the states that can pile up.
    pub fn set_tasks(&self, waiting: i64, running: i64) {
        self.waiting.set(waiting);
        self.running.set(running);
    }

    /// Records that a request was answered with this status.
    pub fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, self.requests.len()) - 1;
        self.requests[class].inc();
    }

    /// Everything as text, for a scrape.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(cause) = encode(&mut text, &self.registry) {
            // Writing to a String does not fail; a scrape that stops short must not look whole.
            text.clear();
            let _ = writeln!(text, "# not available: {cause}");
        }
        text
    }
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        let mut counter = |name: &str, help: &str| {
            let family = ByLabel::default();
            registry.register(name, help, family.clone());
            family
        };
        let (accepted, delivered) =
            (counter("tasks_accepted", "Tasks that were taken in"), counter("tasks_delivered", "Tasks that arrived"));
        let failed = counter("tasks_failed", "Tasks that were given up");
        let retried = counter("tasks_retried", "Attempts that another one follows");
        let revoked = counter("tasks_revoked", "Tasks that were taken back in time");
        let attempts = Durations::new_with_constructor(attempt_histogram);
        registry.register_with_unit("attempt_duration", "How long attempts took", Unit::Seconds, attempts.clone());
        Self { accepted, delivered, failed, retried, revoked, attempts }
    }

    fn of(&self, service: &str) -> ServiceMetrics {
        let label: Label = [("service", service.to_owned())];
        ServiceMetrics {
            accepted: self.accepted.get_or_create_owned(&label),
            delivered: self.delivered.get_or_create_owned(&label),
            failed: self.failed.get_or_create_owned(&label),
            retried: self.retried.get_or_create_owned(&label),
            revoked: self.revoked.get_or_create_owned(&label),
            attempts: self.attempts.get_or_create_owned(&label),
        }
    }
}

fn attempt_histogram() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_shows() {
        let metrics = Metrics::new();
        metrics.pushes_accepted.inc();
        metrics.service("bark").delivered.inc();
        metrics.service("bark").delivered.inc();
        metrics.service("bark").attempt_took(Duration::from_millis(30));
        metrics.started_late_by(Duration::from_millis(3));
        metrics.set_tasks(7, 2);
        metrics.answered(204);
        metrics.answered(503);
        let text = metrics.encode();
        for line in [
            "fanfare_pushes_accepted_total 1",
            "fanfare_tasks_delivered_total{service=\"bark\"} 2",
            "fanfare_tasks_failed_total{service=\"bark\"} 0",
            "fanfare_attempt_duration_seconds_bucket{le=\"0.05\",service=\"bark\"} 1",
            "fanfare_delivery_lateness_seconds_count 1",
            "fanfare_tasks{state=\"waiting\"} 7",
            "fanfare_http_requests_total{status=\"2xx\"} 1",
            "fanfare_http_requests_total{status=\"5xx\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn services_beyond_the_bound_share_a_label() {
        let metrics = Metrics::new();
        for n in 0..MAX_SERVICES + 50 {
            metrics.service(&format!("s{n}")).accepted.inc();
        }
        let text = metrics.encode();
        let labels = text.lines().filter(|line| line.starts_with("fanfare_tasks_accepted_total{")).count();
        assert_eq!(labels, MAX_SERVICES + 1);
        assert!(text.contains("fanfare_tasks_accepted_total{service=\"other\"} 50"));
    }

    #[test]
    fn odd_statuses_are_counted_all_the_same() {
        let metrics = Metrics::new();
        for status in [0, 99, 999] {
            metrics.answered(status);
        }
        assert!(metrics.encode().contains("fanfare_http_requests_total{status=\"1xx\"} 2"));
        assert!(metrics.encode().contains("fanfare_http_requests_total{status=\"5xx\"} 1"));
    }
}
