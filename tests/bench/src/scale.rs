//! What one ledger, one broker and some dispatchers carry, and what a message costs them: `cargo xtask scale`.
//!
//! Each case is the same work, evaluated and sent on PostgreSQL and RabbitMQ, with one thing changed; the last is SQLite
//! in one process. Compare a case with the first: absolute rates are this machine's. What is used per message adds up over the machines of a stack, so that it says how many a load needs:
//! ops/docs/scale.md does that.

use crate::figures::Triple;
use crate::meter::Meter;
use crate::provider::CHANNELS;
use crate::world::{Backend, Servers, Shape, World};
use crate::{ours, rate};
use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};

/// Rounds of top-up that are timed once nothing is left.
const ROUNDS: u32 = 20;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Invoices of each repetition.
    pub invoices: u32,
    /// How often each case.
    pub repetitions: u32,
    /// Only cases in whose name one of these stands; all if empty.
    pub only: Vec<String>,
    /// The servers.
    pub servers: Servers,
}

/// One thing that is different.
struct Case {
    name: &'static str,
    backend: Backend,
    dispatchers: usize,
    shape: Shape,
}

fn cases(invoices: u32) -> Vec<Case> {
    let plain = Shape::of(invoices);
    let case = |name, dispatchers, shape| Case { name, backend: Backend::Postgres, dispatchers, shape };
    let branches = |branches| Shape { branches, ..plain };
    let commits = |ms| Shape { commits_later: Duration::from_millis(ms), ..plain };
    let kept = |days_kept| Shape { days_kept, ..plain };
    let far = Shape { answers_after: Duration::from_millis(300), ..plain };
    vec![
        case("1 dispatcher", 1, plain),
        case("2 dispatchers", 2, plain),
        case("4 dispatchers", 4, plain),
        case("70 numbers", 1, branches(10)),
        case("350 numbers", 1, branches(50)),
        case("100 days kept", 1, kept(100)),
        case("commits 2 ms later", 1, commits(2)),
        case("commits 5 ms later", 1, commits(5)),
        case("commits 5 ms later, 4 dispatchers", 4, commits(5)),
        case("answers after 300 ms", 1, far),
        case("answers after 300 ms, 2 dispatchers", 2, far),
        Case { name: "one process on SQLite", backend: Backend::Sqlite, dispatchers: 1, shape: plain },
    ]
}

/// Measures every case.
///
/// # Errors
/// A server that can't be used, or a case that came to another result than it must.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    regua_telemetry::install_tls_provider();
    let mut report = Report { invoices: options.invoices, repetitions: options.repetitions, cases: Vec::new() };
    let wanted = |case: &Case| options.only.is_empty() || options.only.iter().any(|part| case.name.contains(part.as_str()));
    for case in cases(options.invoices).into_iter().filter(wanted) {
        let mut once = Vec::new();
        for _ in 0..options.repetitions {
            once.push(measure(&case, options).await?);
        }
        report.cases.push(Figures::of(&case, &once));
    }
    Ok(report)
}

/// One repetition.
struct Once {
    evaluated: f64,
    sent: f64,
    attempts: f64,
    regua_us: f64,
    postgres_us: Option<f64>,
    rabbitmq_us: Option<f64>,
    log: f64,
    kept: f64,
    round_ms: f64,
}

async fn measure(case: &Case, options: &Options) -> anyhow::Result<Once> {
    let world = World::new(case.backend, &options.servers, case.shape).await?;
    let meter = if case.backend == Backend::Postgres { Meter::of(&options.servers) } else { Meter::default() };
    let before = meter.read(&world).await?;
    let evaluated = ours::evaluate(&world).await?;
    let by_evaluating = meter.read(&world).await?.since(before);
    // The statistics cost what the days kept are, not what this day is.
    world.settle().await?;
    let before = meter.read(&world).await?;
    world.pipeline.ledger.release_through(world.pipeline.ledger.now().await?).await?;
    let dispatched = ours::dispatch(&world, case.dispatchers).await?;
    let used = by_evaluating.and(meter.read(&world).await?.since(before));
    let round = top_up_round(&world).await?;
    #[allow(clippy::cast_precision_loss, reason = "bytes and messages are far below 2^52")]
    let kept = world.raw.bytes().await? as f64 / world.raw.messages().await? as f64;
    world.end().await?;
    let messages = f64::from(case.shape.invoices);
    let us = |time: Duration| time.as_secs_f64() * 1e6 / messages;
    #[allow(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
    let log = used.log as f64 / messages;
    Ok(Once {
        evaluated: rate(case.shape.invoices, evaluated),
        sent: rate(case.shape.invoices, dispatched.took),
        attempts: dispatched.attempts,
        regua_us: us(used.regua),
        postgres_us: used.postgres.map(us),
        rabbitmq_us: used.rabbitmq.map(us),
        log,
        kept,
        round_ms: round.as_secs_f64() * 1e3,
    })
}

