//! The simulation's set: the simulators, the ledger in memory, the configuration, and the services on them.

use crate::demo::{CONFIGURATION, Verdict, messages_taken};
use crate::simulate::{Day, SimulateOptions, SimulationError, Tally, time};
use anyhow::Context as _;
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use regua_domain::calendar::Calendar;
use regua_domain::configuration::{Configuration, Defaults, SecretRef, SourceKind};
use regua_domain::variables;
use regua_domain::window::Window;
use regua_ledger::Ledger;
use regua_ledger::conservation::compare;
use regua_pipeline::Pipeline;
use regua_simulators::opa::{OwnBase, Sent, Takes};
use regua_simulators::{IxcOptions, IxcSimulator, OpaOptions, OpaSimulator};
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use regua_telemetry::health::Health;
use regua_telemetry::metrics::Metrics;
use regua_telemetry::service::{Failure, Process};
use regua_telemetry::shutdown::Shutdown;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The variables in which the services find the simulators' tokens.
const OPA_TOKEN: &str = "REGUA_SIMULATED_OPA_TOKEN";
const IXC_TOKEN: &str = "REGUA_SIMULATED_IXC_TOKEN";
/// What a URL is until the simulator's takes its place.
const PLACEHOLDER: &str = "https://simulated.example";
/// The least time between two messages to one phone that WhatsApp bears (contracts §3.1).
const PAIR_INTERVAL: Duration = Duration::from_secs(6);
/// Due dates that are listed of a source that was files.
const DAYS_BACK: u16 = 60;
const DAYS_AHEAD: u16 = 40;

/// Days that are being simulated. Make and use it in a runtime of one thread whose clock is paused.
pub struct Simulation {
    ledger: Ledger,
    opa: OpaSimulator,
    ixc: IxcSimulator,
    process: Process,
    services: JoinHandle<Result<(), Failure>>,
    calendar: Calendar,
    /// Begins the days of the provider's zone.
    clock: Window,
    next_day: NaiveDate,
    tally: Tally,
    notes: Vec<String>,
}

