//! One provider with everything around it.

use crate::broker::Queues;
use crate::cli::{Cli, Done};
use crate::database::Database;
use crate::process::{Program, Service};
use crate::provider::{Rate, Request};
use crate::servers;
use crate::wait::within;
use chrono::NaiveDate;
use regua_domain::ids::MessageId;
use regua_domain::phone;
use regua_ledger::Ledger;
use regua_ledger::conservation::{Violation, compare};
use regua_simulators::{IxcOptions, IxcSimulator, OpaOptions, OpaSimulator};
use regua_test_servers::Folder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{RwLock, RwLockWriteGuard};

/// The configuration that the demo applies, too.
const CONFIGURATION: &str = include_str!("../../../ops/examples/demo.toml");
/// 10:00 in São Paulo on the demo's day.
pub(crate) const NOW: &str = "2026-11-24T13:00:00Z";
/// A message of a world is settled or given up within this time.
pub(crate) const DAY_MAX: Duration = Duration::from_mins(10);

/// One world at a time: the queues have fixed names, and what is measured must not be disturbed.
static TURN: RwLock<()> = RwLock::const_new(());

/// How a world differs from the demo's.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// Customers of the simulated provider.
    pub customers: u32,
    /// The same seed gives the same provider.
    pub seed: u64,
    /// Pieces of the configuration file to replace: the old, the new.
    pub configuration: Vec<(String, String)>,
    /// The provider has no titles but those that are issued by hand.
    pub by_hand: bool,
    /// A broker of the test's own.
    pub amqp_url: Option<String>,
    /// A database server of the test's own.
    pub database_url: Option<String>,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self { customers: 600, seed: 1, configuration: Vec::new(), by_hand: false, amqp_url: None, database_url: None }
    }
}

impl WorldOptions {
    /// The default with this many customers.
    pub fn customers(customers: u32) -> Self {
        Self { customers, ..Self::default() }
    }

    /// The same with a piece of the configuration replaced.
    #[must_use]
    pub fn replacing(mut self, old: &str, new: &str) -> Self {
        self.configuration.push((old.into(), new.into()));
        self
    }
}

/// One provider: an empty ledger, empty queues, both simulators, a configuration file. Its services are spawned one by one.
pub struct World {
    /// Opa! Suite.
    pub opa: OpaSimulator,
    /// IXC.
    pub ixc: IxcSimulator,
    /// The ledger, as any process has it; empty until the first service is ready.
    pub ledger: Ledger,
    /// SQL past it.
    pub database: Database,
    /// The broker, past Régua.
    pub queues: Queues,
    /// What every process of this world sees.
    pub environment: BTreeMap<String, String>,
    folder: Folder,
    schema: (String, String),
    _turn: RwLockWriteGuard<'static, ()>,
}

/// The services of a world: scheduler, billing-evaluator, dispatchers.
pub struct Crew {
    /// The scheduler.
    pub scheduler: Service,
    /// The billing-evaluator.
    pub evaluator: Service,
    /// The dispatchers.
    pub dispatchers: Vec<Service>,
}

impl Crew {
    /// All of them.
    pub fn all(&mut self) -> impl Iterator<Item = &mut Service> {
        [&mut self.scheduler, &mut self.evaluator].into_iter().chain(&mut self.dispatchers)
    }
}

