//! One provider on one backend, fresh for each measurement: a schema or file, queues, a mirror, simulators on threads of their own.

use crate::bases::Bases;
use crate::provider::{self, TOKEN_VARIABLE};
use crate::raw::{self, Hints, Plan, Raw};
use anyhow::{Context as _, bail};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use regua_broker::Broker;
use regua_domain::ids::{ChannelId, LedgerId, RunId};
use regua_domain::schedule::TaskKind;
use regua_ledger::runs::LeaseAnswer;
use regua_ledger::{Ledger, mirror, new_id};
use regua_pipeline::Pipeline;
use regua_simulators::OpaOptions;
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use regua_telemetry::health::Health;
use regua_telemetry::metrics::Metrics;
use regua_telemetry::service::Process;
use regua_telemetry::shutdown::Shutdown;
use secrecy::SecretString;
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// How long a service may drain, and how long a broker may take to connect.
const GRACE: Duration = Duration::from_secs(25);
/// How often a broker that connects is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The servers that PostgreSQL and RabbitMQ are measured on.
#[derive(Clone, Debug, clap::Args)]
pub struct Servers {
    /// A PostgreSQL database to make schemas in; commits are delayed only for a superuser
    #[arg(long, env = "REGUA_TEST_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// A RabbitMQ
    #[arg(long, env = "REGUA_TEST_AMQP_URL", hide_env_values = true)]
    pub amqp_url: String,
}

/// Which ledger and broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// PostgreSQL and RabbitMQ: separate services.
    Postgres,
    /// SQLite and the in-process broker: everything in one process.
    Sqlite,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL + RabbitMQ",
            Self::Sqlite => "SQLite + memory",
        })
    }
}

/// How large a provider is, and how fast what it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Invoices, each due today.
    pub invoices: u32,
    /// Branches, each with [`provider::CHANNELS`] numbers of its own.
    pub branches: usize,
    /// How long Opa! Suite takes to answer.
    pub answers_after: Duration,
    /// How much longer a commit takes than on this machine's disk: PostgreSQL waits before it writes its log.
    pub commits_later: Duration,
    /// As many earlier days as these are kept, each with as many messages as there are invoices; on PostgreSQL alone.
    pub days_kept: u32,
}

impl Shape {
    /// One branch, nothing slow.
    pub const fn of(invoices: u32) -> Self {
        Self { invoices, branches: 1, answers_after: Duration::ZERO, commits_later: Duration::ZERO, days_kept: 1 }
    }
}

/// A provider.
pub(crate) struct World {
    pub pipeline: Pipeline,
    pub raw: Raw,
    pub hints: Hints,
    pub invoices: u32,
    bases: Bases,
    branches: usize,
    place: Place,
}

/// Where its ledger and its queues are.
enum Place {
    Servers { servers: Servers, schema: String, prefix: String, commits_later: Duration },
    Folder(TempDir),
}

impl World {
    /// A provider of this shape, nothing decided yet, with as many messages of the year before as it has invoices.
    pub async fn new(backend: Backend, servers: &Servers, shape: Shape) -> anyhow::Result<Self> {
        let Shape { invoices, branches, answers_after, commits_later, days_kept } = shape;
        let bases = Bases::start(branches, answers_after).await?;
        let place = Place::make(backend, servers, commits_later).await?;
        let url = place.database_url();
        let ledger = Ledger::open(&url).await?;
        ledger.migrate().await?;
        ledger.set_demo_clock(provider::begin()).await?;
        ledger.apply_configuration(provider::configuration(bases.simulators(), branches)?).await?;
        let ledger_id = ledger.id().await?;
        let raw = Raw::connect(&url, ledger.now().await?).await?;
        let pipeline = Pipeline { broker: place.broker(ledger_id)?, ledger, ledger_id };
        let hints = place.hints(ledger_id);
        let world = Self { pipeline, raw, hints, invoices, bases, branches, place };
        world.wait_for_broker().await?;
        world.fill_mirror().await?;
        let history = world.plan("history").await?.into_history();
        raw::fill_history(&world, &history).await?;
        world.pipeline.ledger.finish_run(history.run.run.id, history.run.owner, None).await?;
        if days_kept > 1 {
            raw::repeat(&url, days_kept - 1).await?;
        }
        world.settle().await?;
        Ok(world)
    }

