//! The faults: a closed set, each with how it is inflicted and how it is healed.

use crate::barrier::{Barrier, Point};
use crate::crew::Place;
use crate::kinds::Kind;
use crate::load;
use crate::stage::Stage;
use crate::verdict::{Doubts, Wound};
use chrono::TimeDelta;
use regua_e2e::{Program, Queues};
use regua_simulators::{Fault, FaultKind};
use std::time::Duration;

/// How long a fault is given to show.
const SHOWS_WITHIN: Duration = Duration::from_secs(6);
/// How many messages go out while a standby follows, before the server crashes.
const OVER_STANDBY: u64 = 40;
/// Longer than a dispatcher may take from asking for a start to writing the request (2 s).
const OVERSLEEP: Duration = Duration::from_millis(2500);
/// More than an attempt's lease of 60 s.
const PAST_LEASE: TimeDelta = TimeDelta::seconds(61);
/// A doubtful attempt may have been started so long before its cause: a lease, and what nudges pass.
const STARTED_BEFORE_US: i64 = 180_000_000;
/// Slots are given out at most 200 ms ahead.
const SLOT_AHEAD_US: i64 = 200_000;
const SENDS: &str = "/template/send";

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
    PromoteStandby,
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
            Kind::KillMarked => kill_committed(stage, Point::Marked, &[scheduler?]).await?,
            Kind::KillStarted => kill_committed(stage, Point::Started, &[dispatcher?]).await?,
            Kind::KillFinishing => kill_at(stage, Point::Finishing, &[dispatcher?]).await?,
            Kind::KillFinished => kill_committed(stage, Point::Finished, &[dispatcher?]).await?,
            Kind::FreezeDispatcher => oversleep(stage, &[dispatcher?]).await?,
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
            Kind::ProviderHangs => self.provider(stage, Answers::Nothing(FaultKind::HangAfterAccept)).await?,
            Kind::ProviderResets => self.provider(stage, Answers::Taken(vec![FaultKind::ResetAfterReading])).await?,
            Kind::ProviderCuts => self.provider(stage, Answers::Taken(vec![FaultKind::TruncatedBody])).await?,
            Kind::ProviderTrickles => self.provider(stage, Answers::Taken(vec![FaultKind::SlowBody])).await?,
            Kind::ProviderMumbles => {
                self.provider(stage, Answers::Taken(vec![FaultKind::MalformedBody, FaultKind::Html200])).await?
            }
            Kind::ProviderFails if self.target.is_multiple_of(2) => {
                self.provider(stage, Answers::Taken(vec![status(500, None)])).await?
            }
            Kind::ProviderFails => self.provider(stage, Answers::Nothing(status(500, None))).await?,
            Kind::ProviderThrottles => self.provider(stage, Answers::NotTaken(status(429, Some("7")))).await?,
            Kind::ProviderUnavailable => self.provider(stage, Answers::NotTaken(status(503, None))).await?,
            Kind::ErpDown => erp(stage, FaultKind::ResetBeforeReading).await?,
            Kind::ErpSlow => erp(stage, FaultKind::LatencyMs { ms: 2000 }).await?,
            Kind::ErpFails => erp(stage, status(502, None)).await?,
            Kind::ErpHtml => erp(stage, FaultKind::Html200).await?,
            Kind::QueuePurged => purge(stage, &awake[2]).await?,
            Kind::QueuesDeleted => {
                Queues::connect(stage.amqp_url()).await.clear().await;
                ("every queue".into(), Doubts::Nobodys, Remedy::None)
            }
            Kind::BrokerStopped | Kind::BrokerKilled => self.stop_broker(stage).await,
            Kind::DatabaseStopped | Kind::DatabaseCrashed | Kind::DatabaseFailedOver => self.stop_database(stage).await,
        };
        Some(Inflicted { kind: self.kind, target, from, doubts, remedy })
    }

    /// Has the provider answer so until as many requests were struck as were drawn, or nobody asks any more.
    async fn provider(self, stage: &mut Stage, answers: Answers) -> Option<Struck> {
        let before = strikes(&stage.world.opa.stats().faults);
        let unknown = Doubts::Everybodys(Place::of(Program::Dispatcher).len());
        let (kinds, after_accept, doubts) = match answers {
            Answers::Taken(kinds) => (kinds, true, unknown),
            Answers::Nothing(kind) => (vec![kind], false, unknown),
            Answers::NotTaken(kind) => (vec![kind], false, Doubts::Nobodys),
        };
        let fault = |kind| Fault { path: Some(SENDS.into()), count: Some(self.number), after_accept, ..Fault::always(kind) };
        // The first that strikes wins; latency lets the others strike.
        stage.world.opa.clear_faults();
        stage.world.opa.faults(load::well().into_iter().chain(kinds.into_iter().map(fault)).collect()).expect("possible faults");
        let all = async |stage: &mut Stage| strikes(&stage.world.opa.stats().faults) >= before + self.number;
        stage.sees(SHOWS_WITHIN, all).await;
        let struck = strikes(&stage.world.opa.stats().faults) - before;
        if struck == 0 {
            well_again(stage);
            return None;
        }
        Some((format!("{struck} requests"), doubts, Remedy::ClearProvider))
    }

    async fn stop_broker(self, stage: &mut Stage) -> Struck {
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

    async fn stop_database(self, stage: &mut Stage) -> Struck {
        let remedy = match self.kind {
            Kind::DatabaseStopped => {
                stage.postgres(regua_test_servers::Postgres::stop).await;
                Remedy::StartDatabase
            }
            Kind::DatabaseFailedOver => {
                stage.postgres(regua_test_servers::Postgres::add_standby).await;
                // Sent over it: what it alone has afterwards.
                let before = stage.world.opa.stats().accepted;
                let sends = async |stage: &mut Stage| stage.world.opa.stats().accepted >= before + OVER_STANDBY;
                stage.sees(SHOWS_WITHIN, sends).await;
                stage.postgres(regua_test_servers::Postgres::crash).await;
                Remedy::PromoteStandby
            }
            other => {
                assert_eq!(other, Kind::DatabaseCrashed, "it is no fault of the database");
                stage.postgres(regua_test_servers::Postgres::crash).await;
                Remedy::StartDatabase
            }
        };
        let everybody: Vec<Place> = Place::all().collect();
        stage.sees(SHOWS_WITHIN, async |stage| stage.crew.notices(&everybody).await).await;
        // A result that couldn't be written is tried again until it is: no doubt stays.
        ("PostgreSQL".into(), Doubts::Nobodys, remedy)
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
            Remedy::ClearProvider => well_again(stage),
            Remedy::ClearErp => stage.world.ixc.clear_faults(),
            Remedy::StartBroker => stage.rabbitmq(|server| server.start_app()).await,
            Remedy::RestartBroker => {
                stage.rabbitmq(regua_test_servers::RabbitMq::restart).await;
                Queues::connect(stage.amqp_url()).await.clear().await;
            }
            Remedy::StartDatabase => stage.postgres(regua_test_servers::Postgres::start_again).await,
            Remedy::PromoteStandby => stage.postgres(regua_test_servers::Postgres::promote_standby).await,
        }
        let until = stage.now_us().await + SLOT_AHEAD_US;
        Wound { kind: self.kind.name(), round, from: self.from, until, doubts: self.doubts }
    }

    /// Whether the database can't be asked now.
    pub fn is_database_down(&self) -> bool {
        matches!(self.remedy, Remedy::StartDatabase | Remedy::PromoteStandby)
    }
}

