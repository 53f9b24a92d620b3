//! The stage: servers of its own, a world on them, its crew, the generator, and what was seen.

use crate::barrier;
use crate::crew::Crew;
use crate::load::{self, Load};
use crate::verdict::{Doubt, Evidence, Message, Taken, Wound};
use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use regua_domain::calendar::is_national_holiday;
use regua_domain::ids::{AttemptId, MessageId};
use regua_e2e::{World, WorldOptions, own_postgres, own_rabbitmq};
use regua_simulators::opa::Sent;
use regua_test_servers::{Postgres, RabbitMq};
use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

/// How long healing may take, in real time: leases and rests pass by moving the ledger's clock.
const RECOVERY_MAX: Duration = Duration::from_mins(3);
/// When nothing has moved for this long, the ledger's clock is moved by [`NUDGE`] …
const STILL: Duration = Duration::from_secs(1);
/// … which is more than any lease: an attempt that is on the wire then is rescued, and its result must settle that doubt.
const NUDGE: TimeDelta = TimeDelta::seconds(61);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// São Paulo's clock, which has had no summer time since 2019.
const ZONE: TimeDelta = TimeDelta::hours(-3);
/// The last hour in which the tasks begin (their configuration says 8-19), and the first.
const HOURS: std::ops::RangeInclusive<u32> = 8..=19;

/// Everything that a round works with. The crew ends first, the servers last.
pub struct Stage {
    /// The processes.
    pub crew: Crew,
    /// Ledger, queues, simulators.
    pub world: World,
    /// The generator.
    pub load: Load,
    /// The faults that struck.
    pub wounds: Vec<Wound>,
    /// Attempts of which nothing may have been sent.
    pub overslept: HashSet<AttemptId>,
    /// Messages that the operator let go.
    pub dropped: HashSet<MessageId>,
    rabbitmq: Option<RabbitMq>,
    postgres: Option<Postgres>,
}

/// What a round waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// So many runs are done, and none is planned or running.
    Decided(i64),
    /// Moreover no message is on its way.
    Quiet,
}

/// What is to be seen of the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look {
    runs: Vec<(String, i64)>,
    messages: Vec<(String, i64)>,
    accepted: u64,
}

impl Stage {
    /// Starts servers, world and crew.
    pub async fn set(seed: u64) -> Self {
        let servers = tokio::task::spawn_blocking(|| (own_rabbitmq(), own_postgres()));
        let (rabbitmq, postgres) = servers.await.expect("they start");
        let (amqp_url, database_url) = (Some(rabbitmq.amqp_url().to_owned()), Some(postgres.url().to_owned()));
        let world = World::set(WorldOptions { amqp_url, database_url, ..load::options(seed) }).await;
        let crew = Crew::start(&world).await;
        barrier::install(&world.database).await;
        world.opa.faults(load::well()).expect("a possible fault");
        let load = Load::new(&world.ixc);
        let (wounds, overslept, dropped) = (Vec::new(), HashSet::new(), HashSet::new());
        Self { crew, world, load, wounds, overslept, dropped, rabbitmq: Some(rabbitmq), postgres: Some(postgres) }
    }

    /// The broker's server, for something that blocks.
    pub async fn rabbitmq(&mut self, work: impl FnOnce(&mut RabbitMq) -> io::Result<()> + Send + 'static) {
        self.rabbitmq = Some(with(self.rabbitmq.take(), work).await);
    }

    /// The database's server, for something that blocks.
    pub async fn postgres(&mut self, work: impl FnOnce(&mut Postgres) -> io::Result<()> + Send + 'static) {
        self.postgres = Some(with(self.postgres.take(), work).await);
    }

    /// Where the broker is.
    pub fn amqp_url(&self) -> &str {
        &self.world.environment["REGUA_BROKER_URL"]
    }

    /// The ledger's clock, in microseconds since 1970.
    pub async fn now_us(&self) -> i64 {
        let now = "SELECT clock_offset_us + CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) FROM ledger";
        self.world.database.number(now).await.expect("the database is up when the clock is asked for")
    }

