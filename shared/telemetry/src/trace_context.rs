//! The W3C trace context as text, so that it can ride in a broker message's headers and in a ledger row.

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::collections::HashMap;
use std::fmt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

/// The header's name.
pub const HEADER: &str = "traceparent";

/// A valid `traceparent`: which span of which trace something comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext(String);

impl TraceContext {
    /// Where the current span stands; `None` outside any.
    pub fn current() -> Option<Self> {
        Self::within(&Span::current())
    }

    /// Where `span` stands, which begins with that; `None` if nobody traces it.
    pub fn within(span: &Span) -> Option<Self> {
        let mut carrier = HashMap::new();
        TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
        carrier.remove(HEADER).map(Self)
    }

    /// Where the part of a story stands that was begun by [`crate::spans::begin_part`], in whatever process and on whatever day.
    pub fn of(story: Uuid, part: Uuid) -> Self {
        Self(format!("00-{}-{:016x}-01", story.simple(), half(part)))
    }

    /// Reads a header's value; `None` if it is malformed, which is no reason to refuse what it came with.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let context = Self(traceparent.to_owned());
        context.extract().span().span_context().is_valid().then_some(context)
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes this the parent of `span`, which has not been entered yet: it goes on with what this began.
    pub fn adopt(&self, span: &Span) {
        if let Err(error) = span.set_parent(self.extract()) {
            tracing::trace!(?error, "the span is not traced");
        }
    }

    /// Links `span` to this: it is another story with the same cause, such as a retry on the next day.
    pub fn link(&self, span: &Span) {
        span.add_link(self.extract().span().span_context().clone());
    }

    pub(crate) fn extract(&self) -> opentelemetry::Context {
        let carrier = HashMap::from([(HEADER.to_owned(), self.0.clone())]);
        TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &carrier)
    }
}

/// The half of an id that makes a span's id: of a version 7 the one that differs within a millisecond, and is never zero.
pub(crate) const fn half(id: Uuid) -> u64 {
    id.as_u64_pair().1
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_well_formed_traceparent_is_taken() {
        assert_eq!(TraceContext::parse(PARENT).unwrap().as_str(), PARENT);
        for malformed in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn an_adopted_span_goes_on_with_the_trace_and_passes_it_on() {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("continued");
            TraceContext::parse(PARENT).unwrap().adopt(&span);
            let passed_on = span.in_scope(TraceContext::current).expect("the span is traced");
            assert_eq!(passed_on.as_str()[..36], PARENT[..36], "the same trace");
            assert_ne!(passed_on.as_str()[36..], PARENT[36..], "another span of it");
        });
    }

    #[test]
    fn where_nobody_traces_there_is_no_context_and_nothing_fails() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let span = tracing::info_span!("untraced");
            TraceContext::parse(PARENT).unwrap().adopt(&span);
            TraceContext::parse(PARENT).unwrap().link(&span);
            assert_eq!(span.in_scope(TraceContext::current), None);
        });
    }
}
