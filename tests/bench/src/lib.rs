//! How fast Régua is, beside raw loops that do the same work without any decision: `cargo xtask bench`.
//!
//! # What is measured
//! | part | from | to | the raw loop beside it |
//! |---|---|---|---|
//! | invoices evaluated/s | the tick of update-collections is published | its run is done | inserts the same messages, texts and run counters in batches of the same size |
//! | hints released/s | the watermark is raised | the last hint is confirmed, with the bound lifted | marks the same rows in batches of the same size, then publishes with 500 confirms outstanding |
//! | messages sent/s | hints are queued, the dispatchers start | the last message is `sent` | consumes, writes the rows of *start*, posts the same bodies, writes the rows of *finish*, acks |
//!
//! Ours are the services' own functions over a real RabbitMQ and PostgreSQL, and over SQLite and the in-process broker. The raw loops are
//! plain sqlx, lapin and reqwest by the fastest ways known: `UNNEST` on PostgreSQL, many rows per `VALUES` and a group commit on SQLite,
//! pipelined confirms, acks written together. They read nothing: what they write and send was worked out before. The transactions hold the
//! same rows, and as many messages of a channel are under way at once.
//!
//! # How to read it
//! The ratio, ours over raw, is the figure to look at: what the decisions, the re-checks and the fences cost. It is taken pair by pair in
//! the same minute on the same servers, so it holds when the machine's speed drifts; absolute rates are this machine's, with client,
//! servers and the simulated Opa! Suite on the same processors. Three repetitions give min/median/max; a wide spread, or a load average
//! above the number of processors before it began, says that something else was at work. Attempts per message above 1 are slots that came
//! too late to be used, were given back and taken again: they cost speed, never a second sending.
//!
//! One WhatsApp number sends 80 messages per second by default and 1000 at most, so a real provider waits for its limit, not for Régua.

mod arguments;
mod bases;
mod figures;
pub mod fleet;
mod meter;
mod ours;
mod provider;
mod raw;
pub mod scale;
mod world;

pub use arguments::{Arguments, print};
pub use figures::{Figure, Pair, Part, Report, Setup, Triple};
pub use world::{Backend, Servers};

use anyhow::{Context as _, anyhow};
use lapin::uri::AMQPUri;
use regua_ledger::evaluation::{PAGE_POSTGRES, PAGE_SQLITE};
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use regua_telemetry::logging;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use world::{Shape, World};

/// The in-process broker refuses to hold more hints.
pub const INVOICES_MAX: u32 = 65_536;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Invoices, at most [`INVOICES_MAX`].
    pub invoices: u32,
    /// How often.
    pub repetitions: u32,
    /// On what.
    pub backends: Vec<Backend>,
    /// The servers of [`Backend::Postgres`].
    pub servers: Servers,
}

/// Lets Régua tell only what goes wrong: one line per attempt would be written for each message sent.
///
/// # Errors
/// As [`logging::init`].
pub fn quiet() -> anyhow::Result<logging::Guard> {
    // Filling a ledger takes seconds a statement, which sqlx would warn of.
    let log = Environment::process().get("REGUA_LOG").unwrap_or_else(|| "warn,sqlx::query=error".into());
    let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &Environment::only([("REGUA_LOG", log)]))?;
    Ok(logging::init("bench", &config)?)
}

/// Measures everything.
///
/// # Errors
/// A server that can't be used, or a part that came to another result than it must.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    regua_telemetry::install_tls_provider();
    let before = load_average();
    let mut figures = Vec::new();
    for backend in &options.backends {
        let mut measured = Measured::default();
        for _ in 0..options.repetitions {
            measured.repeat(*backend, options).await?;
        }
        figures.extend(measured.figures(*backend));
    }
    let versions = versions(options).await?;
    Ok(Report { setup: setup(options, versions, [before, load_average()]), figures })
}

/// The repetitions so far.
#[derive(Default)]
struct Measured {
    evaluate: Vec<Pair>,
    release: Vec<Pair>,
    dispatch: [Vec<Pair>; 2],
    attempts: [Vec<f64>; 2],
}

impl Measured {
    /// One repetition: ours and raw in turn, each in a world of its own.
    async fn repeat(&mut self, backend: Backend, options: &Options) -> anyhow::Result<()> {
        for dispatchers in [1, 2] {
            let place = dispatchers - 1;
            let ours = Ours::measure(backend, options, dispatchers).await?;
            let raw = Raw::measure(backend, options, dispatchers).await?;
            self.evaluate.push(Pair { ours: ours.evaluate, raw: raw.evaluate });
            self.release.push(Pair { ours: ours.release, raw: raw.release });
            self.dispatch[place].push(Pair { ours: ours.dispatch, raw: raw.dispatch });
            self.attempts[place].push(ours.attempts);
        }
        Ok(())
    }

