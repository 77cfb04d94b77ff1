//! What operators watch, as Prometheus reads it.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::store::queue::Depth;

type Labels = Vec<(&'static str, String)>;

/// Counts of one process. Money stands in the books, which every host shares: `aida costs`.
#[derive(Debug)]
pub(super) struct Counts {
    registry: Registry,
    requests: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    films: Family<Labels, Counter>,
    at_work: Gauge,
    waiting: Gauge,
    driven: Gauge,
    settled: Gauge<f64, AtomicU64>,
    unknown: Gauge<f64, AtomicU64>,
    cache_hit_rate: Gauge<f64, AtomicU64>,
}

/// What the database says when the counts are read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Books {
    /// How full the queue is.
    pub(super) depth: Depth,
    /// Settled since the beginning, USD; a display figure, the books have the decimals.
    pub(super) settled_usd: f64,
    /// Ceilings of calls of unknown outcome, USD.
    pub(super) unknown_usd: f64,
    /// The share of input tokens read from the prompt cache over thirty days, if there were any.
    pub(super) cache_hit_rate: Option<f64>,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 12))
}

impl Default for Counts {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("aida");
        let counts = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            films: Family::default(),
            at_work: Gauge::default(),
            waiting: Gauge::default(),
            driven: Gauge::default(),
            settled: Gauge::default(),
            unknown: Gauge::default(),
            cache_hit_rate: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests answered", counts.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "How long answers took",
            Unit::Seconds,
            counts.durations.clone(),
        );
        registry.register("films_ended", "Films let go of here, by outcome", counts.films.clone());
        registry.register("films_at_work", "Films made here just now", counts.at_work.clone());
        registry.register("queue_waiting", "Films that nobody makes yet", counts.waiting.clone());
        registry.register("queue_driven", "Films made on any host", counts.driven.clone());
        registry.register("settled_usd", "Settled in all, USD", counts.settled.clone());
        registry.register(
            "unknown_usd",
            "Ceilings of calls whose outcome is unknown, USD",
            counts.unknown.clone(),
        );
        registry.register(
            "prompt_cache_hit_ratio",
            "Share of input tokens read from the prompt cache over thirty days",
            counts.cache_hit_rate.clone(),
        );
        Self { registry, ..counts }
    }
}

impl Counts {
    /// A request was answered.
    pub(super) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (("method", method.to_owned()), ("route", route.to_owned()));
        self.durations
            .get_or_create(&vec![method.clone(), route.clone()])
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&vec![method, route, ("status", status.to_string())]).inc();
    }

    /// A film was taken up.
    pub(super) fn film_begins(&self) {
        self.at_work.inc();
    }

    /// A film was let go of.
    pub(super) fn film_ends(&self, outcome: &str) {
        self.at_work.dec();
        self.films.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// Everything as text, with what the books say.
    pub(super) fn text(&self, books: Books) -> Result<String, std::fmt::Error> {
        self.waiting.set(books.depth.waiting);
        self.driven.set(books.depth.driven);
        self.settled.set(books.settled_usd);
        self.unknown.set(books.unknown_usd);
        self.cache_hit_rate.set(books.cache_hit_rate.unwrap_or(f64::NAN));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_can_read_it() {
        let counts = Counts::default();
        counts.answered("GET", "/health", 200, Duration::from_millis(2));
        counts.film_begins();
        counts.film_ends("done");
        let depth = Depth { waiting: 3, driven: 1 };
        let text = counts.text(Books { depth, settled_usd: 1.5, ..Books::default() }).unwrap();
        assert!(
            text.contains(
                r#"aida_http_requests_total{method="GET",route="/health",status="200"} 1"#
            ),
            "{text}"
        );
        assert!(text.contains("aida_queue_waiting 3"), "{text}");
        assert!(text.contains("aida_settled_usd 1.5"), "{text}");
        assert!(text.contains(r#"aida_films_ended_total{outcome="done"} 1"#), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
