//! What every service is configured with: interface.md "Environment", one documented field per variable.

use crate::environment::{Environment, Problem, Problems, Reader};
use crate::parse::{self, Parsed};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use std::fmt;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// A binary of Régua.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Emits ticks and drives everything that time drives.
    Scheduler,
    /// Decides which notices are due.
    BillingEvaluator,
    /// Sends messages.
    Dispatcher,
    /// Web UI, JSON API, webhooks.
    Console,
    /// Everything in one process, and the operator's command line.
    Regua,
}

impl Service {
    /// The binary's name, which is also its name in logs, traces and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::BillingEvaluator => "billing-evaluator",
            Self::Dispatcher => "dispatcher",
            Self::Console => "console",
            Self::Regua => "regua",
        }
    }

    /// The port of its HTTP server where `REGUA_HTTP_ADDR` says nothing.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Scheduler => 9101,
            Self::BillingEvaluator => 9102,
            Self::Dispatcher => 9103,
            Self::Console | Self::Regua => 8080,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the services share this process or only a ledger and a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosting {
    /// All in one process: SQLite and the in-process broker serve them.
    Embedded,
    /// One process each: they need a ledger and a broker that several processes can share.
    Separate,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Human,
    /// One JSON object per line.
    Json,
}

/// A key's bytes. Their `Debug` shows none.
pub type KeyBytes = Arc<SecretBox<[u8; parse::KEY_BYTES]>>;

/// Where spans go.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// The collector's address, whole.
    pub endpoint: Url,
    /// The share of the messages that went well of which spans are exported, from 0 to 1; all others always are.
    pub share: f64,
}

