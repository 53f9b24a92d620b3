//! The faults: a closed set, each with how it is inflicted and how it is healed.

use crate::barrier::{Barrier, Point};
use crate::crew::Place;
use crate::load;
use crate::stage::Stage;
use crate::verdict::{Doubts, Wound};
use chrono::TimeDelta;
use regua_e2e::{Program, Queues};
use regua_simulators::{Fault, FaultKind};
use std::time::Duration;

/// How long a fault is given to show.
const SHOWS_WITHIN: Duration = Duration::from_secs(6);
/// Longer than a dispatcher may take from asking for a start to writing the request (2 s).
const OVERSLEEP: Duration = Duration::from_millis(2500);
/// More than an attempt's lease of 60 s.
const PAST_LEASE: TimeDelta = TimeDelta::seconds(61);
/// A doubtful attempt may have been started so long before its cause: a lease, and what nudges pass.
const STARTED_BEFORE_US: i64 = 180_000_000;
const SENDS: &str = "/template/send";

/// When in a round a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// While a run reads the ERP and decides.
    Deciding,
    /// While messages are sent.
    Sending,
    /// Either, as drawn.
    Any,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $moment:ident;)+) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $kind,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// The name in the table and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// When it strikes.
            pub const fn moment(self) -> Moment {
                match self { $(Self::$kind => Moment::$moment,)+ }
            }
        }
    };
}

kinds! {
    /// An evaluator is killed with a batch inserted and not committed.
    KillInserting = "kill-evaluator-in-batch", Deciding;
    /// An evaluator sleeps past its run's lease, in the middle of a batch.
    FreezeEvaluator = "freeze-evaluator-past-lease", Deciding;
    /// A scheduler is killed between the commit of a top-up and its hints.
    KillMarked = "kill-scheduler-before-hints", Sending;
    /// A dispatcher is killed between the commit of a start and the request.
    KillStarted = "kill-dispatcher-before-request", Sending;
    /// A dispatcher is killed between the provider's answer and the commit of the finish.
    KillFinishing = "kill-dispatcher-before-finish", Sending;
    /// A dispatcher is killed between the commit of the finish and the ack.
    KillFinished = "kill-dispatcher-before-ack", Sending;
    /// A dispatcher sleeps past its lease between the commit of a start and the request, and wakes.
    FreezeDispatcher = "freeze-dispatcher-past-lease", Sending;
    /// A scheduler is killed.
    KillScheduler = "kill-scheduler", Any;
    /// An evaluator is killed.
    KillEvaluator = "kill-evaluator", Any;
    /// A dispatcher is killed.
    KillDispatcher = "kill-dispatcher", Sending;
    /// A scheduler sleeps.
    FreezeScheduler = "freeze-scheduler", Any;
    /// A program's processes are restarted one after another, as a deployment does.
    Roll = "rolling-restart", Any;
    /// The provider takes connections and says nothing.
    ProviderHangs = "provider-hangs", Sending;
    /// The provider resets connections after it has taken the message.
    ProviderResets = "provider-resets", Sending;
    /// The provider cuts its answer off after it has taken the message.
    ProviderCuts = "provider-cuts-answer", Sending;
    /// The provider answers one byte a second.
    ProviderTrickles = "provider-trickles", Sending;
    /// The provider throttles: 429 with Retry-After.
    ProviderThrottles = "provider-429", Sending;
    /// The provider fails, before or after it has taken the message: 500.
    ProviderFails = "provider-500", Sending;
    /// The provider is overloaded: 503.
    ProviderUnavailable = "provider-503", Sending;
    /// The provider answers what can't be understood.
    ProviderMumbles = "provider-invalid-body", Sending;
    /// The ERP closes every connection.
    ErpDown = "erp-down", Deciding;
    /// The ERP takes its time.
    ErpSlow = "erp-slow", Deciding;
    /// The ERP answers 502.
    ErpFails = "erp-5xx", Deciding;
    /// The ERP answers HTML with 200.
    ErpHtml = "erp-html-200", Deciding;
    /// One host's clock is set wrong.
    ClockStepped = "clock-stepped", Any;
    /// Hints are purged.
    QueuePurged = "queue-purged", Sending;
    /// Every queue is deleted.
    QueuesDeleted = "queues-deleted", Any;
    /// The broker is stopped.
    BrokerStopped = "broker-stopped", Any;
    /// The broker is killed and its queues are gone.
    BrokerKilled = "broker-killed-queues-lost", Any;
    /// The database is stopped.
    DatabaseStopped = "database-stopped", Any;
    /// The database crashes.
    DatabaseCrashed = "database-crashed", Any;
}

