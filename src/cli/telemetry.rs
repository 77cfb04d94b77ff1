//! Traces and metrics for an OpenTelemetry collector, in builds with the feature `otel`.
//!
//! The names are those of [`crate::spans`]; this file only carries them out of the process. Traces leave
//! in batches from a thread of their own and never hold up the work; a collector that is away loses them
//! and nothing else.

#[cfg(feature = "otel")]
pub use exporting::Telemetry;

#[cfg(not(feature = "otel"))]
pub use absent::Telemetry;

#[cfg(feature = "otel")]
mod exporting {
    use std::time::Duration;

    use opentelemetry::KeyValue;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::Subscriber;
    use tracing::level_filters::LevelFilter;
    use tracing_opentelemetry::MetricsLayer;
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::registry::LookupSpan;
    use url::Url;

    use crate::error::Error;
    use crate::spans::{METRICS, SPANS};

    /// How long the last spans and metrics may take to leave.
    const LAST_WORDS: Duration = Duration::from_secs(5);

    /// What carries traces and metrics to a collector.
    #[derive(Debug)]
    pub struct Telemetry {
        traces: SdkTracerProvider,
        metrics: SdkMeterProvider,
    }

    impl Telemetry {
        /// A way to the collector at `endpoint`, to whose path `/v1/traces` and `/v1/metrics` are
        /// appended; none without an endpoint. Headers are taken from `OTEL_EXPORTER_OTLP_HEADERS`
        /// and the service's name from `OTEL_SERVICE_NAME`, as is usual.
        pub fn to(endpoint: Option<&Url>) -> Result<Option<Self>, Error> {
            let Some(endpoint) = endpoint else { return Ok(None) };
            let base = endpoint.as_str().trim_end_matches('/');
            let refused = |error: opentelemetry_otlp::ExporterBuildError| {
                Error::settings("otlp_endpoint cannot be used").because(error)
            };
            let spans = SpanExporter::builder()
                .with_http()
                .with_endpoint(format!("{base}/v1/traces"))
                .build()
                .map_err(refused)?;
            let metrics = MetricExporter::builder()
                .with_http()
                .with_endpoint(format!("{base}/v1/metrics"))
                .build()
                .map_err(refused)?;
            let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
            let resource = Resource::builder().with_attribute(version);
            let resource = if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
                resource.with_service_name("aida").build()
            } else {
                resource.build()
            };
            Ok(Some(Self {
                traces: SdkTracerProvider::builder()
                    .with_resource(resource.clone())
                    .with_batch_exporter(spans)
                    .build(),
                metrics: SdkMeterProvider::builder()
                    .with_resource(resource)
                    .with_periodic_exporter(metrics)
                    .build(),
            }))
        }

        /// What hands spans and metrics over.
        pub fn layer<S>(&self) -> impl Layer<S> + use<S>
        where
            S: Subscriber + for<'span> LookupSpan<'span>,
        {
            let only = |target| Targets::new().with_target(target, LevelFilter::INFO);
            let spans = tracing_opentelemetry::layer()
                .with_tracer(self.traces.tracer("aida"))
                .with_filter(only(SPANS));
            let metrics = MetricsLayer::new(self.metrics.clone()).with_filter(only(METRICS));
            spans.and_then(metrics)
        }

        /// Sends what has not been sent yet, for a few seconds at most.
        pub async fn finish(self) {
            let sending = tokio::task::spawn_blocking(move || {
                // A collector that is away loses the last of it; nobody can be told any more.
                let _ = self.traces.shutdown_with_timeout(LAST_WORDS);
                let _ = self.metrics.shutdown_with_timeout(LAST_WORDS);
            });
            let _ = tokio::time::timeout(2 * LAST_WORDS, sending).await;
        }
    }
}

#[cfg(not(feature = "otel"))]
mod absent {
    use tracing::Subscriber;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::Identity;
    use url::Url;

    use crate::error::Error;

    /// Stands where traces and metrics would leave, in a build without the feature.
    #[derive(Debug)]
    pub enum Telemetry {}

    impl Telemetry {
        /// None: this build sends nothing.
        pub fn to(_endpoint: Option<&Url>) -> Result<Option<Self>, Error> {
            Ok(None)
        }

        /// Nothing.
        pub fn layer<S: Subscriber>(&self) -> impl Layer<S> + use<S> {
            match *self {}
            #[allow(unreachable_code, reason = "it says of what type nothing is")]
            Identity::new()
        }

        /// Nothing.
        #[expect(clippy::unused_async, reason = "the other build waits here")]
        pub async fn finish(self) {
            match self {}
        }
    }
}
