//! Logs to standard error, for a person or one JSON object per line, and traces by OTLP where a collector is named.

use crate::config::{LogFormat, ServiceConfig};
use crate::otlp;
use opentelemetry::trace::TraceContextExt;
use std::error::Error;
use std::fmt;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

pub use crate::otlp::Guard;

/// Libraries that never log, whatever `REGUA_LOG` asks: at trace lapin prints the login frame with its password, and it logs an error at each
/// reconnect, which the broker tells in its own words; so does the exporter of traces, once per batch. PostgreSQL's notices of what exists already are no news.
const SILENCED: &str =
    "lapin=off,amq_protocol=off,amq_protocol_tcp=off,sqlx::postgres::notice=warn,opentelemetry-otlp=off,opentelemetry_sdk=off";

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// This process has logging already.
    #[error("logging was started twice in this process")]
    Started(#[from] TryInitError),
    /// The filter of `REGUA_LOG` is not usable.
    #[error("REGUA_LOG is not usable")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter of traces can't be built.
    #[error("traces can't be exported as OTEL_EXPORTER_OTLP_ENDPOINT and its companions ask")]
    Exporter(#[from] otlp::BuildError),
}

/// Starts logging, and the export of traces if a collector is named, for the whole process.
///
/// Keep the guard until the end: dropping it sends what is still waiting, within a bound. A collector that is down, slow or gone delays
/// nothing: spans wait in a bounded queue and are dropped when it is full.
///
/// # Errors
/// Logging was started before, or the exporter can't be built from its variables.
pub fn init(service: &'static str, config: &ServiceConfig) -> Result<Guard, LoggingError> {
    let (subscriber, guard) = subscriber(service, config, std::io::stderr)?;
    subscriber.try_init()?;
    Ok(guard)
}

/// The lines and the traces of `config`, the lines going to `writer`.
fn subscriber<W>(
    service: &'static str,
    config: &ServiceConfig,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + 'static, Guard), LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (tracer, guard) = match &config.traces {
        Some(export) => otlp::start(service, export)?,
        None => otlp::start_without_export(),
    };
    let spans = tracing_opentelemetry::layer().with_location(false).with_threads(false).with_target(false);
    let spans = spans.with_tracked_inactivity(false).with_tracer(tracer);
    let spans = spans.with_filter(span_filter());
    let levels = EnvFilter::try_new(format!("{},{SILENCED}", config.log))?;
    // Spans are for the trace: an event names its own ids, so that no line repeats what its spans say.
    let lines = lines(config.log_format, writer).with_filter(levels.and(filter_fn(is_event)));
    Ok((tracing_subscriber::registry().with(lines).with(spans), guard))
}

fn lines<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Human => {
            let is_colored = std::env::var_os("NO_COLOR").is_none();
            layer.map_event_format(|format| Traced { format: format.with_ansi(is_colored), is_json: false }).boxed()
        }
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            layer.map_event_format(|format| Traced { format, is_json: true }).boxed()
        }
    }
}

/// A line with the id of the trace that its event belongs to, if any.
struct Traced<F> {
    format: F,
    is_json: bool,
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let current = opentelemetry::Context::current();
        let span = current.span().span_context().clone();
        if !span.is_valid() {
            return self.format.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let (line, trace) = (line.trim_end(), span.trace_id());
        match line.strip_suffix('}').filter(|_| self.is_json) {
            Some(open) => writeln!(writer, "{open},\"trace_id\":\"{trace}\"}}"),
            None => writeln!(writer, "{line} trace_id={trace}"),
        }
    }
}

/// What is a line of the log.
fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}

/// What becomes a span or an event of a trace, whatever `REGUA_LOG` says: never what the exporter's own client does, which would trace itself.
fn span_filter() -> Targets {
    let exporter = [
        "opentelemetry",
        "opentelemetry_sdk",
        "opentelemetry-otlp",
        "opentelemetry-http",
        "hyper",
        "hyper_util",
        "reqwest",
        "rustls",
    ];
    Targets::new().with_default(LevelFilter::INFO).with_targets(exporter.map(|target| (target, LevelFilter::OFF)))
}

/// An error with all of its sources: `what failed: why: why that`. Each `Display` says only its own part.
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Hosting, Service};
    use crate::environment::Environment;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(pairs: &[(&str, &str)], what: impl FnOnce()) -> String {
        let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &Environment::only(pairs.iter().copied())).unwrap();
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _guard) = subscriber("test", &config, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, what);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_carries_the_fields_of_its_event_and_its_trace_without_any_collector() {
        let story = uuid::Uuid::now_v7();
        let say = || {
            tracing::info!(attempt = 1, "outside");
            let span = tracing::info_span!(parent: None, "attempt", otel.kind = "consumer");
            crate::spans::begin_story(&span, story);
            span.in_scope(|| tracing::info!(attempt = 2, "within"));
        };
        let text = logged(&[("REGUA_LOG_FORMAT", "json")], say);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["message"], &lines[0]["trace_id"]), (&"outside".into(), &serde_json::Value::Null));
        assert_eq!(
            (&lines[1]["level"], &lines[1]["message"], &lines[1]["attempt"]),
            (&"INFO".into(), &"within".into(), &2.into())
        );
        assert_eq!(lines[1]["trace_id"], story.simple().to_string());
        assert!(lines[1]["timestamp"].as_str().unwrap().ends_with('Z'), "instants are UTC");
        assert!(!text.contains("otel.kind"), "what is for the trace alone: {text}");

        let text = logged(&[("REGUA_LOG_FORMAT", "human")], say);
        let [outside, within] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(!outside.contains("trace_id") && within.ends_with(&format!("trace_id={}", story.simple())), "{text}");
    }

    #[test]
    fn the_level_of_regua_log_decides_what_is_logged() {
        let say = || {
            tracing::info!("quiet");
            tracing::warn!("loud");
        };
        for (directives, quiet, loud) in [("info", true, true), ("warn", false, true), ("off", false, false)] {
            let text = logged(&[("REGUA_LOG", directives), ("REGUA_LOG_FORMAT", "human")], say);
            assert_eq!((text.contains("quiet"), text.contains("loud")), (quiet, loud), "{directives}: {text}");
        }
    }

    #[test]
    fn a_chain_shows_every_source_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("the ledger can't be opened")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("disk on fire"));
        assert_eq!(Chain(&error).to_string(), "the ledger can't be opened: disk on fire");
    }
}