    /// The ledger's clock.
    pub async fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.now_us().await).expect("a date of the calendar")
    }

    /// Moves the ledger's clock, and the ERP's date with it, to the next hour at which the tasks begin.
    pub async fn next_hour(&mut self) {
        let local = (self.now().await + ZONE).naive_utc();
        let hour = local.date().and_hms_opt(local.hour(), 0, 0).expect("a whole hour") + TimeDelta::hours(1);
        let next = if HOURS.contains(&hour.hour()) && hour.date() == local.date() {
            hour
        } else {
            let days = local.date().iter_days().skip(1);
            let is_open =
                |day: &chrono::NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun) && !is_national_holiday(*day);
            let day = days.into_iter().find(is_open).expect("the calendar goes on");
            day.and_hms_opt(*HOURS.start(), 0, 0).expect("a whole hour")
        };
        self.world.ixc.move_to(next.date()).expect("forward");
        self.world.database.pass(next - local).await;
    }

    /// Moves the ledger's clock to half past, when what was decided is released; nothing if it is later.
    pub async fn half_past(&self) {
        let now = self.now().await;
        let past = TimeDelta::minutes(now.minute().into()) + TimeDelta::seconds(now.second().into());
        let left = TimeDelta::minutes(30) - past;
        if left > TimeDelta::zero() {
            self.world.database.pass(left).await;
        }
    }

    /// Waits until everybody is ready and the goal is met. Where nothing moves any more the ledger's clock does: leases, rests and backoffs pass.
    ///
    /// # Errors
    /// What it looked like when it took too long.
    pub async fn reach(&mut self, goal: Goal) -> Result<(), String> {
        let began = Instant::now();
        let (mut last, mut since) = (Look::default(), Instant::now());
        loop {
            let look = self.look().await;
            let is_ready = self.crew.is_ready().await;
            if is_ready && look.meets(goal) {
                return Ok(());
            }
            if look != last {
                (last, since) = (look, Instant::now());
            } else if since.elapsed() >= STILL {
                self.world.database.pass(NUDGE).await;
                since = Instant::now();
            }
            if began.elapsed() > RECOVERY_MAX {
                return Err(format!("not {goal:?} within {} s: ready {is_ready}, {last:?}", RECOVERY_MAX.as_secs()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for something that should happen soon; `false` when it didn't. Nothing is moved meanwhile.
    pub async fn sees(&mut self, limit: Duration, mut look: impl AsyncFnMut(&mut Self) -> bool) -> bool {
        let began = Instant::now();
        while began.elapsed() < limit {
            if look(self).await {
                return true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        false
    }

    async fn look(&self) -> Look {
        let counts = |table: &str| format!("SELECT state, count(*) FROM {table} GROUP BY state ORDER BY state");
        Look {
            runs: self.world.database.counts(&counts("runs")).await,
            messages: self.world.database.counts(&counts("messages")).await,
            accepted: self.world.opa.stats().accepted,
        }
    }

    /// Runs that are done.
    pub async fn runs_done(&self) -> i64 {
        self.world.database.count("runs WHERE state = 'done'").await
    }

    /// What the provider took.
    pub fn log(&self) -> Vec<Sent> {
        let log = self.world.opa.log().expect("the simulator's log can be read");
        log.map(|entry| entry.expect("the simulator's log is whole")).collect()
    }

    /// All that was seen.
    pub async fn evidence(&self) -> Evidence {
        let database = &self.world.database;
        let messages = "SELECT CAST(id AS TEXT), subject, state, reason FROM messages";
        // Nothing is on its way: an attempt without an outcome is one that nobody reported.
        let doubts = "SELECT CAST(message_id AS TEXT), dispatcher, CAST(slot_at AS TEXT) FROM attempts
                      WHERE outcome IS NULL OR outcome = 'doubt'";
        let runs = "SELECT CAST(id AS TEXT), state FROM runs WHERE state <> 'done'";
        let [messages, doubts, runs] = [database.texts(messages).await, database.texts(doubts).await, database.texts(runs).await];
        Evidence {
            due: self.load.due().to_vec(),
            messages: messages.into_iter().map(|row| message(&row)).collect(),
            doubts: doubts.iter().map(|row| doubt(row)).collect(),
            dropped: self.dropped.clone(),
            taken: self.log().iter().map(taken).collect(),
            wounds: self.wounds.clone(),
            overslept: self.overslept.clone(),
            violations: self.world.violations().await,
            bad_runs: runs.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect(),
        }
    }
}

impl Look {
    fn meets(&self, goal: Goal) -> bool {
        let count = |counts: &[(String, i64)], states: &[&str]| -> i64 {
            counts.iter().filter(|(state, _)| states.contains(&state.as_str())).map(|(_, count)| count).sum()
        };
        let idle = count(&self.runs, &["planned", "running"]) == 0;
        match goal {
            Goal::Decided(done) => idle && count(&self.runs, &["done"]) >= done,
            Goal::Quiet => idle && count(&self.messages, &["held", "scheduled", "queued", "sending"]) == 0,
        }
    }
}

async fn with<S: Send + 'static>(server: Option<S>, work: impl FnOnce(&mut S) -> io::Result<()> + Send + 'static) -> S {
    let mut server = server.expect("it was put back the last time");
    let done = tokio::task::spawn_blocking(move || work(&mut server).map(|()| server));
    done.await.expect("it ran").expect("the server can be stopped and started")
}

fn message(row: &[String]) -> Message {
    let [id, invoice, state, reason] = row else { unreachable!("four columns were asked for") };
    Message { id: id.parse().expect("an id"), invoice: invoice.clone(), state: state.clone(), reason: reason.clone() }
}

/// A dispatcher's name ends with its process id.
fn doubt(row: &[String]) -> Doubt {
    let [message, dispatcher, slot] = row else { unreachable!("three columns were asked for") };
    let process =
        dispatcher.rsplit('-').next().and_then(|id| id.parse().ok()).expect("a dispatcher's name ends with its process id");
    Doubt { message: message.parse().expect("an id"), process, slot_at: slot.parse().expect("an instant") }
}

/// The text's first value is the invoice's number.
fn taken(sent: &Sent) -> Taken {
    let invoice = sent.variaveis.positional().first().cloned().unwrap_or_default();
    Taken { invoice, attempt: sent.metadata["attempt"].as_str().and_then(|id| id.parse().ok()) }
}