impl Kind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// One fault as drawn: everything that chance decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// What.
    pub kind: Kind,
    /// While deciding, not while sending.
    pub while_deciding: bool,
    /// To whom, of those who may be hit.
    pub target: usize,
    /// After how many of the round's messages the provider has taken; and how often a fault of the provider strikes.
    pub number: u64,
}

/// A fault that struck and isn't healed.
pub struct Inflicted {
    /// What.
    pub kind: Kind,
    /// Whom, in words.
    pub target: String,
    from: i64,
    doubts: Doubts,
    remedy: Remedy,
}

enum Remedy {
    None,
    Start(Place),
    Thaw(Place),
    SetClock(Place),
    ClearProvider,
    ClearErp,
    StartBroker,
    RestartBroker,
    StartDatabase,
}

impl Drawn {
    /// Inflicts it; `None` if it found nothing to strike.
    pub async fn inflict(self, stage: &mut Stage) -> Option<Inflicted> {
        let from = stage.now_us().await - STARTED_BEFORE_US;
        let awake = [Program::Scheduler, Program::BillingEvaluator, Program::Dispatcher].map(|program| stage.crew.awake(program));
        let one = |places: &[Place]| places.get(self.target % places.len().max(1)).copied();
        let [scheduler, evaluator, dispatcher] = awake.each_ref().map(|places| one(places));
        let (target, doubts, remedy) = match self.kind {
            Kind::KillInserting => kill_at(stage, Point::Inserting, &awake[1]).await?,
            Kind::KillMarked => kill_at(stage, Point::Marked, &awake[0]).await?,
            Kind::KillStarted => kill_committed(stage, Point::Started, dispatcher?).await?,
            Kind::KillFinishing => kill_at(stage, Point::Finishing, &[dispatcher?]).await?,
            Kind::KillFinished => kill_committed(stage, Point::Finished, dispatcher?).await?,
            Kind::FreezeDispatcher => oversleep(stage, dispatcher?).await?,
            Kind::FreezeEvaluator => freeze_evaluator(stage, &awake[1]).await?,
            Kind::FreezeScheduler => {
                let place = scheduler?;
                stage.crew.freeze(place);
                stage.world.database.pass(PAST_LEASE).await;
                (place.to_string(), Doubts::Nobodys, Remedy::Thaw(place))
            }
            Kind::KillScheduler => kill(stage, scheduler?),
            Kind::KillEvaluator => kill(stage, evaluator?),
            Kind::KillDispatcher => kill(stage, dispatcher?),
            Kind::Roll => {
                let [schedulers, evaluators, dispatchers] = awake;
                roll(stage, [schedulers, evaluators, dispatchers].into_iter().nth(self.target % 3)?).await
            }
            Kind::ClockStepped => step_clock(stage, one(&awake.concat())?, self.target).await?,
            Kind::ProviderHangs
            | Kind::ProviderResets
            | Kind::ProviderCuts
            | Kind::ProviderTrickles
            | Kind::ProviderThrottles
            | Kind::ProviderFails
            | Kind::ProviderUnavailable
            | Kind::ProviderMumbles => self.spoil_provider(stage).await?,
            Kind::ErpDown | Kind::ErpSlow | Kind::ErpFails | Kind::ErpHtml => self.spoil_erp(stage).await?,
            Kind::QueuePurged => {
                let queues = Queues::connect(stage.amqp_url()).await;
                let purged = queues.purge("regua.hints").await;
                (format!("{purged} hints"), Doubts::Nobodys, Remedy::None)
            }
            Kind::QueuesDeleted => {
                Queues::connect(stage.amqp_url()).await.clear().await;
                ("every queue".into(), Doubts::Nobodys, Remedy::None)
            }
            Kind::BrokerStopped | Kind::BrokerKilled => self.stop_broker(stage).await,
            Kind::DatabaseStopped | Kind::DatabaseCrashed => self.stop_database(stage).await,
        };
        Some(Inflicted { kind: self.kind, target, from, doubts, remedy })
    }