impl Simulation {
    /// Sets it: midnight before the first day.
    ///
    /// # Errors
    /// [`SimulationError`] for a configuration that can't be used; a port that is taken.
    pub async fn set(options: &SimulateOptions) -> anyhow::Result<Self> {
        regua_telemetry::install_tls_provider();
        let environment = environment(Environment::process().get("REGUA_TIMEZONE"));
        let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &environment).map_err(SimulationError::from)?;
        let (mut configuration, mut notes) = configuration(options, &config, &environment)?;
        let zone = configuration.window.zone;
        let clock = Window::business_hours(zone);
        let begins_at = clock.start_of_day(options.from);
        let own = options.config.is_some().then(|| own_base(&configuration, &mut notes));
        let opa = opa(options, &configuration, own, begins_at).await?;
        let customers = options.customers.into();
        let ixc =
            IxcOptions { seed: options.seed, customers, today: options.from, due_offsets: Vec::new(), ..IxcOptions::default() };
        let ixc = IxcSimulator::start(ixc).await?;
        notes.extend(connect(&mut configuration, &opa, &ixc)?);
        let environment = Environment::with([
            ("REGUA_ALLOW_PRIVATE_URLS", "true".to_owned()),
            (OPA_TOKEN, opa.token().to_owned()),
            (IXC_TOKEN, ixc.token().to_owned()),
        ]);
        let ledger = Ledger::open_simulated(begins_at).await?;
        ledger.migrate().await?;
        let calendar = Calendar { municipal: configuration.holidays.clone() };
        ledger.apply_configuration(configuration).await?;
        let ledger_id = ledger.id().await?;
        let broker = regua_broker::connect(&SecretString::from("memory:"), ledger_id)?;
        let pipeline = Pipeline { ledger: ledger.clone(), ledger_id, broker };
        let shutdown = Shutdown::new(config.shutdown_grace);
        let process = Process { config, environment, shutdown, health: Health::new(), metrics: Metrics::new() };
        let services = tokio::spawn(run(pipeline, process.clone()));
        let (next_day, tally) = (options.from, Tally::default());
        Ok(Self { ledger, opa, ixc, process, services, calendar, clock, next_day, tally, notes })
    }

    /// What in the configuration gave way to the simulators.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Plays the next day, from midnight to midnight.
    ///
    /// # Errors
    /// What keeps a service from going on; the ledger's.
    pub async fn play_day(&mut self) -> anyhow::Result<Day> {
        let date = self.next_day;
        let next = date.succ_opt().context("the calendar ends")?;
        self.ixc.move_to(date)?;
        time::go_on(&self.ledger, self.clock.start_of_day(next), || !self.services.is_finished()).await?;
        self.next_day = next;
        let tally = Tally::of(&self.ledger.counts().await?, &self.ledger.counts_by_stage().await?);
        let tally = std::mem::replace(&mut self.tally, tally);
        let holidays = self.calendar.holidays_of(None, "", date.year());
        let holiday = holidays.into_iter().find(|holiday| holiday.on == date).map(|holiday| holiday.name.into_owned());
        Ok(Day { date, holiday, tally: self.tally.since(&tally) })
    }

    /// Compares what the runs say, what the messages are, and what the provider took (invariant 2): the total, requests and messages that the
    /// provider took, and the verdict.
    ///
    /// # Errors
    /// The ledger's; a simulator's log that can't be read.
    pub async fn judge(&self) -> anyhow::Result<((Tally, u64, u64), Verdict)> {
        let ledger = self.ledger.conservation().await?;
        let violations = compare(&ledger, messages_taken(&self.opa)?.into_iter());
        let total = Tally::of(&ledger.counts, &self.ledger.counts_by_stage().await?);
        let stats = self.opa.stats();
        Ok(((total, stats.accepted, stats.distinct_messages), Verdict { violations, unfinished: 0 }))
    }

    /// What the provider took, first one first, at the simulation's instants.
    ///
    /// # Errors
    /// Its log can't be read.
    pub fn taken(&self) -> std::io::Result<Vec<Sent>> {
        self.opa.log()?.collect()
    }

    /// The provider, for who wants to look, or to break something and see it judged.
    pub const fn provider(&self) -> &OpaSimulator {
        &self.opa
    }

    /// Ends services and simulators.
    ///
    /// # Errors
    /// A service that failed.
    pub async fn strike(self) -> anyhow::Result<()> {
        self.process.shutdown.begin();
        self.services.await?.map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
        self.opa.shutdown().await;
        self.ixc.shutdown().await;
        Ok(())
    }
}

/// The three services, as `regua up` has them; no operator leaves commands here.
async fn run(pipeline: Pipeline, process: Process) -> Result<(), Failure> {
    let ended = tokio::try_join!(
        scheduler::run(pipeline.clone(), process.clone()),
        billing_evaluator::run(pipeline.clone(), process.clone()),
        dispatcher::run(pipeline.clone(), process),
    );
    pipeline.broker.close().await;
    pipeline.ledger.close().await;
    ended.map(|_| ())
}

/// The process's own settings, without what the simulation decides itself.
fn environment(zone: Option<String>) -> Environment {
    let zone = zone.map(|zone| ("REGUA_TIMEZONE", zone));
    Environment::only([("REGUA_ALLOW_PRIVATE_URLS", "true".to_owned())].into_iter().chain(zone))
}

