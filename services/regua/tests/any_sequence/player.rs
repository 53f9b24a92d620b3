//! Plays operations on the real ledger with the services' own functions, and keeps what the oracle is asked about.

use crate::calendar::{PROVIDER, place_of};
use crate::databases::Fixture;
use crate::evaluating::Hand;
use crate::facts::{Erp, Facts, date_at};
use crate::operations::{Op, Setting};
use crate::oracle::{Broken, judge, judge_decision};
use crate::wire::Entry;
use crate::world::{PHONES, World};
use billing_evaluator::sync::Syncer;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_domain::ids::{AttemptId, ChannelId, MessageId, RunId};
use regua_domain::message::State;
use regua_domain::switches::HoldKind;
use regua_ledger::audit::By;
use regua_ledger::holds::NewHold;
use regua_ledger::mirror::Source;
use regua_ledger::people::{NewOptOut, OptOutOrigin};
use regua_ledger::queries::MessageView;
use regua_ledger::sweeps::HINT_LOST_AFTER;
use regua_ledger::{Ledger, new_id};
use regua_telemetry::config::{Hosting, Service, ServiceConfig};
use regua_telemetry::environment::Environment;
use regua_telemetry::health::Health;
use regua_telemetry::metrics::Metrics;
use regua_telemetry::service::Process;
use regua_telemetry::shutdown::Shutdown;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// Messages of one sequence at most.
const ROWS_MAX: u32 = 1000;

/// How time passes.
pub enum Clock {
    /// In memory, on tokio's paused clock.
    Simulated,
    /// On PostgreSQL, whose clock goes on and is moved.
    Moved(Fixture),
}

/// An attempt whose end isn't reported yet, or not known.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub message: MessageId,
    pub id: AttemptId,
    /// Whether the provider took it, of one that is in doubt.
    pub took: bool,
}

/// What lies between the parts of the pipeline, and what was seen of it.
#[derive(Default)]
pub struct Seen {
    pub erp: Erp,
    pub hints: Vec<MessageId>,
    pub open: Vec<Attempt>,
    pub doubtful: Vec<Attempt>,
    pub wire: Vec<Entry>,
    judged: usize,
    /// What the provider took.
    pub taken: Vec<MessageId>,
    pub resent: HashMap<MessageId, u32>,
    pub rows: BTreeMap<MessageId, MessageView>,
    /// The last day that each message's decision left it.
    pub last_days: HashMap<MessageId, NaiveDate>,
    pub hands: [Option<Hand>; 2],
    pub last_run: Option<RunId>,
}

impl Seen {
    pub fn entry(&mut self, attempt: AttemptId) -> &mut Entry {
        self.wire.iter_mut().find(|entry| entry.attempt == attempt).expect("it was started")
    }

    /// Attempts that are open, and hints that wait.
    pub fn in_hand(&self) -> (usize, usize) {
        (self.open.len(), self.hints.len())
    }
}

pub struct Player {
    pub ledger: Ledger,
    pub syncer: Syncer,
    pub source: Source,
    pub channel: ChannelId,
    clock: Clock,
    facts: Mutex<Arc<Facts>>,
    seen: Mutex<Seen>,
}

impl Player {
    pub async fn new(clock: Clock, world: &World) -> Self {
        let ledger = match &clock {
            Clock::Simulated => Ledger::open_simulated(world.begins_at).await.unwrap(),
            Clock::Moved(database) => database.open().await,
        };
        ledger.migrate().await.unwrap();
        if let Clock::Moved(_) = clock {
            ledger.set_demo_clock(world.begins_at).await.unwrap();
        }
        ledger.apply_configuration(world.rules.configuration(world.begins_at)).await.unwrap();
        let environment = Environment::only::<&str, &str>([]);
        let config = ServiceConfig::load(Service::Regua, Hosting::Embedded, &environment).unwrap();
        let shutdown = Shutdown::new(config.shutdown_grace);
        let process = Process { config, environment, shutdown, health: Health::new(), metrics: Metrics::new() };
        let source = ledger.sources().await.unwrap().remove(0);
        let channel = ledger.routes().await.unwrap()[0].channel_id;
        let seen = Seen { erp: Erp::new(world), ..Seen::default() };
        let player = Self {
            syncer: Syncer::new(ledger.clone(), &process),
            ledger,
            source,
            channel,
            clock,
            facts: Mutex::new(Arc::new(Facts::new(world))),
            seen: Mutex::new(seen),
        };
        player.sync().await;
        player
    }

