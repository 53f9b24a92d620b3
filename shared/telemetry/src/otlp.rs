//! The export of traces to a collector, by OTLP over http/protobuf.
//!
//! The SDK's batch processor works on a thread of its own, so the exporter must have a *blocking* client: an asynchronous one panics there
//! ("there is no reactor running", open-telemetry/opentelemetry-rust#3125) and not one span is ever sent. Everything that may block (building
//! the client, flushing) therefore happens off the asynchronous runtime, and a test asserts that a span really arrives.

use crate::config::Export;
use crate::metrics::MetricFamily;
use crate::spans::{Ids, MESSAGE_ID};
use crate::tls::install_tls_provider;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Status, TraceId, TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter, SpanProcessor,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// The name of the instrumentation.
const TRACER: &str = "regua";
/// Spans that wait for the collector: about ten seconds of a fast dispatcher, tens of megabytes at worst.
const QUEUE_MAX: usize = 8192;

/// How long the end of a process waits for the collector to take the last spans.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The exporter can't be built.
#[derive(Debug, thiserror::Error)]
#[error("the exporter can't be built")]
pub struct BuildError(#[from] ExporterBuildError);

/// Starts the export to `endpoint` (whole, with its path) in the name of `service`, or of `OTEL_SERVICE_NAME` if the process has one.
pub(crate) fn start(service: &'static str, export: &Export) -> Result<(SdkTracer, Guard), BuildError> {
    install_tls_provider();
    let builder = opentelemetry_otlp::SpanExporter::builder().with_http();
    let exporter = builder.with_protocol(Protocol::HttpBinary).with_endpoint(export.endpoint.as_str()).build()?;
    let fates = Fates::default();
    let exporter = Reporting { exporter, failing: AtomicBool::new(false), fates: fates.clone() };
    let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE_MAX).build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_id_generator(Ids::default())
        .with_span_processor(Sifting { batches, share: export.share, fates: fates.clone() })
        .with_resource(resource(service))
        .build();
    Ok((provider.tracer(TRACER), Guard { provider: Some(provider), flush_max: FLUSH_MAX, fates: Some(fates) }))
}

/// Without a collector: spans have their ids, which the lines of the log and the broker's messages carry, and go nowhere.
pub(crate) fn start_without_export() -> (SdkTracer, Guard) {
    let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_id_generator(Ids::default()).build();
    (provider.tracer(TRACER), Guard { provider: Some(provider), flush_max: FLUSH_MAX, fates: None })
}

fn resource(service: &'static str) -> Resource {
    let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| service.to_owned());
    Resource::builder()
        .with_service_name(name)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()))
        .build()
}

/// What became of the spans that ended.
#[derive(Clone, Debug, Default)]
pub struct Fates(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicU64,
    exported: AtomicU64,
    lost: AtomicU64,
    sifted_out: AtomicU64,
}

impl Fates {
    /// `regua_spans_total`.
    pub(crate) fn family(&self) -> MetricFamily {
        let help = "Spans that ended, by what became of them: exported, lost (the collector failed or was too slow) or sifted_out \
                    (of messages that went well, beyond their share).";
        let family = MetricFamily::counter("regua_spans_total", help);
        [("exported", &self.0.exported), ("lost", &self.0.lost), ("sifted_out", &self.0.sifted_out)]
            .into_iter()
            .fold(family, |family, (fate, count)| family.count(&[("fate", fate)], count.load(Ordering::Relaxed)))
    }

    /// Whether the queue takes one more; the last eighth of it is kept for failures.
    fn queued(&self, is_failure: bool) -> bool {
        let room = (if is_failure { QUEUE_MAX } else { QUEUE_MAX / 8 * 7 }) as u64;
        let has_room = |waiting: u64| (waiting < room).then_some(waiting + 1);
        let queued = self.0.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room).is_ok();
        if !queued {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    fn left(&self, spans: usize, exported: bool) {
        let fate = if exported { &self.0.exported } else { &self.0.lost };
        fate.fetch_add(spans as u64, Ordering::Relaxed);
        self.0.waiting.fetch_sub(spans as u64, Ordering::Relaxed);
    }
}

/// Lets the spans of messages that went well through in a share of their traces, and all others: a failure's own span is never missing.
#[derive(Debug)]
struct Sifting {
    batches: BatchSpanProcessor,
    share: f64,
    fates: Fates,
}

const fn is_failure(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}

impl Sifting {
    fn lets_through(&self, span: &SpanData) -> bool {
        let is_of_a_message = || span.attributes.iter().any(|attribute| attribute.key.as_str() == MESSAGE_ID);
        is_failure(span) || is_within(self.share, span.span_context.trace_id()) || !is_of_a_message()
    }
}

/// Whether a trace is of the share: by its last four bytes. Of our own ids these alone are drawn anew for each; what stands before them counts up.
fn is_within(share: f64, trace: TraceId) -> bool {
    let [.., a, b, c, d] = trace.to_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0) < share
}

