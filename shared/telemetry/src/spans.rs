//! Spans whose ids are the ledger's own: whoever knows a message's or a run's id knows its trace, without a look and on any later day.
//!
//! A *story* is one trace: of a message, from its first attempt to its receipts, or of a run. Its id is the trace's id. A *part* of it that
//! others go on from, such as an attempt, has an id in the ledger, and half of that is the span's id.

use crate::trace_context::{TraceContext, half};
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, Status, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use std::cell::Cell;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

/// Marks what belongs to a message: of those that went well, only a share is exported.
pub const MESSAGE_ID: &str = "regua.message.id";

thread_local! {
    /// The ids of the span that is being begun on this thread.
    static NEXT: Cell<Option<(TraceId, Option<SpanId>)>> = const { Cell::new(None) };
}

/// Begins `span`, which has no parent, as a beginning of `story`.
pub fn begin_story(span: &Span, story: Uuid) {
    begin(span, story, None);
}

/// Begins `span`, which has no parent, as the part `part` of `story`, after an earlier part of it if there is one.
pub fn begin_part(span: &Span, story: Uuid, part: Uuid, after: Option<Uuid>) {
    if let Some(after) = after {
        TraceContext::of(story, after).adopt(span);
    }
    begin(span, story, Some(SpanId::from(half(part))));
}

fn begin(span: &Span, story: Uuid, id: Option<SpanId>) {
    NEXT.set(Some((TraceId::from_bytes(*story.as_bytes()), id)));
    // Asking for its context starts it.
    drop(span.context());
    NEXT.set(None);
}

/// Says something in `span`, by a name of OpenTelemetry's semantic conventions where there is one. It goes into the trace alone.
pub fn note(span: &Span, name: &'static str, value: impl Into<Value>) {
    span.set_attribute(name, value);
}

/// Says in `span` that what it stands for failed, and why: a closed name. Such a span is exported whatever share is.
pub fn fail(span: &Span, why: &'static str) {
    span.set_attribute("error.type", why);
    span.set_status(Status::error(why));
}

/// Random ids, but for a span that is begun with its own.
#[derive(Debug, Default)]
pub(crate) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().and_then(|(_, span)| span).unwrap_or_else(|| self.0.new_span_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanProcessor};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Debug, Default)]
    struct Ended(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Ended {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().expect("no panic").push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    fn spans_of(what: impl FnOnce()) -> Vec<SpanData> {
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder().with_id_generator(Ids::default()).with_span_processor(ended.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), what);
        ended.0.lock().expect("no panic").clone()
    }

    #[test]
    fn a_later_part_goes_on_with_an_earlier_one_of_which_it_knows_the_id_alone() {
        let [story, first, second] = [(); 3].map(|()| Uuid::now_v7());
        let spans = spans_of(|| {
            begin_part(&tracing::info_span!(parent: None, "attempt"), story, first, None);
            let again = tracing::info_span!(parent: None, "attempt");
            begin_part(&again, story, second, Some(first));
            again.in_scope(|| drop(tracing::info_span!("request")));
        });
        let [earlier, request, later] = &spans[..] else { panic!("{spans:?}") };
        let trace = TraceId::from_bytes(*story.as_bytes());
        assert!(spans.iter().all(|span| span.span_context.trace_id() == trace));
        assert_eq!((earlier.parent_span_id, later.parent_span_id), (SpanId::INVALID, earlier.span_context.span_id()));
        assert_eq!(request.parent_span_id, later.span_context.span_id());
        assert_ne!(request.span_context.span_id(), later.span_context.span_id());
        let context = TraceContext::parse(TraceContext::of(story, second).as_str()).expect("it is well-formed");
        assert_eq!(context.as_str()[36..52], later.span_context.span_id().to_string());
    }

    #[test]
    fn what_begins_a_story_has_its_trace_and_an_id_of_its_own() {
        let story = Uuid::now_v7();
        let spans = spans_of(|| (0..2).for_each(|_| begin_story(&tracing::info_span!(parent: None, "tick"), story)));
        let ids: Vec<_> = spans.iter().map(|span| (span.span_context.trace_id(), span.span_context.span_id())).collect();
        assert!(ids.iter().all(|(trace, _)| *trace == TraceId::from_bytes(*story.as_bytes())));
        assert_ne!(ids[0].1, ids[1].1);
    }
}
