//! A small provider: its customers and invoices, and what evaluator, scheduler and dispatcher do with the ledger.

use crate::databases::Fixture;
use crate::setup::Setup;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use regua_domain::admission::HORIZON;
use regua_domain::consent::{OptOutScope, OptOutSource};
use regua_domain::ids::{
    AttemptId, BusinessId, ChannelId, CustomerId, IntegrationId, InvoiceId, MessageId, PolicyId, RunId, SourceId,
};
use regua_domain::message::{SkipReason, State};
use regua_domain::mirror::{Customer, Invoice, InvoiceStatus};
use regua_domain::money::Centavos;
use regua_domain::policy::{needs_totals, policy_for};
use regua_domain::schedule::TaskKind;
use regua_domain::settlement::Settlement;
use regua_domain::{decide, events};
use regua_ledger::audit::By;
use regua_ledger::evaluation::{EvaluationBatch, EvaluationCounts, NewMessage, Occasion};
use regua_ledger::events::{EventCursor, decide_page};
use regua_ledger::finish::{FinishAnswer, Finished};
use regua_ledger::people::{NewOptOut, OptOutOrigin};
use regua_ledger::queries::MessageView;
use regua_ledger::runs::{Cursor, LeaseAnswer, LeasedRun};
use regua_ledger::start::{StartAnswer, StartBatch, Started};
use regua_ledger::{Ledger, new_id};
use uuid::Uuid;

/// How far ahead a slot must lie in these tests.
pub const LEAD: TimeDelta = TimeDelta::milliseconds(20);
/// How long an attempt may take.
pub const LEASE: TimeDelta = TimeDelta::seconds(60);

/// Monday, 9 March 2026, 10:00 in São Paulo: the window is open.
pub fn begin() -> DateTime<Utc> {
    "2026-03-09T13:00:00Z".parse().unwrap()
}

/// Who intervenes, without a reason.
pub fn by(who: &str) -> By {
    By { who: who.into(), why: None }
}

/// The local date of [`begin`].
pub fn today() -> NaiveDate {
    date("2026-03-09")
}

pub fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// A customer with a phone of their own.
pub fn customer(number: u32) -> Customer {
    Customer {
        person_type: "F".into(),
        mobile_phone: format!("(11) 9{:08}", 80_000_000 + number),
        branch_id: "1".into(),
        ..Customer::new(CustomerId(format!("c{number:04}")), format!("Cliente {number}"))
    }
}

/// The key of that customer's phone.
pub fn phone_key(number: u32) -> String {
    format!("11{:08}", 80_000_000 + number)
}

/// An open invoice of a customer over R$100,00.
pub fn invoice(number: u32, customer: u32, due_on: NaiveDate) -> Invoice {
    Invoice {
        number: number.to_string(),
        branch_id: "1".into(),
        ..Invoice::open(InvoiceId(format!("i{number:04}")), CustomerId(format!("c{customer:04}")), Centavos(10_000), due_on)
    }
}

/// The same invoice, paid.
pub fn paid(invoice: &Invoice) -> Invoice {
    Invoice { status: InvoiceStatus::Received, open_amount: Centavos(0), paid_on: Some(today()), ..invoice.clone() }
}

/// The due date of an invoice that is due for a stage of the default policy today.
pub fn due_for(stage: &str) -> NaiveDate {
    date(match stage {
        "pre_due" => "2026-03-12",
        "due_day" => "2026-03-09",
        "overdue" => "2026-03-06",
        "pending_query" => "2026-03-02",
        other => panic!("the default policy has no {other}"),
    })
}

/// A ledger with a configuration, and the ids that its parts got.
pub struct World {
    pub f: Fixture,
    pub ledger: Ledger,
    pub source: SourceId,
    pub policy: PolicyId,
    pub channel: ChannelId,
    pub other_channel: ChannelId,
    pub business: BusinessId,
    pub integration: IntegrationId,
}