impl World {
    /// Sets a world; waits for its turn.
    pub async fn set(options: WorldOptions) -> Self {
        let turn = TURN.write().await;
        regua_telemetry::install_tls_provider();
        let server = match options.database_url {
            Some(url) => url,
            None => blocking(servers::database_url).await,
        };
        let amqp = match options.amqp_url {
            Some(url) => url,
            None => blocking(servers::amqp_url).await,
        };
        let (database, schema) = Database::new_schema(&server).await;
        let queues = Queues::connect(&amqp).await;
        queues.clear().await;
        let opa = opa(options.seed).await;
        let ixc = ixc(options.customers, options.seed, options.by_hand).await;
        // Its processes end with it, and so with this process, however that ends.
        let folder = Folder::new("regua-world-", "KILL").expect("a folder");
        let file = folder.path().join("regua.toml");
        std::fs::write(&file, configuration(&options.configuration)).expect("the folder can be written to");
        let mut environment = simulated(&opa, &ixc);
        environment.extend([
            ("REGUA_DATABASE_URL".to_owned(), database.url.clone()),
            ("REGUA_BROKER_URL".to_owned(), amqp),
            ("REGUA_CONFIG".to_owned(), file.display().to_string()),
            ("REGUA_DEMO_NOW".to_owned(), NOW.to_owned()),
        ]);
        let ledger = Ledger::open(&database.url).await.expect("the URL was just used");
        Self { opa, ixc, ledger, database, queues, environment, folder, schema: (server, schema), _turn: turn }
    }

    /// A folder of this world's own.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Spawns a service.
    pub fn spawn(&self, program: Program) -> Service {
        Service::spawn(program, &[], &self.environment, self.folder.path())
    }

    /// Spawns a scheduler, an evaluator and so many dispatchers, and waits until all are ready.
    pub async fn crew(&self, dispatchers: usize) -> Crew {
        // The first one makes the ledger, sets its clock and applies the file.
        let mut scheduler = self.spawn(Program::Scheduler);
        scheduler.ready().await;
        let mut evaluator = self.spawn(Program::BillingEvaluator);
        let mut dispatchers: Vec<Service> = (0..dispatchers).map(|_| self.spawn(Program::Dispatcher)).collect();
        evaluator.ready().await;
        for dispatcher in &mut dispatchers {
            dispatcher.ready().await;
        }
        Crew { scheduler, evaluator, dispatchers }
    }

    /// The command line in this world.
    pub fn cli(&self) -> Cli {
        Cli { environment: self.environment.clone(), folder: self.folder() }
    }

    /// Runs a task through the command line, to its end.
    pub async fn run(&self, task: &str) -> Done {
        self.cli().run(&["run", task, "--json"]).await.good()
    }

    /// The steps of the demo up to the release: some opt out, two evaluations, payments in between. Nothing is sent yet.
    pub async fn decide_as_the_demo(&self) {
        let provider = self.ixc.provider();
        let odd = (1..).step_by(97).map_while(|id| provider.customer(id)).filter_map(|customer| provider.mobile_of(customer.id));
        let phones: Vec<String> = odd.filter(|number| phone::parse(number).is_ok()).collect();
        let mut command = vec!["opt-out", "add"];
        command.extend(phones.iter().map(String::as_str));
        self.cli().run(&command).await.good();
        self.run("update-collections").await;
        self.ixc.pay_open(25, regua_simulators::ixc::Payment::Full);
        self.run("update-collections").await;
    }

    /// Waits until so many requests were accepted.
    pub async fn accepted(&self, number: u64) {
        within(DAY_MAX, "so many requests are accepted", async || (self.opa.stats().accepted >= number).then_some(())).await;
    }

    /// Waits until nothing is on its way any more.
    pub async fn settled(&self) {
        within(DAY_MAX, "nothing is on its way", async || (!self.ledger.is_busy().await.unwrap_or(true)).then_some(())).await;
    }

    /// What Opa! Suite took.
    pub fn requests(&self) -> Vec<Request> {
        let log = self.opa.log().expect("the simulator's log can be read");
        log.map(|entry| Request::from(entry.expect("the simulator's log is whole"))).collect()
    }

    /// The rate at which Opa! Suite took it, by its own clock.
    pub fn rate(&self) -> Rate {
        Rate::of(&self.requests().iter().map(|request| request.at_us).collect::<Vec<_>>())
    }

    /// The rate of the slots that were used, by the ledger's clock.
    pub async fn slot_rate(&self) -> Rate {
        let used = "SELECT slot_at FROM attempts WHERE outcome IS NULL OR outcome <> 'given_back'";
        Rate::of(&self.database.numbers(used).await)
    }