    pub async fn now(&self) -> DateTime<Utc> {
        self.ledger.now().await.unwrap()
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.lock().unwrap())
    }

    fn learn(&self, change: impl FnOnce(&mut Facts)) {
        change(Arc::make_mut(&mut self.facts.lock().unwrap()));
    }

    pub async fn wait(&self, time: TimeDelta) {
        match &self.clock {
            Clock::Simulated => tokio::time::advance(time.to_std().unwrap_or_default()).await,
            Clock::Moved(database) => database.advance(time.max(TimeDelta::zero())).await,
        }
    }

    /// Plays one operation and judges what came of it.
    pub async fn play(&self, operation: Op) -> Result<(), Broken> {
        Box::pin(self.act(operation)).await?;
        self.judge().await
    }

    /// Plays operations all at once, each by two processes, and judges what came of them.
    pub async fn play_at_once(&self, operations: &[Op]) -> Result<(), Broken> {
        let twice = operations.iter().chain(operations);
        futures::future::try_join_all(twice.map(|operation| Box::pin(self.act(*operation)))).await?;
        self.judge().await
    }

    async fn act(&self, operation: Op) -> Result<(), Broken> {
        match operation {
            Op::CommitPage { evaluator } => return self.commit_page(evaluator).await,
            Op::Morning { hour } => return self.morning(hour).await,
            Op::Day => return self.day().await,
            Op::Wait { seconds } => self.wait(TimeDelta::seconds(seconds)).await,
            Op::Sync => self.sync().await,
            Op::Run { hours_late } => self.run("update-collections", TimeDelta::hours(hours_late)).await,
            Op::RunAgain => self.run_again().await,
            Op::TwoRunsAtOnce => {
                tokio::join!(self.run("one", TimeDelta::zero()), self.run("other", TimeDelta::zero()));
            }
            Op::TakePage { evaluator } => self.take_page(evaluator).await,
            Op::DropPage { evaluator } => self.seen().hands[evaluator] = None,
            Op::Erp { invoice, change } => {
                let today = date_at(self.now().await);
                self.seen().erp.change(invoice, change, today);
            }
            Op::Phone { customer, phone } => self.seen().erp.set_phone(customer, phone),
            Op::Listed { customer, listed } => self.seen().erp.customers[customer].negatively_listed = Some(listed),
            Op::Set(setting) => self.set(setting).await,
            Op::OptOut { phone, out } => self.opt_out(phone, out).await,
            Op::Hold { invoice, whole_customer, days } => self.hold(invoice, whole_customer, days).await,
            Op::Release => self.release().await,
            Op::TopUp { lost, twice } => {
                self.top_up(lost, twice).await;
            }
            Op::Start { hints, redelivered } => {
                self.hint().await;
                self.start(hints, redelivered).await;
            }
            Op::StartTwice { hints } => {
                self.hint().await;
                tokio::join!(self.start(hints, true), self.start(hints, false));
            }
            Op::Finish { attempts, end } => {
                self.begin(attempts).await;
                self.finish(attempts, end, false).await;
            }
            Op::FinishTwice { end } => {
                self.begin(1).await;
                self.finish(1, end, true).await;
            }
            Op::LateEvidence => self.late_evidence().await,
            Op::Rescue => {
                self.ledger.rescue().await.unwrap();
            }
            Op::Expire => {
                self.ledger.expire().await.unwrap();
            }
            Op::Unqueue => {
                self.ledger.unqueue(HINT_LOST_AFTER).await.unwrap();
            }
            Op::Resolve { how } => self.resolve(how).await,
            Op::Restored { hours } => {
                let now = self.now().await;
                self.ledger.restored(now - TimeDelta::hours(hours), "ana".into()).await.unwrap();
                self.learn(|facts| facts.restore(now - TimeDelta::hours(hours), now));
            }
        }
        Ok(())
    }

    /// Everything that is to be said of what is new on the wire and in the ledger.
    pub async fn judge(&self) -> Result<(), Broken> {
        let now = self.now().await;
        self.judge_of(&self.facts(), now).await
    }

    /// The same, where what was decided was read at another instant, with what was known then.
    pub async fn judge_of(&self, facts: &Facts, decided_at: DateTime<Utc>) -> Result<(), Broken> {
        let rows = self.ledger.messages(None, None, None, ROWS_MAX).await.unwrap();
        let rows: BTreeMap<MessageId, MessageView> = rows.into_iter().map(|row| (row.id, row)).collect();
        let mut seen = self.seen();
        let seen = &mut *seen;
        let mut keys = std::collections::BTreeSet::new();
        for row in rows.values().filter(|row| row.due_on.is_some()) {
            let is_new = keys.insert((&row.subject, row.stage, row.due_on));
            if !is_new {
                return Err(format!("two messages: {} of {} due {:?}", row.stage, row.subject, row.due_on));
            }
        }
        if let Some(gone) = seen.rows.keys().find(|id| !rows.contains_key(id)) {
            return Err(format!("message {gone} is gone"));
        }
        for row in rows.values() {
            let before = seen.rows.get(&row.id).map(|before| before.state);
            let was_decided = row.state != State::Skipped && before.is_none_or(|before| before == State::Skipped);
            if was_decided {
                judge_decision(&row.subject, row.stage, row.due_on, facts, decided_at)?;
                let customer = match facts.invoices.get(&row.subject) {
                    Some(invoice) => facts.customer_of(invoice),
                    None => facts.customers.get(&row.subject),
                };
                seen.last_days.insert(row.id, place_of(customer).last_day_of(&facts.rules, decided_at));
            }
        }
        seen.rows = rows;
        // Of what began at once the ledger knows the order.
        let judged = seen.judged;
        seen.wire[judged..].sort_by_key(|entry| entry.slot_at);
        for place in judged..seen.wire.len() {
            judge(&seen.wire[place], &seen.wire[..place])?;
        }
        seen.judged = seen.wire.len();
        Ok(())
    }

    /// The mirror becomes what the ERP has, a moment after the sync before: of two looks at one instant the first one stays.
    pub async fn sync(&self) {
        self.wait(TimeDelta::milliseconds(1)).await;
        let erp = self.seen().erp.clone();
        let sync = self.ledger.begin_sync(self.source.id, new_id()).await.unwrap().expect("nobody else syncs");
        let now = sync.began_at;
        self.ledger.write_customers(sync, erp.customers.clone(), now).await.unwrap();
        self.ledger.write_invoices(sync, erp.invoices.clone(), now).await.unwrap();
        self.ledger.end_sync(sync, true).await.unwrap();
        self.learn(|facts| facts.sync(&erp, now));
    }

    async fn set(&self, setting: Setting) {
        let now = self.now().await;
        self.learn(|facts| facts.set(setting, date_at(now)));
        self.ledger.apply_configuration(self.facts().rules.configuration(now)).await.unwrap();
    }

    async fn opt_out(&self, phone: usize, out: bool) {
        let key = PHONES[phone].key;
        if out {
            let opt_out = NewOptOut { phone: key.parse().unwrap(), since_at: None, why: "pediu".into() };
            let origin = OptOutOrigin { scope: OptOutScope::All, source: OptOutSource::Command, added_by: "ana".into() };
            self.ledger.add_opt_outs(vec![opt_out], origin).await.unwrap();
            self.learn(|facts| {
                facts.opted_out.insert(key);
            });
        } else {
            self.ledger.remove_opt_out(key.parse().unwrap(), None, By { who: "ana".into(), why: None }).await.unwrap();
            self.learn(|facts| {
                facts.opted_out.remove(key);
            });
        }
    }

    async fn hold(&self, invoice: usize, whole_customer: bool, days: Option<i64>) {
        let invoice = self.seen().erp.invoices[invoice].clone();
        let (kind, subject) = if whole_customer {
            (HoldKind::Customer, invoice.customer_id.expect("each has one").0)
        } else {
            (HoldKind::Invoice, invoice.id.0)
        };
        if let Some(days) = days {
            let until_on = date_at(self.now().await) + TimeDelta::days(days);
            let (why, set_by) = ("combinado".to_owned(), "ana".to_owned());
            let hold = NewHold { source: None, kind, subject: subject.clone(), until_on, why, set_by, even_if_unknown: false };
            self.ledger.set_hold(hold).await.unwrap();
            self.learn(|facts| {
                facts.holds.insert(subject, until_on);
            });
        } else {
            self.ledger.lift_hold(None, kind, subject.clone(), "ana".into(), "pagou".into()).await.unwrap();
            self.learn(|facts| {
                facts.holds.remove(&subject);
            });
        }
    }

    /// The next instant at which the provider's clock shows this hour.
    pub async fn next(&self, hour: u32) -> DateTime<Utc> {
        let now = self.now().await;
        let time = NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        let at = PROVIDER.instant(date_at(now).and_time(time));
        if at > now { at } else { PROVIDER.instant((date_at(now) + Days::new(1)).and_time(time)) }
    }
}