/// What the provider's answer says of the message.
enum Answers {
    /// It was taken, and the answer doesn't say so.
    Taken(Vec<FaultKind>),
    /// It wasn't, and the answer doesn't say so.
    Nothing(FaultKind),
    /// It wasn't, as the answer says.
    NotTaken(FaultKind),
}

fn status(code: u16, retry_after: Option<&str>) -> FaultKind {
    FaultKind::Status { code, body: None, retry_after: retry_after.map(Into::into) }
}

fn well_again(stage: &Stage) {
    stage.world.opa.clear_faults();
    stage.world.opa.faults(load::well()).expect("a possible fault");
}

/// Has the ERP answer so, from the first request that meets it on.
async fn erp(stage: &mut Stage, kind: FaultKind) -> Option<Struck> {
    let strikes = |stage: &Stage| stage.world.ixc.stats().faults.values().sum::<u64>();
    let before = strikes(stage);
    stage.world.ixc.faults(vec![Fault::always(kind)]).expect("a possible fault");
    if !stage.sees(SHOWS_WITHIN, async |stage| strikes(stage) > before).await {
        stage.world.ixc.clear_faults();
        return None;
    }
    Some(("every request".into(), Doubts::Nobodys, Remedy::ClearErp))
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
    let struck = barrier.reached().await.map(|held| kill(stage, held.place));
    barrier.lower().await;
    struck
}

