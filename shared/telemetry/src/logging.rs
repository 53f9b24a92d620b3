//! Logs to standard error, for a person or one JSON object per line, and traces by OTLP where a collector is named.

use crate::config::{LogFormat, ServiceConfig};
use crate::otlp;
use std::error::Error;
use std::fmt;
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

pub use crate::otlp::Guard;

/// Libraries that never log, whatever `REGUA_LOG` asks: at trace lapin prints the login frame with its password, and it logs an error at each
/// reconnect, which the broker tells in its own words. PostgreSQL's notices of what exists already are no news.
const SILENCED: &str = "lapin=off,amq_protocol=off,amq_protocol_tcp=off,sqlx::postgres::notice=warn";

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
    let (tracer, guard) = match &config.traces_endpoint {
        Some(endpoint) => otlp::start(service, endpoint).map(|(tracer, guard)| (Some(tracer), guard))?,
        None => (None, Guard::none()),
    };
    let spans = tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer).with_filter(span_filter()));
    let lines = lines(config.log_format, writer).with_filter(EnvFilter::try_new(format!("{},{SILENCED}", config.log))?);
    Ok((tracing_subscriber::registry().with(lines).with(spans), guard))
}

fn lines<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Human => layer.with_ansi(std::env::var_os("NO_COLOR").is_none()).boxed(),
        // Ids live in spans, so each line carries all of its spans.
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed(),
    }
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
    fn a_json_line_carries_the_fields_of_the_event_and_of_all_its_spans() {
        let text = logged(&[("REGUA_LOG_FORMAT", "json")], || {
            let run = tracing::info_span!("run", run_id = "r1");
            let _run = run.enter();
            let message = tracing::info_span!("message", message_id = "m1");
            let _message = message.enter();
            tracing::info!(attempt = 2, "attempt finished");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "attempt finished");
        assert_eq!(line["attempt"], 2);
        assert_eq!(line["spans"][0]["run_id"], "r1");
        assert_eq!(line["spans"][1]["message_id"], "m1");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "instants are UTC");
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