    /// Which parts of invariant 2 don't hold.
    pub async fn violations(&self) -> Vec<Violation> {
        let ledger = self.ledger.conservation().await.expect("the ledger answers");
        compare(&ledger, self.requests().into_iter().map(|request| request.message))
    }

    /// Panics unless invariant 2 holds and nothing went out twice.
    #[track_caller]
    pub fn conserved(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            assert_eq!(self.violations().await, [], "{caller}");
            let stats = self.opa.stats();
            assert_eq!(stats.accepted, stats.distinct_messages, "{caller}: something went out twice");
        }
    }

    /// (invoice, stage) of each request that Opa! Suite took, and how often.
    pub async fn notices(&self) -> BTreeMap<(String, String), u32> {
        let rows = self.database.texts("SELECT CAST(id AS TEXT), subject, stage FROM messages").await;
        let known: BTreeMap<MessageId, (String, String)> = rows
            .into_iter()
            .map(|mut row| (row[0].parse().expect("an id"), (std::mem::take(&mut row[1]), std::mem::take(&mut row[2]))))
            .collect();
        let mut notices = BTreeMap::new();
        for message in self.requests().into_iter().filter_map(|request| request.message) {
            *notices.entry(known.get(&message).cloned().unwrap_or_default()).or_default() += 1;
        }
        notices
    }

    /// Messages in this state.
    pub async fn in_state(&self, state: &str) -> i64 {
        self.database.count(&format!("messages WHERE state = '{state}'")).await
    }

    /// Everything that was decided: invoice, stage, state, reason.
    pub async fn decided(&self) -> BTreeSet<Vec<String>> {
        let rows = self.database.texts("SELECT subject, stage, occasion, state, reason FROM messages").await;
        let (number, rows) = (rows.len(), rows.into_iter().collect::<BTreeSet<_>>());
        assert_eq!(number, rows.len(), "one message per invoice, stage and occasion");
        rows
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (server, schema) = std::mem::take(&mut self.schema);
        Database::drop_schema(server, schema);
    }
}

/// The demo's date.
pub fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 24).expect("a date of the calendar")
}

/// The configuration of the demo with these pieces replaced.
pub fn configuration(replace: &[(String, String)]) -> String {
    replace.iter().fold(CONFIGURATION.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "the demo's configuration has no {old:?}");
        text.replace(old, new)
    })
}

/// Both simulators, as the demo starts them.
pub async fn simulators(customers: u32, seed: u64) -> (OpaSimulator, IxcSimulator) {
    (opa(seed).await, ixc(customers, seed, false).await)
}

async fn opa(seed: u64) -> OpaSimulator {
    let begins_at = Some(NOW.parse().expect("an instant"));
    OpaSimulator::start(OpaOptions { seed, begins_at, ..OpaOptions::default() }).await.expect("a port")
}

async fn ixc(customers: u32, seed: u64, by_hand: bool) -> IxcSimulator {
    let options = IxcOptions { seed, customers: customers.into(), today: today(), by_hand, ..IxcOptions::default() };
    IxcSimulator::start(options).await.expect("a port")
}

/// What a process needs to find the simulators, and its way about; no server and no ledger.
pub fn simulated(opa: &OpaSimulator, ixc: &IxcSimulator) -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let pairs = [
        ("PATH", path),
        ("REGUA_HTTP_ADDR", "127.0.0.1:0".into()),
        ("REGUA_LOG_FORMAT", "json".into()),
        ("REGUA_ALLOW_PRIVATE_URLS", "true".into()),
        ("REGUA_DEMO_OPA_URL", opa.url()),
        ("REGUA_DEMO_OPA_TOKEN", opa.token().to_owned()),
        ("REGUA_DEMO_IXC_URL", ixc.url()),
        ("REGUA_DEMO_IXC_TOKEN", ixc.token().to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it ran")
}