    /// What the provider does wrong, so often; the kinds of other sides do nothing here.
    fn provider_faults(self) -> Vec<Fault> {
        let status = |code, retry_after: Option<&str>| FaultKind::Status { code, body: None, retry_after: retry_after.map(Into::into) };
        let (kinds, taken) = match self.kind {
            Kind::ProviderHangs => (vec![FaultKind::HangAfterAccept], false),
            Kind::ProviderResets => (vec![FaultKind::ResetAfterReading], true),
            Kind::ProviderCuts => (vec![FaultKind::TruncatedBody], true),
            Kind::ProviderTrickles => (vec![FaultKind::SlowBody], true),
            Kind::ProviderThrottles => (vec![status(429, Some("7"))], false),
            Kind::ProviderFails => (vec![status(500, None)], self.target.is_multiple_of(2)),
            Kind::ProviderUnavailable => (vec![status(503, None)], false),
            _ => (vec![FaultKind::MalformedBody, FaultKind::Html200], true),
        };
        let fault = |kind| Fault { path: Some(SENDS.into()), count: Some(self.number), after_accept: taken, ..Fault::always(kind) };
        kinds.into_iter().map(fault).collect()
    }

    async fn spoil_provider(self, stage: &mut Stage) -> Option<(String, Doubts, Remedy)> {
        let before = strikes(&stage.world.opa.stats().faults);
        // The first that strikes wins: before the latency, which lets others strike, too.
        stage.world.opa.clear_faults();
        let faults = self.provider_faults().into_iter().chain(load::well()).collect();
        stage.world.opa.faults(faults).expect("possible faults");
        let number = self.number;
        let struck = async |stage: &mut Stage| strikes(&stage.world.opa.stats().faults) >= before + number;
        stage.sees(SHOWS_WITHIN, struck).await;
        let struck = strikes(&stage.world.opa.stats().faults) - before;
        if struck == 0 {
            stage.world.opa.clear_faults();
            stage.world.opa.faults(load::well()).expect("a possible fault");
            return None;
        }
        let proves_nothing = !matches!(self.kind, Kind::ProviderThrottles | Kind::ProviderUnavailable);
        let doubts = if proves_nothing { Doubts::Everybodys(Place::of(Program::Dispatcher).len()) } else { Doubts::Nobodys };
        Some((format!("{struck} requests"), doubts, Remedy::ClearProvider))
    }

    async fn spoil_erp(self, stage: &mut Stage) -> Option<(String, Doubts, Remedy)> {
        let kind = match self.kind {
            Kind::ErpDown => FaultKind::ResetBeforeReading,
            Kind::ErpSlow => FaultKind::LatencyMs { ms: 2000 },
            Kind::ErpFails => FaultKind::Status { code: 502, body: Some("<html>".into()), retry_after: None },
            _ => FaultKind::Html200,
        };
        stage.world.ixc.faults(vec![Fault::always(kind)]).expect("a possible fault");
        let all = async |stage: &mut Stage| stage.world.ixc.stats().faults.values().sum::<u64>();
        let before = all(stage).await;
        let struck = stage.sees(SHOWS_WITHIN, async |stage| all(stage).await > before).await;
        if !struck {
            stage.world.ixc.clear_faults();
            return None;
        }
        Some(("every request".into(), Doubts::Nobodys, Remedy::ClearErp))
    }