impl World {
    pub async fn new(f: Fixture, setup: &Setup) -> Self {
        let ledger = f.open().await;
        ledger.migrate().await.unwrap();
        ledger.set_demo_clock(begin()).await.unwrap();
        ledger.apply_configuration(setup.configuration()).await.unwrap();
        let routes = ledger.routes().await.unwrap();
        assert_eq!(routes.len(), 2);
        let source = ledger.sources().await.unwrap().remove(0).id;
        let policy = ledger.policies().await.unwrap().first().map_or(PolicyId(Uuid::nil()), |policy| policy.id);
        let (channel, other_channel) = (routes[0].channel_id, routes[1].channel_id);
        let (business, integration) = (routes[0].business_id, routes[0].integration_id);
        Self { f, ledger, source, policy, channel, other_channel, business, integration }
    }

    pub async fn now(&self) -> DateTime<Utc> {
        self.ledger.now().await.unwrap()
    }

    /// A whole sync of exactly these rows.
    pub async fn sync(&self, customers: &[Customer], invoices: &[Invoice]) {
        let sync = self.ledger.begin_sync(self.source, new_id()).await.unwrap().expect("nobody else syncs");
        let now = self.now().await;
        self.ledger.write_customers(sync, customers.to_vec(), now).await.unwrap();
        self.ledger.write_invoices(sync, invoices.to_vec(), now).await.unwrap();
        self.ledger.end_sync(sync, true).await.unwrap();
    }

    /// `count` customers from `first` on, with an invoice each that is due on `due_on`.
    pub async fn customers(&self, first: u32, count: u32, due_on: NaiveDate) {
        let numbers = || first..first + count;
        let invoices: Vec<_> = numbers().map(|number| invoice(number, number, due_on)).collect();
        self.sync(&numbers().map(customer).collect::<Vec<_>>(), &invoices).await;
    }

    /// A run of update-collections in this process's hands, planned now.
    pub async fn leased_run(&self) -> LeasedRun {
        let now = self.now().await;
        let (id, _) = self.ledger.plan_run("update-collections".into(), TaskKind::UpdateCollections, now, None).await.unwrap();
        match self.ledger.lease_run(id, new_id(), self.local_today().await, None).await.unwrap() {
            LeaseAnswer::Leased(leased) => *leased,
            other => panic!("{other:?}"),
        }
    }

    /// The date of the ledger's clock in São Paulo.
    pub async fn local_today(&self) -> NaiveDate {
        self.now().await.with_timezone(&chrono_tz::America::Sao_Paulo).date_naive()
    }

    /// What a run decides about the whole mirror, in one batch.
    pub async fn decide(&self, run: &LeasedRun) -> EvaluationBatch {
        let today = run.run.evaluates_on.unwrap();
        let policies = self.ledger.policies().await.unwrap();
        let settings = self.ledger.settings().await.unwrap();
        let span = decide::due_dates(&policies, today).unwrap();
        let candidates = self.ledger.candidates(self.source, span, chrono::DateTime::UNIX_EPOCH, None, 1000, true).await.unwrap();
        let (provider, days_between_stages) = (&settings.provider, settings.caps.days_between_stages);
        let day = decide::Day { today, now: self.now().await, times: settings.times(), provider, days_between_stages };
        let (mut messages, mut no_policy) = (Vec::new(), 0);
        for candidate in &candidates {
            let Some(policy) = policy_for(&policies, &candidate.invoice, candidate.customer.as_ref()) else {
                no_policy += 1;
                continue;
            };
            let decided = decide::decide(
                policy,
                &candidate.invoice,
                candidate.customer.as_ref(),
                &candidate.known,
                candidate.totals,
                day,
                &candidate.reach(&settings.pilot),
            );
            let Ok(decided) = decided else { continue };
            messages.push(NewMessage {
                id: decided.revives.unwrap_or_else(|| MessageId(new_id())),
                revives: decided.revives.is_some(),
                subject: candidate.invoice.id.0.clone(),
                stage: decided.stage.stage,
                occasion: Occasion::DueDate(candidate.invoice.due_on),
                policy_id: policy.id,
                notice_id: decided.stage.notice.id,
                channel_id: decided.stage.notice.channel_id,
                stage_day: decided.stage_day,
                opens_at: decided.opens_at,
                expires_at: decide::expires_at(&decided.window, decided.opens_at, decided.last_day, settings.expiry.open_windows),
                text: decided.text,
            });
        }
        let last = candidates.last().map(|candidate| &candidate.invoice);
        let cursor = Cursor {
            source_id: self.source,
            due_on: last.map_or(span.1, |invoice| invoice.due_on),
            invoice_id: last.map_or_else(String::new, |invoice| invoice.id.0.clone()),
        };
        let (run_id, owner, planned_at) = (run.run.id, run.owner, run.run.planned_at);
        EvaluationBatch {
            run_id,
            owner,
            planned_at,
            source_id: self.source,
            cursor: Some(cursor),
            messages,
            events: Vec::new(),
            no_policy,
        }
    }