impl SpanProcessor for Sifting {
    fn on_start(&self, span: &mut opentelemetry_sdk::trace::Span, context: &opentelemetry::Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !self.lets_through(&span) {
            self.fates.0.sifted_out.fetch_add(1, Ordering::Relaxed);
        } else if self.fates.queued(is_failure(&span)) {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Says once that the collector fails and once that it is back, instead of once per batch. The failure ends here.
#[derive(Debug)]
struct Reporting<E> {
    exporter: E,
    failing: AtomicBool,
    fates: Fates,
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        self.fates.left(spans, exported.is_ok());
        match exported {
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
    fates: Option<Fates>,
}

impl Guard {
    /// What becomes of the spans; `None` if no collector is named.
    pub fn fates(&self) -> Option<Fates> {
        self.fates.clone()
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
    use url::Url;

    fn export(address: std::net::SocketAddr) -> Export {
        Export { endpoint: Url::parse(&format!("http://{address}/v1/traces")).unwrap(), share: 1.0 }
    }

    /// Emits `count` spans, as a service would.
    fn emit(export: &Export, flush_max: Duration, count: usize) -> Guard {
        let (tracer, mut guard) = start("the-service", export).unwrap();
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
        let export = export(listener.local_addr().unwrap());
        let (sender, mut received) = tokio::sync::mpsc::channel(8);
        let collector = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
            sender.send((uri, headers, body)).await.unwrap();
        });
        let server = tokio::spawn(axum::serve(listener, collector).into_future());

        // Built and dropped on the runtime, as an asynchronous main does.
        drop(emit(&export, Duration::from_secs(30), 1));

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
    fn the_share_is_one_of_messages_and_not_of_milliseconds() {
        let ids: Vec<_> = (0..20_000).map(|_| TraceId::from_bytes(*uuid::Uuid::now_v7().as_bytes())).collect();
        let within: Vec<bool> = ids.iter().map(|id| is_within(0.1, *id)).collect();
        let number = within.iter().filter(|within| **within).count();
        assert!((1_600..2_400).contains(&number), "{number}: nine standard deviations around 2000");
        let changes = within.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes > 3_000, "{changes}: of neighbours that have nothing to do with one another it is 3600");
        assert!(ids.iter().all(|id| is_within(1.0, *id) && !is_within(0.0, *id)));
    }

    #[test]
    fn a_full_queue_still_takes_failures() {
        let fates = Fates::default();
        let taken = (0..=QUEUE_MAX).filter(|_| fates.queued(false)).count();
        let failures = (0..=QUEUE_MAX).filter(|_| fates.queued(true)).count();
        assert_eq!((taken, failures), (QUEUE_MAX / 8 * 7, QUEUE_MAX / 8));
    }

    #[test]
    fn a_collector_that_is_gone_delays_nothing() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let before = Instant::now();
        let guard = emit(&export(closed), Duration::from_secs(10), 10_000);
        assert!(before.elapsed() < Duration::from_secs(5), "emitting took {:?}", before.elapsed());
        drop(guard);
        assert!(before.elapsed() < Duration::from_secs(25), "flushing took {:?}", before.elapsed());
    }

    #[test]
    fn a_collector_that_never_answers_delays_the_end_by_the_bound_only() {
        // Connections wait in the backlog for ever.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let guard = emit(&export(silent.local_addr().unwrap()), Duration::from_millis(100), 10);
        let before = Instant::now();
        drop(guard);
        let took = before.elapsed();
        assert!((Duration::from_millis(100)..Duration::from_secs(5)).contains(&took), "flushing took {took:?}");
    }
}