/// The demo's file, or the one that was named. Addresses that come from unset variables are no mistake here.
fn configuration(
    options: &SimulateOptions,
    config: &ServiceConfig,
    environment: &Environment,
) -> Result<(Configuration, Vec<String>), SimulationError> {
    let (name, text) = match &options.config {
        None => ("ops/examples/demo.toml".to_owned(), CONFIGURATION.to_owned()),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|why| SimulationError::Unreadable { path: name.clone(), why })?;
            (name, text)
        }
    };
    let now = Window::business_hours(config.timezone).start_of_day(options.from);
    let defaults = Defaults { zone: config.timezone, allow_private_urls: true, now };
    let known = |variable: &str| environment.get(variable).or_else(|| Some(PLACEHOLDER.to_owned()));
    let (configuration, notes) =
        Configuration::parse_with_notes(&text, &name, &defaults, &known).map_err(SimulationError::Wrong)?;
    if configuration.integrations.is_empty() || configuration.sources.is_empty() {
        return Err(SimulationError::Incomplete(name));
    }
    // Addresses are replaced anyway.
    let notes = notes.iter().filter(|note| !note.field.contains("url"));
    Ok((configuration, notes.map(|note| format!("{name}:{}: {}: {}", note.line, note.field, note.text)).collect()))
}

/// The provider's platform: it refuses what is faster than the channels' limits, or than two messages to one phone may follow on each other.
async fn opa(
    options: &SimulateOptions,
    configuration: &Configuration,
    own: Option<OwnBase>,
    begins_at: DateTime<Utc>,
) -> std::io::Result<OpaSimulator> {
    let limits = configuration.channels.iter().map(|channel| channel.per_second.map(|limit| u32::from(limit.get())));
    OpaSimulator::start(OpaOptions {
        seed: options.seed,
        per_second: limits.collect::<Option<Vec<u32>>>().and_then(|limits| limits.into_iter().max()),
        pair_interval: Some(PAIR_INTERVAL),
        own,
        begins_at: Some(begins_at),
        ..OpaOptions::default()
    })
    .await
}

/// What the base of a file has: its channels, and for each notice in use a template that takes what that gives.
fn own_base(configuration: &Configuration, notes: &mut Vec<String>) -> OwnBase {
    let mut templates: BTreeMap<&str, (Takes, &str)> = BTreeMap::new();
    for notice in configuration.notices_in_use() {
        let number = variables::parse(&notice.variables).map_or(0, |entries| entries.len());
        let gives = if notice.payment.is_some() { Takes::Payment } else { Takes::Positional(number) };
        let (takes, first) = *templates.entry(&notice.template).or_insert((gives, &notice.name));
        if takes != gives {
            notes.push(format!("notices {first:?} and {:?} have one template: it takes what the first gives", notice.name));
        }
    }
    OwnBase {
        channels: configuration.channels.iter().map(|channel| channel.id.clone()).collect(),
        templates: templates.into_iter().map(|(id, (takes, _))| (id.to_owned(), takes)).collect(),
    }
}

/// Puts the simulators' addresses and tokens in the place of those of the file; what else gives way, in words.
fn connect(configuration: &mut Configuration, opa: &OpaSimulator, ixc: &IxcSimulator) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    for integration in &mut configuration.integrations {
        integration.url = format!("{}/api/v1", opa.url()).parse()?;
        integration.token = SecretRef::Env(OPA_TOKEN.into());
    }
    for source in configuration.sources.drain(1..) {
        notes.push(format!("source {:?} is left out: there is one simulated ERP", source.name));
    }
    for source in &mut configuration.sources {
        let (days_back, days_ahead, last_look) = match &source.kind {
            SourceKind::Ixc { days_back, days_ahead, last_look, .. } => (*days_back, *days_ahead, *last_look),
            SourceKind::Files => {
                notes.push(format!("source {:?} is read from the simulated ERP, not from files", source.name));
                (DAYS_BACK, DAYS_AHEAD, None)
            }
        };
        let url = format!("{}/webservice/v1", ixc.url()).parse()?;
        source.kind = SourceKind::Ixc { url, token: SecretRef::Env(IXC_TOKEN.into()), days_back, days_ahead, last_look };
    }
    Ok(notes)
}