    /// A whole run of update-collections; its id and what it did.
    pub async fn evaluate(&self) -> (RunId, EvaluationCounts) {
        let run = self.leased_run().await;
        let mut counts = EvaluationCounts::default();
        let mut after = Some(EventCursor::default());
        while let Some(cursor) = after {
            let (batch, next) = self.decide_events(&run, &cursor).await;
            counts.add(self.ledger.commit_evaluation(batch).await.unwrap());
            after = next;
        }
        let batch = self.decide(&run).await;
        counts.add(self.ledger.commit_evaluation(batch).await.unwrap());
        self.ledger.finish_run(run.run.id, run.owner, None).await.unwrap();
        (run.run.id, counts)
    }

    /// What a run decides about a small page of events, and where the next one begins; nothing is committed yet.
    pub async fn decide_events(&self, run: &LeasedRun, after: &EventCursor) -> (EvaluationBatch, Option<EventCursor>) {
        let policies = self.ledger.policies().await.unwrap();
        let (settings, now) = (self.ledger.settings().await.unwrap(), self.now().await);
        let told_since = events::first_day(settings.times().date_at(now));
        let (page, next) = self.ledger.events(self.source, told_since, after, 3, needs_totals(&policies)).await.unwrap();
        let (messages, events) = decide_page(&page, &policies, &settings, now);
        let (run_id, owner, planned_at) = (run.run.id, run.owner, run.run.planned_at);
        let batch =
            EvaluationBatch { run_id, owner, planned_at, source_id: self.source, cursor: None, messages, events, no_policy: 0 };
        (batch, next)
    }

    /// send-queued-messages: whatever was decided up to now may go.
    pub async fn release(&self) {
        self.ledger.release_through(self.now().await).await.unwrap();
    }

    /// `count` messages of customers from `first` on, each due for `stage`, decided and released; in the order of their invoices.
    pub async fn released(&self, first: u32, count: u32, stage: &str) -> Vec<MessageId> {
        self.customers(first, count, due_for(stage)).await;
        self.evaluate().await;
        self.release().await;
        let mut ids = Vec::new();
        for number in first..first + count {
            ids.push(self.message_of(number).await.id);
        }
        ids
    }

    /// The same, with their hints published.
    pub async fn queued(&self, count: u32) -> Vec<MessageId> {
        let ids = self.released(1, count, "overdue").await;
        let mut queued = self.top_up(1000).await;
        queued.sort_unstable();
        assert_eq!(queued, ids);
        ids
    }

    /// Tops the first channel up to `bound`; the hints to publish.
    pub async fn top_up(&self, bound: u32) -> Vec<MessageId> {
        self.ledger.top_up(self.channel, Some(bound)).await.unwrap().queued
    }

    /// Starts messages with attempts of new ids; the answers, in the order of `ids`.
    pub async fn start(&self, ids: &[MessageId]) -> Vec<StartAnswer> {
        let requests = ids.iter().map(|id| (*id, AttemptId(new_id()))).collect();
        let batch = start_batch(requests);
        let reply = self.ledger.start(batch).await.unwrap();
        let answer = |id: &MessageId| reply.answers.iter().find(|(answered, _)| answered == id).unwrap().1.clone();
        ids.iter().map(answer).collect()
    }