/// What a round of top-up takes that finds nothing to do.
async fn top_up_round(world: &World) -> anyhow::Result<Duration> {
    let began = Instant::now();
    for _ in 0..ROUNDS {
        regua_pipeline::release(&world.pipeline).await?;
    }
    Ok(began.elapsed() / ROUNDS)
}

/// The figures of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What is different in it.
    pub case: &'static str,
    /// WhatsApp numbers.
    pub numbers: usize,
    /// Invoices evaluated per second.
    pub evaluated: Triple,
    /// Messages sent per second, from the instant at which they may go: topped up beside the dispatchers, as a scheduler does it.
    pub sent: Triple,
    /// Attempts per message.
    pub attempts: Triple,
    /// Processor time of scheduler, evaluator and dispatchers together, microseconds per message, evaluated, released and sent.
    pub regua_us: Triple,
    /// The same of PostgreSQL; nothing where it runs elsewhere.
    pub postgres_us: Option<Triple>,
    /// The same of RabbitMQ; nothing where it runs elsewhere.
    pub rabbitmq_us: Option<Triple>,
    /// Bytes of PostgreSQL's log per message; 0 on SQLite.
    pub log_bytes: Triple,
    /// Bytes that a message with its text and attempt takes in the ledger, with indexes; 0 on SQLite.
    pub kept_bytes: Triple,
    /// Milliseconds of a round of top-up over all numbers that finds nothing.
    pub round_ms: Triple,
}

impl Figures {
    fn of(case: &Case, once: &[Once]) -> Self {
        let triple = |figure: fn(&Once) -> f64| Triple::of(once.iter().map(figure));
        let some = |figure: fn(&Once) -> Option<f64>| {
            let figures: Vec<f64> = once.iter().filter_map(figure).collect();
            (!figures.is_empty()).then(|| Triple::of(figures))
        };
        Self {
            case: case.name,
            numbers: case.shape.branches * CHANNELS,
            evaluated: triple(|once| once.evaluated),
            sent: triple(|once| once.sent),
            attempts: triple(|once| once.attempts),
            regua_us: triple(|once| once.regua_us),
            postgres_us: some(|once| once.postgres_us),
            rabbitmq_us: some(|once| once.rabbitmq_us),
            log_bytes: triple(|once| once.log),
            kept_bytes: triple(|once| once.kept),
            round_ms: triple(|once| once.round_ms),
        }
    }
}

/// All cases.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Invoices of each repetition.
    pub invoices: u32,
    /// Repetitions.
    pub repetitions: u32,
    /// The cases.
    pub cases: Vec<Figures>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} invoices; medians of {} repetitions (least to most of what is sent)", self.invoices, self.repetitions)?;
        writeln!(
            f,
            "{:<36} {:>7} {:>11} {:>19} {:>8} | {:>6} {:>10} {:>8} {:>9} | {:>9} {:>13}",
            "", "numbers", "evaluated/s", "sent/s", "attempts", "Régua", "PostgreSQL", "RabbitMQ", "log", "kept", "top-up round"
        )?;
        for case in &self.cases {
            let or_dash =
                |figure: Option<Triple>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{:.0}", figure.median));
            writeln!(
                f,
                "{:<36} {:>7} {:>11.0} {:>19} {:>8.2} | {:>6.0} {:>10} {:>5} µs {:>7.0} B | {:>7.0} B {:>10.1} ms",
                case.case,
                case.numbers,
                case.evaluated.median,
                format!("{:.0} ({:.0} to {:.0})", case.sent.median, case.sent.min, case.sent.max),
                case.attempts.median,
                case.regua_us.median,
                or_dash(case.postgres_us),
                or_dash(case.rabbitmq_us),
                case.log_bytes.median,
                case.kept_bytes.median,
                case.round_ms.median,
            )?;
        }
        Ok(())
    }
}