/// What all services share. Values have been parsed and checked; nothing here is checked again.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// `REGUA_DATABASE_URL` or `…_FILE`: the ledger; default `sqlite://regua.db`.
    pub database_url: ServiceUrl,
    /// `REGUA_BROKER_URL` or `…_FILE`: the broker; default `memory:`.
    pub broker_url: ServiceUrl,
    /// `REGUA_CONFIG`: a TOML file applied at start; default none.
    pub config_file: Option<PathBuf>,
    /// `REGUA_HTTP_ADDR`: where `/livez`, `/readyz` and `/metrics` are served; default 127.0.0.1 with the service's port; port 0 = any free one.
    pub http_addr: SocketAddr,
    /// `REGUA_LOG`: filter directives; default `info`.
    pub log: String,
    /// `REGUA_LOG_FORMAT`: `human` or `json`; default human if standard error is a terminal.
    pub log_format: LogFormat,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT` followed by `/v1/traces`; default none = no export.
    /// The other standard `OTEL_*` variables are read by OpenTelemetry's SDK from the process.
    pub traces: Option<Export>,
    /// `REGUA_TIMEZONE`: the provider's zone, which decides dates; default `America/Sao_Paulo`.
    pub timezone: Tz,
    /// `REGUA_SECRET_KEY` or `…_FILE`: 32 bytes, under which tokens in the ledger are sealed; default none.
    pub secret_key: Option<KeyBytes>,
    /// `REGUA_SECRET_KEY_PREVIOUS` or `…_FILE`: the key before it, which opens what was not sealed anew yet; default none.
    pub secret_key_previous: Option<KeyBytes>,
    /// `REGUA_ALLOW_PRIVATE_URLS`: whether integrations and sources may be http or private; default false.
    pub allow_private_urls: bool,
    /// `REGUA_SHUTDOWN_GRACE_S`: how long a shutdown may drain; 1 to 600 s, default 25 s. Keep it below what the supervisor waits before it kills.
    pub shutdown_grace: Duration,
    /// `REGUA_DEMO_NOW`: what the ledger's clock shall read; taken only by an empty ledger; default none.
    pub demo_now: Option<DateTime<Utc>>,
}

impl ServiceConfig {
    /// Reads the variables that all services share.
    ///
    /// # Errors
    /// Every variable that is malformed, and for [`Hosting::Separate`] a ledger or broker that only one process can use.
    pub fn load(service: Service, hosting: Hosting, environment: &Environment) -> Result<Self, Problems> {
        let mut reader = environment.reader();
        let config = Self {
            database_url: service_url(&mut reader, &DATABASE, service, hosting),
            broker_url: service_url(&mut reader, &BROKER, service, hosting),
            config_file: reader.optional("REGUA_CONFIG", |text| Ok(PathBuf::from(text))),
            http_addr: reader.var("REGUA_HTTP_ADDR", (Ipv4Addr::LOCALHOST, service.default_port()).into(), parse::socket_addr),
            log: reader.var("REGUA_LOG", "info".to_owned(), parse::log_directives),
            log_format: reader.var("REGUA_LOG_FORMAT", default_log_format(), log_format),
            traces: traces(&mut reader),
            timezone: reader.var("REGUA_TIMEZONE", Tz::America__Sao_Paulo, parse::zone),
            secret_key: reader.optional_secret("REGUA_SECRET_KEY", parse::key),
            secret_key_previous: reader.optional_secret("REGUA_SECRET_KEY_PREVIOUS", parse::key),
            allow_private_urls: reader.var("REGUA_ALLOW_PRIVATE_URLS", false, parse::boolean),
            shutdown_grace: reader.var("REGUA_SHUTDOWN_GRACE_S", Duration::from_secs(25), parse::seconds(1..=600)),
            demo_now: reader.optional("REGUA_DEMO_NOW", parse::instant),
        };
        reader.finish(config)
    }
}

/// The shared variables as `--help` lists them: name, default, meaning.
pub const VARIABLES: [(&str, &str, &str); 14] = [
    ("REGUA_DATABASE_URL", "sqlite://regua.db", "the ledger; postgres://… for separate services (also …_FILE)"),
    ("REGUA_BROKER_URL", "memory:", "the broker; amqp://… or amqps://… for separate services (also …_FILE)"),
    ("REGUA_CONFIG", "none", "a TOML file applied at start"),
    ("REGUA_HTTP_ADDR", "127.0.0.1 and the service's port", "/livez /readyz /metrics; port 0 = any free one, printed"),
    ("REGUA_LOG", "info", "log level, or levels by target; logs go to standard error"),
    ("REGUA_LOG_FORMAT", "human on a terminal, else json", "human or json"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "none", "an OTLP collector (http/protobuf) for traces"),
    (
        "OTEL_TRACES_SAMPLER",
        "always_on",
        "traceidratio with OTEL_TRACES_SAMPLER_ARG from 0 to 1: the share of messages that went well; the rest is always traced",
    ),
    ("REGUA_TIMEZONE", "America/Sao_Paulo", "the provider's time zone"),
    ("REGUA_SECRET_KEY", "none", "32 bytes in hex or base64: opens the tokens that the ledger keeps sealed (also …_FILE)"),
    ("REGUA_SECRET_KEY_PREVIOUS", "none", "the key before it, until `regua secrets rotate` was given (also …_FILE)"),
    ("REGUA_ALLOW_PRIVATE_URLS", "false", "lets integrations and sources be http or private"),
    ("REGUA_SHUTDOWN_GRACE_S", "25", "seconds that a shutdown may drain, 1 to 600"),
    ("REGUA_DEMO_NOW", "none", "an instant for the clock of an empty ledger"),
];

/// One of the two addresses that decide where truth and hints live.
struct Address {
    name: &'static str,
    default: &'static str,
    /// Schemes that only one process can use.
    embedded: &'static [&'static str],
    /// Schemes that many processes can share; these need a valid address.
    shared: &'static [&'static str],
    /// Why separate processes can't use the first kind.
    why: &'static str,
    example: &'static str,
}

const DATABASE: Address = Address {
    name: "REGUA_DATABASE_URL",
    default: "sqlite://regua.db",
    embedded: &["sqlite"],
    shared: &["postgres", "postgresql"],
    why: "for an SQLite ledger has one writing process and this service shares the ledger with others",
    example: "postgres://user:password@host/regua",
};

const BROKER: Address = Address {
    name: "REGUA_BROKER_URL",
    default: "memory:",
    embedded: &["memory"],
    shared: &["amqp", "amqps"],
    why: "for the in-process broker ends at this process and the other services would never hear of it",
    example: "amqp://user:password@host:5672/%2f",
};

impl Address {
    fn parse(&self, text: &str) -> Parsed<ServiceUrl> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let known = |schemes: &[&'static str]| schemes.iter().copied().find(|known| Some(*known) == scheme);
        let valid = || Url::parse(text).is_ok();
        let scheme = known(self.embedded).or_else(|| known(self.shared).filter(|_| valid()));
        let expected = || format!("an address such as {} or {}", self.default, self.example);
        Ok(ServiceUrl { text: text.into(), scheme: scheme.ok_or_else(expected)? })
    }
}

/// Reads one of the addresses; where it is wrong the problem is reported and the default stands in.
fn service_url(reader: &mut Reader<'_>, address: &Address, service: Service, hosting: Hosting) -> ServiceUrl {
    let name = address.name.to_owned();
    let secret = reader.secret(address.name);
    let is_default = secret.is_none();
    let text = secret.unwrap_or_else(|| address.default.into());
    let url = address.parse(text.expose_secret()).unwrap_or_else(|expected| {
        reader.report(Problem::InvalidSecret { name: name.clone(), expected });
        ServiceUrl { text: address.default.into(), scheme: address.shared[0] }
    });
    if hosting == Hosting::Separate && address.embedded.contains(&url.scheme) {
        let value = if is_default { format!("its default {url}") } else { url.to_string() };
        let mend =
            format!("set it to {}, or run everything in one process with `regua up` instead of {service}", address.example);
        reader.report(Problem::Refused { name, value, why: address.why.to_owned(), mend });
    }
    url
}

fn default_log_format() -> LogFormat {
    if std::io::stderr().is_terminal() { LogFormat::Human } else { LogFormat::Json }
}

fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err("human or json".to_owned()),
    }
}

/// Where traces go, by OpenTelemetry's own rules for its variables; only http/protobuf is built in.
fn traces(reader: &mut Reader<'_>) -> Option<Export> {
    let disabled = reader.var("OTEL_SDK_DISABLED", false, parse::boolean);
    let exporter = reader.var("OTEL_TRACES_EXPORTER", true, |text| match text {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err("otlp or none".to_owned()),
    });
    let collector = reader.optional("OTEL_EXPORTER_OTLP_ENDPOINT", |text| {
        let text = text.trim_end_matches('/');
        parse::http_url(text).and_then(|_| parse::http_url(&format!("{text}/v1/traces")))
    });
    let endpoint = reader.optional("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", parse::http_url).or(collector);
    for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        reader.optional(name, |text| {
            (text == "http/protobuf").then_some(()).ok_or_else(|| "http/protobuf, the only one built in".to_owned())
        });
    }
    let share = share(reader);
    Some(Export { endpoint: endpoint.filter(|_| exporter && !disabled)?, share })
}

/// Which share of the messages that went well is traced: as `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` say. Runs, failures and doubt
/// are traced whatever they say, so whether a caller sampled its trace makes no difference.
fn share(reader: &mut Reader<'_>) -> f64 {
    let argument = reader.var("OTEL_TRACES_SAMPLER_ARG", 1.0, |text| {
        text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "a number from 0 to 1".to_owned())
    });
    reader.var("OTEL_TRACES_SAMPLER", 1.0, |text| match text {
        "always_on" | "parentbased_always_on" => Ok(1.0),
        "always_off" | "parentbased_always_off" => Ok(0.0),
        "traceidratio" | "parentbased_traceidratio" => Ok(argument),
        _ => Err("always_on, always_off or traceidratio, also after parentbased_".to_owned()),
    })
}

/// The address of the ledger or the broker, which may hold a password: shown without it.
#[derive(Clone)]
pub struct ServiceUrl {
    text: SecretString,
    scheme: &'static str,
}

impl ServiceUrl {
    /// The scheme: `sqlite`, `postgres`, `postgresql`, `memory`, `amqp` or `amqps`.
    pub const fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// The whole address, for the one who connects; never for a log.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

/// The address without user, password and parameters; only its scheme where these can't be told apart for certain.
impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.expose();
        let scheme = self.scheme;
        if matches!(scheme, "sqlite" | "memory") {
            return f.write_str(text.split('?').next().unwrap_or(text));
        }
        let ats = text.matches('@').count();
        let credentials = |url: &Url| usize::from(!url.username().is_empty() || url.password().is_some());
        match Url::parse(text).ok().filter(|url| credentials(url) == ats) {
            Some(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "{scheme}://{}{port}{}", url.host_str().unwrap_or_default(), url.path())
            }
            None => write!(f, "{scheme}://…"),
        }
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
