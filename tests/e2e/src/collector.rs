//! A collector of traces as any program could send to: OTLP over http/protobuf, kept in memory, printed as trees.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The largest export that is taken, in bytes.
const BODY_MAX: usize = 64 << 20;

/// A span as it arrived.
#[derive(Clone, Debug)]
pub struct Collected {
    /// The service that made it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// The trace, in hexadecimal.
    pub trace: String,
    /// Its id, in hexadecimal.
    pub id: String,
    /// The span that it is a part of; empty for a root.
    pub parent: String,
    /// Traces and spans that it is linked to.
    pub links: Vec<(String, String)>,
    /// What it says.
    pub attributes: BTreeMap<String, String>,
    /// What its status says, of one that failed.
    pub error: Option<String>,
    /// What happened in it: the lines of the log.
    pub events: Vec<String>,
    /// When it began, in nanoseconds since 1970.
    pub began_ns: u64,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
}

/// The spans that arrived.
type Spans = Arc<Mutex<Vec<Collected>>>;

/// An OTLP collector on a port of its own.
pub struct Collector {
    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` has to say.
    pub url: String,
    spans: Spans,
    server: JoinHandle<()>,
}

impl Collector {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let spans = Spans::default();
        let routes = Router::new().route("/v1/traces", post(take)).layer(DefaultBodyLimit::max(BODY_MAX));
        let routes = routes.with_state(Arc::clone(&spans));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { url, spans, server }
    }

    /// What a process needs to export to it, and soon.
    pub fn environment(&self) -> [(String, String); 2] {
        [("OTEL_EXPORTER_OTLP_ENDPOINT", self.url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "200")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    /// Every span that arrived.
    pub fn spans(&self) -> Vec<Collected> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans of one trace, by when they began.
    pub fn trace(&self, id: uuid::Uuid) -> Vec<Collected> {
        let id = id.simple().to_string();
        let mut spans: Vec<_> = self.spans().into_iter().filter(|span| span.trace == id).collect();
        spans.sort_by_key(|span| span.began_ns);
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A trace as a tree, a line per span, each under its parent.
pub fn tree(spans: &[Collected]) -> String {
    let mut text = String::new();
    for root in spans.iter().filter(|span| spans.iter().all(|other| other.id != span.parent)) {
        branch(spans, root, 0, &mut text);
    }
    text
}

fn branch(spans: &[Collected], span: &Collected, depth: usize, text: &mut String) {
    let told: Vec<String> = span
        .attributes
        .iter()
        .filter(|(name, _)| name.starts_with("regua.") || name.starts_with("http.response"))
        .map(|(name, value)| format!("{}={value}", name.trim_start_matches("regua.")))
        .collect();
    let links = span.links.iter().fold(String::new(), |text, (trace, _)| text + " → trace " + &trace[..8]);
    let error = span.error.as_deref().map(|error| format!(" ERROR {error}")).unwrap_or_default();
    let (indent, took) = ("  ".repeat(depth), span.took_ns / 1000);
    writeln!(text, "{indent}{} [{}] {took} µs {}{error}{links}", span.name, span.service, told.join(" "))
        .expect("a String takes all text");
    for child in spans.iter().filter(|other| other.parent == span.id) {
        branch(spans, child, depth + 1, text);
    }
}

async fn take(State(spans): State<Spans>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for of_resource in request.resource_spans {
        let resource = texts(of_resource.resource.unwrap_or_default().attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let arrived = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(arrived.map(|span| collected(&service, span)));
    }
    StatusCode::OK
}

fn collected(service: &str, span: Span) -> Collected {
    let status = span.status.clone().unwrap_or_default();
    Collected {
        service: service.to_owned(),
        kind: span.kind(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        error: (status.code() == SpanStatus::Error).then_some(status.message),
        events: span.events.into_iter().map(|event| format!("{} {:?}", event.name, texts(event.attributes))).collect(),
        attributes: texts(span.attributes),
        name: span.name,
        began_ns: span.start_time_unix_nano,
        took_ns: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        None => String::new(),
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(yes)) => yes.to_string(),
        Some(other) => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