    fn figures(self, backend: Backend) -> [Figure; 4] {
        let ([one, two], [attempts_one, attempts_two]) = (self.dispatch, self.attempts);
        [
            Figure::of(backend, Part::Evaluate, self.evaluate, &[]),
            Figure::of(backend, Part::Release, self.release, &[]),
            Figure::of(backend, Part::DispatchOne, one, &attempts_one),
            Figure::of(backend, Part::DispatchTwo, two, &attempts_two),
        ]
    }
}

/// Régua's rates in one world.
struct Ours {
    evaluate: f64,
    release: f64,
    dispatch: f64,
    attempts: f64,
}

impl Ours {
    async fn measure(backend: Backend, options: &Options, dispatchers: usize) -> anyhow::Result<Self> {
        let world = World::new(backend, &options.servers, Shape::of(options.invoices)).await?;
        let channels = world.channels().await?;
        let evaluated = ours::evaluate(&world).await?;
        world.settle().await?;
        let released = ours::release(&world, &channels).await?;
        world.settle().await?;
        let dispatched = ours::dispatch(&world, dispatchers).await?;
        world.end().await?;
        let rate = |took| rate(options.invoices, took);
        Ok(Self {
            evaluate: rate(evaluated),
            release: rate(released),
            dispatch: rate(dispatched.took),
            attempts: dispatched.attempts,
        })
    }
}

/// The raw loops' rates in one world.
struct Raw {
    evaluate: f64,
    release: f64,
    dispatch: f64,
}

impl Raw {
    async fn measure(backend: Backend, options: &Options, dispatchers: usize) -> anyhow::Result<Self> {
        let world = World::new(backend, &options.servers, Shape::of(options.invoices)).await?;
        let (channels, plan) = (world.channels().await?, world.plan("raw").await?);
        let evaluated = timed(raw::evaluate(&world, &plan)).await?;
        world.settle().await?;
        let released = timed(raw::release(&world, &plan, &channels)).await?;
        world.settle().await?;
        let dispatched = timed(raw::dispatch(&world, &plan, dispatchers)).await?;
        anyhow::ensure!(world.raw.unsent().await? == 0, "the raw loop left messages unsent");
        world.end().await?;
        let rate = |took| rate(options.invoices, took);
        Ok(Self { evaluate: rate(evaluated), release: rate(released), dispatch: rate(dispatched) })
    }
}

async fn timed(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    work.await?;
    Ok(began.elapsed())
}

fn rate(number: u32, took: Duration) -> f64 {
    f64::from(number) / took.as_secs_f64()
}

fn setup(options: &Options, versions: Vec<(String, String)>, load_average: [String; 2]) -> Setup {
    let size = |name: &str, size: usize| (name.to_owned(), size);
    Setup {
        invoices: options.invoices,
        repetitions: options.repetitions,
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        load_average,
        versions,
        sizes: vec![
            size("channels", provider::CHANNELS),
            size("evaluation batch on PostgreSQL", PAGE_POSTGRES as usize),
            size("evaluation batch on SQLite", PAGE_SQLITE as usize),
            size("release batch", raw::RELEASE_BATCH),
            size("under way per channel and dispatcher", raw::PLACES),
        ],
    }
}

async fn versions(options: &Options) -> anyhow::Result<Vec<(String, String)>> {
    let mut versions = vec![("Régua".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    for backend in &options.backends {
        let world = World::new(*backend, &options.servers, Shape::of(0)).await?;
        let database = if *backend == Backend::Postgres { "PostgreSQL" } else { "SQLite" };
        versions.push((database.to_owned(), world.raw.version().await?));
        world.end().await?;
    }
    if options.backends.contains(&Backend::Postgres) {
        versions.push(("RabbitMQ".to_owned(), rabbitmq_version(&options.servers.amqp_url).await?));
    }
    Ok(versions)
}

/// A broker tells its version to everybody who says hello (AMQP 0-9-1, connection.start); lapin keeps it to itself.
async fn rabbitmq_version(url: &str) -> anyhow::Result<String> {
    let AMQPUri { authority, .. } = url.parse().map_err(|_| anyhow!("no AMQP URL"))?;
    let mut stream = TcpStream::connect((authority.host, authority.port)).await.context("RabbitMQ can't be reached")?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let mut header = [0; 7]; // frame type, channel, payload size
    stream.read_exact(&mut header).await?;
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let mut payload = Vec::new();
    stream.take(size.into()).read_to_end(&mut payload).await?;
    // A long string in a table: its name, `S`, its length in four bytes, itself.
    let name = b"versionS";
    let value = payload.windows(name.len()).position(|window| window == name).map(|at| &payload[at + name.len()..]);
    let version = value.and_then(|value| value.get(4..4 + usize::from(*value.get(3)?)));
    Ok(version.map_or_else(|| "unknown".into(), |version| String::from_utf8_lossy(version).into_owned()))
}

/// The system's own three load averages; where it has none, so it says.
fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .map_or_else(|_| "unknown".into(), |text| text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}