/// Kills whoever of these first has committed there and doesn't know it yet.
async fn kill_committed(stage: &mut Stage, point: Point, places: &[Place]) -> Option<Struck> {
    let place = freeze_at(stage, point, places).await?;
    Some(kill(stage, place))
}

/// Suspends whoever of these first stands at a point, and lets the server go on: where it was committing, it has committed.
async fn freeze_at(stage: &mut Stage, point: Point, places: &[Place]) -> Option<Place> {
    let barrier = Barrier::raise(&stage.world.database, point, places).await;
    let held = barrier.reached().await;
    if let Some(held) = held {
        stage.crew.freeze(held.place);
    }
    barrier.lower().await;
    let held = held?;
    stage.sees(SHOWS_WITHIN, async |stage| held.is_through(&stage.world.database).await).await;
    Some(held.place)
}

/// A dispatcher has committed a start and sleeps; its lease ends, its messages are rescued; it wakes and may send nothing.
async fn oversleep(stage: &mut Stage, places: &[Place]) -> Option<Struck> {
    let place = freeze_at(stage, Point::Started, places).await?;
    let began = std::time::Instant::now();
    let id = stage.crew.service(place).id();
    let open = format!("FROM attempts WHERE outcome IS NULL AND dispatcher LIKE '%-{id}'");
    // Those of one start were written by one transaction.
    let newest = format!("SELECT CAST(id AS TEXT) {open} AND xmin = (SELECT xmin {open} ORDER BY slot_at DESC LIMIT 1)");
    let attempts = stage.world.database.texts(&newest).await;
    stage.world.database.pass(PAST_LEASE).await;
    let sending = format!("SELECT count(*) FROM messages WHERE state = 'sending' AND attempt_id IN (SELECT id {open})");
    let rescued =
        async |stage: &mut Stage| began.elapsed() >= OVERSLEEP && stage.world.database.number(&sending).await == Some(0);
    stage.sees(SHOWS_WITHIN, rescued).await;
    stage.overslept.extend(attempts.iter().map(|row| row[0].parse::<regua_domain::ids::AttemptId>().expect("an id")));
    Some((format!("{place} with {} requests to make", attempts.len()), Doubts::Nobodys, Remedy::Thaw(place)))
}

/// An evaluator sleeps with a batch inserted and not committed, until its run belongs to the other one.
async fn freeze_evaluator(stage: &mut Stage, places: &[Place]) -> Option<Struck> {
    let place = freeze_at(stage, Point::Inserting, places).await?;
    stage.world.database.pass(PAST_LEASE).await;
    let running = "runs WHERE state IN ('planned', 'running')";
    // The sleeper's transaction holds its locks until the database ends it after 10 s.
    stage.sees(SHOWS_WITHIN * 3, async |stage| stage.world.database.count(running).await == 0).await;
    Some((place.to_string(), Doubts::Nobodys, Remedy::Thaw(place)))
}

/// Hints are in the dispatchers' hands while there are any: they have to go first.
async fn purge(stage: &mut Stage, dispatchers: &[Place]) -> Option<Struck> {
    for place in dispatchers {
        stage.crew.end(*place).await;
    }
    let queues = Queues::connect(stage.amqp_url()).await;
    stage.sees(SHOWS_WITHIN, async |_| queues.ready("regua.hints").await > 0).await;
    let purged = queues.purge("regua.hints").await;
    for place in dispatchers {
        stage.crew.start_again(*place);
    }
    (purged > 0).then(|| (format!("{purged} hints"), Doubts::Nobodys, Remedy::None))
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