    /// Starts one message.
    pub async fn start_one(&self, id: MessageId) -> StartAnswer {
        self.start(&[id]).await.remove(0)
    }

    /// Starts one message that must start.
    pub async fn started(&self, id: MessageId) -> Started {
        match self.start_one(id).await {
            StartAnswer::Started(started) => *started,
            other => panic!("{other:?}"),
        }
    }

    /// Reports how an attempt ended.
    pub async fn finish(&self, id: MessageId, attempt: AttemptId, settlement: Settlement) -> FinishAnswer {
        let answers = self.ledger.finish(vec![finished(id, attempt, settlement)]).await.unwrap();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].0, attempt);
        answers[0].1
    }

    /// Starts a message and has the provider take it.
    pub async fn send(&self, id: MessageId) -> AttemptId {
        let attempt = self.started(id).await.attempt_id;
        assert_eq!(self.finish(id, attempt, sent("p")).await, FinishAnswer::Settled);
        attempt
    }

    pub async fn message(&self, id: MessageId) -> MessageView {
        self.ledger.message(id).await.unwrap().expect("it exists").0
    }

    /// Notes that customers asked not to be written to by anybody.
    pub async fn opt_out(&self, customers: &[u32], by: &str) -> u64 {
        let new = |number: &u32| NewOptOut { phone: phone_key(*number).parse().unwrap(), since_at: None, why: "pediu".into() };
        let origin = OptOutOrigin { scope: OptOutScope::All, source: OptOutSource::Command, added_by: by.into() };
        self.ledger.add_opt_outs(customers.iter().map(new).collect(), origin).await.unwrap().new
    }

    /// What a customer's phone was sent, or may have been, on the last days.
    pub async fn sent_to(&self, customer: u32) -> i64 {
        let days = self.f.texts(format!("SELECT days FROM people WHERE phone_key = '{}'", phone_key(customer))).await;
        let days = days.into_iter().next().flatten().unwrap_or_else(|| "{}".into());
        serde_json::from_str::<std::collections::BTreeMap<NaiveDate, i64>>(&days).unwrap().values().sum()
    }

    /// Where a message is and why.
    pub async fn state(&self, id: MessageId) -> (State, Option<String>) {
        let message = self.message(id).await;
        (message.state, message.reason)
    }

    /// The one message of an invoice.
    pub async fn message_of(&self, number: u32) -> MessageView {
        let mut messages = self.messages_of(number).await;
        assert_eq!(messages.len(), 1, "messages of invoice {number}");
        messages.remove(0)
    }

    /// Every message of an invoice, the earliest stage first.
    pub async fn messages_of(&self, number: u32) -> Vec<MessageView> {
        let subject = format!("i{number:04}");
        let mut messages = self.ledger.messages(None, None, None, 1000).await.unwrap();
        messages.retain(|message| message.subject == subject);
        messages.sort_by_key(|message| (message.due_on, message.stage));
        messages
    }
}

/// A start as these tests' dispatcher asks for it.
pub fn start_batch(requests: Vec<(MessageId, AttemptId)>) -> StartBatch {
    StartBatch { dispatcher: "d1".into(), requests, lead: LEAD, horizon: HORIZON, lease: LEASE }
}

/// How an attempt ended, with nothing else known.
pub fn finished(message_id: MessageId, attempt_id: AttemptId, settlement: Settlement) -> Finished {
    Finished { message_id, attempt_id, settlement, http_status: None, provider_code: None, latency_ms: 12 }
}

pub fn sent(provider_id: &str) -> Settlement {
    Settlement::Sent { provider_id: provider_id.into() }
}

/// A skip, as [`World::state`] shows it.
pub fn skipped(why: SkipReason) -> (State, Option<String>) {
    (State::Skipped, Some(why.as_str().into()))
}