    async fn stop_broker(self, stage: &mut Stage) -> (String, Doubts, Remedy) {
        let remedy = if self.kind == Kind::BrokerStopped {
            stage.rabbitmq(|server| server.stop_app()).await;
            Remedy::StartBroker
        } else {
            stage.rabbitmq(regua_test_servers::RabbitMq::kill).await;
            Remedy::RestartBroker
        };
        let everybody: Vec<Place> = Place::all().collect();
        stage.sees(SHOWS_WITHIN, async |stage| stage.crew.notices(&everybody).await).await;
        ("RabbitMQ".into(), Doubts::Nobodys, remedy)
    }

    async fn stop_database(self, stage: &mut Stage) -> (String, Doubts, Remedy) {
        if self.kind == Kind::DatabaseStopped {
            stage.postgres(regua_test_servers::Postgres::stop).await;
        } else {
            stage.postgres(regua_test_servers::Postgres::crash).await;
        }
        let everybody: Vec<Place> = Place::all().collect();
        stage.sees(SHOWS_WITHIN, async |stage| stage.crew.notices(&everybody).await).await;
        // A result that couldn't be written is tried again until it is: no doubt stays.
        ("PostgreSQL".into(), Doubts::Nobodys, Remedy::StartDatabase)
    }
}

impl Inflicted {
    /// Heals it, and says what it was.
    pub async fn heal(self, stage: &mut Stage, round: usize) -> Wound {
        match self.remedy {
            Remedy::None => {}
            Remedy::Start(place) => stage.crew.start_again(place),
            Remedy::Thaw(place) => stage.crew.thaw(place),
            Remedy::SetClock(place) => stage.crew.step_clock(place, 0),
            Remedy::ClearProvider => {
                stage.world.opa.clear_faults();
                stage.world.opa.faults(load::well()).expect("a possible fault");
            }
            Remedy::ClearErp => stage.world.ixc.clear_faults(),
            Remedy::StartBroker => stage.rabbitmq(|server| server.start_app()).await,
            Remedy::RestartBroker => {
                stage.rabbitmq(regua_test_servers::RabbitMq::restart).await;
                Queues::connect(stage.amqp_url()).await.clear().await;
            }
            Remedy::StartDatabase => stage.postgres(regua_test_servers::Postgres::start_again).await,
        }
        let until = stage.now_us().await;
        Wound { kind: self.kind.name(), round, from: self.from, until, doubts: self.doubts }
    }

    /// Whether the database can't be asked now.
    pub fn is_database_down(&self) -> bool {
        matches!(self.remedy, Remedy::StartDatabase)
    }
}

fn strikes(faults: &std::collections::BTreeMap<String, u64>) -> u64 {
    faults.iter().filter(|(kind, _)| *kind != "latency_ms").map(|(_, times)| times).sum()
}

type Struck = (String, Doubts, Remedy);

fn kill(stage: &mut Stage, place: Place) -> Struck {
    let id = stage.crew.kill(place);
    let doubts = if place.program() == Program::Dispatcher { Doubts::Of(id) } else { Doubts::Nobodys };
    (place.to_string(), doubts, Remedy::Start(place))
}

/// Kills whoever of these first stands at a point before its commit: it rolls back.
async fn kill_at(stage: &mut Stage, point: Point, places: &[Place]) -> Option<Struck> {
    let barrier = Barrier::raise(&stage.world.database, point, places).await;
    let reached = barrier.reached().await;
    let struck = reached.map(|place| kill(stage, place));
    barrier.lower().await;
    struck
}

/// Kills a process whose commit is done and which doesn't know it yet.
async fn kill_committed(stage: &mut Stage, point: Point, place: Place) -> Option<Struck> {
    freeze_committed(stage, point, place).await?;
    Some(kill(stage, place))
}

