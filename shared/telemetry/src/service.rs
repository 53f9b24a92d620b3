//! The frame of a service's `main`: arguments, configuration, logs, health, signals, exit code.
//!
//! Exit codes: 0 done; 1 something failed or didn't drain in time; 2 usage or configuration; 130 told twice to end.

use crate::config::{Hosting, Service, ServiceConfig, VARIABLES};
use crate::environment::Environment;
use crate::health::{Health, Readiness};
use crate::http::HttpServer;
use crate::logging::{self, Chain};
use crate::metrics::{MetricFamily, Metrics};
use crate::shutdown::Shutdown;
use crate::tls::install_tls_provider;
use axum::Router;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

/// How long tasks that outlive their service may hold up the end of the process.
const RUNTIME_END_MAX: Duration = Duration::from_secs(1);
const FAILED: u8 = 1;
const MISUSED: u8 = 2;

/// What a service is given to run with.
#[derive(Clone)]
pub struct Process {
    /// What all services share.
    pub config: ServiceConfig,
    /// The variables, for what only this service reads.
    pub environment: Environment,
    /// When to end.
    pub shutdown: Shutdown,
    /// Where its components say how they are.
    pub health: Health,
    /// Where its components count.
    pub metrics: Metrics,
}

/// Why a service ended before it was told to.
#[derive(Debug)]
pub enum Failure {
    /// What it was given is wrong by itself: exit code 2.
    Configuration(Box<dyn Error + Send + Sync>),
    /// Something failed: exit code 1.
    Fault(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// A failure of what the service was given.
    pub fn configuration(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Configuration(error.into())
    }

    /// Any other failure.
    pub fn fault(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fault(error.into())
    }

    const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => MISUSED,
            Self::Fault(_) => FAILED,
        }
    }

    fn error(&self) -> &(dyn Error + 'static) {
        match self {
            Self::Configuration(error) | Self::Fault(error) => error.as_ref(),
        }
    }
}

/// The whole `main` of a separate service: reads the arguments and the environment, and runs `run` until it ends or drains after a signal.
///
/// `about` is the sentence that `--help` begins with.
pub fn main<F, Fut>(service: Service, about: &str, run: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    main_with_routes(service, about, Router::new(), run)
}

/// As [`main`], with further routes on the HTTP server.
pub fn main_with_routes<F, Fut>(service: Service, about: &str, extra: Router, run: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    match arguments(std::env::args_os().skip(1)) {
        Arguments::None => {}
        Arguments::Help => {
            println!("{}", help(service, about));
            return ExitCode::SUCCESS;
        }
        Arguments::Version => {
            println!("{service} {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Arguments::Unknown(argument) => {
            eprintln!(
                "{service}: {} is not an argument of this service, which takes its settings from the environment; see {service} --help",
                argument.display()
            );
            return ExitCode::from(MISUSED);
        }
    }
    self::run(service, Hosting::Separate, Environment::process(), extra, run)
}

/// What follows the arguments, for a binary that reads its own: `run` with configuration, TLS, logs, HTTP server (with the routes of `extra`)
/// and signals, until it ends or drains. Call it once, outside of any asynchronous runtime; the exit codes are the module's.
pub fn run<F, Fut>(service: Service, hosting: Hosting, environment: Environment, extra: Router, run: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let config = match ServiceConfig::load(service, hosting, &environment) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{service}: {problems}");
            return ExitCode::from(MISUSED);
        }
    };
    install_tls_provider();
    let guard = match logging::init(service.name(), &config) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("{service}: {}", Chain(&error));
            return ExitCode::from(MISUSED);
        }
    };
    let metrics = Metrics::new();
    if let Some(fates) = guard.fates() {
        metrics.source("spans", move || std::future::ready(Ok(vec![fates.family()])));
    }
    let code = on_runtime(supervise(service, config, environment, metrics, extra, run));
    drop(guard);
    code
}

