//! The demo's set: two simulators, a folder, a configuration file, and the services on them.

use crate::demo::{DemoOptions, Report, Verdict};
use crate::embedded;
use crate::status_page::StatusPage;
use anyhow::Context as _;
use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::America::Sao_Paulo;
use regua_console::Console;
use regua_domain::ids::MessageId;
use regua_ledger::conservation::compare;
use regua_pipeline::Pipeline;
use regua_simulators::ixc::Provider;
use regua_simulators::{IxcOptions, IxcSimulator, OpaOptions, OpaSimulator};
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use regua_telemetry::health::Health;
use regua_telemetry::http::HttpServer;
use regua_telemetry::logging;
use regua_telemetry::metrics::Metrics;
use regua_telemetry::service::{Failure, Process};
use regua_telemetry::shutdown::Shutdown;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;
use thiserror::Error;
use tokio::task::JoinHandle;

/// The file that a demo applies, that compose's demo profile mounts, and that a simulation goes by.
pub(crate) const CONFIGURATION: &str = include_str!("../../../../ops/examples/demo.toml");
/// The hour at which a demo begins.
const TEN: NaiveTime = NaiveTime::from_hms_opt(10, 0, 0).expect("an hour of the day");
/// The stages of the demo's file, as days that the simulated provider's titles are due around.
const DUE_OFFSETS: [i64; 3] = [3, 0, -3];

/// What can keep a demo from beginning.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The folder to keep is in use.
    #[error("{} has a ledger already: name an empty folder", .0.display())]
    FolderInUse(PathBuf),
    /// A part of Régua said no.
    #[error("{0}")]
    Refused(String),
}

impl From<Failure> for DemoError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Configuration(error) | Failure::Fault(error) => Self::Refused(logging::Chain(error.as_ref()).to_string()),
        }
    }
}

/// A demo that is set: simulators up, ledger empty but for the configuration, services running.
pub struct Demo {
    pub(super) options: DemoOptions,
    pub(super) opa: OpaSimulator,
    pub(super) ixc: IxcSimulator,
    pub(super) pipeline: Pipeline,
    pub(super) began: Instant,
    process: Process,
    services: JoinHandle<Result<(), Failure>>,
    page: Option<HttpServer>,
    _logs: logging::Guard,
    _folder: Option<TempDir>,
}

impl Demo {
    /// Sets it.
    ///
    /// # Errors
    /// A folder that can't be used, a port that is taken.
    pub async fn set(options: DemoOptions) -> anyhow::Result<Self> {
        let began = Instant::now();
        let (folder, kept) = folder(options.keep.as_deref())?;
        let path = kept.as_deref().or_else(|| folder.as_ref().map(TempDir::path)).context("a demo has a folder")?;
        let opa = OpaSimulator::start(OpaOptions { seed: options.seed, ..OpaOptions::default() }).await?;
        let ixc = IxcSimulator::start(IxcOptions {
            seed: options.seed,
            customers: options.customers.into(),
            today: options.today,
            due_offsets: DUE_OFFSETS.to_vec(),
            ..IxcOptions::default()
        })
        .await?;
        let process = process(path, &options, &opa, &ixc)?;
        regua_telemetry::install_tls_provider();
        let logs = logging::init(Service::Regua.name(), &process.config)?;
        let page = StatusPage::default();
        let server = if options.once {
            None
        } else {
            Some(HttpServer::start(process.config.http_addr, &process.health, &process.metrics, page.router()).await?)
        };
        let pipeline =
            regua_pipeline::open(&process).await.map_err(DemoError::from)?.context("the demo was ended while it began")?;
        page.show(pipeline.ledger.clone());
        let services = tokio::spawn(embedded::run(pipeline.clone(), process.clone(), Console::default()));
        Ok(Self { options, opa, ixc, pipeline, began, process, services, page: server, _logs: logs, _folder: folder })
    }

    /// The simulated provider.
    pub fn provider(&self) -> Provider {
        self.ixc.provider()
    }

    /// The ledger, for who wants to look, or to break something and see it judged.
    pub const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Whether somebody asked it to end.
    pub(super) fn is_ending(&self) -> bool {
        self.process.shutdown.has_begun() || self.services.is_finished()
    }