/// Suspends a process while its commit waits, lets the commit through, and sees to it that it went through.
async fn freeze_committed(stage: &mut Stage, point: Point, place: Place) -> Option<()> {
    let barrier = Barrier::raise(&stage.world.database, point, &[place]).await;
    let reached = barrier.reached().await;
    if reached.is_some() {
        stage.crew.freeze(place);
    }
    let committing = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    barrier.lower().await;
    reached?;
    stage.sees(SHOWS_WITHIN, async |stage| stage.world.database.number(committing).await == Some(0)).await.then_some(())
}

/// A dispatcher has committed a start and sleeps; its lease ends, its messages are rescued; it wakes and may send nothing.
async fn oversleep(stage: &mut Stage, place: Place) -> Option<Struck> {
    freeze_committed(stage, Point::Started, place).await?;
    let began = std::time::Instant::now();
    let id = stage.crew.service(place).id();
    let open = format!("FROM attempts WHERE outcome IS NULL AND dispatcher LIKE '%-{id}'");
    // Those of one start were written by one transaction.
    let newest = format!("SELECT CAST(id AS TEXT) {open} AND xmin = (SELECT xmin {open} ORDER BY slot_at DESC LIMIT 1)");
    let attempts = stage.world.database.texts(&newest).await;
    stage.world.database.pass(PAST_LEASE).await;
    let sending = format!("SELECT count(*) FROM messages WHERE state = 'sending' AND attempt_id IN (SELECT id {open})");
    let rescued = async |stage: &mut Stage| {
        began.elapsed() >= OVERSLEEP && stage.world.database.number(&sending).await == Some(0)
    };
    stage.sees(SHOWS_WITHIN, rescued).await;
    stage.overslept.extend(attempts.iter().map(|row| row[0].parse::<regua_domain::ids::AttemptId>().expect("an id")));
    Some((place.to_string(), Doubts::Nobodys, Remedy::Thaw(place)))
}

/// An evaluator sleeps with a batch inserted and not committed, until its run belongs to the other one.
async fn freeze_evaluator(stage: &mut Stage, places: &[Place]) -> Option<Struck> {
    let barrier = Barrier::raise(&stage.world.database, Point::Inserting, places).await;
    let reached = barrier.reached().await;
    if let Some(place) = reached {
        stage.crew.freeze(place);
    }
    barrier.lower().await;
    let place = reached?;
    stage.world.database.pass(PAST_LEASE).await;
    let running = "runs WHERE state IN ('planned', 'running')";
    // The sleeper's transaction holds its locks until the database ends it after 10 s.
    stage.sees(SHOWS_WITHIN * 3, async |stage| stage.world.database.count(running).await == 0).await;
    Some((place.to_string(), Doubts::Nobodys, Remedy::Thaw(place)))
}

async fn roll(stage: &mut Stage, places: Vec<Place>) -> Struck {
    let names: Vec<String> = places.iter().map(ToString::to_string).collect();
    for place in places {
        let code = stage.crew.end(place).await;
        assert_eq!(code, Some(0), "{place} was asked to end");
        stage.crew.start_again(place);
        stage.crew.service(place).ready().await;
    }
    (names.join(", "), Doubts::Nobodys, Remedy::None)
}

async fn step_clock(stage: &mut Stage, place: Place, target: usize) -> Option<Struck> {
    const STEPS: [i64; 4] = [3600, -3600, 864_000, -864_000];
    if !stage.crew.start_with_own_clock(place).await {
        return None;
    }
    let seconds = STEPS[target % STEPS.len()];
    stage.crew.step_clock(place, seconds);
    let noticed = stage.sees(SHOWS_WITHIN * 2, async |stage| stage.crew.notices(&[place]).await).await;
    let said = if noticed { "" } else { ", unnoticed" };
    Some((format!("{place} by {seconds:+} s{said}"), Doubts::Nobodys, Remedy::SetClock(place)))
}