/// Runs the service on a runtime of its own and ends that, so that the guard of the logs flushes off it.
fn on_runtime(supervised: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime can't start");
            return ExitCode::from(FAILED);
        }
    };
    let ended = runtime.block_on(supervised);
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    match ended {
        Ok(()) => {
            tracing::info!("ended");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            tracing::error!(error = %Chain(failure.error()), "ended by a failure");
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn supervise<F, Fut>(
    service: Service,
    config: ServiceConfig,
    environment: Environment,
    metrics: Metrics,
    extra: Router,
    run: F,
) -> Result<(), Failure>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let shutdown = Shutdown::on_signals(config.shutdown_grace).map_err(Failure::fault)?;
    let health = Health::new();
    metrics.source("build", move || async move {
        let family = MetricFamily::gauge("regua_build_info", "The service and its version; always 1.");
        Ok(vec![family.count(&[("service", service.name()), ("version", env!("CARGO_PKG_VERSION"))], 1)])
    });
    let components = health.clone();
    metrics.source("components", move || {
        let families = components.families();
        async move { Ok(families) }
    });
    let server = HttpServer::start(config.http_addr, &health, &metrics, extra).await.map_err(Failure::fault)?;
    if config.http_addr.port() == 0 {
        // Logs may be off; whoever asked for any free port has to learn which.
        println!("http {}", server.addr());
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        ledger = %config.database_url,
        broker = %config.broker_url,
        timezone = %config.timezone,
        "{service} started"
    );
    let draining = tokio::spawn(tell_draining(shutdown.clone(), health.clone()));
    let process = Process { config, environment, shutdown: shutdown.clone(), health, metrics };
    let ended = shutdown.within_grace(run(process)).await;
    draining.abort();
    server.stop().await;
    let late = || Failure::fault(format!("it did not drain within {} s (REGUA_SHUTDOWN_GRACE_S)", shutdown.grace().as_secs()));
    ended.ok_or_else(late)??;
    shutdown.failure().map_or(Ok(()), |why| Err(Failure::configuration(why)))
}

/// A process that drains takes no new work.
async fn tell_draining(shutdown: Shutdown, health: Health) {
    shutdown.begun().await;
    health.set("shutdown", Readiness::not_ready("the process is shutting down"));
}

#[derive(Debug, PartialEq, Eq)]
enum Arguments {
    None,
    Help,
    Version,
    Unknown(OsString),
}

fn arguments(mut given: impl Iterator<Item = OsString>) -> Arguments {
    let Some(first) = given.next() else { return Arguments::None };
    match first.to_str() {
        Some("--help" | "-h") => Arguments::Help,
        Some("--version" | "-V") => Arguments::Version,
        _ => Arguments::Unknown(first),
    }
}

fn help(service: Service, about: &str) -> String {
    let mut text = format!("{about}\n\nUsage: {service} [--help | --version]\n\nEnvironment (default):");
    for (name, default, meaning) in VARIABLES {
        let default =
            if name == "REGUA_HTTP_ADDR" { format!("127.0.0.1:{}", service.default_port()) } else { default.to_owned() };
        write!(text, "\n  {name} ({default})\n      {meaning}").expect("a String takes all text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_takes_no_arguments_but_help_and_version() {
        for (given, expected) in [
            (&[][..], Arguments::None),
            (&["--help"], Arguments::Help),
            (&["-h"], Arguments::Help),
            (&["--version"], Arguments::Version),
            (&["-V"], Arguments::Version),
            (&["run"], Arguments::Unknown("run".into())),
            (&["--port=1"], Arguments::Unknown("--port=1".into())),
        ] {
            assert_eq!(arguments(given.iter().map(OsString::from)), expected, "{given:?}");
        }
    }

    #[test]
    fn help_shows_every_variable_and_the_services_own_port() {
        let text = help(Service::Dispatcher, "Sends messages.");
        assert!(text.starts_with("Sends messages.\n\nUsage: dispatcher ["), "{text}");
        for (name, _, meaning) in VARIABLES {
            assert!(text.contains(name) && text.contains(meaning), "{name}");
        }
        assert!(text.contains("REGUA_HTTP_ADDR (127.0.0.1:9103)"), "{text}");
    }
}