    /// Compares what the runs say, what the messages are, and what the provider took (invariant 2).
    pub async fn judge(&self) -> anyhow::Result<Report> {
        let ledger = self.pipeline.ledger.conservation().await?;
        let stats = self.opa.stats();
        let violations = compare(&ledger, messages_taken(&self.opa)?.into_iter());
        let live = ledger.counts.live();
        Ok(Report {
            counts: ledger.counts,
            stages: self.pipeline.ledger.counts_by_stage().await?,
            provider_received: stats.accepted,
            provider_distinct: stats.distinct_messages,
            verdict: Verdict { violations, unfinished: if self.options.once { live } else { 0 } },
            seconds: self.began.elapsed().as_secs_f64(),
        })
    }

    /// Stays up until a signal, with the status page.
    pub(super) async fn stay(&self) -> anyhow::Result<()> {
        if let Some(page) = &self.page {
            eprintln!("\nstays up: http://{}/ (Ctrl-C ends it)", page.addr());
        }
        self.process.shutdown.begun().await;
        Ok(())
    }

    /// Ends services and simulators; the folder goes unless it is kept.
    ///
    /// # Errors
    /// A service that failed.
    pub async fn strike(self) -> anyhow::Result<()> {
        self.process.shutdown.begin();
        self.services.await?.map_err(DemoError::from)?;
        if let Some(page) = self.page {
            page.stop().await;
        }
        self.opa.shutdown().await;
        self.ixc.shutdown().await;
        Ok(())
    }
}

/// The messages that the provider took, one per request; `None` for a request that names none.
///
/// # Errors
/// The simulator's log can't be read.
pub fn messages_taken(opa: &OpaSimulator) -> anyhow::Result<Vec<Option<MessageId>>> {
    let mut unreadable = 0;
    let log = opa.log()?.filter_map(|entry| entry.map_err(|_| unreadable += 1).ok());
    // What was sent to try a notice is no message.
    let log = log.filter(|sent| sent.metadata.get("test").is_none());
    let ids = log.map(|sent| sent.metadata.get("message").and_then(|id| id.as_str()).and_then(|id| id.parse().ok())).collect();
    anyhow::ensure!(unreadable == 0, "the simulator's log has {unreadable} unreadable lines");
    Ok(ids)
}

/// The demo's folder: a temporary one, or the one to keep, which must not hold another ledger.
fn folder(keep: Option<&Path>) -> anyhow::Result<(Option<TempDir>, Option<PathBuf>)> {
    let Some(keep) = keep else { return Ok((Some(tempfile::tempdir()?), None)) };
    std::fs::create_dir_all(keep).with_context(|| format!("{} can't be made", keep.display()))?;
    let keep = std::path::absolute(keep)?;
    if keep.join("regua.db").exists() {
        return Err(DemoError::FolderInUse(keep).into());
    }
    Ok((None, Some(keep)))
}

/// The process's settings: its own ledger and broker, the simulators' addresses, the configuration file, the clock.
fn process(folder: &Path, options: &DemoOptions, opa: &OpaSimulator, ixc: &IxcSimulator) -> anyhow::Result<Process> {
    let file = folder.join("demo.toml");
    std::fs::write(&file, CONFIGURATION)?;
    let own = Environment::process();
    let quiet = own.get("REGUA_LOG").unwrap_or_else(|| "error".into());
    let environment = Environment::with([
        ("REGUA_DATABASE_URL", format!("sqlite://{}", folder.join("regua.db").display())),
        ("REGUA_BROKER_URL", "memory:".into()),
        ("REGUA_CONFIG", file.display().to_string()),
        ("REGUA_LOG", quiet),
        ("REGUA_ALLOW_PRIVATE_URLS", "true".into()),
        ("REGUA_DEMO_NOW", begins_at(options).to_rfc3339()),
        ("REGUA_DEMO_OPA_URL", opa.url()),
        ("REGUA_DEMO_OPA_TOKEN", opa.token().to_owned()),
        ("REGUA_DEMO_IXC_URL", ixc.url()),
        ("REGUA_DEMO_IXC_TOKEN", ixc.token().to_owned()),
    ]);
    let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &environment)?;
    let shutdown = Shutdown::on_signals(config.shutdown_grace)?;
    Ok(Process { config, environment, shutdown, health: Health::new(), metrics: Metrics::new() })
}

fn begins_at(options: &DemoOptions) -> DateTime<Utc> {
    options
        .today
        .and_time(TEN)
        .and_local_timezone(Sao_Paulo)
        .earliest()
        .map_or_else(|| options.today.and_time(TEN).and_utc(), |at| at.with_timezone(&Utc))
}
