//! The export of traces to a collector, by OTLP over http/protobuf.
//!
//! The SDK's batch processor works on a thread of its own, so the exporter must have a *blocking* client: an asynchronous one panics there
//! ("there is no reactor running", open-telemetry/opentelemetry-rust#3125) and not one span is ever sent. Everything that may block (building
//! the client, flushing) therefore happens off the asynchronous runtime, and a test asserts that a span really arrives.

use crate::tls::install_tls_provider;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use url::Url;

/// How long the end of a process waits for the collector to take the last spans.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The exporter can't be built.
#[derive(Debug, thiserror::Error)]
#[error("the exporter can't be built")]
pub struct BuildError(#[from] ExporterBuildError);

/// Starts the export to `endpoint` (whole, with its path) in the name of `service`, or of `OTEL_SERVICE_NAME` if the process has one.
pub(crate) fn start(service: &'static str, endpoint: &Url) -> Result<(SdkTracer, Guard), BuildError> {
    install_tls_provider();
    let builder = opentelemetry_otlp::SpanExporter::builder().with_http();
    let exporter = builder.with_protocol(Protocol::HttpBinary).with_endpoint(endpoint.as_str()).build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Reporting { exporter, failing: AtomicBool::new(false) })
        .with_resource(resource(service))
        .build();
    Ok((provider.tracer("regua"), Guard { provider: Some(provider), flush_max: FLUSH_MAX }))
}

fn resource(service: &'static str) -> Resource {
    let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| service.to_owned());
    Resource::builder()
        .with_service_name(name)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()))
        .build()
}

/// Says once that the collector fails and once that it is back, instead of once per batch. The failure ends here.
#[derive(Debug)]
struct Reporting<E> {
    exporter: E,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        match self.exporter.export(batch).await {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => tracing::info!("the trace collector takes spans again"),
            Ok(()) => {}
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, spans, "the trace collector takes no spans; they are dropped until it does, nothing else is affected");
            }
            Err(error) => tracing::debug!(%error, spans, "spans dropped"),
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Sends what is still waiting when it is dropped, for at most two seconds.
#[derive(Debug)]
#[must_use = "dropping it ends the export of traces"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
    flush_max: Duration,
}

impl Guard {
    /// Guards nothing: no collector is named.
    pub(crate) const fn none() -> Self {
        Self { provider: None, flush_max: FLUSH_MAX }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(provider) = self.provider.take() else { return };
        let flush_max = self.flush_max;
        let (done, flushed) = mpsc::sync_channel(1);
        let flush = move || done.send(provider.shutdown_with_timeout(flush_max));
        if let Err(error) = std::thread::Builder::new().name("otlp-flush".to_owned()).spawn(flush) {
            tracing::warn!(%error, "the last spans are lost");
            return;
        }
        // The second bound is for a provider that doesn't keep to the first.
        match flushed.recv_timeout(flush_max * 2) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans are lost"),
            Err(error) => tracing::warn!(%error, "the last spans are lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Bytes;
    use axum::http::{HeaderMap, Uri};
    use std::net::TcpListener;
    use std::time::Instant;
    use tracing_subscriber::layer::SubscriberExt;

    fn endpoint(address: std::net::SocketAddr) -> Url {
        Url::parse(&format!("http://{address}/v1/traces")).unwrap()
    }

    /// Emits `count` spans towards `endpoint`, as a service would.
    fn emit(endpoint: &Url, flush_max: Duration, count: usize) -> Guard {
        let (tracer, mut guard) = start("the-service", endpoint).unwrap();
        guard.flush_max = flush_max;
        let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..count {
                tracing::info_span!("the-span", number).in_scope(|| {});
            }
        });
        guard
    }

    fn contains(haystack: &[u8], needle: &str) -> bool {
        haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_span_really_arrives_with_the_name_and_version_of_its_service() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(listener.local_addr().unwrap());
        let (sender, mut received) = tokio::sync::mpsc::channel(8);
        let collector = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
            sender.send((uri, headers, body)).await.unwrap();
        });
        let server = tokio::spawn(axum::serve(listener, collector).into_future());

        // Built and dropped on the runtime, as an asynchronous main does.
        drop(emit(&endpoint, Duration::from_secs(30), 1));

        let (uri, headers, body) = received.try_recv().expect("the guard returns only when its spans were taken");
        assert_eq!(uri.path(), "/v1/traces");
        assert_eq!(headers["content-type"], "application/x-protobuf");
        for part in
            ["the-span", "service.name", "the-service", "service.version", env!("CARGO_PKG_VERSION"), "service.instance.id"]
        {
            assert!(contains(&body, part), "{part} is missing");
        }
        server.abort();
    }

    #[test]
    fn a_collector_that_is_gone_delays_nothing() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let before = Instant::now();
        let guard = emit(&endpoint(closed), Duration::from_secs(10), 10_000);
        assert!(before.elapsed() < Duration::from_secs(5), "emitting took {:?}", before.elapsed());
        drop(guard);
        assert!(before.elapsed() < Duration::from_secs(25), "flushing took {:?}", before.elapsed());
    }

    #[test]
    fn a_collector_that_never_answers_delays_the_end_by_the_bound_only() {
        // Connections wait in the backlog for ever.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let guard = emit(&endpoint(silent.local_addr().unwrap()), Duration::from_millis(100), 10);
        let before = Instant::now();
        drop(guard);
        let took = before.elapsed();
        assert!((Duration::from_millis(100)..Duration::from_secs(5)).contains(&took), "flushing took {took:?}");
    }
}
