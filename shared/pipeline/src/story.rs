//! The spans of the pipeline: one place for what they are called and say.
//!
//! A run's trace begins with its tick and has the run's id; it goes on with the run and its batches. A message's trace has the message's id; it
//! begins with the first attempt, goes on with every later one, whichever process makes it and on whatever day, and with receipts, and each
//! attempt is linked to the run that decided the message. Names are those of OpenTelemetry's semantic conventions; what these lack begins with
//! `regua.`. Nothing of a customer is said, only ids, closed names and counts.

use regua_broker::Broker;
use regua_domain::ids::{AttemptId, MessageId, RunId};
use regua_domain::receipt::ReceiptStatus;
use regua_domain::schedule::TaskKind;
use regua_ledger::receipts::Told;
use regua_telemetry::spans::{self, MESSAGE_ID, note};
use regua_telemetry::trace_context::TraceContext;
use tracing::Span;

const RUN_ID: &str = "regua.run.id";
const ATTEMPT_ID: &str = "regua.attempt.id";

/// The tick of a run: where its trace begins, as often as it is ticked.
pub fn tick(broker: &dyn Broker, run: RunId) -> Span {
    let span = tracing::info_span!(parent: None, "publish regua.ticks", otel.kind = "producer");
    spans::begin_story(&span, run.0);
    messaging(&span, broker, "ticks", ["send", "publish"], run.to_string());
    note(&span, RUN_ID, run.to_string());
    span
}

/// One try of a run, caused by a tick that came with `trace`.
pub fn run(broker: &dyn Broker, run: RunId, kind: TaskKind, tries: u32, trace: Option<&str>) -> Span {
    let span = tracing::info_span!(parent: None, "process regua.ticks", otel.kind = "consumer");
    match trace.and_then(TraceContext::parse) {
        Some(tick) => tick.adopt(&span),
        None => spans::begin_story(&span, run.0),
    }
    messaging(&span, broker, "ticks", ["process", "process"], run.to_string());
    note(&span, RUN_ID, run.to_string());
    note(&span, "regua.task.kind", kind.as_str());
    note(&span, "regua.run.try", i64::from(tries));
    span
}

/// A batch of a run's decisions, on its way into the ledger.
pub fn batch(messages: usize, events: usize) -> Span {
    let span = tracing::info_span!("regua.batch");
    note(&span, "regua.batch.messages", count(messages as u64));
    note(&span, "regua.batch.events", count(events as u64));
    span
}

/// The sync of a source.
pub fn sync(source: &str) -> Span {
    let span = tracing::info_span!("regua.sync");
    note(&span, "regua.source.name", source.to_owned());
    span
}

/// The first top-up after a release.
pub fn release() -> Span {
    tracing::info_span!("regua.release")
}

/// A number as an attribute.
pub fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An attempt, from its start to its settlement. It says which run decided the message, and what brought the hint, if that was traced.
pub fn attempt(broker: &dyn Broker, of: &AttemptOf<'_>) -> Span {
    let span = tracing::info_span!(parent: None, "process regua.hints", otel.kind = "consumer");
    spans::begin_part(&span, of.message.0, of.attempt.0, of.after.map(|after| after.0));
    for cause in [of.run_trace, of.hint_trace].into_iter().flatten().filter_map(TraceContext::parse) {
        cause.link(&span);
    }
    messaging(&span, broker, "hints", ["process", "process"], of.message.to_string());
    note(&span, MESSAGE_ID, of.message.to_string());
    note(&span, ATTEMPT_ID, of.attempt.to_string());
    note(&span, "regua.attempt.number", i64::from(of.number));
    span
}

/// Which attempt it is.
#[derive(Clone, Copy, Debug)]
pub struct AttemptOf<'a> {
    /// The message.
    pub message: MessageId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The message's attempt before.
    pub after: Option<AttemptId>,
    /// Which attempt it is, from 1.
    pub number: u32,
    /// The `traceparent` of the run.
    pub run_trace: Option<&'a str>,
    /// The `traceparent` that came with the hint.
    pub hint_trace: Option<&'a str>,
}

/// The request of the current attempt, to the API at `base_url`.
pub fn request(base_url: &str, message: MessageId) -> Span {
    let span = tracing::info_span!("POST /template/send", otel.kind = "client");
    note(&span, MESSAGE_ID, message.to_string());
    note(&span, "http.request.method", "POST");
    note(&span, "url.template", "/template/send");
    note(&span, "url.full", format!("{}/template/send", base_url.trim_end_matches('/')));
    if let Ok(url) = url::Url::parse(base_url) {
        note(&span, "server.address", url.host_str().unwrap_or_default().to_owned());
        note(&span, "server.port", url.port_or_known_default().map_or(0, i64::from));
    }
    span
}

/// Nobody reported the attempt within its lease: its own span is lost with whoever made it, so this one says that there is doubt.
pub fn rescued(message: MessageId, attempt: AttemptId) {
    let span = tracing::info_span!(parent: None, "regua.rescue");
    TraceContext::of(message.0, attempt.0).adopt(&span);
    note(&span, MESSAGE_ID, message.to_string());
    note(&span, ATTEMPT_ID, attempt.to_string());
    spans::fail(&span, "lease_expired");
}

/// What a receipt tells of an attempt.
pub fn receipt(told: &Told, contradicts: bool) -> Span {
    let span = tracing::info_span!(parent: None, "regua.receipt");
    match told.attempt {
        Some(attempt) => TraceContext::of(told.message.0, attempt.0).adopt(&span),
        None => spans::begin_story(&span, told.message.0),
    }
    note(&span, MESSAGE_ID, told.message.to_string());
    note(&span, "regua.receipt.status", told.status.as_str());
    if contradicts {
        spans::fail(&span, "contradicts");
    } else if told.status == ReceiptStatus::Failed {
        spans::fail(&span, "not_delivered");
    }
    span
}

/// A message that went out twice, as a receipt proves.
pub fn doubled(message: MessageId) -> Span {
    let span = tracing::info_span!(parent: None, "regua.doubled");
    spans::begin_story(&span, message.0);
    note(&span, MESSAGE_ID, message.to_string());
    spans::fail(&span, "doubled");
    span
}

fn messaging(span: &Span, broker: &dyn Broker, key: &'static str, [kind, name]: [&'static str; 2], id: String) {
    note(span, "messaging.system", broker.system());
    // As the conventions have it for RabbitMQ: exchange, routing key, queue.
    note(span, "messaging.destination.name", format!("regua:{key}:regua.{key}"));
    note(span, "messaging.rabbitmq.destination.routing_key", key);
    note(span, "messaging.operation.type", kind);
    note(span, "messaging.operation.name", name);
    note(span, "messaging.message.id", id);
}