    async fn wait_for_broker(&self) -> anyhow::Result<()> {
        let connected = async {
            while self.pipeline.broker.ready_hints().await.is_err() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(GRACE, connected).await.context("the broker can't be reached")
    }

    async fn fill_mirror(&self) -> anyhow::Result<()> {
        let ledger = &self.pipeline.ledger;
        let source = ledger.sources().await?.into_iter().next().context("the configuration has a source")?;
        let sync = ledger.begin_sync(source.id, new_id()).await?.context("nobody else syncs")?;
        let page = u32::try_from(mirror::BATCH_MAX)?;
        for first in (0..self.invoices).step_by(mirror::BATCH_MAX) {
            let numbers = || first..self.invoices.min(first + page);
            let now = ledger.now().await?;
            ledger.write_customers(sync, numbers().map(provider::customer).collect(), now).await?;
            ledger.write_invoices(sync, numbers().map(|number| provider::invoice(number, self.branches)).collect(), now).await?;
        }
        Ok(ledger.end_sync(sync, true).await?)
    }

    /// Gives the planner the statistics that a database in use has. Never timed.
    pub async fn settle(&self) -> anyhow::Result<()> {
        self.raw.analyze().await
    }

    /// A run, planned now.
    pub async fn plan_run(&self, task: &str, kind: TaskKind) -> anyhow::Result<RunId> {
        let ledger = &self.pipeline.ledger;
        Ok(ledger.plan_run(task.into(), kind, ledger.now().await?, Some(provider::today())).await?.0)
    }

    /// What the raw loops write, as of a run of `task` that was just leased.
    pub async fn plan(&self, task: &str) -> anyhow::Result<Plan> {
        let run = self.plan_run(task, TaskKind::UpdateCollections).await?;
        match self.pipeline.ledger.lease_run(run, new_id(), provider::today(), None).await? {
            LeaseAnswer::Leased(leased) => Plan::make(self, *leased).await,
            other => bail!("a run that was just planned can't be leased: {other:?}"),
        }
    }

    /// Ledger and broker as another process has them; these ones where there can be only one process.
    pub async fn another_pipeline(&self) -> anyhow::Result<Pipeline> {
        let ledger_id = self.pipeline.ledger_id;
        match &self.place {
            Place::Folder(_) => Ok(self.pipeline.clone()),
            Place::Servers { .. } => {
                let ledger = Ledger::open(&self.place.database_url()).await?;
                Ok(Pipeline { broker: self.place.broker(ledger_id)?, ledger, ledger_id })
            }
        }
    }

    /// Every channel.
    pub async fn channels(&self) -> anyhow::Result<Vec<ChannelId>> {
        Ok(self.pipeline.ledger.routes().await?.into_iter().map(|route| route.channel_id).collect())
    }

    /// Messages that the provider took.
    pub fn accepted(&self) -> u64 {
        self.bases.simulators().iter().map(|simulator| simulator.stats().accepted).sum()
    }

    /// Ends everything and removes what it left on the servers.
    pub async fn end(self) -> anyhow::Result<()> {
        self.pipeline.broker.close().await;
        self.pipeline.ledger.close().await;
        self.raw.close().await;
        self.bases.end().await?;
        self.place.remove().await
    }
}

/// What a service of this provider is started with.
pub(crate) fn process() -> anyhow::Result<Process> {
    let (allow, token) = (("REGUA_ALLOW_PRIVATE_URLS", "true".into()), OpaOptions::default().token);
    let environment = Environment::only([allow, (TOKEN_VARIABLE, token)]);
    let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &environment)?;
    Ok(Process { config, environment, shutdown: Shutdown::new(GRACE), health: Health::new(), metrics: Metrics::new() })
}

impl Place {
    async fn make(backend: Backend, servers: &Servers, commits_later: Duration) -> anyhow::Result<Self> {
        if backend == Backend::Sqlite {
            return Ok(Self::Folder(tempfile::tempdir()?));
        }
        let id = Uuid::now_v7().simple();
        let (schema, prefix) = (format!("regua_bench_{id}"), format!("regua-bench-{id}"));
        let mut owner = PgConnection::connect(&servers.database_url).await.context("PostgreSQL can't be reached")?;
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut owner).await?;
        owner.close().await?;
        Ok(Self::Servers { servers: servers.clone(), schema, prefix, commits_later })
    }

    fn database_url(&self) -> String {
        match self {
            Self::Servers { servers, schema, commits_later, .. } => {
                let sign = if servers.database_url.contains('?') { '&' } else { '?' };
                let url = format!("{}{sign}options=-c%20search_path%3D{schema}", servers.database_url);
                match commits_later.as_micros() {
                    0 => url,
                    // However few others are at work.
                    delay => format!("{url}%20-c%20commit_delay%3D{delay}%20-c%20commit_siblings%3D0"),
                }
            }
            Self::Folder(folder) => format!("sqlite://{}", folder.path().join("regua.db").display()),
        }
    }

    fn broker(&self, ledger: LedgerId) -> anyhow::Result<Arc<dyn Broker>> {
        Ok(match self {
            Self::Servers { servers, prefix, .. } => {
                regua_broker::connect_prefixed(&SecretString::from(servers.amqp_url.as_str()), ledger, prefix)?
            }
            Self::Folder(_) => regua_broker::connect(&SecretString::from("memory:"), ledger)?,
        })
    }

    fn hints(&self, ledger: LedgerId) -> Hints {
        match self {
            Self::Servers { servers, prefix, .. } => Hints::rabbitmq(&servers.amqp_url, prefix, ledger),
            Self::Folder(_) => Hints::memory(),
        }
    }

    async fn remove(self) -> anyhow::Result<()> {
        let Self::Servers { servers, schema, prefix, .. } = self else { return Ok(()) };
        let mut owner = PgConnection::connect(&servers.database_url).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"))).execute(&mut owner).await?;
        owner.close().await?;
        let connection = Connection::connect(&servers.amqp_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        for queue in ["ticks", "hints", "ticks.dead", "hints.dead"] {
            channel.queue_delete(format!("{prefix}.{queue}").into(), QueueDeleteOptions::default()).await?;
        }
        channel.exchange_delete(prefix.into(), ExchangeDeleteOptions::default()).await?;
        Ok(connection.close(200, "done".into()).await?)
    }
}
